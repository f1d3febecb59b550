//! Finds out why SQLite cannot use a file: its own errors only say that it cannot open the file, or that it is
//! read-only.

use std::fs::{self, File};
use std::io;
use std::path::{self, Path};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::files::{beside, log_of};
use crate::error::{Error, ErrorKind, Refusal};
use crate::store::place::{directory_of, in_words};

/// The maximum length in bytes of a path that SQLite accepts: its buffer has 512, of which it reserves eight.
pub(super) const LONGEST_PATH: usize = 504;

/// Adds the path to an error of the operating system.
pub(super) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| ErrorKind::File { path: path.to_owned(), source }.into()
}

/// Returns an error that names the directory on the path, or the file itself, that this process may not use.
pub(super) fn permission_denied(path: &Path) -> Error {
    let mut way: Vec<_> = path.ancestors().map(in_words).collect();
    // From the root, in the order of the operating system. If the rest does not exist, it was to be created.
    way.reverse();
    let present = way.iter().take_while(|step| step.symlink_metadata().is_ok()).count();
    let closed = |step: &&&Path| step.is_dir() && !allows(step, Access::EXEC_OK);
    let what = way[..present].iter().find(closed).or(way[..present].last()).unwrap_or(&path);
    refuse(what, Refusal::PermissionDenied)
}

/// Returns the reason why SQLite cannot open a database.
pub(super) fn cannot_open(path: &Path) -> Error {
    // If even this fails, no more files can be opened.
    if let Err(error) = File::open("/")
        && [Errno::MFILE, Errno::NFILE]
            .map(|errno| Some(errno.raw_os_error()))
            .contains(&error.raw_os_error())
    {
        return file_error(path)(error);
    }
    if length_of(path) > LONGEST_PATH {
        return refuse(path, Refusal::TooLong { longest: LONGEST_PATH });
    }
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return ErrorKind::NoStore(path.to_owned()).into();
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return permission_denied(path),
        Err(error) => return file_error(path)(error),
    };
    if !found.is_file() {
        return refuse(path, Refusal::NotAFile);
    }
    for file in ["-wal", "-shm", "-journal"].map(|suffix| beside(path, suffix)) {
        match fs::metadata(&file) {
            Ok(found) if !found.is_file() => return refuse(&file, Refusal::NotAFile),
            Ok(_) if !allows(&file, Access::READ_OK) => return refuse(&file, Refusal::PermissionDenied),
            _ => {}
        }
    }
    if allows(path, Access::READ_OK) && !can_write(directory_of(path)) {
        let log = log_of(path);
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return refuse(&log, Refusal::UnreadableLog);
        }
        return refuse(directory_of(path), Refusal::PermissionDenied);
    }
    permission_denied(path)
}

/// Returns an error that names the file or directory because of which a database cannot be written.
pub(super) fn read_only(path: &Path) -> Error {
    let is_file_the_obstacle = path.exists() && !allows(path, Access::WRITE_OK);
    let what = if is_file_the_obstacle { path } else { directory_of(path) };
    refuse(what, Refusal::ReadOnly)
}

/// Returns the length in bytes of a path as SQLite resolves it.
pub(super) fn length_of(path: &Path) -> usize {
    path::absolute(path).as_deref().unwrap_or(path).as_os_str().len()
}

/// Returns true if this process can create files in a directory.
pub(super) fn can_write(directory: &Path) -> bool {
    allows(directory, Access::WRITE_OK | Access::EXEC_OK)
}

/// Returns true if the operating system grants this process access to a file. The file is not opened, because closing
/// it would release the locks that this process holds on it.
fn allows(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

fn refuse(path: &Path, refusal: Refusal) -> Error {
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}
