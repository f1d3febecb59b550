//! The worker threads, each with an event loop of its own.
//!
//! A connection stays with one worker: passing a request from one thread to another would cost more than answering it.
//! Each new connection goes to the worker that has the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long a worker waits at its end for what it has passed to blocking threads.
const GRACE: Duration = Duration::from_secs(1);

/// All workers, which serve connections of type `C`.
pub(super) struct Workers<C>(Vec<WorkerHandle<C>>);

struct WorkerHandle<C> {
    /// The number of connections that the worker has.
    connections: Arc<AtomicUsize>,
    sender: UnboundedSender<C>,
    thread: JoinHandle<()>,
}

impl<C: Send + 'static> Workers<C> {
    /// Starts one worker per processor. `share` is called once on each, and its result is passed with every connection
    /// to `serve`.
    pub(super) fn start<S, F>(
        share: impl Fn() -> S + Clone + Send + 'static,
        serve: impl Fn(C, S) -> F + Clone + Send + 'static,
    ) -> io::Result<Self>
    where
        S: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let count = thread::available_parallelism().map_or(1, Into::into);
        let workers = (0..count).map(|_| {
            let connections = Arc::default();
            let (sender, receiver) = unbounded_channel();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let thread = thread::Builder::new().name("worker".to_owned()).spawn({
                let (connections, share, serve) = (Arc::clone(&connections), share.clone(), serve.clone());
                move || work(runtime, &connections, receiver, share, serve)
            })?;
            Ok(WorkerHandle { connections, sender, thread })
        });
        workers.collect::<io::Result<_>>().map(Self)
    }

    /// Passes a connection to the worker that has the fewest.
    pub(super) fn hand(&self, connection: C) {
        let open = |worker: &&WorkerHandle<C>| worker.connections.load(Ordering::Relaxed);
        if let Some(WorkerHandle { connections, sender, .. }) = self.0.iter().min_by_key(open) {
            connections.fetch_add(1, Ordering::Relaxed);
            // A worker receives until the sender is dropped.
            let _ = sender.send(connection);
        }
    }

    /// Returns whether no worker has a connection.
    pub(super) fn are_idle(&self) -> bool {
        self.0.iter().all(|worker| worker.connections.load(Ordering::Acquire) == 0)
    }

    /// Ends all workers. Requests that are not answered yet are dropped.
    pub(super) fn end(self) {
        let threads: Vec<_> = self.0.into_iter().map(|WorkerHandle { thread, .. }| thread).collect();
        for thread in threads {
            // If a worker panicked, its connections are closed as well.
            let _ = thread.join();
        }
    }
}

fn work<C, S: Clone, F: Future<Output = ()> + Send + 'static>(
    runtime: Runtime,
    connections: &Arc<AtomicUsize>,
    mut receiver: UnboundedReceiver<C>,
    share: impl Fn() -> S,
    serve: impl Fn(C, S) -> F,
) {
    runtime.block_on(async {
        let shared = share();
        while let Some(connection) = receiver.recv().await {
            let served = serve(connection, shared.clone());
            let counted = Counted(Arc::clone(connections));
            tokio::spawn(async move {
                let _counted = counted;
                served.await;
            });
        }
    });
    runtime.shutdown_timeout(GRACE);
}

/// Counts a connection until it is dropped, even by a panic.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    fn open(workers: &Workers<oneshot::Receiver<()>>) -> Vec<usize> {
        workers.0.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn each_connection_goes_to_the_worker_with_the_fewest_and_counts_until_it_ends() {
        let (tell, told) = mpsc::channel();
        let serve = move |end: oneshot::Receiver<()>, ()| {
            let tell = tell.clone();
            async move {
                tell.send(thread::current().id()).unwrap();
                end.await.unwrap();
            }
        };
        let workers = Workers::start(|| (), serve).unwrap();
        let count = workers.0.len();
        let connect = || {
            let (end, ended) = oneshot::channel();
            workers.hand(ended);
            (told.recv().unwrap(), end)
        };
        let mut connections: Vec<_> = (0..3 * count).map(|_| connect()).collect();
        assert_eq!(open(&workers), vec![3; count]);
        // One ends as it should, another in a panic, since its other end is gone.
        let (thread, end) = connections.swap_remove(0);
        end.send(()).unwrap();
        let at = connections.iter().position(|(other, _)| *other == thread).unwrap();
        drop(connections.swap_remove(at));
        while open(&workers).iter().sum::<usize>() > 3 * count - 2 {
            thread::yield_now();
        }
        for _ in 0..2 {
            let connection = connect();
            assert_eq!(connection.0, thread, "it has the fewest again");
            connections.push(connection);
        }
        assert_eq!(open(&workers), vec![3; count]);
        workers.end();
    }
}
