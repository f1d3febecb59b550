//! What checks count: the window of a rate limit, and use by the hour.

use jiff::{SignedDuration, Timestamp};

use crate::model::Id;

/// A window of 60 seconds, which began with the first check that was counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub began_at: Timestamp,
    /// How many checks are counted in it.
    pub count: u64,
}

impl Window {
    /// How long a window is.
    pub const LENGTH: SignedDuration = SignedDuration::from_secs(60);
    /// How long a check can have waited to be counted, since it took the time: others may have begun the window
    /// meanwhile.
    const LATE: SignedDuration = SignedDuration::from_secs(10);

    /// Whether it is still open at a moment. A clock that was set back opens a new one.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let age = at.duration_since(self.began_at);
        -Self::LATE < age && age < Self::LENGTH
    }

    /// The window after one more check at a moment: this one, or a new one.
    #[must_use]
    pub fn with_one_more(window: Option<Self>, at: Timestamp) -> Self {
        match window.filter(|window| window.is_open(at)) {
            Some(window) => Self { count: window.count.saturating_add(1), ..window },
            None => Self { began_at: at, count: 1 },
        }
    }
}

/// So many checks of a credential, in the hour of a moment.
#[derive(Clone, Debug)]
pub struct UsageCount {
    /// The credential.
    pub id: Id,
    /// When the last of them was.
    pub at: Timestamp,
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
}

/// What was counted of a credential in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyUsage {
    /// The credential.
    pub id: Id,
    /// When the hour began.
    pub began_at: Timestamp,
    /// How many checks were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
}
