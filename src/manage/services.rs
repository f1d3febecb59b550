//! Services and orchestrations, the destinations of events.

use std::ops::ControlFlow;

use super::destination::DestinationKind;
use super::integrations::{NewIntegration, Shown};
use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext, deletion};
use crate::authz::{Acting, Action, Target, require};
use crate::error::{Conflict, Result};
use crate::model::{
    Change, Destination, DestinationEdit, Id, Integration, IntegrationType, Keyring, Label, Name, Noun,
};
use crate::store::{DestinationQuery, Flow, IntegrationQuery, Page, ReadTx, Store, Visit, WriteTx};

/// A service or an orchestration with its integrations.
#[derive(Debug)]
pub struct WithIntegrations {
    /// The service or the orchestration.
    pub destination: Destination,
    /// Its integrations, oldest first.
    pub integrations: Vec<Shown>,
}

/// The number of services or orchestrations to read at a time, before reading their integrations.
const PAGE: u64 = 500;

impl WithIntegrations {
    /// Visits every service or orchestration with its integrations, oldest first.
    pub(super) fn each(
        tx: &mut impl ReadTx,
        acting: &Acting,
        keyring: Option<&Keyring>,
        kind: DestinationKind,
        visit: Visit<'_, Self>,
    ) -> Flow {
        let mut page = Page { limit: Some(PAGE), after: None };
        loop {
            let mut destinations = Vec::new();
            tx.destinations(&DestinationQuery { noun: kind.noun(), page }, &mut |destination| {
                destinations.push(destination);
                Ok(ControlFlow::Continue(()))
            })?;
            let Some(last) = destinations.last() else { return Ok(ControlFlow::Continue(())) };
            page.after = Some(last.id);
            for destination in destinations {
                let integrations = Shown::all(tx, acting, keyring, Some(destination.id))?;
                if visit(Self { destination, integrations })?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}

impl<S: Store> Session<'_, S> {
    /// Creates a service or an orchestration, with an integration if a type is given. An orchestration always gets an
    /// integration, by default of the Events API V2. The integration key is passed to `hand_over`.
    ///
    /// # Errors
    /// If the acting user is not permitted, the name is taken, or `hand_over` fails.
    pub fn create_destination(
        &mut self,
        kind: DestinationKind,
        name: Name,
        description: Option<Label>,
        integration: Option<IntegrationType>,
        hand_over: HandOver<'_, Integration>,
    ) -> Result<Destination> {
        self.write(|context| {
            context.require(kind.create(), &Target::all(kind.noun()))?;
            context.refuse_taken_destination(kind.noun(), None, &name)?;
            let destination = Destination {
                id: context.fresh_id(kind.noun())?,
                name,
                description,
                created_at: context.at(),
                created_by: context.acting.into(),
            };
            let permit = context.authorize(kind.create(), &Target::of(&destination))?;
            context.tx.save_destination(permit, &Change::Create(destination.clone()))?;
            let default = (kind == DestinationKind::Orchestration).then_some(IntegrationType::EventsApiV2);
            if let Some(integration) = integration.or(default) {
                let name = if integration == IntegrationType::EventsApiV2 {
                    "Events API V2"
                } else {
                    integration.as_str()
                };
                let new = NewIntegration {
                    name: Name::parse(Noun::Integration, name)?,
                    kind: integration,
                    rate_limit: None,
                };
                context.create_integration(&destination, new, hand_over)?;
            }
            Ok(destination)
        })
    }

    /// Visits every service or orchestration, oldest first.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn list_destinations(&mut self, kind: DestinationKind, visit: Visit<'_, Destination>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, kind.list(), &Target::all(kind.noun()))?;
            tx.destinations(&DestinationQuery::all(kind.noun()), visit)
        })
    }

    /// Returns every service or orchestration with its integrations.
    ///
    /// # Errors
    /// If the acting user is not permitted.
    pub fn destinations_with_integrations(&mut self, kind: DestinationKind) -> Result<Vec<WithIntegrations>> {
        let keyring = self.keyring().ok();
        self.read(|tx, acting| {
            require(acting, kind.list(), &Target::all(kind.noun()))?;
            let mut found = Vec::new();
            let _ = WithIntegrations::each(tx, acting, keyring.as_ref(), kind, &mut |one| {
                found.push(one);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(found)
        })
    }

    /// Returns a service or an orchestration, by name or id, with its integrations.
    ///
    /// # Errors
    /// If the acting user is not permitted, or it does not exist.
    pub fn destination(&mut self, kind: DestinationKind, reference: &str) -> Result<WithIntegrations> {
        let keyring = self.keyring().ok();
        self.read(|tx, acting| {
            require(acting, kind.show(), &Target::all(kind.noun()))?;
            let destination = resolve::destination(tx, kind.noun(), reference)?;
            let integrations = Shown::all(tx, acting, keyring.as_ref(), Some(destination.id))?;
            Ok(WithIntegrations { destination, integrations })
        })
    }

    /// Changes a service or an orchestration.
    ///
    /// # Errors
    /// If the acting user is not permitted, it does not exist, or the name is taken.
    pub fn edit_destination(
        &mut self,
        kind: DestinationKind,
        reference: &str,
        edit: DestinationEdit,
    ) -> Result<Destination> {
        self.write(|context| {
            context.require(kind.edit(), &Target::all(kind.noun()))?;
            let before = resolve::destination(context.tx.reading(), kind.noun(), reference)?;
            let mut after = before.clone();
            after.name = edit.name.unwrap_or(after.name);
            after.description = edit.description.unwrap_or(after.description);
            if before == after {
                return Ok(after);
            }
            if before.name != after.name {
                context.refuse_taken_destination(kind.noun(), Some(before.id), &after.name)?;
            }
            let permit = context.authorize(kind.edit(), &Target::of(&before))?;
            context.tx.save_destination(permit, &Change::Update { before, after: after.clone() })?;
            Ok(after)
        })
    }

    /// Removes a service or an orchestration permanently, including its integrations if `with_integrations` is set.
    ///
    /// # Errors
    /// If the acting user is not permitted, it does not exist, or it has integrations and `with_integrations` is not set.
    pub fn remove_destination(
        &mut self,
        kind: DestinationKind,
        reference: &str,
        with_integrations: bool,
        reason: Option<&Label>,
    ) -> Result<Destination> {
        self.write(|context| {
            let (destination, integrations) = plan_remove(
                context.tx.reading(),
                context.acting,
                kind,
                reference,
                with_integrations,
                reason,
            )?;
            context.save_all(Action::RemoveIntegration, Target::of, integrations)?;
            let permit = context.authorize(kind.remove(), &Target::of(destination.subject()))?;
            context.tx.save_destination(permit, &destination)?;
            Ok(destination.subject().clone())
        })
    }

    /// Returns what [`Session::remove_destination`] would remove: the service or the orchestration, and its integrations.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_destination(
        &mut self,
        kind: DestinationKind,
        reference: &str,
        with_integrations: bool,
        reason: Option<&Label>,
    ) -> Result<(Destination, Vec<Integration>)> {
        let mut removed = None;
        let integrations = self.preview(|tx, acting| {
            let (destination, integrations) =
                plan_remove(tx, acting, kind, reference, with_integrations, reason)?;
            removed = Some(destination.subject().clone());
            Ok(integrations)
        })?;
        let removed = removed.ok_or_else(|| Conflict::Fault("nothing was planned".to_owned()))?;
        Ok((removed, integrations))
    }
}

