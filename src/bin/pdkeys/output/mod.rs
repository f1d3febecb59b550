//! Data on standard output: as a table, JSON, JSON lines or CSV.
//!
//! JSON lines and CSV stream in constant memory, JSON too; a table must be seen whole before its columns have a
//! width. The names and the order of the fields are those of the serialised type, in every format but the table.

use std::borrow::Cow;
pub(crate) mod sarif;
pub(crate) mod secrets;
pub(crate) mod times;

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;
use pdkeys::ErrorKind;
use pdkeys::model::{escape, is_escaped};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::failure::{Exit, Failure};
use crate::formula;
use crate::session::Context;
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
    /// What code-scanning pages read; of scan alone
    Sarif,
}

/// Something that can be listed.
pub(crate) trait Record: Serialize {
    /// The names of the fields, as they are serialised: the header of CSV, where there may be no record to ask.
    const FIELDS: &'static [&'static str];

    /// The columns of the table.
    const HEADINGS: &'static [&'static str];

    /// The record's cells in the table.
    fn cells(&self, eyes: &Eyes) -> Vec<String>;
}

/// Who looks at a table.
pub(crate) struct Eyes {
    people: bool,
    now: Timestamp,
}

impl Eyes {
    /// A moment as they like it.
    pub(crate) fn moment(&self, moment: Timestamp) -> String {
        if self.people { times::relative(moment, self.now) } else { times::exact(moment) }
    }

    /// A moment that may not be.
    pub(crate) fn optional_moment(&self, moment: Option<Timestamp>, otherwise: &str) -> String {
        moment.map_or_else(|| otherwise.to_owned(), |moment| self.moment(moment))
    }
}

/// Prints the records that `produce` emits, in a format. Emitting fails when the output does.
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
    // Only now: who may not see anything is not shown a header either.
    sink.begin(R::FIELDS).map_err(output_error)?;
    sink.finish().and_then(|()| out.flush()).map_err(output_error)?;
    Ok(produced)
}

/// Prints one record whole: its fields one below the other, or as an object.
pub(crate) fn show<R: Serialize>(
    terminal: &Terminal,
    format: Format,
    now: Timestamp,
    record: &R,
) -> Result<(), Failure> {
    let mut out = terminal.data();
    let written = match format {
        Format::Table => show_fields(&mut out, terminal, now, record),
        Format::Json | Format::Sarif => {
            write_json(&mut out, PrettyFormatter::new(), record).and_then(|()| writeln!(out))
        }
        Format::Jsonl => write_json(&mut out, CompactFormatter, record).and_then(|()| writeln!(out)),
        Format::Csv => flatten(record).and_then(|fields| {
            write_csv(&mut out, fields.iter().map(|(name, _)| name.as_str()))?;
            write_csv(&mut out, fields.iter().map(|(_, value)| csv_cell(terminal, value)))
        }),
    };
    written.and_then(|()| out.flush()).map_err(output_error)
}

/// Prints what was changed, if a format was asked for: without one, the notice says it.
pub(crate) fn changed<R: Record>(
    context: &Context,
    now: Timestamp,
    mut records: impl Iterator<Item = R>,
) -> Result<Exit, Failure> {
    if context.globals.output != Format::Table {
        list(&context.terminal, context.globals.output, now, |emit| {
            records.try_for_each(emit).map_err(Failure::from)
        })?;
    }
    Ok(Exit::Done)
}

/// Prints one document that is whole already.
pub(crate) fn document(terminal: &Terminal, document: &Value) -> Result<(), Failure> {
    let mut out = terminal.data();
    write_json(&mut out, PrettyFormatter::new(), document)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush())
        .map_err(output_error)
}

/// Prints one line of data.
pub(crate) fn line(terminal: &Terminal, text: &str) -> Result<(), Failure> {
    let mut out = terminal.data();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(output_error)
}

/// Writes a record as one line of JSON.
pub(crate) fn json_line<R: Serialize>(out: &mut impl Write, record: &R) -> io::Result<()> {
    write_json(&mut *out, CompactFormatter, record)?;
    out.write_all(b"\n")
}

