//! The audited transaction: the only way to change a store, independent of the engine.
//!
//! Each change consumes its [`Permit`]. Before a row is written, the permit is compared with the change, the new texts
//! are searched for secrets of the store, and the audit record is appended to the chain, all in the same transaction.
//! The effects of a change on other rows (the secrets of a removed key become tombstones, a transfer of the account
//! changes two roles) are implemented here too, so that engines only write rows.

use std::ops::Deref;

use jiff::Timestamp;

use super::secret_guard::refuse_secrets;
use super::{Death, DigestOwner, ImportEntry, Row, Store, Tombstone, Unaudited, UserBy, Which, WriteTx};
use crate::authz::Permit;
use crate::error::{Conflict, ErrorKind, Result};
use crate::model::{
    Account, App, AppToken, Audited, Change, Committing, Destination, Digest, Evidence, GeneralKey, Head, Id,
    Imported, ImportedThing, Integration, Keyring, Label, LiveMark, Noun, Restoration, Role, SecretChange,
    User, UserToken,
};

/// A write transaction that records its changes in the audit trail. It dereferences to the engine's transaction for
/// reads.
///
/// Dropping it rolls back every change.
#[derive(Debug)]
pub struct Transaction<T> {
    rows: T,
    keyring: Keyring,
}

impl<T> Deref for Transaction<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.rows
    }
}

/// A noun whose changes are saved through a [`Transaction`].
pub trait Saved: Audited + Clone + PartialEq {
    /// Returns the row that the engine writes.
    fn row(&self) -> Row<'_>;
}

/// A noun that has secrets.
pub trait HasSecrets: Saved {
    /// Returns the id of the owner of the secrets.
    fn owner(&self) -> Id;

    /// Returns true if a change revokes the tokens that were issued to its subject. Only apps have such tokens.
    #[must_use]
    fn revokes_tokens(_: &Change<Self>) -> bool {
        false
    }
}

macro_rules! saved {
    ($($noun:ident)*) => {
        $(impl Saved for $noun {
            fn row(&self) -> Row<'_> {
                Row::$noun(self)
            }
        })*
    };
}

macro_rules! has_secrets {
    ($($noun:ident)*) => {
        $(impl HasSecrets for $noun {
            fn owner(&self) -> Id {
                self.id
            }
        })*
    };
}

saved! { Account User GeneralKey UserToken Destination Integration App }
has_secrets! { GeneralKey UserToken Integration }

impl HasSecrets for App {
    fn owner(&self) -> Id {
        self.id
    }

    fn revokes_tokens(change: &Change<Self>) -> bool {
        match change {
            Change::Create(_) => false,
            Change::Update { before, after } => before.tokens_revoked_at != after.tokens_revoked_at,
            Change::Delete { .. } => true,
        }
    }
}

impl<T: WriteTx> Transaction<T> {
    /// Begins a transaction, which excludes all other writers.
    ///
    /// # Errors
    /// If the store cannot be written, is locked by another process, or the store key is unavailable.
    pub fn begin<'s, S: Store<WriteTx<'s> = T>>(store: &'s mut S) -> Result<Self> {
        let keyring = store.keyring()?;
        Ok(Self { rows: store.begin_write(Unaudited(()))?, keyring })
    }

    /// Wraps a transaction on a database that no other process has open yet: a new store, or the copy of a backup.
    pub(super) fn of_new_store(rows: T, keyring: Keyring) -> Self {
        Self { rows, keyring }
    }

    /// Returns the engine's transaction for reads of many rows.
    pub fn reading(&mut self) -> &mut impl super::ReadTx {
        &mut self.rows
    }

    /// Returns the keys derived from the store key.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Creates or changes the account. A change of owner gives the new owner that role and makes the previous one an
    /// admin.
    ///
    /// # Errors
    /// If the store cannot be written, the permit is for another change, or a new text contains a secret of the store
    /// ([`ErrorKind::HoldsSecret`]).
    pub fn save_account(&mut self, permit: Permit, change: &Change<Account>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        match change {
            Change::Create(account) => self.rows.insert(Row::Account(account)),
            Change::Update { before, after } => {
                self.rows.update(Row::Account(after))?;
                if before.owner.id != after.owner.id {
                    // In this order: there are never two owners.
                    self.set_role(before.owner.id, Role::Admin)?;
                    self.set_role(after.owner.id, Role::Owner)?;
                }
                Ok(())
            }
            Change::Delete { .. } => {
                Err(Conflict::Fault("an account cannot be removed from its store".to_owned()).into())
            }
        }
    }

    fn set_role(&mut self, id: Id, role: Role) -> Result<()> {
        let user = self.rows.user(UserBy::Id(id))?.ok_or(Conflict::Gone(id))?;
        self.rows.update(Row::User(&User { role, ..user }))
    }

    /// Adds or changes a user. Marking a user as left is a change.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`].
    pub fn save_user(&mut self, permit: Permit, change: &Change<User>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        if let Change::Delete { .. } = change {
            let why = "a user is marked as left, never deleted: others name the user";
            return Err(Conflict::Fault(why.to_owned()).into());
        }
        self.write(change)
    }

