//! Puts pdkeys in front of a small axum service: every request is checked before it reaches a handler.
//!
//! ```text
//! pdkeys create --read-only demo            # makes a store at the default place, and prints a key
//! cargo run --example axum -- ~/.local/share/pdkeys/pdkeys.db
//! curl -i http://127.0.0.1:3000/incidents -H "Authorization: Token token=KEY"
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use pdkeys::ports::SystemClock;
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::{Api, Presented, Request, UsageRecording, Verdict, Verifier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = std::env::args_os().nth(1).ok_or("say where the store is")?;
    let place = Place::new(database);
    let store = SqliteStore::open(&place)?;
    let verifier = Arc::new(Verifier::new(
        store,
        move || SqliteStore::open(&place),
        UsageRecording::InMemory,
        SystemClock,
    )?);
    let service = Router::new()
        .route("/incidents", get(async || Json(["nothing is on fire"])))
        .layer(middleware::from_fn_with_state(verifier, check));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, service).await?;
    Ok(())
}

/// Lets a request through if its credential may do what it asks, and answers it otherwise.
async fn check(
    State(verifier): State<Arc<Verifier<SqliteStore>>>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let mut authorizations = request.headers().get_all(header::AUTHORIZATION).iter();
    let presented = match (authorizations.next(), authorizations.next()) {
        (None, _) => Presented::Missing,
        (Some(value), None) => Presented::parse(value.as_bytes()),
        // Two programs could each take another one of them.
        (Some(_), Some(_)) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let asked = Request {
        api: Api::Rest,
        presented,
        method: request.method().as_str(),
        path: target.as_bytes(),
        via_gateway: true,
    };
    // A look-up takes microseconds: moving it to another thread would take longer.
    match verifier.verify(&asked) {
        Ok(verdict) if verdict.is_allowed() => {
            let mut response = next.run(request).await;
            add_headers(&mut response, &verdict);
            response
        }
        Ok(verdict) => {
            let status = StatusCode::from_u16(verdict.status()).unwrap_or(StatusCode::FORBIDDEN);
            let json = [(header::CONTENT_TYPE, "application/json")];
            let mut response = (status, json, verdict.body()).into_response();
            add_headers(&mut response, &verdict);
            response
        }
        // What cannot be found out is never allowed.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn add_headers(response: &mut Response, verdict: &Verdict) {
    for (name, value) in verdict.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}
