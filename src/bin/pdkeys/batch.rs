//! `verify --batch`: a question a line, a verdict a line, in order.
//!
//! What was answered is flushed whenever the input pauses, so that another program can use it as a coprocess. A
//! bad line gets an answer too, with its number and never its content, and the rest goes on.

use std::io::{self, BufRead, Write};

use pdkeys::ErrorKind;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::Verifier;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::question::{BadLine, answer};
use crate::render;

/// The longest line in bytes that is read; of a longer one nothing is kept.
const LONGEST_LINE: usize = 1 << 20;

/// Answers every line of standard input.
pub(crate) fn run(context: &Context, verifier: Verifier<SqliteStore>) -> Result<Exit, Failure> {
    let output = |error| Failure::from(pdkeys::Error::from(ErrorKind::Output(error)));
    let mut input = context.terminal.input();
    let mut out = context.terminal.data();
    // As long as a line can be: one that grew would leave copies of what it held behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE));
    let (mut number, mut denied, mut unanswered) = (0_u64, false, false);
    loop {
        if input.buffer().is_empty() {
            out.flush().map_err(output)?;
        }
        let read = read_line(&mut input, &mut line)
            .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
        let whole = match read {
            Line::End => break,
            Line::Whole => true,
            Line::TooLong => false,
        };
        number += 1;
        let answered = if whole {
            answer(&verifier, &line).map_err(|unanswered| unanswered.to_string())
        } else {
            Err(format!("longer than {LONGEST_LINE} bytes"))
        };
        match answered {
            Ok(answer) => {
                denied |= !answer.verdict.is_allowed();
                render::json_line(&mut out, &answer).map_err(output)?;
            }
            Err(error) => {
                unanswered = true;
                let bad = BadLine::new(error, number);
                render::json_line(&mut out, &bad).map_err(output)?;
            }
        }
    }
    out.flush().map_err(output)?;
    drop(out);
    verifier.close()?;
    Ok(match (unanswered, denied) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::No,
        (false, false) => Exit::Done,
    })
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads the next line without its end; one that is too long is read past.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(match (line.is_empty(), too_long) {
                (_, true) => Line::TooLong,
                (true, false) => Line::End,
                (false, false) => Line::Whole,
            });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = &available[..end.unwrap_or(available.len())];
        if line.len() + taken.len() > LONGEST_LINE {
            too_long = true;
            line.clear();
        } else if !too_long {
            line.extend_from_slice(taken);
        }
        let used = end.map_or(available.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_read_past_without_being_kept() {
        let mut input = vec![b'x'; LONGEST_LINE + 10];
        input.extend_from_slice(b"\nnext\n");
        let (mut input, mut line) = (io::BufReader::new(input.as_slice()), Vec::new());
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::TooLong));
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::Whole));
        assert_eq!(line, b"next");
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::End));
    }
}
