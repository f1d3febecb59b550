//! Answers `POST /oauth/token`: issues a token to a registered app that presents its client id and client secret
//! (RFC 6749, 4.4 and 5.2).
//!
//! It is the only endpoint that writes to the store, durably and one write at a time. Blocking threads do that, and only a
//! limited number of requests may wait, so that token requests do not delay checks.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use pdkeys::manage::{Grant, GrantRefusal, GrantRequest, grant_app_token};
use pdkeys::model::{APP_TOKEN_LIFE, ScopeSet, Secret};

use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::body::{self, DuplicateHeader};
use super::log::Denials;
use super::metrics::Metrics;
use super::monitor::StoreMonitor;
use super::response::{self, HttpResponse};

/// The media type of a request.
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// The largest number of requests that write to the store or wait for it.
const MOST_WAITING: usize = 32;

/// The largest number of missing scopes that a response names.
const MOST_NAMED: usize = 10;

/// An error response of RFC 6749, 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    error: &'static str,
    description: Cow<'static, str>,
    /// The number of seconds after which to try again, if there were too many requests.
    retry_after: Option<i64>,
}

const fn refused(error: &'static str, description: &'static str) -> Refused {
    Refused { error, description: Cow::Borrowed(description), retry_after: None }
}

const fn invalid_request(description: &'static str) -> Refused {
    refused("invalid_request", description)
}

const INVALID_CLIENT: Refused = refused("invalid_client", "the client could not be authenticated");

/// The parameters of a token request.
#[derive(Debug)]
struct Asked {
    client_id: String,
    client_secret: Secret,
    scope: Option<String>,
}

/// Issues tokens to apps.
pub(super) struct TokenEndpoint {
    place: Place,
    room: Arc<Semaphore>,
}

impl TokenEndpoint {
    pub(super) fn new(place: Place) -> Self {
        Self { place, room: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// Answers an app.
    pub(super) async fn answer(
        &self,
        monitor: &StoreMonitor,
        metrics: &Metrics,
        denials: &Denials,
        head: &Parts,
        body: &[u8],
    ) -> HttpResponse {
        let asked = match read(head, body) {
            Ok(asked) => asked,
            Err(refused) => return refuse(denials, &refused),
        };
        let Ok(turn) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics.turned_away();
            return no_store(response::unavailable());
        };
        if !monitor.is_usable() {
            return no_store(response::unavailable());
        }
        let place = self.place.clone();
        let granted = tokio::task::spawn_blocking(move || {
            let granted = grant(&place, &asked);
            drop(turn);
            granted
        });
        match granted.await {
            Ok(Ok(Ok(token))) => token,
            Ok(Ok(Err(refused))) => refuse(denials, &refused),
            Ok(Err(error)) => {
                tracing::error!(%error, "a token could not be issued");
                metrics.failed();
                no_store(response::unavailable())
            }
            // The server is shutting down.
            Err(_) => no_store(response::unavailable()),
        }
    }
}

/// Issues the token, or returns why not.
fn grant(place: &Place, asked: &Asked) -> Result<Result<HttpResponse, Refused>, pdkeys::Error> {
    let mut store = SqliteStore::open(place)?;
    let request = GrantRequest {
        client_id: &asked.client_id,
        client_secret: &asked.client_secret,
        scope: asked.scope.as_deref(),
    };
    let mut access_token = Zeroizing::new(String::new());
    let granted =
        grant_app_token(&mut store, &SystemClock, &mut SystemEntropy, &request, &mut |_, secret| {
            let mut bytes = Zeroizing::new(Vec::with_capacity(64));
            secret.write_to(&mut *bytes)?;
            access_token.push_str(&String::from_utf8_lossy(&bytes));
            Ok(())
        })?;
    let refusal = match granted {
        Grant::Issued { scope, .. } => {
            let body = json!({
                "access_token": *access_token,
                "scope": scope,
                "token_type": "bearer",
                "expires_in": APP_TOKEN_LIFE.as_secs(),
            });
            return Ok(Ok(no_store(response::json(StatusCode::OK, body.to_string()))));
        }
        Grant::Refused(refusal) => refusal,
    };
    Ok(Err(match refusal {
        GrantRefusal::InvalidClient => INVALID_CLIENT,
        GrantRefusal::UnauthorizedClient => {
            refused("unauthorized_client", "REST keys are switched off in this account")
        }
        GrantRefusal::InvalidScope { beyond, no_scopes } => {
            Refused { description: beyond_app(&beyond, no_scopes).into(), ..refused("invalid_scope", "") }
        }
        GrantRefusal::WrongAccount => refused("invalid_scope", "the account has another subdomain, or none"),
        GrantRefusal::TooMany { retry_after } => Refused {
            retry_after: Some(retry_after.as_secs().saturating_add(1)),
            ..refused("temporarily_unavailable", "the app was issued too many tokens within a minute")
        },
    }))
}

/// Describes the scopes that an app does not have. Words that are no scopes could be anything, and are not repeated.
fn beyond_app(beyond: &ScopeSet, no_scopes: usize) -> String {
    let named: Vec<_> = beyond.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let others = beyond.iter().count() - named.len();
    let lacks = match (named.as_slice(), others) {
        ([], _) => None,
        (named, 0) => Some(format!("the app does not have {}", named.join(" "))),
        (named, others) => Some(format!("the app does not have {} and {others} more", named.join(" "))),
    };
    let unknown = match no_scopes {
        0 => None,
        1 => Some("one word is no scope".to_owned()),
        many => Some(format!("{many} words are no scopes")),
    };
    lacks.into_iter().chain(unknown).collect::<Vec<_>>().join("; ")
}

/// Reads a request for a token.
fn read(head: &Parts, form: &[u8]) -> Result<Asked, Refused> {
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(invalid_request("parameters belong into the body"));
    }
    let content_type = body::content_type(&head.headers)
        .map_err(|DuplicateHeader| invalid_request("Content-Type is given more than once"))?;
    if !body::essence(content_type).eq_ignore_ascii_case(FORM) {
        return Err(invalid_request("the body must be application/x-www-form-urlencoded"));
    }
    let mut parameters = Parameters::default();
    for (name, value) in form_urlencoded::parse(form) {
        let value = Zeroizing::new(value.into_owned());
        let parameter = match name.as_ref() {
            "grant_type" => &mut parameters.grant_type,
            "client_id" => &mut parameters.client_id,
            "client_secret" => &mut parameters.client_secret,
            "scope" => &mut parameters.scope,
            // RFC 6749 requires that unknown parameters are ignored.
            _ => continue,
        };
        if parameter.replace(value).is_some() {
            return Err(invalid_request("a parameter is given twice"));
        }
    }
    // A parameter without a value counts as omitted (RFC 6749, 3.2).
    let given = |parameter: Option<Zeroizing<String>>| parameter.filter(|value| !value.is_empty());
    let [grant_type, client_id, client_secret, scope] =
        [parameters.grant_type, parameters.client_id, parameters.client_secret, parameters.scope].map(given);
    let (client_id, client_secret) = client(&head.headers, client_id, client_secret)?;
    match grant_type.as_ref().map(|grant| grant.as_str()) {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(refused("unsupported_grant_type", "the grant type must be client_credentials"));
        }
        None => return Err(invalid_request("grant_type is missing")),
    }
    Ok(Asked { client_id, client_secret, scope: scope.map(|scope| scope.to_string()) })
}

