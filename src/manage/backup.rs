//! Backup and restore of the whole store.

use std::io::Write;
use std::path::Path;

use super::session::Session;
use super::write_context::request_id;
use crate::authz::{Action, Permit, Target, authorize, require};
use crate::error::Result;
use crate::model::{Head, Noun};
use crate::ports::{Clock, Entropy};
use crate::store::{BackupStore, Chain, Place, Reactivated, ReadTx as _, Replay, Restored};

impl<S: BackupStore> Session<'_, S> {
    /// Copies the store to the new file `to`, and the store key to the new file `store_key_to` if given. Writers are
    /// not blocked. A backup does not change the store and is not recorded in the audit trail.
    ///
    /// # Errors
    /// If the acting user is not permitted, or no verified copy can be made. No file is left under the name then.
    pub fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>) -> Result<Head> {
        self.read(|_, acting| Ok(require(acting, Action::BackUp, &Target::all(Noun::Account))?))?;
        let (store, entropy) = self.store();
        store.back_up(to, store_key_to, entropy)
    }

    /// Writes a copy of the store to a stream. The store key is not included.
    ///
    /// # Errors
    /// If the acting user is not permitted, or no verified copy can be made. The output is not a usable backup then.
    pub fn stream_backup(&mut self, out: &mut dyn Write) -> Result<Head> {
        self.read(|_, acting| Ok(require(acting, Action::BackUp, &Target::all(Noun::Account))?))?;
        let (store, entropy) = self.store();
        store.stream_backup(out, entropy)
    }

    /// Checks that the acting user is permitted to restore a backup, before one is read.
    ///
    /// # Errors
    /// If the acting user is not permitted.
    pub fn require_restore(&mut self) -> Result<()> {
        self.read(|_, acting| Ok(require(acting, Action::Restore, &Target::all(Noun::Account))?))
    }

    /// Verifies the present store, which a backup will replace, and compares it with its audit trail.
    ///
    /// # Errors
    /// If the acting user is not permitted to restore, or the store cannot be verified.
    pub fn replay_present(&mut self) -> Result<(Chain, Option<Replay>)> {
        self.require_restore()?;
        self.store().0.verify_state(None)
    }

    /// Returns the credentials that restoring a backup would reactivate.
    ///
    /// # Errors
    /// If the acting user is not permitted to restore, or the backup or the store cannot be read.
    pub fn reactivated_by(&mut self, backup: &S::Backup) -> Result<Vec<Reactivated>> {
        self.require_restore()?;
        let at = self.at();
        self.store().0.reactivated_by(backup, at)
    }

    /// Replaces the store with a backup, which every process that has it open sees at once. The present store is copied
    /// aside first.
    ///
    /// # Errors
    /// If the acting user is not permitted, a credential would be reactivated that is not in `known`, or the restore
    /// fails. The store is unchanged then.
    pub fn restore(&mut self, backup: S::Backup, known: &[Reactivated]) -> Result<Restored> {
        let permit =
            self.read(|tx, acting| Ok(authorize(acting, Action::Restore, &Target::of(&tx.account()?))?))?;
        let (store, entropy) = self.store();
        store.restore(backup, known, permit, entropy)
    }
}

/// Restores a backup to a place where the store is missing or cannot be read.
///
/// As when a store is created, there is no store to check permissions against. The operating-system user is recorded as
/// the actor.
///
/// # Errors
/// If the restore fails.
pub fn restore_lost<S: BackupStore>(
    place: &Place,
    backup: S::Backup,
    os_uid: u32,
    clock: &dyn Clock,
    entropy: &mut dyn Entropy,
) -> Result<Restored> {
    let request_id = request_id(entropy)?;
    let (account, _) = S::account_of(&backup)?;
    let user = S::user_of(&backup, os_uid)?;
    let permit = Permit::restorer(os_uid, user.as_ref(), &account, &request_id, clock.now());
    S::restore_lost(place, backup, permit, entropy)
}
