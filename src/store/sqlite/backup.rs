//! Backups of the store: taken while other processes write, verified, and restored.
//!
//! A copy is made with one step of SQLite's backup API, which reads one snapshot and does not block writers. A backup
//! is restored with the same API, never by renaming files: processes that have the store open keep using the old file,
//! and its write-ahead log would be applied to the new one. The API replaces the content in one transaction. A process
//! that is killed meanwhile leaves either the old store or the new one, and processes that check keys see the change at
//! their next check.
//!
//! A backup to restore is first copied beside the store. That copy is verified and migrated, and the record of the
//! restore is appended to its audit trail, so that the record is part of the same transaction.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoErrorKind, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::files::{self, Draft, Identity};
use super::lookup::CredentialFinder;
use super::secrets::{self, Kind};
use super::transaction::{Reading, SqliteTx, Usage, Writing};
use super::{SqliteStore, account, apps, audit, connect, file_error, schema, users};
use crate::authz::Permit;
use crate::error::{Conflict, Error, ErrorKind, KeyFault, Refusal, Result};
use crate::model::{Account, Change, Digest, Head, Keyring, Restoration, StoreKey, User};
use crate::ports::Entropy;
use crate::store::{
    AppBy, BackupStore, Chain, CredentialStatus, LookupResult, Offered, Place, Reactivated, Replay, Restored,
    Store as _, Transaction as AuditedTransaction, UserBy, verify_audit, verify_state,
};

/// The number of pages to copy in one step: all of them.
const ALL: i32 = -1;

/// A verified copy of a backup beside the store, ready to replace it.
pub struct Backup {
    /// Declared before `draft`, so that it is closed first: closing removes the log beside the draft.
    connection: Connection,
    draft: Draft,
    keyring: Keyring,
    head: Head,
    replay: Replay,
    /// The store key to install, if there is none at the place.
    missing_key: Option<StoreKey>,
}

impl BackupStore for SqliteStore {
    type Backup = Backup;

    fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>, entropy: &mut dyn Entropy) -> Result<Head> {
        for file in [Some(to), store_key_to].into_iter().flatten() {
            refuse_existing(file)?;
            if self.place.owns(file) {
                return Err(Conflict::StoresOwnName(file.to_owned()).into());
            }
        }
        let draft = Draft::anywhere(to, entropy)?;
        let head = self.copy_to(&draft)?;
        if let Some(target) = store_key_to {
            let store_key = files::read_store_key(self.place.store_key())?;
            let written = files::write_store_key(&store_key, Draft::anywhere(target, entropy)?);
            written.map_err(|error| taken(error, target))?;
        }
        draft.link_into_place().map_err(|error| taken(error, to))?;
        Ok(head)
    }

    fn stream_backup(&mut self, out: &mut dyn Write, entropy: &mut dyn Entropy) -> Result<Head> {
        let mut draft = Draft::beside(self.place.database(), entropy)?;
        let head = self.copy_to(&draft)?;
        let copied =
            draft.file().rewind().and_then(|()| io::copy(draft.file(), out)).and_then(|_| out.flush());
        copied.map_err(ErrorKind::Output)?;
        Ok(head)
    }

    fn check_backup(
        place: &Place,
        offered: Offered<'_>,
        store_key: Option<&Path>,
        entropy: &mut dyn Entropy,
    ) -> Result<Backup> {
        let file = offered.name();
        let refuse = |refusal| Error::from(ErrorKind::BackupRefused { path: file.to_owned(), refusal });
        if let Offered::At(file) = offered {
            guard_backup(place, file)?;
        }
        let (keyring, missing_key) = find_key(place, store_key)?;
        files::make_directory(place)?;
        let mut draft = Draft::beside(place.database(), entropy)?;
        match offered {
            Offered::At(file) => File::open(file).and_then(|mut file| io::copy(&mut file, draft.file())),
            Offered::Stream { content, .. } => io::copy(content, draft.file()),
        }
        .map_err(file_error(file))?;
        // A stream can only be examined after it was copied.
        draft.file().rewind().map_err(file_error(file))?;
        guard_content(draft.file(), file)?;
        // From here on, every fault that SQLite finds is a fault of the backup.
        let about_backup = |error: Error| match error.kind() {
            ErrorKind::Damaged(why) => refuse(Refusal::Damaged(why.clone())),
            ErrorKind::StoreRefused { refusal: Refusal::Corrupt, .. } => {
                refuse(Refusal::Damaged("SQLite cannot read it".to_owned()))
            }
            ErrorKind::StoreRefused { refusal, .. } => refuse(refusal.clone()),
            _ => error,
        };
        let open = || -> Result<(Connection, (Head, Replay))> {
            let mut connection = connect(draft.path())?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            examine_pages(&connection)?;
            schema::bring_up_to_date(&mut connection, file)?;
            let check: Vec<u8> =
                connection.query_row("SELECT value FROM store_key_check", [], |row| row.get(0))?;
            if !keyring.belongs_to(&check) {
                let path = store_key.unwrap_or(place.store_key()).to_owned();
                return Err(ErrorKind::StoreKey { path, fault: KeyFault::Foreign }.into());
            }
            let examined = examine_state(&connection, &keyring)?;
            Ok((connection, examined))
        };
        let (connection, (head, replay)) = open().map_err(about_backup)?;
        Ok(Backup { connection, draft, keyring, head, replay, missing_key })
    }

    fn account_of(backup: &Backup) -> Result<(Account, Head)> {
        Ok((account::get(&backup.connection)?, backup.head))
    }

    fn replay_of(backup: &Backup) -> &Replay {
        &backup.replay
    }

    fn user_of(backup: &Backup, uid: u32) -> Result<Option<User>> {
        users::get(&backup.connection, UserBy::OsUser(uid))
    }

    fn reactivated_by(&mut self, backup: &Backup, at: Timestamp) -> Result<Vec<Reactivated>> {
        self.end_read()?;
        reactivated(&backup.connection, &self.main, at)
    }

    fn restore(
        &mut self,
        backup: Backup,
        known: &[Reactivated],
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored> {
        self.must_be_writable()?;
        let at = permit.at();
        let present = connect(self.place.database())?;
        let head = backup.record(permit, Some(audit::head(&present)?))?;
        self.end_read()?;
        self.keyring = None;
        let aside = aside(&self.place, at);
        {
            let copying = Copying::new(&backup.connection, &mut self.main)?;
            // Copies no page, but takes the write lock.
            step(&copying, 0)?;
            // Credentials may have been disabled after the caller read the list that it passed as `known`.
            let reactivated = reactivated(&backup.connection, &present, at)?;
            if let Some(unknown) = reactivated.iter().find(|reactivated| !known.contains(reactivated)) {
                return Err(Conflict::ChangedMeanwhile(unknown.id).into());
            }
            let draft = Draft::beside(&aside, entropy)?;
            CopyInProgress::of(&present, &draft)?.close()?;
            draft.link_into_place()?;
            backup.put_key(&self.place, entropy)?;
            step(&copying, ALL)?;
        }
        Ok(Restored { head, kept: Some(aside) })
    }

    fn restore_lost(
        place: &Place,
        backup: Backup,
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored> {
        let at = permit.at();
        let head = backup.record(permit, None)?;
        let database = place.database();
        if !database.exists() {
            files::refuse_remains(place)?;
            backup.put_key(place, entropy)?;
            let Backup { connection, draft, .. } = backup;
            connection.close().map_err(|(_, error)| error)?;
            draft.link_into_place()?;
            return Ok(Restored { head, kept: None });
        }
        let aside = aside(place, at);
        keep_as_it_is(database, &aside, entropy)?;
        backup.put_key(place, entropy)?;
        let mut connection = connect(database)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        step(&Copying::new(&backup.connection, &mut connection)?, ALL)?;
        Ok(Restored { head, kept: Some(aside) })
    }
}

impl SqliteStore {
    /// Copies the store to a draft and verifies the copy.
    fn copy_to(&mut self, draft: &Draft) -> Result<Head> {
        let keyring = self.load_keyring()?.clone();
        self.end_read()?;
        let copy = CopyInProgress::of(&self.main, draft)?;
        let head = examine(&copy.0, &keyring)?;
        copy.close()?;
        Ok(head)
    }
}

impl Backup {
    /// Appends the record of the restore to the audit chain of the backup, and returns its new head.
    fn record(&self, permit: Permit, replaced: Option<Head>) -> Result<Head> {
        let account = account::get(&self.connection)?.name;
        let before = Restoration { account, restored: None, replaced: None };
        let after = Restoration { restored: Some(self.head), replaced, ..before.clone() };
        let change = Change::Update { before, after };
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let rows = SqliteTx::<Writing>::new(tx, Usage::none());
        let mut tx = AuditedTransaction::of_new_store(rows, self.keyring.clone());
        let head = tx.record_restore(permit, &change)?;
        tx.commit()?;
        Ok(head)
    }

    /// Installs the store key if there is none.
    fn put_key(&self, place: &Place, entropy: &mut dyn Entropy) -> Result<()> {
        let Some(store_key) = &self.missing_key else { return Ok(()) };
        let target = place.store_key();
        let written = files::write_store_key(store_key, Draft::beside(target, entropy)?);
        written.map_err(|error| taken(error, target))
    }
}

/// A copy in progress. No other process opens it before it is complete and synced, so it needs no journal on disk.
struct CopyInProgress(Connection);

impl CopyInProgress {
    fn of(from: &Connection, draft: &Draft) -> Result<Self> {
        let mut copy = connect(draft.path())?;
        copy.pragma_update(None, "journal_mode", "MEMORY")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        step(&Copying::new(from, &mut copy)?, ALL)?;
        Ok(Self(copy))
    }

    fn close(self) -> Result<()> {
        self.0.close().map_err(|(_, error)| error.into())
    }
}

fn step(copying: &Copying<'_, '_>, pages: i32) -> Result<()> {
    match copying.step(pages)? {
        StepResult::Done => Ok(()),
        StepResult::More if pages == 0 => Ok(()),
        StepResult::Busy | StepResult::Locked => {
            Err(ErrorKind::StoreLocked { waited: super::BUSY_TIMEOUT }.into())
        }
        _ => Err(ErrorKind::Damaged("the copy did not complete".to_owned()).into()),
    }
}

/// Returns the path to which the present store is copied aside.
fn aside(place: &Place, at: Timestamp) -> PathBuf {
    place.replaced(&at.strftime("%Y%m%dT%H%M%S%3fZ").to_string())
}

/// Copies a store that SQLite may be unable to read, with its log, byte by byte.
///
/// This process must not have it open: closing the file would release the POSIX locks of SQLite's connections.
fn keep_as_it_is(database: &Path, aside: &Path, entropy: &mut dyn Entropy) -> Result<()> {
    for (from, to) in [(files::log_of(database), files::log_of(aside)), (database.into(), aside.into())] {
        match File::open(&from) {
            Ok(mut file) => {
                let mut draft = Draft::beside(&to, entropy)?;
                io::copy(&mut file, draft.file()).map_err(file_error(&to))?;
                draft.link_into_place()?;
            }
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            Err(error) => return Err(file_error(&from)(error)),
        }
    }
    Ok(())
}

fn refuse_existing(file: &Path) -> Result<()> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(exists(file)),
        Err(_) => Ok(()),
    }
}