#[derive(Default)]
struct Parameters {
    grant_type: Option<Zeroizing<String>>,
    client_id: Option<Zeroizing<String>>,
    client_secret: Option<Zeroizing<String>>,
    scope: Option<Zeroizing<String>>,
}

/// Returns the client id and the client secret, from the header or from the form. Giving both is an error.
fn client(
    headers: &HeaderMap,
    id: Option<Zeroizing<String>>,
    secret: Option<Zeroizing<String>>,
) -> Result<(String, Secret), Refused> {
    let mut basic = headers.get_all(AUTHORIZATION).into_iter();
    let in_form = |id: Zeroizing<String>, secret: &Zeroizing<String>| {
        (id.to_string(), Secret::presented(secret.to_string()))
    };
    match (basic.next(), basic.next(), id, secret) {
        (_, Some(_), ..) => Err(invalid_request("Authorization is given twice")),
        (Some(value), None, id, None) => {
            let (known_as, secret) = read_basic(value.as_bytes()).ok_or(INVALID_CLIENT)?;
            // The form may repeat the client id.
            if id.is_some_and(|id| id.as_str() != known_as) {
                return Err(invalid_request("client_id is another in the body than in the header"));
            }
            Ok((known_as, secret))
        }
        (Some(_), None, _, Some(_)) => {
            Err(invalid_request("the client authenticates in the header and in the body"))
        }
        (None, None, Some(id), Some(secret)) => Ok(in_form(id, &secret)),
        (None, None, ..) => Err(INVALID_CLIENT),
    }
}

/// Reads `Basic` credentials. Client id and client secret are encoded as in a form (RFC 6749, 2.3.1), which does not change
/// those that pdkeys makes.
fn read_basic(value: &[u8]) -> Option<(String, Secret)> {
    let (scheme, encoded) = value.split_at_checked(b"basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((from_form(id)?.to_string(), Secret::presented(from_form(secret)?.to_string())))
}

/// Decodes a form-encoded value.
fn from_form(value: &str) -> Option<Zeroizing<String>> {
    let blanks = Zeroizing::new(value.replace('+', " "));
    let decoded = percent_decode_str(&blanks).decode_utf8().ok()?;
    Some(Zeroizing::new(decoded.into_owned()))
}

fn refuse(denials: &Denials, refused: &Refused) -> HttpResponse {
    let is_client = refused.error == INVALID_CLIENT.error;
    let status = match refused.retry_after {
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
        None if is_client => StatusCode::UNAUTHORIZED,
        None => StatusCode::BAD_REQUEST,
    };
    denials.note_refused_token(refused.error, status.as_u16());
    let body = json!({ "error": refused.error, "error_description": refused.description });
    let mut answer = no_store(response::json(status, body.to_string()));
    if let Some(seconds) = refused.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if is_client {
        let challenge = HeaderValue::from_static("Basic realm=\"pdkeys\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

fn no_store(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}
