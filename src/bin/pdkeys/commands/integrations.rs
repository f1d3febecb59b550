//! `pdkeys integration`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::manage::{DestinationKind, NewIntegration, Shown, Where};
use pdkeys::model::{
    CredentialKind, DestinationRef, Hint, Id, Integration as Model, IntegrationType, Name, Noun, RateLimit,
};
use serde::Serialize;

use super::keys::parse_reason;
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, Eyes, Record};
use crate::session::{Context, FirstUse};

/// An integration as it is printed. Its key is there for those who may see it.
#[derive(Debug, Serialize)]
pub(crate) struct IntegrationRecord {
    id: Id,
    kind: CredentialKind,
    name: Name,
    #[serde(rename = "type")]
    integration_type: IntegrationType,
    service: Option<DestinationRef>,
    orchestration: Option<DestinationRef>,
    key: Option<String>,
    hint: Hint,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    created_by: Name,
    #[serde(serialize_with = "times::serialize")]
    last_used_at: Option<Timestamp>,
    rate_limit: Option<RateLimit>,
}

impl From<Model> for IntegrationRecord {
    fn from(integration: Model) -> Self {
        let (service, orchestration) = match integration.destination.id.noun() {
            Noun::Orchestration => (None, Some(integration.destination)),
            _ => (Some(integration.destination), None),
        };
        Self {
            id: integration.id,
            kind: CredentialKind::Integration,
            name: integration.name,
            integration_type: integration.kind,
            service,
            orchestration,
            key: None,
            hint: integration.hint,
            created_at: integration.created_at,
            created_by: integration.created_by.name,
            last_used_at: integration.last_used_at,
            rate_limit: integration.rate_limit,
        }
    }
}

impl From<Shown> for IntegrationRecord {
    fn from(shown: Shown) -> Self {
        let key = shown.key.as_ref().and_then(|key| key.visible()).map(str::to_owned);
        Self { key, ..Self::from(shown.integration) }
    }
}

impl IntegrationRecord {
    /// The integration in one cell of another table.
    pub(super) fn brief(&self) -> String {
        let key = self.key.clone().unwrap_or_else(|| format!("...{}", self.hint));
        format!("{} {key}", self.id)
    }
}

impl Record for IntegrationRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "kind",
        "name",
        "type",
        "service",
        "orchestration",
        "key",
        "hint",
        "created_at",
        "created_by",
        "last_used_at",
        "rate_limit",
    ];
    const HEADINGS: &'static [&'static str] =
        &["ID", "NAME", "TYPE", "LEADS INTO", "KEY", "CREATED", "LAST USED"];

    fn cells(&self, eyes: &Eyes) -> Vec<String> {
        let into = self.service.as_ref().or(self.orchestration.as_ref());
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.integration_type.to_string(),
            into.map_or_else(String::new, |into| format!("{} ({})", into.name, into.id)),
            self.key.clone().unwrap_or_else(|| format!("...{}", self.hint)),
            eyes.moment(self.created_at),
            eyes.optional_moment(self.last_used_at, "never"),
        ]
    }
}

pub(super) fn name(integration: &Model) -> String {
    let into = &integration.destination;
    format!(
        "integration {} ({}, ...{}) into {} {}",
        integration.id,
        integration.name,
        integration.hint,
        into.id.noun(),
        into.name
    )
}

#[derive(Debug, Subcommand)]
pub(crate) enum Integration {
    Create(Create),
    List(List),
    Show(Show),
    Move(Move),
    Remove(Remove),
}

impl Integration {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Create(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Move(command) => command.run(context),
            Self::Remove(command) => command.run(context),
        }
    }
}

/// Where an integration leads.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct Into {
    /// A service, by name or id
    #[arg(long, value_name = "SERVICE", add = ArgValueCompleter::new(complete::service_names))]
    service: Option<String>,

    /// An orchestration, by name or id
    #[arg(long, value_name = "ORCHESTRATION", add = ArgValueCompleter::new(complete::orchestration_names))]
    orchestration: Option<String>,
}

impl Into {
    fn place(self) -> Option<Where> {
        match (self.service, self.orchestration) {
            (Some(reference), _) => Some(Where { kind: DestinationKind::Service, reference }),
            (None, Some(reference)) => Some(Where { kind: DestinationKind::Orchestration, reference }),
            (None, None) => None,
        }
    }

