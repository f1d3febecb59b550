//! Reads the records of a CSV file, with the line on which each begins.
//!
//! A record can span several lines, since a quoted cell may hold line ends. So the end of a record can be found only by
//! parsing from the beginning of the file. Programs disagree about quotes that RFC 4180 does not allow, such as `\"` in a
//! cell, and so about where the record ends. Records after such a quote are not certain, and reading ends there.

use std::io::{self, ErrorKind, Read};

use csv_core::ReadRecordResult;
use zeroize::Zeroizing;

use crate::input::lines::{BYTE_ORDER_MARK, LONGEST_LINE};

/// The largest number of cells in a record.
const MOST_CELLS: usize = 64;
const RETURN_ALONE: &str = "a line ends with a carriage return alone";
/// The number of bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// Reads records into buffers of a fixed size, which leave no copies behind and are wiped when they are dropped, since
/// records may hold secrets.
pub(crate) struct Records<R> {
    input: R,
    chunk: Zeroizing<Vec<u8>>,
    /// The part of the chunk that is not parsed yet.
    unread: std::ops::Range<usize>,
    begun: bool,
    parser: csv_core::Reader,
    text: Zeroizing<Vec<u8>>,
    ends: [usize; MOST_CELLS],
    quoting: Quoting,
}

/// One record: the line on which it begins, and its cells or what is wrong with it.
pub(crate) struct Record<'r> {
    pub(crate) line: u64,
    pub(crate) cells: Result<Cells<'r>, String>,
}

/// The cells of a record.
pub(crate) struct Cells<'r> {
    text: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Cells<'r> {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

