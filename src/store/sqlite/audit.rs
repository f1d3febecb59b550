//! The audit trail.

use std::fmt::Display;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::columns::{self, Columns};

use crate::error::{ErrorKind, Result};
use crate::model::{AuditAction, AuditRecord, Head};
use crate::store::{AuditQuery, Flow, StoredLink, Visit};

pub(super) fn head(connection: &Connection) -> Result<Head> {
    let end = connection
        .prepare_cached("SELECT number, chain FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { number: row.get(0)?, end: row.get(1)? }))
        .optional()?;
    Ok(end.unwrap_or(Head::START))
}

/// Appends a record to the trail.
pub(super) fn append(connection: &Connection, number: u64, record: &str, chain: &[u8; 32]) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO audit (number, record, chain) VALUES (?1, ?2, ?3)")?
        .execute(params![number, record, chain])?;
    Ok(())
}

pub(super) fn list(connection: &Connection, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
    let moment = |moment: jiff::Timestamp| format!("{moment:.3}");
    let conditions = [
        ("execution_time >= ?", query.since.map(moment)),
        ("execution_time < ?", query.until.map(moment)),
        (
            "EXISTS (SELECT 1 FROM json_each(record, '$.actors') WHERE value ->> 'id' = ?)",
            query.actor.clone(),
        ),
        ("action = ?", query.action.map(AuditAction::as_str).map(str::to_owned)),
        ("target = ?", query.target.clone()),
        ("target_type = ?", query.target_type.clone()),
        ("number < CAST(? AS INTEGER)", query.before.map(|number| number.to_string())),
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
    sql.push_str(" ORDER BY number DESC LIMIT ?");
    let most = columns::most(query.limit);
    values.push(&most);
    columns::each(connection, &sql, values.as_slice(), read, visit)
}

fn read(row: &Row<'_>) -> Result<AuditRecord> {
    let record = row.get_ref(0)?.as_str().map_err(|error| damaged(&error))?;
    Ok(serde_json::from_str(record).map_err(|error| damaged(&error))?)
}

/// Returns the distinct target ids of records, in ascending order, starting after an id.
pub(super) fn targets(connection: &Connection, after: &str, limit: u64) -> Result<Vec<String>> {
    let read = |columns: &mut Columns<'_>| -> Result<String> { columns.value() };
    columns::all(
        connection,
        "SELECT DISTINCT target FROM audit WHERE target > ?1 ORDER BY target LIMIT ?2",
        params![after, columns::most(Some(limit))],
        read,
    )
}

/// Visits the chain as stored, oldest first.
pub(super) fn chain(connection: &Connection, visit: &mut dyn FnMut(StoredLink<'_>) -> Flow) -> Result<()> {
    let mut statement =
        connection.prepare_cached("SELECT number, record, chain FROM audit ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let link = StoredLink {
            number: row.get(0)?,
            // As bytes: a record that was tampered with may not be text.
            record: row.get_ref(1)?.as_bytes().map_err(|error| damaged(&error))?,
            chain: row.get_ref(2)?.as_bytes().map_err(|error| damaged(&error))?,
        };
        if visit(link)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn damaged(error: &dyn Display) -> ErrorKind {
    ErrorKind::Damaged(format!("audit trail: {error}"))
}
