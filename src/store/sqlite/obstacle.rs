//! What keeps SQLite from a file. It says of everything that it cannot open the file, or that it is read-only.

use std::fs::{self, File};
use std::io;
use std::path::{self, Path};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::files::{beside, log_of};
use crate::error::{Error, ErrorKind, Refusal};
use crate::store::place::{directory_of, in_words};

/// The longest path that SQLite takes: it keeps room for eight more bytes within 512.
pub(super) const LONGEST_PATH: usize = 504;

/// Names the file in what the operating system says.
pub(super) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| ErrorKind::File { path: path.to_owned(), source }.into()
}

/// Names what on the way to a file, or in its place, this process may not use.
pub(super) fn permission_denied(path: &Path) -> Error {
    let mut way: Vec<_> = path.ancestors().map(in_words).collect();
    // From the root, as the operating system goes; where nothing more is there, something was to be made.
    way.reverse();
    let present = way.iter().take_while(|step| step.symlink_metadata().is_ok()).count();
    let closed = |step: &&&Path| step.is_dir() && !allows(step, Access::EXEC_OK);
    let what = way[..present].iter().find(closed).or(way[..present].last()).unwrap_or(&path);
    refuse(what, Refusal::PermissionDenied)
}

/// Tells why SQLite could not open a database.
pub(super) fn cannot_open(path: &Path) -> Error {
    // Of no use to what follows, if it fails too.
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

/// Names what keeps a database from being written.
pub(super) fn read_only(path: &Path) -> Error {
    let is_file_the_obstacle = path.exists() && !allows(path, Access::WRITE_OK);
    let what = if is_file_the_obstacle { path } else { directory_of(path) };
    refuse(what, Refusal::ReadOnly)
}

/// The length of a path as SQLite sees it, in bytes.
pub(super) fn length_of(path: &Path) -> usize {
    path::absolute(path).as_deref().unwrap_or(path).as_os_str().len()
}

/// Whether this process can make files in a directory.
pub(super) fn can_write(directory: &Path) -> bool {
    allows(directory, Access::WRITE_OK | Access::EXEC_OK)
}

/// Whether the operating system lets this process do something with a file. The file is not opened: closing it would
/// let go of the locks that this process has on it.
fn allows(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

fn refuse(path: &Path, refusal: Refusal) -> Error {
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}
