//! The server: connections in, answers out, and an orderly end.

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

use super::Settings;
use super::auth::Auth;
use super::batcher::Asking;
use super::body::{self, Bounds};
use super::connection::{Phase, Pulse, Seconds, Wire};
use super::gateway;
use super::listen::{self, Accepted, Bound, Listener};
use super::log::{self, Denials};
use super::metrics::Metrics;
use super::monitor::Checker;
use super::oauth::TokenDesk;
use super::response::{self, Answer};
use super::verify;
use super::workers::{Worker, Workers};
use crate::failure::{Exit, Failure};
use crate::session::{Context, FirstUse};

/// The largest head of a request in bytes: nginx passes on up to 32 KiB of what a client sent.
const LARGEST_HEAD: usize = 40 * 1024;
/// How long a connection may be idle between two requests: longer than nginx, Caddy and Traefik keep theirs, so that
/// it is they who end it.
const IDLE_SECONDS: u64 = 180;
/// How long connections go on at the end without a request, so that one that is just being sent is answered.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is seen at the end whether everything is answered.
const SEE_EVERY: Duration = Duration::from_millis(20);
/// How long to wait when no connection can be accepted, for want of memory or files.
const PAUSE: Duration = Duration::from_millis(100);
/// Files that are open beside connections: the store's, several times over, and those of the runtime.
const OTHER_FILES: u64 = 128;

/// What is to be had on a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    /// Everything.
    Everything,
    /// Checks alone.
    Checks,
    /// What operators want to know, alone.
    Operations,
}

/// A connection that was accepted.
struct Arrival {
    accepted: Accepted,
    site: Site,
    _permit: OwnedSemaphorePermit,
}

struct Server {
    auth: Auth,
    checker: Checker,
    tokens: TokenDesk,
    metrics: Metrics,
    denials: Denials,
    bounds: Bounds,
    seconds: Seconds,
    stopping: AtomicBool,
    pulses: Mutex<HashMap<u64, Arc<Pulse>>>,
    next_connection: AtomicU64,
}

/// Serves until it is told to stop.
pub(super) fn run(context: &Context, settings: &Settings) -> Result<Exit, Failure> {
    let place = context.open(FirstUse::NeedsStore)?.place().clone();
    for address in settings.listen.iter().chain(&settings.metrics_listen) {
        address.refuse_stores_own(&place)?;
    }
    let site = if settings.metrics_listen.is_some() { Site::Checks } else { Site::Everything };
    let mut bound: Vec<(Bound, Site)> = listen::bind_all(&settings.listen, settings.socket_mode)?
        .into_iter()
        .map(|bound| (bound, site))
        .collect();
    if let Some(address) = &settings.metrics_listen {
        bound.push((listen::bind(address, settings.socket_mode)?, Site::Operations));
    }
    for (bound, _) in &bound {
        if bound.is_open_to_others() {
            context.terminal.warning(&format!(
                "{} can be reached by other machines, and whoever reaches it can ask",
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
        tokens: TokenDesk::new(place.clone()),
        checker: Checker::start(place)?,
        metrics: Metrics::new(),
        denials: Denials::new(seconds.clone()),
        bounds,
        seconds,
        stopping: AtomicBool::new(false),
        pulses: Mutex::default(),
        next_connection: AtomicU64::new(0),
    });
    let workers = Workers::start({
        let server = Arc::clone(&server);
        move |arrival, worker| Arc::clone(&server).connection(arrival, worker)
    });
    let workers = Arc::new(workers.map_err(cannot)?);
    let ended = runtime.block_on(serve(&server, &workers, bound, connections, settings.shutdown_timeout));
    drop(runtime);
    if let Some(workers) = Arc::into_inner(workers) {
        workers.end();
    }
    ended.map_err(cannot)?;
    if let Some(server) = Arc::into_inner(server) {
        server.checker.close()?;
    }
    tracing::info!("stopped");
    drop(log);
    Ok(Exit::Done)
}

/// Raises the number of files that may be open as far as the operating system lets, and gives how many connections
/// fit.
fn raise_file_limit(wanted: u32) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if raised.is_ok() { maximum } else { current };
    let room = files.map_or(u64::from(wanted), |files| files.saturating_sub(OTHER_FILES).max(1));
    usize::try_from(room.min(u64::from(wanted))).unwrap_or(usize::MAX)
}

async fn serve(
    server: &Arc<Server>,
    workers: &Arc<Workers<Arrival>>,
    bound: Vec<(Bound, Site)>,
    connections: usize,
    shutdown_timeout: Duration,
) -> std::io::Result<()> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = watch::channel(false);
    let room = Arc::new(Semaphore::new(connections));
    let mut doors = Vec::new();
    for (bound, site) in bound {
        let address = bound.address();
        let listener = bound.start()?;
        let purpose = if site == Site::Operations { "metrics" } else { "checks" };
        tracing::info!(address, purpose, "listening");
        // Metrics are to be had however many others are connected.
        let room =
            if site == Site::Operations { Arc::new(Semaphore::new(OPERATORS)) } else { Arc::clone(&room) };
        doors.push(tokio::spawn(accept(Arc::clone(workers), listener, site, room, stopped.clone())));
    }
    let sweeper = tokio::spawn(sweep(Arc::clone(server)));
    notify(&[NotifyState::Ready]);
    first_of(&mut terminated, &mut interrupted).await;
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    server.stopping.store(true, Ordering::Release);
    stop.send_replace(true);
    for door in doors {
        // It never panics.
        let _ = door.await;
    }
    tokio::select! {
        () = server.answer_the_last(workers, shutdown_timeout) => {}
        () = first_of(&mut terminated, &mut interrupted) => {}
    }
    sweeper.abort();
    Ok(())
}

