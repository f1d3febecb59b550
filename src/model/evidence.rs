//! Evidence in audit records: which secrets a resource has, and what an import brought, without revealing either.
//!
//! The fields of a record are public, so it cannot hold a secret or a digest. It names a secret by a [`SecretMark`]
//! instead, an HMAC of the digest under a key derived from the store key. Replacing a digest in the database is
//! detected, because the mark of the new one cannot be computed from the database alone. An import leaves one record,
//! which commits to every imported entry.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Audited, Digest, Error, Keyring, Result, SecretChange};

/// The name of a secret in audit records: an HMAC of its digest, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretMark(String);

impl SecretMark {
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(hexadecimal(bytes))
    }
}

/// The commitment in the record of an import: an HMAC over all entries, in the order of import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(String);

impl Commitment {
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(hexadecimal(bytes))
    }
}

/// Formats bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A secret in the store that was not revoked for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSecret {
    /// The digest of the secret.
    pub digest: Digest,
    /// The end of its overlap, if it was rotated.
    pub ends_at: Option<Timestamp>,
}

/// A secret that a resource has after a change, as the audit record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveMark {
    /// The mark of the secret.
    pub mark: SecretMark,
    /// The end of its overlap, if it was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

/// The evidence in an audit record about secrets and imported entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every secret that the resource has after the change; `None` if the change leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Vec<LiveMark>>,
    /// The secrets that the change ended for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<SecretMark>,
    /// The commitment to the entries of an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Commitment>,
}

impl Evidence {
    /// Builds the evidence of a change to a resource that had the secrets `before`.
    pub(crate) fn of_change(keyring: &Keyring, before: &[LiveSecret], change: SecretChange) -> Self {
        let mark = |secret: &LiveSecret| keyring.mark(&secret.digest);
        let live = |secret: &LiveSecret| LiveMark { mark: mark(secret), ends_at: secret.ends_at };
        let fresh = |digest| LiveMark { mark: keyring.mark(&digest), ends_at: None };
        let (overlapped, present): (Vec<_>, Vec<_>) =
            before.iter().partition(|secret| secret.ends_at.is_some());
        let (live, dead) = match change {
            SecretChange::Keep => (before.iter().map(live).collect(), Vec::new()),
            SecretChange::Issue(digest) => (before.iter().map(live).chain([fresh(digest)]).collect(), vec![]),
            SecretChange::Rotate { new, old_ends_at: None } => {
                (vec![fresh(new)], before.iter().map(mark).collect())
            }
            SecretChange::Rotate { new, old_ends_at } => {
                let goes_on =
                    present.into_iter().map(|secret| LiveMark { mark: mark(secret), ends_at: old_ends_at });
                (goes_on.chain([fresh(new)]).collect(), overlapped.into_iter().map(mark).collect())
            }
            SecretChange::EndOverlap => {
                (present.into_iter().map(live).collect(), overlapped.into_iter().map(mark).collect())
            }
        };
        Self { live: Some(live), dead, imported: None }
    }

    /// Builds the evidence of the removal of a resource that had the secrets `before`.
    pub(crate) fn of_removal(keyring: &Keyring, before: &[LiveSecret]) -> Self {
        let dead = before.iter().map(|secret| keyring.mark(&secret.digest)).collect();
        Self { live: Some(Vec::new()), dead, imported: None }
    }
}

/// An imported entry as it was imported, with the fields that an audit record of its own would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedThing {
    /// The fields that have a value.
    pub fields: Map<String, Value>,
    /// The mark of its secret, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretMark>,
}

impl ImportedThing {
    pub(crate) fn new<T: Audited>(thing: &T, secret: Option<SecretMark>) -> Self {
        let fields = thing.audit_fields().into_iter().chain(thing.implied_fields());
        let fields =
            fields.filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect();
        Self { fields, secret }
    }

    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, StoreKey};

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(&StoreKey::from_bytes(&[byte; 32]).unwrap()).unwrap()
    }

    fn secret(keyring: &Keyring, plain: &str, ends_at: Option<&str>) -> LiveSecret {
        let digest = keyring.digest(&Secret::presented(plain.to_owned()).fingerprint());
        LiveSecret { digest, ends_at: ends_at.map(|moment| moment.parse().unwrap()) }
    }

    #[test]
    fn a_mark_depends_on_the_store_key_and_differs_from_the_digest() {
        let one = keyring(1);
        let secret = secret(&one, "a", None);
        let mark = one.mark(&secret.digest);
        assert_eq!(mark.0.len(), 64);
        assert_ne!(mark, SecretMark::of_bytes(secret.digest.as_bytes()));
        assert_ne!(mark, keyring(2).mark(&secret.digest));
        assert_ne!(mark, SecretMark::of_bytes(&one.link(secret.digest.as_bytes(), b"")));
    }

    #[test]
    fn evidence_lists_the_secrets_that_remain_and_those_that_ended() {
        let keys = keyring(1);
        let (old, present) =
            (secret(&keys, "old", Some("2027-01-01T00:00:00Z")), secret(&keys, "present", None));
        let new = secret(&keys, "new", None);
        let mark = |secret: &LiveSecret| keys.mark(&secret.digest);
        let live = |evidence: &Evidence| -> Vec<_> {
            evidence.live.iter().flatten().map(|live| (live.mark.clone(), live.ends_at.is_some())).collect()
        };
        let of = |change| Evidence::of_change(&keys, &[old, present], change);
        let at_once = of(SecretChange::Rotate { new: new.digest, old_ends_at: None });
        assert_eq!(
            (live(&at_once), at_once.dead),
            (vec![(mark(&new), false)], vec![mark(&old), mark(&present)])
        );
        let overlap = of(SecretChange::Rotate { new: new.digest, old_ends_at: old.ends_at });
        assert_eq!(live(&overlap), [(mark(&present), true), (mark(&new), false)]);
        assert_eq!(overlap.dead, [mark(&old)]);
        let ended = of(SecretChange::EndOverlap);
        assert_eq!((live(&ended), ended.dead), (vec![(mark(&present), false)], vec![mark(&old)]));
        let removed = Evidence::of_removal(&keys, &[old, present]);
        assert_eq!((live(&removed), removed.dead), (vec![], vec![mark(&old), mark(&present)]));
    }
}
