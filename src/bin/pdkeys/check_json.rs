//! Checks as programs request them in JSON, and their responses, for `verify --batch` and the server.

use std::borrow::Cow;
use std::fmt;

use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::{Api, Presented, Request, Verdict, Verifier};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

const TWICE: &str = "a member is given twice";

/// Makes several checks together, in their order. A malformed request keeps its error.
pub(crate) fn check_all(
    verifier: &Verifier<SqliteStore>,
    mut questions: Vec<Result<CheckRequest<'_>, String>>,
) -> Vec<Result<CheckResponse, String>> {
    let requests: Vec<_> = questions.iter_mut().flatten().map(CheckRequest::request).collect();
    let mut verdicts = verifier.verify_all(&requests).map(Vec::into_iter).map_err(|error| error.to_string());
    drop(requests);
    let answer = |question: Result<CheckRequest<'_>, String>| {
        let question = question?;
        let verdict = verdicts.as_mut().map_err(|error| error.clone())?.next();
        Ok(question.respond(verdict.ok_or("not answered")?))
    };
    questions.into_iter().map(answer).collect()
}

/// The response to a check: the verdict, and further members of the request.
#[derive(Serialize)]
pub(crate) struct CheckResponse {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Map::is_empty")]
    request: Map<String, Value>,
}

/// The response to a request that could not be answered.
#[derive(Serialize)]
pub(crate) struct BatchError {
    allowed: bool,
    reason: Option<()>,
    error: String,
    line: u64,
}

impl BatchError {
    /// Makes the response to the request with this number, counted from 1.
    pub(crate) fn new(error: String, line: u64) -> Self {
        Self { allowed: false, reason: None, error, line }
    }
}

/// A check that is requested in JSON.
pub(crate) struct CheckRequest<'l> {
    api: Api,
    presented: Presented,
    method: Cow<'l, str>,
    path: Cow<'l, str>,
    others: Map<String, Value>,
}

impl<'l> CheckRequest<'l> {
    /// Parses a request. The error never repeats its content.
    pub(crate) fn read(line: &'l [u8]) -> Result<Self, String> {
        let Members { key, method, path, api, others } = parse(line)?;
        let api = match api {
            Some(api) => api.parse().map_err(|error: pdkeys::model::Error| error.to_string())?,
            None => Api::Rest,
        };
        let (method, path) = match (method, path) {
            (method, path) if api.is_events() => (method.unwrap_or_default(), path.unwrap_or_default()),
            (Some(method), Some(path)) => (method, path),
            (None, _) => return Err("method is missing".to_owned()),
            (_, None) => return Err("path is missing".to_owned()),
        };
        let presented = Presented::parse(key.ok_or("key is missing")?.as_bytes());
        Ok(Self { api, presented, method, path, others })
    }

    /// Returns the request for the verifier, and moves the credential into it.
    pub(crate) fn request(&mut self) -> Request<'_> {
        Request {
            api: self.api,
            presented: std::mem::replace(&mut self.presented, Presented::Missing),
            method: &self.method,
            path: self.path.as_bytes(),
            via_gateway: false,
        }
    }

    /// Returns the response, with the further members of the request.
    pub(crate) fn respond(self, verdict: Verdict) -> CheckResponse {
        CheckResponse { verdict, request: self.others }
    }
}

/// The members of a request.
#[derive(Default)]
struct Members<'l> {
    key: Option<Zeroizing<String>>,
    method: Option<Cow<'l, str>>,
    path: Option<Cow<'l, str>>,
    api: Option<Cow<'l, str>>,
    others: Map<String, Value>,
}

/// Parses the members of a request. The error names a column, and never repeats the content.
fn parse(line: &[u8]) -> Result<Members<'_>, String> {
    serde_json::from_slice(line).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data if error.to_string().starts_with(TWICE) => TWICE,
            serde_json::error::Category::Data => "a member is of the wrong type, or it is no object",
            _ => "not JSON",
        };
        format!("{what} (column {})", error.column())
    })
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Text(name)) = map.next_key()? {
            let given_before = match name.as_ref() {
                "key" => members.key.replace(Zeroizing::new(map.next_value()?)).is_some(),
                "method" => members.method.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "path" => members.path.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "api" => members.api.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                _ => members.others.insert(name.into_owned(), map.next_value()?).is_some(),
            };
            if given_before {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(members)
    }
}

/// Text, borrowed from the input if nothing in it is escaped.
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
        let members = parse(br#"{"key":"k","method":"GET","path":"/a\u0062","id":7}"#).unwrap();
        assert_eq!(members.path.as_deref(), Some("/ab"));
        assert_eq!(members.others.get("id"), Some(&Value::from(7)));
    }
}
