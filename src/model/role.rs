//! The eight roles, and the scopes that each of them holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Error, Result, Scope};

/// The role of a user. It is spelt as in the API everywhere, such as `limited_user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Account Owner; every account has exactly one.
    Owner,
    /// Global Admin.
    Admin,
    /// Manager.
    User,
    /// Responder.
    LimitedUser,
    /// Observer.
    Observer,
    /// Restricted Access.
    RestrictedAccess,
    /// Full Stakeholder.
    ReadOnlyUser,
    /// Limited Stakeholder.
    ReadOnlyLimitedUser,
}

impl Role {
    /// Every role, in the order of the permission table.
    pub const ALL: [Self; 8] = [
        Self::Owner,
        Self::Admin,
        Self::User,
        Self::LimitedUser,
        Self::Observer,
        Self::RestrictedAccess,
        Self::ReadOnlyUser,
        Self::ReadOnlyLimitedUser,
    ];

    /// Returns the role in the spelling of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::User => "user",
            Self::LimitedUser => "limited_user",
            Self::Observer => "observer",
            Self::RestrictedAccess => "restricted_access",
            Self::ReadOnlyUser => "read_only_user",
            Self::ReadOnlyLimitedUser => "read_only_limited_user",
        }
    }

    /// Returns the name that the web interface shows.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Owner => "Account Owner",
            Self::Admin => "Global Admin",
            Self::User => "Manager",
            Self::LimitedUser => "Responder",
            Self::Observer => "Observer",
            Self::RestrictedAccess => "Restricted Access",
            Self::ReadOnlyUser => "Full Stakeholder",
            Self::ReadOnlyLimitedUser => "Limited Stakeholder",
        }
    }

    /// Returns true for owners and admins, whose tokens only they themselves may remove.
    #[must_use]
    pub const fn is_senior(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// Returns true if the role holds a scope. This bounds the user tokens of users with the role, and the apps that
    /// they may register.
    #[must_use]
    pub fn holds(self, scope: &Scope) -> bool {
        match self {
            Self::Owner | Self::Admin => true,
            Self::User => !scope.is_admin_only(),
            Self::LimitedUser => {
                (scope.is_read() && !scope.is_admin_only())
                    || matches!(
                        scope.as_str(),
                        "incidents.write" | "incident_workflows:instances.write" | "change_events.write"
                    )
            }
            Self::Observer | Self::ReadOnlyUser => scope.is_read() && !scope.is_admin_only(),
            Self::RestrictedAccess => scope.as_str() == "abilities.read",
            Self::ReadOnlyLimitedUser => scope.as_str() == "status_dashboards.read",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|role| role.as_str()).collect();
            Error::invalid("role", format!("must be one of {}", known.join(", ")))
        })
    }
}
