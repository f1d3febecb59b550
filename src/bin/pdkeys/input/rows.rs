//! Rows of a file that is imported: CSV with a header, or a JSON object a line.
//!
//! Errors name the line on which a row begins, and never repeat its content. If it is not certain where a row ends, parts
//! of it could be taken for rows, and the import ends. The file is read once and not kept: its SHA-256 is computed while
//! reading.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pdkeys::ErrorKind;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::formula;
use crate::input::lines::{LONGEST_LINE, Line, Lines};
use crate::input::records::{Cells, Record, Records, Stop};
use crate::paths::STREAM;
use crate::terminal::{Progress, Terminal};

const TWICE: &str = "a member is given twice";
const UNKNOWN: &str = "a member has a name that is no column";
const UTF_16: &str = "the file is UTF-16 or no text, and must be UTF-8";
/// The column that is a number in JSON exports.
const NUMBER: &str = "os_uid";
/// The largest standard input, in bytes. It is kept in memory.
const LONGEST_INPUT: u64 = 64 << 20;

/// The format of an imported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl RowFormat {
    /// Returns the format that was given, else the one of the file's extension.
    fn of(path: &Path, asked: Option<Self>) -> Result<Self, Failure> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match (asked, extension.as_deref()) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("jsonl" | "ndjson")) => Ok(Self::Jsonl),
            (None, _) => Err(Failure::usage(format!("{}: not known how it is written", path.display()))
                .with_hint("--format csv or --format jsonl says it, where the file's name does not")),
        }
    }
}

/// The cells of a row, in the order of the columns. An empty cell is `None`. Cells are wiped when they are dropped, since
/// they may hold secrets.
pub(crate) type Row = Vec<Option<Zeroizing<String>>>;

/// The number of the line on which a row begins, and the row or what is wrong with it.
pub(crate) type Numbered = (u64, Result<Row, String>);

/// The rows of a file.
pub(crate) struct Rows<'p> {
    path: PathBuf,
    columns: &'static [&'static str],
    source: Source<'p>,
}

/// The source of rows.
enum Source<'p> {
    Csv {
        records: Box<Records<Watched<'p>>>,
        /// The column at each position.
        places: Vec<usize>,
    },
    Jsonl {
        lines: Lines<Watched<'p>>,
        number: u64,
        ready: VecDeque<(u64, Result<Row, Wrong>)>,
    },
}

/// An error in a line of JSON.
#[derive(Debug, PartialEq)]
enum Wrong {
    /// An error of this line only.
    Line(String),
    /// The line does not end where its value does.
    CutOff(String),
}

impl<'p> Rows<'p> {
    /// Opens a file, or reads standard input if its name is `-`, and reads its header if it has one.
    pub(crate) fn open(
        path: &Path,
        format: Option<RowFormat>,
        columns: &'static [&'static str],
        needed: &[&[&str]],
        terminal: &Terminal,
        progress: &'p Progress,
    ) -> Result<Self, Failure> {
        let is_input = path.as_os_str() == STREAM;
        let path = if is_input { Path::new("standard input") } else { path };
        let format = RowFormat::of(path, format)?;
        let (file, length) = if is_input { whole_input(terminal)? } else { open_file(path)? };
        progress.begin(length);
        let file = Watched { file, sha256: Sha256::new(), progress };
        let source = match format {
            RowFormat::Csv => {
                let mut records = Box::new(Records::new(file));
                let places = header(path, &mut records, columns, needed)?;
                Source::Csv { records, places }
            }
            RowFormat::Jsonl => Source::Jsonl { lines: Lines::new(file), number: 0, ready: VecDeque::new() },
        };
        Ok(Self { path: path.to_owned(), columns, source })
    }

    /// Returns the name of the file in messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the next row, or `None` at the end. Empty lines are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Numbered>, pdkeys::Error> {
        let Self { path, columns, source } = self;
        let io = |source| ErrorKind::File { path: path.clone(), source };
        let cut_off = |line, why: String| ErrorKind::CutOff { path: path.clone(), line, why };
        match source {
            Source::Csv { records, places } => loop {
                let Record { line, cells } = match records.next() {
                    Ok(Some(record)) => record,
                    Ok(None) => return Ok(None),
                    Err(Stop::Io(error)) => return Err(io(error).into()),
                    Err(Stop::Quoting(line, why)) => return Err(cut_off(line, why.to_owned()).into()),
                };
                let row = cells.and_then(|cells| csv_row(&cells, places, columns));
                if let Some(row) = row.transpose() {
                    return Ok(Some((line, row)));
                }
            },
            Source::Jsonl { lines, number, ready } => loop {
                match ready.pop_front() {
                    Some((line, Ok(row))) => return Ok(Some((line, Ok(row)))),
                    Some((line, Err(Wrong::Line(why)))) => return Ok(Some((line, Err(why)))),
                    Some((line, Err(Wrong::CutOff(why)))) => return Err(cut_off(line, why).into()),
                    None => {}
                }
                let read = lines.next_batch(|batch| json_rows(batch, columns, number, ready)).map_err(io)?;
                if read.is_none() {
                    return Ok(None);
                }
            },
        }
    }

    /// Returns the SHA-256 of what was read.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let input = match &self.source {
            Source::Csv { records, .. } => records.input(),
            Source::Jsonl { lines, .. } => lines.input(),
        };
        input.sha256.clone().finalize().into()
    }
}

