//! Recognises requests that send events, and finds the integration key in them.
//!
//! The key of an event is in its body, as `routing_key` or `service_key`; in its path, `/integration/KEY/enqueue`; or in
//! the header `X-Routing-Key`. The key that is checked must be the only one that any program behind could find.
//! Therefore a request is ambiguous if it has two keys, gives a member twice, or has anything that another program may
//! take for the member or parameter of a key: another case, a NUL after the name, a query, a form inside the JSON.
//! Members of nested objects belong to the payload, where no API looks for a key.

use std::fmt;

use percent_encoding::percent_decode;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::folded::may_be_folded;
use super::path::Path;
use super::{Api, Presented, Reason};

/// The header that can hold the key of an event.
pub const ROUTING_KEY_HEADER: &str = "x-routing-key";

/// The names of keys, reduced to the letters that all spellings have in common.
const KEY_NAMES: [&str; 2] = ["routingkey", "servicekey"];

/// A request that sends an event.
pub struct EventRequest {
    /// The version of the Events API.
    pub api: Api,
    /// The key in the path, if the path has one.
    pub in_path: Option<Zeroizing<String>>,
}

impl EventRequest {
    /// Parses the method and the target of a request. Returns `None` for requests to the REST API; an ambiguous path is
    /// one of them, and is denied there.
    ///
    /// # Errors
    /// [`Reason::AmbiguousPath`] if the path is one of the Events API in a different spelling, which only some programs
    /// would recognise; [`Reason::AmbiguousRequest`] if the query names a key.
    pub fn parse(method: &str, target: &[u8]) -> Result<Option<Self>, Reason> {
        if method != "POST" {
            return Ok(None);
        }
        let Some(path) = Path::parse(target) else { return Ok(None) };
        let mut segments = path.segments();
        let first_four = [segments.next(), segments.next(), segments.next(), segments.next()];
        let is = |segment: &str, literal: &str| segment.eq_ignore_ascii_case(literal);
        let (api, key, literal) = match first_four {
            [Some(v2), Some(enqueue), None, None] if is(v2, "v2") && is(enqueue, "enqueue") => {
                (Api::EventsV2, None, "/v2/enqueue".to_owned())
            }
            [Some(v2), Some(change), Some(enqueue), None]
                if is(v2, "v2") && is(change, "change") && is(enqueue, "enqueue") =>
            {
                (Api::EventsV2, None, "/v2/change/enqueue".to_owned())
            }
            [Some(generic), Some("2010-04-15"), Some(create), None]
                if is(generic, "generic") && is(create, "create_event.json") =>
            {
                (Api::EventsV1, None, "/generic/2010-04-15/create_event.json".to_owned())
            }
            [Some(integration), Some(key), Some(enqueue), None]
                if is(integration, "integration") && is(enqueue, "enqueue") =>
            {
                (Api::EventsV2, Some(Zeroizing::new(key.to_owned())), format!("/integration/{key}/enqueue"))
            }
            _ => return Ok(None),
        };
        let literal = Zeroizing::new(literal);
        let (spelt, query) = match target.iter().position(|byte| *byte == b'?') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        if spelt != literal.as_bytes() || spelt.contains(&b'%') {
            return Err(Reason::AmbiguousPath);
        }
        if has_key_parameter(query) {
            return Err(Reason::AmbiguousRequest);
        }
        Ok(Some(Self { api, in_path: key }))
    }
}

impl fmt::Debug for EventRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRequest").field("api", &self.api).finish_non_exhaustive()
    }
}

/// Returns true if a program may take a name for the name of a key.
fn may_name_key(name: &str) -> bool {
    let mut letters = String::with_capacity(name.len());
    let mut is_folded = false;
    for character in name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            letters.push(character);
        } else if may_be_folded(character) {
            is_folded = true;
        } else if !character.is_ascii() {
            return false;
        }
    }
    KEY_NAMES.iter().any(|key| {
        // A folded character may stand for any letters, so it suffices that the others occur in the same order.
        let mut rest = key.chars();
        letters == *key || (is_folded && letters.chars().all(|letter| rest.any(|other| other == letter)))
    })
}

