//! The store as a whole: back it up, restore it.

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
    /// Copies the store to a new file, while others write, and the store key to another, if one is named. It changes
    /// nothing in the store, and so leaves no audit record.
    ///
    /// # Errors
    /// If the acting user may not, or a whole copy cannot be made; then there is no file of the name.
    pub fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>) -> Result<Head> {
        self.read(|_, acting| Ok(require(acting, Action::BackUp, &Target::all(Noun::Account))?))?;
        let (store, entropy) = self.store();
        store.back_up(to, store_key_to, entropy)
    }

    /// Does the same to a stream, which somebody has opened who may write there. Nothing of the store key is in it.
    ///
    /// # Errors
    /// If the acting user may not, or a whole copy cannot be made; what was written by then is no backup.
    pub fn stream_backup(&mut self, out: &mut dyn Write) -> Result<Head> {
        self.read(|_, acting| Ok(require(acting, Action::BackUp, &Target::all(Noun::Account))?))?;
        let (store, entropy) = self.store();
        store.stream_backup(out, entropy)
    }

    /// Whether the acting user may restore a backup, asked before one is looked at.
    ///
    /// # Errors
    /// If not.
    pub fn require_restore(&mut self) -> Result<()> {
        self.read(|_, acting| Ok(require(acting, Action::Restore, &Target::all(Noun::Account))?))
    }

    /// Whether the store that a backup will replace holds what its audit trail says.
    ///
    /// # Errors
    /// If the acting user may not restore, or it cannot be found out.
    pub fn replay_present(&mut self) -> Result<(Chain, Option<Replay>)> {
        self.require_restore()?;
        self.store().0.verify_state(None)
    }

    /// What will work again, and does not now, once a backup is restored.
    ///
    /// # Errors
    /// If the acting user may not restore it.
    pub fn reactivated_by(&mut self, backup: &S::Backup) -> Result<Vec<Reactivated>> {
        self.require_restore()?;
        let at = self.at();
        self.store().0.reactivated_by(backup, at)
    }

    /// Puts a backup in the store's place, which everybody sees at once. What was there is copied aside. Refused if
    /// anything would work again that is not among what is `known`.
    ///
    /// # Errors
    /// If the acting user may not, or it cannot be done; the store is as it was then.
    pub fn restore(&mut self, backup: S::Backup, known: &[Reactivated]) -> Result<Restored> {
        let permit =
            self.read(|tx, acting| Ok(authorize(acting, Action::Restore, &Target::of(&tx.account()?))?))?;
        let (store, entropy) = self.store();
        store.restore(backup, known, permit, entropy)
    }
}

/// Puts a backup where no store is, or one that cannot be read. As with a new store there is nobody to ask; it is on
/// record as done by the operating-system user who did it.
///
/// # Errors
/// If it cannot be done.
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
