//! `scan`: find this store's keys in files, in git's history, in a pipe.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use ignore::{WalkBuilder, WalkState};
use jiff::Timestamp;
use pdkeys::model::{Hint, Label, Noun};
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::scan::{Finding, ScanError, Scanner};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{Place, Standing};
use serde::Serialize;

use crate::context::{Context, FirstUse};
use crate::failure::{Exit, Failure};
use crate::render::{self, Eyes, Format, Record};
use crate::sarif;
use crate::sources::{self, Object, Opened, Repository, Spared};

/// Find keys of this store, live or dead, in files, git history or a pipe
///
/// Every string of a key's shape is hashed and looked up, so that nothing is reported that is not, or was not, a key of
/// this store; and never the key itself. Files that git ignores are left out, and archives are not looked into. Exits
/// with 3 if a key is found that works, else with 1 if something could not be read.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Files and directories; `-` is standard input, as is no path at all in a pipe
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Look through all that git keeps of the paths' repositories too: history, index, stash
    #[arg(long)]
    git: bool,

    /// Look into files that git ignores too
    #[arg(long)]
    no_ignore: bool,

    /// Disable the general keys that are found and work; asks first
    #[arg(long)]
    disable: bool,
}

/// A key that was found, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct FoundRecord {
    pub(crate) file: String,
    pub(crate) commit: Option<String>,
    pub(crate) line: u64,
    pub(crate) kind: Option<&'static str>,
    pub(crate) id: String,
    pub(crate) description: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) status: &'static str,
}

impl FoundRecord {
    fn new(file: String, commit: Option<String>, finding: Finding) -> Self {
        let Finding { line, kind, id, description, hint, standing } = finding;
        let kind = match (kind, id.noun()) {
            (Some(kind), _) => Some(kind.as_str()),
            (None, Noun::App) => Some("client-secret"),
            (None, _) => None,
        };
        let hint = hint.as_ref().map(Hint::to_string);
        Self { file, commit, line, kind, id: id.to_string(), description, hint, status: standing.as_str() }
    }

    /// Whether it works.
    pub(crate) fn is_live(&self) -> bool {
        self.status == Standing::Live.as_str()
    }

    /// What was found, in a sentence.
    pub(crate) fn message(&self) -> String {
        let called = self.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        let commit = self.commit.as_ref().map(|commit| format!(", in commit {commit}")).unwrap_or_default();
        format!("{} {}{called} is {}{commit}", self.kind.unwrap_or("secret"), self.id, self.status)
    }

    /// What ends it.
    fn remedy(&self) -> Option<String> {
        let id = &self.id;
        match self.kind {
            _ if !self.is_live() => None,
            Some("general") => Some(format!("pdkeys disable {id} --reason key-compromise")),
            Some("user-token") => Some(format!("pdkeys token remove {id} --reason key-compromise")),
            Some("integration") => Some(format!("pdkeys integration remove {id}")),
            Some("app-token") => Some(format!("pdkeys app edit {id} --revoke-tokens")),
            _ => Some(format!("pdkeys app rotate {id}")),
        }
    }
}

impl Record for FoundRecord {
    const FIELDS: &'static [&'static str] =
        &["file", "commit", "line", "kind", "id", "description", "hint", "status"];
    const HEADINGS: &'static [&'static str] =
        &["FILE", "LINE", "KIND", "ID", "DESCRIPTION", "HINT", "STATUS"];

    fn cells(&self, _: &Eyes) -> Vec<String> {
        let commit = self.commit.as_ref().map(|commit| format!("{}:", &commit[..commit.len().min(12)]));
        vec![
            format!("{}{}", commit.unwrap_or_default(), self.file),
            self.line.to_string(),
            self.kind.unwrap_or_default().to_owned(),
            self.id.clone(),
            self.description.clone().unwrap_or_default(),
            self.hint.as_ref().map(|hint| format!("...{hint}")).unwrap_or_default(),
            self.status.to_owned(),
        ]
    }
}

/// What came of it.
#[derive(Default)]
struct Report {
    found: BTreeSet<FoundRecord>,
    unread: Vec<String>,
    archives: u64,
    fault: Option<pdkeys::Error>,
}

impl Report {
    fn unread(&mut self, path: &str, why: &dyn Display) {
        self.unread.push(format!("{path} was not read: {why}"));
    }
}

