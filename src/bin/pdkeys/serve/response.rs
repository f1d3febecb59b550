//! Turns verdicts and errors into HTTP responses.
//!
//! The headers about a credential, which a gateway passes on to the API, have values only if the request is allowed.
//! Otherwise they are empty: gateways pass that response on to the client, to whom every 401 must look the same.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use pdkeys::model::{Access, Credential, CredentialKind};
use pdkeys::verify::Verdict;
use serde_json::json;

pub(super) type HttpResponse = Response<Full<Bytes>>;

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
/// The largest number of headers in a response, including those that hyper adds, so that the map need not grow.
const MOST_HEADERS: usize = 16;

/// Returns a response with JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// Returns an error in the shape of PagerDuty's errors.
pub(super) fn error(status: StatusCode, message: &str) -> HttpResponse {
    json(status, json!({ "error": { "message": message } }).to_string())
}

/// Returns the response to a request whose verdict could not be determined.
pub(super) fn unavailable() -> HttpResponse {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Completes an error response for a gateway.
pub(super) fn error_to_gateway(mut answer: HttpResponse, for_nginx: bool) -> HttpResponse {
    insert_credential(answer.headers_mut(), None);
    if for_nginx {
        let status = answer.status();
        let message = status.canonical_reason().unwrap_or_default();
        insert_for_nginx(
            answer.headers_mut(),
            status,
            &json!({ "error": { "message": message } }).to_string(),
        );
    }
    answer
}

/// Returns the response to a gateway. An allowed request is a 200, since Envoy accepts nothing else; the API responds to an
/// accepted event itself.
pub(super) fn to_gateway(verdict: &Verdict, for_nginx: bool) -> HttpResponse {
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
    insert_credential(&mut headers, verdict.credential.as_deref().filter(|_| allowed));
    if let Some(state) = verdict.told_rate_limit() {
        headers.insert(&RATE_LIMIT, state.limit.into());
        headers.insert(&RATE_REMAINING, state.remaining.into());
        headers.insert(&RATE_RESET, state.reset.into());
    }
    // nginx forwards an allowed request, and the headers for it have no use.
    if for_nginx && !allowed {
        insert_for_nginx(&mut headers, status, &body);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, JSON);
        *answer.body_mut() = Full::new(body.into());
    }
    *answer.headers_mut() = headers;
    answer
}

/// Adds the headers about a credential. All values are plain ASCII: ids, and words of this program.
fn insert_credential(headers: &mut HeaderMap, credential: Option<&Credential>) {
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

/// Returns the word for the access of a credential. It is never empty, and says which other headers limit the access, so
/// that an API never decides by a missing header.
fn access(credential: &Credential) -> &'static str {
    match (credential.kind, &credential.access) {
        (CredentialKind::Integration, _) => "events",
        (_, Access::Role(Some(_))) => "role-scopes",
        (_, access) => access.kind().as_str(),
    }
}

/// Adds status and body as headers for nginx, which otherwise passes on only the statuses 401 and 403, and no body.
fn insert_for_nginx(headers: &mut HeaderMap, status: StatusCode, body: &str) {
    headers.insert(&FOR_NGINX_STATUS, status.as_u16().into());
    headers.insert(&FOR_NGINX_BODY, HeaderValue::try_from(ascii(body)).unwrap_or(EMPTY));
}

/// Escapes JSON to ASCII. Other characters occur only in strings, where they can be escaped.
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
