//! Backups of a store: taken while the store is in use, and restored.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::authz::Permit;
use crate::error::Result;
use crate::model::{Account, Head, Hint, Id, User};
use crate::ports::Entropy;
use crate::store::{CredentialStatus, Place, Replay, Store};

/// The source of a backup to restore.
pub enum Offered<'o> {
    /// A file that this process opens.
    At(&'o Path),
    /// A stream that the caller has already opened, possibly with other rights.
    Stream {
        /// The name to show in messages.
        name: &'o Path,
        /// The bytes of the whole backup.
        content: &'o mut dyn Read,
    },
}

impl<'o> Offered<'o> {
    /// Returns the name to show in messages.
    #[must_use]
    pub fn name(&self) -> &'o Path {
        match self {
            Self::At(name) | Self::Stream { name, .. } => name,
        }
    }
}

/// A store that can be backed up while it is in use, and restored from a backup.
pub trait BackupStore: Store + Sized {
    /// A verified backup that is ready to replace the store.
    type Backup;

    /// Copies the store to the new file `to`, and the store key to the new file `store_key_to` if given.
    ///
    /// The copy is a snapshot taken at or after the call, and does not block writers. It is verified before it appears
    /// under its name. Returns the head of its audit chain.
    ///
    /// # Errors
    /// If the file exists, the copy cannot be written, or the copied content is damaged. No file is left under the
    /// name in that case.
    fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>, entropy: &mut dyn Entropy) -> Result<Head>;

    /// Writes a verified copy of the store to a stream.
    ///
    /// The copy is a snapshot taken at or after the call, and does not block writers. Returns the head of its audit
    /// chain.
    ///
    /// # Errors
    /// If the copy cannot be written, or the copied content is damaged. The output up to that point is not a usable
    /// backup.
    fn stream_backup(&mut self, out: &mut dyn Write, entropy: &mut dyn Entropy) -> Result<Head>;

    /// Verifies a backup without changing it or the store.
    ///
    /// The backup must belong to the store key at `place`, or to the one in the file `store_key`. If there is no key at
    /// `place`, restoring the backup installs the given one there.
    ///
    /// # Errors
    /// [`BackupRefused`](crate::ErrorKind::BackupRefused) if the file is damaged or not a backup of a store, and
    /// [`StoreKey`](crate::ErrorKind::StoreKey) if it belongs to another store key.
    fn check_backup(
        place: &Place,
        offered: Offered<'_>,
        store_key: Option<&Path>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self::Backup>;

    /// Returns the account of a backup and the head of its audit chain.
    ///
    /// # Errors
    /// If it cannot be read.
    fn account_of(backup: &Self::Backup) -> Result<(Account, Head)>;

    /// Returns the comparison of a backup with its own audit trail.
    fn replay_of(backup: &Self::Backup) -> &Replay;

    /// Returns the active user of the backup that an operating-system user is mapped to.
    ///
    /// # Errors
    /// If it cannot be read.
    fn user_of(backup: &Self::Backup, uid: u32) -> Result<Option<User>>;

    /// Returns the credentials that are live in the backup at a given time, but not in the store: those that restoring
    /// it would reactivate.
    ///
    /// # Errors
    /// If the backup or the store cannot be read.
    fn reactivated_by(&mut self, backup: &Self::Backup, at: Timestamp) -> Result<Vec<Reactivated>>;

    /// Replaces the store with a backup in one transaction, which every process that has it open sees at once.
    ///
    /// The restore is recorded on the restored audit chain. The present store is copied aside first.
    ///
    /// # Errors
    /// If a credential would be reactivated that is not in `known`, or the restore fails. The store is unchanged then.
    fn restore(
        &mut self,
        backup: Self::Backup,
        known: &[Reactivated],
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;

    /// Restores a backup to a place where the store is missing or cannot be read.
    ///
    /// # Errors
    /// If the backup cannot be put in place.
    fn restore_lost(
        place: &Place,
        backup: Self::Backup,
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;
}

/// A credential that restoring a backup makes live again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reactivated {
    /// The credential, or the app whose client secret it is.
    pub id: Id,
    /// Its description, or the name of the app.
    pub description: String,
    /// The last four characters of the secret that becomes live, if known.
    pub hint: Option<Hint>,
    /// Its status in the present store.
    pub status: CredentialStatus,
}

/// The result of restoring a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The head of the restored audit chain.
    pub head: Head,
    /// The path of the copy of the previous store, if there was one.
    pub kept: Option<PathBuf>,
}
