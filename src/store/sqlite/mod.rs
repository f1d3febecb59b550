//! The SQLite engine.
//!
//! Management writes to `NAME.db`, durably. Checks count their usage in `NAME.usage.db`, which may lose counts in a
//! power failure. Both use write-ahead logging, so that readers never wait. Opening is lazy: the store key is read and
//! the usage file opened at first use.

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

/// How often a long-lived connection checks that its files are still the ones found under their names.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long management waits for the usage file, which it can do without.
const USAGE_TIMEOUT: Duration = Duration::from_millis(250);

/// A connection to a store in an SQLite file.
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

/// A file of the store that users other than its owner can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl SqliteStore {
    /// Opens an existing store.
    ///
    /// # Errors
    /// [`ErrorKind::NoStore`] if there is none, and [`ErrorKind::StoreRefused`] if the file is not a usable store. The
    /// file is left unchanged then.
    pub fn open(place: &Place) -> Result<Self> {
        Self::open_waiting(place, BUSY_TIMEOUT)
    }

    /// Opens an existing store, and waits at most `patience` for a lock that another process holds. Servers use a short
    /// time, because their clients are waiting.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn open_waiting(place: &Place, patience: Duration) -> Result<Self> {
        let place = &place.anew();
        let (file, exposed) = files::guard(place)?;
        let main = WatchedConnection::open(place.database(), |watch| {
            // Open the file that was examined, not another one that has its name now.
            if watch.database() != file {
                return Err(ErrorKind::NoStore(place.database().to_owned()).into());
            }
            let mut main = connect_to(watch)?;
            main.busy_timeout(patience)?;
            if let Err(refused) = schema::bring_up_to_date(&mut main, place.database()) {
                // Closing must not write the log back to a file that is refused.
                main.set_db_config(
                    DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                    files::has_log(place.database()),
                )?;
                return Err(refused);
            }
            if !watch.has_companions() && !watch.is_at_rest() {
                // Another program has turned write-ahead logging off.
                main.pragma_update(None, "journal_mode", "WAL")?;
                schema::bring_up_to_date(&mut main, place.database())?;
            }
            // A change that was reported must survive a power failure.
            main.pragma_update(None, "synchronous", "FULL")?;
            main.pragma_update(None, "foreign_keys", true)?;
            // Overwrite removed rows, so that no free page holds a removed key.
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

    /// Optimizes the connection for looking up many different keys in sequence, instead of the same keys repeatedly.
    ///
    /// The connection keeps its snapshot open between lookups until another process commits, and caches no credentials.
    /// The open snapshot does not block writers, but prevents the write-ahead log from being restarted. Call
    /// [`Store::end_read`] before going idle.
    ///
    /// # Errors
    /// If the files in use are no longer the ones found under their names.
    pub fn for_many_keys(mut self) -> Result<Self> {
        self.look_at_files()?;
        self.cache = CredentialCache::for_many_keys();
        Ok(self)
    }

    /// Returns the location of the store.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the files of the store, including those that SQLite keeps beside them.
    ///
    /// Opening and closing one of them releases the POSIX locks of every connection to the store in this process.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let both = [files::itself(self.place.database()), files::itself(&self.place.usage())];
        let beside =
            both.iter().flat_map(|file| ["", "-wal", "-shm"].map(|suffix| files::beside(file, suffix)));
        beside.chain([self.place.store_key().to_owned()]).collect()
    }

    /// Returns true if both connections are to the same file, even if it was renamed.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.main.watch().database() == other.main.watch().database()
    }

    /// Returns the files of the store that users other than its owner can read.
    #[must_use]
    pub fn exposed(&self) -> &[Exposed] {
        &self.exposed
    }

    /// Checks that the open files are still the ones found under their names. Otherwise this connection would keep
    /// reading its open handles and never see another change.
    ///
    /// If the files were written to since the last call, the caches are cleared. Lookups call this once a second,
    /// because it costs as much as several lookups.
    ///
    /// # Errors
    /// If a file was moved, replaced or removed. The connection is unusable then: close it and every other connection
    /// of this process to the same place before opening the store again.
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

    /// Checks that the open usage file is still the one found under its name. If not, closes it; the next use opens or
    /// creates the file again.
    ///
    /// # Errors
    /// If it was moved, replaced or removed.
    pub fn look_at_usage_file(&mut self) -> Result<()> {
        let Some(usage) = &self.usage else { return Ok(()) };
        usage.watch().look().map(drop).map_err(|error| {
            self.usage = None;
            usage::fault(&self.place, error)
        })
    }

    /// Checks that this connection can change the store.
    fn must_be_writable(&self) -> Result<()> {
        if self.main.is_readonly(MAIN_DB)? {
            return Err(obstacle::read_only(self.main.watch().path()));
        }
        Ok(())
    }

    /// Returns the keys derived from the store key, which is read at first use.
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

    /// Returns the usage file, which is opened or created at first use.
    fn usage_for_writing(&mut self) -> Result<&mut Connection> {
        match &mut self.usage {
            Some(usage) => Ok(usage),
            none => Ok(none.insert(usage::open_or_make(&self.place)?)),
        }
    }

    /// Opens the usage file if it exists. A fault is kept for [`SqliteStore::usage_fault`] and does not fail the
    /// command.
    fn open_usage(&mut self) {
        if self.usage.is_some() || self.usage_fault.get().is_some() || !is_there(&self.place.usage()) {
            return;
        }
        match usage::open(&self.place, self.patience.min(USAGE_TIMEOUT)) {
            Ok(usage) => self.usage = Some(usage),
            Err(fault) => drop(self.usage_fault.set(fault)),
        }
    }

    /// Returns the fault of the usage file that makes times of last use unavailable, if any.
    #[must_use]
    pub fn usage_fault(&self) -> Option<&Error> {
        self.usage_fault.get()
    }
}

