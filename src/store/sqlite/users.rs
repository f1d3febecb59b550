//! Users.

use std::sync::LazyLock;

use rusqlite::{Connection, Params, ToSql, params};

use super::columns::{self, Columns, Table, optional_millisecond, optional_text, text};
use crate::error::Result;
use crate::model::{Label, User};
use crate::store::{UserBy, UserQuery, Visit};

const COLUMNS: [&str; 10] = [
    "id",
    "name",
    "email",
    "role",
    "os_uid",
    "external_id",
    "rate_limit",
    "created_at",
    "left_at",
    "left_reason",
];

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new("user", &COLUMNS));

/// Returns the columns of a user, qualified with a table name or alias.
pub(super) fn columns(table: &str) -> String {
    COLUMNS.map(|column| format!("{table}.{column}")).join(", ")
}

fn select() -> String {
    format!("SELECT {} FROM user", columns("user"))
}

fn read(row: &rusqlite::Row<'_>) -> Result<User> {
    read_columns(&mut Columns::of(row))
}

/// Reads the columns of a user from the current position in a row.
pub(super) fn read_columns(columns: &mut Columns<'_>) -> Result<User> {
    Ok(User {
        id: columns.parsed()?,
        name: columns.name()?,
        email: columns.optional_label()?,
        role: columns.parsed()?,
        os_uid: columns.value()?,
        external_id: columns.optional_label()?,
        rate_limit: columns.optional()?,
        created_at: columns.moment()?,
        left_at: columns.optional_moment()?,
        left_reason: columns.optional_label()?,
    })
}

fn find(connection: &Connection, condition: &str, params: impl Params) -> Result<Option<User>> {
    columns::find(connection, &format!("{} WHERE {condition}", select()), params, read)
}

pub(super) fn get(connection: &Connection, by: UserBy<'_>) -> Result<Option<User>> {
    match by {
        UserBy::Id(id) => find(connection, "id = ?1", [text(&id)]),
        UserBy::Name(name) => find(connection, "name = ?1 AND left_at IS NULL", [name]),
        UserBy::OsUser(uid) => find(connection, "os_uid = ?1 AND left_at IS NULL", [uid]),
    }
}

pub(super) fn list(connection: &Connection, query: &UserQuery, visit: Visit<'_, User>) -> Result<()> {
    let present: Option<(&str, &dyn ToSql)> =
        query.present.then_some(("left_at IS NULL AND ?1 IS NULL", &None::<i64>));
    columns::page(connection, (&select(), "user", "user"), present, query.page, read, visit)
}

/// Calls `take` with the column values of a user.
pub(super) fn with_values<T>(user: &User, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        text(&user.id),
        user.name.as_str(),
        user.email.as_ref().map(Label::as_str),
        user.role.as_str(),
        user.os_uid,
        user.external_id.as_ref().map(Label::as_str),
        optional_text(user.rate_limit.as_ref()),
        user.created_at.as_millisecond(),
        optional_millisecond(user.left_at),
        user.left_reason.as_ref().map(Label::as_str),
    ])
}
