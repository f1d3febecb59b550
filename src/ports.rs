//! Time and randomness: the two dependencies that tests replace.

use std::time::Instant;

use jiff::Timestamp;
use rand::TryRng as _;
use rand::rngs::SysRng;

/// Tells the time.
pub trait Clock {
    /// Returns the present time in whole milliseconds, which is the resolution of everything that is stored.
    fn now(&self) -> Timestamp;
}

/// Reads the monotonic clock, for measuring durations.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A source of unpredictable random bytes, for secrets and ids.
pub trait Entropy {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the source fails. The content of `bytes` must not be used then.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The error returned if a source of random bytes fails. Its source is the underlying error.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that the lint points to")]
    fn now(&self) -> Timestamp {
        whole_milliseconds(Timestamp::now())
    }
}

/// Truncates a timestamp to milliseconds, the resolution of the store.
pub(crate) fn whole_milliseconds(timestamp: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(timestamp.as_millisecond()).unwrap_or(timestamp)
}

/// The random number generator of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(bytes).map_err(|source| EntropyError(Box::new(source)))
    }
}
