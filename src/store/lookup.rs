//! What a secret belongs to, or belonged.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Account, Credential, Id, InactiveReason};

/// What a secret belongs, or belonged, to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestOwner {
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

impl DigestOwner {
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
pub struct CredentialLookup {
    /// The account.
    pub account: Arc<Account>,
    /// The credential.
    pub result: LookupResult,
}

/// Whether a secret belongs to a credential.
#[derive(Clone, Debug)]
pub enum LookupResult {
    /// To none, and never did.
    Unknown,
    /// To one that is there.
    Known(Arc<Credential>),
    /// To one once.
    Dead(Tombstone),
}

impl LookupResult {
    /// What the secret is good for at a moment.
    #[must_use]
    pub fn status(&self, at: Timestamp) -> CredentialStatus {
        match self {
            Self::Unknown => CredentialStatus::Unknown,
            Self::Known(credential) => {
                credential.inactive_reason(at).map_or(CredentialStatus::Live, CredentialStatus::Inactive)
            }
            Self::Dead(Tombstone { death: Death::Removed, .. }) => CredentialStatus::Removed,
            Self::Dead(Tombstone { death: Death::Rotated, .. }) => {
                CredentialStatus::Inactive(InactiveReason::Rotated)
            }
        }
    }
}

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStatus {
    /// It belongs to nothing, and never did.
    Unknown,
    /// It works.
    Live,
    /// It does not work, and its credential is there.
    Inactive(InactiveReason),
    /// Its credential was removed.
    Removed,
}

impl CredentialStatus {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Live => "live",
            Self::Inactive(InactiveReason::Rotated) => "rotated",
            Self::Inactive(InactiveReason::Disabled) => "disabled",
            Self::Inactive(InactiveReason::Expired) => "expired",
            Self::Inactive(InactiveReason::UserLeft) => "user-left",
            Self::Removed => "removed",
        }
    }
}
