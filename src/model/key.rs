//! General access keys.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Audited, Error, Hint, Id, Label, Name, Noun, RateLimit, Result, Scope, ScopeSet};

/// The API version that keys carry, as lists show it.
pub const API_VERSION: &str = "v2";

/// What a credential may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Whatever can be had by GET.
    ReadOnly,
    /// What these scopes allow.
    Scopes(ScopeSet),
    /// What the role of its user allows, now; and of that only these scopes, if there are any.
    Role(Option<ScopeSet>),
}

impl Access {
    /// The kind of access.
    #[must_use]
    pub const fn kind(&self) -> AccessKind {
        match self {
            Self::Full => AccessKind::Full,
            Self::ReadOnly => AccessKind::ReadOnly,
            Self::Scopes(_) => AccessKind::Scopes,
            Self::Role(_) => AccessKind::Role,
        }
    }

    /// The scopes that it is limited to, if it is.
    #[must_use]
    pub const fn scopes(&self) -> Option<&ScopeSet> {
        match self {
            Self::Full | Self::ReadOnly => None,
            Self::Scopes(scopes) => Some(scopes),
            Self::Role(scopes) => scopes.as_ref(),
        }
    }

    /// Whether `narrower` reaches nothing that this does not. A read-only key cannot become one with scopes: some
    /// operations that only read are no GET.
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

/// The kinds of access, as lists show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessKind {
    /// Everything.
    Full,
    /// Whatever can be had by GET.
    ReadOnly,
    /// What some scopes allow.
    Scopes,
    /// What a user's role allows.
    Role,
}

impl AccessKind {
    /// The word for it.
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

/// A user as a record of the past names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// The user's id.
    pub id: Id,
    /// The user's name now, or when the user left.
    pub name: Name,
}

/// That a key was switched off: when, by whom, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// By which user; by none where somebody who held the key had it disabled.
    pub by: Option<UserRef>,
    /// Why, if it was said.
    pub reason: Option<Label>,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It works.
    Active,
    /// It was switched off, and can be switched on again.
    Disabled,
    /// Its time is over.
    Expired,
}

impl KeyState {
    /// The word for it.
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

/// A general access REST key. It belongs to the account, and goes on when the user who made it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralKey {
    /// The key's id.
    pub id: Id,
    /// What it is for.
    pub description: Label,
    /// The last four characters; unknown of a key that was imported as a hash.
    pub hint: Option<Hint>,
    /// What it may reach.
    pub access: Access,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: UserRef,
    /// That it is switched off, if it is.
    pub disabled: Option<Disabled>,
    /// When its time ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Its limit, where it is not the documented one.
    pub rate_limit: Option<RateLimit>,
    /// Until when the secret before the last rotation works too.
    pub overlap_ends_at: Option<Timestamp>,
    /// When it was last checked and found alive.
    pub last_used_at: Option<Timestamp>,
}

impl GeneralKey {
    /// Whether it works at a moment.
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

    /// Until when an earlier secret still works at a moment, if one does.
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

/// A key to be made.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// What it is for.
    pub description: Label,
    /// What it may reach.
    pub access: Access,
    /// When its time ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Its limit, where it is not to be the documented one.
    pub rate_limit: Option<RateLimit>,
}

/// What to change of a key: `None` leaves a thing as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct KeyEdit {
    /// Another description.
    pub description: Option<Label>,
    /// A narrower access.
    pub access: Option<Access>,
    /// Another end, or none.
    pub expires_at: Option<Option<Timestamp>>,
    /// Another limit, or the documented one again.
    pub rate_limit: Option<Option<RateLimit>>,
}

impl KeyEdit {
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

/// Narrows an access, and refuses to widen it: that takes a new key, which somebody then hands out on purpose.
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

/// Which keys to list; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// Those in this state.
    pub state: Option<KeyState>,
    /// Those with this kind of access.
    pub access: Option<AccessKind>,
    /// Those made by this user.
    pub created_by: Option<Id>,
    /// Those with this text in their description, in any case.
    pub text: Option<String>,
    /// Those not used since; of one never used, its making counts.
    pub unused_since: Option<Timestamp>,
    /// Those that work, and end before or at this moment.
    pub ends_by: Option<Timestamp>,
}

impl KeyFilter {
    /// Whether a key is one of them.
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

/// In which order to list keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// Oldest first.
    #[default]
    Created,
    /// By description.
    Description,
    /// Those never used first, then the longest unused.
    LastUsed,
    /// Those that end soonest first, those that never end last.
    Expires,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_may_narrow_access_never_widen_it() {
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
