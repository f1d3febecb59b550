//! A session: a store, on whose behalf, and when.

use jiff::Timestamp;

use super::identity::{Claim, Identity};
use super::write_context::{WriteContext, request_id};
use crate::authz::Acting;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Keyring;
use crate::ports::{Clock, Entropy};
use crate::store::{Store, Transaction};

/// What one acting user does with a store, at one moment.
///
/// Each method is one transaction. The acting user is looked up in that same transaction, so that a role taken
/// away a moment ago is gone.
pub struct Session<'s, S: Store> {
    store: &'s mut S,
    entropy: &'s mut dyn Entropy,
    identity: Identity,
    on_behalf_of: Option<String>,
    request_id: String,
    at: Timestamp,
    rehearses: bool,
}

impl<'s, S: Store> Session<'s, S> {
    /// Begins a session. The time is taken from the clock here, once.
    ///
    /// # Errors
    /// If there is no randomness.
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
            rehearses: false,
        })
    }

    /// The same session on behalf of another user, by name or id; the Account Owner alone may.
    #[must_use]
    pub fn on_behalf_of(self, user: impl Into<String>) -> Self {
        Self { on_behalf_of: Some(user.into()), ..self }
    }

    /// The session's moment.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Does what `work` does, and takes it back: everything is asked and checked that would be, nothing is changed,
    /// and what comes of it is what would. For asking somebody only about what can be done.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn rehearse<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let rehearsed = std::mem::replace(&mut self.rehearses, true);
        let done = change(self);
        self.rehearses = rehearsed;
        done
    }

    /// The acting user.
    ///
    /// # Errors
    /// [`ErrorKind::Unidentified`] if there is none.
    pub fn whoami(&mut self) -> Result<Acting> {
        self.read(|_, acting| Ok(acting.clone()))
    }

    /// Reads one moment of the store.
    pub(super) fn read<T>(
        &mut self,
        query: impl FnOnce(&mut S::Snapshot<'_>, &Acting) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = self.store.read()?;
        let acting = claim.acting(&mut tx, self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        query(&mut tx, &acting)
    }

    /// Does one piece of work in a transaction of its own, and commits it, unless it is a rehearsal.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&mut WriteContext<'_, S::WriteTx<'_>>) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = Transaction::begin(self.store)?;
        let acting = claim.acting(tx.reading(), self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        let mut context = WriteContext::new(&mut tx, &acting, self.entropy, self.rehearses);
        let done = change(&mut context)?;
        let handed_over = context.has_handed_over();
        if self.rehearses {
            // Dropped without a commit, a transaction is undone.
            return Ok(done);
        }
        match tx.commit() {
            Ok(()) => Ok(done),
            Err(error) if handed_over => Err(ErrorKind::Void(error).into()),
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the store key, if anything: reading works without it, but integration keys do not show.
    pub fn store_key_fault(&mut self) -> Option<Error> {
        self.store.keyring().err()
    }

    /// The keys derived from the store key, for what is shown after a read.
    pub(super) fn keyring(&mut self) -> Result<Keyring> {
        self.store.keyring()
    }

    /// The store, for what is done to it as a whole.
    pub(super) fn store(&mut self) -> (&mut S, &mut dyn Entropy) {
        (self.store, self.entropy)
    }
}
