//! The log: when the server starts and stops, what goes wrong, and a line for each request that is denied.
//!
//! A line names the reason, the credential by its id, and the operation. It never has a secret, a path, a query or a
//! header in it. It is written by a thread of its own, so that a reader that stands still holds up nobody, and at most
//! [`MOST_A_SECOND`] denials are told in a second: a flood of junk neither fills the disk nor hides the rest.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use pdkeys::verify::Verdict;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::connection::Seconds;
use crate::terminal::Terminal;

/// How many denials are told in a second; of more, their number.
const MOST_A_SECOND: u64 = 100;
/// How many lines can wait to be written; more are dropped.
const LINES_WAITING: usize = 4096;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// Begins to log. What waits is written when the guard goes.
pub(super) fn start(terminal: &Terminal, format: LogFormat) -> WorkerGuard {
    let (output, guard): (NonBlocking, _) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("log")
        .finish(terminal.log());
    let level = if terminal.is_quiet() { LevelFilter::WARN } else { LevelFilter::INFO };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(output)
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false);
    // There is one server a process, and nobody else who logs.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(subscriber.finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).finish())
        }
    };
    guard
}

/// The denials of the present second.
#[derive(Debug)]
pub(super) struct Denials {
    seconds: Seconds,
    /// The second, and how many there were in it, in one word.
    count: AtomicU64,
}

impl Denials {
    const COUNT_BITS: u32 = 32;

    pub(super) fn new(seconds: Seconds) -> Self {
        Self { seconds, count: AtomicU64::new(0) }
    }

    /// Logs a denial, unless there were too many in this second.
    pub(super) fn note(&self, verdict: &Verdict) {
        if !self.is_told() {
            return;
        }
        let credential = verdict.credential.as_deref();
        let key = credential.map(|credential| credential.id.to_string());
        tracing::info!(
            reason = verdict.reason.as_str(),
            status = verdict.status(),
            api = %verdict.api,
            key = key.as_deref().unwrap_or("-"),
            kind = credential.map_or("-", |credential| credential.kind.as_str()),
            operation = verdict.operation.unwrap_or("-"),
            "denied"
        );
    }

    /// Logs that an app got no token, with the error that it was told.
    pub(super) fn note_refused_token(&self, error: &'static str, status: u16) {
        if self.is_told() {
            tracing::info!(error, status, "refused a token");
        }
    }

    fn is_told(&self) -> bool {
        let (is_told, suppressed) = self.count_one();
        if let Some(suppressed) = suppressed {
            tracing::info!(suppressed, "more requests were denied");
        }
        is_told
    }

    /// Counts one; says whether it is told, and, at the first of a second, how many of an earlier one were not.
    fn count_one(&self) -> (bool, Option<u64>) {
        let second = self.seconds.now();
        let with_one = |word: u64| {
            if word >> Self::COUNT_BITS == second { word + 1 } else { second << Self::COUNT_BITS | 1 }
        };
        let before = match self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(with_one(word)))
        {
            Ok(before) | Err(before) => before,
        };
        let counted = before & u64::from(u32::MAX);
        if before >> Self::COUNT_BITS == second {
            (counted < MOST_A_SECOND, None)
        } else {
            let suppressed = counted.saturating_sub(MOST_A_SECOND);
            (true, (suppressed > 0).then_some(suppressed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_denials_is_told_up_to_a_bound_and_the_rest_by_its_number() {
        let seconds = Seconds::default();
        let denials = Denials::new(seconds.clone());
        let told = (0..250).filter(|_| denials.count_one().0).count();
        assert_eq!(told as u64, MOST_A_SECOND);
        seconds.count_up();
        assert_eq!(denials.count_one(), (true, Some(250 - MOST_A_SECOND)));
        assert_eq!(denials.count_one(), (true, None));
        seconds.count_up();
        assert_eq!(denials.count_one(), (true, None), "nothing was suppressed");
    }
}
