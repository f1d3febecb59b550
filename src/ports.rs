//! The two doors to what a test must hold still: time and randomness.

use std::time::Instant;

use jiff::Timestamp;
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::error::{ErrorKind, Result};

/// Tells the time.
pub trait Clock {
    /// The present moment, in whole milliseconds: the resolution of everything that is stored.
    fn now(&self) -> Timestamp;
}

/// A point on the monotonic clock: for how long ago something was, never for when.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Gives random bytes that nobody can guess.
pub trait Entropy {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the source has none to give; nothing secret may be made then.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()>;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door to time that the lint points to")]
    fn now(&self) -> Timestamp {
        whole_milliseconds(Timestamp::now())
    }
}

/// Cuts a moment to the resolution of the store.
pub(crate) fn whole_milliseconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or(moment)
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        SysRng.try_fill_bytes(bytes).map_err(|source| ErrorKind::Entropy(Box::new(source)).into())
    }
}
