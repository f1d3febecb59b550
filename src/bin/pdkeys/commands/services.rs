//! `pdkeys service` and `pdkeys orchestration`: the same commands for the two things that events are routed to.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::manage::{DestinationKind, Session, WithIntegrations};
use pdkeys::model::{Destination, DestinationEdit, Id, IntegrationType, Label, Name};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::integrations::{self, IntegrationRecord};
use super::keys::parse_reason;
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, Eyes, Format, Record};
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

    fn cells(&self, eyes: &Eyes) -> Vec<String> {
        let integrations: Vec<_> = self.integrations.iter().map(IntegrationRecord::brief).collect();
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.description.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            eyes.moment(self.created_at),
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
/// Prints the integration key of the integration that is made with it, if one is: an orchestration gets its default
/// integration in any case.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What to call it
    name: Option<String>,

    /// What it is for
    #[arg(long)]
    description: Option<String>,

    /// Make an integration of this type at once, such as `events-api-v2`
    #[arg(long, value_name = "TYPE", add = ArgValueCandidates::new(complete::integration_types))]
    integration: Option<IntegrationType>,

    /// Write the integration key to this new file, readable by its owner alone, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Create {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let new = context.required_name(kind.noun(), self.name)?;
        let description = self.description.map(|text| Label::parse("description", &text)).transpose()?;
        let mut receiver = SecretSink::new(context, self.write_to);
        if kind == DestinationKind::Orchestration || self.integration.is_some() {
            receiver.ready()?;
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
                    receiver.take(secret, &IntegrationRecord::from(integration.clone()))
                },
            )?;
            let kept = receiver.keep();
            context.terminal.done("Created", &name(&destination));
            match made {
                Some(integration) => {
                    let mut told = vec![integrations::name(&integration)];
                    told.extend(kept);
                    context.terminal.done("Created", &told.join("; "));
                    Ok(Exit::Done)
                }
                None => {
                    output::changed(context, session.at(), [DestinationRecord::from(destination)].into_iter())
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
            output::list(&context.terminal, context.globals.output, session.at(), |emit| {
                found
                    .into_iter()
                    .try_for_each(|found| emit(DestinationRecord::from(found)))
                    .map_err(Failure::from)
            })?;
            context.warn_of_hidden_keys(session);
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

/// Shows the thing itself, and below it its integrations, as a table shows them better than one cell could.
fn show(
    context: &Context,
    session: &mut Session<'_, SqliteStore>,
    mut record: DestinationRecord,
) -> Result<Exit, Failure> {
    let now = session.at();
    if context.globals.output == Format::Table {
        let integrations = std::mem::take(&mut record.integrations);
        output::show(&context.terminal, Format::Table, now, &record)?;
        if !integrations.is_empty() {
            output::line(&context.terminal, "")?;
            output::list(&context.terminal, Format::Table, now, |emit| {
                integrations.into_iter().try_for_each(emit).map_err(Failure::from)
            })?;
        }
    } else {
        output::show(&context.terminal, context.globals.output, now, &record)?;
    }
    context.warn_of_hidden_keys(session);
    Ok(Exit::Done)
}

/// Change its name or description
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// Its name or id
    #[arg(add = ArgValueCompleter::new(complete::destination_names_of_the_line))]
    reference: String,

    /// Another name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// Another description, or `none`
    #[arg(long, group = "change")]
    description: Option<String>,
}

impl Edit {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let edit = DestinationEdit {
            name: self.name.map(|name| Name::parse(kind.noun(), &name)).transpose()?,
            description: super::or_none(self.description, |text| Label::parse("description", text))?,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let destination = session.edit_destination(kind, &self.reference, edit)?;
            context.terminal.done("Changed", &name(&destination));
            output::changed(context, session.at(), [DestinationRecord::from(destination)].into_iter())
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

    /// Why; `key-compromise` is the one that other tools read
    #[arg(long)]
    reason: Option<String>,
}

impl Remove {
    fn run(self, context: &Context, kind: DestinationKind) -> Result<Exit, Failure> {
        let reason = parse_reason(self.reason.as_deref())?;
        context.with_session(FirstUse::NeedsStore, |session| {
            let found = session.destination(kind, &self.name)?;
            if self.with_integrations || found.integrations.is_empty() {
                context.rehearse(session, |session| {
                    session.remove_destination(kind, &self.name, self.with_integrations, reason.as_ref())
                })?;
                let mut what = vec!["These go for good, and cannot come back:".to_owned()];
                what.push(format!("  {}", name(&found.destination)));
                what.extend(
                    found
                        .integrations
                        .iter()
                        .map(|shown| format!("  {}", integrations::name(&shown.integration))),
                );
                context.confirm(&what, &format!("Remove {} {}?", kind.noun(), found.destination.name))?;
            }
            let removed =
                session.remove_destination(kind, &self.name, self.with_integrations, reason.as_ref())?;
            context.terminal.done("Removed", &name(&removed));
            output::changed(context, session.at(), [DestinationRecord::from(removed)].into_iter())
        })
    }
}
