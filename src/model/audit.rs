//! The audit trail: one record a change, in the shape of PagerDuty's audit records, each chained to the one before.
//!
//! A record is made of a [`Permit`](super::Permit) and the [`Change`] that it allowed, so that who, what and whether
//! it was allowed cannot come apart. The chain is an HMAC under a key that the database does not hold: who can write
//! the database but has not the store key cannot alter, insert or leave out a record unseen. Records cut off at
//! the end are seen only against a [`Head`] that was kept elsewhere.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Account, Audited, Error, Evidence, Name, Noun, Result};

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditAction {
    /// Something new.
    Create,
    /// Something changed.
    Update,
    /// Something gone.
    Delete,
}

impl AuditAction {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl FromStr for AuditAction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Create, Self::Update, Self::Delete]
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| Error::invalid("action", "must be create, update or delete"))
    }
}

/// Something that a record names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was called.
    pub summary: String,
}

/// Somebody who acted: a user, or the holder of a credential.
pub type Actor = Resource;

/// By what the acting user was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// `os_user`, `api_token` or `holder`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The last four characters of the token, if it was one.
    pub truncated_token: Option<String>,
}

/// In which run it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionContext {
    /// The same for all records of one command.
    pub request_id: String,
    /// Always null: management is local.
    pub remote_address: Option<String>,
}

/// One field of what was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field.
    pub name: String,
    /// What it was.
    pub before_value: Option<String>,
    /// What it became.
    pub value: Option<String>,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The fields that changed.
    pub fields: Vec<FieldChange>,
    /// What the record says of secrets, or of what an import brought; 0.1 wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// One record of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The record's number, counted from 1 without a gap.
    #[serde(with = "number_as_text")]
    pub id: u64,
    /// When.
    #[serde(with = "milliseconds")]
    pub execution_time: Timestamp,
    /// In which run.
    pub execution_context: ExecutionContext,
    /// On whose behalf; with `--as`, the Account Owner who did it comes second.
    pub actors: Vec<Actor>,
    /// By what the actor was known.
    pub method: Method,
    /// To what.
    pub root_resource: Resource,
    /// What was done.
    pub action: AuditAction,
    /// The details.
    pub details: Details,
}

mod number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Always three decimals, so that the text sorts as the time does.
mod milliseconds {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{moment:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

/// An account whose store is, or is not yet, what a backup held: what the restoring of it records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restoration {
    /// What the account is called.
    pub(crate) account: Name,
    /// The end of the chain that was restored.
    pub(crate) restored: Option<Head>,
    /// The end of the chain that was replaced, if there was one to be read.
    pub(crate) replaced: Option<Head>,
}

impl Audited for Restoration {
    fn noun(&self) -> Noun {
        Noun::Account
    }

    fn audit_id(&self) -> String {
        Account::AUDIT_ID.to_owned()
    }

    fn audit_summary(&self) -> String {
        self.account.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("restored", self.restored.as_ref().map(ToString::to_string)),
            ("replaced", self.replaced.as_ref().map(ToString::to_string)),
        ]
    }
}

/// The end of the chain: the number of the last record and the HMAC over it and all before it. Kept elsewhere, it
/// shows later whether records were cut off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record.
    pub number: u64,
    /// The end of the chain after it.
    pub end: [u8; 32],
}

impl Head {
    /// The end of the chain before the first record.
    pub const START: Self = Self { number: 0, end: [0; 32] };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.number)?;
        self.end.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (number, end) = text.split_once(':')?;
            // The number parsers would take a sign too.
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || end.len() != 64 || !end.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            let mut bytes = [0; 32];
            for (byte, pair) in bytes.iter_mut().zip(end.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            Some(Self { number: number.parse().ok()?, end: bytes })
        };
        parse().ok_or_else(|| Error::invalid("head", "must be what audit head printed, such as 42:9f86..."))
    }
}
