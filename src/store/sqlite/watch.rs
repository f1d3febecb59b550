//! Whether the files that SQLite has open are the ones that others find.
//!
//! SQLite holds its files open and never looks at their names again. All processes see each other's commits by the
//! write-ahead log (`-wal`) and its index (`-shm`), so a process whose log is not the one beside the database sees
//! nothing, for good, and takes that for "nothing was committed". SQLite cannot tell, and neither `PRAGMA
//! data_version` nor the index's header can: both compare what is in the open index with what was there before.
//!
//! So the files are compared with their names, by [`Watch::look`]:
//!
//! - Opening records which log and which index are in use. A process has one handle on an index, however many
//!   connections it has to the store, and keeps it until the last of them is closed: [`IN_USE`] has the same life, and
//!   a connection that finds another index than the first one did is refused.
//! - SQLite opens them by name, and so does a look at their names before and after: where both looks see the same
//!   files, SQLite has opened those. Where it had to make them, the operating system says which files are open.
//! - From then on each must be a plain file under its name, with no second name, and on the mount of its directory. Under
//!   another name, or through a mount of the database alone, others would use another log.
//!
//! Where SQLite can make neither log nor index, on a read-only medium, a database that has none is read as it lies there,
//! *at rest*. SQLite takes it for a file that nobody changes then, and notices nothing. So it is looked at before every
//! use: it must not have been written since, and nobody may have begun a log beside it, which comes before any change.
//!
//! A process that finds its files displaced closes all its connections before it opens the store anew, and writes
//! nothing back while it does: the log that it has open may be older than what is in the database by then.

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

/// The log of a database and the log's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Companions {
    log: Identity,
    index: Identity,
}

impl Companions {
    /// Those beside a database, if both are there.
    fn at(database: &Path) -> Option<Self> {
        let identity = |path: PathBuf| fs::symlink_metadata(path).ok().map(|found| Identity::of(&found));
        Some(Self { log: identity(log_of(database))?, index: identity(index_of(database))? })
    }

    /// Whether this process has them open, if the operating system says so.
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

/// What the connections of this process to one database share.
#[derive(Debug, Default)]
struct InUse {
    /// Where the database was found by the first, and what lay beside it.
    companions: OnceLock<(PathBuf, Companions)>,
    /// A handle of our own on the index. Closing any handle of a file lets go of all the locks that the process has on
    /// it, so it is closed with the last connection, as a part of closing it.
    index: OnceLock<Option<File>>,
}

/// The databases that this process has open.
static IN_USE: Mutex<BTreeMap<Identity, Arc<InUse>>> = Mutex::new(BTreeMap::new());

fn in_use() -> MutexGuard<'static, BTreeMap<Identity, Arc<InUse>>> {
    // A map is whole at every moment, whichever thread panicked.
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of a file and when it was last written and changed.
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

    /// Whether a file was written between two looks, as far as it says so itself.
    pub(super) fn is_written_as(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// What a look at the files of a database found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) database: Stamp,
    pub(super) log: Stamp,
}

/// The files of a database that is open. Made before SQLite opens them, and dropped after it has closed them, in the
/// turn of both ([`WatchedConnection`](super::connection::WatchedConnection)).
#[derive(Debug)]
pub(super) struct Watch {
    /// Where the database itself is, links followed.
    path: PathBuf,
    database: Identity,
    before: Option<Companions>,
    /// The database as it lies there without a log, if none can be made.
    at_rest: Option<Stamp>,
    in_use: Arc<InUse>,
}

impl Watch {
    /// Looks at a database that is about to be opened.
    ///
    /// # Errors
    /// If it is not there, or is not to be used as it lies there.
    pub(super) fn begin(database: &Path) -> Result<Self> {
        let path = itself(database);
        let found = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            IoErrorKind::NotFound => ErrorKind::NoStore(database.to_owned()).into(),
            _ => file_error(database)(error),
        })?;
        let identity = Identity::of(&found);
        if found.nlink() > 1 {
            // Its making gave it a second name for a moment, or for good if it was killed.
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
            // Before SQLite makes what is missing.
            watch.look()?;
        }
        Ok(watch)
    }

    /// Where the database is to be opened: where a link leads to now may be elsewhere a moment later.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which file the database is.
    pub(super) fn database(&self) -> Identity {
        self.database
    }

    /// Whether the database is read as it lies there, and so must be looked at before every use.
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest.is_some()
    }

    /// Whether the log and its index are there. SQLite makes them at the first read of a database in write-ahead mode.
    pub(super) fn has_companions(&self) -> bool {
        Companions::at(&self.path).is_some()
    }

    /// Takes note of the log and the index that SQLite uses, once it has read something.
    ///
    /// # Errors
    /// If they are not the ones beside the database, or not those of the other connections of this process.
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

    /// Makes sure that the files in use are still the ones that others find.
    ///
    /// # Errors
    /// If they are not.
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

    /// The index of the log, if it can be read.
    pub(super) fn index(&self) -> Option<&File> {
        self.in_use.index.get().map_or_else(|| self.open_index(), Option::as_ref)
    }

    fn open_index(&self) -> Option<&File> {
        // One thread at a time: of two handles one would have to be closed.
        let _in_use = in_use();
        let index = self.in_use.index.get_or_init(|| {
            let (_, companions) = self.in_use.companions.get()?;
            let file = File::open(index_of(&self.path)).ok()?;
            // Another file is in use by no connection of this process, and can be closed.
            (Identity::of(&file.metadata().ok()?) == companions.index).then_some(file)
        });
        index.as_ref()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = in_use();
        let own = std::mem::take(&mut self.in_use);
        // One is this one's, the other is the map's.
        if Arc::strong_count(&own) == 2 {
            all.remove(&self.database);
        }
        // Closed before another thread can open the database again.
        drop(own);
    }
}

/// How long a file must have been left alone for the clock of its file system to show the next change.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// What a database without a log is like, if none can be made beside it.
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

/// Whether changes wait beside a database, to be written to it or taken back.
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

/// Makes sure that a name is that of a file, which has no other and is mounted with its directory.
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

/// What tells one mount from another, where the operating system says so.
type Mount = Option<u64>;

/// The mount that a file is found on. Its device does not say: a file that is mounted over itself, or over another of
/// the same file system, is on the same device.
#[cfg(target_os = "linux")]
fn mount_of(path: &Path) -> Mount {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
    // Linux before 5.8 leaves it out.
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_of(path: &Path) -> Mount {
    fs::symlink_metadata(path).ok().map(|found| found.dev())
}
