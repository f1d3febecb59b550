//! Integrations, with their sealed keys.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::columns::{self, Columns, optional_text, text};
use super::secrets::{self, Kind};
use crate::error::Result;
use crate::model::{Change, DestinationRef, Hint, Id, Integration, Sealed, SecretChange};
use crate::store::Flow;

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

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<Integration>> {
    columns::find(connection, &format!("{SELECT} WHERE i.id = ?1"), [text(&id)], read)
}

/// Shows the integrations of one destination, or of all, oldest first.
pub(super) fn each(
    connection: &Connection,
    destination: Option<Id>,
    visit: &mut dyn FnMut(Integration) -> Flow,
) -> Result<()> {
    let whose = if destination.is_some() { "i.destination = ?1" } else { "?1 IS NULL" };
    columns::each(
        connection,
        &format!("{SELECT} WHERE {whose} ORDER BY i.row"),
        [destination.map(|id| text(&id))],
        read,
        visit,
    )
}

pub(super) fn save(
    connection: &Connection,
    change: &Change<Integration>,
    secrets: SecretChange,
    at: Timestamp,
) -> Result<()> {
    let integration = change.subject();
    if let Change::Delete { .. } = change {
        return secrets::remove_holder(connection, Kind::Integration, integration.id, at);
    }
    columns::save(
        connection,
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
        change,
        params![
            text(&integration.id),
            integration.name.as_str(),
            integration.kind.as_str(),
            text(&integration.destination.id),
            integration.hint.as_str(),
            integration.sealed_key.as_bytes(),
            integration.created_at.as_millisecond(),
            text(&integration.created_by.id),
            optional_text(integration.rate_limit.as_ref()),
        ],
    )?;
    secrets::apply(connection, Kind::Integration, integration.id, secrets, at)
}
