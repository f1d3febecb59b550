//! The account of a store, and its settings.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Audited, Error, Name, Noun, Result, UserRef};

/// The policy that maps a request to the scopes it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Looks the request up in the table of PagerDuty's REST operations.
    #[default]
    PagerDuty,
    /// Takes the first segment of the path as the resource: a convention for other APIs.
    Convention,
}

impl Policy {
    /// Returns the policy's name.
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

/// A feature that an account can switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// The use of general keys, user tokens and app tokens.
    RestApi,
    /// The use of user tokens.
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
    /// The account's name.
    pub name: Name,
    /// The Account Owner. Every account has exactly one.
    pub owner: UserRef,
    /// The policy for requests to the REST API.
    pub policy: Policy,
    /// The subdomain that requests for app tokens name in their scope.
    pub subdomain: Option<Subdomain>,
    /// Whether REST keys can be created and are accepted.
    pub rest_api: bool,
    /// Whether user tokens can be created and are accepted, if REST keys are.
    pub advanced_permissions: bool,
    /// The time at which the account was founded.
    pub created_at: Timestamp,
}

impl Account {
    /// The id of the account in audit records. A store holds one account, so it is a constant.
    pub const AUDIT_ID: &'static str = "account";

    /// Creates an account with every ability switched on.
    #[must_use]
    pub fn new(name: Name, owner: UserRef, policy: Policy, created_at: Timestamp) -> Self {
        Self { name, owner, policy, subdomain: None, rest_api: true, advanced_permissions: true, created_at }
    }

    /// Returns true if user tokens can be created and are accepted, which takes both abilities.
    #[must_use]
    pub fn has_user_tokens(&self) -> bool {
        self.rest_api && self.advanced_permissions
    }
}

/// A DNS label: up to 63 lower-case letters, digits and hyphens, with no hyphen at either end.
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

/// Changes to the account's settings. `None` leaves a setting unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct AccountEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new policy.
    pub policy: Option<Policy>,
    /// The new subdomain.
    pub subdomain: Option<Option<Subdomain>>,
    /// Whether REST keys are switched on.
    pub rest_api: Option<bool>,
    /// Whether user tokens are switched on.
    pub advanced_permissions: Option<bool>,
}

impl AccountEdit {
    /// Returns the account with these changes.
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
