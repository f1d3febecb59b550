//! Events: which requests send one, and where such a request has its key.
//!
//! The key of an event stands in its body, as `routing_key` or `service_key`; in its path, `/integration/KEY/enqueue`;
//! or in the header `X-Routing-Key`. Where it stands more than once, every reader must find the same: two keys, or a
//! member given twice, is a request that could be read in more than one way.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::path::Path;
use super::{Api, Presented, Reason};

/// The header that can have the key of an event.
pub const ROUTING_KEY_HEADER: &str = "x-routing-key";

/// Which Events API a request is for, and the key in its path if it has one there.
///
/// `None` for what sends no event, and so is for the REST API; paths that could be read in more than one way are
/// among that, and denied there.
#[must_use]
pub fn events_request(method: &str, target: &[u8]) -> Option<(Api, Option<Zeroizing<String>>)> {
    if method != "POST" {
        return None;
    }
    let path = Path::parse(target)?;
    let mut segments = path.segments();
    let first_four = [segments.next(), segments.next(), segments.next(), segments.next()];
    match first_four {
        [Some("v2"), Some("enqueue"), None, None] | [Some("v2"), Some("change"), Some("enqueue"), None] => {
            Some((Api::EventsV2, None))
        }
        [Some("generic"), Some("2010-04-15"), Some("create_event.json"), None] => Some((Api::EventsV1, None)),
        [Some("integration"), Some(key), Some("enqueue"), None] => {
            Some((Api::EventsV2, Some(Zeroizing::new(key.to_owned()))))
        }
        _ => None,
    }
}

/// The keys that the body of an event has.
#[derive(Default)]
pub struct EventKeys {
    routing_key: Option<Zeroizing<String>>,
    service_key: Option<Zeroizing<String>>,
}

impl EventKeys {
    /// Reads the body of an event.
    ///
    /// # Errors
    /// [`Reason::AmbiguousRequest`] if it is no JSON object, gives a member twice, or has a key that is no string.
    pub fn parse(body: &[u8]) -> Result<Self, Reason> {
        serde_json::from_slice(body).map_err(|_| Reason::AmbiguousRequest)
    }

    /// The key that an event presents, by all that was found: in the body, in the path, and in the header.
    ///
    /// # Errors
    /// [`Reason::AmbiguousRequest`] if they differ.
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
        EventKeys::parse(format!("{{{members}}}").as_bytes()).unwrap()
    }

    fn is_key(presented: &Result<Presented, Reason>) -> bool {
        matches!(presented, Ok(Presented::Secret { kind: CredentialKind::Integration, .. }))
    }

    #[test]
    fn the_documented_paths_send_events_and_no_others() {
        let api = |method, path: &str| events_request(method, path.as_bytes()).map(|(api, _)| api);
        assert_eq!(api("POST", "/v2/enqueue"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/v2/enqueue?x=1"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/v2/change/enqueue"), Some(Api::EventsV2));
        assert_eq!(api("POST", "/generic/2010-04-15/create_event.json"), Some(Api::EventsV1));
        assert_eq!(api("POST", "/integration/abc/enqueue"), Some(Api::EventsV2));
        for path in
            ["/v2/enqueue/", "/v2//enqueue", "/v2/enqueue/x", "/v2", "/", "/x/v2/enqueue", "/V2/enqueue"]
        {
            assert_eq!(api("POST", path), None, "{path}");
        }
        assert_eq!(api("GET", "/v2/enqueue"), None);
    }

    #[test]
    fn the_key_in_the_path_is_told() {
        let (_, key) = events_request("POST", b"/integration/abc/enqueue").unwrap();
        assert_eq!(key.unwrap().as_str(), "abc");
    }

    #[test]
    fn a_key_is_found_wherever_it_stands() {
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
            "the key of the other API is none"
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
    fn a_body_that_two_readers_read_differently_is_ambiguous() {
        for text in [
            r#"{"routing_key": "a", "routing_key": "a"}"#,
            r#"{"routing_key": "a", "routing\u005fkey": "b"}"#,
            r#"{"x": 1, "x": 1}"#,
            r#"{"routing_key": 7}"#,
            r#"{"routing_key": null}"#,
            r#"[{"routing_key": "a"}]"#,
            r#"{"routing_key": "a"} {}"#,
            "",
            "routing_key=a",
        ] {
            assert!(matches!(EventKeys::parse(text.as_bytes()), Err(Reason::AmbiguousRequest)), "{text}");
        }
    }
}
