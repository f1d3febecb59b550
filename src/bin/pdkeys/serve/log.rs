//! Writes the log: start and stop of the server, errors, and a line for each denied request.
//!
//! A line names the reason, the id of the credential, and the operation, and never a secret, a path, a query or a header.
//! A thread of its own writes it, so that a blocked reader of the log does not block requests. At most
//! [`MAX_DENIALS_PER_SECOND`] denials are logged per second: a flood of them neither fills the disk nor hides the rest.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use pdkeys::verify::Verdict;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::connection::Seconds;
use crate::terminal::Terminal;

/// The largest number of denials that are logged within a second. Of further ones, only the number is logged.
const MAX_DENIALS_PER_SECOND: u64 = 100;
/// The largest number of lines that wait to be written. Further lines are dropped.
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

/// Begins to log. Dropping the guard writes the lines that wait.
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
    // It fails only if a logger is installed already, and a process runs one server.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(subscriber.finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).finish())
        }
    };
    guard
}

/// Counts the denials of the present second.
#[derive(Debug)]
pub(super) struct Denials {
    seconds: Seconds,
    /// The second, and the number of denials in it, in one word.
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

    /// Logs that an app got no token, with the error in its response.
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

    /// Counts a denial. Returns whether to log it and, at the first of a second, how many before it were not logged.
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
            (counted < MAX_DENIALS_PER_SECOND, None)
        } else {
            let suppressed = counted.saturating_sub(MAX_DENIALS_PER_SECOND);
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
        assert_eq!(told as u64, MAX_DENIALS_PER_SECOND);
        seconds.count_up();
        assert_eq!(denials.count_one(), (true, Some(250 - MAX_DENIALS_PER_SECOND)));
        assert_eq!(denials.count_one(), (true, None));
        seconds.count_up();
        assert_eq!(denials.count_one(), (true, None), "nothing was suppressed");
    }
}
