//! General access keys.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Audited, Error, Hint, Id, Label, Name, Noun, RateLimit, Result, Scope, ScopeSet};

/// The API version of general keys, as lists show it.
pub const API_VERSION: &str = "v2";

/// The access of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every operation.
    Full,
    /// Requests with method GET or HEAD.
    ReadOnly,
    /// The operations that these scopes allow.
    Scopes(ScopeSet),
    /// The operations that the present role of its user allows, limited to these scopes if there are any.
    Role(Option<ScopeSet>),
}

impl Access {
    /// Returns the kind of access.
    #[must_use]
    pub const fn kind(&self) -> AccessKind {
        match self {
            Self::Full => AccessKind::Full,
            Self::ReadOnly => AccessKind::ReadOnly,
            Self::Scopes(_) => AccessKind::Scopes,
            Self::Role(_) => AccessKind::Role,
        }
    }

    /// Returns the scopes that the access is limited to, if it is limited to scopes.
    #[must_use]
    pub const fn scopes(&self) -> Option<&ScopeSet> {
        match self {
            Self::Full | Self::ReadOnly => None,
            Self::Scopes(scopes) => Some(scopes),
            Self::Role(scopes) => scopes.as_ref(),
        }
    }

    /// Returns true if `narrower` allows nothing that `self` does not. Read-only access cannot be narrowed to scopes,
    /// because some operations with a read scope are not GET requests.
    #[must_use]
    pub fn can_become(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::Full, Self::Full | Self::ReadOnly | Self::Scopes(_))
            | (Self::ReadOnly, Self::ReadOnly)
            | (Self::Role(None), Self::Role(_)) => true,
            (Self::Scopes(has), Self::Scopes(gets)) | (Self::Role(Some(has)), Self::Role(Some(gets))) => {
                gets.is_subset(has)
            }
            _ => false,
        }
    }
}

/// A kind of access, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessKind {
    /// Every operation.
    Full,
    /// Requests with method GET or HEAD.
    ReadOnly,
    /// The operations that a set of scopes allows.
    Scopes,
    /// The operations that a user's role allows.
    Role,
}

impl AccessKind {
    /// Returns the word for it in lists, filters and audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Scopes => "scopes",
            Self::Role => "role",
        }
    }
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AccessKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Full, Self::ReadOnly, Self::Scopes, Self::Role]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid("access", "must be full, read-only, scopes or role"))
    }
}

/// A reference to a user, who may have left since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// The user's id.
    pub id: Id,
    /// The user's present name, or the last one if the user has left.
    pub name: Name,
}

/// The disabling of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// The time of disabling.
    pub at: Timestamp,
    /// The user who disabled the key; `None` if a holder of the key did.
    pub by: Option<UserRef>,
    /// The reason, if one was given.
    pub reason: Option<Label>,
}

/// The state of a key or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It is accepted.
    Active,
    /// It was disabled. A key can be enabled again.
    Disabled,
    /// It has expired.
    Expired,
}

impl KeyState {
    /// Returns the word for it in lists, filters and audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Active, Self::Disabled, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("status", "must be active, disabled or expired"))
    }
}

/// A general access REST key. It belongs to the account, and stays active when the user who created it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralKey {
    /// The key's id.
    pub id: Id,
    /// The purpose of the key.
    pub description: Label,
    /// The last four characters of the secret; `None` if the key was imported as a hash.
    pub hint: Option<Hint>,
    /// The access of the key.
    pub access: Access,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The user who created the key.
    pub created_by: UserRef,
    /// How the key was disabled; `None` if it is enabled.
    pub disabled: Option<Disabled>,
    /// The expiry time; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The rate limit; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
    /// The end of the overlap in which the secret before the last rotation still works.
    pub overlap_ends_at: Option<Timestamp>,
    /// The last time that the key was checked and found active.
    pub last_used_at: Option<Timestamp>,
}

