//! Sessions: the use of a store by one acting user at one point in time.

use jiff::Timestamp;

use super::identity::{Claim, Identity};
use super::write_context::{WriteContext, request_id};
use crate::authz::Acting;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Keyring;
use crate::ports::{Clock, Entropy};
use crate::store::{Store, Transaction};

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
    is_dry_run: bool,
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
        Ok(Self {
            store,
            entropy,
            identity,
            on_behalf_of: None,
            request_id,
            at: clock.now(),
            is_dry_run: false,
        })
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

    /// Runs `change` as a dry run: it makes all checks and returns the same result, but its transactions are rolled
    /// back and secrets are not handed over. Callers use it before they ask for confirmation.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn rehearse<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = std::mem::replace(&mut self.is_dry_run, true);
        let done = change(self);
        self.is_dry_run = outer;
        done
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

    /// Runs `change` in a write transaction and commits it, unless the session is in a dry run.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&mut WriteContext<'_, S::WriteTx<'_>>) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = Transaction::begin(self.store)?;
        let acting = claim.acting(tx.reading(), self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        let mut context = WriteContext::new(&mut tx, &acting, self.entropy, self.is_dry_run);
        let done = change(&mut context)?;
        let handed_over = context.has_handed_over();
        if self.is_dry_run {
            // Dropping the transaction rolls it back.
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
