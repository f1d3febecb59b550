//! What is asked: a credential as it was presented, and what it is to be used for.

use std::fmt;
use std::str::FromStr;

use crate::model::{self, CredentialKind, Secret};

/// The longest credential in bytes that is looked at, with room for its scheme.
const MAX_LEN: usize = 512;

/// Which API a request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// The REST API, which REST keys and app tokens are for.
    #[default]
    Rest,
    /// The Events API, version 1.
    EventsV1,
    /// The Events API, version 2.
    EventsV2,
}

impl Api {
    /// Whether it takes events, and so integration keys.
    #[must_use]
    pub const fn is_events(self) -> bool {
        matches!(self, Self::EventsV1 | Self::EventsV2)
    }

    /// Whether credentials of a kind are meant for it.
    #[must_use]
    pub const fn takes(self, kind: CredentialKind) -> bool {
        self.is_events() == matches!(kind, CredentialKind::Integration)
    }
}

/// The API's name, as `--api` and batch lines have it.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rest => "rest",
            Self::EventsV1 => "events-v1",
            Self::EventsV2 => "events-v2",
        })
    }
}

impl FromStr for Api {
    type Err = model::Error;

    fn from_str(text: &str) -> model::Result<Self> {
        [Self::Rest, Self::EventsV1, Self::EventsV2]
            .into_iter()
            .find(|api| api.to_string() == text)
            .ok_or_else(|| model::Error::invalid("api", "must be rest, events-v1 or events-v2"))
    }
}

/// What may be presented as `Bearer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BearerTakes {
    /// App tokens, as documented.
    #[default]
    AppTokens,
    /// Any key, as the clients of many an API present theirs.
    AnyKey,
}

/// What somebody presented as a credential.
#[derive(Debug)]
pub enum Presented {
    /// Nothing.
    Missing,
    /// Something that no credential looks like; how long it was, and whether it was letters and digits alone, which
    /// is what the Events API tells its clients.
    Malformed {
        /// Its length in characters.
        length: usize,
        /// Whether it had other characters than letters and digits.
        other_characters: bool,
    },
    /// Something of a credential's shape.
    Secret {
        /// The kind that it has the shape of.
        kind: CredentialKind,
        /// The secret itself.
        secret: Secret,
    },
}

impl Presented {
    /// Reads a bare key.
    #[must_use]
    pub fn bare(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Missing;
        }
        match (CredentialKind::of_shape(text), std::str::from_utf8(text)) {
            (Some(kind), Ok(text)) => Self::Secret { kind, secret: Secret::presented(text.to_owned()) },
            _ => Self::malformed(text),
        }
    }

    /// Reads a bare key, or the whole value of an `Authorization` header: `Token token=KEY`, `Token token="KEY"` or
    /// `Token KEY`, as the clients of PagerDuty's API send them, or `Bearer TOKEN` for an app token. The scheme is taken
    /// in any case, with one blank behind it or several. One line end after it is cut off; anything else around a key
    /// makes it malformed.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = text.strip_suffix(b"\n").map_or(text, |text| text.strip_suffix(b"\r").unwrap_or(text));
        if text.len() > MAX_LEN {
            return Self::malformed(text);
        }
        let Some((scheme, value)) = split_scheme(text) else { return Self::bare(text) };
        if scheme.eq_ignore_ascii_case(b"token") {
            let key = value.strip_prefix(b"token=").map_or(value, |key| unquoted(key).unwrap_or(key));
            return Self::of_kinds(key, |kind| kind != CredentialKind::AppToken);
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Self::of_kinds(value, |kind| kind == CredentialKind::AppToken);
        }
        Self::malformed(text)
    }

    /// The kind of credential that it has the shape of.
    #[must_use]
    pub fn kind(&self) -> Option<CredentialKind> {
        match self {
            Self::Secret { kind, .. } => Some(*kind),
            Self::Missing | Self::Malformed { .. } => None,
        }
    }

    /// Reads the value of an `Authorization` header, and nothing but: a key without its scheme is malformed.
    #[must_use]
    pub fn authorization(value: &[u8], bearer: BearerTakes) -> Self {
        if value.len() > MAX_LEN || !value.contains(&b' ') {
            return if value.is_empty() { Self::Missing } else { Self::malformed(value) };
        }
        match bearer {
            BearerTakes::AnyKey => match split_scheme(value) {
                Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer") => {
                    Self::of_kinds(key, |_| true)
                }
                _ => Self::parse(value),
            },
            BearerTakes::AppTokens => Self::parse(value),
        }
    }

    /// A key behind a scheme that is for some kinds only.
    fn of_kinds(key: &[u8], fits: impl Fn(CredentialKind) -> bool) -> Self {
        match Self::bare(key) {
            Self::Secret { kind, .. } if !fits(kind) => Self::malformed(key),
            // A scheme without anything behind it is not the absence of a credential.
            Self::Missing => Self::malformed(key),
            presented => presented,
        }
    }

    fn malformed(text: &[u8]) -> Self {
        Self::Malformed {
            length: String::from_utf8_lossy(text).chars().count(),
            other_characters: !text.iter().all(u8::is_ascii_alphanumeric),
        }
    }
}

/// Divides the value of an `Authorization` header at the blanks behind its scheme (RFC 9110, 11.4).
fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    let blanks = value[at..].iter().take_while(|byte| **byte == b' ').count();
    Some((&value[..at], &value[at + blanks..]))
}

