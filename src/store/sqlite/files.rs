//! The files of a store: who may touch them, how they come into being.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::obstacle::{LONGEST_PATH, length_of, permission_denied};
use super::{Exposed, file_error, schema, sync_directory};
use crate::error::{Conflict, Error, ErrorKind, KeyFault, Refusal, Result};
use crate::model::StoreKey;
use crate::ports::Entropy;
use crate::store::Place;
use crate::store::place::{DRAFT, MOST_LINKS, directory_of};

const READABLE_BY_OTHERS: u32 = 0o044;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// The mode of a credential as systemd hands it to a service: root's own, and open to that service's user by an access
/// list, whose mask stands where the group's rights would.
const HANDED_OVER: u32 = 0o440;

fn refuse(path: &Path, refusal: Refusal) -> Error {
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Makes sure that the file is still the one of its name.
    pub(super) fn is_still_at(self, path: &Path) -> Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if Self::of(&metadata) == self => Ok(()),
            _ => Err(ErrorKind::NoStore(path.to_owned()).into()),
        }
    }
}

/// Looks at the files before SQLite does, which would write beside whatever it opens. Gives which
/// file it is, and those that others can read.
///
/// # Errors
/// If there is no store, it is something else, or others own it or can write it.
pub(super) fn guard(place: &Place) -> Result<(Identity, Vec<Exposed>)> {
    let path = place.database();
    if guard_way_to_database(place)? == Way::Ends {
        return Err(ErrorKind::NoStore(path.to_owned()).into());
    }
    let cannot = |error: std::io::Error| match error.kind() {
        IoErrorKind::NotFound => ErrorKind::NoStore(path.to_owned()).into(),
        IoErrorKind::PermissionDenied => permission_denied(path),
        IoErrorKind::NotADirectory => refuse(path, Refusal::NotAFile),
        _ => file_error(path)(error),
    };
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(refuse(path, Refusal::NotAFile));
    }
    let mode = guard_from_others(place, path, &metadata)?;
    guard_directory(place)?;
    let identity = Identity::of(&metadata);
    guard_content(path, identity)?;
    let exposed = mode & READABLE_BY_OTHERS != 0;
    let exposed = exposed.then(|| Exposed { path: path.to_owned(), mode }).into_iter().collect();
    Ok((identity, exposed))
}

/// The files whose header this process has looked at.
static LOOKED_INTO: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

/// Makes sure that a file is a store: SQLite would write beside it before it finds out.
///
/// Once a process, and before it connects to the file: closing any handle of a file lets go of all the locks that the
/// process has on it (POSIX would have it so), SQLite's own included. Without them another process takes itself for
/// the last user of the store, and removes the write-ahead log under this one, which would see no change ever after.
fn guard_content(path: &Path, identity: Identity) -> Result<()> {
    let mut looked_into = LOOKED_INTO.lock().unwrap_or_else(PoisonError::into_inner);
    if looked_into.contains(&identity) {
        return Ok(());
    }
    let cannot = |error: std::io::Error| match error.kind() {
        IoErrorKind::UnexpectedEof => refuse(path, Refusal::NotAStore),
        IoErrorKind::PermissionDenied => permission_denied(path),
        _ => file_error(path)(error),
    };
    let file = File::open(path).map_err(cannot)?;
    // Gives whether there is a log.
    let look = || -> Result<bool> {
        let has_log = has_log(path);
        let mut header = [0; schema::HEADER_LEN];
        file.read_exact_at(&mut header, 0).map_err(cannot)?;
        schema::check_header(&header).map_err(|refusal| refuse(path, refusal))?;
        if !has_log {
            let length = file.metadata().map_err(cannot)?.len();
            schema::check_length(&header, length).map_err(|refusal| refuse(path, refusal))?;
        }
        Ok(has_log)
    };
    // Another process may have begun to write, and then its log back into the file, after the look at the log: what is
    // cut off is so at the second glance too.
    let has_log = look().or_else(|_| look())?;
    if has_log && !beside(&itself(path), "-shm").exists() {
        schema::refuse_newer(path)?;
    }
    looked_into.insert(identity);
    Ok(())
}

