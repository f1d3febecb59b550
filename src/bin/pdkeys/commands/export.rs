//! The command `pdkeys export`.

use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use pdkeys::store::Flow;

use super::keys::KeyRecord;
use super::services::DestinationRecord;
use super::users::UserRecord;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::session::{Context, FirstUse};

/// Export keys, users, services or the audit trail, for other tools
///
/// The format is CSV, or what `-o` says, and is streamed. It holds no secret and no digest of one: to move a store, copy it
/// with its store key. Services come with their integrations, without the keys. pdkeys user import reads an export of
/// users.
///
/// A CSV cell that a spreadsheet would compute, because it begins with =, +, -, @ or the like, gets a single quote before
/// it, unless --raw is given. An import removes the quote again.
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
    /// Users, including those who have left
    Users,
    /// Services, and then orchestrations
    Services,
    /// The audit trail, newest first
    Audit,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let terminal = &context.terminal;
        let format = match context.output {
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