/// Returns true if a query or a form has a parameter, or a member of one (`event[routing_key]`), that may hold a key.
fn has_key_parameter(form: &[u8]) -> bool {
    form.split(|byte| b"&;".contains(byte)).any(|parameter| {
        let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
        let Some(name) = fully_decoded(name) else { return true };
        let name = String::from_utf8_lossy(&name);
        // PHP makes `routing_key` of `routing[key`, so a name is looked at as a whole, too.
        may_name_key(&name)
            || name
                .split(['[', ']', '\0'])
                .any(|part| may_name_key(part) || part.split('.').any(may_name_key))
    })
}

/// How many times over a name may be encoded: more often than any chain of programs decodes it.
const MOST_ENCODINGS: usize = 3;

/// Decodes a name as often as it can be decoded. `None` if that is too often, since each time goes over all of it.
fn fully_decoded(name: &[u8]) -> Option<Vec<u8>> {
    let mut name = name.to_vec();
    for _ in 0..=MOST_ENCODINGS {
        let decoded: Vec<u8> = percent_decode(&name).collect();
        if decoded.len() == name.len() {
            return Some(name);
        }
        name = decoded;
    }
    None
}

/// The format, other than JSON, that a program may take a body for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AlsoRead {
    /// None.
    AsNothing,
    /// A form: many clients send JSON with the media type of forms.
    AsForm,
}

impl AlsoRead {
    /// Determines the format from a `Content-Type`. JSON, plain text and forms in UTF-8 are accepted.
    fn of(content_type: &[u8]) -> Result<Self, Reason> {
        let text = std::str::from_utf8(content_type).map_err(|_| Reason::AmbiguousRequest)?;
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_utf_8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let value = value.trim().trim_matches('"');
                ["utf-8", "utf8", "us-ascii"].iter().any(|charset| value.eq_ignore_ascii_case(charset))
            }
            _ => true,
        };
        if text.contains(',') || !parts.all(is_utf_8) {
            return Err(Reason::AmbiguousRequest);
        }
        match essence.as_str() {
            "" | "application/json" | "text/json" | "text/plain" => Ok(Self::AsNothing),
            "application/x-www-form-urlencoded" => Ok(Self::AsForm),
            other if other.starts_with("application/") && other.ends_with("+json") => Ok(Self::AsNothing),
            _ => Err(Reason::AmbiguousRequest),
        }
    }
}

/// The keys in the body of an event.
#[derive(Default)]
pub struct EventKeys {
    routing_key: Option<Zeroizing<String>>,
    service_key: Option<Zeroizing<String>>,
}

impl EventKeys {
    /// Parses the body of an event. `content_type` is the value of that header, if the request has it.
    ///
    /// # Errors
    /// [`Reason::AmbiguousRequest`] if the body is not a JSON object in UTF-8, gives a member twice, has a key that is not
    /// a string or a member that another program may take for a key, or if the media type is not accepted.
    pub fn parse(body: &[u8], content_type: Option<&[u8]>) -> Result<Self, Reason> {
        let also_read = content_type.map_or(Ok(AlsoRead::AsNothing), AlsoRead::of)?;
        if also_read == AlsoRead::AsForm && has_key_parameter(body) {
            return Err(Reason::AmbiguousRequest);
        }
        // Also the members that are skipped must be UTF-8: in other encodings a string may end elsewhere.
        let text = std::str::from_utf8(body).map_err(|_| Reason::AmbiguousRequest)?;
        serde_json::from_str(text).map_err(|_| Reason::AmbiguousRequest)
    }