/// Whether there is anything of a name. A link that leads nowhere, or a name that cannot be looked at, is no absence.
pub(super) fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == IoErrorKind::NotFound)
}

/// Whether changes wait in a write-ahead log beside a database.
pub(super) fn has_log(database: &Path) -> bool {
    fs::metadata(log_of(&itself(database))).is_ok_and(|log| log.len() > 0)
}

/// The file that a link leads to, beside which SQLite puts its own.
pub(super) fn itself(database: &Path) -> PathBuf {
    fs::canonicalize(database).unwrap_or_else(|_| database.to_owned())
}

/// Whether permission bits let others read.
pub(super) fn mode_of_others(mode: u32) -> bool {
    mode & READABLE_BY_OTHERS != 0
}

/// Who can write the directory can put another file in the store's place, or a write-ahead log beside it.
fn guard_directory(place: &Place) -> Result<()> {
    let directory = place.directory();
    let metadata = fs::metadata(directory).map_err(file_error(directory))?;
    guard_from_others(place, directory, &metadata).map(drop)
}

/// Refuses what others own or can write. Its owner can always write it, and a service account that anybody may tell
/// which store to use would write where its callers point it: beside their file, through their links. Gives the
/// permission bits.
pub(super) fn guard_from_others(place: &Place, path: &Path, metadata: &Metadata) -> Result<u32> {
    let uid = metadata.uid();
    if !place.trusts(uid) {
        return Err(refuse(path, Refusal::OwnedByOthers { uid }));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(refuse(path, Refusal::WritableByOthers { mode }));
    }
    Ok(mode)
}

/// How far the steps of a path were there to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Way {
    /// All of them. What is at their end can be used by its path.
    Whole,
    /// Not all. What is found by the path a moment later was never looked at: it may lie behind a step that another
    /// user has put there since.
    Ends,
}

/// Refuses a path that another operating-system user can make lead elsewhere: through a directory or a link that
/// belongs to neither the process nor root, or a directory that others can write. What this lets pass leads to the
/// same file afterwards, too: only those who are trusted can change a step of the way, so that the path is as good as
/// an open handle, and SQLite, which wants a path, can be given it.
///
/// Each step is looked at only after the one before it was found to be safe. A step that is not there ends the way.
/// In a sticky directory, such as `/tmp`, others can make entries but cannot touch those of a trusted user. A link that
/// leads to what a process has open, as those in `/proc` do, is refused: its text is not where it leads.
pub(super) fn guard_way(place: &Place, path: &Path) -> Result<Way> {
    let Some(trusted) = place.trusted() else { return Ok(Way::Whole) };
    if path.is_relative() {
        let here = fs::canonicalize(".").map_err(file_error(path))?;
        if guard_steps(&trusted, &here)? == Way::Ends {
            return Err(ErrorKind::NoStore(path.to_owned()).into());
        }
        let identity = |path: &Path| fs::metadata(path).map(|metadata| Identity::of(&metadata));
        // The directory may have been moved between the question for its name and the look at it.
        if identity(&here).map_err(file_error(&here))?
            != identity(Path::new(".")).map_err(file_error(path))?
        {
            return Err(ErrorKind::NoStore(path.to_owned()).into());
        }
        return guard_steps(&trusted, &here.join(path));
    }
    guard_steps(&trusted, path)
}

/// Does the same for the database, and for the link by which it was named.
pub(super) fn guard_way_to_database(place: &Place) -> Result<Way> {
    let way = guard_way(place, place.named())?;
    // A link that was taken away or changed was followed unseen.
    if !place.leads_to_database() {
        return Err(ErrorKind::NoStore(place.named().to_owned()).into());
    }
    if place.named() == place.database() {
        return Ok(way);
    }
    match guard_way(place, place.database())? {
        Way::Whole => Ok(way),
        Way::Ends => Ok(Way::Ends),
    }
}

