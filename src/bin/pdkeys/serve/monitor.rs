//! The verifier of the server, and whether its store can be used now.
//!
//! A store can be deleted, replaced, locked or made unreadable while the server runs. Checks then fail at once as
//! unavailable: workers never wait for a lock. One thread opens the store anew every second, so that the result is that of
//! a server that has just started. If another file has replaced the store, or the open files are no longer those that
//! other processes find, it makes a new verifier with the present store key. A failed check makes all others unavailable
//! until the store has been tried again.
//!
//! Without the usage file, checks go on; the log and the metrics report it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use pdkeys::ports::SystemClock;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{Place, ReadTx as _, Store as _};
use pdkeys::verify::{Request, UsageRecording, Verdict, Verifier};
use pdkeys::{Error, ErrorKind};

/// How often the store is opened anew.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long a check waits for a lock: longer than a checkpoint holds it, and too short to be noticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// The store cannot be used now, so that there is no verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unavailable;

/// Checks credentials while the store can be used.
pub(super) struct StoreMonitor {
    state: Arc<State>,
    store_watch: JoinHandle<()>,
    counts_watch: JoinHandle<()>,
}

struct State {
    place: Place,
    verifier: ArcSwap<Verifier<SqliteStore>>,
    /// Whether the store can be used.
    usable: AtomicBool,
    /// Whether every connection must be closed before the store can be used again.
    displaced: AtomicBool,
    /// Whether counts could be written when that was last tried.
    counts: AtomicBool,
    /// How often the usage file was found to be gone, or another.
    usage_file_losses: AtomicU64,
    stop: AtomicBool,
    watcher: Mutex<Option<Thread>>,
}

impl StoreMonitor {
    /// Opens a store, and starts the threads that watch it.
    pub(super) fn start(place: Place) -> Result<Self, Error> {
        let (verifier, held) = open(&place)?;
        let state = Arc::new(State {
            place,
            verifier: ArcSwap::from_pointee(verifier),
            usable: AtomicBool::new(true),
            displaced: AtomicBool::new(false),
            counts: AtomicBool::new(true),
            usage_file_losses: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            watcher: Mutex::default(),
        });
        let store_watch = thread::spawn({
            let state = Arc::clone(&state);
            move || state.watch_store(held)
        });
        *state.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(store_watch.thread().clone());
        let counts_watch = thread::spawn({
            let state = Arc::clone(&state);
            move || state.watch_counts()
        });
        Ok(Self { state, store_watch, counts_watch })
    }

    /// Checks several requests against the same state of the store.
    pub(super) fn verify_all(&self, requests: &[Request<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        self.verifier()?.verify_all(requests).map_err(|error| self.failed(&error))
    }

    /// Returns the verifier, if the store can be used.
    pub(super) fn verifier(&self) -> Result<Guard<Arc<Verifier<SqliteStore>>>, Unavailable> {
        if !self.state.usable.load(Ordering::Acquire) {
            return Err(Unavailable);
        }
        Ok(self.state.verifier.load())
    }

    /// Records that a check failed. No other is made until the store has been tried again, which begins at once.
    pub(super) fn failed(&self, error: &Error) -> Unavailable {
        self.state.failed(error);
        if let Some(watcher) = &*self.state.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher.unpark();
        }
        Unavailable
    }

    /// Returns whether the store can be used.
    pub(super) fn is_usable(&self) -> bool {
        self.state.usable.load(Ordering::Acquire)
    }

    /// Returns whether counts can be written.
    pub(super) fn counts_are_written(&self) -> bool {
        self.state.counts.load(Ordering::Acquire) && self.state.verifier.load().counting_fault().is_none()
    }

    /// How often the usage file was found to be gone, or another.
    pub(super) fn usage_file_losses(&self) -> u64 {
        self.state.usage_file_losses.load(Ordering::Relaxed)
    }

