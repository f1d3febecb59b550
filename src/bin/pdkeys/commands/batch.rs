//! `verify --batch`: a question a line, a verdict a line, in order.
//!
//! What was answered is flushed whenever the input pauses, so that another program can use it as a coprocess. A
//! bad line gets an answer too, with its number and never its content, and the rest goes on. A blank line asks nothing.

use std::io::Write;

use pdkeys::ErrorKind;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::Verifier;

use crate::check_json::{Answer, BadLine, Question, answer_all};
use crate::failure::{Exit, Failure};
use crate::input::lines::{LONGEST_LINE, Line, Lines};
use crate::output;
use crate::session::Context;

/// Answers every line of standard input.
pub(crate) fn run(context: &Context, verifier: Verifier<SqliteStore>) -> Result<Exit, Failure> {
    let output = |error| Failure::from(pdkeys::Error::from(ErrorKind::Output(error)));
    let mut lines = Lines::new(context.terminal.input());
    let mut out = context.terminal.plain_data();
    let (mut number, mut denied, mut unanswered) = (0_u64, false, false);
    // What is there is asked together, of the store as it is after the last of it has come.
    while let Some(lot) = lines
        .next_lot(|lines| answer(&verifier, lines))
        .map_err(|error| Failure::failed(format!("standard input: {error}")))?
    {
        for answered in lot {
            number += 1;
            match answered {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    denied |= !answer.verdict.is_allowed();
                    output::json_line(&mut out, &answer).map_err(output)?;
                }
                Err(error) => {
                    unanswered = true;
                    output::json_line(&mut out, &BadLine::new(error, number)).map_err(output)?;
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

/// Answers some lines, in their order; a blank one has no answer.
fn answer(verifier: &Verifier<SqliteStore>, lines: &[Line<'_>]) -> Vec<Result<Option<Answer>, String>> {
    let is_blank = |line: &Line<'_>| matches!(line, Line::Whole(line) if line.trim_ascii().is_empty());
    let questions = lines.iter().filter(|line| !is_blank(line)).map(|line| match line {
        Line::Whole(line) => Question::read(line),
        Line::TooLong => Err(format!("longer than {LONGEST_LINE} bytes")),
    });
    let mut answers = answer_all(verifier, questions.collect()).into_iter();
    let mut answer = |line| if is_blank(line) { None } else { answers.next() };
    lines.iter().map(|line| answer(line).transpose()).collect()
}
