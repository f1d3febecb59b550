//! Checks that come in together are made together.
//!
//! To see the store as it is at that moment costs more than to look something up in it. So whoever is first to ask
//! lets the worker read what other connections have sent by then, and asks about all of it at once. Each answer is
//! still that of a moment after its question came in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pdkeys::verify::{Api, Presented, Request, Verdict};
use tokio::sync::oneshot;

use super::monitor::{Checker, Unavailable};

/// What is asked for a client.
pub(super) struct Question {
    pub(super) api: Api,
    pub(super) presented: Presented,
    pub(super) method: Box<str>,
    pub(super) target: Box<[u8]>,
}

struct Waiting {
    question: Question,
    answer: oneshot::Sender<Result<Verdict, Unavailable>>,
}

/// Questions that wait for the next lot.
#[derive(Default)]
pub(super) struct Together {
    waiting: Mutex<Vec<Waiting>>,
}

/// Who asks, and with whom.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) checker: &'a Checker,
    pub(super) together: &'a Together,
}

impl Together {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // A list is whole at every moment, whoever panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_all(&self, checker: &Checker) {
        let (answers, requests): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.waiting()).into_iter().map(|one| (one.answer, one.question)).unzip();
        // Whoever has hung up meanwhile hears of nothing any more.
        match checker.verify_all(requests) {
            Ok(verdicts) => {
                for (answer, verdict) in answers.into_iter().zip(verdicts) {
                    let _ = answer.send(Ok(verdict));
                }
            }
            Err(Unavailable) => {
                for answer in answers {
                    let _ = answer.send(Err(Unavailable));
                }
            }
        }
    }
}

impl Asking<'_> {
    /// Answers a question, if it can be found out.
    pub(super) async fn ask(self, question: Question) -> Result<Verdict, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.together.waiting();
            waiting.push(Waiting { question, answer });
            waiting.len() == 1
        };
        if is_first {
            let turn = Turn(self);
            tokio::task::yield_now().await;
            drop(turn);
        }
        // Whoever took the question always answers it, unless it panics.
        answered.await.unwrap_or(Err(Unavailable))
    }
}

/// The turn of the one who was first. The others are answered when it goes, and it goes with its task as well, if the
/// client hangs up.
struct Turn<'a>(Asking<'a>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.together.answer_all(self.0.checker);
    }
}

impl Question {
    /// The same as the library is asked; what was presented goes with it.
    pub(super) fn request(&mut self) -> Request<'_> {
        Request {
            api: self.api,
            presented: std::mem::replace(&mut self.presented, Presented::Missing),
            method: &self.method,
            path: &self.target,
            via_gateway: true,
        }
    }
}
