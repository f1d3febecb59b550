//! Import entries: the content of imported items, to which the audit records of the imports commit.

use rusqlite::{Connection, params};

use super::columns::{self, Columns, most, optional_text, text};
use crate::error::Result;
use crate::model::Id;
use crate::store::{ImportEntry, Page};

fn read(columns: &mut Columns<'_>) -> Result<(Id, ImportEntry)> {
    Ok((columns.parsed()?, ImportEntry { record: columns.value()?, content: columns.value()? }))
}

pub(super) fn insert(connection: &Connection, id: Id, entry: &ImportEntry) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO imported (id, record, content) VALUES (?1, ?2, ?3)")?
        .execute(params![text(&id), entry.record, entry.content])?;
    Ok(())
}

/// Returns the entry of an id.
pub(super) fn get(connection: &Connection, id: Id) -> Result<Option<ImportEntry>> {
    let sql = "SELECT id, record, content FROM imported WHERE id = ?1";
    columns::find(connection, sql, [text(&id)], |row| Ok(read(&mut Columns::of(row))?.1))
}

/// Returns a page of the entries in the order of the import, each with whether an audit record has its id as target.
pub(super) fn list(connection: &Connection, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>> {
    columns::all(
        connection,
        "SELECT id, record, content, EXISTS (SELECT 1 FROM audit WHERE target = id) FROM imported
         WHERE ?1 IS NULL OR row > (SELECT row FROM imported WHERE id = ?1) ORDER BY row LIMIT ?2",
        params![optional_text(page.after.as_ref()), most(page.limit)],
        |columns| {
            let (id, entry) = read(columns)?;
            Ok((id, entry, columns.value()?))
        },
    )
}
