//! Copies of a store: made while it is used, and put back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::authz::Permit;
use crate::error::Result;
use crate::model::{Account, Head, Hint, Id, User};
use crate::ports::Entropy;
use crate::store::{CredentialStatus, Place, Replay, Store};

/// What is to be restored.
pub enum Offered<'o> {
    /// A file, which is opened by the process.
    At(&'o Path),
    /// What comes out of a stream, which was opened by whoever may read it.
    Stream {
        /// What to call it in messages.
        name: &'o Path,
        /// The whole backup.
        content: &'o mut dyn Read,
    },
}

impl<'o> Offered<'o> {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'o Path {
        match self {
            Self::At(name) | Self::Stream { name, .. } => name,
        }
    }
}

/// A store that can be copied while it is used, and whose copies can be put back.
pub trait BackupStore: Store + Sized {
    /// A backup that was found to be whole and is ready to take the store's place.
    type Backup;

    /// Copies the store as it is at one moment that is not before the call, while others write, to a new file; and
    /// the store key to another, if one is named. What is there under the name afterwards is whole and was verified.
    ///
    /// # Errors
    /// If a file of the name is there, the copy cannot be written, or what was copied is damaged. Then there is
    /// nothing under the name.
    fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>, entropy: &mut dyn Entropy) -> Result<Head>;

    /// Copies the store as it is at one moment that is not before the call, while others write, to where it is wanted
    /// once the copy was verified.
    ///
    /// # Errors
    /// If the copy cannot be written, or what was copied is damaged. What was written by then is no backup.
    fn stream_backup(&mut self, out: &mut dyn Write, entropy: &mut dyn Entropy) -> Result<Head>;

    /// Looks at a backup, without touching it or the store. It must fit the store key that is at the place, or the
    /// one in the file that is named; that one is put at the place, where there is none, when the backup is
    /// restored.
    ///
    /// # Errors
    /// [`BackupRefused`](crate::ErrorKind::BackupRefused) if the file is no backup of a store, or damaged; and if the store key does not
    /// fit.
    fn check_backup(
        place: &Place,
        offered: Offered<'_>,
        store_key: Option<&Path>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self::Backup>;

    /// The account of a backup, and the end of its audit chain.
    ///
    /// # Errors
    /// If it cannot be read.
    fn account_of(backup: &Self::Backup) -> Result<(Account, Head)>;

    /// Whether a backup holds what its audit trail says.
    fn replay_of(backup: &Self::Backup) -> &Replay;

    /// The present user of a backup's account as whom an operating-system user acts.
    ///
    /// # Errors
    /// If it cannot be read.
    fn user_of(backup: &Self::Backup, uid: u32) -> Result<Option<User>>;

    /// What works at a moment by a backup, and does not by the store.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn reactivated_by(&mut self, backup: &Self::Backup, at: Timestamp) -> Result<Vec<Reactivated>>;

    /// Puts a backup in the store's place, in one transaction that all who have it open see at once, with the record
    /// of it on the restored audit chain. What is there now is copied aside first. Refused if more would work again
    /// than is `known`.
    ///
    /// # Errors
    /// If it cannot be done; the store is as it was then.
    fn restore(
        &mut self,
        backup: Self::Backup,
        known: &[Reactivated],
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;

    /// Does the same where no store is, or one that cannot be read.
    ///
    /// # Errors
    /// If it cannot be done.
    fn restore_lost(
        place: &Place,
        backup: Self::Backup,
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;
}

/// Something that will work again when a backup is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reactivated {
    /// The credential, or the app whose client secret it is.
    pub id: Id,
    /// What it is for.
    pub description: String,
    /// The last four characters of the secret that will work.
    pub hint: Option<Hint>,
    /// What became of it since.
    pub status: CredentialStatus,
}

/// What was done to restore a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The end of the audit chain now.
    pub head: Head,
    /// Where the store is kept that was there before, if one was.
    pub kept: Option<PathBuf>,
}
