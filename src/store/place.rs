//! Where the files of a store are.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The extension that the names of the files beside a database are made without.
const DATABASE: &str = "db";
/// What the names of files in the making end with.
pub(super) const DRAFT: &str = ".new";
/// What stands between the name of a store and the time at which a backup took its place.
pub(super) const REPLACED: &str = ".replaced-";
const STORE_KEY: &str = ".storekey";
const USAGE: &str = ".usage.db";
/// What SQLite appends to the name of a database for the files that it keeps beside it.
const OF_SQLITE: [&str; 3] = ["-wal", "-shm", "-journal"];
const ROOT: u32 = 0;
/// The most links on the way to a file, as the operating system has it too.
pub(super) const MOST_LINKS: u32 = 40;

/// The files of one store: `NAME.db`, beside it `NAME.storekey` and `NAME.usage.db`.
///
/// A database of any other name, such as `api.example.com`, has its whole name before `.storekey` and `.usage.db`. Where
/// a link leads to the database, they lie beside the database, not beside the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What was given, which may be a link.
    named: PathBuf,
    database: PathBuf,
    store_key: PathBuf,
    is_key_elsewhere: bool,
    usage: PathBuf,
    opened_as: Option<Opener>,
}

/// The process that opens a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opener {
    uid: u32,
    for_another: Option<Caller>,
}

/// The user on whose behalf a process with the rights of another one runs, if it is known.
type Caller = Option<u32>;

impl Opener {
    /// Whether root may use the files of this owner, which are neither root's nor the caller's.
    fn is_root_with_anothers(self, owner: u32) -> bool {
        self.uid == ROOT && self.for_another.is_none_or(|caller| caller.is_some_and(|caller| caller != owner))
    }
}

impl Place {
    /// The files beside a database.
    ///
    /// Version 0.1 put its files beside `api.example.com` under the names of `api.example`; a store that has its files
    /// there keeps them.
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

    /// The same, as it is now: a link may lead elsewhere than when this was made.
    pub(super) fn anew(&self) -> Self {
        let anew = Self { opened_as: self.opened_as, ..Self::new(&self.named) };
        if self.is_key_elsewhere { anew.with_store_key(&self.store_key) } else { anew }
    }

    /// The same, with the store key kept somewhere else.
    #[must_use]
    pub fn with_store_key(self, store_key: impl Into<PathBuf>) -> Self {
        Self { store_key: store_key.into(), is_key_elsewhere: true, ..self }
    }

    /// The same, opened by a process of this effective user, whom the caller asked the kernel for.
    ///
    /// A file of the store is refused then if it, or anything on the way to it, belongs to another user than that one
    /// or root, or can be changed by another. Root opens the store of any user, where no third one can change the way
    /// to it. Without a call of this method or [`Place::opened_for_another`], the path is trusted.
    #[must_use]
    pub fn opened_as(self, uid: u32) -> Self {
        Self { opened_as: Some(Opener { uid, for_another: None }), ..self }
    }

    /// The same, opened by a process of this effective user on behalf of another one, who says which store it is. Root
    /// does not open the store of that other user then, and only its own if it is not known who that is.
    #[must_use]
    pub fn opened_for_another(self, uid: u32, caller: Option<u32>) -> Self {
        Self { opened_as: Some(Opener { uid, for_another: Some(caller) }), ..self }
    }

    /// Whether a file of an owner may be used.
    pub(super) fn trusts(&self, owner: u32) -> bool {
        self.opened_as
            .is_none_or(|opener| [opener.uid, ROOT].contains(&owner) || opener.is_root_with_anothers(owner))
    }

    /// The users who may own what is on the way to the store's files; `None` if the path is trusted.
    pub(super) fn trusted(&self) -> Option<Vec<u32>> {
        let opener = self.opened_as?;
        let present = self.database.ancestors().find_map(|path| fs::metadata(in_words(path)).ok());
        let owner =
            present.map(|metadata| metadata.uid()).filter(|owner| opener.is_root_with_anothers(*owner));
        Some([ROOT, opener.uid].into_iter().chain(owner).collect())
    }

    /// The path that was given.
    pub(super) fn named(&self) -> &Path {
        &self.named
    }

    /// Whether the path that was given leads to the database now.
    pub(super) fn leads_to_database(&self) -> bool {
        target_of(&self.named) == self.database
    }

    /// The database, links followed.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The file of the store key.
    #[must_use]
    pub fn store_key(&self) -> &Path {
        &self.store_key
    }

