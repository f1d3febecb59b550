//! The schema: recognizes the files of a store, their version, and migrates older ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite_migration::{M, Migrations};

use super::{connect, refused};
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::store::{Unrecorded, Visit};

/// The application id of a pdkeys store in SQLite's file header: "pdky".
pub(super) const APPLICATION_ID: i32 = 0x7064_6b79;

/// The length of SQLite's file header in bytes.
pub(super) const HEADER_LEN: usize = 100;

/// Every migration of the schema, in order. A released migration is never changed; new ones are appended.
const STEPS: &[M<'_>] = &[
    M::up(include_str!("migrations/0001_account_users_keys.sql")),
    M::up(include_str!("migrations/0002_tokens_services_integrations.sql")),
    M::up(include_str!("migrations/0003_apps.sql")),
    M::up(include_str!("migrations/0004_disabled_by_its_holder.sql")),
    M::up(include_str!("migrations/0005_the_trail_answers_for_the_state.sql")),
];

/// The schema version of this program.
#[expect(clippy::cast_possible_wrap, reason = "a handful of steps")]
const KNOWN: i64 = STEPS.len() as i64;

/// Checks that a file header is that of a store, before SQLite opens the file.
pub(super) fn check_header(header: &[u8; HEADER_LEN]) -> Result<(), Refusal> {
    let (magic, _) = header.split_at(16);
    if magic != b"SQLite format 3\0" {
        return Err(Refusal::NotAStore);
    }
    let [a, b, c, d] = [header[68], header[69], header[70], header[71]];
    if i32::from_be_bytes([a, b, c, d]) != APPLICATION_ID {
        return Err(Refusal::ForeignApplication);
    }
    Ok(())
}

/// Checks that a file without a write-ahead log is not truncated: its length is a multiple of the page size, and at
/// least that in its header. A file with a log can be shorter.
pub(super) fn check_length(header: &[u8; HEADER_LEN], length: u64) -> Result<(), Refusal> {
    let number = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        u64::from(u32::from_be_bytes(bytes))
    };
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        // The encoding of the one size that does not fit into two bytes.
        1 => 65_536,
        0 => return Err(Refusal::Corrupt),
        size => u64::from(size),
    };
    // The number of pages is valid only if the header was last written by a program that maintains it.
    let pages = if number(24) == number(92) { number(28) } else { 0 };
    if length.is_multiple_of(page_size) && length >= pages * page_size {
        Ok(())
    } else {
        Err(Refusal::Corrupt)
    }
}

/// Refuses a file with a newer schema version, which may be only in its log, without creating files beside it: in
/// exclusive mode SQLite needs no shared index. Other faults are found when the file is opened for use.
pub(super) fn refuse_newer(path: &Path) -> Result<()> {
    let connection = connect(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    match version(&connection, path) {
        Ok(found) if found > KNOWN => Err(newer(path, found)),
        _ => Ok(()),
    }
}

/// Applies the migrations that a file lacks, and refuses a file with a newer schema version.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = version(connection, path)?;
    if found == KNOWN {
        return Ok(());
    }
    if found > KNOWN {
        return Err(newer(path, found));
    }
    match Migrations::from_slice(STEPS).to_latest(connection) {
        Ok(()) => Ok(()),
        // Another process may have applied the same migrations in the meantime.
        Err(_) if version(connection, path)? == KNOWN => Ok(()),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(err.into()),
        Err(error) => Err(ErrorKind::Engine(Box::new(error)).into()),
    }
}

/// Visits what is not as the steps leave it: a trigger acts on what is written later, and a view can show one state now
/// and another tomorrow, so that rows alone do not say what a store holds.
pub(super) fn differences(connection: &Connection, visit: Visit<'_, Unrecorded>) -> Result<()> {
    let mut fresh = Connection::open_in_memory()?;
    Migrations::from_slice(STEPS)
        .to_latest(&mut fresh)
        .map_err(|error| ErrorKind::Engine(Box::new(error)))?;
    let (made, present) = (definitions(&fresh)?, definitions(connection)?);
    let names: BTreeSet<_> = made.keys().chain(present.keys()).collect();
    for name in names {
        let (made, present) = (made.get(name), present.get(name));
        if made == present {
            continue;
        }
        let (kind, called) = name;
        let called = format!("{kind} {called}");
        let other = if made.is_some() { format!("another {called}") } else { called.clone() };
        let (made, present) = (made.map(|_| called), present.map(|_| other));
        if visit(Unrecorded::Schema { made, present })?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Returns the statement that defines each table, index, trigger and view, by kind and name. Not those of SQLite's own
/// indexes, which follow from their tables, and of the statistics that `ANALYZE` keeps.
fn definitions(connection: &Connection) -> Result<BTreeMap<(String, String), Option<String>>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema
         WHERE NOT (type = 'index' AND sql IS NULL)
           AND NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))",
    )?;
    let definitions = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(definitions.collect::<Result<_, _>>()?)
}

/// Returns the schema version of a file: the number of migrations applied to it.
fn version(connection: &Connection, path: &Path) -> Result<i64> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| refused(path, error))
}

fn newer(path: &Path, found: i64) -> Error {
    let refusal = Refusal::NewerSchema { found, known: KNOWN };
    ErrorKind::StoreRefused { path: path.to_owned(), refusal }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_well_formed() {
        Migrations::from_slice(STEPS).validate().unwrap();
    }
}