    fn required(self) -> Result<Where, Failure> {
        self.place().ok_or_else(|| {
            Failure::usage("it is not said where the integration leads")
                .with_hint("give --service or --orchestration")
        })
    }
}

/// Make an integration into a service or an orchestration
///
/// Prints its integration key, alone on its line, on standard output. Those who may see it can show it again.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    into: Into,

    /// What sends the events, such as `events-api-v2`
    #[arg(long = "type", value_name = "TYPE", add = ArgValueCandidates::new(complete::integration_types))]
    integration_type: Option<IntegrationType>,

    /// What to call it
    #[arg(long)]
    name: Option<String>,

    /// How often its key may be used, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,

    /// Write the key to this new file, readable by its owner alone, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut receiver = SecretSink::new(context, self.write_to);
        receiver.ready()?;
        let into = self.into.required()?;
        let types: Vec<_> = IntegrationType::ALL.iter().map(|kind| kind.as_str()).collect();
        let new = NewIntegration {
            name: context.required_name(Noun::Integration, self.name)?,
            kind: context.required_as(self.integration_type, "Type", &types.join(", "), str::parse)?,
            rate_limit: self.rate_limit,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let integration = session.create_integration(&into, new, &mut |integration, secret| {
                receiver.take(secret, &IntegrationRecord::from(integration.clone()))
            })?;
            let mut told = vec![name(&integration)];
            told.extend(receiver.keep());
            context.terminal.done("Created", &told.join("; "));
            Ok(Exit::Done)
        })
    }
}

/// List integrations, of one service or orchestration or of all
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    into: Into,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let into = self.into.place();
        context.with_session(FirstUse::NeedsStore, |session| {
            output::list(&context.terminal, context.globals.output, session.at(), |emit| {
                Ok(session.list_integrations(into.as_ref(), &mut |shown| {
                    emit(IntegrationRecord::from(shown))?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            context.warn_of_hidden_keys(session);
            Ok(Exit::Done)
        })
    }
}

/// Show one integration
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The integration's id
    #[arg(add = ArgValueCompleter::new(complete::integration_ids))]
    id: String,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let shown = session.integration(&self.id)?;
            output::show(
                &context.terminal,
                context.globals.output,
                session.at(),
                &IntegrationRecord::from(shown),
            )?;
            context.warn_of_hidden_keys(session);
            Ok(Exit::Done)
        })
    }
}

/// Move an integration to another service, or to another orchestration; its key stays
#[derive(Args, Debug)]
pub(crate) struct Move {
    /// The integration's id
    #[arg(add = ArgValueCompleter::new(complete::integration_ids))]
    id: String,

    #[command(flatten)]
    into: Into,
}

impl Move {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let into = self.into.required()?;
        context.with_session(FirstUse::NeedsStore, |session| {
            let integration = session.move_integration(&self.id, &into)?;
            changed(context, "Moved", vec![integration], session.at())
        })
    }
}

/// Remove integrations for good, and their keys with them
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The integrations' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::integration_ids))]
    ids: Vec<String>,

    /// Why; `key-compromise` is the one that other tools read
    #[arg(long)]
    reason: Option<String>,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let reason = parse_reason(self.reason.as_deref())?;
        context.with_session(FirstUse::NeedsStore, |session| {
            context.rehearse(session, |session| session.remove_integrations(&self.ids, reason.as_ref()))?;
            let shown = self.ids.iter().map(|id| session.integration(id)).collect::<Result<Vec<_>, _>>()?;
            let things: Vec<_> = shown
                .iter()
                .map(|shown| (shown.integration.id.to_string(), name(&shown.integration)))
                .collect();
            let consequence = "Events with these keys are refused from then on:";
            context.confirm_all("Remove", Noun::Integration, consequence, &things)?;
            let integrations = session.remove_integrations(&self.ids, reason.as_ref())?;
            changed(context, "Removed", integrations, session.at())
        })
    }
}

fn changed(context: &Context, verb: &str, integrations: Vec<Model>, now: Timestamp) -> Result<Exit, Failure> {
    for integration in &integrations {
        context.terminal.done(verb, &name(integration));
    }
    output::changed(context, now, integrations.into_iter().map(IntegrationRecord::from))
}