fn guard_steps(trusted: &[u32], path: &Path) -> Result<Way> {
    let step_of = |component: Component<'_>| component.as_os_str().to_owned();
    let mut ahead: Vec<OsString> = path.components().rev().map(step_of).collect();
    // Without a link in it, so that `..` leads to what stands before it.
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        let metadata = match fs::symlink_metadata(&next) {
            Ok(metadata) => metadata,
            Err(error) => match error.kind() {
                IoErrorKind::NotFound | IoErrorKind::NotADirectory => return Ok(Way::Ends),
                IoErrorKind::PermissionDenied => return Err(permission_denied(&next)),
                _ => return Err(file_error(&next)(error)),
            },
        };
        let uid = metadata.uid();
        if !trusted.contains(&uid) {
            return Err(refuse(&next, Refusal::OwnedByOthers { uid }));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(file_error(path)(std::io::Error::other("too many links")));
            }
            if is_of_processes(&at) {
                return Err(refuse(&next, Refusal::LinkOfProcess));
            }
            let target = fs::read_link(&next).map_err(file_error(&next))?;
            ahead.extend(target.components().rev().map(step_of));
            continue;
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() && mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
            return Err(refuse(&next, Refusal::WritableByOthers { mode }));
        }
        at = next;
    }
    Ok(Way::Whole)
}

/// Whether a directory is one in which links lead to what processes have open, whatever their text is.
#[cfg(target_os = "linux")]
fn is_of_processes(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|found| found.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_of_processes(_: &Path) -> bool {
    false
}

/// Makes the directory of a new store, for its owner alone, or looks at the one that is there.
pub(super) fn make_directory(place: &Place) -> Result<()> {
    let directory = place.directory();
    // What is not there yet, another may make meanwhile.
    let _ = guard_way_to_database(place)?;
    guard_length(place)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| match error.kind() {
        IoErrorKind::PermissionDenied => permission_denied(directory),
        _ => file_error(directory)(error),
    })?;
    if guard_way(place, directory)? == Way::Ends {
        return Err(ErrorKind::NoStore(directory.to_owned()).into());
    }
    guard_directory(place)
}

/// Refuses a path that leaves no room for the longest name beside it, which is that of a usage file in the making.
fn guard_length(place: &Place) -> Result<()> {
    let database = place.database();
    let room = draft_name(&place.usage(), 0).len().saturating_sub(name_len(database));
    let longest = LONGEST_PATH - room.min(LONGEST_PATH);
    if length_of(database) > longest { Err(refuse(database, Refusal::TooLong { longest })) } else { Ok(()) }
}

fn name_len(path: &Path) -> usize {
    path.file_name().unwrap_or_default().len()
}

/// The name of a file in the making.
fn draft_name(target: &Path, random: u64) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{random:016x}{DRAFT}"));
    name
}

/// Refuses to make a store where there is one, or another one has its files under the same names; or where the
/// write-ahead log of one was left behind: SQLite would lay that over the new file.
pub(super) fn refuse_remains(place: &Place) -> Result<()> {
    let database = place.database();
    if fs::symlink_metadata(database).is_ok() {
        return Err(ErrorKind::StoreExists(database.to_owned()).into());
    }
    if let Some(other) = place.namesake() {
        return Err(Conflict::Namesake { database: database.to_owned(), other }.into());
    }
    if place.has_key_among_databases() {
        return Err(Conflict::StoresOwnName(place.store_key().to_owned()).into());
    }
    let log = log_of(database);
    match fs::symlink_metadata(&log) {
        // An empty one, as a check leaves it, has nothing to lay over anything.
        Ok(metadata) if metadata.len() > 0 => {
            // Between the two looks another process may have made the store, and begun to use it.
            if fs::symlink_metadata(database).is_ok() {
                return Err(ErrorKind::StoreExists(database.to_owned()).into());
            }
            Err(Conflict::LeftOver(log).into())
        }
        _ => Ok(()),
    }
}