impl CreateStore for SqliteStore {
    type Location = Place;

    /// Creates the store key first, then the database under a temporary name, which is linked into place when complete.
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
            // If another process has just created the store, report that instead of its key.
            files::refuse_remains(place).err().unwrap_or(error)
        })?;
        let keyring = Keyring::new(&store_key)?;
        let draft = files::Draft::beside(place.database(), entropy)?;
        {
            let mut connection = connect(draft.path())?;
            // No other process opens the file before it is complete and synced, so it needs no journal on disk.
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
        // The first lookup fills the cache, so the state that files are compared with must not be older than that.
        let is_at_rest = self.main.watch().is_at_rest();
        if is_at_rest || self.file_state.is_none() || self.looked_at.elapsed() >= LOOK_EVERY {
            self.look_at_files()?;
        }
        let found = self.cache.find(&self.main, digests);
        if is_at_rest {
            // The lookup is invalid if the database was changed in the meantime.
            self.look_at_files()?;
        }
        found
    }

    fn end_read(&mut self) -> Result<()> {
        self.cache.end_read(&self.main)?;
        if self.main.watch().is_at_rest() || self.looked_at.elapsed() >= LOOK_EVERY {
            self.look_at_files()?;
            // The next use opens it again and reports a fault.
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
            // Most likely the only check of this process: do not write the log back when it ends.
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
        // The counts go to the file that exists now, even if the open one was removed.
        let _ = self.look_at_usage_file();
        usage::add(self.usage_for_writing()?, counts).map_err(|error| {
            // The next call opens the file again.
            self.usage = None;
            usage::fault(&self.place, error)
        })
    }

    fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        let keyring = self.keyring()?;
        self.end_read()?;
        // A corrupt database index could hide records from the comparison.
        backup::examine_pages(&self.main)?;
        verify_state(&mut self.read()?, &keyring, kept)
    }
}

/// Connects to an existing database.
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
    // SQLite does not treat `:memory:` and `file:keys.db` as file names, except behind a directory.
    let named = if path.is_relative() { &Path::new(".").join(path) } else { path };
    let connection = Connection::open_with_flags(named, flags).map_err(|error| refused(path, error))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Adds the path to an error that SQLite returns at the first access to a file.
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

/// Syncs a directory, so that changes of its entries survive a power failure.
fn sync_directory(directory: &Path) -> Result<()> {
    fs::File::open(directory).and_then(|handle| handle.sync_all()).map_err(file_error(directory))
}
