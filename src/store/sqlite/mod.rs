//! The store in an SQLite file.
//!
//! Management goes to `NAME.db`, durably; what checks count goes to `NAME.usage.db`, at leisure. Both are in
//! write-ahead mode, so that readers wait for nobody. Opening does no work that the command at hand does not need:
//! the store key is read, and the usage file opened, at first use.

mod account;
mod apps;
mod audit;
mod backup;
mod columns;
mod connection;
mod credential_cache;
mod destinations;
mod examine;
mod files;
mod import;
mod imported;
mod integrations;
mod keys;
mod lookup;
mod obstacle;
mod rows;
mod schema;
mod secrets;
mod tokens;
mod transaction;
mod usage;
mod users;
mod wal_index;
mod watch;

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

use crate::error::{Error, ErrorKind, KeyFault, Refusal, Result};
use crate::model::{Digest, Head, Id, Keyring};
use crate::ports::{Entropy, monotonic};
use crate::store::{
    Chain, CreateStore, CredentialLookup, Place, Replay, Store, Transaction, Unaudited, UsageCount, Window,
    verify_state,
};

use connection::WatchedConnection;
use credential_cache::CredentialCache;
use files::is_there;
use wal_index::FileState;

pub use backup::Backup;
use obstacle::file_error;
use transaction::Usage;
pub use transaction::{Reading, SqliteTx, Writing};
use watch::Watch;

/// How often a store that is used on and on makes sure that its files are still the ones that others find.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long management waits for the usage file: what it needs of it, it can do without.
const USAGE_TIMEOUT: Duration = Duration::from_millis(250);

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    main: WatchedConnection,
    usage: Option<WatchedConnection>,
    usage_fault: OnceCell<Error>,
    keyring: Option<Keyring>,
    cache: CredentialCache,
    place: Place,
    patience: Duration,
    looked_at: Instant,
    file_state: Option<FileState>,
    exposed: Vec<Exposed>,
}

