//! `POST /verify`: a program asks, as a line of `verify --batch` does.
//!
//! One question is a JSON object. Several are an array of them, answered by an array, or lines of them, answered by
//! lines. An answered question is a 200, whatever the answer; of several, one that is none has its error in its place.

use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use pdkeys::ports::monotonic;
use pdkeys::verify::Verdict;
use serde::Serialize;
use serde_json::value::RawValue;

use super::body;
use super::log::Denials;
use super::metrics::Metrics;
use super::monitor::{Checker, Unavailable};
use super::response::{self, Answer};
use crate::check_json::{BadLine, Question};

/// Content types of lines of JSON.
const LINES: [&str; 3] = ["application/jsonl", "application/x-ndjson", "application/ndjson"];
/// The shortest question there is.
const SHORTEST: &[u8] = br#"{"key":"","api":"events-v1"}"#;
/// How many may be shorter, and still get an error each.
const MOST_SHORTER: usize = 100;
/// After how many questions others have their turn.
const A_TURN: u64 = 64;

/// Answers what a program asks.
pub(super) async fn answer(
    checker: &Checker,
    metrics: &Metrics,
    denials: &Denials,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let Ok(content_type) = body::content_type(headers) else {
        return response::error(StatusCode::BAD_REQUEST, "Content-Type is given more than once");
    };
    let desk = Desk { checker, metrics, denials };
    let answered = if is_lines(content_type) {
        desk.lines(body).await
    } else if body.trim_ascii_start().starts_with(b"[") {
        desk.array(body).await
    } else {
        desk.one(body)
    };
    answered.unwrap_or_else(|Unavailable| {
        metrics.failed();
        response::unavailable()
    })
}

fn is_lines(content_type: Option<&[u8]>) -> bool {
    let kind = body::essence(content_type);
    LINES.iter().any(|lines| kind.eq_ignore_ascii_case(lines.as_bytes()))
}

struct Desk<'d> {
    checker: &'d Checker,
    metrics: &'d Metrics,
    denials: &'d Denials,
}

impl Desk<'_> {
    fn one(&self, body: &[u8]) -> Result<Answer, Unavailable> {
        let mut text = Vec::new();
        let status = if self.put(&mut text, body, 1)? { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        Ok(response::json(status, text))
    }

    async fn array(&self, body: &[u8]) -> Result<Answer, Unavailable> {
        let questions: Vec<&RawValue> = match serde_json::from_slice(body) {
            Ok(questions) => questions,
            Err(error) => {
                let mut text = Vec::new();
                put(&mut text, &BadLine::new(format!("not JSON (column {})", error.column()), 1));
                return Ok(response::json(StatusCode::BAD_REQUEST, text));
            }
        };
        if are_too_many(questions.len(), body) {
            return Ok(too_many());
        }
        let mut text = vec![b'['];
        for (number, question) in (1..).zip(questions) {
            if number > 1 {
                text.push(b',');
            }
            self.put(&mut text, question.get().as_bytes(), number)?;
            take_turns(number).await;
        }
        text.push(b']');
        Ok(response::json(StatusCode::OK, text))
    }

    async fn lines(&self, body: &[u8]) -> Result<Answer, Unavailable> {
        let mut text = Vec::new();
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        if are_too_many(memchr::memchr_iter(b'\n', body).count(), body) {
            return Ok(too_many());
        }
        for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
            self.put(&mut text, line, number)?;
            text.push(b'\n');
            take_turns(number).await;
        }
        let mut answer = response::json(StatusCode::OK, text);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(LINES[0]));
        Ok(answer)
    }

    /// Puts the answer of one question, or what is wrong with it, and says whether it was one.
    fn put(&self, text: &mut Vec<u8>, question: &[u8], number: u64) -> Result<bool, Unavailable> {
        let verifier = self.checker.verifier()?;
        let began = monotonic();
        let mut question = match Question::read(question) {
            Ok(question) => question,
            Err(error) => {
                put(text, &BadLine::new(error, number));
                return Ok(false);
            }
        };
        let verdict = verifier.verify(&question.request()).map_err(|error| self.checker.failed(&error))?;
        self.note(&verdict, began);
        put(text, &question.answered(verdict));
        Ok(true)
    }

    fn note(&self, verdict: &Verdict, began: Instant) {
        self.metrics.decided(verdict.api, verdict.reason, began.elapsed());
        if !verdict.is_allowed() {
            self.denials.note(verdict);
        }
    }
}

/// Returns true if a body has more questions than fit into it. The error of each would take fifty times as many bytes
/// as a digit or a line end.
fn are_too_many(questions: usize, body: &[u8]) -> bool {
    questions > MOST_SHORTER + body.len() / SHORTEST.len()
}

fn too_many() -> Answer {
    let mut text = Vec::new();
    put(&mut text, &BadLine::new("more questions than the body has room for".to_owned(), 1));
    response::json(StatusCode::BAD_REQUEST, text)
}

fn put(text: &mut Vec<u8>, value: &impl Serialize) {
    // What is written here has text for names, and goes to memory: it does not fail.
    let _ = serde_json::to_writer(text, value);
}

async fn take_turns(number: u64) {
    if number.is_multiple_of(A_TURN) {
        tokio::task::yield_now().await;
    }
}