    /// The database of what was counted.
    #[must_use]
    pub fn usage(&self) -> PathBuf {
        self.usage.clone()
    }

    /// The directory of the database.
    #[must_use]
    pub fn directory(&self) -> &Path {
        directory_of(&self.database)
    }

    /// The file that the database is kept in when a backup takes its place at a time, which is given as text.
    pub(super) fn replaced(&self, at: &str) -> PathBuf {
        beside(&self.database, &without_db(&self.database), &format!("{REPLACED}{at}.db"))
    }

    /// Whether a file in the directory of the database is one that a backup took the place of.
    pub(super) fn has_replaced(&self, file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let begin = self.replaced("");
        let begin = begin.file_stem().unwrap_or_default().to_string_lossy();
        name.starts_with(&*begin) && name.ends_with(".db")
    }

    /// Whether this is a store that a backup has taken the place of.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let target = fs::canonicalize(&self.database);
        name_of(target.as_ref().unwrap_or(&self.database)).contains(REPLACED)
    }

    /// Another database in the directory that has its files under the same names, or whose usage file this would be.
    pub(super) fn namesake(&self) -> Option<PathBuf> {
        let name = self.database.file_name()?.to_string_lossy();
        let has_db = |name: &str| format!("{name}.{DATABASE}");
        let others = match (name.strip_suffix(USAGE), name.strip_suffix(".db")) {
            (Some(store), _) => vec![store.to_owned(), has_db(store)],
            // Many a file has such a name without being a store; what would be shared shows that it is one.
            (None, Some(store)) if self.usage.exists() => vec![store.to_owned()],
            (None, Some(_)) => vec![],
            (None, None) => vec![has_db(&name)],
        };
        others
            .into_iter()
            .map(|other| self.database.with_file_name(other))
            .find(|other| fs::metadata(other).is_ok_and(|file| file.is_file()))
    }

    /// Whether the store key would lie where this store, or another one beside it, has another of its files.
    pub(super) fn has_key_among_databases(&self) -> bool {
        let directory = identity(directory_of(&self.store_key));
        let mut own =
            [&self.database, &self.usage].into_iter().flat_map(|database| with_companions(database));
        is_beside_a_database(&self.store_key)
            || own.any(|file| {
                name_of(&file) == name_of(&self.store_key) && identity(directory_of(&file)) == directory
            })
    }

    /// Whether a path is one of the names that the files of this store have, or can come to have; or those of another
    /// store in the same directory as the path. What is put there by anything but the store would be taken for its own.
    ///
    /// Directories are compared by identity and names without regard to case, so that another spelling is found too.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        let Some(directory) = identity(directory_of(path)) else { return false };
        let is_in_it = |file: &Path| identity(directory_of(file)) == Some(directory);
        // Where the database is a link, SQLite keeps its files beside what it leads to.
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

/// The file that a path names, which need not be there: a link is followed to its end. Links among the directories stay
/// for the operating system to follow.
fn target_of(path: &Path) -> PathBuf {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return at,
        }
    }
    // It leads to itself.
    path.to_owned()
}

/// Whether a name is that of a file, or of a draft of it.
fn is_file_or_draft(name: &str, file: &str) -> bool {
    name == file || (name.starts_with(&format!(".{file}.")) && name.ends_with(DRAFT))
}

/// Whether a path is where a database that is there, a store or not, has its usage file or a file of SQLite's.
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

/// A database and the names that SQLite gives its companions.
fn with_companions(database: &Path) -> Vec<PathBuf> {
    let name = database.file_name().unwrap_or_default();
    [""].iter().chain(&OF_SQLITE).map(|suffix| beside(database, name, suffix)).collect()
}

/// A file in the directory of a database.
fn beside(database: &Path, name: &OsStr, suffix: &str) -> PathBuf {
    let mut name = name.to_owned();
    name.push(suffix);
    database.with_file_name(name)
}

/// The name of a database without `.db`.
fn without_db(database: &Path) -> OsString {
    let has_db = database.extension().is_some_and(|extension| extension == DATABASE);
    let name = if has_db { database.file_stem() } else { database.file_name() };
    name.unwrap_or_default().to_owned()
}

/// The name of a file, in lower case.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Which directory it is, whatever it is called.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The directory that a file is in.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().map_or(Path::new("."), in_words)
}

/// A path with the current directory, which is empty among the ancestors of a relative path, spelled out.
pub(super) fn in_words(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
