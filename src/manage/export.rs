//! Export of the content of the store, without secrets and digests.

use super::destination::DestinationKind;
use super::services::WithIntegrations;
use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{AuditRecord, GeneralKey, Noun, User};
use crate::store::{AuditQuery, KeyQuery, ReadTx as _, Store, UserQuery, Visit};

impl<S: Store> Session<'_, S> {
    /// Visits every general key, oldest first.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn export_keys(&mut self, visit: Visit<'_, GeneralKey>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.general_keys(&KeyQuery::all(acting.at()), visit)
        })
    }

    /// Visits every user, including those who have left.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn export_users(&mut self, visit: Visit<'_, User>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.users(&UserQuery::default(), visit)
        })
    }

    /// Visits every service and then every orchestration, each with its integrations but without their keys.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn export_destinations(&mut self, visit: Visit<'_, WithIntegrations>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            for kind in [DestinationKind::Service, DestinationKind::Orchestration] {
                if WithIntegrations::each(tx, acting, None, kind, visit)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Visits the whole audit trail, newest first.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn export_audit(&mut self, visit: Visit<'_, AuditRecord>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.audit_records(&AuditQuery::default(), visit)
        })
    }
}
