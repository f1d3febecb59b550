//! `pdkeys export`.

use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use pdkeys::store::Flow;

use super::keys::KeyRecord;
use super::services::DestinationRecord;
use super::users::UserRecord;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::session::{Context, FirstUse};

/// Export what the store knows of keys, users, services or changes, for other tools
///
/// As CSV, or what `-o` says, without holding it all. There is never a secret in it, nor what a secret is found by: to
/// move a store, copy it with its store key. Of services it gives the integrations too, without their keys. Users come
/// back in with pdkeys user import.
///
/// A cell of CSV that a spreadsheet would compute, since it begins with =, +, -, @ or the like, gets a single quote
/// before it, unless --raw is given. An import takes the quote off again.
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
                What::Keys => {
                    output::list(terminal, format, now, |emit| {
                        Ok(session.export_keys(&mut |key| goes_on(emit(KeyRecord::new(key, now))))?)
                    })?;
                    terminal.hint(
                        "left out: the keys themselves, and what is no general key; see pdkeys token list --all, \
                         pdkeys integration list and pdkeys app list; pdkeys backup copies everything",
                    );
                }
                What::Users => output::list(terminal, format, now, |emit| {
                    Ok(session.export_users(&mut |user| goes_on(emit(UserRecord::from(user))))?)
                })?,
                What::Services => output::list(terminal, format, now, |emit| {
                    Ok(session
                        .export_destinations(&mut |found| goes_on(emit(DestinationRecord::from(found))))?)
                })?,
                What::Audit => output::list(terminal, format, now, |emit| {
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
