//! Reads lines from an input in batches, as many at a time as are available.
//!
//! The lines of a batch can be answered together. Since the input pauses after each batch, a program that waits for an
//! answer before it sends the next line gets it.

use std::io::{self, ErrorKind, Read};

use zeroize::Zeroizing;

/// The longest line that is read, in bytes. Longer lines are skipped.
pub(crate) const LONGEST_LINE: usize = 1 << 20;
/// The number of bytes that are read at a time: the capacity of a pipe.
const READ_SIZE: usize = 1 << 16;
/// The byte-order mark that some programs write at the beginning of a UTF-8 file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    /// A complete line.
    Whole(&'l [u8]),
    /// A line that was too long, whose content is not kept.
    TooLong,
}

/// Reads lines into a buffer that is wiped when it is dropped, since they may hold secrets. A byte-order mark at the
/// beginning is skipped.
pub(crate) struct Lines<R> {
    input: R,
    /// Allocated at full length: a buffer that grows leaves copies of its content behind.
    buffer: Zeroizing<Vec<u8>>,
    /// The number of bytes in the buffer.
    filled: usize,
    /// Whether the line at the beginning of the buffer is too long, and was cut.
    cut: bool,
    begun: bool,
    ended: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        let buffer = Zeroizing::new(vec![0; LONGEST_LINE + 1 + READ_SIZE]);
        Self { input, buffer, filled: 0, cut: false, begun: false, ended: false }
    }

    /// Returns the input.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// Waits for input, and passes the complete lines to `take`, at least one. Returns `None` at the end.
    pub(crate) fn next_batch<T>(&mut self, take: impl FnOnce(&[Line<'_>]) -> T) -> io::Result<Option<T>> {
        loop {
            let end = match self.buffer[..self.filled].iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                None if self.ended => self.filled,
                None => 0,
            };
            if end > 0 || (self.ended && self.cut) {
                let cut = std::mem::take(&mut self.cut);
                let mut text = &self.buffer[..end];
                if !std::mem::replace(&mut self.begun, true) && !cut {
                    text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
                }
                let taken = take(&lines(text, cut));
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return Ok(Some(taken));
            }
            if self.ended {
                return Ok(None);
            }
            if self.filled > LONGEST_LINE {
                (self.cut, self.filled) = (true, 0);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        match self.input.read(&mut self.buffer[self.filled..self.filled + READ_SIZE]) {
            Ok(0) => self.ended = true,
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Splits text into lines. `cut` says that the first was too long and lost its beginning.
fn lines(text: &[u8], mut cut: bool) -> Vec<Line<'_>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
        .map(|line| {
            if std::mem::take(&mut cut) || line.len() > LONGEST_LINE {
                Line::TooLong
            } else {
                Line::Whole(line)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands the pieces over one by one, as a pipe does whose writer pauses.
    struct Pieces<'p>(Vec<&'p [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.first_mut() else { return Ok(0) };
            let count = piece.len().min(out.len());
            out[..count].copy_from_slice(&piece[..count]);
            *piece = &piece[count..];
            if piece.is_empty() {
                self.0.remove(0);
            }
            Ok(count)
        }
    }

    /// Each lot, with the length of every line, or nothing for one that is too long.
    fn lots(pieces: &[&[u8]]) -> Vec<Vec<Option<usize>>> {
        let mut lines = Lines::new(Pieces(pieces.to_vec()));
        let lengths = |lot: &[Line<'_>]| {
            let length = |line: &Line<'_>| match line {
                Line::Whole(line) => Some(line.len()),
                Line::TooLong => None,
            };
            lot.iter().map(length).collect::<Vec<_>>()
        };
        std::iter::from_fn(|| lines.next_batch(lengths).unwrap()).collect()
    }

    #[test]
    fn lines_come_together_as_far_as_the_input_goes() {
        assert_eq!(
            lots(&[b"a\nbb\nc", b"cc\n", b"\n"]),
            [vec![Some(1), Some(2)], vec![Some(3)], vec![Some(0)]]
        );
        assert_eq!(lots(&[b"last"]), [[Some(4)]]);
        assert!(lots(&[]).is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(lots(&[b"\xef", b"\xbb", b"\xbfab\n\xef\xbb\xbf"]), [[Some(2)], [Some(3)]]);
        assert_eq!(lots(&[b"\xef\xbb\xbf"]), [[Some(0)]]);
        assert_eq!(lots(&[b"\xef\xbb"]), [[Some(2)]]);
    }

    #[test]
    fn a_line_that_is_too_long_is_read_past_without_being_kept() {
        let longest = vec![b'x'; LONGEST_LINE];
        let longer = vec![b'x'; LONGEST_LINE * 2 + READ_SIZE + 7];
        let flat = |pieces: &[&[u8]]| lots(pieces).concat();
        assert_eq!(flat(&[&longest, b"\nnext\n"]), [Some(LONGEST_LINE), Some(4)]);
        assert_eq!(flat(&[&longest, b"x\nnext\n"]), [None, Some(4)]);
        assert_eq!(flat(&[b"first\n", &longer, b"\nnext"]), [Some(5), None, Some(4)]);
        assert_eq!(flat(&[&longer]), [None]);
    }
}