type Removal = (Change<Destination>, Vec<Change<Integration>>);

fn plan_remove(
    tx: &mut impl ReadTx,
    acting: &Acting,
    kind: DestinationKind,
    reference: &str,
    with_integrations: bool,
    reason: Option<&Label>,
) -> Result<Removal> {
    require(acting, kind.remove(), &Target::all(kind.noun()))?;
    let destination = resolve::destination(tx, kind.noun(), reference)?;
    let mut integrations = Vec::new();
    let query = IntegrationQuery { destination: Some(destination.id), ..IntegrationQuery::default() };
    tx.integrations(&query, &mut |integration| {
        integrations.push(integration);
        Ok(ControlFlow::Continue(()))
    })?;
    if !integrations.is_empty() && !with_integrations {
        let names: Vec<_> = integrations
            .iter()
            .map(|integration| format!("{} ({})", integration.id, integration.name))
            .collect();
        let (noun, name) = (kind.noun(), destination.name);
        return Err(Conflict::HasIntegrations { noun, name, integrations: names.join(", ") }.into());
    }
    let integrations = integrations.into_iter().map(|integration| {
        require(acting, Action::RemoveIntegration, &Target::of(&integration))?;
        Ok(deletion(integration, reason))
    });
    Ok((deletion(destination, reason), integrations.collect::<Result<_>>()?))
}

impl<T: WriteTx> WriteContext<'_, T> {
    fn refuse_taken_destination(&mut self, noun: Noun, own: Option<Id>, name: &Name) -> Result<()> {
        let all = DestinationQuery::all(noun);
        match resolve::taken(name, own, |visit| self.tx.reading().destinations(&all, visit))? {
            Some(Destination { id, name, .. }) => {
                Err(Conflict::Taken { noun, name, id, what: "name" }.into())
            }
            None => Ok(()),
        }
    }
}
