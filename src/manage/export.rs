//! Exporting: what the store knows, without what it recognises secrets by.

use std::ops::ControlFlow;

use super::integrations::Shown;
use super::services::{DestinationKind, WithIntegrations};
use super::session::Session;
use crate::error::Result;
use crate::model::{Action, AuditRecord, GeneralKey, KeyOrder, Noun, Target, User, require};
use crate::store::{AuditFilter, Flow, Read as _, Store};

impl<S: Store> Session<'_, S> {
    /// Shows every general key, oldest first.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_keys(&mut self, visit: &mut dyn FnMut(GeneralKey) -> Flow) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.general_keys(KeyOrder::Created, false, visit)
        })
    }

    /// Shows every user, those who left included.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_users(&mut self, visit: &mut dyn FnMut(User) -> Flow) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.users(visit)
        })
    }

    /// Shows every service and then every orchestration, with its integrations, whose keys do not show.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_destinations(&mut self, visit: &mut dyn FnMut(WithIntegrations) -> Flow) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            let mut flow = ControlFlow::Continue(());
            for kind in [DestinationKind::Service, DestinationKind::Orchestration] {
                if flow.is_break() {
                    break;
                }
                tx.destinations(kind.noun(), &mut |destination| {
                    let integrations = Shown::all(tx, acting, None, Some(destination.id))?;
                    flow = visit(WithIntegrations { destination, integrations })?;
                    Ok(flow)
                })?;
            }
            Ok(())
        })
    }

    /// Shows the whole audit trail, newest first.
    ///
    /// # Errors
    /// If the acting user may not, and whatever `visit` returns.
    pub fn export_audit(&mut self, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::Export, &Target::all(Noun::Account))?;
            tx.audit_records(&AuditFilter::default(), visit)
        })
    }
}
