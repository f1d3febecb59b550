//! The answers, as HTTP has them.
//!
//! What a gateway passes on to the API about a credential is told with a "yes" alone. With a "no" the same headers are
//! sent, and are empty: gateways hand that answer to the client, to whom every 401 looks the same.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use pdkeys::model::{Access, Credential, CredentialKind};
use pdkeys::verify::Verdict;
use serde_json::json;

pub(super) type Answer = Response<Full<Bytes>>;

static KEY_ID: HeaderName = HeaderName::from_static("x-pdkeys-key-id");
static KEY_KIND: HeaderName = HeaderName::from_static("x-pdkeys-kind");
static KEY_ACCESS: HeaderName = HeaderName::from_static("x-pdkeys-access");
static KEY_USER: HeaderName = HeaderName::from_static("x-pdkeys-user");
static KEY_ROLE: HeaderName = HeaderName::from_static("x-pdkeys-role");
static KEY_SCOPES: HeaderName = HeaderName::from_static("x-pdkeys-scopes");
static KEY_SERVICE: HeaderName = HeaderName::from_static("x-pdkeys-service");
static FOR_NGINX_STATUS: HeaderName = HeaderName::from_static("x-pdkeys-status");
static FOR_NGINX_BODY: HeaderName = HeaderName::from_static("x-pdkeys-body");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EMPTY: HeaderValue = HeaderValue::from_static("");
/// The most headers that an answer has, hyper's own included: the map need not grow.
const MOST_HEADERS: usize = 16;

/// Answers with JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// Answers with an error, in the shape that PagerDuty's have.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    json(status, json!({ "error": { "message": message } }).to_string())
}

/// Answers that it could not be found out.
pub(super) fn unavailable() -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Answers a gateway with an error, in place of a verdict.
pub(super) fn error_to_gateway(mut answer: Answer, for_nginx: bool) -> Answer {
    tell_credential(answer.headers_mut(), None);
    if for_nginx {
        let status = answer.status();
        let message = status.canonical_reason().unwrap_or_default();
        tell_nginx(answer.headers_mut(), status, &json!({ "error": { "message": message } }).to_string());
    }
    answer
}

/// Answers a gateway. Each takes 200 for a yes, and Envoy nothing else; the status of an event that was accepted is
/// for the API to give.
pub(super) fn to_gateway(verdict: &Verdict, for_nginx: bool) -> Answer {
    let allowed = verdict.is_allowed();
    let status = if allowed {
        StatusCode::OK
    } else {
        StatusCode::from_u16(verdict.status()).unwrap_or(StatusCode::FORBIDDEN)
    };
    let body = verdict.body();
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    let mut headers = HeaderMap::with_capacity(MOST_HEADERS);
    tell_credential(&mut headers, verdict.credential.as_deref().filter(|_| allowed));
    if let Some(state) = verdict.told_rate_limit() {
        headers.insert(&RATE_LIMIT, state.limit.into());
        headers.insert(&RATE_REMAINING, state.remaining.into());
        headers.insert(&RATE_RESET, state.reset.into());
    }
    // A yes has nothing to tell that nginx would not see.
    if for_nginx && !allowed {
        tell_nginx(&mut headers, status, &body);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, JSON);
        *answer.body_mut() = Full::new(body.into());
    }
    *answer.headers_mut() = headers;
    answer
}

/// Says whose the credential is. All of it is plain ASCII: ids, and words of this program.
fn tell_credential(headers: &mut HeaderMap, credential: Option<&Credential>) {
    let text = |text: String| HeaderValue::try_from(text).unwrap_or(EMPTY);
    let [id, kind, access, user, role, scopes, service] = match credential {
        None => [EMPTY; 7],
        Some(credential) => {
            let owner = credential.owner.as_ref();
            let destination = credential.destination.as_ref();
            [
                text(credential.id.to_string()),
                HeaderValue::from_static(credential.kind.as_str()),
                HeaderValue::from_static(access(credential)),
                owner.map_or(EMPTY, |owner| text(owner.id.to_string())),
                owner.map_or(EMPTY, |owner| HeaderValue::from_static(owner.role.as_str())),
                credential.access.scopes().map_or(EMPTY, |scopes| text(scopes.to_string())),
                destination.map_or(EMPTY, |destination| text(destination.id.to_string())),
            ]
        }
    };
    headers.insert(&KEY_ID, id);
    headers.insert(&KEY_KIND, kind);
    headers.insert(&KEY_ACCESS, access);
    headers.insert(&KEY_USER, user);
    headers.insert(&KEY_ROLE, role);
    headers.insert(&KEY_SCOPES, scopes);
    headers.insert(&KEY_SERVICE, service);
}

/// Returns the word for what a credential may do. There is always one, and it names each header that limits it further,
/// so that an API never decides by what is missing.
fn access(credential: &Credential) -> &'static str {
    match (credential.kind, &credential.access) {
        (CredentialKind::Integration, _) => "events",
        (_, Access::Role(Some(_))) => "role-scopes",
        (_, access) => access.kind().as_str(),
    }
}

/// Says in headers what nginx does not see of an answer: of its status 401 and 403 alone, of its body nothing.
fn tell_nginx(headers: &mut HeaderMap, status: StatusCode, body: &str) {
    headers.insert(&FOR_NGINX_STATUS, status.as_u16().into());
    headers.insert(&FOR_NGINX_BODY, HeaderValue::try_from(ascii(body)).unwrap_or(EMPTY));
}

/// JSON in ASCII alone: whatever is beyond it can be escaped, since it can only stand in a string.
fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_a_header_is_the_same_json_in_ascii() {
        let json = r#"{"error":"é \u00e9 \ud83d\udd11 🔑"}"#;
        let escaped = ascii(json);
        assert!(escaped.is_ascii());
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&escaped), read(json));
    }
}
