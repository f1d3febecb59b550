//! Integrations, with their sealed keys.

use std::sync::LazyLock;

use rusqlite::{Connection, ToSql, params};

use super::columns::{self, Columns, Table, optional_text, text};
use crate::error::Result;
use crate::model::{DestinationRef, Hint, Id, Integration, Sealed};
use crate::store::{IntegrationQuery, Visit};

const SELECT: &str = "
    SELECT i.id, i.name, i.type, d.id, d.name, i.hint, i.sealed_key, i.created_at, maker.id, maker.name, i.rate_limit
    FROM integration i
    JOIN destination d ON d.id = i.destination
    JOIN user maker ON maker.id = i.created_by";

fn read(row: &rusqlite::Row<'_>) -> Result<Integration> {
    let mut columns = Columns::of(row);
    Ok(Integration {
        id: columns.parsed()?,
        name: columns.name()?,
        kind: columns.parsed()?,
        destination: {
            let id: Id = columns.parsed()?;
            DestinationRef { id, name: columns.name()? }
        },
        hint: Hint::stored(columns.value()?),
        sealed_key: Sealed::stored(columns.value()?),
        created_at: columns.moment()?,
        created_by: columns.user()?,
        rate_limit: columns.optional()?,
        last_used_at: None,
    })
}

pub(super) fn get(connection: &Connection, id: Id) -> Result<Option<Integration>> {
    columns::find(connection, &format!("{SELECT} WHERE i.id = ?1"), [text(&id)], read)
}

pub(super) fn list(
    connection: &Connection,
    query: &IntegrationQuery,
    visit: Visit<'_, Integration>,
) -> Result<()> {
    let destination = query.destination.map(|id| text(&id));
    let condition = destination.as_ref().map(|id| ("i.destination = ?1", id as &dyn ToSql));
    columns::page(connection, (SELECT, "integration", "i"), condition, query.page, read, visit)
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "integration",
        &[
            "id",
            "name",
            "type",
            "destination",
            "hint",
            "sealed_key",
            "created_at",
            "created_by",
            "rate_limit",
        ],
    )
});

/// Calls `take` with the column values of an integration.
pub(super) fn with_values<T>(integration: &Integration, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        text(&integration.id),
        integration.name.as_str(),
        integration.kind.as_str(),
        text(&integration.destination.id),
        integration.hint.as_str(),
        integration.sealed_key.as_bytes(),
        integration.created_at.as_millisecond(),
        text(&integration.created_by.id),
        optional_text(integration.rate_limit.as_ref()),
    ])
}
