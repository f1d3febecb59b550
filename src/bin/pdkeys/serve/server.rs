//! Accepts connections, routes requests, and shuts down in order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use pdkeys::ports::monotonic;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::auth::Auth;
use super::batcher::BatchHandle;
use super::body::{self, Bounds};
use super::connection::{ConnState, GuardedStream, Phase, Seconds};
use super::gateway;
use super::listen::{self, Accepted, Bound, Listener};
use super::log::{self, Denials};
use super::metrics::Metrics;
use super::monitor::StoreMonitor;
use super::oauth::TokenEndpoint;
use super::response::{self, HttpResponse};
use super::settings::Settings;
use super::verify;
use super::workers::Workers;
use crate::failure::{Exit, Failure};
use crate::session::{Context, FirstUse};

/// The largest head of a request, in bytes. nginx passes on up to 32 KiB of what a client sent.
const LARGEST_HEAD: usize = 40 * 1024;
/// How long a connection may be idle between two requests: longer than nginx, Caddy and Traefik keep theirs, so that the
/// gateway closes it first.
const IDLE_SECONDS: u64 = 180;
/// How long idle connections stay open during shutdown, so that a request that is on its way is answered.
const GRACE: Duration = Duration::from_secs(1);
/// How often shutdown looks whether all requests are answered.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long to wait after a connection could not be accepted for lack of memory or files.
const PAUSE: Duration = Duration::from_millis(100);
/// The number of open files other than connections: those of the store, several times, and of the runtime.
const OTHER_FILES: u64 = 128;

/// The endpoints that a listener serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndpointSet {
    /// All endpoints.
    All,
    /// Only checks and tokens.
    Checks,
    /// Only metrics, liveness and readiness.
    Operations,
}

/// A connection that was accepted.
struct AcceptedConn {
    accepted: Accepted,
    endpoints: EndpointSet,
    _permit: OwnedSemaphorePermit,
}

struct Server {
    auth: Auth,
    monitor: Arc<StoreMonitor>,
    tokens: TokenEndpoint,
    metrics: Metrics,
    denials: Denials,
    bounds: Bounds,
    seconds: Seconds,
    stopping: AtomicBool,
    connections: Mutex<HashMap<u64, Arc<ConnState>>>,
    next_connection: AtomicU64,
}

/// Serves until it is told to stop.
pub(crate) fn run(context: &Context, settings: &Settings) -> Result<Exit, Failure> {
    let place = context.open(FirstUse::NeedsStore)?.place().clone();
    for address in settings.listen.iter().chain(&settings.metrics_listen) {
        address.refuse_stores_own(&place)?;
    }
    let endpoints = if settings.metrics_listen.is_some() { EndpointSet::Checks } else { EndpointSet::All };
    let mut bound: Vec<(Bound, EndpointSet)> = listen::bind_all(&settings.listen, settings.socket_mode)?
        .into_iter()
        .map(|bound| (bound, endpoints))
        .collect();
    if let Some(address) = &settings.metrics_listen {
        bound.push((listen::bind(address, settings.socket_mode)?, EndpointSet::Operations));
    }
    for (bound, _) in &bound {
        if bound.is_open_to_others() {
            context.terminal.warning(&format!(
                "{} can be reached by other machines, and any of them can ask",
                bound.address()
            ));
        }
    }
    let connections = raise_file_limit(settings.max_connections);
    let cannot = |error| Failure::failed(format!("cannot serve: {error}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let log = log::start(&context.terminal, settings.log_format);
    let seconds = Seconds::default();
    let bounds = Bounds { bytes: settings.max_body, time: settings.timeout };
    let server = Arc::new(Server {
        auth: Auth::new(settings, bounds),
        tokens: TokenEndpoint::new(place.clone()),
        monitor: Arc::new(StoreMonitor::start(place)?),
        metrics: Metrics::new(),
        denials: Denials::new(seconds.clone()),
        bounds,
        seconds,
        stopping: AtomicBool::new(false),
        connections: Mutex::default(),
        next_connection: AtomicU64::new(0),
    });
    let spawn_batcher = {
        let monitor = Arc::clone(&server.monitor);
        move || BatchHandle::spawn(Arc::clone(&monitor))
    };
    let serve_connection = {
        let server = Arc::clone(&server);
        move |accepted, batcher| Arc::clone(&server).connection(accepted, batcher)
    };
    let workers = Workers::start(spawn_batcher, serve_connection);
    let workers = Arc::new(workers.map_err(cannot)?);
    let ended = runtime.block_on(serve(&server, &workers, bound, connections, settings.shutdown_timeout));
    drop(runtime);
    if let Some(workers) = Arc::into_inner(workers) {
        workers.end();
    }
    ended.map_err(cannot)?;
    if let Some(monitor) = Arc::into_inner(server).and_then(|server| Arc::into_inner(server.monitor)) {
        monitor.close()?;
    }
    tracing::info!("stopped");
    drop(log);
    Ok(Exit::Done)
}

/// Raises the limit of open files as far as the operating system allows. Returns the number of connections that fit.
fn raise_file_limit(wanted: u32) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if raised.is_ok() { maximum } else { current };
    let room = files.map_or(u64::from(wanted), |files| files.saturating_sub(OTHER_FILES).max(1));
    usize::try_from(room.min(u64::from(wanted))).unwrap_or(usize::MAX)
}

async fn serve(
    server: &Arc<Server>,
    workers: &Arc<Workers<AcceptedConn>>,
    bound: Vec<(Bound, EndpointSet)>,
    connections: usize,
    shutdown_timeout: Duration,
) -> std::io::Result<()> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = watch::channel(false);
    let room = Arc::new(Semaphore::new(connections));
    let mut doors = Vec::new();
    for (bound, endpoints) in bound {
        let address = bound.address();
        let listener = bound.start()?;
        let purpose = if endpoints == EndpointSet::Operations { "metrics" } else { "checks" };
        tracing::info!(address, purpose, "listening");
        // Metrics have room of their own, however many other connections there are.
        let room = if endpoints == EndpointSet::Operations {
            Arc::new(Semaphore::new(MAX_METRICS_CONNECTIONS))
        } else {
            Arc::clone(&room)
        };
        doors.push(tokio::spawn(accept(Arc::clone(workers), listener, endpoints, room, stopped.clone())));
    }
    let sweeper = tokio::spawn(sweep(Arc::clone(server)));
    notify(&[NotifyState::Ready]);
    first_of(&mut terminated, &mut interrupted).await;
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    server.stopping.store(true, Ordering::Release);
    stop.send_replace(true);
    for door in doors {
        // It ends with an error only if it panics.
        let _ = door.await;
    }
    tokio::select! {
        () = server.wait_for_requests(workers, shutdown_timeout) => {}
        () = first_of(&mut terminated, &mut interrupted) => {}
    }
    sweeper.abort();
    Ok(())
}

