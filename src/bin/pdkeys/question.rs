//! A question as programs ask it, in JSON, and its answer: what `verify --batch` and the server have in common.

use std::borrow::Cow;
use std::fmt;

use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::{Api, Presented, Request, Verdict, Verifier};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

const TWICE: &str = "a member is given twice";

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// It is none: what is wrong with it, without its content.
    #[error("{0}")]
    Bad(String),
    /// It could not be found out.
    #[error(transparent)]
    Failed(#[from] pdkeys::Error),
}

fn bad(what: &str) -> Unanswered {
    Unanswered::Bad(what.to_owned())
}

/// Reads a question, and answers it.
pub(crate) fn answer(verifier: &Verifier<SqliteStore>, line: &[u8]) -> Result<Answer, Unanswered> {
    let question = parse(line).map_err(Unanswered::Bad)?;
    let api: Api = match &question.api {
        Some(api) => api.parse().map_err(|error: pdkeys::Error| Unanswered::Bad(error.to_string()))?,
        None => Api::Rest,
    };
    let (method, path) = match (&question.method, &question.path) {
        _ if api.is_events() => ("", ""),
        (Some(method), Some(path)) => (method.as_ref(), path.as_ref()),
        (None, _) => return Err(bad("method is missing")),
        (_, None) => return Err(bad("path is missing")),
    };
    let key = question.key.as_ref().ok_or_else(|| bad("key is missing"))?;
    let request = Request {
        api,
        presented: Presented::parse(key.as_bytes()),
        method,
        path: path.as_bytes(),
        through_server: false,
    };
    let verdict = verifier.verify(&request)?;
    Ok(Answer { verdict, request: question.others })
}

/// A verdict, and what else stood in the question.
#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Map::is_empty")]
    request: Map<String, Value>,
}

/// What stands in the place of an answer that could not be given.
#[derive(Serialize)]
pub(crate) struct BadLine {
    allowed: bool,
    reason: Option<()>,
    error: String,
    line: u64,
}

impl BadLine {
    /// For the question with this number, counted from 1.
    pub(crate) fn new(error: String, line: u64) -> Self {
        Self { allowed: false, reason: None, error, line }
    }
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
}