/// A file of the store that others than its owner can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl SqliteStore {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`ErrorKind::NoStore`] if there is none, [`ErrorKind::StoreRefused`] if what is there is not to be used;
    /// it is not touched then.
    pub fn open(place: &Place) -> Result<Self> {
        Self::open_waiting(place, BUSY_TIMEOUT)
    }

    /// Opens a store that is there, and waits no longer than this for another process that has it locked: for one
    /// who has others waiting.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn open_waiting(place: &Place, patience: Duration) -> Result<Self> {
        let place = &place.anew();
        let (file, exposed) = files::guard(place)?;
        let main = WatchedConnection::open(place.database(), |watch| {
            // What was looked at is what is opened.
            if watch.database() != file {
                return Err(ErrorKind::NoStore(place.database().to_owned()).into());
            }
            let mut main = connect_to(watch)?;
            main.busy_timeout(patience)?;
            if let Err(refused) = schema::bring_up_to_date(&mut main, place.database()) {
                // It stays as it is, and what waits in its log stays there.
                main.set_db_config(
                    DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                    files::has_log(place.database()),
                )?;
                return Err(refused);
            }
            if !watch.has_companions() && !watch.is_at_rest() {
                // Another program has taken it out of write-ahead mode.
                main.pragma_update(None, "journal_mode", "WAL")?;
                schema::bring_up_to_date(&mut main, place.database())?;
            }
            // What was printed must survive a power cut.
            main.pragma_update(None, "synchronous", "FULL")?;
            main.pragma_update(None, "foreign_keys", true)?;
            // Nothing of a removed key stays behind in a free page.
            main.pragma_update(None, "secure_delete", true)?;
            Ok(main)
        })?;
        Ok(Self {
            main,
            usage: None,
            usage_fault: OnceCell::new(),
            keyring: None,
            cache: CredentialCache::default(),
            place: place.clone(),
            patience,
            looked_at: monotonic(),
            file_state: None,
            exposed,
        })
    }

    /// For whoever looks for keys from all over a large store, one after the other, and calls [`Store::end_read`] when he
    /// pauses.
    ///
    /// Between look-ups it goes on reading the same moment of the store, as long as nobody has committed anything, and
    /// remembers no keys. Whoever commits meanwhile waits for nothing, but the write-ahead log cannot be begun anew.
    ///
    /// # Errors
    /// If others do not find the files of the store.
    pub fn for_many_keys(mut self) -> Result<Self> {
        self.look_at_files()?;
        self.cache = CredentialCache::for_many_keys();
        Ok(self)
    }

    /// Where the store is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The files that the store is in, and those that SQLite keeps beside them. Whoever opens and closes one of these
    /// takes away the locks of everybody in this process who has the store open.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let both = [files::itself(self.place.database()), files::itself(&self.place.usage())];
        let beside =
            both.iter().flat_map(|file| ["", "-wal", "-shm"].map(|suffix| files::beside(file, suffix)));
        beside.chain([self.place.store_key().to_owned()]).collect()
    }

    /// Whether another is a connection to the same file, whatever its name is now.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.main.watch().database() == other.main.watch().database()
    }

    /// The files of the store that others than its owner can read.
    #[must_use]
    pub fn exposed(&self) -> &[Exposed] {
        &self.exposed
    }

    /// Makes sure that the store's files are still the ones that others find: those that are not would go on answering
    /// through their open handles, and see no change ever after. What was read of files that were written to meanwhile
    /// is forgotten.
    ///
    /// This is done once a second by itself, since it costs as much as several look-ups.
    ///
    /// # Errors
    /// If they are not. This store can be used no more then: close it, and every other that this process has open at the
    /// place, before it is opened anew.
    pub fn look_at_files(&mut self) -> Result<()> {
        self.main.watch().database().is_still_at(self.place.named())?;
        match &mut self.file_state {
            Some(seen) => {
                if seen.look_again(self.main.watch())? {
                    self.cache.forget(&self.main)?;
                }
            }
            none => *none = Some(FileState::now(self.main.watch())?),
        }
        self.looked_at = monotonic();
        Ok(())
    }

    /// Makes sure that the usage file that is open is still the one that others find. One that is not is closed, and
    /// opened or made anew when it is next needed.
    ///
    /// # Errors
    /// If it is not.
    pub fn look_at_usage_file(&mut self) -> Result<()> {
        let Some(usage) = &self.usage else { return Ok(()) };
        usage.watch().look().map(drop).map_err(|error| {
            self.usage = None;
            usage::fault(&self.place, error)
        })
    }

    /// Makes sure that the store can be changed from here.
    fn must_be_writable(&self) -> Result<()> {
        if self.main.is_readonly(MAIN_DB)? {
            return Err(obstacle::read_only(self.main.watch().path()));
        }
        Ok(())
    }

    /// The keys derived from the store key, read at first use.
    fn load_keyring(&mut self) -> Result<&Keyring> {
        if self.keyring.is_none() {
            let path = self.place.store_key();
            let keyring = Keyring::new(&files::read_key_of(&self.place)?)?;
            let check: Vec<u8> =
                self.main.query_row("SELECT value FROM store_key_check", [], |row| row.get(0))?;
            if !keyring.belongs_to(&check) {
                return Err(ErrorKind::StoreKey { path: path.to_owned(), fault: KeyFault::Foreign }.into());
            }
            return Ok(self.keyring.insert(keyring));
        }
        self.keyring.as_ref().ok_or_else(|| ErrorKind::Damaged("no store key".to_owned()).into())
    }

    /// Opens the usage file, and makes it if there is none.
    fn usage_for_writing(&mut self) -> Result<&mut Connection> {
        match &mut self.usage {
            Some(usage) => Ok(usage),
            none => Ok(none.insert(usage::open_or_make(&self.place)?)),
        }
    }

    /// Opens the usage file if there is one. A fault of it is told, and stops no management.
    fn open_usage(&mut self) {
        if self.usage.is_some() || self.usage_fault.get().is_some() || !is_there(&self.place.usage()) {
            return;
        }
        match usage::open(&self.place, self.patience.min(USAGE_TIMEOUT)) {
            Ok(usage) => self.usage = Some(usage),
            Err(fault) => drop(self.usage_fault.set(fault)),
        }
    }

    /// Why it is not known when anything was last used, if the usage file cannot be used.
    #[must_use]
    pub fn usage_fault(&self) -> Option<&Error> {
        self.usage_fault.get()
    }
}

impl CreateStore for SqliteStore {
    type Location = Place;

    /// The store key comes first; the database is made under another name, and linked into place when it is whole.
    fn create(
        place: &Place,
        entropy: &mut dyn Entropy,
        found: impl FnOnce(&mut Transaction<Self::WriteTx<'_>>, &mut dyn Entropy) -> Result<()>,
    ) -> Result<Self> {
        files::make_directory(place)?;
        files::refuse_remains(place)?;
        // It is not there yet, or is looked at when it is read.
        let _ = files::guard_way(place, place.store_key())?;
        let store_key = files::make_store_key(place.store_key(), entropy).map_err(|error| {
            // The key is finished when another process has just made the store.
            files::refuse_remains(place).err().unwrap_or(error)
        })?;
        let keyring = Keyring::new(&store_key)?;
        let draft = files::Draft::beside(place.database(), entropy)?;
        {
            let mut connection = connect(draft.path())?;
            // Nobody sees the file before it is whole and synced, so that it needs no journal on disk meanwhile.
            connection.pragma_update(None, "journal_mode", "MEMORY")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
            schema::bring_up_to_date(&mut connection, draft.path())?;
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute("INSERT INTO store_key_check (only, value) VALUES (1, ?1)", [keyring.check_value()])?;
            let mut tx = Transaction::of_new_store(SqliteTx::new(tx, Usage::none()), keyring);
            found(&mut tx, entropy)?;
            tx.commit()?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.close().map_err(|(_, error)| error)?;
        }
        draft.link_into_place()?;
        files::store_key_is_used(place.store_key())?;
        Self::open(place)
    }
}

impl Store for SqliteStore {
    type Snapshot<'s> = SqliteTx<'s, Reading>;
    type WriteTx<'s> = SqliteTx<'s, Writing>;