/// The largest number of connections for metrics, if they have a listener of their own.
const MAX_METRICS_CONNECTIONS: usize = 64;

async fn first_of(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Accepts connections until shutdown, and then those that already wait.
async fn accept(
    workers: Arc<Workers<AcceptedConn>>,
    listener: Listener,
    endpoints: EndpointSet,
    room: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(accepted) => workers.hand(AcceptedConn { accepted, endpoints, _permit: permit }),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Counts the seconds, and closes connections that have been in a phase for too long.
async fn sweep(server: Arc<Server>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let longest = server.bounds.time.as_secs();
    loop {
        second.tick().await;
        server.seconds.count_up();
        let now = server.seconds.now();
        server.end_connections(|phase, since| match phase {
            Phase::Fresh | Phase::Reading => now.saturating_sub(since) > longest,
            Phase::Idle => now.saturating_sub(since) > IDLE_SECONDS,
            // Reading the body has its own timeout.
            Phase::Serving | Phase::Over => false,
        });
    }
}

/// The registration of a connection, which ends when it is dropped.
struct Registration<'s> {
    server: &'s Server,
    number: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.server.metrics.disconnected();
        self.server.connections().remove(&self.number);
    }
}

impl Server {
    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<ConnState>>> {
        // The map is consistent even if a thread panicked while it held the lock.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections whose phase, and the second in which it began, satisfy a condition.
    fn end_connections(&self, is_too_long: impl Fn(Phase, u64) -> bool) {
        for state in self.connections().values() {
            let (phase, since) = state.phase();
            if is_too_long(phase, since) {
                state.end((phase, since));
            }
        }
    }

    /// Waits until all requests are answered, or the timeout has passed.
    async fn wait_for_requests(&self, workers: &Workers<AcceptedConn>, timeout: Duration) {
        let began = monotonic();
        while began.elapsed() < timeout && !workers.are_idle() {
            if began.elapsed() >= GRACE {
                self.end_connections(|phase, _| matches!(phase, Phase::Fresh | Phase::Idle));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn connection(self: Arc<Self>, connection: AcceptedConn, batcher: BatchHandle) {
        let AcceptedConn { accepted, endpoints, _permit } = connection;
        // It fails only if the event loop cannot watch the connection.
        let Ok(stream) = accepted.start() else { return };
        let state = Arc::new(ConnState::new(self.seconds.clone()));
        let _registration = self.register(&state);
        let wire = TokioIo::new(GuardedStream::new(stream, Arc::clone(&state)));
        let service = service_fn(|request| self.answer(endpoints, &batcher, &state, request));
        let mut connection = pin!(
            http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(LARGEST_HEAD)
                .half_close(false)
                // Responses are small, and one buffer is sent faster than several.
                .writev(false)
                .serve_connection(wire, service)
        );
        poll_fn(|context| {
            if state.is_over(context) {
                return Poll::Ready(());
            }
            // Errors of a connection concern only its client.
            connection.as_mut().poll(context).map(drop)
        })
        .await;
    }

    /// Registers a connection until the result is dropped.
    fn register(&self, state: &Arc<ConnState>) -> Registration<'_> {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        self.connections().insert(number, Arc::clone(state));
        self.metrics.connected();
        Registration { server: self, number }
    }

    async fn answer(
        &self,
        endpoints: EndpointSet,
        batcher: &BatchHandle,
        state: &ConnState,
        request: Request<Incoming>,
    ) -> Result<HttpResponse, Infallible> {
        state.begin(Phase::Serving);
        let length = request.body().size_hint().exact();
        let (head, body) = request.into_parts();
        let has_one_meaning = has_one_meaning(&head, state.lengths());
        let mut answer = if has_one_meaning {
            self.route(endpoints, batcher, &head, body).await
        } else {
            response::error(StatusCode::BAD_REQUEST, "Bad Request")
        };
        // Bytes after the request are not read: the connection is closed after the response.
        let is_more = length != Some(state.behind_head());
        if is_more || !has_one_meaning || self.stopping.load(Ordering::Acquire) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        state.begin(Phase::Idle);
        Ok(answer)
    }

    async fn route(
        &self,
        endpoints: EndpointSet,
        batcher: &BatchHandle,
        head: &Parts,
        body: Incoming,
    ) -> HttpResponse {
        let path = head.uri.path();
        if endpoints != EndpointSet::Operations {
            let target = head.uri.path_and_query().map_or(path, |target| target.as_str());
            if let Some(at) = gateway::auth_path(path, target) {
                let Self { auth, metrics, denials, .. } = self;
                return auth.answer(batcher, metrics, denials, at, head, body).await;
            }
            if path == "/verify" {
                return Box::pin(self.verify(head, body)).await;
            }
            if path == "/oauth/token" {
                return Box::pin(self.issue_token(head, body)).await;
            }
        }
        if endpoints != EndpointSet::Checks {
            match path {
                "/healthz" => {
                    return only(&[Method::GET, Method::HEAD], head, || {
                        response::json(StatusCode::OK, json!({ "alive": true }).to_string())
                    });
                }
                "/readyz" => return only(&[Method::GET, Method::HEAD], head, || self.readiness()),
                "/metrics" => return only(&[Method::GET, Method::HEAD], head, || self.metrics_text()),
                _ => {}
            }
        }
        response::error(StatusCode::NOT_FOUND, "Not Found")
    }

    async fn verify(&self, head: &Parts, body: Incoming) -> HttpResponse {
        if head.method != Method::POST {
            return not_allowed(&[Method::POST]);
        }
        match body::read(body, self.bounds).await {
            Ok(body) => {
                verify::answer(&self.monitor, &self.metrics, &self.denials, &head.headers, &body).await
            }
            Err(fault) => fault.answer(),
        }
    }

    async fn issue_token(&self, head: &Parts, body: Incoming) -> HttpResponse {
        if head.method != Method::POST {
            return not_allowed(&[Method::POST]);
        }
        match body::read(body, self.bounds).await {
            Ok(body) => self.tokens.answer(&self.monitor, &self.metrics, &self.denials, head, &body).await,
            Err(fault) => fault.answer(),
        }
    }

    fn readiness(&self) -> HttpResponse {
        let stopping = self.stopping.load(Ordering::Acquire);
        let (store, counts) = (self.monitor.is_usable(), self.monitor.counts_are_written());
        let ready = store && counts && !stopping;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let state = json!({ "ready": ready, "store": store, "counts": counts, "stopping": stopping });
        response::json(status, state.to_string())
    }

    fn metrics_text(&self) -> HttpResponse {
        match self.metrics.text(&self.monitor) {
            Some(text) => {
                let mut answer = response::json(StatusCode::OK, text);
                answer.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
                answer
            }
            None => response::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// Returns whether all programs agree on where a request ends and which host it is for: it has at most one length, or
/// chunks and no length, and one `Host` header, which only HTTP/1.0 may omit.
fn has_one_meaning(head: &Parts, lengths: u64) -> bool {
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let framing = match (encodings.next(), encodings.next()) {
        (None, _) => lengths <= 1,
        (Some(encoding), None) => lengths == 0 && encoding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    let hosts = head.headers.get_all(HOST).iter().count();
    let one_host = hosts == 1 || (hosts == 0 && head.version == Version::HTTP_10);
    framing && one_host && head.uri.authority().is_none() && head.uri.scheme().is_none()
}

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

fn only(methods: &[Method], head: &Parts, answer: impl FnOnce() -> HttpResponse) -> HttpResponse {
    if methods.contains(&head.method) { answer() } else { not_allowed(methods) }
}

fn not_allowed(methods: &[Method]) -> HttpResponse {
    let mut answer = response::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed: Vec<_> = methods.iter().map(Method::as_str).collect();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}