fn exists(file: &Path) -> Error {
    Conflict::FileExists(file.to_owned()).into()
}

/// Turns the error that a draft's target exists into that for a file.
fn taken(error: Error, file: &Path) -> Error {
    if matches!(error.kind(), ErrorKind::StoreExists(_)) { exists(file) } else { error }
}

/// Checks that a file has the header of a store and is not truncated. `name` is shown in errors.
fn guard_content(content: &mut File, name: &Path) -> Result<()> {
    let refuse = |refusal| Error::from(ErrorKind::BackupRefused { path: name.to_owned(), refusal });
    let length = content.metadata().map_err(file_error(name))?.len();
    let mut header = [0; schema::HEADER_LEN];
    match content.read_exact(&mut header) {
        Ok(()) => {
            schema::check_header(&header).and_then(|()| schema::check_length(&header, length)).map_err(refuse)
        }
        Err(error) if error.kind() == IoErrorKind::UnexpectedEof => Err(refuse(Refusal::NotAStore)),
        Err(error) => Err(file_error(name)(error)),
    }
}

/// Checks a backup file before its content is copied.
fn guard_backup(place: &Place, file: &Path) -> Result<()> {
    let refuse = |refusal| Error::from(ErrorKind::BackupRefused { path: file.to_owned(), refusal });
    let metadata = fs::metadata(file).map_err(file_error(file))?;
    if !metadata.is_file() {
        return Err(refuse(Refusal::NotAFile));
    }
    let is_store = |store: &fs::Metadata| Identity::of(store) == Identity::of(&metadata);
    if fs::metadata(place.database()).is_ok_and(|store| is_store(&store)) {
        return Err(Conflict::IsStore(file.to_owned()).into());
    }
    if fs::metadata(files::log_of(file)).is_ok_and(|log| log.len() > 0) {
        return Err(Conflict::StoreInUse(file.to_owned()).into());
    }
    guard_content(&mut File::open(file).map_err(file_error(file))?, file)
}