    /// Returns the key that an event presents, in the body, in the path or in the header.
    ///
    /// # Errors
    /// [`Reason::AmbiguousRequest`] if it has several that differ.
    pub fn presented(
        &self,
        api: Api,
        in_path: Option<&[u8]>,
        in_header: Option<&[u8]>,
    ) -> Result<Presented, Reason> {
        let bytes = |key: &'_ Option<Zeroizing<String>>| key.as_ref().map(|key| key.as_bytes().to_vec());
        let (own, other) = if api == Api::EventsV1 {
            (bytes(&self.service_key), bytes(&self.routing_key))
        } else {
            (bytes(&self.routing_key), bytes(&self.service_key))
        };
        let own = own.map(Zeroizing::new);
        let other = other.map(Zeroizing::new);
        let keys = [own.as_ref().map(|key| key.as_slice()), in_path, in_header];
        let mut found = keys.into_iter().flatten();
        let first = found.next();
        let other = other.as_ref().map(|key| key.as_slice());
        if found.chain(other).any(|key| first.is_some_and(|first| first != key)) {
            return Err(Reason::AmbiguousRequest);
        }
        Ok(first.map_or(Presented::Missing, Presented::bare))
    }
}

impl fmt::Debug for EventKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventKeys").finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for EventKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;
        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = EventKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventKeys, A::Error> {
                let mut keys = EventKeys::default();
                let mut names = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "routing_key" => keys.routing_key = Some(Zeroizing::new(map.next_value()?)),
                        "service_key" => keys.service_key = Some(Zeroizing::new(map.next_value()?)),
                        other if other.contains(char::is_control) || may_name_key(other) => {
                            return Err(A::Error::custom("a member may be taken for a key"));
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    if !names.insert(name) {
                        return Err(A::Error::custom("a member is given twice"));
                    }
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(KeysVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CredentialKind;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";

    fn body(members: &str) -> EventKeys {
        EventKeys::parse(format!("{{{members}}}").as_bytes(), None).unwrap()
    }

    fn is_key(presented: &Result<Presented, Reason>) -> bool {
        matches!(presented, Ok(Presented::Secret { kind: CredentialKind::Integration, .. }))
    }

    #[test]
    fn the_documented_paths_send_events_and_no_others() {
        let api = |method, path: &str| {
            EventRequest::parse(method, path.as_bytes()).unwrap().map(|request| request.api)
        };
        assert_eq!(api("POST", "/v2/enqueue"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/v2/enqueue?x=1"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/v2/change/enqueue"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/generic/2010-04-15/create_event.json"), Some(Api::EventsV1));
        assert_eq!(api("POST", "/integration/abc/enqueue"), Some(Api::EventsV2));
        for path in ["/v2/enqueue/", "/v2//enqueue", "/v2/enqueue/x", "/v2", "/", "/x/v2/enqueue"] {
            assert_eq!(api("POST", path), None, "{path}");
        }
        assert_eq!(api("GET", "/v2/enqueue"), None);
        assert_eq!(api("GET", "/v2/%65nqueue"), None);
    }

    #[test]
    fn a_path_of_the_events_api_in_another_spelling_is_ambiguous() {
        for path in [
            "/v2/%65nqueue",
            "/%76%32/enqueue",
            "/v2/ENQUEUE",
            "/V2/enqueue?x=1",
            "/v2/change/enqueu%65",
            "/v2/Change/enqueue",
            "/generic/2010%2D04-15/create_event.json",
            "/generic/2010-04-15/create%5Fevent.json",
            "/Generic/2010-04-15/create_event.json",
            "/integration/%61bc/enqueue",
            "/integration/abc%40/enqueue",
            "/Integration/abc/enqueue",
            "/integration/abc/%65nqueue",
        ] {
            assert_eq!(
                EventRequest::parse("POST", path.as_bytes()).unwrap_err(),
                Reason::AmbiguousPath,
                "{path}"
            );
        }
    }

    #[test]
    fn a_key_in_the_query_is_ambiguous() {
        for query in [
            "routing_key=x",
            "a=b&routing_key=x",
            "a;service_key=x",
            "ROUTING_KEY",
            "routingKey=x",
            "%72outing_key=x",
            "routing%255Fkey=x",
            "routing.key=x",
            "routing+key=x",
            "routing_key[]=x",
            "event[routing_key]=x",
            "event%5Bservice-key%5D=x",
            "event.routing_key=x",
            "routing_key%00=x",
            "routing_%E2%84%AAey=x",
            "%EF%BD%92outing_key=x",
            "routing_%C2%ADkey=x",
            "routing[key=x",
            "routing%5Bkey=x",
            "service[key[]=x",
            "a%25252561=x",
        ] {
            let target = format!("/integration/abc/enqueue?{query}");
            assert_eq!(
                EventRequest::parse("POST", target.as_bytes()).unwrap_err(),
                Reason::AmbiguousRequest,
                "{query}"
            );
        }
        for query in [
            "",
            "x-from=routing_key",
            "key=x",
            "rerouting_key=x",
            "%E9%8D%B5=x",
            "routing_key_of=x",
            "a%252561=x",
        ] {
            let target = format!("/v2/enqueue?{query}");
            assert!(EventRequest::parse("POST", target.as_bytes()).unwrap().is_some(), "{query}");
        }
    }

    #[test]
    fn a_name_that_is_encoded_over_and_over_is_ambiguous_at_once() {
        let began = std::time::Instant::now();
        let form = format!("{{\"x\":\"&%{}\"}}", "25".repeat(256 * 1024));
        let read = EventKeys::parse(form.as_bytes(), Some(b"application/x-www-form-urlencoded"));
        assert!(matches!(read, Err(Reason::AmbiguousRequest)));
        assert!(began.elapsed().as_secs() < 5, "each encoding costs a pass over all of it");
    }

    #[test]
    fn the_key_in_the_path_is_returned() {
        let request = EventRequest::parse("POST", b"/integration/abc/enqueue").unwrap().unwrap();
        assert_eq!(request.in_path.unwrap().as_str(), "abc");
    }

    #[test]
    fn a_key_is_found_in_body_path_and_header() {
        let key = std::str::from_utf8(KEY).unwrap();
        let routing = body(&format!(r#""routing_key": "{key}", "payload": {{"a": 1, "a": 2}}"#));
        let service = body(&format!(r#""service_key": "{key}""#));
        assert!(is_key(&routing.presented(Api::EventsV2, None, None)));
        assert!(is_key(&service.presented(Api::EventsV1, None, None)));
        assert!(is_key(&EventKeys::default().presented(Api::EventsV2, Some(KEY), None)));
        assert!(is_key(&EventKeys::default().presented(Api::EventsV2, None, Some(KEY))));
        assert!(is_key(&routing.presented(Api::EventsV2, Some(KEY), Some(KEY))));
        assert!(matches!(EventKeys::default().presented(Api::EventsV2, None, None), Ok(Presented::Missing)));
        assert!(
            matches!(service.presented(Api::EventsV2, None, None), Ok(Presented::Missing)),
            "the key of the other version is not a key of this one"
        );
    }

    #[test]
    fn two_keys_that_differ_are_ambiguous() {
        let key = std::str::from_utf8(KEY).unwrap();
        let other = std::str::from_utf8(OTHER).unwrap();
        let routing = body(&format!(r#""routing_key": "{key}""#));
        let both = body(&format!(r#""routing_key": "{key}", "service_key": "{other}""#));
        for presented in [
            routing.presented(Api::EventsV2, Some(OTHER), None),
            routing.presented(Api::EventsV2, None, Some(OTHER)),
            routing.presented(Api::EventsV2, Some(KEY), Some(OTHER)),
            EventKeys::default().presented(Api::EventsV2, Some(KEY), Some(OTHER)),
            both.presented(Api::EventsV2, None, None),
            both.presented(Api::EventsV1, None, None),
        ] {
            assert!(matches!(presented, Err(Reason::AmbiguousRequest)));
        }
    }

    #[test]
    fn a_body_that_parsers_interpret_differently_is_ambiguous() {
        for text in [
            r#"{"routing_key": "a", "routing_key": "a"}"#,
            r#"{"routing_key": "a", "routing\u005fkey": "b"}"#,
            r#"{"x": 1, "x": 1}"#,
            r#"{"routing_key": 7}"#,
            r#"{"routing_key": null}"#,
            r#"{"routing_key": ["a"]}"#,
            r#"[{"routing_key": "a"}]"#,
            r#"{"routing_key": "a"} {}"#,
            r#"{"routing_key": "a",}"#,
            r#"{"routing_key": "a" /* , */}"#,
            "",
            "routing_key=a",
            "\u{feff}{\"routing_key\": \"a\"}",
        ] {
            assert!(
                matches!(EventKeys::parse(text.as_bytes(), None), Err(Reason::AmbiguousRequest)),
                "{text}"
            );
        }
        let utf_16: Vec<u8> = r#"{"routing_key": "a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [&utf_16[..], b"{\"x\": \"\xff\", \"routing_key\": \"a\"}", b"\x1f\x8b\x08"] {
            assert!(EventKeys::parse(body, None).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn a_member_that_may_be_taken_for_a_key_is_ambiguous() {
        for name in [
            "Routing_Key",
            "ROUTING_KEY",
            "routingKey",
            "routing-key",
            "routing key",
            " routing_key",
            r"routing_key\u0000",
            r"routing_key\u0000x",
            r"x\u0001",
            "Service_Key",
            "serviceKey",
            "\u{17f}ervice_key",
            "routing_\u{212a}ey",
            r"routing_\u212aey",
            "\u{ff52}outing_key",
            "routing\u{ff3f}key",
            "routing_key\u{200b}",
            "routing_\u{ad}key",
        ] {
            let text = format!(r#"{{"{name}": "b", "routing_key": "a"}}"#);
            assert!(EventKeys::parse(text.as_bytes(), None).is_err(), "{text}");
            let alone = format!(r#"{{"{name}": "b"}}"#);
            assert!(EventKeys::parse(alone.as_bytes(), None).is_err(), "{alone}");
        }
        for name in ["key", "routing_key_of", "größe", "名前（Ａ）", "client", "payload", "routes"] {
            let text = format!(r#"{{"{name}": {{"Routing_Key": "b"}}, "routing_key": "a"}}"#);
            assert!(EventKeys::parse(text.as_bytes(), None).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_body_with_an_unsuitable_media_type_is_ambiguous() {
        let plain = r#"{"routing_key": "a", "payload": {"summary": "a=b & c; d"}}"#;
        let parse =
            |text: &str, content_type: &str| EventKeys::parse(text.as_bytes(), Some(content_type.as_bytes()));
        for content_type in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/vnd.pagerduty+json;version=2",
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
        ] {
            assert!(parse(plain, content_type).is_ok(), "{content_type}");
        }
        for content_type in [
            "application/json; charset=utf-7",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json, application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/yaml",
            "application/octet-stream",
        ] {
            assert!(parse(plain, content_type).is_err(), "{content_type}");
        }
        for form in [
            r#"{"routing_key": "a", "x": "&routing_key=b&"}"#,
            r#"{"routing_key": "a", "x": "&event[routing%5Fkey]=b"}"#,
            r#"{"routing_key": "a", "x": ";Service_Key=b"}"#,
            r#"{"routing_key=b&x": 1, "routing_key": "a"}"#,
        ] {
            assert!(parse(form, "application/json").is_ok(), "{form}");
            assert!(parse(form, "application/x-www-form-urlencoded").is_err(), "{form}");
        }
    }
}