    /// Stops the threads, and writes the counts.
    pub(super) fn close(self) -> Result<(), Error> {
        self.state.stop.store(true, Ordering::Release);
        for watch in [self.store_watch, self.counts_watch] {
            watch.thread().unpark();
            // If a thread panicked, nothing depends on it any more.
            let _ = watch.join();
        }
        match Arc::into_inner(self.state).and_then(|state| Arc::into_inner(state.verifier.into_inner())) {
            Some(verifier) => verifier.close(),
            // A check is still using the verifier, which writes the counts when it is dropped.
            None => Ok(()),
        }
    }
}

/// Opens the store. Returns a verifier, and a connection by which the file is recognised later.
fn open(place: &Place) -> Result<(Verifier<SqliteStore>, SqliteStore), Error> {
    let mut held = SqliteStore::open_waiting(place, PATIENCE)?;
    held.look_at_files()?;
    let store = SqliteStore::open_waiting(place, PATIENCE)?;
    let again = {
        let place = place.clone();
        move || SqliteStore::open_waiting(&place, PATIENCE)
    };
    Ok((Verifier::new(store, again, UsageRecording::InMemory, SystemClock)?, held))
}

impl State {
    fn watch_store(&self, held: SqliteStore) {
        let mut held = Some(held);
        // Verifiers of replaced stores, each kept until its last check has ended.
        let mut retired: Vec<Arc<Verifier<SqliteStore>>> = Vec::new();
        loop {
            thread::park_timeout(TRY_EVERY);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            if self.displaced.swap(false, Ordering::AcqRel) {
                held = None;
                self.verifier.load().close_idle();
            }
            match self.try_store(&mut held, &mut retired) {
                Ok(()) => {
                    if !self.usable.swap(true, Ordering::AcqRel) {
                        tracing::info!("the store can be used again");
                    }
                }
                Err(error) => self.failed(&error),
            }
            retired.retain(|verifier| Arc::strong_count(verifier) > 1);
        }
    }

    fn try_store(
        &self,
        held: &mut Option<SqliteStore>,
        retired: &mut Vec<Arc<Verifier<SqliteStore>>>,
    ) -> Result<(), Error> {
        let mut opened = SqliteStore::open_waiting(&self.place, PATIENCE)?;
        opened.keyring()?;
        opened.read()?.account()?;
        if let Some(held) = held
            && opened.is_same_file(held)
        {
            return held.look_at_files();
        }
        let is_another = held.is_some();
        let (verifier, other) = open(&self.place)?;
        *held = Some(other);
        retired.push(self.verifier.swap(Arc::new(verifier)));
        if is_another {
            tracing::warn!("another store lies at the place of the one before, and is used from now on");
        }
        Ok(())
    }

    fn failed(&self, error: &Error) {
        if error.is_displaced() {
            self.displaced.store(true, Ordering::Release);
        }
        if self.usable.swap(false, Ordering::AcqRel) {
            tracing::error!(error = describe(error), "the store cannot be used");
        }
    }

    fn watch_counts(&self) {
        let mut store = None;
        while !self.stop.load(Ordering::Acquire) {
            // Whether the store itself can be used is told by the other watch.
            if let Some(opened) = self.open_for_counts(store.take()) {
                let opened = store.insert(opened);
                let lost = opened.look_at_usage_file().inspect_err(|_| {
                    self.usage_file_losses.fetch_add(1, Ordering::Relaxed);
                });
                let added = lost.and_then(|()| opened.add_usage(&[]));
                let before = self.counts.swap(added.is_ok(), Ordering::AcqRel);
                match added {
                    Err(error) if before => {
                        tracing::error!(error = describe(&error), "counts cannot be written");
                    }
                    Ok(()) if !before => tracing::info!("counts can be written again"),
                    _ => {}
                }
            }
            thread::park_timeout(TRY_EVERY);
        }
    }

    fn open_for_counts(&self, kept: Option<SqliteStore>) -> Option<SqliteStore> {
        if let Some(mut kept) = kept {
            return kept.look_at_files().is_ok().then_some(kept);
        }
        SqliteStore::open_waiting(&self.place, PATIENCE).ok()
    }
}

/// What went wrong, for the log; how long the library would have waited for a lock is not how long this server does.
fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::StoreLocked { .. } => "it is locked by another process".to_owned(),
        _ => error.to_string(),
    }
}
