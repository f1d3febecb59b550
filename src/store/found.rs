//! What a secret belongs to, or belonged.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Account, Credential, Id, Lapse};

/// What a secret belongs, or belonged, to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A credential that has it.
    Live {
        /// The credential.
        id: Id,
        /// When the secret ends, if it is one that was rotated away with an overlap.
        ends_at: Option<Timestamp>,
    },
    /// A credential that has it no more.
    Dead(Tombstone),
}

impl Holder {
    /// The credential, whether it has the secret still or had it.
    #[must_use]
    pub const fn id(&self) -> Id {
        match self {
            Self::Live { id, .. } | Self::Dead(Tombstone { id, .. }) => *id,
        }
    }
}

/// What is left of a secret that is dead for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The credential that had it.
    pub id: Id,
    /// Why it is dead.
    pub death: Death,
    /// Since when.
    pub at: Timestamp,
}

/// How a secret died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its credential was removed.
    Removed,
    /// Another took its place.
    Rotated,
}

impl Death {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Rotated => "rotated",
        }
    }
}

/// What a check finds: the account's settings, and what the secret belongs to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The account.
    pub account: Arc<Account>,
    /// The credential.
    pub presence: Presence,
}

/// Whether a secret belongs to a credential.
#[derive(Clone, Debug)]
pub enum Presence {
    /// To none, and never did.
    Unknown,
    /// To one that is there.
    Known(Arc<Credential>),
    /// To one once.
    Dead(Tombstone),
}

impl Presence {
    /// What the secret is good for at a moment.
    #[must_use]
    pub fn standing(&self, at: Timestamp) -> Standing {
        match self {
            Self::Unknown => Standing::Unknown,
            Self::Known(credential) => credential.lapse(at).map_or(Standing::Live, Standing::Lapsed),
            Self::Dead(Tombstone { death: Death::Removed, .. }) => Standing::Removed,
            Self::Dead(Tombstone { death: Death::Rotated, .. }) => Standing::Lapsed(Lapse::Rotated),
        }
    }
}

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to nothing, and never did.
    Unknown,
    /// It works.
    Live,
    /// It does not work, and its credential is there.
    Lapsed(Lapse),
    /// Its credential was removed.
    Removed,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Live => "live",
            Self::Lapsed(Lapse::Rotated) => "rotated",
            Self::Lapsed(Lapse::Disabled) => "disabled",
            Self::Lapsed(Lapse::Expired) => "expired",
            Self::Lapsed(Lapse::UserLeft) => "user-left",
            Self::Removed => "removed",
        }
    }
}
