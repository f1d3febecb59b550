//! Services and orchestrations.

use std::sync::LazyLock;

use rusqlite::{Connection, Params, ToSql, params};

use super::columns::{self, Columns, Table, text};
use crate::error::Result;
use crate::model::{Destination, Id, Label, Noun};
use crate::store::{DestinationBy, DestinationQuery, Visit};

const SELECT: &str = "
    SELECT d.id, d.name, d.description, d.created_at, maker.id, maker.name
    FROM destination d JOIN user maker ON maker.id = d.created_by";

/// Returns the first letter of the ids, which distinguishes services from orchestrations in their common table.
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

pub(super) fn get(connection: &Connection, by: DestinationBy<'_>) -> Result<Option<Destination>> {
    match by {
        DestinationBy::Id(id) => find(connection, "d.id = ?1", [text(&id)]),
        DestinationBy::Name(noun, name) => {
            find(connection, "substr(d.id, 1, 1) = ?1 AND d.name = ?2", [letter(noun), name])
        }
    }
}

pub(super) fn list(
    connection: &Connection,
    query: &DestinationQuery,
    visit: Visit<'_, Destination>,
) -> Result<()> {
    let condition: (&str, &dyn ToSql) = ("substr(d.id, 1, 1) = ?1", &letter(query.noun));
    columns::page(connection, (SELECT, "destination", "d"), Some(condition), query.page, read, visit)
}

pub(super) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::new("destination", &["id", "name", "description", "created_at", "created_by"]));

/// Calls `take` with the column values of a service or an orchestration.
pub(super) fn with_values<T>(destination: &Destination, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        text(&destination.id),
        destination.name.as_str(),
        destination.description.as_ref().map(Label::as_str),
        destination.created_at.as_millisecond(),
        text(&destination.created_by.id),
    ])
}
