//! The audit trail: list and verify it.

use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{AuditRecord, Head, Noun};
use crate::store::{AuditQuery, Chain, ReadTx as _, Replay, Store, Visit};

impl<S: Store> Session<'_, S> {
    /// Visits the records that a query selects, newest first.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn list_audit(&mut self, filter: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::ReadAudit, &Target::all(Noun::Account))?;
            tx.audit_records(filter, visit)
        })
    }

    /// Returns the head of the chain, to be recorded outside the store.
    ///
    /// # Errors
    /// If the acting user is not permitted.
    pub fn audit_head(&mut self) -> Result<Head> {
        self.read(|tx, acting| {
            require(acting, Action::ReadAudit, &Target::all(Noun::Account))?;
            tx.audit_head()
        })
    }

    /// Recomputes the whole chain and compares it with the stored one. If `kept` is given, a head that was recorded
    /// outside the store, the chain must also contain that head.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the store key is unavailable.
    pub fn verify_audit(&mut self, kept: Option<Head>) -> Result<Chain> {
        self.read(|_, acting| Ok(require(acting, Action::VerifyAudit, &Target::all(Noun::Account))?))?;
        self.store().0.verify_audit(kept)
    }

    /// Verifies the chain like [`Session::verify_audit`], and compares the state of the store with it. A broken chain
    /// is not compared.
    ///
    /// # Errors
    /// If the acting user is not permitted, the store is damaged, or the store key is unavailable.
    pub fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        self.read(|_, acting| Ok(require(acting, Action::VerifyAudit, &Target::all(Noun::Account))?))?;
        self.store().0.verify_state(kept)
    }
}
