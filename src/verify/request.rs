//! Parses presented credentials, and describes the request that they are presented for.

use std::fmt;
use std::str::FromStr;

use crate::model::{self, CredentialKind, Secret};

/// The length in bytes of the longest input that is parsed as a credential, including its scheme.
const MAX_LEN: usize = 512;

/// The API that a request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// The REST API. It takes general keys, user tokens and app tokens.
    #[default]
    Rest,
    /// The Events API, version 1.
    EventsV1,
    /// The Events API, version 2.
    EventsV2,
}

impl Api {
    /// Returns true for the versions of the Events API, which take integration keys.
    #[must_use]
    pub const fn is_events(self) -> bool {
        matches!(self, Self::EventsV1 | Self::EventsV2)
    }

    /// Returns true if the API takes credentials of this kind.
    #[must_use]
    pub const fn takes(self, kind: CredentialKind) -> bool {
        self.is_events() == matches!(kind, CredentialKind::Integration)
    }
}

/// Writes the name that `--api` and batch lines use.
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

/// The kinds of credential that may be presented with the scheme `Bearer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BearerTakes {
    /// App tokens only, as PagerDuty documents.
    #[default]
    AppTokens,
    /// Any credential, as is common for other APIs.
    AnyKey,
}

/// A credential as it was presented.
#[derive(Debug)]
pub enum Presented {
    /// No credential was presented.
    Missing,
    /// The text has the shape of no credential. The fields are what the Events API tells its clients about it.
    Malformed {
        /// The length in characters.
        length: usize,
        /// Whether it contains characters other than ASCII letters and digits.
        other_characters: bool,
    },
    /// The text has the shape of a credential.
    Secret {
        /// The kind that has this shape.
        kind: CredentialKind,
        /// The secret.
        secret: Secret,
    },
}

impl Presented {
    /// Parses a key without a scheme.
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

    /// Parses a key, or the value of an `Authorization` header: `Token token=KEY`, `Token token="KEY"` or `Token KEY`, as
    /// the clients of PagerDuty's API send them, or `Bearer TOKEN` for an app token. The case of the scheme is ignored,
    /// and one or more spaces may follow it. One line ending at the end is ignored; any other surrounding character makes
    /// the credential malformed.
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

    /// Returns the kind of credential that has the shape of the text.
    #[must_use]
    pub fn kind(&self) -> Option<CredentialKind> {
        match self {
            Self::Secret { kind, .. } => Some(*kind),
            Self::Missing | Self::Malformed { .. } => None,
        }
    }

    /// Parses the value of an `Authorization` header. A key without a scheme is malformed.
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

    /// Parses a key after a scheme that is for some kinds only.
    fn of_kinds(key: &[u8], fits: impl Fn(CredentialKind) -> bool) -> Self {
        match Self::bare(key) {
            Self::Secret { kind, .. } if !fits(kind) => Self::malformed(key),
            // A scheme without a key is malformed, not missing.
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

/// Splits the value of an `Authorization` header at the spaces after its scheme (RFC 9110, section 11.4).
fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    let blanks = value[at..].iter().take_while(|byte| **byte == b' ').count();
    Some((&value[..at], &value[at + blanks..]))
}

/// Removes the quotes around a text, if it has both. Escapes need no handling, because no key contains a character that
/// would be escaped.
fn unquoted(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A request to check: a credential, and what it is to be used for.
#[derive(Debug)]
pub struct Request<'r> {
    /// The API that the request is for.
    pub api: Api,
    /// The credential that was presented.
    pub presented: Presented,
    /// The method, exactly as in the request. Ignored for the Events API.
    pub method: &'r str,
    /// The path with its query, exactly as in the request. Ignored for the Events API.
    pub path: &'r [u8],
    /// Whether the verdict answers an API client through a gateway. `GET /users/me` is then denied to credentials
    /// without a user, as PagerDuty's API does.
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
    fn a_key_and_a_header_value_parse_with_one_line_ending() {
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
    fn empty_input_is_a_missing_credential() {
        for text in ["", "\n", "\r\n"] {
            assert!(matches!(Presented::parse(text.as_bytes()), Presented::Missing), "{text:?}");
        }
    }
}
