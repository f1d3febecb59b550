//! The verifier, which checks credentials against a store from any number of threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;

use super::check::{Batch, Prepared, apply_rate_limit, conclude, prepare};
use super::limit::UsageBuffer;
use crate::error::{Error, Result};
use crate::model::Keyring;
use crate::ports::{Clock, monotonic};
use crate::store::{Store, Window};
use crate::verify::{Request, Verdict};

/// The interval at which usage that was counted in memory is written to the store.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// The most counts written in one transaction, so that other processes never wait long for the file.
const MAX_PER_FLUSH: usize = 5_000;
/// The same for the flush at the end. A larger transaction writes each page of the file once.
const MAX_PER_LAST_FLUSH: usize = 50_000;
/// The time that may be spent on writing counts in each interval.
const FLUSH_BUDGET: Duration = Duration::from_millis(200);

/// Where checks are counted, for usage and for the rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageRecording {
    /// In the store, one by one: for a process that makes a single check.
    InStore,
    /// In memory, with rate limits of this process; usage is written to the store every second.
    InMemory,
    /// Nowhere. The verdict is the one that a counted check would have.
    Nowhere,
}

/// Checks credentials against a store. Threads that check at the same time use a connection each, which is opened when
/// first needed and then kept.
///
/// Usage that was counted in memory is written to the store every second, by [`Verifier::close`], and on drop. Only
/// `close` can report a failure.
pub struct Verifier<S: Store + Send + 'static> {
    inner: Arc<Inner<S>>,
    flusher: Option<JoinHandle<()>>,
}

struct Inner<S> {
    open: Box<dyn Fn() -> Result<S> + Send + Sync>,
    stores: Mutex<Vec<S>>,
    keyring: Keyring,
    recording: UsageRecording,
    usage: UsageBuffer,
    clock: Box<dyn Clock + Send + Sync>,
    flush: Mutex<Flush>,
    wake: Condvar,
}

/// The state that the flusher thread shares with the checks.
#[derive(Default)]
struct Flush {
    /// Set to flush now instead of at the end of the interval.
    now: bool,
    /// Set to flush for the last time and end the thread.
    stop: bool,
    /// The error of the last flush, if it failed.
    fault: Option<Error>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No critical section can panic halfway, so a poisoned mutex still guards consistent data.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store + Send + 'static> Verifier<S> {
    /// Creates a verifier. `open` opens the same store again, for every further thread that checks at the same time.
    ///
    /// # Errors
    /// If the store key is unavailable.
    pub fn new(
        mut store: S,
        open: impl Fn() -> Result<S> + Send + Sync + 'static,
        recording: UsageRecording,
        clock: impl Clock + Send + Sync + 'static,
    ) -> Result<Self> {
        let keyring = store.keyring()?;
        let inner = Arc::new(Inner {
            open: Box::new(open),
            stores: Mutex::new(vec![store]),
            keyring,
            recording,
            usage: UsageBuffer::default(),
            clock: Box::new(clock),
            flush: Mutex::default(),
            wake: Condvar::new(),
        });
        // The thread also ends the read transactions of idle connections, so `Nowhere` needs it too.
        let flusher = (recording != UsageRecording::InStore).then(|| {
            let inner = Arc::clone(&inner);
            thread::spawn(move || inner.flush_until_stopped())
        });
        Ok(Self { inner, flusher })
    }

    /// Checks whether a credential may make a request, and counts the check.
    ///
    /// Changes that other processes have committed are visible: the next check denies a key that was disabled.
    ///
    /// # Errors
    /// If the answer could not be found out. Callers must treat the request as denied then.
    pub fn verify(&self, request: &Request<'_>) -> Result<Verdict> {
        self.inner.verify(request)
    }

