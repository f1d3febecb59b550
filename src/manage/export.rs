//! Exporting: what the store knows, without what it recognises secrets by.

use super::services::{DestinationKind, WithIntegrations};
use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{AuditRecord, GeneralKey, Noun, User};
use crate::store::{AuditQuery, KeyQuery, ReadTx as _, Store, UserQuery, Visit};

impl<S: Store> Session<'_, S> {
    /// Shows every general key, oldest first.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_keys(&mut self, visit: Visit<'_, GeneralKey>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.general_keys(&KeyQuery::all(acting.at()), visit)
        })
    }

    /// Shows every user, those who left included.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_users(&mut self, visit: Visit<'_, User>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.users(&UserQuery::default(), visit)
        })
    }

    /// Shows every service and then every orchestration, with its integrations, whose keys do not show.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
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

    /// Shows the whole audit trail, newest first.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_audit(&mut self, visit: Visit<'_, AuditRecord>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.audit_records(&AuditQuery::default(), visit)
        })
    }
}
