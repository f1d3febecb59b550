//! Rejects texts that contain a secret of the store. A key pasted in place of a description would otherwise be stored
//! in plain text in the database, permanently in the audit trail, and shown in every list.
//!
//! This is exact, not a heuristic: everything that has the shape of a secret is looked up by its digest.

use crate::error::{ErrorKind, Result};
use crate::model::{Audited, Change, Id, Keyring, secret_patterns};
use crate::store::ReadTx;

/// Rejects a change if one of its new texts contains a secret of the store, live or dead.
///
/// Unchanged texts are not examined, so that a key whose description contains a secret can still be disabled.
pub(crate) fn refuse_secrets<T: Audited>(
    tx: &impl ReadTx,
    keyring: &Keyring,
    change: &Change<T>,
) -> Result<()> {
    for field in change.fields() {
        if let Some(of) = field.value.map_or(Ok(None), |value| secret_in(tx, keyring, &value))? {
            return Err(ErrorKind::HoldsSecret { what: field.name.replace('_', " "), of }.into());
        }
    }
    Ok(())
}

/// Returns the owner of the first secret of the store that a text contains.
pub(crate) fn secret_in(tx: &impl ReadTx, keyring: &Keyring, text: &str) -> Result<Option<Id>> {
    for digest in secret_patterns::digests_in(text, keyring) {
        if let Some(owner) = tx.digest_owner(&digest)? {
            return Ok(Some(owner.id()));
        }
    }
    Ok(None)
}
