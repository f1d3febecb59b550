//! User tokens.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::columns::{self, Columns, optional_millisecond, optional_text, text};
use super::secrets::{self, Kind};
use super::users;
use crate::error::Result;
use crate::model::{Access, Change, Hint, Id, SecretChange, UserToken};
use crate::store::Flow;

const COLUMNS: &str = "t.id, t.description, t.hint, t.scopes, t.created_at, t.expires_at, t.overlap_ends_at";

fn select() -> String {
    let user = users::columns("u");
    format!("SELECT {COLUMNS}, {user} FROM user_token t JOIN user u ON u.id = t.user")
}

fn read(row: &rusqlite::Row<'_>) -> Result<UserToken> {
    let mut columns = Columns::of(row);
    Ok(UserToken {
        id: columns.parsed()?,
        description: columns.label()?,
        hint: columns.value::<Option<String>>()?.map(Hint::stored),
        access: Access::Role(columns.optional()?),
        created_at: columns.moment()?,
        expires_at: columns.optional_moment()?,
        overlap_ends_at: columns.optional_moment()?,
        last_used_at: None,
        user: users::read_columns(&mut columns)?,
    })
}

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<UserToken>> {
    columns::find(connection, &format!("{} WHERE t.id = ?1", select()), [text(&id)], read)
}

/// Shows the tokens of one user, or of all, oldest first.
pub(super) fn each(
    connection: &Connection,
    user: Option<Id>,
    visit: &mut dyn FnMut(UserToken) -> Flow,
) -> Result<()> {
    let whose = if user.is_some() { "t.user = ?1" } else { "?1 IS NULL" };
    columns::each(
        connection,
        &format!("{} WHERE {whose} ORDER BY t.row", select()),
        [user.map(|id| text(&id))],
        read,
        visit,
    )
}

pub(super) fn save(
    connection: &Connection,
    change: &Change<UserToken>,
    secrets: SecretChange,
    at: Timestamp,
) -> Result<()> {
    let token = change.subject();
    if let Change::Delete { .. } = change {
        return secrets::remove_holder(connection, Kind::UserToken, token.id, at);
    }
    columns::save(
        connection,
        "user_token",
        &["id", "user", "description", "hint", "scopes", "created_at", "expires_at", "overlap_ends_at"],
        change,
        params![
            text(&token.id),
            text(&token.user.id),
            token.description.as_str(),
            token.hint.as_ref().map(Hint::as_str),
            optional_text(token.access.scopes()),
            token.created_at.as_millisecond(),
            optional_millisecond(token.expires_at),
            optional_millisecond(token.overlap_ends_at),
        ],
    )?;
    secrets::apply(connection, Kind::UserToken, token.id, secrets, at)
}
