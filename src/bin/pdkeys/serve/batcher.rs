//! Combines checks that arrive at the same time.
//!
//! Making sure that a lookup sees the newest commit costs more than the lookup itself. So each worker has one task that
//! makes the checks of all its connections: it waits for one, takes the others that have arrived by then, and reads the
//! store once for all of them. Each verdict still reflects the store at some time after its check arrived.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pdkeys::verify::{Api, Presented, Request, Verdict};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::monitor::{StoreMonitor, Unavailable};

/// The largest number of checks in a batch, after which the connections of the worker get their turn.
const MAX_BATCH: usize = 1024;

/// What a gateway wants to know: whether a credential may make a request.
pub(super) struct Check {
    pub(super) api: Api,
    pub(super) presented: Presented,
    pub(super) method: Box<str>,
    pub(super) target: Box<[u8]>,
}

impl Check {
    /// Returns the request for the verifier, and moves the credential into it.
    fn request(&mut self) -> Request<'_> {
        Request {
            api: self.api,
            presented: std::mem::replace(&mut self.presented, Presented::Missing),
            method: &self.method,
            path: &self.target,
            via_gateway: true,
        }
    }
}

struct Pending {
    check: Check,
    reply: oneshot::Sender<Result<Verdict, Unavailable>>,
}

/// Sends checks to the batch task of a worker.
#[derive(Clone)]
pub(super) struct BatchHandle(UnboundedSender<Pending>);

impl BatchHandle {
    /// Starts a batch task on the current runtime. It ends when the last handle is dropped.
    pub(super) fn spawn(monitor: Arc<StoreMonitor>) -> Self {
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(run(monitor, receiver));
        Self(sender)
    }

    /// Makes a check with the next batch.
    pub(super) async fn check(&self, check: Check) -> Result<Verdict, Unavailable> {
        let (reply, verdict) = oneshot::channel();
        self.0.send(Pending { check, reply }).map_err(|_| Unavailable)?;
        verdict.await.unwrap_or(Err(Unavailable))
    }
}

async fn run(monitor: Arc<StoreMonitor>, mut receiver: UnboundedReceiver<Pending>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let pending = std::mem::take(&mut batch);
        // A panic drops the replies of this batch, which makes these checks unavailable, and must not end the task: all
        // later checks of the worker go through it.
        let _ = catch_unwind(AssertUnwindSafe(|| reply_all(&monitor, pending)));
    }
}

fn reply_all(monitor: &StoreMonitor, batch: Vec<Pending>) {
    let (mut checks, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.check, pending.reply)).unzip();
    let requests: Vec<_> = checks.iter_mut().map(Check::request).collect();
    // A reply is not received if the client has closed its connection.
    match monitor.verify_all(&requests) {
        Ok(verdicts) => {
            for (reply, verdict) in replies.into_iter().zip(verdicts) {
                let _ = reply.send(Ok(verdict));
            }
        }
        Err(Unavailable) => {
            for reply in replies {
                let _ = reply.send(Err(Unavailable));
            }
        }
    }
}
