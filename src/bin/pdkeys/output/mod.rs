//! Prints data on standard output: as a table, JSON, JSON lines or CSV.
//!
//! JSON, JSON lines and CSV stream in constant memory. A table is kept until its end, since its columns have no width
//! before. Fields have the names and the order of the serialised type, in every format but the table.

pub(crate) mod json;
pub(crate) mod sarif;
pub(crate) mod secrets;
mod table;
pub(crate) mod times;

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use pdkeys::ErrorKind;
use pdkeys::model::escape;
use serde::Serialize;
use serde_json::Value;

use self::table::TableWriter;
use crate::failure::Failure;
use crate::formula;
use crate::terminal::Terminal;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// For code-scanning pages; only scan prints it
    Sarif,
}

/// A value that can be listed.
pub(crate) trait Record: Serialize {
    /// The names of the fields, as they are serialised: the header of CSV, even if there is no record.
    const FIELDS: &'static [&'static str];

    /// The headings of the table.
    const HEADINGS: &'static [&'static str];

    /// Returns the cells of the record's row in the table.
    fn cells(&self, style: &CellStyle) -> Vec<String>;
}

/// How the cells of a table are written.
pub(crate) struct CellStyle {
    /// The time that others are shown relative to, on a terminal.
    relative_to: Option<Timestamp>,
}

impl CellStyle {
    /// Returns a time relative to now on a terminal, else in full.
    pub(crate) fn time(&self, time: Timestamp) -> String {
        self.relative_to.map_or_else(|| times::exact(time), |now| times::relative(time, now))
    }

    /// Returns a time, or `otherwise` if there is none.
    pub(crate) fn optional_time(&self, time: Option<Timestamp>, otherwise: &str) -> String {
        time.map_or_else(|| otherwise.to_owned(), |time| self.time(time))
    }
}

/// Prints the records that `produce` emits. Emitting fails if the output does.
pub(crate) fn list<R: Record, T>(
    terminal: &Terminal,
    format: Format,
    now: Timestamp,
    produce: impl FnOnce(&mut dyn FnMut(R) -> Result<(), pdkeys::Error>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut out = terminal.data();
    let mut sink = Sink::new(&mut out, format, terminal, now, R::HEADINGS);
    let produced =
        produce(&mut |record: R| sink.put(&record).map_err(|error| ErrorKind::Output(error).into()))?;
    // Not earlier: a user who may not list anything gets no header either.
    sink.begin(R::FIELDS).map_err(output_error)?;
    sink.finish().and_then(|()| out.flush()).map_err(output_error)?;
    Ok(produced)
}

/// Prints one record: a field a line, or as an object.
pub(crate) fn show<R: Serialize>(
    terminal: &Terminal,
    format: Format,
    now: Timestamp,
    record: &R,
) -> Result<(), Failure> {
    let mut out = terminal.data();
    let written = match format {
        Format::Table => show_fields(&mut out, terminal, now, record),
        Format::Json | Format::Sarif => json::write_pretty(&mut out, record).and_then(|()| writeln!(out)),
        Format::Jsonl => json::write_line(&mut out, record),
        Format::Csv => flatten(record).and_then(|fields| {
            write_csv(&mut out, fields.iter().map(|(name, _)| name.as_str()))?;
            write_csv(&mut out, fields.iter().map(|(_, value)| csv_cell(terminal.raw_csv(), value)))
        }),
    };
    written.and_then(|()| out.flush()).map_err(output_error)
}

/// Prints a JSON document.
pub(crate) fn document(terminal: &Terminal, document: &Value) -> Result<(), Failure> {
    let mut out = terminal.data();
    json::write_pretty(&mut out, document)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush())
        .map_err(output_error)
}

/// Prints one line of data.
pub(crate) fn line(terminal: &Terminal, text: &str) -> Result<(), Failure> {
    let mut out = terminal.data();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(output_error)
}

fn output_error(error: io::Error) -> Failure {
    pdkeys::Error::from(ErrorKind::Output(error)).into()
}

struct Sink<'o, W: Write> {
    out: &'o mut W,
    terminal_width: Option<u16>,
    raw_csv: bool,
    state: State,
    style: CellStyle,
    started: bool,
}

