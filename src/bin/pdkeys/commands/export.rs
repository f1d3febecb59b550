//! `pdkeys export`.

use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use pdkeys::store::Flow;

use super::keys::KeyRecord;
use super::services::DestinationRecord;
use super::users::UserRecord;
use crate::context::{Context, FirstUse};
use crate::failure::{Exit, Failure};
use crate::render::{self, Format};

/// Export what the store knows of keys, users, services or changes, for other tools
///
/// As CSV, or what `-o` says, without holding it all. There is never a secret in it, nor what a secret is found by: to
/// move a store, copy it with its store key. Of services it gives the integrations too, without their keys.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// What to export
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// General keys
    Keys,
    /// Users, those who have left too
    Users,
    /// Services, and then orchestrations
    Services,
    /// The audit trail, newest first
    Audit,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let terminal = &context.terminal;
        let format = match context.globals.output {
            Format::Table => Format::Csv,
            format => format,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            match self.what {
                What::Keys => render::list(terminal, format, now, |emit| {
                    Ok(session.export_keys(&mut |key| goes_on(emit(KeyRecord::new(key, now))))?)
                })?,
                What::Users => render::list(terminal, format, now, |emit| {
                    Ok(session.export_users(&mut |user| goes_on(emit(UserRecord::from(user))))?)
                })?,
                What::Services => render::list(terminal, format, now, |emit| {
                    Ok(session
                        .export_destinations(&mut |found| goes_on(emit(DestinationRecord::from(found))))?)
                })?,
                What::Audit => render::list(terminal, format, now, |emit| {
                    Ok(session.export_audit(&mut |record| goes_on(emit(record)))?)
                })?,
            }
            Ok(Exit::Done)
        })
    }
}

fn goes_on(emitted: Result<(), pdkeys::Error>) -> Flow {
    emitted.map(ControlFlow::Continue)
}
