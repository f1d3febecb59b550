//! Scans files below paths, with one thread per processor.
//!
//! Ignore rules keep out what is built and fetched, and must not keep out what a repository gives away: what git tracks
//! is looked through whatever they say, as are the names of files, what a link points at, and the files in which git
//! keeps configuration, branches and logs. Where git cannot be asked, no rule is heeded. Git's objects are for `--git`.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ignore::{DirEntry, WalkBuilder, WalkState};
use jiff::Timestamp;
use pdkeys::scan::{ScanError, Scanner};
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;

use super::report::{FileName, FoundRecord, Report, scan_one};
use crate::failure::Failure;
use crate::input::git::{self, Repository};
use crate::input::sources::{self, Identity, Opened, SkipSet};

/// The purpose of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walked {
    /// What was named on the command line.
    Named,
    /// What was left out before.
    LeftOut,
    /// A directory in which git keeps what belongs to a repository.
    GitDirectory,
}

/// Files that are looked through, and what came of it.
pub(super) struct Files<'a> {
    place: &'a Place,
    skip: &'a SkipSet,
    now: Timestamp,
    heeds_rules: bool,
    outcome: Mutex<Outcome>,
}

/// What the threads bring together.
#[derive(Default)]
struct Outcome {
    report: Report,
    fault: Option<pdkeys::Error>,
    visited: HashSet<Identity>,
    /// Directories with a `.git` in them.
    tops: BTreeSet<PathBuf>,
}

impl Outcome {
    fn append(&mut self, part: Self) {
        self.report.append(part.report);
        self.fault = self.fault.take().or(part.fault);
        self.visited.extend(part.visited);
        self.tops.extend(part.tops);
    }
}

impl<'a> Files<'a> {
    pub(super) fn new(place: &'a Place, skip: &'a SkipSet, now: Timestamp, heeds_rules: bool) -> Self {
        Self { place, skip, now, heeds_rules, outcome: Mutex::default() }
    }

    /// Looks through paths, and through what git keeps beside its objects for `repositories`.
    pub(super) fn scan(self, paths: &[PathBuf], repositories: &[PathBuf]) -> Result<Report, Failure> {
        let (heeding, whole): (Vec<_>, Vec<_>) =
            paths.iter().cloned().partition(|path| self.heeds_rules_in(path));
        self.walk(&heeding, self.heeds_rules, Walked::Named)?;
        self.walk(&whole, false, Walked::Named)?;
        let inside = heeding.iter().filter(|path| path.is_dir() && git::top_of(path).is_some());
        let mut tracked: BTreeSet<_> = inside.filter(|_| self.heeds_rules).cloned().collect();
        let mut seen = BTreeSet::new();
        loop {
            let tops = mem::take(&mut self.outcome().tops);
            if tops.is_empty() && tracked.is_empty() {
                break;
            }
            for top in &tops {
                self.scan_git_directories(top, &mut seen)?;
            }
            if self.heeds_rules {
                tracked.extend(tops);
            }
            for directory in mem::take(&mut tracked) {
                self.scan_tracked(&directory)?;
            }
        }
        for top in repositories {
            self.scan_git_directories(top, &mut seen)?;
        }
        Ok(self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner).report)
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether ignore rules count in a path that was named: not if all that is in it would be ignored.
    fn heeds_rules_in(&self, path: &Path) -> bool {
        let is_ruled = self.heeds_rules && path.is_dir() && git::top_of(path).is_some();
        !is_ruled || Repository::seen_from(path).ignores_new_files().is_ok_and(|ignores| !ignores)
    }

    /// Looks through the files that belong to the repository of a checkout.
    fn scan_git_directories(&self, top: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
        for directory in git::git_directories(top, self.skip) {
            if !seen.insert(fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone())) {
                continue;
            }
            self.walk(std::slice::from_ref(&directory), false, Walked::GitDirectory)?;
            // Where branches are no files, only git knows their names.
            if directory.join("reftable").is_dir() {
                let name = directory.join("reftable");
                let mut scanner = self.scanner()?;
                match Repository::seen_from(top).references() {
                    Ok(names) => {
                        let file = FileName::without_secrets(&mut scanner, name.as_os_str().as_bytes())?;
                        let found = scanner.find(&names)?.into_iter().map(|(_, finding)| finding);
                        let report = &mut self.outcome().report;
                        report
                            .found
                            .extend(found.map(|finding| FoundRecord::new(file.clone(), None, finding)));
                    }
                    Err(error) => self.outcome().report.unread(&name.display(), &error),
                }
            }
        }
        Ok(())
    }

    /// Looks through what git tracks in a directory and ignore rules left out.
    fn scan_tracked(&self, directory: &Path) -> Result<(), Failure> {
        let Ok(tracked) = Repository::seen_from(directory).tracked() else {
            return self.walk(&[directory.to_owned()], false, Walked::LeftOut);
        };
        let mut left_out = Vec::new();
        for path in tracked {
            let file = directory.join(&path);
            // What is not there was taken away, or was not checked out.
            let Ok(identity) = sources::identify(&file) else { continue };
            if !self.outcome().visited.contains(&identity) && !is_behind_link(directory, &path) {
                left_out.push(file);
            }
        }
        self.walk(&left_out, self.heeds_rules, Walked::LeftOut)
    }

    fn scanner(&self) -> Result<Scanner<SqliteStore>, pdkeys::Error> {
        Scanner::new(SqliteStore::open(self.place)?.for_many_keys()?, self.now)
    }

    fn walk(&self, roots: &[PathBuf], heeds: bool, walked: Walked) -> Result<(), Failure> {
        let Some((first, rest)) = roots.split_first() else { return Ok(()) };
        let mut walk = WalkBuilder::new(first);
        for path in rest {
            walk.add(path);
        }
        // What is hidden holds keys more than anything: `.env`.
        walk.hidden(false).ignore(false).parents(heeds);
        walk.git_ignore(heeds).git_global(heeds).git_exclude(heeds);
        walk.filter_entry(move |entry| entry.depth() == 0 || !is_left_to_git(entry));
        walk.build_parallel().run(|| {
            let mut worker = Worker {
                files: self,
                scanner: self.scanner().map_err(Some),
                walked,
                outcome: Outcome::default(),
            };
            Box::new(move |entry| worker.visit(entry))
        });
        match self.outcome().fault.take() {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }
}

