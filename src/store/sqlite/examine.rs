//! Examines the files of a store for faults.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::files::{is_draft_of, is_there, log_of, mode_of_others};
use super::{BUSY_TIMEOUT, SqliteStore, backup, file_error, usage};
use crate::error::{ErrorKind, Result};
use crate::store::{Chain, ExamineStore, Fault, Replay, Store as _, verify_audit, verify_state};

/// The maximum number of differences between trail and state to list.
const LISTED: usize = 20;

impl ExamineStore for SqliteStore {
    fn examine(&mut self) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        // Before the files: reading the store key removes the second name that a killed process may have left.
        let keyring = self.load_keyring().cloned();
        self.end_read()?;
        self.examine_files(&mut faults)?;
        match backup::examine_pages(&self.main) {
            Ok(()) => {}
            Err(error) => match error.kind() {
                ErrorKind::Damaged(why) => faults.push(Fault::Damaged(why.clone())),
                _ => return Err(error),
            },
        }
        let is_whole = !faults.iter().any(|fault| matches!(fault, Fault::Damaged(_)));
        match keyring {
            // The state of a damaged store is not compared with the trail.
            Ok(keyring) if is_whole => match verify_state(&mut self.read()?, &keyring, None)? {
                (Chain::BrokenAt(number), _) => faults.push(Fault::BrokenChain(number)),
                (Chain::Intact(_), replay) => faults.extend(differences(replay.unwrap_or_default())),
            },
            Ok(keyring) => match verify_audit(&mut self.read()?, &keyring, None)? {
                Chain::Intact(_) => {}
                Chain::BrokenAt(number) => faults.push(Fault::BrokenChain(number)),
            },
            Err(error) => match error.kind() {
                ErrorKind::StoreKey { .. } => faults.push(Fault::StoreKey(error)),
                _ => return Err(error),
            },
        }
        if is_there(&self.place.usage())
            && let Err(error) = usage::open(&self.place, BUSY_TIMEOUT)
        {
            faults.push(Fault::UsageFile(error));
        }
        Ok(faults)
    }
}

impl SqliteStore {
    /// Examines the permissions of the files, and finds files that earlier processes left beside them.
    fn examine_files(&self, faults: &mut Vec<Fault>) -> Result<()> {
        let database = self.place.database();
        let directory = self.place.directory();
        let usage = self.place.usage();
        faults.extend(exposed(directory));
        // A log gets the mode that its database has when the log is created.
        for path in [database, &usage] {
            faults.extend(exposed(path).or_else(|| exposed(&log_of(path))));
        }
        let entries = fs::read_dir(directory).map_err(file_error(directory))?;
        for entry in entries {
            let path = entry.map_err(file_error(directory))?.path();
            if [database, &usage, self.place.store_key()].iter().any(|file| is_draft_of(file, &path)) {
                faults.push(Fault::LeftBehind(path));
            } else if self.place.has_replaced(&path) {
                faults.push(Fault::Replaced(path));
            }
        }
        Ok(())
    }
}

/// Returns the differences that a replay found, as faults.
fn differences(replay: Replay) -> Vec<Fault> {
    let Replay { mut differences, count, .. } = replay;
    differences.truncate(LISTED);
    let further = count - differences.len() as u64;
    let further = (further > 0).then_some(Fault::DiffersFurther(further));
    differences.into_iter().map(Fault::Differs).chain(further).collect()
}

/// Returns a fault if other users can read a file or a directory.
fn exposed(path: &Path) -> Option<Fault> {
    // A missing file exposes nothing.
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    mode_of_others(mode).then(|| Fault::Exposed { path: path.to_owned(), mode })
}
