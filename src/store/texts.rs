//! No text that is kept holds a secret of the store: a key pasted where a description belongs would lie in plain in the
//! database, in the audit trail for good, and in every list.
//!
//! It is asked and not guessed: what has the shape of a secret is looked up by its digest.

use crate::error::{ErrorKind, Result};
use crate::model::{Audited, Change, Id, Keyring, candidates};
use crate::store::{Read, Write};

/// Refuses a change if a text that it brings holds what is, or was, a secret of the store. What was there before is not
/// asked about: a key whose description holds a secret must not be kept from being disabled.
pub(super) fn refuse_secrets<T: Audited>(tx: &impl Write, change: &Change<T>) -> Result<()> {
    for field in change.fields() {
        if let Some(of) = field.value.map_or(Ok(None), |value| secret_in(tx, tx.keyring(), &value))? {
            return Err(ErrorKind::HoldsSecret { what: field.name.replace('_', " "), of }.into());
        }
    }
    Ok(())
}

/// Whose secret a text holds.
pub(crate) fn secret_in(store: &(impl Read + ?Sized), keyring: &Keyring, text: &str) -> Result<Option<Id>> {
    for digest in candidates::digests_in(text, keyring) {
        if let Some(holder) = store.holder(&digest)? {
            return Ok(Some(holder.id()));
        }
    }
    Ok(None)
}
