//! User tokens: personal REST keys, bounded by their user's role.

use jiff::Timestamp;

use super::key::narrow;
use crate::model::{Access, Audited, Hint, Id, KeyState, Label, Noun, Result, User};

/// A user's personal REST key. It may do what its user's role may, now, and works as long as the user is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// The token's id.
    pub id: Id,
    /// Whose it is.
    pub user: User,
    /// What it is for.
    pub description: Label,
    /// The last four characters; unknown of a token that was imported as a hash.
    pub hint: Option<Hint>,
    /// Always [`Access::Role`]: the role's scopes, or some of them.
    pub access: Access,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its time ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Until when the secret before the last rotation works too.
    pub overlap_ends_at: Option<Timestamp>,
    /// When it was last checked and found alive.
    pub last_used_at: Option<Timestamp>,
}

impl UserToken {
    /// Why a token is switched off whose user has left.
    pub const USER_LEFT: &'static str = "user-left";

    /// Whether it works at a moment. There is no switch: a token is disabled by its user's leaving alone.
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

    /// Until when an earlier secret still works at a moment, if one does.
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

/// A token to be made.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// What it is for.
    pub description: Label,
    /// [`Access::Role`], with the scopes it is to be limited to, if any.
    pub access: Access,
    /// When its time ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// What to change of a token: `None` leaves a thing as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct TokenEdit {
    /// Another description.
    pub description: Option<Label>,
    /// A narrower access.
    pub access: Option<Access>,
    /// Another end, or none.
    pub expires_at: Option<Option<Timestamp>>,
}

impl TokenEdit {
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
