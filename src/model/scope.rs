//! Scopes: `resource.read` or `resource.write`, or for a part of a resource, `resource:part.read`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::model::{Error, Result};

/// The right to read or to write a resource. Write access does not imply read access.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// Creates the scope of a resource: `orders` and `read` make `orders.read`. Returns `None` if the resource is not
    /// well formed.
    pub(crate) fn of_resource(resource: &str, right: &str) -> Option<Self> {
        is_resource(resource).then(|| Self(format!("{resource}.{right}")))
    }

    /// Returns the scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if it is a right to read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.rsplit_once('.').is_some_and(|(_, right)| right == "read")
    }

    /// Returns true if only the roles owner and admin hold it.
    #[must_use]
    pub fn is_admin_only(&self) -> bool {
        const PREFIXES: [&str; 4] =
            ["users:sessions.", "ip_allow_lists.", "session_configurations.", "oauth_delegations."];
        matches!(self.as_str(), "users.write" | "audit_records.read")
            || PREFIXES.iter().any(|prefix| self.0.starts_with(prefix))
    }
}

fn is_resource(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.rsplit_once('.').is_some_and(|(resource, right)| {
            matches!(right, "read" | "write")
                && match resource.split_once(':') {
                    Some((resource, part)) => is_resource(resource) && is_resource(part),
                    None => is_resource(resource),
                }
        });
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "scope",
                "must look like incidents.read, services.write or users:sessions.read",
            ))
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A set of scopes. Its text form is in alphabetical order, separated by spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// Returns true if the set contains the scope.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Returns true if `other` contains every scope of this set.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Returns true if the set has no scopes, and so gives no access.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = Error;

    /// Parses scopes separated by spaces, the form that OAuth uses.
    fn from_str(text: &str) -> Result<Self> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.pad(&scopes.join(" "))
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scopes = Vec::<String>::deserialize(deserializer)?;
        scopes.iter().map(|scope| scope.parse().map_err(serde::de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_scopes_are_refused() {
        for text in ["incidents.read", "users:sessions.write", "my-things.read", "v2_things.write"] {
            assert_eq!(text.parse::<Scope>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "incidents",
            "incidents.",
            "Incidents.read",
            "incidents.READ",
            "a:b:c.read",
            ".read",
            "a.b.read",
            "a b.read",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
    }
}
