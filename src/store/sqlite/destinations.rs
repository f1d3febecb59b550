//! Services and orchestrations.

use rusqlite::{Connection, Params, params};

use super::columns::{self, Columns, text};
use crate::error::Result;
use crate::model::{Change, Destination, Id, Label, Noun};
use crate::store::Flow;

const SELECT: &str = "
    SELECT d.id, d.name, d.description, d.created_at, maker.id, maker.name
    FROM destination d JOIN user maker ON maker.id = d.created_by";

/// The first letter of the ids, which tells services from orchestrations in the table that they share.
fn letter(noun: Noun) -> &'static str {
    if noun == Noun::Orchestration { "O" } else { "S" }
}

fn read(row: &rusqlite::Row<'_>) -> Result<Destination> {
    let mut columns = Columns::of(row);
    let id: Id = columns.parsed()?;
    Ok(Destination {
        id,
        name: columns.name()?,
        description: columns.optional()?,
        created_at: columns.moment()?,
        created_by: columns.user()?,
    })
}

fn find(connection: &Connection, condition: &str, params: impl Params) -> Result<Option<Destination>> {
    columns::find(connection, &format!("{SELECT} WHERE {condition}"), params, read)
}

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<Destination>> {
    find(connection, "d.id = ?1", [text(&id)])
}

pub(super) fn named(connection: &Connection, noun: Noun, name: &str) -> Result<Option<Destination>> {
    find(connection, "substr(d.id, 1, 1) = ?1 AND d.name = ?2", [letter(noun), name])
}

pub(super) fn each(
    connection: &Connection,
    noun: Noun,
    visit: &mut dyn FnMut(Destination) -> Flow,
) -> Result<()> {
    columns::each(
        connection,
        &format!("{SELECT} WHERE substr(d.id, 1, 1) = ?1 ORDER BY d.row"),
        [letter(noun)],
        read,
        visit,
    )
}

pub(super) fn save(connection: &Connection, change: &Change<Destination>) -> Result<()> {
    let destination = change.subject();
    if let Change::Delete { .. } = change {
        connection.execute("DELETE FROM destination WHERE id = ?1", [text(&destination.id)])?;
        return Ok(());
    }
    columns::save(
        connection,
        "destination",
        &["id", "name", "description", "created_at", "created_by"],
        change,
        params![
            text(&destination.id),
            destination.name.as_str(),
            destination.description.as_ref().map(Label::as_str),
            destination.created_at.as_millisecond(),
            text(&destination.created_by.id),
        ],
    )?;
    Ok(())
}