    fn read(&mut self) -> Result<Self::Snapshot<'_>> {
        self.open_usage();
        self.end_read()?;
        let usage = Usage::new(self.usage.as_deref(), &self.usage_fault, &self.place);
        Ok(SqliteTx::new(self.main.transaction()?, usage))
    }

    fn begin_write(&mut self, _: Unaudited) -> Result<Self::WriteTx<'_>> {
        self.must_be_writable()?;
        self.load_keyring()?;
        self.open_usage();
        self.end_read()?;
        let usage = Usage::new(self.usage.as_deref(), &self.usage_fault, &self.place);
        let tx = self.main.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(SqliteTx::new(tx, usage))
    }

    fn keyring(&mut self) -> Result<Keyring> {
        self.load_keyring().cloned()
    }

    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<CredentialLookup>> {
        // What is found is remembered from the first time on, and what the files are compared with is as old.
        let is_at_rest = self.main.watch().is_at_rest();
        if is_at_rest || self.file_state.is_none() || self.looked_at.elapsed() >= LOOK_EVERY {
            self.look_at_files()?;
        }
        let found = self.cache.find(&self.main, digests);
        if is_at_rest {
            // What was changed meanwhile was read half before and half after.
            self.look_at_files()?;
        }
        found
    }

    fn end_read(&mut self) -> Result<()> {
        self.cache.end_read(&self.main)?;
        if self.main.watch().is_at_rest() || self.looked_at.elapsed() >= LOOK_EVERY {
            self.look_at_files()?;
            // It is opened anew when it is needed, and tells then if it cannot be.
            let _ = self.look_at_usage_file();
        }
        Ok(())
    }

    fn count_check(
        &mut self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        decide: &mut dyn FnMut(Window) -> bool,
    ) -> Result<()> {
        if self.usage.is_none() {
            // The one check of a process, most likely: it is over before anything could be written back.
            self.main.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let usage = self.usage.insert(usage::open_or_make(&self.place)?);
            usage::leave_log(usage, &self.place)?;
        }
        usage::count_check(self.usage_for_writing()?, id, counted_as, at, decide)
            .map_err(|error| usage::fault(&self.place, error))
    }

    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>> {
        if self.usage.is_none() && is_there(&self.place.usage()) {
            self.usage = Some(usage::open(&self.place, BUSY_TIMEOUT)?);
        }
        let window = self.usage.as_ref().map_or(Ok(None), |connection| usage::window(connection, counted_as));
        window.map_err(|error| usage::fault(&self.place, error))
    }

    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()> {
        // What was counted goes to the file that is there, whatever became of the one before.
        let _ = self.look_at_usage_file();
        usage::add(self.usage_for_writing()?, counts).map_err(|error| {
            // The next addition opens the file anew.
            self.usage = None;
            usage::fault(&self.place, error)
        })
    }

    fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        let keyring = self.keyring()?;
        self.end_read()?;
        // An index that hides records would hide what they say.
        backup::examine_pages(&self.main)?;
        verify_state(&mut self.read()?, &keyring, kept)
    }
}

/// Connects to a database that lies in its place.
fn connect_to(watch: &Watch) -> Result<Connection> {
    if !watch.is_at_rest() {
        return connect(watch.path());
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = percent_encode(watch.path().as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
        .map_err(|error| refused(watch.path(), error))
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // To SQLite `:memory:` and `file:keys.db` are no names of files; behind a directory everything is one.
    let named = if path.is_relative() { &Path::new(".").join(path) } else { path };
    let connection = Connection::open_with_flags(named, flags).map_err(|error| refused(path, error))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Names the file in what SQLite says at the first touch of it.
fn refused(path: &Path, error: rusqlite::Error) -> Error {
    let refusal = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => return obstacle::cannot_open(path),
        Some(ErrorCode::ReadOnly) => return obstacle::read_only(path),
        Some(ErrorCode::DatabaseCorrupt) => Refusal::Corrupt,
        Some(ErrorCode::NotADatabase) => Refusal::NotAStore,
        _ => return error.into(),
    };
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                ErrorKind::StoreLocked { waited: BUSY_TIMEOUT }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                ErrorKind::Damaged(error.to_string())
            }
            _ => ErrorKind::Engine(Box::new(error)),
        }
        .into()
    }
}

/// Makes what happened to the names in a directory survive a power cut.
fn sync_directory(directory: &Path) -> Result<()> {
    fs::File::open(directory).and_then(|handle| handle.sync_all()).map_err(file_error(directory))
}
