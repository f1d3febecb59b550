//! The files of a store: checks of their owners and permissions, and their creation.

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
/// The mode of a credential that systemd passes to a service: owned by root, and readable by the user of the service
/// through an access control list, whose mask appears as the group permissions.
const SYSTEMD_CREDENTIAL: u32 = 0o440;

fn refuse(path: &Path, refusal: Refusal) -> Error {
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}

/// The identity of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Checks that the file is still the one found under its name.
    pub(super) fn is_still_at(self, path: &Path) -> Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if Self::of(&metadata) == self => Ok(()),
            _ => Err(ErrorKind::NoStore(path.to_owned()).into()),
        }
    }
}

/// Checks the files of a store before SQLite opens them, because SQLite would create files beside any file it opens.
///
/// Returns the identity of the database, and the files that other users can read.
///
/// # Errors
/// If there is no store, the file is something else, or other users own it or can write to it.
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

/// The files whose header this process has checked.
static CHECKED: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

/// Checks that a file is a store. SQLite would create files beside it before it finds out.
///
/// This is done once per process and file, before the process connects to it. POSIX releases all locks that a process
/// holds on a file when it closes any handle of that file, including those of SQLite. Another process would then
/// conclude that it is the last user of the store and remove the write-ahead log, and this one would never see another
/// change.
fn guard_content(path: &Path, identity: Identity) -> Result<()> {
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    if checked.contains(&identity) {
        return Ok(());
    }
    let cannot = |error: std::io::Error| match error.kind() {
        IoErrorKind::UnexpectedEof => refuse(path, Refusal::NotAStore),
        IoErrorKind::PermissionDenied => permission_denied(path),
        _ => file_error(path)(error),
    };
    let file = File::open(path).map_err(cannot)?;
    // Returns whether there is a log.
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
    // Another process may have written its log back to the file after the first check for a log. A file that is really
    // truncated fails the second check too.
    let has_log = look().or_else(|_| look())?;
    if has_log && !beside(&itself(path), "-shm").exists() {
        schema::refuse_newer(path)?;
    }
    checked.insert(identity);
    Ok(())
}

/// Returns true if a directory has an entry of a name. A dangling link, or a name that cannot be examined, is one.
pub(super) fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == IoErrorKind::NotFound)
}

/// Returns true if a database has changes in a write-ahead log.
pub(super) fn has_log(database: &Path) -> bool {
    fs::metadata(log_of(&itself(database))).is_ok_and(|log| log.len() > 0)
}

/// Returns the path of the database with links resolved. SQLite keeps its files beside that path.
pub(super) fn itself(database: &Path) -> PathBuf {
    fs::canonicalize(database).unwrap_or_else(|_| database.to_owned())
}

/// Returns true if permission bits let other users read.
pub(super) fn mode_of_others(mode: u32) -> bool {
    mode & READABLE_BY_OTHERS != 0
}

/// Checks the directory of a store: a user who can write to it can replace the store, or put a write-ahead log beside
/// it.
fn guard_directory(place: &Place) -> Result<()> {
    let directory = place.directory();
    let metadata = fs::metadata(directory).map_err(file_error(directory))?;
    guard_from_others(place, directory, &metadata).map(drop)
}

/// Refuses a file or directory that other users own or can write to, and returns its permission bits.
///
/// Owners can always write to their files. A service account whose callers choose the store would otherwise write where
/// they point it: beside their files, or through their links.
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
        // The current directory may have been moved after its path was resolved.
        if identity(&here).map_err(file_error(&here))?
            != identity(Path::new(".")).map_err(file_error(path))?
        {
            return Err(ErrorKind::NoStore(path.to_owned()).into());
        }
        return guard_steps(&trusted, &here.join(path));
    }
    guard_steps(&trusted, path)
}

/// Checks the path of the database like [`guard_way`], and that of the link through which it was given.
pub(super) fn guard_way_to_database(place: &Place) -> Result<Way> {
    let way = guard_way(place, place.named())?;
    // A link that was removed or changed in the meantime was followed without being checked.
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
    // Contains no links, so that `..` is the component before.
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

/// Creates the directory of a new store with access for its owner only, or checks the existing one.
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

/// Refuses a path that is too long for the longest name beside it, which is that of the draft of a usage file.
fn guard_length(place: &Place) -> Result<()> {
    let database = place.database();
    let room = draft_name(&place.usage(), 0).len().saturating_sub(name_len(database));
    let longest = LONGEST_PATH - room.min(LONGEST_PATH);
    if length_of(database) > longest { Err(refuse(database, Refusal::TooLong { longest })) } else { Ok(()) }
}

fn name_len(path: &Path) -> usize {
    path.file_name().unwrap_or_default().len()
}

/// Returns the name of a draft.
fn draft_name(target: &Path, random: u64) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{random:016x}{DRAFT}"));
    name
}

/// Refuses to create a store where one exists, where the file names belong to another store, or where a write-ahead log
/// was left behind, which SQLite would apply to the new file.
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
        // An empty log, which a check may leave behind, is harmless.
        Ok(metadata) if metadata.len() > 0 => {
            // Another process may have created the store in the meantime, and begun to use it.
            if fs::symlink_metadata(database).is_ok() {
                return Err(ErrorKind::StoreExists(database.to_owned()).into());
            }
            Err(Conflict::LeftOver(log).into())
        }
        _ => Ok(()),
    }
}