/// How many may ask for metrics at a time, where these have a listener of their own.
const OPERATORS: usize = 64;

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

/// Accepts connections until it is told to stop, and those that wait at that moment.
async fn accept(
    workers: Arc<Workers<Arrival>>,
    listener: Listener,
    site: Site,
    room: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        // Nobody closes the semaphore.
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(accepted) => workers.hand(Arrival { accepted, site, _permit: permit }),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Counts the seconds, and ends the connections that have been at the same thing for too long.
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
            // The time of a body is bounded where it is read.
            Phase::Serving | Phase::Over => false,
        });
    }
}

/// A connection that is looked after until it ends, however it does.
struct Present<'s> {
    server: &'s Server,
    number: u64,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.server.metrics.disconnected();
        self.server.pulses().remove(&self.number);
    }
}

impl Server {
    fn pulses(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Pulse>>> {
        // A map is whole at every moment, whoever panicked.
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connections that have been at something since a second that is too long ago.
    fn end_connections(&self, is_too_long: impl Fn(Phase, u64) -> bool) {
        for pulse in self.pulses().values() {
            let (phase, since) = pulse.phase();
            if is_too_long(phase, since) {
                pulse.end((phase, since));
            }
        }
    }

    /// Waits until what has begun is answered, but no longer than so.
    async fn answer_the_last(&self, workers: &Workers<Arrival>, timeout: Duration) {
        let began = monotonic();
        while began.elapsed() < timeout && !workers.are_idle() {
            if began.elapsed() >= GRACE {
                self.end_connections(|phase, _| matches!(phase, Phase::Fresh | Phase::Idle));
            }
            tokio::time::sleep(SEE_EVERY).await;
        }
    }

    async fn connection(self: Arc<Self>, arrival: Arrival, worker: Arc<Worker>) {
        let Arrival { accepted, site, _permit } = arrival;
        // The operating system lets one more be watched, as it did when it was accepted.
        let Ok(stream) = accepted.start() else { return };
        let pulse = Arc::new(Pulse::new(self.seconds.clone()));
        let _present = self.present(&pulse);
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&pulse)));
        let service = service_fn(|request| self.answer(site, &worker, &pulse, request));
        let mut connection = pin!(
            http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(LARGEST_HEAD)
                .half_close(false)
                // Answers are small: one piece is sent faster than several.
                .writev(false)
                .serve_connection(wire, service)
        );
        poll_fn(|context| {
            if pulse.is_over(context) {
                return Poll::Ready(());
            }
            // Whatever is wrong with a connection is its client's business.
            connection.as_mut().poll(context).map(drop)
        })
        .await;
    }

    /// Has a connection looked after, as long as what is given lives.
    fn present(&self, pulse: &Arc<Pulse>) -> Present<'_> {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        self.pulses().insert(number, Arc::clone(pulse));
        self.metrics.connected();
        Present { server: self, number }
    }

    async fn answer(
        &self,
        site: Site,
        worker: &Worker,
        pulse: &Pulse,
        request: Request<Incoming>,
    ) -> Result<Answer, Infallible> {
        pulse.begin(Phase::Serving);
        let length = request.body().size_hint().exact();
        let (head, body) = request.into_parts();
        let has_one_meaning = has_one_meaning(&head, pulse.lengths());
        let mut answer = if has_one_meaning {
            self.route(site, worker, &head, body).await
        } else {
            response::error(StatusCode::BAD_REQUEST, "Bad Request")
        };
        // What was sent behind the request is not looked at, and ends with the connection.
        let is_more = length != Some(pulse.behind_head());
        if is_more || !has_one_meaning || self.stopping.load(Ordering::Acquire) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        pulse.begin(Phase::Idle);
        Ok(answer)
    }

    async fn route(&self, site: Site, worker: &Worker, head: &Parts, body: Incoming) -> Answer {
        let path = head.uri.path();
        if site != Site::Operations {
            let target = head.uri.path_and_query().map_or(path, |target| target.as_str());
            if let Some(at) = gateway::asked_at(path, target) {
                let Self { auth, checker, metrics, denials, .. } = self;
                let asking = Asking { checker, together: &worker.together };
                return auth.answer(asking, metrics, denials, at, head, body).await;
            }
            if path == "/verify" {
                return Box::pin(self.verify(head, body)).await;
            }
            if path == "/oauth/token" {
                return Box::pin(self.issue_token(head, body)).await;
            }
        }
        if site != Site::Checks {
            match path {
                "/healthz" => {
                    return only(&[Method::GET, Method::HEAD], head, || {
                        response::json(StatusCode::OK, json!({ "alive": true }).to_string())
                    });
                }
                "/readyz" => return only(&[Method::GET, Method::HEAD], head, || self.readiness()),
                "/metrics" => return only(&[Method::GET, Method::HEAD], head, || self.told_metrics()),
                _ => {}
            }
        }
        response::error(StatusCode::NOT_FOUND, "Not Found")
    }

    async fn verify(&self, head: &Parts, body: Incoming) -> Answer {
        if head.method != Method::POST {
            return not_allowed(&[Method::POST]);
        }
        match body::read(body, self.bounds).await {
            Ok(body) => {
                verify::answer(&self.checker, &self.metrics, &self.denials, &head.headers, &body).await
            }
            Err(fault) => fault.answer(),
        }
    }

    async fn issue_token(&self, head: &Parts, body: Incoming) -> Answer {
        if head.method != Method::POST {
            return not_allowed(&[Method::POST]);
        }
        match body::read(body, self.bounds).await {
            Ok(body) => self.tokens.answer(&self.checker, &self.metrics, &self.denials, head, &body).await,
            Err(fault) => fault.answer(),
        }
    }

    fn readiness(&self) -> Answer {
        let stopping = self.stopping.load(Ordering::Acquire);
        let (store, counts) = (self.checker.is_usable(), self.checker.counts_are_written());
        let ready = store && counts && !stopping;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let state = json!({ "ready": ready, "store": store, "counts": counts, "stopping": stopping });
        response::json(status, state.to_string())
    }

    fn told_metrics(&self) -> Answer {
        match self.metrics.text(&self.checker) {
            Some(text) => {
                let mut answer = response::json(StatusCode::OK, text);
                answer.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
                answer
            }
            None => response::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// Returns whether every program would say alike where a request ends and which host it is for: one length at most, or
/// chunks and no length; one host, in its header, which HTTP/1.0 alone may leave out.
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

fn only(methods: &[Method], head: &Parts, answer: impl FnOnce() -> Answer) -> Answer {
    if methods.contains(&head.method) { answer() } else { not_allowed(methods) }
}

fn not_allowed(methods: &[Method]) -> Answer {
    let mut answer = response::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed: Vec<_> = methods.iter().map(Method::as_str).collect();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}