    /// Adds, changes or removes a service or an orchestration. One with integrations cannot be removed.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`].
    pub fn save_destination(&mut self, permit: Permit, change: &Change<Destination>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        if let Change::Delete { before, .. } = change {
            return self.rows.delete(before.id);
        }
        self.write(change)
    }

    /// Adds, changes or removes a credential or an app, together with its secrets.
    ///
    /// Removal replaces every secret with a tombstone. The tokens of an app are revoked when the app is removed, or
    /// when the change revokes them.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`], and if a new secret belongs to another credential or has a tombstone.
    pub fn save<N: HasSecrets>(
        &mut self,
        permit: Permit,
        change: &Change<N>,
        secrets: SecretChange,
    ) -> Result<()> {
        let at = permit.at();
        let owner = change.subject().owner();
        let evidence = self.evidence(owner, change, secrets)?;
        self.record(permit, change, secrets, evidence)?;
        if N::revokes_tokens(change) {
            self.rows.bury_app_tokens(owner, at)?;
        }
        if let Change::Delete { .. } = change {
            self.rows.bury_secrets(owner, Which::All, Death::Removed, at)?;
            return self.rows.delete(owner);
        }
        self.write(change)?;
        self.change_secrets(owner, secrets, at)
    }

    /// Adds a token that is issued to an app, and removes expired tokens.
    ///
    /// # Errors
    /// Those of [`Transaction::save`].
    pub fn issue_app_token(&mut self, permit: Permit, token: &AppToken, digest: &Digest) -> Result<()> {
        let issued = LiveMark { mark: self.keyring.mark(digest), ends_at: None };
        let evidence = Evidence { live: Some(vec![issued]), ..Evidence::default() };
        let change = Change::Create(token.clone());
        self.record(permit, &change, SecretChange::Issue(*digest), Some(evidence))?;
        self.rows.sweep_app_tokens(token.issued_at)?;
        self.refuse_dead(digest)?;
        self.rows.insert_app_token(token, digest)
    }

    /// Revokes one token of an app. Its other tokens remain valid.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`], and if there is no such token.
    pub fn revoke_app_token(
        &mut self,
        permit: Permit,
        token: &AppToken,
        digest: &Digest,
        reason: &Label,
    ) -> Result<()> {
        let at = permit.at();
        let change = Change::Delete { before: token.clone(), reason: Some(reason.clone()) };
        let evidence = Evidence { dead: vec![self.keyring.mark(digest)], ..Evidence::default() };
        self.record(permit, &change, SecretChange::Keep, Some(evidence))?;
        if self.rows.bury_app_token(token, digest, at)? {
            Ok(())
        } else {
            Err(ErrorKind::Damaged(format!("a token of {} is missing", token.app)).into())
        }
    }

