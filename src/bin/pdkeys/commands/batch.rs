//! Runs `verify --batch`: a check per line, and a verdict per line, in order.
//!
//! Verdicts are flushed whenever the input pauses, so that another program can use it as a coprocess. A malformed line is
//! answered with its number and never its content, and the following lines are checked. Blank lines are skipped.

use std::io::Write;

use pdkeys::ErrorKind;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::Verifier;

use crate::check_json::{BatchError, CheckRequest, CheckResponse, check_all};
use crate::failure::{Exit, Failure};
use crate::input::lines::{LONGEST_LINE, Line, Lines};
use crate::output::json;
use crate::session::Context;

/// Answers every line of standard input.
pub(crate) fn run(context: &Context, verifier: Verifier<SqliteStore>) -> Result<Exit, Failure> {
    let output = |error| Failure::from(pdkeys::Error::from(ErrorKind::Output(error)));
    let mut lines = Lines::new(context.terminal.input());
    let mut out = context.terminal.plain_data();
    let (mut number, mut denied, mut unanswered) = (0_u64, false, false);
    // The lines that are available are checked together, after the last of them was read.
    while let Some(batch) = lines
        .next_batch(|lines| answer(&verifier, lines))
        .map_err(|error| Failure::failed(format!("standard input: {error}")))?
    {
        for answered in batch {
            number += 1;
            match answered {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    denied |= !answer.verdict.is_allowed();
                    json::write_line(&mut out, &answer).map_err(output)?;
                }
                Err(error) => {
                    unanswered = true;
                    json::write_line(&mut out, &BatchError::new(error, number)).map_err(output)?;
                }
            }
        }
        out.flush().map_err(output)?;
    }
    drop(out);
    verifier.close()?;
    Ok(match (unanswered, denied) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::No,
        (false, false) => Exit::Done,
    })
}

/// Answers some lines in their order. A blank line has no answer.
fn answer(
    verifier: &Verifier<SqliteStore>,
    lines: &[Line<'_>],
) -> Vec<Result<Option<CheckResponse>, String>> {
    let is_blank = |line: &Line<'_>| matches!(line, Line::Whole(line) if line.trim_ascii().is_empty());
    let requests = lines.iter().filter(|line| !is_blank(line)).map(|line| match line {
        Line::Whole(line) => CheckRequest::read(line),
        Line::TooLong => Err(format!("longer than {LONGEST_LINE} bytes")),
    });
    let mut responses = check_all(verifier, requests.collect()).into_iter();
    let mut answer = |line| if is_blank(line) { None } else { responses.next() };
    lines.iter().map(|line| answer(line).transpose()).collect()
}
