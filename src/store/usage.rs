//! Counts of checks: rate-limit windows and hourly usage.

use jiff::{SignedDuration, Timestamp};

use crate::model::Id;

/// A rate-limit window of 60 seconds, which begins with the first check counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When the window began.
    pub began_at: Timestamp,
    /// The number of checks counted in the window.
    pub count: u64,
}

impl Window {
    /// The length of a window.
    pub const LENGTH: SignedDuration = SignedDuration::from_secs(60);
    /// The longest time between reading the clock for a check and counting it. A check that is counted late may precede
    /// the start of the window, which a concurrent check began in the meantime.
    const LATE: SignedDuration = SignedDuration::from_secs(10);

    /// Returns true if the window is open at a given time. Setting the clock back closes it.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let age = at.duration_since(self.began_at);
        -Self::LATE < age && age < Self::LENGTH
    }

    /// Returns the window after counting one more check at a given time: the given window if it is still open, or a new
    /// one.
    #[must_use]
    pub fn with_one_more(window: Option<Self>, at: Timestamp) -> Self {
        match window.filter(|window| window.is_open(at)) {
            Some(window) => Self { count: window.count.saturating_add(1), ..window },
            None => Self { began_at: at, count: 1 },
        }
    }
}

/// A number of checks of a credential to add to the hour of `at`.
#[derive(Clone, Debug)]
pub struct UsageCount {
    /// The credential.
    pub id: Id,
    /// The time of the last of these checks.
    pub at: Timestamp,
    /// The number of allowed checks.
    pub allowed: u64,
    /// The number of denied checks.
    pub denied: u64,
}

/// The usage of a credential in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyUsage {
    /// The credential.
    pub id: Id,
    /// When the hour began.
    pub began_at: Timestamp,
    /// The number of allowed checks.
    pub allowed: u64,
    /// The number of denied checks.
    pub denied: u64,
}
