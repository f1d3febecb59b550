//! The audit trail.

use std::fmt::Display;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::columns;
use super::{SqliteTransaction, Usage};

use crate::error::{ErrorKind, Result};
use crate::model::{
    AuditAction, AuditRecord, Audited, Change, Evidence, Head, Keyring, Permit, SecretChange,
};
use crate::store::{AuditFilter, Chain, Flow, Replay, replay};

pub(super) fn head(connection: &Connection) -> Result<Head> {
    let end = connection
        .prepare_cached("SELECT number, chain FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { number: row.get(0)?, end: row.get(1)? }))
        .optional()?;
    Ok(end.unwrap_or(Head::START))
}

/// Adds the record of a change to the end of the chain.
pub(super) fn append<T: Audited>(
    connection: &Connection,
    keyring: &Keyring,
    permit: Permit,
    change: &Change<T>,
    secrets: SecretChange,
    evidence: Option<Evidence>,
) -> Result<()> {
    let head = head(connection)?;
    let number = head.number + 1;
    let mut record = permit.record(change, secrets, number)?;
    record.details.evidence = evidence;
    let record = serde_json::to_string(&record).map_err(|error| ErrorKind::Damaged(error.to_string()))?;
    let end = keyring.link(&head.end, record.as_bytes());
    connection
        .prepare_cached("INSERT INTO audit (number, record, chain) VALUES (?1, ?2, ?3)")?
        .execute(params![number, record, end])?;
    Ok(())
}

pub(super) fn each(
    connection: &Connection,
    filter: &AuditFilter,
    visit: &mut dyn FnMut(AuditRecord) -> Flow,
) -> Result<()> {
    let moment = |moment: jiff::Timestamp| format!("{moment:.3}");
    let conditions = [
        ("execution_time >= ?", filter.since.map(moment)),
        ("execution_time < ?", filter.until.map(moment)),
        (
            "EXISTS (SELECT 1 FROM json_each(record, '$.actors') WHERE value ->> 'id' = ?)",
            filter.actor.clone(),
        ),
        ("action = ?", filter.action.map(AuditAction::as_str).map(str::to_owned)),
        ("target = ?", filter.target.clone()),
        ("target_type = ?", filter.target_type.clone()),
    ];
    let mut sql = "SELECT record FROM audit WHERE true".to_owned();
    let mut values: Vec<&dyn ToSql> = Vec::new();
    for (condition, value) in &conditions {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY number DESC");
    columns::each(connection, &sql, values.as_slice(), read, visit)
}

/// Shows every record, those about one thing together.
pub(super) fn by_target(connection: &Connection, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()> {
    columns::each(connection, "SELECT record FROM audit ORDER BY target, number", [], read, visit)
}

fn read(row: &Row<'_>) -> Result<AuditRecord> {
    let record = row.get_ref(0)?.as_str().map_err(|error| damaged(&error))?;
    Ok(serde_json::from_str(record).map_err(|error| damaged(&error))?)
}

/// Computes the chain anew and compares it with what the store has.
pub(super) fn verify(connection: &Connection, keyring: &Keyring, kept: Option<Head>) -> Result<Chain> {
    let mut statement =
        connection.prepare_cached("SELECT number, record, chain FROM audit ORDER BY number")?;
    let mut rows = statement.query([])?;
    let mut head = Head::START;
    if kept.is_some_and(|kept| kept.number == head.number && kept != head) {
        return Ok(Chain::BrokenAt(1));
    }
    while let Some(row) = rows.next()? {
        let number = head.number + 1;
        // As bytes and a signed number: what was tampered with need be neither text nor positive.
        let record = row.get_ref(1)?.as_bytes().map_err(|error| damaged(&error))?;
        let end = keyring.link(&head.end, record);
        // The number is in the record too, but nothing ties the column to it.
        let numbered = serde_json::from_slice::<AuditRecord>(record).is_ok_and(|record| record.id == number);
        if u64::try_from(row.get::<_, i64>(0)?) != Ok(number) || !numbered || row.get::<_, Vec<u8>>(2)? != end
        {
            return Ok(Chain::BrokenAt(number));
        }
        head = Head { number, end };
        if kept.is_some_and(|kept| kept.number == number && kept.end != end) {
            return Ok(Chain::BrokenAt(number));
        }
    }
    // Founding an account leaves records, so that an empty trail was emptied.
    let least = kept.map_or(1, |kept| kept.number.max(1));
    if head.number < least { Ok(Chain::BrokenAt(head.number + 1)) } else { Ok(Chain::Intact(head)) }
}

/// Verifies the chain, and compares what its records say with what the store holds, all at one moment.
pub(super) fn verify_state(
    connection: &Connection,
    keyring: &Keyring,
    kept: Option<Head>,
) -> Result<(Chain, Option<Replay>)> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    match verify(&tx, keyring, kept)? {
        chain @ Chain::Intact(head) => {
            let read = SqliteTransaction::new(tx, Usage::none(), ());
            Ok((chain, Some(replay(&read, keyring, head)?)))
        }
        chain @ Chain::BrokenAt(_) => Ok((chain, None)),
    }
}

fn damaged(error: &dyn Display) -> ErrorKind {
    ErrorKind::Damaged(format!("audit trail: {error}"))
}
