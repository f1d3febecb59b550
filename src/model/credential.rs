//! A credential as checks see it: the values needed to judge a request.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Access, CredentialKind, DestinationRef, Hint, Id, RateLimit, Role};

/// A credential found by its digest. It may be inactive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The kind of credential.
    pub kind: CredentialKind,
    /// The id; for an app token, that of the app.
    pub id: Id,
    /// The description; for an app token, the name of the app.
    pub description: String,
    /// The last four characters of the secret; `None` if it was imported as a hash.
    pub hint: Option<Hint>,
    /// The access. An app token has those of its scopes that the app still has.
    pub access: Access,
    /// The owner of a user token.
    pub owner: Option<Owner>,
    /// The service or orchestration that an integration key sends events to.
    pub destination: Option<DestinationRef>,
    /// Whether the credential was disabled.
    pub disabled: bool,
    /// The expiry time.
    pub expires_at: Option<Timestamp>,
    /// The end of the overlap, if the secret that was presented has been rotated.
    pub secret_ends_at: Option<Timestamp>,
    /// The rate limit, for a user token that of its user; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
}

impl Credential {
    /// Returns the rate limit that applies.
    #[must_use]
    pub fn limit(&self) -> RateLimit {
        self.rate_limit.unwrap_or(match self.kind {
            CredentialKind::Integration => RateLimit::EVENTS,
            CredentialKind::General | CredentialKind::UserToken | CredentialKind::AppToken => RateLimit::REST,
        })
    }

    /// Returns why the credential is inactive at `at`; `None` if it is active.
    #[must_use]
    pub fn inactive_reason(&self, at: Timestamp) -> Option<InactiveReason> {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= at);
        if is_over(self.secret_ends_at) {
            Some(InactiveReason::Rotated)
        } else if self.disabled {
            Some(InactiveReason::Disabled)
        } else if is_over(self.expires_at) {
            Some(InactiveReason::Expired)
        } else if self.owner.as_ref().is_some_and(|owner| owner.has_left) {
            Some(InactiveReason::UserLeft)
        } else {
            None
        }
    }

    /// Returns the id under which checks are counted for the rate limit. The tokens of a user share one, and so do the
    /// tokens of an app; every other credential has its own.
    #[must_use]
    pub fn counted_as(&self) -> Id {
        self.owner.as_ref().map_or(self.id, |owner| owner.id)
    }
}

/// The reason that a credential in the store is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InactiveReason {
    /// The secret was rotated, and its overlap has ended.
    Rotated,
    /// It was disabled.
    Disabled,
    /// It has expired.
    Expired,
    /// Its user has left the account.
    UserLeft,
}

/// The owner of a user token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The user's id.
    pub id: Id,
    /// The user's name.
    pub name: String,
    /// The user's present role.
    pub role: Role,
    /// The user's id in the protected API, if one is recorded.
    pub external_id: Option<String>,
    /// Whether the user has left the account.
    pub has_left: bool,
}