enum State {
    Table(Box<TableWriter>),
    Json,
    Jsonl,
    Csv,
}

impl<'o, W: Write> Sink<'o, W> {
    fn new(
        out: &'o mut W,
        format: Format,
        terminal: &Terminal,
        now: Timestamp,
        headings: &'static [&'static str],
    ) -> Self {
        let terminal_width = terminal.stdout_width();
        let state = match format {
            Format::Table => State::Table(Box::new(TableWriter::new(headings))),
            // Only `scan` accepts SARIF, and writes it as a document.
            Format::Json | Format::Sarif => State::Json,
            Format::Jsonl => State::Jsonl,
            Format::Csv => State::Csv,
        };
        Self {
            out,
            terminal_width,
            raw_csv: terminal.raw_csv(),
            state,
            style: CellStyle { relative_to: terminal_width.map(|_| now) },
            started: false,
        }
    }

    fn begin(&mut self, fields: &[&str]) -> io::Result<()> {
        match self.state {
            State::Csv if !self.started => write_csv(self.out, fields.iter().copied()),
            State::Csv | State::Table(_) | State::Json | State::Jsonl => Ok(()),
        }
    }

    fn put<R: Record>(&mut self, record: &R) -> io::Result<()> {
        self.begin(R::FIELDS)?;
        let first = !std::mem::replace(&mut self.started, true);
        match &mut self.state {
            State::Table(table) => {
                table.add_row(&record.cells(&self.style));
                Ok(())
            }
            State::Json => {
                self.out.write_all(if first { b"[\n  " } else { b",\n  " })?;
                json::write_compact(&mut *self.out, record)
            }
            State::Jsonl => json::write_line(self.out, record),
            State::Csv => {
                let fields = flatten(record)?;
                if !fields.iter().map(|(name, _)| name).eq(R::FIELDS) {
                    return Err(io::Error::other("the record has other fields than the header"));
                }
                write_csv(self.out, fields.iter().map(|(_, value)| csv_cell(self.raw_csv, value)))
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self.state {
            State::Table(table) => table.write(self.out, self.terminal_width),
            State::Json if self.started => writeln!(self.out, "\n]"),
            State::Json => writeln!(self.out, "[]"),
            State::Jsonl | State::Csv => Ok(()),
        }
    }
}

/// Returns a cell of CSV, quoted so that a spreadsheet does not compute it, unless `raw` asks for it as it is.
fn csv_cell(raw: bool, cell: &str) -> Cow<'_, str> {
    if raw { Cow::Borrowed(cell) } else { formula::guard(cell) }
}

fn write_csv<'c>(
    out: &mut impl Write,
    cells: impl Iterator<Item = impl Into<Cow<'c, str>>>,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    for cell in cells {
        csv.write_field(cell.into().as_bytes())?;
    }
    csv.write_record(None::<&[u8]>)?;
    csv.flush()
}

fn show_fields<R: Serialize>(
    out: &mut impl Write,
    terminal: &Terminal,
    now: Timestamp,
    record: &R,
) -> io::Result<()> {
    let fields = flatten(record)?;
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let name = name.replace('_', " ");
        let told = value
            .parse::<Timestamp>()
            .ok()
            .filter(|_| terminal.stdout_is_tty())
            .map(|moment| format!(" ({})", times::relative(moment, now)));
        writeln!(out, "{name:width$}  {}{}", escape(value), told.unwrap_or_default())?;
    }
    Ok(())
}

/// Returns the fields of a record as text: null is empty, and the items of a list are separated by spaces.
fn flatten<R: Serialize>(record: &R) -> io::Result<Vec<(String, String)>> {
    fn plain(value: &Value) -> io::Result<String> {
        Ok(match value {
            Value::Null => String::new(),
            Value::String(text) => escape(text).into_owned(),
            Value::Array(items) => items.iter().map(plain).collect::<io::Result<Vec<_>>>()?.join(" "),
            other => String::from_utf8(json::to_bytes(other)?).map_err(io::Error::other)?,
        })
    }
    match serde_json::to_value(record)? {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| Ok((name.clone(), plain(value)?))).collect()
        }
        other => Ok(vec![("value".to_owned(), plain(&other)?)]),
    }
}
