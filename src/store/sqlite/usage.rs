//! The usage file: when each credential was last used, how often in each hour, and rate-limit windows.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, Row, Transaction, TransactionBehavior, params};

use super::columns::{self, Columns, optional_text, text};
use super::connection::WatchedConnection;
use super::files::{Draft, Way, beside, guard_from_others, guard_way, log_of};
use super::obstacle::{can_write, read_only};
use super::{BUSY_TIMEOUT, connect, connect_to, file_error};
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::model::Id;
use crate::ports::SystemEntropy;
use crate::store::place::directory_of;
use crate::store::{HourlyUsage, Place, UsageCount, UsageQuery, Visit, Window};

const SCHEMA: &str = include_str!("usage.sql");
/// The schema version, which the last line of the schema sets.
const VERSION: i64 = 1;
/// The maximum number of rows in the table `recent`, which is about a thousand pages.
const MOST_RECENT: i64 = 100_000;
const MILLISECONDS_AN_HOUR: i64 = 3_600_000;
const HOURS_A_DAY: i64 = 24;
/// How many days hourly counts are kept.
const DAYS_KEPT: i64 = 90;
/// The maximum length in bytes of the usage file's log that a process with a single check leaves behind: a hundred
/// pages, because the next process to open the file reads them all.
const SHORT_LOG: u64 = 100 * 4096;
/// The page cache while counts are added: 24 MiB, which SQLite expects as a negative number of KiB, and which is more
/// than one addition needs. In a build of SQLite without the flags of `.cargo/config.toml`, all connections of a
/// process share their page memory, and a connection at its limit would take pages from those that check.
const PAGES: i64 = -24 * 1024;

/// Opens the usage file, and waits at most `patience` for a lock that another process holds.
pub(super) fn open(place: &Place, patience: Duration) -> Result<WatchedConnection> {
    let path = &place.usage();
    let guard = || {
        if guard_way(place, path)? == Way::Ends {
            return Err(file_error(path)(io::ErrorKind::NotFound.into()));
        }
        let metadata = fs::metadata(path).map_err(file_error(path))?;
        if !metadata.is_file() {
            return Err(ErrorKind::StoreRefused { path: path.clone(), refusal: Refusal::NotAFile }.into());
        }
        guard_from_others(place, path, &metadata)
    };
    let opened = guard().and_then(|_| {
        WatchedConnection::open(path, |watch| {
            let connection = connect_to(watch)?;
            connection.busy_timeout(patience)?;
            // Counts may be lost in a power failure; syncing for every check would be too slow.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // Detect a foreign or damaged file now, not in the middle of a command.
            connection.prepare_cached("SELECT at FROM last_used WHERE id = ?1")?.exists([""])?;
            if !watch.has_companions() && !watch.is_at_rest() {
                // Another program has turned write-ahead logging off.
                connection.pragma_update(None, "journal_mode", "WAL")?;
            }
            bring_up_to_date(&connection)?;
            Ok(connection)
        })
    });
    opened.map_err(|error| fault(place, error))
}

/// Turns an error into a fault of the usage file, on which nothing else in the store depends.
pub(super) fn fault(place: &Place, error: Error) -> Error {
    let path = place.usage();
    let why = match error.kind() {
        ErrorKind::UsageFile { .. } | ErrorKind::StoreRefused { refusal: Refusal::ReadOnly, .. } => {
            return error;
        }
        ErrorKind::StoreLocked { .. } => "locked by another process".to_owned(),
        ErrorKind::NoStore(_) => "was removed just now".to_owned(),
        ErrorKind::StoreRefused { path: file, refusal } if *file == path => refusal.to_string(),
        // A file that SQLite keeps beside it.
        ErrorKind::StoreRefused { path: file, refusal } => {
            format!("{}: {refusal}", file.file_name().unwrap_or_default().display())
        }
        ErrorKind::Engine(source) => source.to_string(),
        ErrorKind::File { source, .. } => source.to_string(),
        _ => error.to_string(),
    };
    ErrorKind::UsageFile { path, why }.into()
}

/// Adds the tables that an older version did not create.
fn bring_up_to_date(connection: &Connection) -> Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < VERSION {
        let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        tx.execute_batch(SCHEMA)?;
        tx.commit()?;
    }
    Ok(())
}

/// Opens the usage file, and creates it first if it does not exist.
pub(super) fn open_or_make(place: &Place) -> Result<WatchedConnection> {
    let path = place.usage();
    if !path.exists() {
        if !can_write(directory_of(&path)) {
            return Err(read_only(&path));
        }
        make(place).map_err(|error| fault(place, error))?;
    }
    let usage = open(place, BUSY_TIMEOUT)?;
    if usage.is_readonly(MAIN_DB)? {
        return Err(read_only(&path));
    }
    Ok(usage)
}

