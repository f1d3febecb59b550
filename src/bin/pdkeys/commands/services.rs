//! The commands of `pdkeys service` and `pdkeys orchestration`, which are the same.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::manage::{DestinationKind, Session, WithIntegrations};
use pdkeys::model::{Destination, DestinationEdit, Id, IntegrationType, Label, Name};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::args::{Reason, or_none, parse_description};
use super::integrations::{self, IntegrationRecord};
use super::resource::{Resource as _, print_changed};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, CellStyle, Format, Record};
use crate::session::{Context, FirstUse};

/// A service or an orchestration as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct DestinationRecord {
    id: Id,
    name: Name,
    description: Option<Label>,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    created_by: Name,
    integrations: Vec<IntegrationRecord>,
}

impl From<Destination> for DestinationRecord {
    fn from(destination: Destination) -> Self {
        Self {
            id: destination.id,
            name: destination.name,
            description: destination.description,
            created_at: destination.created_at,
            created_by: destination.created_by.name,
            integrations: Vec::new(),
        }
    }
}

impl From<WithIntegrations> for DestinationRecord {
    fn from(found: WithIntegrations) -> Self {
        let integrations = found.integrations.into_iter().map(IntegrationRecord::from).collect();
        Self { integrations, ..Self::from(found.destination) }
    }
}

impl Record for DestinationRecord {
    const FIELDS: &'static [&'static str] =
        &["id", "name", "description", "created_at", "created_by", "integrations"];
    const HEADINGS: &'static [&'static str] = &["ID", "NAME", "DESCRIPTION", "CREATED", "BY", "INTEGRATIONS"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        let integrations: Vec<_> = self.integrations.iter().map(IntegrationRecord::brief).collect();
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.description.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            style.time(self.created_at),
            self.created_by.to_string(),
            if integrations.is_empty() { "-".to_owned() } else { integrations.join(", ") },
        ]
    }
}

fn name(destination: &Destination) -> String {
    format!("{} {} ({})", destination.id.noun(), destination.name, destination.id)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    Create(Create),
    List(List),
    Show(Show),
    Edit(Edit),
    Remove(Remove),
}

impl Service {
    pub(crate) fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        match self {
            Self::Create(command) => command.run(context, kind),
            Self::List(command) => command.run(context, kind),
            Self::Show(command) => command.run(context, kind),
            Self::Edit(command) => command.run(context, kind),
            Self::Remove(command) => command.run(context, kind),
        }
    }
}

/// Make one
///
/// Prints the integration key if an integration is made with it. An orchestration always gets its default integration.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The name
    name: Option<String>,

    /// What it is for
    #[arg(long)]
    description: Option<String>,

    /// Make an integration of this type with it, such as `events-api-v2`
    #[arg(long, value_name = "TYPE", add = ArgValueCandidates::new(complete::integration_types))]
    integration: Option<IntegrationType>,

    /// Write the integration key to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Create {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let new = context.required_name(kind.noun(), self.name)?;
        let description = parse_description(self.description)?;
        let mut sink = SecretSink::new(context, self.write_to);
        if kind == DestinationKind::Orchestration || self.integration.is_some() {
            sink.ready()?;
        }
        context.with_session(FirstUse::MakesStore, |session| {
            let mut made = None;
            let destination = session.create_destination(
                kind,
                new,
                description,
                self.integration,
                &mut |integration, secret| {
                    made = Some(integration.clone());
                    sink.take(secret, &IntegrationRecord::from(integration.clone()))
                },
            )?;
            let kept = sink.keep();
            context.terminal.done("Created", &name(&destination));
            match made {
                Some(integration) => {
                    let mut told = vec![integration.describe()];
                    told.extend(kept);
                    context.terminal.done("Created", &told.join("; "));
                    Ok(Exit::Done)
                }
                None => {
                    print_changed(context, [DestinationRecord::from(destination)].into_iter(), session.at())
                }
            }
        })
    }
}

/// List them, with their integrations
#[derive(Args, Debug)]
pub(crate) struct List {}

impl List {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let Self {} = self;
        context.with_session(FirstUse::NeedsStore, |session| {
            let found = session.destinations_with_integrations(kind)?;
            output::list(&context.terminal, context.output, session.at(), |emit| {
                found
                    .into_iter()
                    .try_for_each(|found| emit(DestinationRecord::from(found)))
                    .map_err(Failure::from)
            })?;
            integrations::warn_of_hidden_keys(context, session);
            Ok(Exit::Done)
        })
    }
}

/// Show one, with its integrations
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Its name or id
    #[arg(add = ArgValueCompleter::new(complete::destination_names_of_the_line))]
    name: String,
}

impl Show {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let found = session.destination(kind, &self.name)?;
            show(context, session, DestinationRecord::from(found))
        })
    }
}

/// Shows a service or an orchestration, and its integrations in a table below it.
fn show(
    context: &Context,
    session: &mut Session<'_, SqliteStore>,
    mut record: DestinationRecord,
) -> Result<Exit, Failure> {
    let now = session.at();
    if context.output == Format::Table {
        let integrations = std::mem::take(&mut record.integrations);
        output::show(&context.terminal, Format::Table, now, &record)?;
        if !integrations.is_empty() {
            output::line(&context.terminal, "")?;
            output::list(&context.terminal, Format::Table, now, |emit| {
                integrations.into_iter().try_for_each(emit).map_err(Failure::from)
            })?;
        }
    } else {
        output::show(&context.terminal, context.output, now, &record)?;
    }
    integrations::warn_of_hidden_keys(context, session);
    Ok(Exit::Done)
}

/// Change its name or description
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// Its name or id
    #[arg(add = ArgValueCompleter::new(complete::destination_names_of_the_line))]
    reference: String,

    /// A new name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// A new description, or `none`
    #[arg(long, group = "change")]
    description: Option<String>,
}

impl Edit {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let edit = DestinationEdit {
            name: self.name.map(|name| Name::parse(kind.noun(), &name)).transpose()?,
            description: or_none(self.description, |text| Label::parse("description", text))?,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let destination = session.edit_destination(kind, &self.reference, edit)?;
            context.terminal.done("Changed", &name(&destination));
            print_changed(context, [DestinationRecord::from(destination)].into_iter(), session.at())
        })
    }
}

/// Remove one for good
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Its name or id
    #[arg(add = ArgValueCompleter::new(complete::destination_names_of_the_line))]
    name: String,

    /// Remove its integrations too
    #[arg(long)]
    with_integrations: bool,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let reason = self.reason.parse()?;
        context.with_session(FirstUse::NeedsStore, |session| {
            if !context.yes {
                let (destination, integrations) = session.preview_remove_destination(
                    kind,
                    &self.name,
                    self.with_integrations,
                    reason.as_ref(),
                )?;
                let mut what = vec!["These go for good, and cannot come back:".to_owned()];
                what.push(format!("  {}", name(&destination)));
                what.extend(integrations.iter().map(|integration| format!("  {}", integration.describe())));
                context.confirm(&what, &format!("Remove {} {}?", kind.noun(), destination.name))?;
            }
            let removed =
                session.remove_destination(kind, &self.name, self.with_integrations, reason.as_ref())?;
            context.terminal.done("Removed", &name(&removed));
            print_changed(context, [DestinationRecord::from(removed)].into_iter(), session.at())
        })
    }
}