    /// Checks several requests against one snapshot of the store, taken after the call began. Returns the verdicts in the order
    /// of the requests. This costs less than checking the requests one by one.
    ///
    /// # Errors
    /// If the answer to any of them could not be found out.
    pub fn verify_all(&self, requests: &[Request<'_>]) -> Result<Vec<Verdict>> {
        self.inner.verify_all(requests)
    }

    /// Closes the stores that no check is using. The next check opens the store anew.
    pub fn close_idle(&self) {
        self.inner.close_idle();
    }

    /// Returns the error of the last flush, if it failed. The counts are kept, and the next flush tries again.
    #[must_use]
    pub fn counting_fault(&self) -> Option<String> {
        lock(&self.inner.flush).fault.as_ref().map(ToString::to_string)
    }

    /// Writes the remaining usage to the store, and stops the flusher thread.
    ///
    /// # Errors
    /// If the usage cannot be written.
    pub fn close(mut self) -> Result<()> {
        self.stop();
        match lock(&self.inner.flush).fault.take() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn stop(&mut self) {
        lock(&self.inner.flush).stop = true;
        self.inner.wake.notify_all();
        if let Some(flusher) = self.flusher.take() {
            // The thread never panics. If it did, only counts would be lost.
            let _ = flusher.join();
        }
    }
}

impl<S: Store + Send + 'static> Drop for Verifier<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<S: Store + Send + 'static> Inner<S> {
    fn verify(&self, request: &Request<'_>) -> Result<Verdict> {
        let digest = match prepare(&self.keyring, request) {
            Prepared::Decided(verdict) => return Ok(verdict),
            Prepared::Lookup(digest) => digest,
        };
        self.with_store(|store| {
            let lookup = store.find_credential(&digest)?;
            let at = self.clock.now();
            conclude(request, lookup, at, &mut |verdict| self.count(store, verdict, at))
        })
    }

    fn verify_all(&self, requests: &[Request<'_>]) -> Result<Vec<Verdict>> {
        let batch = Batch::prepare(&self.keyring, requests);
        if batch.digests().is_empty() {
            return batch.conclude(requests, Vec::new(), Timestamp::UNIX_EPOCH, &mut |_| Ok(()));
        }
        self.with_store(|store| {
            let lookups = store.find_credentials(batch.digests())?;
            let at = self.clock.now();
            batch.conclude(requests, lookups, at, &mut |verdict| self.count(store, verdict, at))
        })
    }

    /// Runs `work` with a connection that no other thread is using, opening one if there is none.
    fn with_store<T>(&self, work: impl FnOnce(&mut S) -> Result<T>) -> Result<T> {
        let kept = lock(&self.stores).pop();
        let mut store = kept.map_or_else(|| (self.open)(), Ok)?;
        let done = work(&mut store).inspect_err(|error| {
            if error.is_displaced() {
                // The replaced files are opened only after every connection to the old ones is closed.
                self.close_idle();
            }
        })?;
        if self.recording == UsageRecording::InStore {
            // There is no flusher thread to do this.
            store.end_read()?;
        }
        // After an error the connection is dropped, and the next check opens a new one.
        lock(&self.stores).push(store);
        Ok(done)
    }

    /// Counts a check of an active credential, whatever its verdict, and applies the rate limit.
    fn count(&self, store: &mut S, verdict: &mut Verdict, at: Timestamp) -> Result<()> {
        let Some(credential) = verdict.credential.clone() else { return Ok(()) };
        let (id, counted_as) = (credential.id, credential.counted_as());
        let mut decide = |window| apply_rate_limit(verdict, credential.limit(), window, at);
        match self.recording {
            UsageRecording::InStore => store.count_check(id, counted_as, at, &mut decide)?,
            UsageRecording::InMemory => {
                if self.usage.count(id, counted_as, at, &mut decide) {
                    lock(&self.flush).now = true;
                    self.wake.notify_all();
                }
            }
            UsageRecording::Nowhere => {
                let window = self
                    .usage
                    .window(counted_as)
                    .map_or_else(|| store.peek_window(counted_as), |w| Ok(Some(w)))?;
                decide(Window::with_one_more(window, at));
            }
        }
        Ok(())
    }

    /// Ends the read transactions of the connections that no thread is using at this moment, and closes those that cannot
    /// be used any more.
    fn end_reads(&self) {
        lock(&self.stores).retain_mut(|store| store.end_read().is_ok());
    }

    fn close_idle(&self) {
        let idle = std::mem::take(&mut *lock(&self.stores));
        drop(idle);
    }

    fn flush_until_stopped(&self) {
        let mut store = None;
        loop {
            let stop = {
                let state = lock(&self.flush);
                let (mut state, _) = self
                    .wake
                    .wait_timeout_while(state, FLUSH_EVERY, |state| !state.stop && !state.now)
                    .unwrap_or_else(PoisonError::into_inner);
                state.now = false;
                state.stop
            };
            self.end_reads();
            store = store.and_then(|mut store: S| store.end_read().is_ok().then_some(store));
            let began = monotonic();
            let most = if stop { MAX_PER_LAST_FLUSH } else { MAX_PER_FLUSH };
            let fault = loop {
                match self.flush(&mut store, most) {
                    Ok(added) if added < most => break None,
                    Ok(_) if stop || began.elapsed() < FLUSH_BUDGET => {}
                    Ok(_) => break None,
                    Err(error) => break Some(error),
                }
            };
            lock(&self.flush).fault = fault;
            if stop {
                return;
            }
        }
    }

    /// Writes at most `most` counts to the store, and returns how many it wrote.
    fn flush(&self, store: &mut Option<S>, most: usize) -> Result<usize> {
        let counts = self.usage.take(most, self.clock.now());
        if counts.is_empty() {
            return Ok(0);
        }
        let opened = store.take().map_or_else(|| (self.open)(), Ok);
        let added = opened.and_then(|mut opened| opened.add_usage(&counts).map(|()| *store = Some(opened)));
        match added {
            Ok(()) => Ok(counts.len()),
            Err(error) => {
                self.usage.put_back(counts);
                Err(error)
            }
        }
    }
}