/// Creates the usage file under a temporary name, and links it into place when it is complete.
fn make(place: &Place) -> Result<()> {
    let path = &place.usage();
    let draft = Draft::beside(path, &mut SystemEntropy)?;
    let connection = connect(draft.path())?;
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    // One process at a time: the log that is removed must not belong to a file that another process has just created.
    let directory = place.directory();
    let turn = File::open(directory).map_err(file_error(directory))?;
    turn.lock().map_err(file_error(directory))?;
    if path.exists() {
        return Ok(());
    }
    // These belong to a usage file that was deleted, perhaps while another process had it open. SQLite would apply the
    // log to the new file, and the index would hide later changes.
    for left in [log_of(path), beside(path, "-shm")] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(path)(error)),
            _ => {}
        }
    }
    match draft.link_into_place() {
        // Another process created it first.
        Err(error) if matches!(error.kind(), ErrorKind::StoreExists(_)) => Ok(()),
        linked => linked,
    }
}

/// Makes closing cheap for a process with a single check: leaves the log as it is, unless it is long.
pub(super) fn leave_log(connection: &Connection, place: &Place) -> Result<()> {
    let is_short = fs::metadata(log_of(&place.usage())).is_ok_and(|log| log.len() < SHORT_LOG);
    Ok(connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_short).map(drop)?)
}

/// Adds counts in one transaction.
pub(super) fn add(connection: &mut Connection, counts: &[UsageCount]) -> Result<()> {
    connection.pragma_update(None, "cache_size", PAGES)?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(last) = counts.last() {
        add_all(&tx, counts)?;
        take_over(&tx, MOST_RECENT)?;
        sweep(&tx, last.at)?;
    }
    tx.commit()?;
    // Release the memory until the next addition. The counts are committed, so a failure here does not matter.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
    Ok(())
}

/// Removes outdated counts, once a day.
fn sweep(connection: &Connection, at: Timestamp) -> Result<()> {
    let hour = at.as_millisecond().div_euclid(MILLISECONDS_AN_HOUR);
    let due = connection
        .prepare_cached(
            "INSERT INTO swept (only, day) VALUES (1, ?1)
             ON CONFLICT (only) DO UPDATE SET day = excluded.day WHERE day < excluded.day",
        )?
        .execute([hour.div_euclid(HOURS_A_DAY)])?;
    if due > 0 {
        take_over(connection, MOST_RECENT)?;
        let oldest = hour - DAYS_KEPT * HOURS_A_DAY;
        connection.execute("DELETE FROM past WHERE hour < ?1", [oldest])?;
        let over = at.as_millisecond() - HOURS_A_DAY * MILLISECONDS_AN_HOUR;
        connection.execute("DELETE FROM window WHERE began_at < ?1", [over])?;
    }
    Ok(())
}

/// The upsert clause of `recent` and `last_used`: adds to the counts of the same hour, replaces those of an earlier
/// hour, and changes nothing if the row is of a later hour.
const OR_ADD_TO_HOUR: &str = "
    ON CONFLICT (id) DO UPDATE SET
        at = max(at, excluded.at),
        hour = excluded.hour,
        allowed = excluded.allowed + iif(hour = excluded.hour, allowed, 0),
        denied = excluded.denied + iif(hour = excluded.hour, denied, 0)
    WHERE excluded.hour >= hour";
/// The upsert clause of `past`: adds to the counts of the same hour.
const OR_ADD_TO_PAST: &str = "
    ON CONFLICT (hour, id) DO UPDATE SET
        allowed = allowed + excluded.allowed, denied = denied + excluded.denied";

fn add_all(connection: &Connection, counts: &[UsageCount]) -> Result<()> {
    let mut now = connection.prepare_cached(&format!(
        "INSERT INTO recent (id, at, hour, allowed, denied) VALUES (?1, ?2, ?3, ?4, ?5) {OR_ADD_TO_HOUR}"
    ))?;
    for count in counts {
        let id = text(&count.id);
        let at = count.at.as_millisecond();
        let hour = at.div_euclid(MILLISECONDS_AN_HOUR);
        if now.execute(params![id, at, hour, count.allowed, count.denied])? == 0 {
            // Another process has already counted in a later hour.
            connection
                .prepare_cached(&format!(
                    "INSERT INTO past (hour, id, allowed, denied) VALUES (?1, ?2, ?3, ?4) {OR_ADD_TO_PAST}"
                ))?
                .execute(params![hour, id, count.allowed, count.denied])?;
        }
    }
    Ok(())
}

