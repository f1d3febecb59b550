//! Checks that the files that SQLite has open are the ones found under their names.
//!
//! SQLite keeps its files open and never resolves their names again. Processes see each other's commits through the
//! write-ahead log (`-wal`) and its index (`-shm`). A process whose log is not the one beside the database therefore
//! sees no commit ever again, and cannot distinguish that from the absence of commits. Neither can `PRAGMA
//! data_version` or the header of the index: both compare the open index with its own earlier state.
//!
//! [`Watch::look`] therefore compares the open files with those found under their names:
//!
//! - Opening records which log and which index are in use. A process has one handle of an index for all its connections
//!   to a store, and keeps it until the last of them is closed. The entries of [`IN_USE`] have the same lifetime, and a
//!   connection that finds another index than the first connection did is refused.
//! - The names are resolved before and after SQLite opens the files. If both results are the same, SQLite has opened
//!   these files. If SQLite had to create them, the list of open files of the operating system decides.
//! - From then on each file must be a regular file under its name, with no second name, and on the same mount as its
//!   directory. Processes that reach the database through another name or a mount of the file alone use another log.
//!
//! Where no log or index can be created, as on a read-only medium, a database without a log is read *at rest*: SQLite
//! opens it as immutable and detects no changes. It is therefore examined before every use. It must not have been
//! written since it was opened, and no log, which precedes every change, may have been created beside it.
//!
//! A process whose files are displaced closes all its connections before it opens the store again. It does not write
//! the log back then, because the open log may be older than the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::files::{Identity, beside, itself, log_of, remove_second_links};
use super::obstacle::{can_write, file_error};
use crate::error::{Displacement, Error, ErrorKind, Refusal, Result};
use crate::store::place::directory_of;

fn displaced(path: &Path, how: Displacement) -> Error {
    ErrorKind::StoreRefused { path: path.to_owned(), refusal: Refusal::Displaced(how) }.into()
}

/// How long an index is that is in use, in bytes: SQLite maps it in pieces of this length, and never cuts it.
const SMALLEST_INDEX: u64 = 32_768;

/// The identities of a database's log and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Companions {
    log: Identity,
    index: Identity,
}

impl Companions {
    /// Returns the files beside a database, if both exist.
    fn at(database: &Path) -> Option<Self> {
        let identity = |path: PathBuf| fs::symlink_metadata(path).ok().map(|found| Identity::of(&found));
        Some(Self { log: identity(log_of(database))?, index: identity(index_of(database))? })
    }

    /// Returns whether this process has them open, or `None` if the operating system cannot tell.
    fn are_open(self) -> Option<bool> {
        let open: BTreeSet<_> = fs::read_dir("/dev/fd")
            .ok()?
            .filter_map(|entry| Some(Identity::of(&fs::metadata(entry.ok()?.path()).ok()?)))
            .collect();
        Some(open.contains(&self.log) && open.contains(&self.index))
    }
}