/// Why reading ends before the end of the file.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file cannot be read.
    Io(io::Error),
    /// The end of a record is not certain: the line on which it begins, and why.
    Quoting(u64, &'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<R: Read> Records<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            chunk: Zeroizing::new(vec![0; CHUNK]),
            unread: 0..0,
            begun: false,
            parser: csv_core::Reader::new(),
            text: Zeroizing::new(vec![0; LONGEST_LINE]),
            ends: [0; MOST_CELLS],
            quoting: Quoting::default(),
        }
    }

    /// Returns the input.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// Returns the first chunk of the file, without a byte-order mark.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        if !std::mem::replace(&mut self.begun, true) {
            while self.unread.end < CHUNK && self.fill()? > 0 {}
            if self.chunk[self.unread.clone()].starts_with(BYTE_ORDER_MARK) {
                self.unread.start += BYTE_ORDER_MARK.len();
            }
        }
        Ok(&self.chunk[self.unread.clone()])
    }

    /// Returns the next record, or `None` at the end. Empty lines between records are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, Stop> {
        self.peek()?;
        let (mut written, mut cells) = (0, 0);
        let mut wrong = None;
        loop {
            self.refill()?;
            let unread = self.unread.clone();
            let (read, taken, more_text, more_cells) = self.parser.read_record(
                &self.chunk[unread.clone()],
                &mut self.text[written..],
                &mut self.ends[cells..],
            );
            self.unread.start += taken;
            self.quoting.follow(&self.chunk[unread.start..unread.start + taken])?;
            written += more_text;
            cells += more_cells;
            match read {
                ReadRecordResult::InputEmpty => {}
                // The rest of the record is skipped.
                ReadRecordResult::OutputFull => {
                    wrong.get_or_insert_with(|| format!("longer than {LONGEST_LINE} bytes"));
                    written = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    wrong.get_or_insert_with(|| format!("has more than {MOST_CELLS} cells"));
                    cells = 0;
                }
                ReadRecordResult::Record => {
                    self.refill()?;
                    self.quoting.look_ahead(self.chunk[self.unread.clone()].first().copied())?;
                    let line = self.quoting.end_record()?;
                    let cells = match wrong {
                        Some(wrong) => Err(wrong),
                        None => Ok(Cells { text: &self.text[..written], ends: &self.ends[..cells] }),
                    };
                    return Ok(Some(Record { line, cells }));
                }
                ReadRecordResult::End => {
                    self.quoting.end_record()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads a chunk if everything is parsed.
    fn refill(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
            self.fill()?;
        }
        Ok(())
    }

    /// Reads more after the part that is not parsed yet. Returns the number of bytes, 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.input.read(&mut self.chunk[self.unread.end..]) {
                Ok(count) => {
                    self.unread.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Follows quotes and line ends, and refuses those about which programs disagree. The parser accepts all of them.
struct Quoting {
    at: At,
    line: u64,
    /// The line on which the present record begins, if it has begun.
    began: Option<u64>,
}

/// The state before the next byte.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// At the beginning of a cell.
    CellStart,
    /// After blanks at the beginning of a cell.
    Blanks,
    /// In a cell without quotes.
    Bare,
    /// In a quoted cell.
    Quoted,
    /// After a quote that closes its cell or is the first of two.
    Quote,
    /// After a carriage return outside quotes.
    Return,
}

impl Default for Quoting {
    fn default() -> Self {
        Self { at: At::CellStart, line: 1, began: None }
    }
}

impl Quoting {
    fn follow(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        // Most records are one line without quotes.
        if let (At::CellStart, [first, .., b'\n']) = (self.at, bytes)
            && *first != b'\n'
            && !bytes.iter().fold(false, |found, byte| found | matches!(byte, b'"' | b'\r'))
        {
            self.began.get_or_insert(self.line);
            self.line += 1;
            return Ok(());
        }
        for byte in bytes {
            if self.began.is_none() && !matches!(byte, b'\r' | b'\n') {
                self.began = Some(self.line);
            }
            self.at = match (self.at, byte) {
                (At::Quoted, b'"') => At::Quote,
                (At::CellStart | At::Quote, b'"') | (At::Quoted, _) => At::Quoted,
                (At::Return, b'\n') => At::CellStart,
                (At::Return, _) => return Err(self.stop(RETURN_ALONE)),
                (_, b',' | b'\n') => At::CellStart,
                (_, b'\r') => At::Return,
                (At::Quote, _) => {
                    return Err(
                        self.stop("text follows a closing quote; a quote in a quoted cell is written twice")
                    );
                }
                (At::Blanks, b'"') => return Err(self.stop("blanks stand before an opening quote")),
                (At::CellStart | At::Blanks, b' ' | b'\t') => At::Blanks,
                (At::CellStart | At::Blanks | At::Bare, _) => At::Bare,
            };
            self.line += u64::from(*byte == b'\n');
        }
        Ok(())
    }

    /// Refuses a record that ends with a carriage return if anything but a line feed follows.
    fn look_ahead(&self, next: Option<u8>) -> Result<(), Stop> {
        match (self.at, next) {
            (At::Return, Some(byte)) if byte != b'\n' => Err(self.stop(RETURN_ALONE)),
            _ => Ok(()),
        }
    }

    /// Returns the line on which the record began that ends now.
    fn end_record(&mut self) -> Result<u64, Stop> {
        if self.at == At::Quoted {
            return Err(self.stop("a quote is opened and never closed"));
        }
        Ok(self.began.take().unwrap_or(self.line))
    }

    fn stop(&self, why: &'static str) -> Stop {
        Stop::Quoting(self.began.unwrap_or(self.line), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands over a byte at a time.
    struct Bytes<'b>(&'b [u8]);

    impl Read for Bytes<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(self.0.len()).min(1);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    /// Each record with its line, its cells separated by `|`.
    fn all(file: &[u8]) -> Result<Vec<(u64, String)>, (u64, &'static str)> {
        let mut records = Records::new(Bytes(file));
        let mut found = Vec::new();
        loop {
            match records.next() {
                Ok(Some(Record { line, cells: Ok(cells) })) => {
                    let cells: Vec<_> = cells.iter().map(String::from_utf8_lossy).collect();
                    found.push((line, cells.join("|")));
                }
                Ok(Some(Record { line, cells: Err(wrong) })) => found.push((line, wrong)),
                Ok(None) => return Ok(found),
                Err(Stop::Quoting(line, why)) => return Err((line, why)),
                Err(Stop::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_record_is_named_by_the_line_on_which_it_begins() {
        let records = |file: &str| all(file.as_bytes()).unwrap();
        let expect = |records: &[(u64, &str)]| -> Vec<_> {
            records.iter().map(|(line, cells)| (*line, (*cells).to_owned())).collect()
        };
        assert_eq!(records("a,b\nc,d"), expect(&[(1, "a|b"), (2, "c|d")]));
        assert_eq!(records("\u{feff}\"a\",b\r\n\r\n\nc,\"d\"\r\n"), expect(&[(1, "a|b"), (4, "c|d")]));
        assert_eq!(
            records("\"a\nx,y\r\n\n\",b\nc,\"\"\"d\"\"\"\n5\" disk,e\n"),
            expect(&[(1, "a\nx,y\r\n\n|b"), (5, "c|\"d\""), (6, "5\" disk|e")])
        );
        assert_eq!(records(","), expect(&[(1, "|")]));
        assert_eq!(records(""), []);
    }

    #[test]
    fn what_can_be_read_in_two_ways_ends_the_file() {
        for (file, line, why) in [
            ("a\n\"b,c\nd,e\n", 2, "a quote is opened and never closed"),
            ("a\n\n\"b\"\"\nc,d", 3, "a quote is opened and never closed"),
            ("a,\"b \\\" c\nd,e\n\"\n", 1, "text follows a closing quote"),
            ("a\n\"b\" ,c\n", 2, "text follows a closing quote"),
            ("a\nx, \"b\nc,d\",e\n", 2, "blanks stand before an opening quote"),
            ("a,b\rc,d\n", 1, "a line ends with a carriage return alone"),
        ] {
            let (found, told) = all(file.as_bytes()).unwrap_err();
            assert_eq!(found, line, "{file:?}");
            assert!(told.starts_with(why), "{file:?}: {told}");
        }
    }

    #[test]
    fn a_record_that_is_too_long_or_has_too_many_cells_is_read_past_with_all_its_lines() {
        let long = format!("a\n\"{}\nx,y\n\",b\nc\n", "x\n".repeat(LONGEST_LINE));
        let lines = LONGEST_LINE as u64;
        let expected = format!("longer than {LONGEST_LINE} bytes");
        let mut records = Records::new(long.as_bytes());
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push((record.line, record.cells.err()));
        }
        assert_eq!(found, [(1, None), (2, Some(expected)), (lines + 5, None)]);
        let many = format!("{}\"\nx\n\"\nb\n", ",".repeat(MOST_CELLS * 2));
        let told = format!("has more than {MOST_CELLS} cells");
        assert_eq!(all(many.as_bytes()).unwrap(), [(1, told), (4, "b".to_owned())]);
    }
}
