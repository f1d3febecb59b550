//! The command `pdkeys scan`.

mod files;
mod history;
mod report;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use pdkeys::model::Label;
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::scan::{ScanError, Scanner};

use self::files::Files;
use self::report::{FileName, FoundRecord, Report};
use super::resource::{self, Resource as _};
use crate::failure::{Exit, Failure};
use crate::input::git::{self, Repository};
use crate::input::sources::SkipSet;
use crate::output::sarif;
use crate::output::{self, Format};
use crate::paths::STREAM;
use crate::session::{Context, FirstUse};

/// Find keys of this store, live or dead, in files, git history or a pipe
///
/// Every string with the shape of a key is hashed and looked up, so that only present and former keys of this store are
/// reported, and never the key itself. Files that git ignores and does not track are left out, and archives are not
/// opened. Exits with 3 if a working key is found, else with 1 if something could not be read.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Files and directories; `-` is standard input, as is no path at all in a pipe
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Scan everything in the paths' git repositories too: history, index, stash
    #[arg(long)]
    git: bool,

    /// Scan files that git ignores too
    #[arg(long)]
    no_ignore: bool,

    /// Disable the working general keys that are found; asks first
    #[arg(long)]
    disable: bool,
}

impl Scan {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.git {
            context.rights.refuse("--git")?;
        }
        let now = SystemClock.now();
        let store = context.open(FirstUse::NeedsStore)?;
        let place = store.place().clone();
        let skip = SkipSet::new(&store.files());
        let mut scanner = Scanner::new(store, now)?;
        let mut report = Report::default();
        let (paths, pipe) = self.sources(context)?;
        if pipe {
            report::scan_one(&mut scanner, &mut context.terminal.input(), &FileName::from("-"), &mut report)
                .map_err(|error| not_read("standard input", error))?;
        }
        let mut repositories = Vec::new();
        if self.git {
            let mut seen = BTreeSet::new();
            for path in &paths {
                history::scan(&mut scanner, &Repository::of(path), &mut seen, &mut report)?;
                repositories.extend(git::top_of(path));
            }
        }
        if !paths.is_empty() {
            let files = Files::new(&place, &skip, now, !self.no_ignore);
            report.append(files.scan(&paths, &repositories)?);
        }
        self.tell(context, now, &report)
    }

    /// Returns the paths to scan, and whether to scan standard input.
    fn sources(&self, context: &Context) -> Result<(Vec<PathBuf>, bool), Failure> {
        let is_pipe = |path: &&PathBuf| path.as_os_str() == STREAM;
        let paths: Vec<_> = self.paths.iter().filter(|path| !is_pipe(path)).cloned().collect();
        let pipe = self.paths.iter().any(|path| is_pipe(&path));
        if !self.paths.is_empty() {
            return Ok((paths, pipe));
        }
        if self.git {
            return Ok((vec![PathBuf::from(".")], false));
        }
        if context.terminal.input().is_terminal() {
            return Err(
                Failure::usage("no path was given").with_hint("pdkeys scan . looks through this directory")
            );
        }
        Ok((paths, true))
    }

    fn tell(&self, context: &Context, now: Timestamp, report: &Report) -> Result<Exit, Failure> {
        for unread in &report.unread {
            context.terminal.warning(unread);
        }
        if report.archives > 0 {
            let them = match report.archives {
                1 => "1 archive or compressed file was",
                number => &format!("{number} archives and compressed files were"),
            };
            context.terminal.warning(&format!("{them} not looked into; unpack what is to be scanned"));
        }
        match context.output {
            Format::Sarif => {
                let log = sarif::log(report.found.iter().map(FoundRecord::sarif));
                output::document(&context.terminal, &log)?;
            }
            // No empty table: a hook that finds nothing prints nothing.
            Format::Table if report.found.is_empty() => {}
            format => output::list(&context.terminal, format, now, |emit| {
                report.found.iter().try_for_each(|found| emit(found.clone())).map_err(Failure::from)
            })?,
        }
        let live: Vec<_> = report.found.iter().filter(|found| found.is_live()).collect();
        let ids: BTreeSet<_> =
            live.iter().filter(|found| found.kind == Some("general")).map(|found| &found.id).collect();
        let disables = self.disable && !ids.is_empty();
        let remedies: BTreeSet<_> = live
            .iter()
            .filter(|found| !(disables && found.kind == Some("general")))
            .filter_map(|found| found.remedy())
            .collect();
        for remedy in remedies {
            context.terminal.hint(&remedy);
        }
        if disables {
            disable(context, &ids.into_iter().cloned().collect::<Vec<_>>())?;
        }
        Ok(match (live.is_empty(), report.unread.is_empty()) {
            (false, _) => Exit::No,
            (true, false) => Exit::Failed,
            (true, true) => Exit::Done,
        })
    }
}

fn not_read(what: &str, error: ScanError) -> Failure {
    match error {
        ScanError::Input(error) => Failure::failed(format!("{what} was not read: {error}")),
        ScanError::Store(error) => error.into(),
    }
}

/// Disables general keys, after asking.
fn disable(context: &Context, ids: &[String]) -> Result<(), Failure> {
    context.with_session(FirstUse::NeedsStore, |session| {
        let reason = Label::parse("reason", "key-compromise")?;
        if !context.yes {
            let keys = session.preview_disable_keys(ids, Some(&reason))?;
            resource::confirm(context, "Disable", "These were found, and stop working:", &keys)?;
        }
        for switched in session.disable_keys(ids, Some(&reason))? {
            context.terminal.done("Disabled", &switched.key.describe());
        }
        Ok(())
    })
}
