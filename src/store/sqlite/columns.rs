//! Conversion between model values and SQLite columns, and the statements that are the same for every table.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, Params, Row, params};

use crate::error::{Conflict, Error, ErrorKind, Result};
use crate::model::{Id, Label, Name, UserRef};
use crate::store::{Page, Visit};

/// Returns the first row of a query, if any.
pub(super) fn find<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Visits the rows of a query until the visitor stops.
pub(super) fn each<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
    visit: Visit<'_, T>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        if visit(read(row)?)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Returns all rows of a query, which must be few.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&mut Columns<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&mut Columns::of(row))?);
    }
    Ok(found)
}

/// Visits one page of the rows of a table, oldest first.
///
/// `select` is a statement without a condition, in which `table` has the name `alias`. `condition` is an SQL condition
/// on `?1` and its value.
pub(super) fn page<T>(
    connection: &Connection,
    (select, table, alias): (&str, &str, &str),
    condition: Option<(&str, &dyn ToSql)>,
    page: Page,
    read: impl Fn(&Row<'_>) -> Result<T>,
    visit: Visit<'_, T>,
) -> Result<()> {
    let meets = condition.map_or("?1 IS NULL", |(condition, _)| condition);
    let follows = match page.after {
        Some(_) => format!("{alias}.row > (SELECT row FROM {table} WHERE id = ?2)"),
        None => "?2 IS NULL".to_owned(),
    };
    let sql = format!("{select} WHERE {meets} AND {follows} ORDER BY {alias}.row LIMIT ?3");
    let value = condition.map(|(_, value)| value);
    each(connection, &sql, params![value, optional_text(page.after.as_ref()), most(page.limit)], read, visit)
}

/// Returns a limit for SQLite, which treats a negative number as no limit.
pub(super) fn most(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// A table of one noun with the statements that write its rows. The first column is the id.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    insert: String,
    update: String,
}

impl Table {
    pub(super) fn new(name: &'static str, columns: &[&str]) -> Self {
        let names = columns.join(", ");
        let values = (1..=columns.len()).map(|column| format!("?{column}")).collect::<Vec<_>>().join(", ");
        Self {
            name,
            insert: format!("INSERT INTO {name} ({names}) VALUES ({values})"),
            update: format!("UPDATE {name} SET ({names}) = ({values}) WHERE {} = ?1", columns[0]),
        }
    }

    /// Adds a row.
    pub(super) fn insert(&self, connection: &Connection, values: &[&dyn ToSql]) -> Result<()> {
        connection.prepare_cached(&self.insert)?.execute(values).map_err(|error| self.not_unique(error))?;
        Ok(())
    }

    /// Replaces the row with the id among the values.
    pub(super) fn update(&self, connection: &Connection, values: &[&dyn ToSql]) -> Result<()> {
        match connection
            .prepare_cached(&self.update)?
            .execute(values)
            .map_err(|error| self.not_unique(error))?
        {
            1 => Ok(()),
            _ => Err(ErrorKind::Damaged(format!("a row of {} is missing", self.name)).into()),
        }
    }

    fn not_unique(&self, error: rusqlite::Error) -> Error {
        not_unique(self.name, error)
    }
}

/// Maps the violation of a uniqueness constraint to a typed conflict.
pub(super) fn not_unique(table: &'static str, error: rusqlite::Error) -> Error {
    const UNIQUE: [i32; 2] =
        [rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY];
    match error.sqlite_extended_error_code() {
        Some(code) if UNIQUE.contains(&code) => Conflict::NotUnique(table).into(),
        _ => error.into(),
    }
}

/// Reads the columns of a row in order.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn value<T: FromSql>(&mut self) -> Result<T> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
    }

    /// Reads a required value that is stored as text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T> {
        self.optional()?.ok_or_else(|| self.damaged("empty"))
    }

    pub(super) fn optional<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>> {
        let column = self.next;
        self.next += 1;
        // Parsed without a copy: every check reads several of these.
        let text = self.row.get_ref(column)?.as_str_or_null().map_err(|error| self.damaged(error))?;
        let Some(text) = text else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.damaged(error)),
        }
    }

    pub(super) fn label(&mut self) -> Result<Label> {
        self.value().map(Label::stored)
    }

    pub(super) fn optional_label(&mut self) -> Result<Option<Label>> {
        Ok(self.value::<Option<String>>()?.map(Label::stored))
    }

    pub(super) fn name(&mut self) -> Result<Name> {
        self.value().map(Name::stored)
    }

    pub(super) fn moment(&mut self) -> Result<Timestamp> {
        self.optional_moment()?.ok_or_else(|| self.damaged("empty"))
    }

    pub(super) fn optional_moment(&mut self) -> Result<Option<Timestamp>> {
        let Some(milliseconds) = self.value()? else { return Ok(None) };
        match Timestamp::from_millisecond(milliseconds) {
            Ok(moment) => Ok(Some(moment)),
            Err(error) => Err(self.damaged(error)),
        }
    }

    /// Reads an optional reference to a user: an id and a name.
    pub(super) fn optional_user(&mut self) -> Result<Option<UserRef>> {
        let Some(id) = self.optional::<Id>()? else {
            self.next += 1;
            return Ok(None);
        };
        Ok(Some(UserRef { id, name: self.name()? }))
    }

    pub(super) fn user(&mut self) -> Result<UserRef> {
        self.optional_user()?.ok_or_else(|| self.damaged("empty"))
    }

    fn damaged(&self, why: impl Display) -> Error {
        let name = self.next.checked_sub(1).and_then(|column| self.row.as_ref().column_name(column).ok());
        ErrorKind::Damaged(format!("column {}: {why}", name.unwrap_or("?"))).into()
    }
}

/// Returns a value as the text to store.
pub(super) fn text(value: &impl ToString) -> String {
    value.to_string()
}

/// Returns an optional value as the text to store.
pub(super) fn optional_text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(T::to_string)
}

/// Returns an optional time as the milliseconds to store.
pub(super) fn optional_millisecond(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_millisecond)
}
