//! The account: what one store holds, and the settings that hold for all of it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Audited, Error, Name, Noun, Result, UserRef};

/// How a request is turned into the scopes that it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// By the table of PagerDuty's REST operations.
    #[default]
    PagerDuty,
    /// By convention, for an API of one's own: the path's first segment is the resource.
    Convention,
}

impl Policy {
    /// The policy's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PagerDuty => "pagerduty",
            Self::Convention => "convention",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::PagerDuty, Self::Convention]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| Error::invalid("policy", "must be pagerduty or convention"))
    }
}

/// What an account can have switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// General keys, user tokens and app tokens.
    RestApi,
    /// User tokens.
    AdvancedPermissions,
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RestApi => "REST keys",
            Self::AdvancedPermissions => "Advanced Permissions",
        })
    }
}

/// The account of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What the account is called.
    pub name: Name,
    /// The Account Owner; there is always exactly one.
    pub owner: UserRef,
    /// How requests are judged.
    pub policy: Policy,
    /// The subdomain that app tokens name in their scope.
    pub subdomain: Option<Subdomain>,
    /// Whether REST keys can be made and are accepted.
    pub rest_api: bool,
    /// Whether user tokens can be made and are accepted.
    pub advanced_permissions: bool,
    /// When the account was founded.
    pub created_at: Timestamp,
}

impl Account {
    /// How the account is named in audit records: a store holds one.
    pub const AUDIT_ID: &'static str = "account";

    /// A new account, with every ability.
    #[must_use]
    pub fn new(name: Name, owner: UserRef, policy: Policy, created_at: Timestamp) -> Self {
        Self { name, owner, policy, subdomain: None, rest_api: true, advanced_permissions: true, created_at }
    }

    /// Whether user tokens can be made and are accepted: they are REST keys, and an ability of their own.
    #[must_use]
    pub fn has_user_tokens(&self) -> bool {
        self.rest_api && self.advanced_permissions
    }
}

/// A label of a host name: lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Subdomain(String);

impl FromStr for Subdomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("subdomain", "must be lower-case letters, digits and hyphens, 63 at most"))
        }
    }
}

impl fmt::Display for Subdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What to change of the account's settings: `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountEdit {
    /// A new name.
    pub name: Option<Name>,
    /// Another policy.
    pub policy: Option<Policy>,
    /// Another subdomain, or none.
    pub subdomain: Option<Option<Subdomain>>,
    /// The ability to use REST keys, on or off.
    pub rest_api: Option<bool>,
    /// The ability to use user tokens, on or off.
    pub advanced_permissions: Option<bool>,
}

impl AccountEdit {
    pub(crate) fn apply(self, account: &Account) -> Account {
        let account = account.clone();
        Account {
            name: self.name.unwrap_or(account.name),
            owner: account.owner,
            policy: self.policy.unwrap_or(account.policy),
            subdomain: self.subdomain.unwrap_or(account.subdomain),
            rest_api: self.rest_api.unwrap_or(account.rest_api),
            advanced_permissions: self.advanced_permissions.unwrap_or(account.advanced_permissions),
            created_at: account.created_at,
        }
    }
}

impl Audited for Account {
    fn noun(&self) -> Noun {
        Noun::Account
    }

    fn audit_id(&self) -> String {
        Self::AUDIT_ID.to_owned()
    }

    fn audit_summary(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("name", Some(self.name.as_str().to_owned())),
            ("owner", Some(self.owner.name.as_str().to_owned())),
            ("policy", Some(self.policy.to_string())),
            ("subdomain", self.subdomain.as_ref().map(ToString::to_string)),
            ("rest_api", Some(self.rest_api.to_string())),
            ("advanced_permissions", Some(self.advanced_permissions.to_string())),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("created_at", Some(format!("{:.3}", self.created_at)))]
    }
}