fn index_of(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

/// The state that all connections of this process to one database share.
#[derive(Debug, Default)]
struct InUse {
    /// The path of the database and the files beside it, as found by the first connection.
    companions: OnceLock<(PathBuf, Companions)>,
    /// A separate handle of the index. Closing any handle of a file releases all locks that the process holds on it, so
    /// this one is closed together with the last connection.
    index: OnceLock<Option<File>>,
}

/// The databases that this process has open.
static IN_USE: Mutex<BTreeMap<Identity, Arc<InUse>>> = Mutex::new(BTreeMap::new());

fn in_use() -> MutexGuard<'static, BTreeMap<Identity, Arc<InUse>>> {
    // No operation leaves the map in an inconsistent state, so a panic of another thread does not matter.
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of a file, and its times of modification and status change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    written: (u64, i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            written: (found.size(), found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Returns true if size and modification time are the same.
    pub(super) fn is_written_as(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// The stamps of the files of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) database: Stamp,
    pub(super) log: Stamp,
}

/// A watch of the files of an open database.
///
/// It is created before SQLite opens them and dropped after SQLite has closed them, while no other thread does either
/// ([`WatchedConnection`](super::connection::WatchedConnection)).
#[derive(Debug)]
pub(super) struct Watch {
    /// The path of the database, with links resolved.
    path: PathBuf,
    database: Identity,
    before: Option<Companions>,
    /// The state of the database if it is read at rest.
    at_rest: Option<Stamp>,
    in_use: Arc<InUse>,
}

impl Watch {
    /// Examines a database that is about to be opened.
    ///
    /// # Errors
    /// If it does not exist, or another process could reach it under another name.
    pub(super) fn begin(database: &Path) -> Result<Self> {
        let path = itself(database);
        let found = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            IoErrorKind::NotFound => ErrorKind::NoStore(database.to_owned()).into(),
            _ => file_error(database)(error),
        })?;
        let identity = Identity::of(&found);
        if found.nlink() > 1 {
            // Its temporary name is removed in a moment, or was left by a killed process.
            remove_second_links(&path, identity);
        }
        let mount = mount_of(directory_of(&path));
        only_name_of(&path, identity, mount)?;
        refuse_what_is_no_file(&path)?;
        let before = Companions::at(&path);
        let at_rest = if before.is_none() { stamp_at_rest(&path)? } else { None };
        let in_use = Arc::clone(in_use().entry(identity).or_default());
        let watch = Self { path, database: identity, before, at_rest, in_use };
        if watch.at_rest.is_none() && watch.in_use.companions.get().is_some() {
            // Before SQLite creates missing files.
            watch.look()?;
        }
        Ok(watch)
    }

    /// Returns the resolved path to open the database at. A link could lead elsewhere by then.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the identity of the database.
    pub(super) fn database(&self) -> Identity {
        self.database
    }

    /// Returns true if the database is read at rest, so that it must be examined before every use.
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest.is_some()
    }

    /// Returns true if the log and its index exist. SQLite creates them at the first read of a database in write-ahead
    /// mode.
    pub(super) fn has_companions(&self) -> bool {
        Companions::at(&self.path).is_some()
    }

    /// Records the log and the index that SQLite uses. Called after the first read.
    ///
    /// # Errors
    /// If they are not the ones beside the database, or other connections of this process use different ones.
    pub(super) fn settle(&self) -> Result<()> {
        if self.is_at_rest() {
            return self.look().map(drop);
        }
        let index = index_of(&self.path);
        let found = Companions::at(&self.path).ok_or_else(|| displaced(&index, Displacement::Gone))?;
        let are_open = self.before == Some(found) || found.are_open() != Some(false);
        let (_, first) = self.in_use.companions.get_or_init(|| (self.path.clone(), found));
        if !are_open || *first != found {
            return Err(displaced(&index, Displacement::Replaced));
        }
        self.look().map(drop)
    }

    /// Checks that the files in use are still the ones found under their names.
    ///
    /// # Errors
    /// If one of them was moved, replaced, linked, mounted or removed.
    pub(super) fn look(&self) -> Result<Stamps> {
        let mount = mount_of(directory_of(&self.path));
        let database = only_name_of(&self.path, self.database, mount)?;
        if let Some(at_rest) = self.at_rest {
            let database = Stamp::of(&database);
            if database != at_rest || waits_beside(&self.path) {
                return Err(displaced(&self.path, Displacement::Awake));
            }
            return Ok(Stamps { database, log: database });
        }
        let index = index_of(&self.path);
        let (path, companions) =
            self.in_use.companions.get().ok_or_else(|| displaced(&index, Displacement::Gone))?;
        if *path != self.path {
            return Err(displaced(path, Displacement::Replaced));
        }
        let log = only_name_of(&log_of(&self.path), companions.log, mount)?;
        if only_name_of(&index, companions.index, mount)?.size() < SMALLEST_INDEX {
            // SQLite has it mapped: reading what was cut off would end the process.
            return Err(displaced(&index, Displacement::Overwritten));
        }
        Ok(Stamps { database: Stamp::of(&database), log: Stamp::of(&log) })
    }

    /// Returns the index of the log, if it can be read.
    pub(super) fn index(&self) -> Option<&File> {
        self.in_use.index.get().map_or_else(|| self.open_index(), Option::as_ref)
    }

    fn open_index(&self) -> Option<&File> {
        // One thread at a time: a second handle would have to be closed.
        let _in_use = in_use();
        let index = self.in_use.index.get_or_init(|| {
            let (_, companions) = self.in_use.companions.get()?;
            let file = File::open(index_of(&self.path)).ok()?;
            // If it is another file, no connection of this process uses it, and closing it is safe.
            (Identity::of(&file.metadata().ok()?) == companions.index).then_some(file)
        });
        index.as_ref()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = in_use();
        let own = std::mem::take(&mut self.in_use);
        // One reference is `own`, the other is in the map.
        if Arc::strong_count(&own) == 2 {
            all.remove(&self.database);
        }
        // Close the index before another thread can open the database again.
        drop(own);
    }
}