/// Moves the rows of `recent` to `last_used` and `past`, if there are more than `most`.
fn take_over(connection: &Connection, most: i64) -> Result<()> {
    let rows: i64 =
        connection.prepare_cached("SELECT count(*) FROM recent")?.query_row([], |row| row.get(0))?;
    if rows <= most {
        return Ok(());
    }
    Ok(connection.execute_batch(&format!(
        "INSERT INTO past (hour, id, allowed, denied)
             SELECT recent.hour, id, recent.allowed, recent.denied FROM recent JOIN last_used USING (id)
             WHERE recent.hour < last_used.hour {OR_ADD_TO_PAST};
         INSERT INTO last_used (id, at, hour, allowed, denied)
             SELECT id, at, hour, allowed, denied FROM recent WHERE true ORDER BY id {OR_ADD_TO_HOUR};
         DELETE FROM recent;"
    ))?)
}

/// Returns the rate-limit window as last counted.
pub(super) fn window(connection: &Connection, counted_as: Id) -> Result<Option<Window>> {
    let mut statement = connection.prepare_cached("SELECT began_at, count FROM window WHERE id = ?1")?;
    let mut rows = statement.query([text(&counted_as)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::of(row);
    Ok(Some(Window { began_at: columns.moment()?, count: columns.value()? }))
}

/// Counts one check, exactly across all processes, like [`Store::count_check`](crate::store::Store::count_check).
pub(super) fn count_check(
    connection: &mut Connection,
    id: Id,
    counted_as: Id,
    at: Timestamp,
    decide: &mut dyn FnMut(Window) -> bool,
) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let window = Window::with_one_more(window(&tx, counted_as)?, at);
    tx.prepare_cached(
        "INSERT INTO window (id, began_at, count) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, count = excluded.count",
    )?
    .execute(params![text(&counted_as), window.began_at.as_millisecond(), window.count])?;
    let allowed = decide(window);
    add_all(&tx, &[UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) }])?;
    sweep(&tx, at)?;
    Ok(tx.commit()?)
}

pub(super) fn last_used(connection: &Connection, id: Id) -> Result<Option<Timestamp>> {
    let mut statement = connection.prepare_cached(
        "SELECT max(at) FROM
             (SELECT at FROM recent WHERE id = ?1 UNION ALL SELECT at FROM last_used WHERE id = ?1)",
    )?;
    let at: Option<i64> = statement.query_row([text(&id)], |row| row.get(0))?;
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Returns when each credential was last used, least recently used first, or last if `reverse`.
pub(super) fn last_uses(connection: &Connection, reverse: bool) -> Result<Vec<(Id, Timestamp)>> {
    let direction = if reverse { "DESC" } else { "ASC" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, max(at) AS at FROM (SELECT id, at FROM recent UNION ALL SELECT id, at FROM last_used)
         GROUP BY id ORDER BY at {direction}, id"
    ))?;
    let mut rows = statement.query([])?;
    let mut last_uses = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        last_uses.push((columns.parsed()?, columns.moment()?));
    }
    Ok(last_uses)
}

