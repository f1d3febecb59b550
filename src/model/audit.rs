//! The audit trail: one record per change, in the format of PagerDuty's audit records, each chained to the one before.
//!
//! A record is built from a permit and the [`Change`](crate::model::Change) that it allowed, so actor, action and
//! change always belong together. The chain is an HMAC under a key derived from the store key, which the database does
//! not hold: write access to the database alone does not allow a record to be altered, inserted or left out undetected.
//! Truncation at the end is detected only by comparison with a [`Head`] that was kept elsewhere.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Account, Audited, Error, Evidence, Name, Noun, Result};

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditAction {
    /// A resource was created.
    Create,
    /// A resource was changed.
    Update,
    /// A resource was removed.
    Delete,
}

impl AuditAction {
    /// Returns the word that audit records use.
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

/// A resource as an audit record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The id.
    pub id: String,
    /// The type, such as `general_key`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name or description at the time of the record.
    pub summary: String,
}

/// The actor of a change: a user, or the credential whose secret was presented.
pub type Actor = Resource;

/// How the actor was identified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// `os_user`, `api_token` or `holder`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The last four characters of the token or secret that was presented, if one was.
    pub truncated_token: Option<String>,
}

/// The context in which a change was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionContext {
    /// An id that all records of one command share.
    pub request_id: String,
    /// Always `None`, because management is local.
    pub remote_address: Option<String>,
}

/// The change of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The name of the field.
    pub name: String,
    /// The value before the change.
    pub before_value: Option<String>,
    /// The value after the change.
    pub value: Option<String>,
}

/// The details of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The fields that changed.
    pub fields: Vec<FieldChange>,
    /// Evidence about secrets and imported entries. Records written by 0.1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// One record of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The number of the record; records are numbered from 1 without gaps.
    #[serde(with = "number_as_text")]
    pub id: u64,
    /// The time of the change.
    #[serde(with = "milliseconds")]
    pub execution_time: Timestamp,
    /// The context of the change.
    pub execution_context: ExecutionContext,
    /// The actors. With `--as`, the user acted for comes first, and the Account Owner second.
    pub actors: Vec<Actor>,
    /// How the actor was identified.
    pub method: Method,
    /// The resource that was changed.
    pub root_resource: Resource,
    /// The kind of change.
    pub action: AuditAction,
    /// The fields that changed, and evidence about secrets.
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

/// Writes timestamps with exactly three decimals, so that the text sorts in the order of time.
mod milliseconds {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{timestamp:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

/// The state of an account before or after a backup is restored, as the audit record of the restore shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restoration {
    /// The name of the account.
    pub(crate) account: Name,
    /// The head of the restored audit trail.
    pub(crate) restored: Option<Head>,
    /// The head of the audit trail that was replaced, if it could be read.
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

/// The head of the audit chain: the number of the last record, and the HMAC over all records up to it. A copy kept
/// elsewhere shows later whether the trail was truncated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record.
    pub number: u64,
    /// The HMAC of the chain after that record.
    pub end: [u8; 32],
}

impl Head {
    /// The head of an empty chain.
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
            // `parse` and `from_str_radix` would accept a sign.
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