/// Returns the keyring for a backup, from the given store key file or the one at the place, and the store key to
/// install if the place has none. If both exist they must be equal.
fn find_key(place: &Place, given: Option<&Path>) -> Result<(Keyring, Option<StoreKey>)> {
    let there = files::read_key_of(place);
    let Some(given) = given else {
        return Ok((Keyring::new(&there?)?, None));
    };
    let store_key = files::read_store_key(given)?;
    let keyring = Keyring::new(&store_key)?;
    match there {
        Ok(there) if keyring.belongs_to(&Keyring::new(&there)?.check_value()) => Ok((keyring, None)),
        Ok(_) => Err(Conflict::OtherStoreKey(place.store_key().to_owned()).into()),
        Err(error) if matches!(error.kind(), ErrorKind::StoreKey { fault: KeyFault::Missing, .. }) => {
            if place.has_key_among_databases() {
                return Err(Conflict::StoresOwnName(place.store_key().to_owned()).into());
            }
            Ok((keyring, Some(store_key)))
        }
        Err(error) => Err(error),
    }
}

/// Verifies the pages and the audit chain of a database, and returns the head of the chain.
fn examine(connection: &Connection, keyring: &Keyring) -> Result<Head> {
    examine_pages(connection)?;
    intact(verify_audit(&mut snapshot(connection)?, keyring, None)?)
}

/// Verifies a database like [`examine`], and compares its state with its audit trail.
fn examine_state(connection: &Connection, keyring: &Keyring) -> Result<(Head, Replay)> {
    examine_pages(connection)?;
    let (chain, replay) = verify_state(&mut snapshot(connection)?, keyring, None)?;
    Ok((intact(chain)?, replay.unwrap_or_default()))
}

/// Begins a read transaction on a separate connection.
fn snapshot(connection: &Connection) -> Result<SqliteTx<'_, Reading>> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    Ok(SqliteTx::new(tx, Usage::none()))
}

fn intact(chain: Chain) -> Result<Head> {
    match chain {
        Chain::Intact(head) => Ok(head),
        Chain::BrokenAt(number) => {
            Err(ErrorKind::Damaged(format!("the audit trail is broken at record {number}")).into())
        }
    }
}

/// Checks the integrity of all pages and indexes, and every foreign key.
pub(super) fn examine_pages(connection: &Connection) -> Result<()> {
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|error| {
            match error.sqlite_error_code() {
                // The check evaluates indexed expressions, and fails on a record that is no longer JSON.
                Some(ErrorCode::Unknown) => ErrorKind::Damaged(error.to_string()).into(),
                _ => Error::from(error),
            }
        })?;
    if found != "ok" {
        // The first line is a heading.
        let fault = found.lines().last().unwrap_or_default();
        return Err(ErrorKind::Damaged(fault.to_owned()).into());
    }
    let mut dangling = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = dangling.query([])?;
    match rows.next()? {
        None => Ok(()),
        Some(row) => {
            let table: String = row.get(0)?;
            Err(ErrorKind::Damaged(format!("a row of {table} refers to a missing row")).into())
        }
    }
}

/// Returns the credentials that are live in the backup but not in the present store.
fn reactivated(backup: &Connection, present: &Connection, at: Timestamp) -> Result<Vec<Reactivated>> {
    let mut found = Vec::new();
    let mut statement = backup.prepare("SELECT digest, kind FROM digest")?;
    let mut rows = statement.query([])?;
    let (mut then, mut now) = (CredentialFinder::new(backup), CredentialFinder::new(present));
    while let Some(row) = rows.next()? {
        let digest = Digest::stored(row.get(0)?);
        if row.get_ref(1)?.as_str().is_ok_and(|kind| kind == Kind::Client.as_str()) {
            found.extend(reactivated_client(backup, present, &digest, at)?);
            continue;
        }
        let LookupResult::Known(credential) = then.find(&digest)? else { continue };
        if credential.inactive_reason(at).is_some() {
            continue;
        }
        let status = now.find(&digest)?.status(at);
        if status != CredentialStatus::Live {
            let (id, description, hint) =
                (credential.id, credential.description.clone(), credential.hint.clone());
            found.push(Reactivated { id, description, hint, status });
        }
    }
    found.sort_by_key(|reactivated| reactivated.id.to_string());
    Ok(found)
}

/// Returns the app of a client secret that is live in the backup but not in the present store.
fn reactivated_client(
    backup: &Connection,
    present: &Connection,
    digest: &Digest,
    at: Timestamp,
) -> Result<Option<Reactivated>> {
    let Some(app) = apps::get(backup, AppBy::ClientSecret(digest, at))? else { return Ok(None) };
    if apps::get(present, AppBy::ClientSecret(digest, at))?.is_some() {
        return Ok(None);
    }
    let status = match secrets::tombstone(present, digest)? {
        Some(tombstone) => LookupResult::Dead(tombstone).status(at),
        None => CredentialStatus::Unknown,
    };
    Ok(Some(Reactivated { id: app.id, description: app.name.to_string(), hint: Some(app.hint), status }))
}
