//! The verifier: checks credentials against a store, from as many threads as ask.

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

/// How often what was counted in memory is added to the store.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How many credentials' counts are added at a time: bounded work, so that nobody waits long for the file.
const MOST_AT_ONCE: usize = 5_000;
/// The same at the end, when nothing comes after it: one long addition writes each page of the file once.
const MOST_AT_THE_END: usize = 50_000;
/// How long in each second counts may be added for.
const FLUSH_FOR: Duration = Duration::from_millis(200);

/// Where checks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageRecording {
    /// In the store, exactly, one by one: for a process that makes one check.
    InStore,
    /// In memory, with limits of this process's own; added to the store every second.
    InMemory,
    /// Nowhere: what would be, is told.
    Nowhere,
}

/// Checks credentials. It is cheap to share: threads that check at the same time each use a connection of their
/// own, opened when first needed and kept.
///
/// What is counted in memory is added to the store every second, and at the end: by [`Verifier::close`], which
/// tells of a failure, or when the verifier is dropped, which cannot.
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

/// What the flusher is told, and tells.
#[derive(Default)]
struct Flush {
    /// Not to wait for the next second.
    now: bool,
    stop: bool,
    fault: Option<Error>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded here is whole at every moment, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store + Send + 'static> Verifier<S> {
    /// Makes a verifier over a store, which `open` opens again as often as threads need it.
    ///
    /// # Errors
    /// If the store key is not to be had.
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
        // It also ends the reads of idle connections, which those that count nothing have too.
        let flusher = (recording != UsageRecording::InStore).then(|| {
            let inner = Arc::clone(&inner);
            thread::spawn(move || inner.flush_until_stopped())
        });
        Ok(Self { inner, flusher })
    }

    /// Answers whether a credential may do what is asked: present, find, judge, count.
    ///
    /// A store that another process has just changed is seen as it is: a key that was disabled is denied by the
    /// very next check.
    ///
    /// # Errors
    /// If it could not be found out. That is never an "allowed".
    pub fn verify(&self, request: &Request<'_>) -> Result<Verdict> {
        self.inner.verify(request)
    }

    /// Answers the same about several at once, in their order: each as the store is at one moment, which is not before
    /// the call. Where many questions are waiting, asking them together costs a good part less.
    ///
    /// # Errors
    /// If it could not be found out of one of them; then the others are not answered either.
    pub fn verify_all(&self, requests: &[Request<'_>]) -> Result<Vec<Verdict>> {
        self.inner.verify_all(requests)
    }

    /// Closes the stores that no check is using. The next check opens the store anew.
    pub fn close_idle(&self) {
        self.inner.close_idle();
    }

    /// What went wrong when counts were last added to the store, if something did. They are kept, and tried again.
    #[must_use]
    pub fn counting_fault(&self) -> Option<String> {
        lock(&self.inner.flush).fault.as_ref().map(ToString::to_string)
    }

    /// Adds what is still counted in memory to the store, and ends.
    ///
    /// # Errors
    /// If it cannot be added.
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
            // It never panics; and if it did, its counts are lost and nothing else.
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

    /// Lends a store that no other thread is using.
    fn with_store<T>(&self, work: impl FnOnce(&mut S) -> Result<T>) -> Result<T> {
        let kept = lock(&self.stores).pop();
        let mut store = kept.map_or_else(|| (self.open)(), Ok)?;
        let done = work(&mut store).inspect_err(|error| {
            if error.is_displaced() {
                // Only when all of them are closed does opening one lead to what others use.
                self.close_idle();
            }
        })?;
        if self.recording == UsageRecording::InStore {
            // There is no thread that would see to it.
            store.end_read()?;
        }
        // After an error it is not given back: the next check opens the store anew.
        lock(&self.stores).push(store);
        Ok(done)
    }

    /// Counts a check of a live credential, whatever its verdict; one that was allowed may turn out to be one too
    /// many.
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
            let most = if stop { MOST_AT_THE_END } else { MOST_AT_ONCE };
            let fault = loop {
                match self.flush(&mut store, most) {
                    Ok(added) if added < most => break None,
                    Ok(_) if stop || began.elapsed() < FLUSH_FOR => {}
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

    /// Adds some of what was counted to the store, so many credentials' counts at most, and gives how many it were.
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
