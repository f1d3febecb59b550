//! Parses request paths strictly.
//!
//! A path that two programs could interpret differently is refused: the policy must not take it for one operation while
//! the API behind takes it for another. Every path that parses has one meaning.

use super::folded::may_be_folded;
use crate::model::is_hazardous;

/// The longest request target in bytes.
const MAX_LEN: usize = 8 * 1024;

/// An unambiguous path, as a list of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'p> {
    segments: Vec<std::borrow::Cow<'p, str>>,
}

impl<'p> Path<'p> {
    /// Parses a request target. The query is cut off at the first `?`, and percent-encoded unreserved characters are
    /// decoded once. Returns `None` if the path is ambiguous.
    #[must_use]
    pub fn parse(target: &'p [u8]) -> Option<Self> {
        if target.len() > MAX_LEN {
            return None;
        }
        // A request target is ASCII; other characters must be percent-encoded.
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return None;
        }
        let target = std::str::from_utf8(target).ok()?;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let inner = path.strip_prefix('/')?;
        if inner.is_empty() {
            return Some(Self { segments: Vec::new() });
        }
        let segments = inner.split('/').map(segment).collect::<Option<Vec<_>>>()?;
        Some(Self { segments })
    }

    /// Returns the segments between the slashes. None of them is empty.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.segments.iter().map(AsRef::as_ref)
    }

    /// Returns the first segment; `None` for the path `/`.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.segments.first().map(AsRef::as_ref)
    }
}

/// Parses one segment, and decodes percent-encoded unreserved characters. Returns `None` if it is ambiguous.
fn segment(raw: &str) -> Option<std::borrow::Cow<'_, str>> {
    if raw.is_empty() || raw.contains(['\\', ';']) {
        return None;
    }
    let decoded = if raw.contains('%') { std::borrow::Cow::Owned(decode(raw)?) } else { raw.into() };
    // A segment of dots refers to another directory; for some programs, even one of more than two.
    (!decoded.bytes().all(|byte| byte == b'.')).then_some(decoded)
}

/// Decodes percent-encoded letters, digits, `-`, `_` and `~`, and leaves other encoded bytes as they are. Returns `None`
/// if a program could decode any of those into a character that changes the meaning of the path.
fn decode(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    // Bytes that stay encoded must be UTF-8 as well, because programs differ in how they decode other bytes.
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            decoded.push(*first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        let byte = (hex(*high)? << 4) | hex(*low)?;
        if byte.is_ascii_control() || b"/\\.%;#? ".contains(&byte) {
            return None;
        }
        decoded.push(byte);
        rest = tail;
    }
    if String::from_utf8(decoded).ok()?.contains(|c| is_hazardous(c) || may_be_folded(c)) {
        return None;
    }
    let mut characters = raw.char_indices();
    while let Some((at, character)) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let encoded = raw.get(at..at + 3)?;
        let byte = u8::from_str_radix(encoded.get(1..)?, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(encoded);
        }
        characters.next();
        characters.next();
    }
    Some(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> Option<Vec<String>> {
        Path::parse(target.as_bytes()).map(|path| path.segments().map(str::to_owned).collect())
    }

    #[test]
    fn a_plain_path_is_its_segments() {
        assert_eq!(read("/users/me").unwrap(), ["users", "me"]);
        assert_eq!(read("/users?query=a/b/../c").unwrap(), ["users"]);
        assert_eq!(read("/").unwrap(), [""; 0]);
    }

    #[test]
    fn encoded_unreserved_characters_are_decoded_once() {
        assert_eq!(read("/%75sers/%50%2D1").unwrap(), ["users", "P-1"]);
        assert_eq!(read("/a%40b/%C3%A9").unwrap(), ["a%40b", "%C3%A9"]);
        assert_eq!(read("/e%CC%81/%E6%BC%A2").unwrap(), ["e%CC%81", "%E6%BC%A2"]);
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for target in [
            "",
            "users",
            "//users",
            "/users/",
            "/users//me",
            "/./users",
            "/users/..",
            "/users/.",
            "/%2e/users",
            "/users/%2E%2E/x",
            "/users%2fme",
            "/users%2Fme",
            "/users\\me",
            "/users%5cme",
            "/users%252fme",
            "/%25",
            "/users%00",
            "/a\0b",
            "/a\tb",
            "/a\u{85}b",
            "/users;x=1",
            "/users%3bx",
            "/users#f",
            "/users%23f",
            "/users%3fx",
            "http://host/users",
            "/users%",
            "/users%4",
            "/users%zz",
            "/users/%C0%AF",
            "/users/%FF",
            "/a b",
            "/a%20b",
            "/users?a\nb",
            "/users/PÉ",
            "/users/...",
            "/a/%EF%BC%8F",
            "/a/%C2%85b",
            "/a/%E2%80%AEb",
            "/a/%E2%80%A4%E2%80%A4",
            "/a/%EF%B8%B0",
            "/a%E2%84%80c",
            "/users%CD%BEx",
            "/incident%C5%BF",
            "/teams/%E2%84%AA",
            "/cla%C3%9Fes",
            "/users/m%C2%ADe",
            "/users/me%E2%80%8B",
            "/users/me%EF%B8%8F",
            "/users/me%E1%9A%80",
            "/users/me%C2%A0",
            "/users%C2%A5me",
            "/%0a",
        ] {
            assert_eq!(read(target), None, "{target:?}");
        }
        assert_eq!(Path::parse(b"/users/\xff"), None);
        assert_eq!(Path::parse(format!("/{}", "a".repeat(8 * 1024)).as_bytes()), None);
    }
}
