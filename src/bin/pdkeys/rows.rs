//! Rows of a file that is imported: CSV with a header, or a JSON object a line.
//!
//! A row is a line, so that whatever is wrong with one has a line to be named by; what is on it is never told. The file
//! is read once, and neither it nor its rows are kept: its SHA-256 comes from what was read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use csv_core::ReadRecordResult;
use pdkeys::ErrorKind;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::lines::{LONGEST_LINE, Line, Lines};
use crate::paths::STREAM;
use crate::terminal::{Progress, Terminal};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// More columns than any file that can be read here.
const MOST_CELLS: usize = 64;
const TWICE: &str = "a member is given twice";
const UNKNOWN: &str = "a member has a name that is no column";

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl RowFormat {
    /// The format that was asked for, or that the file's name says.
    pub(crate) fn of(path: &Path, asked: Option<Self>) -> Result<Self, Failure> {
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

/// The cells of one row, in the order of the columns; an empty one is none. Each may be a secret: it is wiped in the
/// end.
pub(crate) type Row = Vec<Option<Zeroizing<String>>>;

/// One row: the number of its line, and what is there or what is wrong with it.
pub(crate) type Numbered = (u64, Result<Row, String>);

/// The rows of a file.
pub(crate) struct Rows<'p> {
    path: PathBuf,
    lines: Lines<Watched<'p>>,
    cells: Cells,
    columns: &'static [&'static str],
    number: u64,
    ready: VecDeque<Numbered>,
}

/// How to take a line apart.
enum Cells {
    /// Its header is still to come.
    CsvWithoutHeader(Box<Csv>),
    /// Which column stands at each place.
    Csv(Box<Csv>, Vec<usize>),
    Jsonl,
}

impl<'p> Rows<'p> {
    /// Opens a file, or takes the one that standard input is, and reads its header if it has one.
    pub(crate) fn open(
        terminal: &Terminal,
        path: &Path,
        format: RowFormat,
        columns: &'static [&'static str],
        needed: &[&str],
        progress: &'p Progress,
    ) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
        // Looked at before it is opened: opening a pipe would wait for somebody who writes, with the store locked.
        let is_stream = path.as_os_str() == STREAM;
        let metadata = if is_stream {
            terminal.input_file().and_then(|file| file.metadata())
        } else {
            std::fs::metadata(path)
        };
        let metadata = metadata.map_err(cannot)?;
        if !metadata.is_file() {
            return Err(Failure::failed(format!("{}: not a file", path.display()))
                .with_hint("the store is locked while it is read, so that it must be there whole"));
        }
        let file = if is_stream { terminal.input_file() } else { File::open(path) }.map_err(cannot)?;
        progress.begin(metadata.len());
        let cells = match format {
            RowFormat::Csv => Cells::CsvWithoutHeader(Box::default()),
            RowFormat::Jsonl => Cells::Jsonl,
        };
        let mut rows = Self {
            path: path.to_owned(),
            lines: Lines::new(Watched { file, sha256: Sha256::new(), progress }),
            cells,
            columns,
            number: 0,
            ready: VecDeque::new(),
        };
        rows.read_header(needed)?;
        Ok(rows)
    }

    fn read_header(&mut self, needed: &[&str]) -> Result<(), Failure> {
        if let Cells::Jsonl = self.cells {
            return Ok(());
        }
        self.fill()?;
        let wrong = |why: String| {
            Failure::failed(format!("{}: line 1: {why}", self.path.display()))
                .with_hint(format!("the first line names the columns: {}", self.columns.join(",")))
        };
        let Cells::Csv(_, places) = &self.cells else {
            let why = match self.ready.pop_front() {
                Some((_, Err(why))) => why,
                _ => "there is none".to_owned(),
            };
            return Err(wrong(why));
        };
        let missing = |name: &&&str| !places.iter().any(|place| self.columns.get(*place) == Some(*name));
        match needed.iter().find(missing) {
            Some(name) => Err(wrong(format!("no column is called {name}"))),
            None => Ok(()),
        }
    }

    /// The next row, or none at the end. Empty lines are none.
    pub(crate) fn next(&mut self) -> Result<Option<Numbered>, pdkeys::Error> {
        while self.ready.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// The SHA-256 of what was read.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.lines.input().sha256.clone().finalize().into()
    }

    /// Reads on, and says whether there was more.
    fn fill(&mut self) -> Result<bool, pdkeys::Error> {
        let Self { path, lines, cells, columns, number, ready } = self;
        let read = lines.next_lot(|lot| {
            for line in lot {
                *number += 1;
                let line = match line {
                    Line::Whole(line) => line.strip_suffix(b"\r").unwrap_or(line),
                    Line::TooLong => {
                        ready.push_back((*number, Err(format!("longer than {LONGEST_LINE} bytes"))));
                        continue;
                    }
                };
                let line = match number {
                    1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
                    _ => line,
                };
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                if let Some(row) = cells.take_apart(line, columns).transpose() {
                    ready.push_back((*number, row));
                }
            }
        });
        let read = read.map_err(|source| ErrorKind::File { path: path.clone(), source })?;
        Ok(read.is_some())
    }
}