/// The write-ahead log of a database.
pub(super) fn log_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// A file of SQLite's beside a database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Reads the store key of a store, if others cannot make the way to it lead elsewhere.
pub(super) fn read_key_of(place: &Place) -> Result<StoreKey> {
    let path = place.store_key();
    match guard_way(place, path)? {
        Way::Whole => read_store_key(path),
        Way::Ends => Err(ErrorKind::StoreKey { path: path.to_owned(), fault: KeyFault::Missing }.into()),
    }
}

/// Reads a store key.
pub(super) fn read_store_key(path: &Path) -> Result<StoreKey> {
    let store_key = read_key_file(path)?;
    // Where another name cannot be taken from it now, the next use tries again.
    let _ = store_key_is_used(path);
    Ok(store_key)
}

fn read_key_file(path: &Path) -> Result<StoreKey> {
    let fault = |fault| Error::from(ErrorKind::StoreKey { path: path.to_owned(), fault });
    let unreadable = |error: std::io::Error| match error.kind() {
        IoErrorKind::NotFound => fault(KeyFault::Missing),
        _ => fault(KeyFault::Unreadable(error.to_string())),
    };
    // Looked at before it is opened: opening a pipe would wait for somebody who writes.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(fault(KeyFault::Unreadable("not a file".to_owned())));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let handed_over = mode == HANDED_OVER && metadata.uid() == 0 && metadata.gid() == 0;
    if mode & (READABLE_BY_OTHERS | WRITABLE_BY_OTHERS) != 0 && !handed_over {
        return Err(fault(KeyFault::OpenToOthers { mode }));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(StoreKey::LEN + 1));
    file.take(StoreKey::LEN as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    StoreKey::from_bytes(&bytes).ok_or_else(|| fault(KeyFault::WrongSize(metadata.len())))
}

/// The other names of a file that its making gave it, and that a kill kept it from taking back: of a store key each is
/// a copy that nobody knows of.
fn second_links(path: &Path, identity: Identity) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return Vec::new() };
    let beside = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_other = |other: &PathBuf| {
        is_draft_of(path, other)
            && fs::symlink_metadata(other).is_ok_and(|other| Identity::of(&other) == identity)
    };
    beside.filter(is_other).collect()
}

/// Removes other names of a file that its making gave it, and that a kill kept it from taking back. Where it cannot be
/// done now, the next use tries again.
pub(super) fn remove_second_links(path: &Path, identity: Identity) {
    for other in second_links(path, identity) {
        let _ = fs::remove_file(other);
    }
}

/// Makes the store key of a new store. It keeps the name that it was made under, too, until [`store_key_is_used`]: a
/// kill before that leaves a key that no store has been made with, which the next attempt takes.
///
/// # Errors
/// If there is a store key of a finished store: wherever that is now, the key belongs to it and to no other.
pub(super) fn make_store_key(path: &Path, entropy: &mut dyn Entropy) -> Result<StoreKey> {
    if let Ok(present) = fs::symlink_metadata(path) {
        if second_links(path, Identity::of(&present)).is_empty() {
            return Err(Conflict::KeyOfAnother(path.to_owned()).into());
        }
        return read_key_file(path);
    }
    let store_key = StoreKey::generate(entropy)?;
    let mut draft = Draft::beside(path, entropy)?;
    draft.file.write_all(store_key.as_bytes()).map_err(file_error(path))?;
    match draft.link_and_stay() {
        Ok(()) => Ok(store_key),
        // Another process was faster, and both make their stores with its key, of which one will be the first.
        Err(error) if matches!(error.kind(), ErrorKind::StoreExists(_)) => make_store_key(path, entropy),
        Err(error) => Err(error),
    }
}

