//! The commands of `pdkeys integration`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::authz::{Acting, Action, Decision, Target, decide};
use pdkeys::manage::{DestinationKind, DestinationSelector, NewIntegration, Session, Shown};
use pdkeys::model::{
    CredentialKind, DestinationRef, Hint, Id, Integration as Model, IntegrationType, Label, Name, Noun,
    RateLimit,
};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::args::Reason;
use super::resource::{self, Removable, Resource};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, CellStyle, Record};
use crate::session::{Context, FirstUse};

/// An integration as it is printed, with its key if the acting user may see it.
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
    /// Returns the integration in one cell of another table.
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

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        let into = self.service.as_ref().or(self.orchestration.as_ref());
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.integration_type.to_string(),
            into.map_or_else(String::new, |into| format!("{} ({})", into.name, into.id)),
            self.key.clone().unwrap_or_else(|| format!("...{}", self.hint)),
            style.time(self.created_at),
            style.optional_time(self.last_used_at, "never"),
        ]
    }
}

impl Resource for Model {
    type Record = IntegrationRecord;
    const NOUN: Noun = Noun::Integration;

    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.integration(reference).map(|shown| shown.integration)
    }

    fn short_name(&self) -> String {
        self.id.to_string()
    }

    fn describe(&self) -> String {
        let Self { id, name, hint, destination, .. } = self;
        format!("integration {id} ({name}, ...{hint}) into {} {}", destination.id.noun(), destination.name)
    }

    fn into_record(self, _: Timestamp) -> IntegrationRecord {
        self.into()
    }
}

impl Removable for Model {
    const CONSEQUENCE: &'static str = "Events with these keys are refused from then on:";

    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.preview_remove_integrations(references, reason)
    }

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.remove_integrations(references, reason)
    }
}

/// Warns if integration keys cannot be shown to a user who may see them.
pub(super) fn warn_of_hidden_keys(context: &Context, session: &mut Session<'_, SqliteStore>) {
    let Some(fault) = session.store_key_fault() else { return };
    let all = Target::all(Noun::Integration);
    let may_see = |acting: Acting| decide(acting.user(), Action::ShowIntegrationKey, &all);
    if session.whoami().is_ok_and(|acting| may_see(acting) == Decision::Allowed) {
        context.terminal.warning(&format!("integration keys are not shown: {fault}"));
    }
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

/// The destination of an integration.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct Destination {
    /// A service, by name or id
    #[arg(long, value_name = "SERVICE", add = ArgValueCompleter::new(complete::service_names))]
    service: Option<String>,

    /// An orchestration, by name or id
    #[arg(long, value_name = "ORCHESTRATION", add = ArgValueCompleter::new(complete::orchestration_names))]
    orchestration: Option<String>,
}

impl Destination {
    fn selector(self) -> Option<DestinationSelector> {
        match (self.service, self.orchestration) {
            (Some(reference), _) => Some(DestinationSelector { kind: DestinationKind::Service, reference }),
            (None, Some(reference)) => {
                Some(DestinationSelector { kind: DestinationKind::Orchestration, reference })
            }
            (None, None) => None,
        }
    }

    fn required(self) -> Result<DestinationSelector, Failure> {
        self.selector().ok_or_else(|| {
            Failure::usage("it is not said where the integration leads")
                .with_hint("give --service or --orchestration")
        })
    }
}

/// Make an integration into a service or an orchestration
///
/// Prints its integration key, alone on its line, on standard output. Users who may see it can show it again.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    into: Destination,

    /// What sends the events, such as `events-api-v2`
    #[arg(long = "type", value_name = "TYPE", add = ArgValueCandidates::new(complete::integration_types))]
    integration_type: Option<IntegrationType>,

    /// The name of the integration
    #[arg(long)]
    name: Option<String>,

    /// How often its key may be used, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,

    /// Write the key to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut sink = SecretSink::new(context, self.write_to);
        sink.ready()?;
        let into = self.into.required()?;
        let types: Vec<_> = IntegrationType::ALL.iter().map(|kind| kind.as_str()).collect();
        let new = NewIntegration {
            name: context.required_name(Noun::Integration, self.name)?,
            kind: context.required_as(self.integration_type, "Type", &types.join(", "), str::parse)?,
            rate_limit: self.rate_limit,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let integration = session.create_integration(&into, new, &mut |integration, secret| {
                sink.take(secret, &IntegrationRecord::from(integration.clone()))
            })?;
            let mut told = vec![integration.describe()];
            told.extend(sink.keep());
            context.terminal.done("Created", &told.join("; "));
            Ok(Exit::Done)
        })
    }
}

/// List integrations, of one service or orchestration or of all
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    into: Destination,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let into = self.into.selector();
        context.with_session(FirstUse::NeedsStore, |session| {
            output::list(&context.terminal, context.output, session.at(), |emit| {
                Ok(session.list_integrations(into.as_ref(), &mut |shown| {
                    emit(IntegrationRecord::from(shown))?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            warn_of_hidden_keys(context, session);
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
            output::show(&context.terminal, context.output, session.at(), &IntegrationRecord::from(shown))?;
            warn_of_hidden_keys(context, session);
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
    into: Destination,
}

impl Move {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let into = self.into.required()?;
        context.with_session(FirstUse::NeedsStore, |session| {
            let integration = session.move_integration(&self.id, &into)?;
            resource::report(context, "Moved", [integration], session.at())
        })
    }
}

/// Remove integrations for good, and their keys with them
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The integrations' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::integration_ids))]
    ids: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::remove::<Model>(context, &self.ids, &self.reason)
    }
}
