//! Integrations and their keys, the only secrets that can be shown again.

use std::ops::ControlFlow;

use super::destination::DestinationSelector;
use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext, deletion, each_once};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::{Conflict, Result};
use crate::model::{
    Change, Destination, DestinationRef, Id, Integration, IntegrationType, Keyring, Label, Name, Noun,
    RateLimit, Secret, SecretChange,
};
use crate::store::{IntegrationQuery, ReadTx, Store, Visit, WriteTx};

/// An integration to create.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    /// The name.
    pub name: Name,
    /// The type: what sends the events.
    pub kind: IntegrationType,
    /// The rate limit, or `None` for the default.
    pub rate_limit: Option<RateLimit>,
}

/// An integration as the acting user is permitted to see it.
#[derive(Debug)]
pub struct Shown {
    /// The integration.
    pub integration: Integration,
    /// Its key, or `None` if the acting user is not permitted to see it or the store key is unavailable.
    pub key: Option<Secret>,
}

impl Shown {
    fn new(integration: Integration, acting: &Acting, keyring: Option<&Keyring>) -> Result<Self> {
        let may =
            decide(acting.user(), Action::ShowIntegrationKey, &Target::of(&integration)) == Decision::Allowed;
        let key = keyring
            .filter(|_| may)
            .map(|keyring| Secret::unseal(keyring, integration.id, &integration.sealed_key))
            .transpose()?;
        Ok(Self { integration, key })
    }

    pub(super) fn all(
        tx: &mut impl ReadTx,
        acting: &Acting,
        keyring: Option<&Keyring>,
        destination: Option<Id>,
    ) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        tx.integrations(
            &IntegrationQuery { destination, ..IntegrationQuery::default() },
            &mut |integration| {
                found.push(Self::new(integration, acting, keyring)?);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(found)
    }
}

impl<S: Store> Session<'_, S> {
    /// Creates an integration and passes its key to `hand_over`.
    ///
    /// # Errors
    /// If the acting user is not permitted, the service or orchestration does not exist, or `hand_over` fails.
    pub fn create_integration(
        &mut self,
        destination: &DestinationSelector,
        new: NewIntegration,
        hand_over: HandOver<'_, Integration>,
    ) -> Result<Integration> {
        self.write(|context| {
            context.require(Action::CreateIntegration, &Target::all(Noun::Integration))?;
            let destination =
                resolve::destination(context.tx.reading(), destination.kind.noun(), &destination.reference)?;
            context.create_integration(&destination, new, hand_over)
        })
    }

    /// Visits the integrations of a service or an orchestration, or all integrations, oldest first, in constant memory.
    ///
    /// # Errors
    /// If the acting user is not permitted, the service or orchestration does not exist, or `visit` returns an error.
    pub fn list_integrations(
        &mut self,
        destination: Option<&DestinationSelector>,
        visit: Visit<'_, Shown>,
    ) -> Result<()> {
        // Without the store key, the integrations are visited without their keys.
        let keyring = self.keyring().ok();
        self.read(|tx, acting| {
            require(acting, Action::ListIntegrations, &Target::all(Noun::Integration))?;
            let destination = destination
                .map(|place| {
                    require(acting, place.kind.show(), &Target::all(place.kind.noun()))?;
                    resolve::destination(tx, place.kind.noun(), &place.reference)
                })
                .transpose()?;
            let destination = destination.map(|destination| destination.id);
            let query = IntegrationQuery { destination, ..IntegrationQuery::default() };
            tx.integrations(&query, &mut |integration| {
                visit(Shown::new(integration, acting, keyring.as_ref())?)
            })
        })
    }

    /// Returns an integration by id.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the integration does not exist.
    pub fn integration(&mut self, id: &str) -> Result<Shown> {
        let keyring = self.keyring().ok();
        self.read(|tx, acting| {
            require(acting, Action::ShowIntegration, &Target::all(Noun::Integration))?;
            Shown::new(resolve::integration(tx, id)?, acting, keyring.as_ref())
        })
    }

    /// Moves an integration to another service, or to another orchestration. Its key stays the same.
    ///
    /// # Errors
    /// If the acting user is not permitted, either of them does not exist, or the integration would move from a service to
    /// an orchestration or the reverse.
    pub fn move_integration(&mut self, id: &str, to: &DestinationSelector) -> Result<Integration> {
        self.write(|context| {
            context.require(Action::MoveIntegration, &Target::all(Noun::Integration))?;
            let before = resolve::integration(context.tx.reading(), id)?;
            let from = before.destination.id.noun();
            if from != to.kind.noun() {
                let (id, name) = (before.id, before.destination.name);
                return Err(Conflict::OtherKind { id, from, name }.into());
            }
            let destination = resolve::destination(context.tx.reading(), to.kind.noun(), &to.reference)?;
            let after = Integration { destination: DestinationRef::from(&destination), ..before.clone() };
            let permit = context.authorize(Action::MoveIntegration, &Target::of(&before))?;
            context.update(permit, before, after, SecretChange::Keep)
        })
    }

    /// Removes integrations permanently: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or an integration does not exist.
    pub fn remove_integrations(
        &mut self,
        ids: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Integration>> {
        self.write(|context| {
            let plan = plan_remove(&**context.tx, context.acting, ids, reason)?;
            context.save_all(Action::RemoveIntegration, Target::of, plan)
        })
    }

    /// Returns the integrations that [`Session::remove_integrations`] would remove.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_integrations(
        &mut self,
        ids: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Integration>> {
        self.preview(|tx, acting| plan_remove(tx, acting, ids, reason))
    }
}

fn plan_remove(
    tx: &impl ReadTx,
    acting: &Acting,
    ids: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<Integration>>> {
    require(acting, Action::RemoveIntegration, &Target::all(Noun::Integration))?;
    let integrations = each_once(ids, |id| resolve::integration(tx, id))?;
    Ok(integrations.into_iter().map(|integration| deletion(integration, reason)).collect())
}

impl<T: WriteTx> WriteContext<'_, T> {
    /// Creates an integration of an existing service or orchestration.
    pub(super) fn create_integration(
        &mut self,
        destination: &Destination,
        new: NewIntegration,
        hand_over: HandOver<'_, Integration>,
    ) -> Result<Integration> {
        let secret = match destination.id.noun() {
            Noun::Orchestration => Secret::orchestration_integration_key(self.entropy)?,
            _ => Secret::service_integration_key(self.entropy)?,
        };
        let id = self.fresh_id(Noun::Integration)?;
        let integration = Integration {
            id,
            name: new.name,
            kind: new.kind,
            destination: DestinationRef::from(destination),
            hint: secret.hint(),
            sealed_key: secret.seal(self.tx.keyring(), id, self.entropy)?,
            created_at: self.at(),
            created_by: self.acting.into(),
            rate_limit: new.rate_limit,
            last_used_at: None,
        };
        let permit = self.authorize(Action::CreateIntegration, &Target::of(&integration))?;
        let issue = SecretChange::Issue(self.tx.keyring().digest(&secret.fingerprint()));
        self.tx.save(permit, &Change::Create(integration.clone()), issue)?;
        self.hand_over(|| hand_over(&integration, &secret))?;
        Ok(integration)
    }
}
