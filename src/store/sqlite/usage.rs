//! The usage file: when each credential was last used, and how often in each hour.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::columns::{Columns, text};
use super::{connect, file_error, refused};
use crate::error::Result;
use crate::model::Id;
use crate::store::{Flow, UsageCount, Window};

const MILLISECONDS_AN_HOUR: i64 = 3_600_000;
/// The version of a usage file with all its tables.
const MADE: i64 = 1;
/// How many pages the log of the usage file may have before it is written back: few, since whoever opens the file next
/// reads them all.
const LOG_PAGES: i64 = 100;

/// Opens the usage file.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    // Counts may be lost to a power cut; checks are many.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(|error| refused(path, error))?;
    Ok(connection)
}

/// Opens the usage file, and makes it first if it is not there.
pub(super) fn open_or_make(path: &Path) -> Result<Connection> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file_error(path)(error)),
    }
    let connection = open(path)?;
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| refused(path, error))?;
    if version == MADE {
        return Ok(connection);
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(|error| refused(path, error))?;
    connection.execute_batch(include_str!("usage.sql"))?;
    Ok(connection)
}

/// Makes closing cheap, for a process that makes one check: the log stays, and whoever finds it long enough writes it
/// back.
pub(super) fn leave_log(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?)
}

/// Adds counts, all in one transaction.
pub(super) fn add(connection: &mut Connection, counts: &[UsageCount]) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for count in counts {
        add_one(&tx, count)?;
    }
    Ok(tx.commit()?)
}

fn add_one(connection: &Connection, count: &UsageCount) -> Result<()> {
    let id = text(&count.id);
    let at = count.at.as_millisecond();
    connection
        .prepare_cached(
            "INSERT INTO last_used (id, at) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)",
        )?
        .execute(params![id, at])?;
    connection
        .prepare_cached(
            "INSERT INTO hourly (id, hour, allowed, denied) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id, hour) DO UPDATE SET allowed = allowed + excluded.allowed,
                 denied = denied + excluded.denied",
        )?
        .execute(params![id, at.div_euclid(MILLISECONDS_AN_HOUR), count.allowed, count.denied])?;
    Ok(())
}

/// The window that was last counted.
pub(super) fn window(connection: &Connection, counted_as: Id) -> Result<Option<Window>> {
    let mut statement = connection.prepare_cached("SELECT began_at, count FROM window WHERE id = ?1")?;
    let mut rows = statement.query([text(&counted_as)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::of(row);
    Ok(Some(Window { began_at: columns.moment()?, count: columns.value()? }))
}

/// Counts one check in the file, exactly, whoever else is counting.
pub(super) fn count_check(
    connection: &mut Connection,
    id: Id,
    counted_as: Id,
    at: Timestamp,
    settle: &mut dyn FnMut(Window) -> bool,
) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let window = Window::with_one_more(window(&tx, counted_as)?, at);
    tx.prepare_cached(
        "INSERT INTO window (id, began_at, count) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, count = excluded.count",
    )?
    .execute(params![text(&counted_as), window.began_at.as_millisecond(), window.count])?;
    let allowed = settle(window);
    add_one(&tx, &UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) })?;
    Ok(tx.commit()?)
}

pub(super) fn last_used(connection: &Connection, id: Id) -> Result<Option<Timestamp>> {
    let mut statement = connection.prepare_cached("SELECT at FROM last_used WHERE id = ?1")?;
    let at: Option<i64> = statement.query_row([text(&id)], |row| row.get(0)).optional()?;
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Shows when each credential was last used, the longest unused first.
pub(super) fn each_by_last_use(
    connection: &Connection,
    reverse: bool,
    visit: &mut dyn FnMut(Id, Timestamp) -> Flow,
) -> Result<()> {
    let direction = if reverse { "DESC" } else { "ASC" };
    let mut statement =
        connection.prepare_cached(&format!("SELECT id, at FROM last_used ORDER BY at {direction}, id"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        if visit(columns.parsed()?, columns.moment()?)?.is_break() {
            break;
        }
    }
    Ok(())
}
