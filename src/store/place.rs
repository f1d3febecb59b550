//! The location of a store: the paths of its files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The extension of a database, which the names of the files beside it do not include.
const DATABASE: &str = "db";
/// The suffix of temporary files.
pub(super) const DRAFT: &str = ".new";
/// The infix between the name of a store and the time at which it was replaced by a backup.
pub(super) const REPLACED: &str = ".replaced-";
const STORE_KEY: &str = ".storekey";
const USAGE: &str = ".usage.db";
/// The suffixes of the files that SQLite keeps beside a database.
const OF_SQLITE: [&str; 3] = ["-wal", "-shm", "-journal"];
const ROOT: u32 = 0;
/// The maximum number of symbolic links on a path, which is Linux's limit.
pub(super) const MOST_LINKS: u32 = 40;

/// The paths of the files of a store: `NAME.db`, and beside it `NAME.storekey` and `NAME.usage.db`.
///
/// A database without the extension `.db`, such as `api.example.com`, keeps its whole name before `.storekey` and
/// `.usage.db`. If the given path is a link, these files are beside the database, not beside the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path that was given, which may be a link.
    named: PathBuf,
    database: PathBuf,
    store_key: PathBuf,
    is_key_elsewhere: bool,
    usage: PathBuf,
    opened_as: Option<Opener>,
}

/// The effective user of the process that opens a store, and the user on whose behalf it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opener {
    uid: u32,
    for_another: Option<Caller>,
}

/// The user on whose behalf a process with other rights runs, if known.
type Caller = Option<u32>;

impl Opener {
    /// Returns true if the process is root and may use files of `owner`: those of any user except the one on whose
    /// behalf it runs, and none if that user is unknown.
    fn is_root_with_anothers(self, owner: u32) -> bool {
        self.uid == ROOT && self.for_another.is_none_or(|caller| caller.is_some_and(|caller| caller != owner))
    }
}

impl Place {
    /// Returns the place of the store with this database.
    ///
    /// Version 0.1 named the files of `api.example.com` after `api.example`. If files with those names exist, they
    /// are used.
    #[must_use]
    pub fn new(database: impl Into<PathBuf>) -> Self {
        let named = database.into();
        let database = target_of(&named);
        let new = [STORE_KEY, USAGE].map(|suffix| beside(&database, &without_db(&database), suffix));
        let old = [STORE_KEY, USAGE]
            .map(|suffix| beside(&database, database.file_stem().unwrap_or_default(), suffix));
        let is_old =
            old != new && database.exists() && !new[0].exists() && old.iter().any(|file| file.exists());
        let [store_key, usage] = if is_old { old } else { new };
        Self { named, database, store_key, is_key_elsewhere: false, usage, opened_as: None }
    }

    /// Returns the place of the same path with links resolved again, since they may have changed.
    pub(super) fn anew(&self) -> Self {
        let anew = Self { opened_as: self.opened_as, ..Self::new(&self.named) };
        if self.is_key_elsewhere { anew.with_store_key(&self.store_key) } else { anew }
    }

    /// Returns the same place with another path for the store key.
    #[must_use]
    pub fn with_store_key(self, store_key: impl Into<PathBuf>) -> Self {
        Self { store_key: store_key.into(), is_key_elsewhere: true, ..self }
    }

    /// Returns the same place, opened by a process with this effective uid as reported by the kernel.
    ///
    /// A file of the store is refused if it, or a directory or link on its path, belongs to a user other than this one
    /// and root, or is writable by others. Root can open the store of any user, as long as no third user can change its
    /// path. Without a call of this method or [`Place::opened_for_another`], the path is trusted.
    #[must_use]
    pub fn opened_as(self, uid: u32) -> Self {
        Self { opened_as: Some(Opener { uid, for_another: None }), ..self }
    }

    /// Returns the same place, opened by a process with this effective uid on behalf of `caller`, who chose the path.
    ///
    /// Root then refuses the caller's own files, and if the caller is unknown, all files but its own.
    #[must_use]
    pub fn opened_for_another(self, uid: u32, caller: Option<u32>) -> Self {
        Self { opened_as: Some(Opener { uid, for_another: Some(caller) }), ..self }
    }

    /// Returns true if files of this owner may be used.
    pub(super) fn trusts(&self, owner: u32) -> bool {
        self.opened_as
            .is_none_or(|opener| [opener.uid, ROOT].contains(&owner) || opener.is_root_with_anothers(owner))
    }

    /// Returns the users who may own the directories and links on the path, or `None` if the path is trusted.
    pub(super) fn trusted(&self) -> Option<Vec<u32>> {
        let opener = self.opened_as?;
        let present = self.database.ancestors().find_map(|path| fs::metadata(in_words(path)).ok());
        let owner =
            present.map(|metadata| metadata.uid()).filter(|owner| opener.is_root_with_anothers(*owner));
        Some([ROOT, opener.uid].into_iter().chain(owner).collect())
    }

    /// Returns the path that was given.
    pub(super) fn named(&self) -> &Path {
        &self.named
    }

    /// Returns true if the path that was given currently leads to the database.
    pub(super) fn leads_to_database(&self) -> bool {
        target_of(&self.named) == self.database
    }

    /// Returns the path of the database, with links resolved.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Returns the path of the store key.
    #[must_use]
    pub fn store_key(&self) -> &Path {
        &self.store_key
    }

    /// Returns the path of the usage file.
    #[must_use]
    pub fn usage(&self) -> PathBuf {
        self.usage.clone()
    }

    /// Returns the directory of the database.
    #[must_use]
    pub fn directory(&self) -> &Path {
        directory_of(&self.database)
    }