impl Scan {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.git {
            context.rights.refuse("--git")?;
        }
        let now = SystemClock.now();
        let store = context.open(FirstUse::NeedsStore)?;
        let place = store.place().clone();
        let spared = Spared::new(&store.files());
        let mut scanner = Scanner::new(store, now)?;
        let mut report = Report::default();
        let (paths, pipe) = self.sources(context)?;
        if pipe {
            scan_one(&mut scanner, &mut context.terminal.input(), "-", &mut report)
                .map_err(|error| not_read("standard input", error))?;
        }
        if self.git {
            let mut seen = BTreeSet::new();
            for path in &paths {
                let repository = Repository::of(path);
                if repository.git_directory().is_none_or(|directory| seen.insert(directory)) {
                    scan_git(&mut scanner, &repository, path, &mut report)?;
                }
            }
        }
        if !paths.is_empty() {
            report = self.scan_files(&paths, &place, &spared, now, report)?;
        }
        self.tell(context, now, &report)
    }

    /// The paths to walk, and whether standard input is to be read.
    fn sources(&self, context: &Context) -> Result<(Vec<PathBuf>, bool), Failure> {
        let is_pipe = |path: &&PathBuf| path.as_os_str() == "-";
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

    /// Looks through files and directories, with as many threads as there are processors.
    fn scan_files(
        &self,
        paths: &[PathBuf],
        place: &Place,
        spared: &Spared,
        now: Timestamp,
        report: Report,
    ) -> Result<Report, Failure> {
        let report = Mutex::new(report);
        let Some((first, rest)) = paths.split_first() else {
            return Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner));
        };
        let mut walk = WalkBuilder::new(first);
        for path in rest {
            walk.add(path);
        }
        let heeds = !self.no_ignore;
        // What is hidden holds keys more than anything: `.env`. What git keeps is for --git.
        walk.hidden(false).ignore(false).parents(heeds);
        walk.git_ignore(heeds).git_global(heeds).git_exclude(heeds);
        walk.filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git");
        walk.build_parallel().run(|| {
            let mut scanner = SqliteStore::open(place)
                .and_then(SqliteStore::for_many_keys)
                .and_then(|store| Scanner::new(store, now))
                .map_err(Some);
            let report = &report;
            Box::new(move |entry| {
                let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
                let scanner = match &mut scanner {
                    Ok(scanner) => scanner,
                    Err(fault) => {
                        lock().fault = fault.take();
                        return WalkState::Quit;
                    }
                };
                let mut part = Report::default();
                let state = scan_entry(scanner, entry, spared, &mut part);
                if !part.found.is_empty()
                    || !part.unread.is_empty()
                    || part.archives > 0
                    || part.fault.is_some()
                {
                    let mut whole = lock();
                    whole.found.append(&mut part.found);
                    whole.unread.append(&mut part.unread);
                    whole.archives += part.archives;
                    whole.fault = whole.fault.take().or(part.fault);
                }
                state
            })
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        match report.fault.take() {
            Some(fault) => Err(fault.into()),
            None => Ok(report),
        }
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
        match context.globals.output {
            Format::Sarif => render::document(&context.terminal, &sarif::log(&report.found))?,
            // No table without a row: a hook is silent when there is nothing to say.
            Format::Table if report.found.is_empty() => {}
            format => render::list(&context.terminal, format, now, |emit| {
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

fn scan_one(
    scanner: &mut Scanner<SqliteStore>,
    input: &mut dyn io::Read,
    file: &str,
    report: &mut Report,
) -> Result<(), ScanError> {
    scanner.scan(input, &mut |finding| {
        report.found.insert(FoundRecord::new(file.to_owned(), None, finding));
    })
}

/// Looks through one thing that the walk came to.
fn scan_entry(
    scanner: &mut Scanner<SqliteStore>,
    entry: Result<ignore::DirEntry, ignore::Error>,
    spared: &Spared,
    report: &mut Report,
) -> WalkState {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => {
            report.unread.push(error.to_string());
            return WalkState::Continue;
        }
    };
    let path = entry.path().display().to_string();
    let named = entry.depth() == 0;
    match entry.file_type() {
        Some(kind) if kind.is_file() || (named && kind.is_symlink()) => {}
        Some(kind) if named && !kind.is_dir() => {
            report.unread(&path, &"not a file");
            return WalkState::Continue;
        }
        _ => return WalkState::Continue,
    }
    let done = match sources::open(entry.path(), spared) {
        Ok(Opened::Spared) => {
            if named {
                report.unread(&path, &"it is a file of the store");
            }
            Ok(())
        }
        Ok(Opened::Content(mut content)) => scan_one(scanner, &mut *content, &path, report),
        Ok(Opened::Archive) => {
            report.archives += 1;
            Ok(())
        }
        Ok(Opened::NoFile) => Ok(()),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => WalkState::Continue,
        Err(ScanError::Input(error)) => {
            report.unread(&path, &error);
            WalkState::Continue
        }
        Err(ScanError::Store(fault)) => {
            report.fault = Some(fault);
            WalkState::Quit
        }
    }
}

/// Looks through all that git keeps of the repository that a path is in.
fn scan_git(
    scanner: &mut Scanner<SqliteStore>,
    repository: &Repository,
    path: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    let done = repository.each(|object: Object, content| {
        let mut found = Vec::new();
        scanner.scan(content, &mut |finding| found.push(finding))?;
        if !found.is_empty() {
            let (commit, file) = repository.place(&object);
            let records =
                found.into_iter().map(|finding| FoundRecord::new(file.clone(), commit.clone(), finding));
            report.found.extend(records);
        }
        Ok::<_, ScanError>(())
    });
    match done {
        Ok(()) => Ok(()),
        Err(ScanError::Input(error)) => {
            report.unread(&format!("the history of {}", path.display()), &error);
            Ok(())
        }
        Err(ScanError::Store(error)) => Err(error.into()),
    }
}

/// Disables general keys, after asking.
fn disable(context: &Context, ids: &[String]) -> Result<(), Failure> {
    context.with_session(FirstUse::NeedsStore, |session| {
        let reason = Label::parse("reason", "key-compromise")?;
        context.rehearse(session, |session| session.disable_keys(ids, Some(&reason)))?;
        let keys = ids.iter().map(|id| session.key(id)).collect::<Result<Vec<_>, _>>()?;
        let named = |key: &pdkeys::model::GeneralKey| (key.id.to_string(), super::keys::name(key));
        let things: Vec<(String, String)> = keys.iter().map(named).collect();
        context.confirm_all("Disable", Noun::GeneralKey, "These were found, and stop working:", &things)?;
        for switched in session.disable_keys(ids, Some(&reason))? {
            context.terminal.done("Disabled", &super::keys::name(&switched.key));
        }
        Ok(())
    })
}