/// Leaves a store key its own name alone, which tells that a store has been made with it.
pub(super) fn store_key_is_used(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(file_error(path))?;
    if metadata.nlink() == 1 {
        return Ok(());
    }
    for other in second_links(path, Identity::of(&metadata)) {
        match fs::remove_file(&other) {
            Err(error) if error.kind() != IoErrorKind::NotFound => return Err(file_error(&other)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Puts a store key into a new file, for whoever runs this alone, or for the owner of the store's directory.
pub(super) fn write_store_key(store_key: &StoreKey, mut draft: Draft) -> Result<()> {
    let target = draft.target.clone();
    draft.file.write_all(store_key.as_bytes()).map_err(file_error(&target))?;
    draft.link_into_place()
}

/// Whether a name beside a file is that of a draft of it.
pub(super) fn is_draft_of(target: &Path, beside: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = name(beside);
    beside.starts_with(&format!(".{}.", name(target))) && beside.ends_with(DRAFT)
}

/// A file in the making, under a name of its own. It goes when it is dropped; linked into place, it stays under the
/// name that it was made for.
pub(super) struct Draft {
    file: File,
    name: DraftName,
    target: PathBuf,
}

/// The name that a draft has for now, as long as it has one.
struct DraftName {
    path: PathBuf,
    stays: bool,
}

impl Draft {
    /// Begins a file of the store beside the one that it is to become, for its owner alone.
    pub(super) fn beside(target: &Path, entropy: &mut dyn Entropy) -> Result<Self> {
        let draft = Self::anywhere(target, entropy)?;
        draft.give_to_owner_of_directory().map_err(file_error(target))?;
        Ok(draft)
    }

    /// Begins a file beside the one that it is to become, wherever that is, for whoever runs this alone.
    pub(super) fn anywhere(target: &Path, entropy: &mut dyn Entropy) -> Result<Self> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let path = target.with_file_name(draft_name(target, u64::from_ne_bytes(random)));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(
                |error| match error.kind() {
                    IoErrorKind::PermissionDenied => permission_denied(target),
                    _ => file_error(target)(error),
                },
            )?;
        Ok(Self { file, name: DraftName { path, stays: false }, target: target.to_owned() })
    }

    /// What root makes in somebody's directory is that user's, who could not open it otherwise.
    fn give_to_owner_of_directory(&self) -> std::io::Result<()> {
        let directory = fs::metadata(directory_of(&self.target))?;
        if self.file.metadata()?.uid() == directory.uid() {
            return Ok(());
        }
        match fchown(&self.file, Some(directory.uid()), Some(directory.gid())) {
            // Only root gives files away; anybody else keeps what is his.
            Err(error) if error.kind() == IoErrorKind::PermissionDenied => Ok(()),
            given => given,
        }
    }

    /// Where its content goes.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it is for now.
    pub(super) fn path(&self) -> &Path {
        &self.name.path
    }

    /// Gives it its name, durably, unless there is something of that name.
    pub(super) fn link_into_place(self) -> Result<()> {
        self.link().map(drop)
    }

    /// Does the same, and leaves it the name that it has had so far.
    fn link_and_stay(self) -> Result<()> {
        self.link().map(|mut name| name.stays = true)
    }

    fn link(self) -> Result<DraftName> {
        let Self { file, name, target } = self;
        file.sync_all().map_err(file_error(&target))?;
        // Closed before anybody can open it: closing it later would let go of the locks that another thread has on it.
        drop(file);
        fs::hard_link(&name.path, &target).map_err(|error| match error.kind() {
            IoErrorKind::AlreadyExists => ErrorKind::StoreExists(target.clone()).into(),
            _ => file_error(&target)(error),
        })?;
        sync_directory(directory_of(&target))?;
        Ok(name)
    }
}

impl Drop for DraftName {
    fn drop(&mut self) {
        if !self.stays {
            // Nothing depends on it: what stays behind under this name is never opened.
            let _ = fs::remove_file(&self.path);
        }
    }
}
