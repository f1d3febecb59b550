//! Values between the model and SQLite's columns.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};

use crate::error::{ErrorKind, Result};
use crate::model::{Change, Id, Label, Name, UserRef};
use crate::store::Flow;

/// Reads the one row of a query, if there is one.
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

/// Shows the rows of a query one by one, as long as the visitor goes on.
pub(super) fn each<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
    visit: &mut dyn FnMut(T) -> Flow,
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

/// Reads the few rows of a query.
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

/// Writes what a change makes of a thing: a new row, or another content of the row with its id. The first of the
/// columns is the id. What is there is not made again, and what is not there is not changed.
pub(super) fn save<T>(
    connection: &Connection,
    table: &str,
    columns: &[&str],
    change: &Change<T>,
    values: impl Params,
) -> Result<()> {
    let sql = match change {
        Change::Create(_) => insert(table, columns),
        Change::Update { .. } | Change::Delete { .. } => {
            let names = columns.join(", ");
            format!("UPDATE {table} SET ({names}) = ({}) WHERE {} = ?1", places(columns), columns[0])
        }
    };
    match connection.prepare_cached(&sql)?.execute(values)? {
        1 => Ok(()),
        _ => Err(ErrorKind::Damaged(format!("what was to be changed in {table} is gone")).into()),
    }
}

/// How a new row is written.
pub(super) fn insert(table: &str, columns: &[&str]) -> String {
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), places(columns))
}

/// A place for the value of each column.
fn places(columns: &[&str]) -> String {
    (1..=columns.len()).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ")
}

/// Reads the columns of a row one after the other.
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

    /// A value that is stored as text, and was valid when it was.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T> {
        self.optional()?.ok_or_else(|| self.damaged("empty"))
    }

    pub(super) fn optional<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>> {
        let column = self.next;
        self.next += 1;
        // Parsed where it lies: a check reads half a dozen of these.
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

    /// An id and a name.
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

    fn damaged(&self, why: impl Display) -> crate::error::Error {
        let name = self.next.checked_sub(1).and_then(|column| self.row.as_ref().column_name(column).ok());
        ErrorKind::Damaged(format!("column {}: {why}", name.unwrap_or("?"))).into()
    }
}

/// A value as stored text.
pub(super) fn text(value: &impl ToString) -> String {
    value.to_string()
}

/// An optional value as stored text.
pub(super) fn optional_text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(T::to_string)
}

/// An optional moment as it is stored.
pub(super) fn optional_millisecond(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_millisecond)
}