/// A record as one compact JSON object in bytes, for what must be handed over with a secret.
pub(crate) fn json_bytes<R: Serialize>(record: &R) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_json(&mut bytes, CompactFormatter, record)?;
    Ok(bytes)
}

fn output_error(error: io::Error) -> Failure {
    pdkeys::Error::from(ErrorKind::Output(error)).into()
}

struct Sink<'o, W: Write> {
    out: &'o mut W,
    terminal: &'o Terminal,
    headings: &'static [&'static str],
    state: State,
    eyes: Eyes,
    started: bool,
}

enum State {
    Table(Box<Table>),
    Json,
    Jsonl,
    Csv,
}

impl<'o, W: Write> Sink<'o, W> {
    fn new(
        out: &'o mut W,
        format: Format,
        terminal: &'o Terminal,
        now: Timestamp,
        headings: &'static [&'static str],
    ) -> Self {
        let state = match format {
            Format::Table => State::Table(Box::new(new_table(headings))),
            // Who prints SARIF does so by itself, and nobody else is let as far as this.
            Format::Json | Format::Sarif => State::Json,
            Format::Jsonl => State::Jsonl,
            Format::Csv => State::Csv,
        };
        Self {
            out,
            terminal,
            headings,
            state,
            eyes: Eyes { people: terminal.shows_to_people(), now },
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
                table.add_row(record.cells(&self.eyes).iter().map(|cell| escape(cell).into_owned()));
                Ok(())
            }
            State::Json => {
                self.out.write_all(if first { b"[\n  " } else { b",\n  " })?;
                write_json(&mut *self.out, CompactFormatter, record)
            }
            State::Jsonl => {
                write_json(&mut *self.out, CompactFormatter, record)?;
                writeln!(self.out)
            }
            State::Csv => {
                let fields = flatten(record)?;
                if !fields.iter().map(|(name, _)| name).eq(R::FIELDS) {
                    return Err(io::Error::other("the record has other fields than the header"));
                }
                write_csv(self.out, fields.iter().map(|(_, value)| csv_cell(self.terminal, value)))
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self.state {
            State::Table(mut table) => write_table(self.out, &mut table, self.headings, self.terminal),
            State::Json if self.started => writeln!(self.out, "\n]"),
            State::Json => writeln!(self.out, "[]"),
            State::Jsonl | State::Csv => Ok(()),
        }
    }
}

/// A cell as it goes into CSV: no formula, unless it was asked for as it is.
fn csv_cell<'c>(terminal: &Terminal, cell: &'c str) -> Cow<'c, str> {
    if terminal.raw_csv() { Cow::Borrowed(cell) } else { formula::guard(cell) }
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

/// How many blanks are between two columns, and how many where there is little room.
const GAPS: [u16; 2] = [2, 1];
/// Columns of which words that are longer than [`NARROWEST`] may be broken. Words of all others are copied or compared.
const FREE_TEXT: &[&str] = &[
    "ABOUT",
    "ACTOR",
    "BY",
    "CALLED",
    "CHANGES",
    "DESCRIPTION",
    "FINDING",
    "LEADS INTO",
    "NAME",
    "PROBLEM",
    "REMEDY",
    "USER",
];
/// The narrowest that a column of free text is made before the rows are written one by one.
const NARROWEST: usize = 12;
/// The column of which not even blanks are a place to break a line at: what it holds is one word, blanks or not.
const ONE_WORD: &str = "FILE";

fn new_table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    table.set_header(headings);
    set_gap(&mut table, GAPS[0]);
    table
}

fn set_gap(table: &mut Table, gap: u16) {
    let last = table.column_count().saturating_sub(1);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if number == last { 0 } else { gap }));
    }
}