/// Opens a file, and returns its length.
fn open_file(path: &Path) -> Result<(Box<dyn Read>, u64), Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    // Checked before it is opened: opening a pipe would block until another process writes to it.
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::failed(format!("{}: not a file", path.display())).with_hint(
            "the store is locked while it is read, so that it must be there whole; - reads standard input",
        ));
    }
    Ok((Box::new(File::open(path).map_err(cannot)?), metadata.len()))
}

/// Opens standard input, and returns its length. A pipe is read to its end first, so that the store is not locked while
/// another program writes to it.
fn whole_input(terminal: &Terminal) -> Result<(Box<dyn Read>, u64), Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("standard input: {error}"));
    let input = terminal.input_file().map_err(cannot)?;
    let metadata = input.metadata().map_err(cannot)?;
    if metadata.is_file() {
        return Ok((Box::new(input), metadata.len()));
    }
    // Allocated at full length: a buffer that grows leaves copies of its content behind. Pages that are not written to use
    // no memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST_INPUT).unwrap_or(0) + 64));
    let length = input.take(LONGEST_INPUT + 1).read_to_end(&mut bytes).map_err(cannot)? as u64;
    if length > LONGEST_INPUT {
        return Err(Failure::failed(format!("standard input: a pipe with more than {LONGEST_INPUT} bytes"))
            .with_hint("a file can be of any length: < FILE"));
    }
    Ok((Box::new(Cursor::new(bytes)), length))
}

/// Reads the header, and returns the column at each position. For each item of `needed`, one of its names must be there.
fn header(
    path: &Path,
    records: &mut Records<Watched<'_>>,
    columns: &'static [&'static str],
    needed: &[&[&str]],
) -> Result<Vec<usize>, Failure> {
    let (line, places) = match records.peek() {
        Ok(start) if is_utf_16(start) => (1, Err(UTF_16.to_owned())),
        Ok(_) => match records.next() {
            Ok(Some(Record { line, cells })) => (line, cells.and_then(|cells| places(&cells, columns))),
            Ok(None) => (1, Err("there is none".to_owned())),
            Err(Stop::Quoting(line, why)) => (line, Err(why.to_owned())),
            Err(Stop::Io(error)) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
        },
        Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
    };
    let has = |places: &[usize], name: &str| places.iter().any(|place| columns.get(*place) == Some(&name));
    places
        .and_then(|places| match needed.iter().find(|names| !names.iter().any(|name| has(&places, name))) {
            Some(names) => Err(format!("no column is called {}", names.join(" or "))),
            None => Ok(places),
        })
        .map_err(|why| {
            Failure::failed(format!("{}: line {line}: {why}", path.display()))
                .with_hint(format!("the first line names the columns: {}", columns.join(",")))
        })
}

