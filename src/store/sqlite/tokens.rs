//! User tokens.

use std::sync::LazyLock;

use rusqlite::{Connection, ToSql, params};

use super::columns::{self, Columns, Table, optional_millisecond, optional_text, text};
use super::users;
use crate::error::Result;
use crate::model::{Access, Hint, Id, UserToken};
use crate::store::{TokenQuery, Visit};

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

pub(super) fn get(connection: &Connection, id: Id) -> Result<Option<UserToken>> {
    columns::find(connection, &format!("{} WHERE t.id = ?1", select()), [text(&id)], read)
}

pub(super) fn list(connection: &Connection, query: &TokenQuery, visit: Visit<'_, UserToken>) -> Result<()> {
    let user = query.user.map(|id| text(&id));
    let condition = user.as_ref().map(|user| ("t.user = ?1", user as &dyn ToSql));
    columns::page(connection, (&select(), "user_token", "t"), condition, query.page, read, visit)
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "user_token",
        &["id", "user", "description", "hint", "scopes", "created_at", "expires_at", "overlap_ends_at"],
    )
});

/// Calls `take` with the column values of a token.
pub(super) fn with_values<T>(token: &UserToken, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        text(&token.id),
        text(&token.user.id),
        token.description.as_str(),
        token.hint.as_ref().map(Hint::as_str),
        optional_text(token.access.scopes()),
        token.created_at.as_millisecond(),
        optional_millisecond(token.expires_at),
        optional_millisecond(token.overlap_ends_at),
    ])
}