/// Whether a path leads through a link below a directory: git does not track what is there.
fn is_behind_link(directory: &Path, path: &Path) -> bool {
    let parents = path.ancestors().filter(|parent| !parent.as_os_str().is_empty());
    parents.map(|parent| directory.join(parent)).any(|parent| parent.is_symlink())
}

/// Whether an entry is where git keeps a repository, or its objects.
fn is_left_to_git(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name == ".git" || (name == "objects" && entry.path().with_file_name("HEAD").is_file())
}

/// A thread of a walk.
struct Worker<'a> {
    files: &'a Files<'a>,
    /// Or what was wrong, until that is told.
    scanner: Result<Scanner<SqliteStore>, Option<pdkeys::Error>>,
    walked: Walked,
    outcome: Outcome,
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.files.outcome().append(mem::take(&mut self.outcome));
    }
}

impl Worker<'_> {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        match self.try_visit(entry) {
            Ok(()) => WalkState::Continue,
            Err(fault) => {
                self.outcome.fault = self.outcome.fault.take().or(fault);
                WalkState::Quit
            }
        }
    }

    fn try_visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> Result<(), Option<pdkeys::Error>> {
        let Self { files, scanner, walked, outcome } = self;
        let scanner = scanner.as_mut().map_err(Option::take)?;
        let report = &mut outcome.report;
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let told = FileName::without_secrets(scanner, error.to_string().as_bytes())?;
                report.unread.push(told.to_string());
                return Ok(());
            }
        };
        let path = entry.path();
        let is_named = entry.depth() == 0 && *walked == Walked::Named;
        let Some(kind) = entry.file_type() else { return Ok(()) };
        let file = scan_name(scanner, path, report)?;
        if kind.is_symlink() && !is_named {
            if let Ok(target) = fs::read_link(path) {
                scan_content(scanner, &mut target.as_os_str().as_bytes(), &file, report)?;
            }
            return Ok(());
        }
        let identity = match sources::identify(path) {
            Ok(identity) => identity,
            Err(error) => {
                report.unread(&file, &error);
                return Ok(());
            }
        };
        if *walked == Walked::LeftOut && files.outcome().visited.contains(&identity) {
            return Ok(());
        }
        if kind.is_dir() || kind.is_file() || is_named {
            outcome.visited.insert(identity);
        }
        if kind.is_dir() {
            if fs::symlink_metadata(path.join(".git")).is_ok() {
                outcome.tops.insert(path.to_owned());
            }
            return Ok(());
        }
        if !(kind.is_file() || is_named && kind.is_symlink()) {
            if is_named {
                report.unread(&file, &"not a file");
            }
            return Ok(());
        }
        match sources::open(path, identity, files.skip) {
            Ok(Opened::SkipSet) if is_named => report.unread(&file, &"it is a file of the store"),
            Ok(Opened::SkipSet | Opened::NoFile) => {}
            Ok(Opened::Content(mut content)) => scan_content(scanner, &mut *content, &file, report)?,
            Ok(Opened::Archive) => report.archives += 1,
            Err(error) => report.unread(&file, &error),
        }
        Ok(())
    }
}

/// Looks through the last part of a path, and gives the path without the secrets in it.
fn scan_name(
    scanner: &mut Scanner<SqliteStore>,
    path: &Path,
    report: &mut Report,
) -> Result<FileName, pdkeys::Error> {
    let bytes = path.as_os_str().as_bytes();
    let found = scanner.find(bytes)?;
    let file = FileName::with_found_taken_out(bytes, &found);
    let last = bytes.len() - path.file_name().map_or(0, OsStr::len);
    for (place, finding) in found {
        if place.end > last {
            report.found.insert(FoundRecord::in_name(file.clone(), finding));
        }
    }
    Ok(file)
}

fn scan_content(
    scanner: &mut Scanner<SqliteStore>,
    content: &mut dyn io::Read,
    file: &FileName,
    report: &mut Report,
) -> Result<(), pdkeys::Error> {
    match scan_one(scanner, content, file, report) {
        Ok(()) => Ok(()),
        Err(ScanError::Input(error)) => {
            report.unread(file, &error);
            Ok(())
        }
        Err(ScanError::Store(fault)) => Err(fault),
    }
}