/// A text without the quotes around it, if it has both. No key has a character that would be escaped in them.
fn unquoted(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// One question: may this credential do this?
#[derive(Debug)]
pub struct Request<'r> {
    /// Which API it is for.
    pub api: Api,
    /// What was presented.
    pub presented: Presented,
    /// The method, as it stood in the request. Not needed for events.
    pub method: &'r str,
    /// The path with its query, as it stood in the request. Not needed for events.
    pub path: &'r [u8],
    /// Whether a client asked it through the server, where clients expect to be told what a credential is.
    pub via_gateway: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "y_NbAkKc66ryYTWUXYEu";
    const APP: &str = "pdus+_0XBPWQQ_f8b6d7de-aaaa-4bbb-8ccc-0123456789ab";

    fn kind(text: &str) -> Option<CredentialKind> {
        match Presented::parse(text.as_bytes()) {
            Presented::Secret { kind, .. } => Some(kind),
            _ => None,
        }
    }

    #[test]
    fn a_bare_key_and_a_whole_header_are_read_with_one_line_end() {
        for text in [
            KEY.to_owned(),
            format!("{KEY}\n"),
            format!("{KEY}\r\n"),
            format!("Token token={KEY}"),
            format!("tOKEN token={KEY}\n"),
            format!("Token token=\"{KEY}\""),
            format!("Token {KEY}"),
            format!("token   {KEY}\r\n"),
            format!("Token  token={KEY}"),
            format!("Token   token=\"{KEY}\"\n"),
        ] {
            assert_eq!(kind(&text), Some(CredentialKind::General), "{text:?}");
        }
        assert_eq!(kind(&format!("Bearer {APP}")), Some(CredentialKind::AppToken));
        assert_eq!(kind(&format!("bearer {APP}")), Some(CredentialKind::AppToken));
        assert_eq!(kind(&format!("Bearer   {APP}")), Some(CredentialKind::AppToken));
        assert_eq!(kind(APP), Some(CredentialKind::AppToken));
    }

    #[test]
    fn anything_around_a_key_makes_it_malformed() {
        for text in [
            format!(" {KEY}"),
            format!("{KEY} "),
            format!("\"{KEY}\""),
            format!("{KEY}\n\n"),
            format!("{KEY}\n{KEY}"),
            format!("{KEY}\r"),
            format!(" Token {KEY}"),
            format!("Token {KEY} "),
            format!("Token\t{KEY}"),
            format!("Token \t{KEY}"),
            format!("Token \"{KEY}\""),
            format!("Token '{KEY}'"),
            format!("Token {KEY},"),
            format!("Token token=\"{KEY}"),
            format!("Token token={KEY}\""),
            format!("Token token=\"\"{KEY}\"\""),
            format!("Token token='{KEY}'"),
            format!("Token token=\" {KEY}\""),
            format!("Token token=\"{KEY}\", nonce=\"x\""),
            format!("Token token={KEY} token={KEY}"),
            format!("Token token =\"{KEY}\""),
            format!("Token token= {KEY}"),
            format!("Token token=token={KEY}"),
            format!("Token key={KEY}"),
            format!("Token: {KEY}"),
            "Token token=\"\"".to_owned(),
            format!("Token {APP}"),
            format!("Bearer \"{APP}\""),
            format!("Bearer token={APP}"),
            format!("Bearer {KEY}"),
            format!("Token token={APP}"),
            format!("Basic {KEY}"),
            format!("Token token={KEY}, Token token={KEY}"),
            "Token token=".to_owned(),
            "Bearer ".to_owned(),
            "Token ".to_owned(),
            "Token   ".to_owned(),
            "a".repeat(1 << 20),
            "\u{feff}".to_owned() + KEY,
        ] {
            assert!(matches!(Presented::parse(text.as_bytes()), Presented::Malformed { .. }), "{text:.40?}");
        }
        assert!(matches!(Presented::parse(b"\xff\xfe"), Presented::Malformed { .. }));
    }

    #[test]
    fn a_header_needs_its_scheme() {
        let kind = |value: String, bearer| match Presented::authorization(value.as_bytes(), bearer) {
            Presented::Secret { kind, .. } => Some(kind),
            _ => None,
        };
        let documented = |value: String| kind(value, BearerTakes::AppTokens);
        assert_eq!(documented(format!("Token token={KEY}")), Some(CredentialKind::General));
        assert_eq!(documented(format!("Bearer {APP}")), Some(CredentialKind::AppToken));
        assert_eq!(documented(format!("Bearer {KEY}")), None);
        assert_eq!(documented(KEY.to_owned()), None);
        assert_eq!(documented(format!("Token token={KEY}\n{KEY}")), None);
        let any = |value: String| kind(value, BearerTakes::AnyKey);
        assert_eq!(any(format!("bEARER {KEY}")), Some(CredentialKind::General));
        assert_eq!(any(format!("Bearer {APP}")), Some(CredentialKind::AppToken));
        assert_eq!(any(format!("Token token={KEY}")), Some(CredentialKind::General));
        assert_eq!(any(format!("Bearer  {KEY}")), Some(CredentialKind::General));
        assert_eq!(any(format!("Bearer \"{KEY}\"")), None);
        assert_eq!(documented(format!("Token token=\"{KEY}\"")), Some(CredentialKind::General));
        assert_eq!(documented(format!("Token {KEY}")), Some(CredentialKind::General));
        assert_eq!(documented(format!("Bearer  {KEY}")), None);
        assert_eq!(any(KEY.to_owned()), None);
        assert!(matches!(Presented::authorization(b"", BearerTakes::AnyKey), Presented::Missing));
    }

    #[test]
    fn nothing_is_missing() {
        for text in ["", "\n", "\r\n"] {
            assert!(matches!(Presented::parse(text.as_bytes()), Presented::Missing), "{text:?}");
        }
    }
}
