//! `scan`: find this store's keys in files, in git's history, in a pipe.

mod files;
mod history;

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _};
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use pdkeys::model::{Hint, Label, Noun};
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::scan::{Finding, ScanError, Scanner};
use pdkeys::store::CredentialStatus;
use pdkeys::store::sqlite::SqliteStore;
use serde::{Serialize, Serializer};

use self::files::Files;
use crate::failure::{Exit, Failure};
use crate::input::git::{self, Repository};
use crate::input::sources::Spared;
use crate::output::sarif;
use crate::output::{self, Eyes, Format, Record};
use crate::paths::STREAM;
use crate::session::{Context, FirstUse};

/// Find keys of this store, live or dead, in files, git history or a pipe
///
/// Every string of a key's shape is hashed and looked up, so that nothing is reported that is not, or was not, a key of
/// this store; and never the key itself. Files that git ignores and does not track are left out, and archives are not
/// looked into. Exits with 3 if a key is found that works, else with 1 if something could not be read.
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

/// The name of a file: any bytes, of which those that are not UTF-8 are shown as `\xFF`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName(Vec<u8>);

impl FileName {
    /// A name with each secret of the store in it replaced by what it is.
    fn without_secrets(scanner: &mut Scanner<SqliteStore>, name: &[u8]) -> Result<Self, pdkeys::Error> {
        Ok(Self::with_found_taken_out(name, &scanner.find(name)?))
    }

    /// A name with what was found in it replaced by what that is.
    fn with_found_taken_out(name: &[u8], found: &[(Range<usize>, Finding)]) -> Self {
        let mut found: Vec<_> = found.iter().collect();
        found.sort_by_key(|(place, _)| place.start);
        let mut shown = Vec::with_capacity(name.len());
        let mut at = 0;
        for (place, finding) in found {
            if place.start >= at {
                shown.extend_from_slice(&name[at..place.start]);
                let what = format!("({} {})", kind(finding).unwrap_or("secret"), finding.id);
                shown.extend_from_slice(what.as_bytes());
            }
            at = at.max(place.end);
        }
        shown.extend_from_slice(&name[at..]);
        Self(shown)
    }

    /// The name as it is.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for FileName {
    fn from(name: &str) -> Self {
        Self(name.as_bytes().to_owned())
    }
}

impl Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A key that was found, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct FoundRecord {
    pub(crate) file: FileName,
    pub(crate) commit: Option<String>,
    /// Counted from 1; 0 is the name of the file.
    pub(crate) line: u64,
    pub(crate) kind: Option<&'static str>,
    pub(crate) id: String,
    pub(crate) description: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) status: &'static str,
}

/// The kind of what was found, as it is printed.
fn kind(finding: &Finding) -> Option<&'static str> {
    match (finding.kind, finding.id.noun()) {
        (Some(kind), _) => Some(kind.as_str()),
        (None, Noun::App) => Some("client-secret"),
        (None, _) => None,
    }
}

impl FoundRecord {
    fn new(file: FileName, commit: Option<String>, finding: Finding) -> Self {
        let kind = kind(&finding);
        let Finding { line, id, description, hint, standing, .. } = finding;
        let hint = hint.as_ref().map(Hint::to_string);
        Self { file, commit, line, kind, id: id.to_string(), description, hint, status: standing.as_str() }
    }

    /// Something found in the name of a file.
    fn in_name(file: FileName, finding: Finding) -> Self {
        Self::new(file, None, Finding { line: 0, ..finding })
    }

    /// Whether it works.
    pub(crate) fn is_live(&self) -> bool {
        self.status == CredentialStatus::Live.as_str()
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
            if self.line == 0 { "name".to_owned() } else { self.line.to_string() },
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
}

impl Report {
    fn unread(&mut self, what: &dyn Display, why: &dyn Display) {
        self.unread.push(format!("{what} was not read: {why}"));
    }

    fn append(&mut self, mut part: Self) {
        self.found.append(&mut part.found);
        self.unread.append(&mut part.unread);
        self.archives += part.archives;
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
            scan_one(&mut scanner, &mut context.terminal.input(), &FileName::from("-"), &mut report)
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
            let files = Files::new(&place, &spared, now, !self.no_ignore);
            report.append(files.scan(&paths, &repositories)?);
        }
        self.tell(context, now, &report)
    }

    /// The paths to walk, and whether standard input is to be read.
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
        match context.globals.output {
            Format::Sarif => output::document(&context.terminal, &sarif::log(&report.found))?,
            // No table without a row: a hook is silent when there is nothing to say.
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

fn scan_one(
    scanner: &mut Scanner<SqliteStore>,
    input: &mut dyn io::Read,
    file: &FileName,
    report: &mut Report,
) -> Result<(), ScanError> {
    scanner.scan(input, &mut |finding| {
        report.found.insert(FoundRecord::new(file.clone(), None, finding));
    })
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