/// How long a file must be unchanged for its next change to be visible in its timestamps.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// Returns the state of a database to be read at rest, if it has no log and none can be created.
fn stamp_at_rest(path: &Path) -> Result<Option<Stamp>> {
    let directory = directory_of(path);
    if can_write(directory) || waits_beside(path) {
        return Ok(None);
    }
    let look = || fs::symlink_metadata(path).map_err(file_error(path));
    let age = look()?.modified().ok().and_then(|written| written.elapsed().ok());
    if age.is_some_and(|age| age < CLOCK_TICK) {
        thread::sleep(CLOCK_TICK);
    }
    Ok(Some(Stamp::of(&look()?)))
}

/// Returns true if a log or a journal beside a database has changes to apply or to roll back.
fn waits_beside(path: &Path) -> bool {
    [log_of(path), beside(path, "-journal")]
        .iter()
        .any(|file| fs::symlink_metadata(file).is_ok_and(|found| found.len() > 0))
}

/// Refuses what lies where SQLite has its files and is none: opening a pipe would wait for good, and a link may lead to
/// the files of another.
fn refuse_what_is_no_file(database: &Path) -> Result<()> {
    for suffix in ["-journal", "-wal", "-shm"] {
        let path = beside(database, suffix);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(ErrorKind::StoreRefused { path, refusal: Refusal::NotAFile }.into());
        }
    }
    Ok(())
}

/// Checks that a path leads to a file that has no second name and is on the same mount as its directory.
fn only_name_of(path: &Path, file: Identity, mount: Mount) -> Result<Metadata> {
    let found = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        IoErrorKind::NotFound => displaced(path, Displacement::Gone),
        _ => file_error(path)(error),
    })?;
    let how = if Identity::of(&found) != file || found.is_symlink() {
        Displacement::Replaced
    } else if !found.is_file() {
        return Err(ErrorKind::StoreRefused { path: path.to_owned(), refusal: Refusal::NotAFile }.into());
    } else if found.nlink() != 1 {
        Displacement::Linked(found.nlink())
    } else if mount_of(path) != mount {
        Displacement::Mounted
    } else {
        return Ok(found);
    };
    Err(displaced(path, how))
}

/// The id of a mount, if the operating system provides it.
type Mount = Option<u64>;

/// Returns the mount of a path. The device is not sufficient: a file that is mounted over itself, or over another file
/// of the same file system, is on the same device.
#[cfg(target_os = "linux")]
fn mount_of(path: &Path) -> Mount {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
    // Linux before 5.8 does not provide it.
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_of(path: &Path) -> Mount {
    fs::symlink_metadata(path).ok().map(|found| found.dev())
}
