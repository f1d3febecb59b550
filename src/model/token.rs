//! User tokens: personal REST keys, bounded by their user's role.

use jiff::Timestamp;

use super::key::narrow;
use crate::model::{Access, Audited, Hint, Id, KeyState, Label, Noun, Result, User};

/// A user's personal REST key. It allows what the present role of its user allows, and is disabled when the user leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// The token's id.
    pub id: Id,
    /// The owner of the token.
    pub user: User,
    /// The purpose of the token.
    pub description: Label,
    /// The last four characters of the secret; `None` if the token was imported as a hash.
    pub hint: Option<Hint>,
    /// The access, always [`Access::Role`].
    pub access: Access,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The expiry time; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The end of the overlap in which the secret before the last rotation still works.
    pub overlap_ends_at: Option<Timestamp>,
    /// The last time that the token was checked and found active.
    pub last_used_at: Option<Timestamp>,
}

impl UserToken {
    /// The reason shown for a token that is disabled because its user has left.
    pub const USER_LEFT: &'static str = "user-left";

    /// Returns the state of the token at `now`. A token is disabled only by its user leaving.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.user.has_left() {
            KeyState::Disabled
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    /// Returns the end of the overlap, if an earlier secret still works at `now`.
    #[must_use]
    pub fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        self.overlap_ends_at.filter(|end| *end > now)
    }
}

impl Audited for UserToken {
    fn noun(&self) -> Noun {
        Noun::UserToken
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.description.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("user", Some(self.user.name.as_str().to_owned())),
            ("description", Some(self.description.as_str().to_owned())),
            ("hint", self.hint.as_ref().map(|hint| hint.as_str().to_owned())),
            ("scopes", self.access.scopes().map(ToString::to_string)),
            ("expires_at", self.expires_at.map(|at| format!("{at:.3}"))),
            ("overlap_ends_at", self.overlap_ends_at.map(|at| format!("{at:.3}"))),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("created_at", Some(format!("{:.3}", self.created_at))),
            ("user_id", Some(self.user.id.to_string())),
        ]
    }
}

/// The values of a token to create.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// The purpose of the token.
    pub description: Label,
    /// The access: [`Access::Role`], with the scopes to limit it to, if any.
    pub access: Access,
    /// The expiry time; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// Changes to a token. `None` leaves a value unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct TokenEdit {
    /// The new description.
    pub description: Option<Label>,
    /// The new access, no wider than the present one.
    pub access: Option<Access>,
    /// The new expiry time; cleared, the token never expires.
    pub expires_at: Option<Option<Timestamp>>,
}

impl TokenEdit {
    /// Returns the token with these changes.
    ///
    /// # Errors
    /// [`Error::WiderAccess`](crate::model::Error::WiderAccess) if the access would be widened.
    pub(crate) fn apply(self, token: &UserToken) -> Result<UserToken> {
        let mut token = token.clone();
        if let Some(access) = self.access {
            narrow(&mut token.access, access)?;
        }
        token.description = self.description.unwrap_or(token.description);
        token.expires_at = self.expires_at.unwrap_or(token.expires_at);
        Ok(token)
    }
}
