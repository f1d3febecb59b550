//! `verify --batch`: a question a line, a verdict a line, in order.
//!
//! What was answered is flushed whenever the input pauses, so that another program can use it as a coprocess. A
//! bad line gets an answer too, with its number and never its content, and the rest goes on.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Write};

use pdkeys::ErrorKind;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::{Api, Presented, Request, Verdict, Verifier};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::render;

/// The longest line in bytes that is read; of a longer one nothing is kept.
const LONGEST_LINE: usize = 1 << 20;

const TWICE: &str = "a member is given twice";

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
        let answered =
            if whole { answer(&verifier, &line) } else { Err(format!("longer than {LONGEST_LINE} bytes")) };
        match answered {
            Ok(answer) => {
                denied |= !answer.verdict.is_allowed();
                render::json_line(&mut out, &answer).map_err(output)?;
            }
            Err(error) => {
                unanswered = true;
                let bad = BadLine { allowed: false, reason: None, error, line: number };
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

fn answer(verifier: &Verifier<SqliteStore>, line: &[u8]) -> Result<Answer, String> {
    let question = parse(line)?;
    let api: Api = match &question.api {
        Some(api) => api.parse().map_err(|error: pdkeys::Error| error.to_string())?,
        None => Api::Rest,
    };
    let (method, path) = match (&question.method, &question.path) {
        _ if api.is_events() => ("", ""),
        (Some(method), Some(path)) => (method.as_ref(), path.as_ref()),
        (None, _) => return Err("method is missing".to_owned()),
        (_, None) => return Err("path is missing".to_owned()),
    };
    let key = question.key.as_ref().ok_or("key is missing")?;
    let request = Request {
        api,
        presented: Presented::parse(key.as_bytes()),
        method,
        path: path.as_bytes(),
        through_server: false,
    };
    let verdict = verifier.verify(&request).map_err(|error| error.to_string())?;
    Ok(Answer { verdict, request: question.others })
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing_if = "Map::is_empty")]
    request: Map<String, Value>,
}

#[derive(Serialize)]
struct BadLine {
    allowed: bool,
    reason: Option<()>,
    error: String,
    line: u64,
}

/// What one line asks.
#[derive(Default)]
struct Question<'l> {
    key: Option<Zeroizing<String>>,
    method: Option<Cow<'l, str>>,
    path: Option<Cow<'l, str>>,
    api: Option<Cow<'l, str>>,
    others: Map<String, Value>,
}

/// Reads a line; what is wrong with it is told by its place, never by its content.
fn parse(line: &[u8]) -> Result<Question<'_>, String> {
    serde_json::from_slice(line).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data if error.to_string().starts_with(TWICE) => TWICE,
            serde_json::error::Category::Data => "a member is of the wrong type, or it is no object",
            _ => "not JSON",
        };
        format!("{what} (column {})", error.column())
    })
}

impl<'de> Deserialize<'de> for Question<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(QuestionVisitor)
    }
}

struct QuestionVisitor;

impl<'de> Visitor<'de> for QuestionVisitor {
    type Value = Question<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Question<'de>, A::Error> {
        let mut question = Question::default();
        while let Some(Text(name)) = map.next_key()? {
            let given_before = match name.as_ref() {
                "key" => question.key.replace(Zeroizing::new(map.next_value()?)).is_some(),
                "method" => question.method.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "path" => question.path.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "api" => question.api.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                _ => question.others.insert(name.into_owned(), map.next_value()?).is_some(),
            };
            if given_before {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(question)
    }
}

/// Text, borrowed from the line where nothing in it is escaped.
struct Text<'l>(Cow<'l, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
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

    fn wrong(line: &str) -> String {
        parse(line.as_bytes()).err().unwrap_or_default()
    }

    #[test]
    fn a_line_that_is_no_question_is_told_by_its_place_and_never_by_its_content() {
        assert_eq!(wrong("not json"), "not JSON (column 2)");
        assert_eq!(wrong(""), "not JSON (column 0)");
        assert_eq!(wrong("[]"), "a member is of the wrong type, or it is no object (column 0)");
        assert_eq!(
            wrong(r#"{"key": 12345}"#),
            "a member is of the wrong type, or it is no object (column 13)"
        );
        assert_eq!(wrong(r#"{"key": "a", "key": "a"}"#), "a member is given twice (column 24)");
        assert_eq!(wrong(r#"{"x": 1, "x": 2}"#), "a member is given twice (column 16)");
        assert_eq!(wrong(r#"{"key": "a"} trailing"#), "not JSON (column 14)");
    }

    #[test]
    fn further_members_come_back() {
        let question = parse(br#"{"key":"k","method":"GET","path":"/a\u0062","id":7}"#).unwrap();
        assert_eq!(question.path.as_deref(), Some("/ab"));
        assert_eq!(question.others.get("id"), Some(&Value::from(7)));
    }

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
