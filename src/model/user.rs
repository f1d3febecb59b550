//! Users of the account.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Audited, Id, Label, Name, Noun, RateLimit, Role};

/// A person who has, or had, a role in the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's id.
    pub id: Id,
    /// The user's name, unique among the users who have not left.
    pub name: Name,
    /// The e-mail address, if one is recorded.
    pub email: Option<Label>,
    /// The user's role.
    pub role: Role,
    /// The uid of the operating-system user who acts as this user.
    pub os_uid: Option<u32>,
    /// The user's id in the protected API, for requests below `/users/{id}`. Unique.
    pub external_id: Option<Label>,
    /// The rate limit that all tokens of the user share; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
    /// The time at which the user was added.
    pub created_at: Timestamp,
    /// The time at which the user left; `None` if the user has not left.
    pub left_at: Option<Timestamp>,
    /// The reason for leaving, if one was given.
    pub left_reason: Option<Label>,
}

impl User {
    /// Returns true if the user has left the account.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left_at.is_some()
    }
}

impl Audited for User {
    fn noun(&self) -> Noun {
        Noun::User
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("name", Some(self.name.as_str().to_owned())),
            ("email", self.email.as_ref().map(|email| email.as_str().to_owned())),
            ("role", Some(self.role.to_string())),
            ("os_uid", self.os_uid.map(|uid| uid.to_string())),
            ("external_id", self.external_id.as_ref().map(|id| id.as_str().to_owned())),
            ("rate_limit", self.rate_limit.map(|limit| limit.to_string())),
            ("left_at", self.left_at.map(|at| format!("{at:.3}"))),
            ("left_reason", self.left_reason.as_ref().map(|reason| reason.as_str().to_owned())),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("created_at", Some(format!("{:.3}", self.created_at)))]
    }
}

/// Changes to a user. `None` leaves a value unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new role.
    pub role: Option<Role>,
    /// The new e-mail address.
    pub email: Option<Option<Label>>,
    /// The uid of the new operating-system user.
    pub os_uid: Option<Option<u32>>,
    /// The new id in the protected API.
    pub external_id: Option<Option<Label>>,
    /// The new rate limit; cleared, the documented one applies again.
    pub rate_limit: Option<Option<RateLimit>>,
}

impl UserEdit {
    /// Returns the user with these changes.
    pub(crate) fn apply(self, user: &User) -> User {
        let mut user = user.clone();
        user.name = self.name.unwrap_or(user.name);
        user.role = self.role.unwrap_or(user.role);
        user.email = self.email.unwrap_or(user.email);
        user.os_uid = self.os_uid.unwrap_or(user.os_uid);
        user.external_id = self.external_id.unwrap_or(user.external_id);
        user.rate_limit = self.rate_limit.unwrap_or(user.rate_limit);
        user
    }
}
