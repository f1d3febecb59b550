//! What imports brought, as it came in: what their records commit to.

use rusqlite::{Connection, Row, Statement, params};

use super::columns::{self, Columns, text};
use crate::error::Result;
use crate::model::{Commitment, Id, Keyring};
use crate::store::{Flow, ImportEntry};

/// How an entry is written.
pub(super) const INSERT: &str = "INSERT INTO imported (id, record, content) VALUES (?1, ?2, ?3)";

fn read(row: &Row<'_>) -> Result<(Id, ImportEntry)> {
    let mut columns = Columns::of(row);
    let id = columns.parsed()?;
    Ok((id, ImportEntry { record: columns.value()?, content: columns.value()? }))
}

pub(super) fn insert(insertion: &mut Statement<'_>, id: Id, entry: &ImportEntry) -> Result<()> {
    insertion.execute(params![text(&id), entry.record, entry.content])?;
    Ok(())
}

/// The entry of an id.
pub(super) fn entry(connection: &Connection, id: Id) -> Result<Option<ImportEntry>> {
    let found = columns::find(
        connection,
        "SELECT id, record, content FROM imported WHERE id = ?1",
        [text(&id)],
        read,
    )?;
    Ok(found.map(|(_, entry)| entry))
}

/// Shows every entry in the order in which they came in, and whether a record is about what came in.
pub(super) fn each(
    connection: &Connection,
    visit: &mut dyn FnMut(Id, ImportEntry, bool) -> Flow,
) -> Result<()> {
    columns::each(
        connection,
        "SELECT id, record, content, EXISTS (SELECT 1 FROM audit WHERE target = id) FROM imported ORDER BY row",
        [],
        |row| Ok((read(row)?, row.get(3)?)),
        &mut |((id, entry), is_recorded)| visit(id, entry, is_recorded),
    )
}

/// What the record of a number commits to: the entries of its import.
pub(super) fn commitment(connection: &Connection, keyring: &Keyring, record: u64) -> Result<Commitment> {
    let mut committing = keyring.commit();
    let mut statement =
        connection.prepare("SELECT id, content FROM imported WHERE record = ?1 ORDER BY row")?;
    let mut rows = statement.query([record])?;
    while let Some(row) = rows.next()? {
        committing.add(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
    }
    Ok(committing.finish())
}
