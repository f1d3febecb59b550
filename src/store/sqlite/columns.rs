//! Values between the model and SQLite's columns.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::error::{ErrorKind, Result};
use crate::model::{Id, Label, Name, Noun, UserRef};

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

    pub(super) fn name(&mut self, noun: Noun) -> Result<Name> {
        let text: String = self.value()?;
        Name::parse(noun, &text).map_err(|error| self.damaged(error))
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
        Ok(Some(UserRef { id, name: self.name(Noun::User)? }))
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