/// Fits a table into the width of a terminal by wrapping cells between words. Returns false if not even so it fits.
fn fit(table: &mut Table, headings: &[&str], width: u16) -> bool {
    let natural = table.column_max_content_widths();
    let least: Vec<u16> = headings
        .iter()
        .zip(&natural)
        .enumerate()
        .map(|(number, (heading, natural))| {
            let cells = table.row_iter().filter_map(|row| row.cell_iter().nth(number)).map(Cell::content);
            let words = cells.filter_map(|cell| cell.split(' ').map(|word| word.chars().count()).max());
            let longest = words.max().unwrap_or(0);
            let heading_word = heading.split(' ').map(str::len).max().unwrap_or(0);
            let least = match *heading {
                ONE_WORD => return *natural,
                free if FREE_TEXT.contains(&free) => longest.min(NARROWEST),
                _ => longest,
            };
            u16::try_from(least.max(heading_word)).unwrap_or(u16::MAX).min(*natural)
        })
        .collect();
    let gaps = |gap: u16| usize::from(gap) * headings.len().saturating_sub(1);
    let text: usize = least.iter().map(|width| usize::from(*width)).sum();
    let Some(gap) = GAPS.into_iter().find(|gap| text + gaps(*gap) <= width.into()) else { return false };
    set_gap(table, gap);
    for ((column, natural), least) in table.column_iter_mut().zip(natural).zip(least) {
        let padding = column.padding_width();
        column.set_constraint(if least == natural {
            ColumnConstraint::ContentWidth
        } else {
            ColumnConstraint::LowerBoundary(Width::Fixed(least + padding))
        });
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    true
}

/// Writes a table, for people with bold headings and fitted to the terminal.
fn write_table(
    out: &mut impl Write,
    table: &mut Table,
    headings: &[&str],
    terminal: &Terminal,
) -> io::Result<()> {
    if terminal.shows_to_people() {
        table.enforce_styling();
        table.set_header(headings.iter().map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        if !fit(table, headings, terminal.width()) {
            return write_one_by_one(out, table, headings);
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes the rows of a table that does not fit: a cell a line, and an empty line between two rows.
fn write_one_by_one(out: &mut impl Write, table: &Table, headings: &[&str]) -> io::Result<()> {
    let longest = headings.iter().map(|heading| heading.len()).max().unwrap_or(0);
    for (number, row) in table.row_iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        for (heading, cell) in headings.iter().zip(row.cell_iter()) {
            let line = format!("{:longest$}  {}", heading.to_lowercase(), cell.content());
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
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
            .filter(|_| terminal.shows_to_people())
            .map(|moment| format!(" ({})", times::relative(moment, now)));
        writeln!(out, "{name:width$}  {}{}", escape(value), told.unwrap_or_default())?;
    }
    Ok(())
}

/// The fields of a record as text: nothing for null, blanks between the items of a list.
fn flatten<R: Serialize>(record: &R) -> io::Result<Vec<(String, String)>> {
    fn plain(value: &Value) -> io::Result<String> {
        Ok(match value {
            Value::Null => String::new(),
            Value::String(text) => escape(text).into_owned(),
            Value::Array(items) => items.iter().map(plain).collect::<io::Result<Vec<_>>>()?.join(" "),
            other => String::from_utf8(json_bytes(other)?).map_err(io::Error::other)?,
        })
    }
    match serde_json::to_value(record)? {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| Ok((name.clone(), plain(value)?))).collect()
        }
        other => Ok(vec![("value".to_owned(), plain(&other)?)]),
    }
}

fn write_json<R: Serialize>(out: impl Write, formatter: impl Formatter, record: &R) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Harmless(formatter));
    record.serialize(&mut serializer).map_err(io::Error::from)
}

/// Writes JSON that a terminal can show: what could move a cursor or turn the reading direction is escaped, which
/// JSON itself asks only for C0.
struct Harmless<F>(F);

macro_rules! as_the_inner_formatter {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$name(writer $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for Harmless<F> {
    as_the_inner_formatter! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // What most text is: nothing to look for in it.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_could_move_a_cursor_and_reads_back_the_same() {
        let text = "a\u{7f}\u{85}\u{202e}é\"\\\u{1b}\u{200b}\u{e0041}";
        let mut bytes = Vec::new();
        write_json(&mut bytes, CompactFormatter, &text).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "\"a\\u007f\\u0085\\u202eé\\\"\\\\\\u001b\\u200b\\udb40\\udc41\""
        );
        assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
    }
}