impl Cells {
    /// Takes a line apart; a header gives no row.
    fn take_apart(&mut self, line: &[u8], columns: &'static [&'static str]) -> Result<Option<Row>, String> {
        match self {
            Self::Jsonl => json_row(line, columns).map(Some),
            Self::Csv(csv, places) => {
                let mut row: Row = vec![None; columns.len()];
                let mut cells = 0;
                csv.split(line, |place, cell| {
                    cells += 1;
                    if let Some(column) = places.get(place)
                        && !cell.is_empty()
                    {
                        row[*column] = Some(Zeroizing::new(cell.to_owned()));
                    }
                })?;
                match places.len() {
                    expected if expected == cells => Ok(Some(row)),
                    expected => Err(format!("has {cells} cells, and the header has {expected}")),
                }
            }
            Self::CsvWithoutHeader(csv) => {
                let mut places = Vec::new();
                let mut wrong = None;
                // Never told what stands there: without a header, it is a secret.
                csv.split(line, |place, cell| match columns.iter().position(|name| *name == cell.trim()) {
                    None => {
                        wrong.get_or_insert(format!("cell {} is the name of no column", place + 1));
                    }
                    Some(column) if places.contains(&column) => {
                        wrong.get_or_insert(format!("column {} is there twice", columns[column]));
                    }
                    Some(column) => places.push(column),
                })?;
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
                *self = Self::Csv(std::mem::take(csv), places);
                Ok(None)
            }
        }
    }
}

/// Takes lines of CSV apart.
struct Csv {
    reader: csv_core::Reader,
    /// As long as a line can be: one that grew would leave copies of what it held behind.
    text: Zeroizing<Vec<u8>>,
    ends: [usize; MOST_CELLS],
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            reader: csv_core::Reader::new(),
            text: Zeroizing::new(vec![0; LONGEST_LINE]),
            ends: [0; MOST_CELLS],
        }
    }
}

impl Csv {
    /// Shows each cell, with its place in the line.
    fn split(&mut self, line: &[u8], mut show: impl FnMut(usize, &str)) -> Result<(), String> {
        // What a quote that stays open would swallow are other lines.
        if line.split(|byte| *byte == b'"').count() % 2 == 0 {
            return Err("a quote is not closed on its line".to_owned());
        }
        self.reader.reset();
        let (mut read, taken, written, mut cells) =
            self.reader.read_record(line, &mut self.text, &mut self.ends);
        if taken < line.len() && matches!(read, ReadRecordResult::Record) {
            return Err("a line end stands inside the line".to_owned());
        }
        if let ReadRecordResult::InputEmpty = read {
            // What was not said to be the end of the input could go on.
            let more;
            (read, _, _, more) =
                self.reader.read_record(&[], &mut self.text[written..], &mut self.ends[cells..]);
            cells += more;
        }
        if let ReadRecordResult::OutputEndsFull = read {
            return Err(format!("has more than {MOST_CELLS} cells"));
        }
        let mut from = 0;
        for (place, end) in self.ends[..cells].iter().enumerate() {
            let cell = std::str::from_utf8(&self.text[from..*end])
                .map_err(|_| format!("cell {} is no UTF-8", place + 1))?;
            show(place, cell);
            from = *end;
        }
        Ok(())
    }
}

/// Reads a JSON object; what is wrong with it is told by its place, never by its content.
fn json_row(line: &[u8], columns: &'static [&'static str]) -> Result<Row, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let row = Object(columns).deserialize(&mut deserializer).and_then(|row| deserializer.end().map(|()| row));
    row.map_err(|error| {
        let text = error.to_string();
        let what = match error.classify() {
            serde_json::error::Category::Data if text.starts_with(TWICE) => TWICE,
            serde_json::error::Category::Data if text.starts_with(UNKNOWN) => UNKNOWN,
            serde_json::error::Category::Data => "a member is neither text nor null, or it is no object",
            _ => "not JSON",
        };
        format!("{what} (column {})", error.column())
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
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let Some(column) = self.0.iter().position(|column| *column == name) else {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(UNKNOWN));
            };
            if std::mem::replace(&mut given[column], true) {
                return Err(A::Error::custom(TWICE));
            }
            row[column] = map.next_value_seed(Cell)?;
        }
        Ok(row)
    }
}

/// Text, or nothing.
struct Cell;

impl<'de> DeserializeSeed<'de> for Cell {
    type Value = Option<Zeroizing<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.map(Zeroizing::new);
        Ok(text.filter(|text| !text.is_empty()))
    }
}

/// A file, and what was read of it.
struct Watched<'p> {
    file: File,
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

    fn cells(line: &str) -> Result<Vec<String>, String> {
        let mut cells = Vec::new();
        Csv::default().split(line.as_bytes(), |_, cell| cells.push(cell.to_owned())).map(|()| cells)
    }

    #[test]
    fn a_line_of_csv_is_taken_apart_by_itself() {
        assert_eq!(cells("a,b,c").unwrap(), ["a", "b", "c"]);
        assert_eq!(cells("a,\"b, \"\"c\"\"\",").unwrap(), ["a", "b, \"c\"", ""]);
        assert_eq!(cells(",").unwrap(), ["", ""]);
        assert_eq!(cells("a,\"b").unwrap_err(), "a quote is not closed on its line");
        assert_eq!(cells("a\rb").unwrap_err(), "a line end stands inside the line");
        assert_eq!(cells(&",".repeat(MOST_CELLS)).unwrap_err(), "has more than 64 cells");
        let mut csv = Csv::default();
        assert_eq!(csv.split(b"a,\xff", |_, _| ()).unwrap_err(), "cell 2 is no UTF-8");
        // What was wrong with one line is forgotten at the next.
        csv.split(b"a,b", |_, _| ()).unwrap();
    }

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
            assert!(row(line).unwrap_err().starts_with(why), "{line}: {:?}", row(line));
        }
    }
}
