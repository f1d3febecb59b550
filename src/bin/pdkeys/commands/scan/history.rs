//! Scans everything in a git repository: history, index, stash, and unreachable objects.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pdkeys::scan::{Finding, ScanError, Scanner};
use pdkeys::store::sqlite::SqliteStore;

use super::report::{FileName, FoundRecord, Report};
use crate::failure::Failure;
use crate::input::git::{self, Kind, Object, Repository};

/// What was found in an object whose place is yet to be found.
struct Unplaced {
    object: String,
    /// Of a tree, the name that holds it.
    name: Option<Vec<u8>>,
    finding: Finding,
}

/// Looks through a repository and its submodules, each once, and tells what of it is not here.
pub(super) fn scan(
    scanner: &mut Scanner<SqliteStore>,
    repository: &Repository,
    seen: &mut BTreeSet<PathBuf>,
    report: &mut Report,
) -> Result<(), Failure> {
    let called = format!("the history of {}", repository.directory().display());
    let directory = match repository.git_directory() {
        Ok(directory) => directory,
        Err(error) => {
            report.unread(&called, &error);
            return Ok(());
        }
    };
    if !seen.insert(directory.clone()) {
        return Ok(());
    }
    for why in repository.missing_history(&directory) {
        report.unread.push(format!("{called} was read in part: {why}"));
    }
    let submodules = match repository.submodules(&directory) {
        Ok(submodules) => submodules,
        Err(error) => {
            report.unread(&called, &error);
            return Ok(());
        }
    };
    let mut unplaced = Vec::new();
    match repository.each(|object, size, content| scan_object(scanner, object, size, content, &mut unplaced))
    {
        Ok(()) => {}
        Err(ScanError::Input(error)) => report.unread(&called, &error),
        Err(ScanError::Store(error)) => return Err(error.into()),
    }
    place(scanner, repository, unplaced, &called, report)?;
    for submodule in submodules {
        if let Some(repository) = submodule.repository {
            scan(scanner, &repository, seen, report)?;
        } else {
            let path = FileName::without_secrets(scanner, &submodule.path)?;
            report.unread(&format!("the history of submodule {path}"), &"it is not here");
        }
    }
    Ok(())
}

fn scan_object(
    scanner: &mut Scanner<SqliteStore>,
    object: &Object,
    size: u64,
    content: &mut dyn std::io::Read,
    unplaced: &mut Vec<(Kind, Unplaced)>,
) -> Result<(), ScanError> {
    let kind = object.kind;
    if kind == Kind::Tree {
        let names = git::names_in_tree(object, size, content)?;
        for (_, finding) in scanner.find(&names)? {
            let name = Some(git::name_in_line(&names, finding.line));
            let finding = Finding { line: 0, ..finding };
            unplaced.push((kind, Unplaced { object: object.name.clone(), name, finding }));
        }
        return Ok(());
    }
    scanner.scan(content, &mut |finding| {
        unplaced.push((kind, Unplaced { object: object.name.clone(), name: None, finding }));
    })
}

/// Reports what was found, at each place at which it came into the history.
fn place(
    scanner: &mut Scanner<SqliteStore>,
    repository: &Repository,
    unplaced: Vec<(Kind, Unplaced)>,
    called: &str,
    report: &mut Report,
) -> Result<(), Failure> {
    let blobs =
        unplaced.iter().filter(|(kind, _)| *kind == Kind::Blob).map(|(_, found)| found.object.clone());
    let names = unplaced.iter().filter_map(|(_, found)| found.name.clone());
    let (places, error) = repository.places(blobs, names);
    if let Some(error) = error {
        report.unread.push(format!("{called} does not say where all that was found came in: {error}"));
    }
    for (kind, Unplaced { object, name, finding }) in unplaced {
        let introduced = match (kind, &name) {
            (Kind::Commit, _) => {
                let file = FileName::from("(commit message)");
                report.found.insert(FoundRecord::new(file, Some(object), finding));
                continue;
            }
            (Kind::Tag, _) => {
                let file = FileName::from("(tag message)");
                report.found.insert(FoundRecord::new(file, Some(object), finding));
                continue;
            }
            (_, Some(name)) => places.of_name(name),
            (_, None) => places.of_blob(&object),
        };
        if introduced.is_empty() {
            let file = FileName::from(format!("(git object {object})").as_str());
            report.found.insert(FoundRecord::new(file, None, finding.clone()));
        }
        for place in introduced {
            let file = FileName::without_secrets(scanner, &repository.named(&place.path))?;
            report.found.insert(FoundRecord::new(file, place.commit, finding.clone()));
        }
    }
    Ok(())
}
