//! The API behind the gateways: it answers every request with what reached it, and lets every script read that.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName};
use axum::http::{HeaderMap, Method, Uri};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// A request as the API got it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Reached {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The size of the body in bytes.
    pub(crate) length: usize,
}

impl Reached {
    /// The one value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice: {self:?}");
        value
    }
}

/// The API, which runs for as long as the test.
pub(crate) struct Api {
    pub(crate) port: u16,
    seen: Seen,
}

/// Method and target of each request that has reached it.
type Seen = Arc<Mutex<Vec<String>>>;

impl Api {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Seen::default();
        let router =
            Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&seen));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { port, seen }
    }

    /// How many requests have reached it.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Which requests have reached it: method and target.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    State(seen): State<Seen>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ([(HeaderName, &'static str); 2], Json<Reached>) {
    seen.lock().unwrap().push(format!("{method} {uri}"));
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let reached =
        Reached { method: method.to_string(), target: uri.to_string(), headers, length: body.len() };
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")], Json(reached))
}
