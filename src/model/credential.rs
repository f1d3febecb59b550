//! A credential as a check sees it: what is needed to judge a request, and nothing else.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Access, CredentialKind, DestinationRef, Hint, Id, RateLimit, Role};

/// A live or switched-off credential, found by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What it is.
    pub kind: CredentialKind,
    /// Its id; of an app token, the app's.
    pub id: Id,
    /// What it is for; of an app token, the app's name.
    pub description: String,
    /// The last four characters.
    pub hint: Option<Hint>,
    /// What it may reach. An app token's scopes are those of the token that the app has now.
    pub access: Access,
    /// Whose it is, if it is a user token.
    pub owner: Option<Owner>,
    /// Where its events go, if it is an integration key.
    pub destination: Option<DestinationRef>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// When its time ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When the secret that was presented ends, if it is one that was rotated away with an overlap.
    pub secret_ends_at: Option<Timestamp>,
    /// Its limit, where it is not the documented one; of a user token, the user's.
    pub rate_limit: Option<RateLimit>,
}

impl Credential {
    /// The limit that it is under.
    #[must_use]
    pub fn limit(&self) -> RateLimit {
        self.rate_limit.unwrap_or(match self.kind {
            CredentialKind::Integration => RateLimit::EVENTS,
            CredentialKind::General | CredentialKind::UserToken | CredentialKind::AppToken => RateLimit::REST,
        })
    }

    /// Why it does not work at a moment, if it does not.
    #[must_use]
    pub fn lapse(&self, at: Timestamp) -> Option<Lapse> {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= at);
        if is_over(self.secret_ends_at) {
            Some(Lapse::Rotated)
        } else if self.disabled {
            Some(Lapse::Disabled)
        } else if is_over(self.expires_at) {
            Some(Lapse::Expired)
        } else if self.owner.as_ref().is_some_and(|owner| owner.has_left) {
            Some(Lapse::UserLeft)
        } else {
            None
        }
    }

    /// What is counted together: all tokens of a user, all tokens of an app, every other credential by itself.
    #[must_use]
    pub fn counted_as(&self) -> Id {
        self.owner.as_ref().map_or(self.id, |owner| owner.id)
    }
}

/// Why a credential that is in the store does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// The overlap in which this secret went on is over.
    Rotated,
    /// It is switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Its user has left.
    UserLeft,
}

/// The user whose token it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The user's id.
    pub id: Id,
    /// The user's name.
    pub name: String,
    /// The user's role, now.
    pub role: Role,
    /// The user's id in the API behind, if one is noted.
    pub external_id: Option<String>,
    /// Whether the user has left.
    pub has_left: bool,
}
