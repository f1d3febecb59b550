//! Sessions: the use of a store by one acting user at one point in time.

use jiff::Timestamp;

use super::identity::{Claim, Identity};
use super::write_context::{WriteContext, request_id};
use crate::authz::Acting;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Audited, Change, Keyring};
use crate::ports::{Clock, Entropy};
use crate::store::{Store, Transaction, refuse_secrets};

/// The use cases of one acting user with a store.
///
/// Each method is one transaction. The acting user is looked up in the same transaction, so that a change of role takes
/// effect immediately.
pub struct Session<'s, S: Store> {
    store: &'s mut S,
    entropy: &'s mut dyn Entropy,
    identity: Identity,
    on_behalf_of: Option<String>,
    request_id: String,
    at: Timestamp,
}

impl<'s, S: Store> Session<'s, S> {
    /// Begins a session. The clock is read once, here.
    ///
    /// # Errors
    /// If no random numbers are available.
    pub fn begin(
        store: &'s mut S,
        identity: Identity,
        clock: &dyn Clock,
        entropy: &'s mut dyn Entropy,
    ) -> Result<Self> {
        let request_id = request_id(entropy)?;
        Ok(Self { store, entropy, identity, on_behalf_of: None, request_id, at: clock.now() })
    }

    /// Returns the session on behalf of another user, by name or id. Only the Account Owner is permitted to do this.
    #[must_use]
    pub fn on_behalf_of(self, user: impl Into<String>) -> Self {
        Self { on_behalf_of: Some(user.into()), ..self }
    }

    /// Returns the time of the session.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the acting user.
    ///
    /// # Errors
    /// [`ErrorKind::Unidentified`] if the identity belongs to no user.
    pub fn whoami(&mut self) -> Result<Acting> {
        self.read(|_, acting| Ok(acting.clone()))
    }

    /// Runs `query` in a read transaction, on one snapshot of the store.
    pub(super) fn read<T>(
        &mut self,
        query: impl FnOnce(&mut S::Snapshot<'_>, &Acting) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = self.store.read()?;
        let acting = claim.acting(&mut tx, self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        query(&mut tx, &acting)
    }

    /// Reads which changes would be made, and returns what they would be made to, as it is now. It fails where making
    /// them would fail, so that a question is asked only about a change that is possible.
    pub(super) fn preview<C: Audited>(
        &mut self,
        plan: impl FnOnce(&mut S::Snapshot<'_>, &Acting) -> Result<Vec<Change<C>>>,
    ) -> Result<Vec<C>> {
        let keyring = self.keyring()?;
        self.read(|tx, acting| {
            let changes = plan(tx, acting)?;
            changes.iter().try_for_each(|change| refuse_secrets(tx, &keyring, change))?;
            let present = changes.into_iter().map(|change| match change {
                Change::Create(subject)
                | Change::Update { before: subject, .. }
                | Change::Delete { before: subject, .. } => subject,
            });
            Ok(present.collect())
        })
    }

    /// Runs `change` in a write transaction, and commits it.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&mut WriteContext<'_, S::WriteTx<'_>>) -> Result<T>,
    ) -> Result<T> {
        self.change(true, change)
    }

    /// Runs `change` in a write transaction that is undone at the end. It must hand over no secret.
    pub(super) fn dry_run<T>(
        &mut self,
        change: impl FnOnce(&mut WriteContext<'_, S::WriteTx<'_>>) -> Result<T>,
    ) -> Result<T> {
        self.change(false, change)
    }

    fn change<T>(
        &mut self,
        commits: bool,
        change: impl FnOnce(&mut WriteContext<'_, S::WriteTx<'_>>) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = Transaction::begin(self.store)?;
        let acting = claim.acting(tx.reading(), self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        let mut context = WriteContext::new(&mut tx, &acting, self.entropy);
        let done = change(&mut context)?;
        let handed_over = context.has_handed_over();
        if !commits {
            // A transaction that is dropped without a commit is undone.
            return Ok(done);
        }
        match tx.commit() {
            Ok(()) => Ok(done),
            Err(error) if handed_over => Err(ErrorKind::Void(error).into()),
            Err(error) => Err(error),
        }
    }

    /// Returns the fault of the store key, if any. Reading works without it, but integration keys cannot be shown.
    pub fn store_key_fault(&mut self) -> Option<Error> {
        self.store.keyring().err()
    }

    /// Returns the keys derived from the store key.
    pub(super) fn keyring(&mut self) -> Result<Keyring> {
        self.store.keyring()
    }

    /// Returns the store and the source of randomness, for operations on the whole store.
    pub(super) fn store(&mut self) -> (&mut S, &mut dyn Entropy) {
        (self.store, self.entropy)
    }
}
