//! Answers `POST /verify`: checks for programs, as lines of `verify --batch` are.
//!
//! A check is a JSON object. Several are an array, answered by an array, or lines, answered by lines. The status is 200
//! whatever the verdict; among several, a malformed check has its error in the place of its verdict.

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
use super::monitor::{StoreMonitor, Unavailable};
use super::response::{self, HttpResponse};
use crate::check_json::{BatchError, CheckRequest};

/// The content types of JSON lines.
const LINES: [&str; 3] = ["application/jsonl", "application/x-ndjson", "application/ndjson"];
/// The shortest check.
const SHORTEST: &[u8] = br#"{"key":"","api":"events-v1"}"#;
/// The number of malformed checks that may be shorter, and still get an error each.
const MAX_SHORTER: usize = 100;
/// The number of checks after which other connections get their turn.
const CHECKS_PER_TURN: u64 = 64;

/// Answers a request of a program.
pub(super) async fn answer(
    monitor: &StoreMonitor,
    metrics: &Metrics,
    denials: &Denials,
    headers: &HeaderMap,
    body: &[u8],
) -> HttpResponse {
    let Ok(content_type) = body::content_type(headers) else {
        return response::error(StatusCode::BAD_REQUEST, "Content-Type is given more than once");
    };
    let endpoint = VerifyEndpoint { monitor, metrics, denials };
    let answered = if is_lines(content_type) {
        endpoint.lines(body).await
    } else if body.trim_ascii_start().starts_with(b"[") {
        endpoint.array(body).await
    } else {
        endpoint.one(body)
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

struct VerifyEndpoint<'d> {
    monitor: &'d StoreMonitor,
    metrics: &'d Metrics,
    denials: &'d Denials,
}

impl VerifyEndpoint<'_> {
    fn one(&self, body: &[u8]) -> Result<HttpResponse, Unavailable> {
        let mut text = Vec::new();
        let status = if self.put(&mut text, body, 1)? { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        Ok(response::json(status, text))
    }

    async fn array(&self, body: &[u8]) -> Result<HttpResponse, Unavailable> {
        let questions: Vec<&RawValue> = match serde_json::from_slice(body) {
            Ok(questions) => questions,
            Err(error) => {
                let mut text = Vec::new();
                put(&mut text, &BatchError::new(format!("not JSON (column {})", error.column()), 1));
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

    async fn lines(&self, body: &[u8]) -> Result<HttpResponse, Unavailable> {
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

    /// Appends the verdict of one check, or what is wrong with the check. Returns whether it was well-formed.
    fn put(&self, text: &mut Vec<u8>, question: &[u8], number: u64) -> Result<bool, Unavailable> {
        let verifier = self.monitor.verifier()?;
        let began = monotonic();
        let mut question = match CheckRequest::read(question) {
            Ok(question) => question,
            Err(error) => {
                put(text, &BatchError::new(error, number));
                return Ok(false);
            }
        };
        let verdict = verifier.verify(&question.request()).map_err(|error| self.monitor.failed(&error))?;
        self.note(&verdict, began);
        put(text, &question.respond(verdict));
        Ok(true)
    }

    fn note(&self, verdict: &Verdict, began: Instant) {
        self.metrics.decided(verdict.api, verdict.reason, began.elapsed());
        if !verdict.is_allowed() {
            self.denials.note(verdict);
        }
    }
}

/// Returns whether a body has more checks than can be well-formed. Each error would be fifty times as long as a digit or a
/// line end.
fn are_too_many(questions: usize, body: &[u8]) -> bool {
    questions > MAX_SHORTER + body.len() / SHORTEST.len()
}

fn too_many() -> HttpResponse {
    let mut text = Vec::new();
    put(&mut text, &BatchError::new("more questions than the body has room for".to_owned(), 1));
    response::json(StatusCode::BAD_REQUEST, text)
}

fn put(text: &mut Vec<u8>, value: &impl Serialize) {
    // Serialising to memory does not fail, since all names are strings.
    let _ = serde_json::to_writer(text, value);
}

async fn take_turns(number: u64) {
    if number.is_multiple_of(CHECKS_PER_TURN) {
        tokio::task::yield_now().await;
    }
}