    /// Runs an import: calls `add` to add the items, and writes one audit record for all of them. An import that adds
    /// nothing is not recorded.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`], and any error that `add` returns.
    pub fn import(
        &mut self,
        permit: Permit,
        add: impl FnOnce(&mut ImportTx<'_, T>) -> Result<Imported>,
    ) -> Result<Imported> {
        let record = self.rows.audit_head()?.number + 1;
        let Self { rows, keyring } = self;
        let mut tx = ImportTx { rows, keyring, record, committing: keyring.commit() };
        let imported = add(&mut tx)?;
        let commitment = tx.committing.finish();
        if imported.count() > 0 {
            let evidence = Evidence { imported: Some(commitment), ..Evidence::default() };
            let nothing = Imported { account: imported.account.clone(), ..Imported::default() };
            let change = Change::Update { before: nothing, after: imported.clone() };
            self.record(permit, &change, SecretChange::Keep, Some(evidence))?;
        }
        Ok(imported)
    }

    /// Commits the changes durably.
    ///
    /// # Errors
    /// If the commit fails. No change is made in that case.
    pub fn commit(self) -> Result<()> {
        self.rows.commit()
    }

    /// Appends the record of a restore to the audit trail of the backup, and returns its new head.
    ///
    /// # Errors
    /// Those of [`Transaction::save_account`].
    pub(super) fn record_restore(&mut self, permit: Permit, change: &Change<Restoration>) -> Result<Head> {
        self.record(permit, change, SecretChange::Keep, None)?;
        self.rows.audit_head()
    }

    /// Appends the audit record of a change, after checking that its new texts contain no secret and that the permit is
    /// for this change.
    fn record<N: Audited>(
        &mut self,
        permit: Permit,
        change: &Change<N>,
        secrets: SecretChange,
        evidence: Option<Evidence>,
    ) -> Result<()> {
        refuse_secrets(&self.rows, &self.keyring, change)?;
        let Head { number, end } = self.rows.audit_head()?;
        let number = number + 1;
        let mut record = permit.record(change, secrets, number)?;
        record.details.evidence = evidence;
        let record = serde_json::to_string(&record).map_err(|error| ErrorKind::Damaged(error.to_string()))?;
        let chain = self.keyring.link(&end, record.as_bytes());
        self.rows.append_audit(number, &record, &chain)
    }

    /// Returns the evidence about the subject's secrets for the audit record, or `None` if the change leaves them as
    /// they are.
    fn evidence<N: HasSecrets>(
        &self,
        owner: Id,
        change: &Change<N>,
        secrets: SecretChange,
    ) -> Result<Option<Evidence>> {
        let mut evidence = match (change, secrets) {
            (Change::Update { .. }, SecretChange::Keep) => None,
            (Change::Delete { .. }, _) => {
                Some(Evidence::of_removal(&self.keyring, &self.rows.live_secrets(owner)?))
            }
            _ => Some(Evidence::of_change(&self.keyring, &self.rows.live_secrets(owner)?, secrets)),
        };
        if N::revokes_tokens(change) {
            let tokens = self.rows.app_tokens(owner)?;
            let digests = tokens.iter().flat_map(|(_, secrets)| secrets);
            let marks = digests.map(|secret| self.keyring.mark(&secret.digest));
            evidence.get_or_insert_default().dead.extend(marks);
        }
        Ok(evidence)
    }

    fn write<N: Saved>(&mut self, change: &Change<N>) -> Result<()> {
        match change {
            Change::Create(after) => self.rows.insert(after.row()),
            Change::Update { after, .. } => self.rows.update(after.row()),
            Change::Delete { before, .. } => {
                Err(Conflict::Fault(format!("{} is not written when it is removed", before.audit_id()))
                    .into())
            }
        }
    }

    fn change_secrets(&mut self, owner: Id, change: SecretChange, at: Timestamp) -> Result<()> {
        match change {
            SecretChange::Keep => Ok(()),
            SecretChange::Issue(digest) => self.insert_secret(owner, &digest),
            SecretChange::EndOverlap => self.rows.bury_secrets(owner, Which::Overlapped, Death::Rotated, at),
            SecretChange::Rotate { new, old_ends_at: None } => {
                self.rows.bury_secrets(owner, Which::All, Death::Rotated, at)?;
                self.insert_secret(owner, &new)
            }
            SecretChange::Rotate { new, old_ends_at: Some(end) } => {
                self.rows.bury_secrets(owner, Which::Overlapped, Death::Rotated, at)?;
                self.rows.end_secret(owner, end)?;
                self.insert_secret(owner, &new)
            }
        }
    }

    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()> {
        self.refuse_dead(digest)?;
        self.rows.insert_secret(owner, digest)
    }

    /// Rejects a secret that has a tombstone: a dead secret never becomes valid again.
    fn refuse_dead(&self, digest: &Digest) -> Result<()> {
        match self.rows.digest_owner(digest)? {
            Some(DigestOwner::Dead(_)) => Err(Conflict::DeadSecret.into()),
            Some(DigestOwner::Live { .. }) | None => Ok(()),
        }
    }
}

/// A transaction that can only add rows, for an import.
pub struct ImportTx<'t, T> {
    rows: &'t mut T,
    keyring: &'t Keyring,
    /// The number that the import's audit record will have.
    record: u64,
    committing: Committing,
}

impl<T: WriteTx> ImportTx<'_, T> {
    /// Returns the engine's transaction for reads of many rows. They include what the import has added so far.
    pub fn reading(&mut self) -> &mut impl super::ReadTx {
        self.rows
    }

    /// Returns the engine's transaction. Its reads include what the import has added so far.
    #[must_use]
    pub fn rows(&self) -> &T {
        self.rows
    }

    /// Returns the keys derived from the store key.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        self.keyring
    }

    /// Adds a credential with its secret. If the secret clashes with another, returns the clash and adds nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn add<N: HasSecrets>(&mut self, credential: &N, digest: &Digest) -> Result<Option<Clash>> {
        let clash = self.rows.import(credential.row(), digest)?;
        if clash.is_none() {
            self.keep(credential.owner(), credential, Some(digest))?;
        }
        Ok(clash)
    }

    /// Adds a user.
    ///
    /// # Errors
    /// If the store cannot be written, or a unique property of the user belongs to another.
    pub fn add_user(&mut self, user: &User) -> Result<()> {
        self.rows.insert(Row::User(user))?;
        self.keep(user.id, user, None)
    }

    /// Stores the content of an imported item, and adds it to the commitment of the audit record.
    fn keep<N: Audited>(&mut self, id: Id, thing: &N, digest: Option<&Digest>) -> Result<()> {
        let thing = ImportedThing::new(thing, digest.map(|digest| self.keyring.mark(digest)));
        let entry = ImportEntry { record: self.record, content: thing.to_text()? };
        self.committing.add(&id.to_string(), &entry.content);
        self.rows.insert_import_entry(id, &entry)
    }
}

/// The reason why a credential cannot be imported: its secret is already known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The secret belongs to a credential that existed before the import.
    Taken(Id),
    /// The secret belongs to a credential that this import has added.
    Added {
        /// The noun of that credential.
        noun: Noun,
        /// Its zero-based index among the credentials of this noun that the import has added.
        index: u64,
    },
    /// The secret has a tombstone.
    Dead(Tombstone),
}
