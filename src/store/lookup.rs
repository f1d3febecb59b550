//! The results of looking up a secret.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Account, Credential, Id, InactiveReason};

/// The owner of a secret: a credential, or an app for its client secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestOwner {
    /// The secret is a current secret of its owner, or still live in an overlap.
    Live {
        /// The owner.
        id: Id,
        /// When the secret ends, if it was rotated with an overlap.
        ends_at: Option<Timestamp>,
    },
    /// The secret is permanently invalid.
    Dead(Tombstone),
}

impl DigestOwner {
    /// Returns the id of the present or former owner.
    #[must_use]
    pub const fn id(&self) -> Id {
        match self {
            Self::Live { id, .. } | Self::Dead(Tombstone { id, .. }) => *id,
        }
    }
}

/// The remains of a secret that is permanently invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The former owner.
    pub id: Id,
    /// Why the secret is invalid.
    pub death: Death,
    /// When it became invalid.
    pub at: Timestamp,
}

/// Why a secret is permanently invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its owner was removed.
    Removed,
    /// It was replaced by another secret.
    Rotated,
}

impl Death {
    /// Returns the stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Rotated => "rotated",
        }
    }
}

/// The data that a check needs: the account's settings, and the credential of the presented secret.
#[derive(Clone, Debug)]
pub struct CredentialLookup {
    /// The account.
    pub account: Arc<Account>,
    /// The result for the secret.
    pub result: LookupResult,
}

/// The result of looking up a secret.
#[derive(Clone, Debug)]
pub enum LookupResult {
    /// The secret never belonged to a credential.
    Unknown,
    /// The secret belongs to this credential.
    Known(Arc<Credential>),
    /// The secret is permanently invalid.
    Dead(Tombstone),
}

impl LookupResult {
    /// Returns the status of the secret at a given time.
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

/// The status of a secret and its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStatus {
    /// The secret never belonged to a credential.
    Unknown,
    /// The secret is accepted.
    Live,
    /// The credential exists, but the secret is not accepted.
    Inactive(InactiveReason),
    /// The credential was removed.
    Removed,
}

impl CredentialStatus {
    /// Returns the stable lower-case name.
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
