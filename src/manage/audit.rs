//! The audit trail: read it, verify it.

use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{AuditRecord, Head, Noun};
use crate::store::{AuditQuery, Chain, ReadTx as _, Replay, Store, Visit};

impl<S: Store> Session<'_, S> {
    /// Shows the records that match, newest first.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn list_audit(&mut self, filter: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::ReadAudit, &Target::all(Noun::Account))?;
            tx.audit_records(filter, visit)
        })
    }

    /// The end of the chain, to be kept elsewhere.
    ///
    /// # Errors
    /// If the acting user may not.
    pub fn audit_head(&mut self) -> Result<Head> {
        self.read(|tx, acting| {
            require(acting, Action::ReadAudit, &Target::all(Noun::Account))?;
            tx.audit_head()
        })
    }

    /// Computes the whole chain anew and compares it with the store; with a head that was kept elsewhere, also
    /// whether the trail still goes through it.
    ///
    /// # Errors
    /// If the acting user may not, or the store key is not to be had.
    pub fn verify_audit(&mut self, kept: Option<Head>) -> Result<Chain> {
        self.read(|_, acting| Ok(require(acting, Action::VerifyAudit, &Target::all(Noun::Account))?))?;
        self.store().0.verify_audit(kept)
    }

    /// The same, and whether the store holds what the trail says. Of a broken trail nothing can be compared.
    ///
    /// # Errors
    /// If the acting user may not, the store is damaged, or the store key is not to be had.
    pub fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        self.read(|_, acting| Ok(require(acting, Action::VerifyAudit, &Target::all(Noun::Account))?))?;
        self.store().0.verify_state(kept)
    }
}