/// Returns the path of the write-ahead log of a database.
pub(super) fn log_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// Returns the path of a file that SQLite keeps beside a database.
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
    // If its temporary name cannot be removed now, the next use tries again.
    let _ = store_key_is_used(path);
    Ok(store_key)
}

fn read_key_file(path: &Path) -> Result<StoreKey> {
    let fault = |fault| Error::from(ErrorKind::StoreKey { path: path.to_owned(), fault });
    let unreadable = |error: std::io::Error| match error.kind() {
        IoErrorKind::NotFound => fault(KeyFault::Missing),
        _ => fault(KeyFault::Unreadable(error.to_string())),
    };
    // Examined before it is opened, because opening a pipe would block until it has a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(fault(KeyFault::Unreadable("not a file".to_owned())));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let is_systemd_credential = mode == SYSTEMD_CREDENTIAL && metadata.uid() == 0 && metadata.gid() == 0;
    if mode & (READABLE_BY_OTHERS | WRITABLE_BY_OTHERS) != 0 && !is_systemd_credential {
        return Err(fault(KeyFault::OpenToOthers { mode }));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(StoreKey::LEN + 1));
    file.take(StoreKey::LEN as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    StoreKey::from_bytes(&bytes).ok_or_else(|| fault(KeyFault::WrongSize(metadata.len())))
}

/// Returns the temporary names of a file that a killed process did not remove. For a store key, each is an unknown
/// copy.
fn second_links(path: &Path, identity: Identity) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return Vec::new() };
    let beside = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_other = |other: &PathBuf| {
        is_draft_of(path, other)
            && fs::symlink_metadata(other).is_ok_and(|other| Identity::of(&other) == identity)
    };
    beside.filter(is_other).collect()
}

/// Removes the temporary names of a file that a killed process did not remove. If that fails, the next use tries again.
pub(super) fn remove_second_links(path: &Path, identity: Identity) {
    for other in second_links(path, identity) {
        let _ = fs::remove_file(other);
    }
}

/// Creates the store key of a new store.
///
/// The key also keeps its temporary name until [`store_key_is_used`]. If the process is killed before that, the second
/// name shows that no store was created with the key, and the next attempt uses it.
///
/// # Errors
/// If a store key without a temporary name exists: it belongs to another store, wherever that is now.
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
        // Another process created the key first. Both continue with it, and one of them will create the store.
        Err(error) if matches!(error.kind(), ErrorKind::StoreExists(_)) => make_store_key(path, entropy),
        Err(error) => Err(error),
    }
}

/// Removes the temporary name of a store key, which marks it as the key of an existing store.
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

/// Writes a store key to a new file.
pub(super) fn write_store_key(store_key: &StoreKey, mut draft: Draft) -> Result<()> {
    let target = draft.target.clone();
    draft.file.write_all(store_key.as_bytes()).map_err(file_error(&target))?;
    draft.link_into_place()
}

/// Returns true if `beside` has the name of a draft of `target`.
pub(super) fn is_draft_of(target: &Path, beside: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = name(beside);
    beside.starts_with(&format!(".{}.", name(target))) && beside.ends_with(DRAFT)
}

/// A file that is being written under a temporary name, which is removed when the draft is dropped. Once it is linked
/// to the name of its target, the file remains under that name.
pub(super) struct Draft {
    file: File,
    name: DraftName,
    target: PathBuf,
}

/// The temporary name of a draft, which is removed when dropped.
struct DraftName {
    path: PathBuf,
    stays: bool,
}

impl Draft {
    /// Creates a draft of a file of the store, beside its target. It belongs to the owner of the directory, and only
    /// that user can access it.
    pub(super) fn beside(target: &Path, entropy: &mut dyn Entropy) -> Result<Self> {
        let draft = Self::anywhere(target, entropy)?;
        draft.give_to_owner_of_directory().map_err(file_error(target))?;
        Ok(draft)
    }

    /// Creates a draft of any file, beside its target. It belongs to the user of the process, and only that user can
    /// access it.
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

    /// Gives a file that root creates in the directory of another user to that user, who could not open it otherwise.
    fn give_to_owner_of_directory(&self) -> std::io::Result<()> {
        let directory = fs::metadata(directory_of(&self.target))?;
        if self.file.metadata()?.uid() == directory.uid() {
            return Ok(());
        }
        match fchown(&self.file, Some(directory.uid()), Some(directory.gid())) {
            // Only root can change owners; a file of any other user keeps its owner.
            Err(error) if error.kind() == IoErrorKind::PermissionDenied => Ok(()),
            given => given,
        }
    }

    /// Returns the file to write to.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Returns its temporary path.
    pub(super) fn path(&self) -> &Path {
        &self.name.path
    }

    /// Links the file to the name of its target, durably, and removes the temporary name. Fails if the target exists.
    pub(super) fn link_into_place(self) -> Result<()> {
        self.link().map(drop)
    }

    /// Links the file to the name of its target, durably, and keeps the temporary name.
    fn link_and_stay(self) -> Result<()> {
        self.link().map(|mut name| name.stays = true)
    }

    fn link(self) -> Result<DraftName> {
        let Self { file, name, target } = self;
        file.sync_all().map_err(file_error(&target))?;
        // Closed before another thread can open it: closing it later would release the locks of that thread.
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
            // A failure is harmless: a file that stays under this name is never opened.
            let _ = fs::remove_file(&self.path);
        }
    }
}