    /// Returns the path to which the database is copied aside when a backup replaces it. `at` is the time, as text.
    pub(super) fn replaced(&self, at: &str) -> PathBuf {
        beside(&self.database, &without_db(&self.database), &format!("{REPLACED}{at}.db"))
    }

    /// Returns true if a file in the directory of the database is the copy of a replaced store.
    pub(super) fn has_replaced(&self, file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let begin = self.replaced("");
        let begin = begin.file_stem().unwrap_or_default().to_string_lossy();
        name.starts_with(&*begin) && name.ends_with(".db")
    }

    /// Returns true if this is the copy of a replaced store.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let target = fs::canonicalize(&self.database);
        name_of(target.as_ref().unwrap_or(&self.database)).contains(REPLACED)
    }

    /// Returns another database in the directory whose files have the same names, or whose usage file has the name of
    /// this database.
    pub(super) fn namesake(&self) -> Option<PathBuf> {
        let name = self.database.file_name()?.to_string_lossy();
        let has_db = |name: &str| format!("{name}.{DATABASE}");
        let others = match (name.strip_suffix(USAGE), name.strip_suffix(".db")) {
            (Some(store), _) => vec![store.to_owned(), has_db(store)],
            // Most such files are not stores; an existing usage file shows that this one is.
            (None, Some(store)) if self.usage.exists() => vec![store.to_owned()],
            (None, Some(_)) => vec![],
            (None, None) => vec![has_db(&name)],
        };
        others
            .into_iter()
            .map(|other| self.database.with_file_name(other))
            .find(|other| fs::metadata(other).is_ok_and(|file| file.is_file()))
    }

    /// Returns true if the path of the store key is also that of another file of this store or of a database beside it.
    pub(super) fn has_key_among_databases(&self) -> bool {
        let directory = identity(directory_of(&self.store_key));
        let mut own =
            [&self.database, &self.usage].into_iter().flat_map(|database| with_companions(database));
        is_beside_a_database(&self.store_key)
            || own.any(|file| {
                name_of(&file) == name_of(&self.store_key) && identity(directory_of(&file)) == directory
            })
    }

    /// Returns true if a path is reserved for a file of this store, or of a database in the directory of the path. A
    /// foreign file there would be mistaken for a file of the store.
    ///
    /// Directories are compared by device and inode, and names without regard to case, to find other spellings.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        let Some(directory) = identity(directory_of(path)) else { return false };
        let is_in_it = |file: &Path| identity(directory_of(file)) == Some(directory);
        // If the database is a link, SQLite keeps its files beside the target.
        let target = fs::canonicalize(&self.database).unwrap_or_else(|_| self.database.clone());
        let beside_target = [STORE_KEY, USAGE].map(|suffix| beside(&target, &without_db(&target), suffix));
        let [key_of_target, usage_of_target] = beside_target;
        let databases = [self.database.clone(), self.usage.clone(), target, usage_of_target];
        let keys = [self.store_key.clone(), key_of_target];
        let name = name_of(path);
        let is_replaced = databases.iter().any(|database| {
            let stem = without_db(database).to_string_lossy().to_lowercase();
            is_in_it(database) && name.starts_with(&format!("{stem}{REPLACED}"))
        });
        let mut own = databases.iter().flat_map(|database| with_companions(database)).chain(keys);
        own.any(|file| is_in_it(&file) && is_file_or_draft(&name, &name_of(&file)))
            || is_replaced
            || is_beside_a_database(path)
    }
}

/// Returns the target of a path, which need not exist: if the file itself is a link, it is followed to its end. Links
/// among the directories are kept.
fn target_of(path: &Path) -> PathBuf {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return at,
        }
    }
    // The links form a cycle.
    path.to_owned()
}

/// Returns true if a name is that of a file or of its draft.
fn is_file_or_draft(name: &str, file: &str) -> bool {
    name == file || (name.starts_with(&format!(".{file}.")) && name.ends_with(DRAFT))
}

/// Returns true if a path is that of the usage file or an SQLite file of an existing database, which need not be a
/// store.
fn is_beside_a_database(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let without = |suffix: &str| {
        let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
        (!stem.is_empty() && end.eq_ignore_ascii_case(suffix)).then_some(stem)
    };
    let is_file = |name: &str| fs::metadata(path.with_file_name(name)).is_ok_and(|file| file.is_file());
    let database = OF_SQLITE.iter().find_map(|suffix| without(suffix));
    let store = without(USAGE);
    database.is_some_and(|name| is_file(name) || is_beside_a_database(&path.with_file_name(name)))
        || store.is_some_and(|name| is_file(name) || is_file(&format!("{name}.{DATABASE}")))
}

/// Returns the paths of a database and of the files that SQLite keeps beside it.
fn with_companions(database: &Path) -> Vec<PathBuf> {
    let name = database.file_name().unwrap_or_default();
    [""].iter().chain(&OF_SQLITE).map(|suffix| beside(database, name, suffix)).collect()
}

/// Returns the path of a file in the directory of a database.
fn beside(database: &Path, name: &OsStr, suffix: &str) -> PathBuf {
    let mut name = name.to_owned();
    name.push(suffix);
    database.with_file_name(name)
}

/// Returns the name of a database without `.db`.
fn without_db(database: &Path) -> OsString {
    let has_db = database.extension().is_some_and(|extension| extension == DATABASE);
    let name = if has_db { database.file_stem() } else { database.file_name() };
    name.unwrap_or_default().to_owned()
}

/// Returns the name of a file, in lower case.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Returns the device and inode of a directory.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the directory of a file.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().map_or(Path::new("."), in_words)
}

/// Returns the path, or `.` for the empty path, which is the last ancestor of a relative path.
pub(super) fn in_words(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