impl GeneralKey {
    /// Returns the state of the key at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.disabled.is_some() {
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

impl Audited for GeneralKey {
    fn noun(&self) -> Noun {
        Noun::GeneralKey
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.description.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        let disabled = self.disabled.as_ref();
        vec![
            ("description", Some(self.description.as_str().to_owned())),
            ("hint", self.hint.as_ref().map(|hint| hint.as_str().to_owned())),
            ("access", Some(self.access.kind().to_string())),
            ("scopes", self.access.scopes().map(ToString::to_string)),
            ("disabled", Some(disabled.is_some().to_string())),
            (
                "disabled_reason",
                disabled.and_then(|disabled| Some(disabled.reason.as_ref()?.as_str().to_owned())),
            ),
            ("expires_at", self.expires_at.map(|at| format!("{at:.3}"))),
            ("rate_limit", self.rate_limit.map(|limit| limit.to_string())),
            ("overlap_ends_at", self.overlap_ends_at.map(|at| format!("{at:.3}"))),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        let disabled = self.disabled.as_ref();
        vec![
            ("created_at", Some(format!("{:.3}", self.created_at))),
            ("created_by", Some(self.created_by.id.to_string())),
            ("disabled_at", disabled.map(|disabled| format!("{:.3}", disabled.at))),
            ("disabled_by", disabled.and_then(|disabled| Some(disabled.by.as_ref()?.id.to_string()))),
        ]
    }
}

/// The values of a key to create.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// The purpose of the key.
    pub description: Label,
    /// The access to give to the key.
    pub access: Access,
    /// The expiry time; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The rate limit; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
}

/// Changes to a key. `None` leaves a value unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct KeyEdit {
    /// The new description.
    pub description: Option<Label>,
    /// The new access, no wider than the present one.
    pub access: Option<Access>,
    /// The new expiry time; cleared, the key never expires.
    pub expires_at: Option<Option<Timestamp>>,
    /// The new rate limit; cleared, the documented one applies again.
    pub rate_limit: Option<Option<RateLimit>>,
}

impl KeyEdit {
    /// Returns the key with these changes.
    ///
    /// # Errors
    /// [`Error::WiderAccess`] if the access would be widened.
    pub(crate) fn apply(self, key: &GeneralKey) -> Result<GeneralKey> {
        let mut key = key.clone();
        if let Some(access) = self.access {
            narrow(&mut key.access, access)?;
        }
        key.description = self.description.unwrap_or(key.description);
        key.expires_at = self.expires_at.unwrap_or(key.expires_at);
        key.rate_limit = self.rate_limit.unwrap_or(key.rate_limit);
        Ok(key)
    }
}

/// Narrows an access. Wider access takes a new key, so that existing holders never gain access unnoticed.
///
/// # Errors
/// [`Error::WiderAccess`] if `to` allows anything that `access` does not.
pub(crate) fn narrow(access: &mut Access, to: Access) -> Result<()> {
    if !access.can_become(&to) {
        let gained = match (access.scopes(), to.scopes()) {
            (Some(had), Some(asked)) => {
                let gained: Vec<_> =
                    asked.iter().filter(|scope| !had.contains(scope)).map(Scope::as_str).collect();
                format!("it would gain {}", gained.join(", "))
            }
            _ => format!("from {} to {}", access.kind(), to.kind()),
        };
        return Err(Error::WiderAccess(gained));
    }
    *access = to;
    Ok(())
}

/// A filter for lists of keys. A key matches if every condition that is given holds.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// The key is in this state.
    pub state: Option<KeyState>,
    /// The key has this kind of access.
    pub access: Option<AccessKind>,
    /// The key was created by this user.
    pub created_by: Option<Id>,
    /// The description contains this text, ignoring case.
    pub text: Option<String>,
    /// The key was last used before this time or, if never used, created before it.
    pub unused_since: Option<Timestamp>,
    /// The key is active, and expires at or before this time.
    pub ends_by: Option<Timestamp>,
}

impl KeyFilter {
    /// Returns true if `key` matches at `now`.
    #[must_use]
    pub fn matches(&self, key: &GeneralKey, now: Timestamp) -> bool {
        self.state.is_none_or(|state| key.state(now) == state)
            && self.access.is_none_or(|access| key.access.kind() == access)
            && self.created_by.is_none_or(|user| key.created_by.id == user)
            && self.unused_since.is_none_or(|since| key.last_used_at.unwrap_or(key.created_at) < since)
            && self.ends_by.is_none_or(|by| {
                key.state(now) == KeyState::Active && key.expires_at.is_some_and(|end| end <= by)
            })
            && self
                .text
                .as_ref()
                .is_none_or(|text| key.description.as_str().to_lowercase().contains(&text.to_lowercase()))
    }
}

/// The order of a list of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// By creation, oldest first.
    #[default]
    Created,
    /// By description, in alphabetical order.
    Description,
    /// By last use: keys never used first, then the least recently used.
    LastUsed,
    /// By expiry, soonest first; keys that never expire last.
    Expires,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_can_be_narrowed_and_never_widened() {
        let scopes = |text: &str| Access::Scopes(text.parse().unwrap());
        for (from, to, allowed) in [
            (Access::Full, Access::ReadOnly, true),
            (Access::Full, scopes("incidents.read"), true),
            (scopes("incidents.read services.read"), scopes("incidents.read"), true),
            (scopes("incidents.read"), scopes("incidents.read services.read"), false),
            (scopes("incidents.read"), Access::ReadOnly, false),
            (Access::ReadOnly, Access::Full, false),
            (Access::ReadOnly, scopes("enrichment.read"), false),
            (scopes("incidents.read"), Access::Full, false),
            (Access::Full, Access::Role(None), false),
        ] {
            assert_eq!(from.can_become(&to), allowed, "{from:?} to {to:?}");
        }
    }
}
