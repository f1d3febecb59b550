//! Threads that answer, each with an event loop of its own.
//!
//! A connection stays with the worker that got it: nothing of a request goes from one thread to another, which would
//! cost more than the answer does. Whoever accepts hands each new connection to the worker that has the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::batcher::Together;

/// How long what a worker has given to other threads may still take when it ends.
const GRACE: Duration = Duration::from_secs(1);

/// What the connections of one worker share.
#[derive(Default)]
pub(super) struct Worker {
    /// What they ask together.
    pub(super) together: Together,
    connections: AtomicUsize,
}

/// All workers, which take connections of a kind.
pub(super) struct Workers<C>(Vec<Desk<C>>);

struct Desk<C> {
    worker: Arc<Worker>,
    handed: UnboundedSender<C>,
    thread: JoinHandle<()>,
}

impl<C: Send + 'static> Workers<C> {
    /// Starts one a processor, which serve what they are handed.
    pub(super) fn start<F>(serve: impl Fn(C, Arc<Worker>) -> F + Clone + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let count = thread::available_parallelism().map_or(1, Into::into);
        let desks = (0..count).map(|_| {
            let worker = Arc::new(Worker::default());
            let (handed, received) = unbounded_channel();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let thread = thread::Builder::new().name("worker".to_owned()).spawn({
                let (worker, serve) = (Arc::clone(&worker), serve.clone());
                move || work(runtime, &worker, received, serve)
            })?;
            Ok(Desk { worker, handed, thread })
        });
        desks.collect::<io::Result<_>>().map(Self)
    }

    /// Hands a connection to the worker that has the fewest.
    pub(super) fn hand(&self, connection: C) {
        let open = |desk: &&Desk<C>| desk.worker.connections.load(Ordering::Relaxed);
        if let Some(Desk { worker, handed, .. }) = self.0.iter().min_by_key(open) {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            // A worker listens for as long as there is somebody who hands it something.
            let _ = handed.send(connection);
        }
    }

    /// Whether no connection is with any of them.
    pub(super) fn are_idle(&self) -> bool {
        self.0.iter().all(|desk| desk.worker.connections.load(Ordering::Acquire) == 0)
    }

    /// Ends all of them. What they have not answered is dropped.
    pub(super) fn end(self) {
        let threads: Vec<_> = self.0.into_iter().map(|Desk { thread, .. }| thread).collect();
        for thread in threads {
            // It never panics; and if it did, its connections are over all the same.
            let _ = thread.join();
        }
    }
}

fn work<C, F: Future<Output = ()> + Send + 'static>(
    runtime: Runtime,
    worker: &Arc<Worker>,
    mut received: UnboundedReceiver<C>,
    serve: impl Fn(C, Arc<Worker>) -> F,
) {
    runtime.block_on(async {
        while let Some(connection) = received.recv().await {
            let served = serve(connection, Arc::clone(worker));
            let leaving = Leaving(Arc::clone(worker));
            tokio::spawn(async move {
                let _leaving = leaving;
                served.await;
            });
        }
    });
    runtime.shutdown_timeout(GRACE);
}

/// A connection that counts until it goes, however it does.
struct Leaving(Arc<Worker>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    fn open(workers: &Workers<oneshot::Receiver<()>>) -> Vec<usize> {
        workers.0.iter().map(|desk| desk.worker.connections.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn each_connection_goes_to_the_worker_with_the_fewest_and_counts_until_it_ends() {
        let (tell, told) = mpsc::channel();
        let workers = Workers::start(move |end: oneshot::Receiver<()>, _| {
            let tell = tell.clone();
            async move {
                tell.send(thread::current().id()).unwrap();
                end.await.unwrap();
            }
        })
        .unwrap();
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
