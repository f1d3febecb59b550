//! Refuses texts that hold a secret of the store: a key pasted where a description belongs would lie in plain in the
//! database, in the audit trail for good, and in every list.
//!
//! Nothing is guessed: whatever has the shape of a secret is looked up by its digest.

use crate::error::{ErrorKind, Result};
use crate::model::{Audited, Change, Id, Keyring, secret_patterns};
use crate::store::ReadTx;

/// Refuses a change if a text that it brings holds a secret of the store, live or dead. Texts that were there before are
/// not examined: a key whose description holds a secret can still be disabled.
pub(super) fn refuse_secrets<T: Audited>(
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

/// Returns the owner of a secret that a text holds.
pub(crate) fn secret_in(tx: &impl ReadTx, keyring: &Keyring, text: &str) -> Result<Option<Id>> {
    for digest in secret_patterns::digests_in(text, keyring) {
        if let Some(owner) = tx.digest_owner(&digest)? {
            return Ok(Some(owner.id()));
        }
    }
    Ok(None)
}
