//! Users.

use rusqlite::{Connection, Params, params};

use super::columns::{self, Columns, optional_millisecond, optional_text, text};
use crate::error::{Conflict, Result};
use crate::model::{Change, Id, Label, User};
use crate::store::Flow;

/// The columns of a user in a table of this name.
pub(super) fn columns(table: &str) -> String {
    [
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
    ]
    .map(|column| format!("{table}.{column}"))
    .join(", ")
}

fn select() -> String {
    format!("SELECT {} FROM user", columns("user"))
}

fn read(row: &rusqlite::Row<'_>) -> Result<User> {
    read_columns(&mut Columns::of(row))
}

/// Reads the columns of a user from where a row has them.
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

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<User>> {
    find(connection, "id = ?1", [text(&id)])
}

pub(super) fn named(connection: &Connection, name: &str) -> Result<Option<User>> {
    find(connection, "name = ?1 AND left_at IS NULL", [name])
}

pub(super) fn of_uid(connection: &Connection, uid: u32) -> Result<Option<User>> {
    find(connection, "os_uid = ?1 AND left_at IS NULL", [uid])
}

pub(super) fn each(connection: &Connection, visit: &mut dyn FnMut(User) -> Flow) -> Result<()> {
    columns::each(connection, &format!("{} ORDER BY row", select()), [], read, visit)
}

pub(super) fn save(connection: &Connection, change: &Change<User>) -> Result<()> {
    if let Change::Delete { .. } = change {
        let why = "a user is marked as left, never deleted: others name the user";
        return Err(Conflict::Fault(why.to_owned()).into());
    }
    let user = change.subject();
    columns::save(
        connection,
        "user",
        &[
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
        ],
        change,
        params![
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
        ],
    )?;
    Ok(())
}