/// Visits hourly counts in the order of the hours.
pub(super) fn each_hour(
    connection: &Connection,
    query: &UsageQuery,
    visit: Visit<'_, HourlyUsage>,
) -> Result<()> {
    // Round up to a whole hour: an hour that began before `since` is not selected.
    let first = -(-query.since.as_millisecond()).div_euclid(MILLISECONDS_AN_HOUR);
    let read = |row: &Row<'_>| {
        let mut columns = Columns::of(row);
        let id = columns.parsed()?;
        let hour: i64 = columns.value()?;
        let began_at = hour
            .checked_mul(MILLISECONDS_AN_HOUR)
            .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
            .ok_or_else(|| ErrorKind::Damaged(format!("there is no hour {hour}")))?;
        Ok(HourlyUsage { id, began_at, allowed: columns.value()?, denied: columns.value()? })
    };
    columns::each(
        connection,
        "SELECT id, hour, allowed, denied FROM hourly
         WHERE hour >= ?1 AND (?2 IS NULL OR id = ?2) ORDER BY hour",
        params![first, optional_text(query.of.as_ref())],
        read,
        visit,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_kept_for_90_days() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_or_make(&Place::new(directory.path().join("keys.db"))).unwrap();
        let id: Id = "K00000001".parse().unwrap();
        let day = |days: i64| Timestamp::from_second(1_700_000_000 + days * 86_400).unwrap();
        for days in [0, 1, 90, 91] {
            add(&mut connection, &[UsageCount { id, at: day(days), allowed: 1, denied: 0 }]).unwrap();
        }
        let hours: i64 = connection.query_row("SELECT count(*) FROM hourly", [], |row| row.get(0)).unwrap();
        assert_eq!(hours, 3, "the first is more than 90 days older than the last");
    }

    #[test]
    fn every_hour_keeps_its_own_counts_whatever_order_they_come_in() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_or_make(&Place::new(directory.path().join("keys.db"))).unwrap();
        let id: Id = "K00000001".parse().unwrap();
        let first = 1_700_000_000_000_i64.div_euclid(MILLISECONDS_AN_HOUR);
        let at =
            |hours: i64| Timestamp::from_millisecond((first + hours) * MILLISECONDS_AN_HOUR + 1).unwrap();
        for (hours, allowed, denied) in [(1, 1, 0), (1, 2, 1), (3, 4, 0), (1, 8, 0), (0, 0, 5), (3, 0, 7)] {
            add(&mut connection, &[UsageCount { id, at: at(hours), allowed, denied }]).unwrap();
        }
        let mut statement =
            connection.prepare("SELECT hour, allowed, denied FROM hourly ORDER BY hour").unwrap();
        let rows =
            statement.query_map([], |row| Ok((row.get::<_, i64>(0)? - first, row.get(1)?, row.get(2)?)));
        let hours: Vec<(i64, u64, u64)> = rows.unwrap().collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(hours, [(0, 0, 5), (1, 11, 1), (3, 4, 7)]);
        assert_eq!(last_used(&connection, id).unwrap(), Some(at(3)));
    }

    #[test]
    fn what_the_large_table_takes_over_is_neither_lost_nor_counted_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_or_make(&Place::new(directory.path().join("keys.db"))).unwrap();
        let ids: [Id; 2] = ["K00000001", "K00000002"].map(|id| id.parse().unwrap());
        let first = 1_700_000_000_000_i64.div_euclid(MILLISECONDS_AN_HOUR);
        let at =
            |hours: i64| Timestamp::from_millisecond((first + hours) * MILLISECONDS_AN_HOUR + 1).unwrap();
        for (hours, id) in [(1, 0), (1, 0), (2, 0), (1, 0), (2, 0), (1, 1), (5, 0)] {
            add(&mut connection, &[UsageCount { id: ids[id], at: at(hours), allowed: 1, denied: 2 }])
                .unwrap();
            take_over(&connection, 0).unwrap();
        }
        add(&mut connection, &[UsageCount { id: ids[0], at: at(5), allowed: 1, denied: 0 }]).unwrap();
        let counted = |id: Id| {
            let mut hours = std::collections::BTreeMap::<i64, (u64, u64)>::new();
            each_hour(&connection, &UsageQuery { of: Some(id), since: Timestamp::UNIX_EPOCH }, &mut |hour| {
                let number = hour.began_at.as_millisecond() / MILLISECONDS_AN_HOUR - first;
                let (allowed, denied) = hours.entry(number).or_default();
                (*allowed, *denied) = (*allowed + hour.allowed, *denied + hour.denied);
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
            hours.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(counted(ids[0]), [(1, (3, 6)), (2, (2, 4)), (5, (2, 2))]);
        assert_eq!(counted(ids[1]), [(1, (1, 2))]);
        assert_eq!(last_used(&connection, ids[0]).unwrap(), Some(at(5)));
        assert_eq!(last_uses(&connection, true).unwrap(), [(ids[0], at(5)), (ids[1], at(1))]);
    }

    #[test]
    fn a_usage_file_without_the_small_table_is_given_one() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path().join("keys.db"));
        let older = open_or_make(&place).unwrap();
        older
            .execute_batch(
                "DROP VIEW hourly; DROP TABLE recent; PRAGMA user_version = 0;
                 CREATE VIEW hourly AS SELECT id, hour, allowed, denied FROM last_used;
                 INSERT INTO last_used VALUES ('K00000001', 1700000000000, 472222, 1, 0);",
            )
            .unwrap();
        drop(older);
        let mut connection = open_or_make(&place).unwrap();
        let (id, at) = ("K00000001".parse().unwrap(), Timestamp::from_second(1_800_000_000).unwrap());
        assert!(last_used(&connection, id).unwrap() < Some(at));
        add(&mut connection, &[UsageCount { id, at, allowed: 1, denied: 0 }]).unwrap();
        assert_eq!(last_used(&connection, id).unwrap(), Some(at));
    }

    #[test]
    fn a_log_that_a_lost_file_left_behind_is_not_laid_over_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path().join("keys.db"));
        let id: Id = "K00000001".parse().unwrap();
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let mut lost = open_or_make(&place).unwrap();
        add(&mut lost, &[UsageCount { id, at, allowed: 1, denied: 0 }]).unwrap();
        fs::remove_file(place.usage()).unwrap();
        let found = open_or_make(&place).unwrap();
        assert_eq!(last_used(&found, id).unwrap(), None);
    }
}