/// Returns the column at each position. Other content is never repeated: in a file without a header, it is a secret.
fn places(cells: &Cells<'_>, columns: &'static [&'static str]) -> Result<Vec<usize>, String> {
    let column = |cell: &[u8]| columns.iter().position(|name| name.as_bytes() == cell.trim_ascii());
    let mut places = Vec::new();
    for (place, cell) in cells.iter().enumerate() {
        match column(cell) {
            Some(column) if places.contains(&column) => {
                return Err(format!("column {} is there twice", columns[column]));
            }
            Some(column) => places.push(column),
            None => {
                let separator =
                    [(b';', ";"), (b'\t', "tabs"), (b'|', "|")].into_iter().find(|(separator, _)| {
                        cell.contains(separator)
                            && cell.split(|byte| byte == separator).any(|part| column(part).is_some())
                    });
                return Err(match separator {
                    Some((_, separator)) => {
                        format!("cells are separated by {separator}, and must be by commas")
                    }
                    None if place == 0 && cell.len() >= 4 && cell[..4].eq_ignore_ascii_case(b"sep=") => {
                        "sep= is for Excel; the header must stand in its place".to_owned()
                    }
                    None if cell.trim_ascii().is_empty() => format!("cell {} is empty", place + 1),
                    None => format!("cell {} is the name of no column", place + 1),
                });
            }
        }
    }
    Ok(places)
}

/// Returns whether a file begins like UTF-16 or UTF-32: with a byte-order mark, or with an ASCII character and a zero.
fn is_utf_16(start: &[u8]) -> bool {
    start.starts_with(b"\xff\xfe")
        || start.starts_with(b"\xfe\xff")
        || start.iter().take(4).any(|byte| *byte == 0)
}

/// Returns the row of a record, or `None` for an empty line.
fn csv_row(cells: &Cells<'_>, places: &[usize], columns: &[&str]) -> Result<Option<Row>, String> {
    if cells.len() == 1 && cells.iter().all(|cell| cell.trim_ascii().is_empty()) && places.len() > 1 {
        return Ok(None);
    }
    if cells.len() != places.len() {
        return Err(format!("has {} cells, and the header has {}", cells.len(), places.len()));
    }
    let mut row: Row = vec![None; columns.len()];
    for ((place, cell), column) in cells.iter().enumerate().zip(places) {
        let cell = std::str::from_utf8(cell).map_err(|_| format!("cell {} is no UTF-8", place + 1))?;
        if !cell.is_empty() {
            row[*column] = Some(Zeroizing::new(formula::unguard(cell).to_owned()));
        }
    }
    if row.iter().flatten().all(|cell| cell.trim().is_empty()) {
        return Err("has nothing but commas".to_owned());
    }
    Ok(Some(row))
}

/// Parses lines of JSON into rows.
fn json_rows(
    lot: &[Line<'_>],
    columns: &'static [&'static str],
    number: &mut u64,
    ready: &mut VecDeque<(u64, Result<Row, Wrong>)>,
) {
    for line in lot {
        *number += 1;
        let row = match line {
            // It is not known whether it ends where its value does.
            Line::TooLong => Err(Wrong::CutOff(format!("longer than {LONGEST_LINE} bytes"))),
            Line::Whole(line) if *number == 1 && is_utf_16(line) => Err(Wrong::CutOff(UTF_16.to_owned())),
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Line::Whole(line) => json_row(line, columns),
        };
        ready.push_back((*number, row));
    }
}

/// Parses a JSON object. The error names a column, and never repeats the content.
fn json_row(line: &[u8], columns: &'static [&'static str]) -> Result<Row, Wrong> {
    use serde_json::error::Category;
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let row = Object(columns).deserialize(&mut deserializer).and_then(|row| deserializer.end().map(|()| row));
    row.map_err(|error| {
        // The next line may be the rest of this value. Other errors are found before that.
        if serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof()) {
            return Wrong::CutOff("its JSON does not end on its line".to_owned());
        }
        let text = error.to_string();
        let what = match error.classify() {
            Category::Data if text.starts_with(TWICE) => TWICE,
            Category::Data if text.starts_with(UNKNOWN) => UNKNOWN,
            Category::Data => "a member is neither text nor null, or it is no object",
            Category::Syntax | Category::Eof | Category::Io => "not JSON",
        };
        Wrong::Line(format!("{what} (column {})", error.column()))
    })
}

/// An object whose members are columns.
struct Object(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row: Row = vec![None; self.0.len()];
        let mut given = vec![false; self.0.len()];
        while let Some(member) = map.next_key::<Cow<'de, str>>()? {
            let Some((column, name)) = self.0.iter().enumerate().find(|(_, column)| **column == member)
            else {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(UNKNOWN));
            };
            if std::mem::replace(&mut given[column], true) {
                return Err(A::Error::custom(TWICE));
            }
            row[column] = map.next_value_seed(Cell { may_be_number: *name == NUMBER })?;
        }
        Ok(row)
    }
}

/// Text, or nothing.
struct Cell {
    may_be_number: bool,
}

impl<'de> DeserializeSeed<'de> for Cell {
    type Value = Option<Zeroizing<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Number {
            Number(u64),
            Text(String),
        }
        let text = if self.may_be_number {
            Option::<Number>::deserialize(deserializer)?.map(|number| match number {
                Number::Number(number) => number.to_string(),
                Number::Text(text) => text,
            })
        } else {
            Option::<String>::deserialize(deserializer)?
        };
        Ok(text.map(Zeroizing::new).filter(|text| !text.is_empty()))
    }
}

/// A file that is hashed while it is read.
struct Watched<'p> {
    file: Box<dyn Read>,
    sha256: Sha256,
    progress: &'p Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        self.progress.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_by_its_columns_and_told_by_its_place() {
        const COLUMNS: &[&str] = &["kind", "secret"];
        let row = |line: &str| json_row(line.as_bytes(), COLUMNS);
        let read = row(r#"{"secret":"s","kind":null}"#).unwrap();
        assert_eq!(read[0], None);
        assert_eq!(read[1].as_ref().map(|text| text.as_str()), Some("s"));
        assert_eq!(row(r#"{"kind":"a\u0062"}"#).unwrap()[0].as_ref().map(|text| text.as_str()), Some("ab"));
        for (line, why) in [
            (r#"{"other":"s"}"#, "a member has a name that is no column"),
            (r#"{"kind":"s","kind":"s"}"#, "a member is given twice"),
            (r#"{"kind":7}"#, "a member is neither text nor null, or it is no object"),
            ("[]", "a member is neither text nor null, or it is no object"),
            ("secret", "not JSON"),
            (r#"{"kind":"s"} x"#, "not JSON"),
        ] {
            let Err(Wrong::Line(told)) = row(line) else { panic!("{line}: {:?}", row(line)) };
            assert!(told.starts_with(why), "{line}: {told}");
        }
        for line in [
            "{",
            "[",
            r#"{"kind":"s"#,
            r#"{"kind":7,"secret":"s"#,
            r#"{"kind":"s","kind":"s"#,
            r#"{"other":"#,
        ] {
            assert!(matches!(row(line), Err(Wrong::CutOff(_))), "{line}: {:?}", row(line));
        }
    }
}
