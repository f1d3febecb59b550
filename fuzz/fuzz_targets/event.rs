//! The body and the request line of an event are read without a panic, and nothing passes for JSON that is none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::verify::{Api, EventKeys, EventRequest, Path};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (target, header, body) = (next(), next(), next());
    let Ok(event) = EventRequest::parse("POST", target) else { return };
    if let Some(event) = &event {
        assert!(!target.contains(&b'%') || target.contains(&b'?'), "{}", target.escape_ascii());
        assert!(Path::parse(target).is_some(), "{event:?}");
    }
    let in_path = event.and_then(|event| event.in_path);
    let in_path = in_path.as_ref().map(|key| key.as_bytes());
    let in_header = Some(header).filter(|header| !header.is_empty());
    let Ok(keys) = EventKeys::parse(body, None) else { return };
    assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok(), "{}", body.escape_ascii());
    // A reader that ignores case finds no more keys than one that does not.
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) else { return };
    for name in members.keys() {
        let lower = name.to_lowercase();
        assert!(!["routing_key", "service_key"].contains(&lower.as_str()) || lower == *name, "{name}");
    }
    for api in [Api::EventsV1, Api::EventsV2] {
        // Two keys that differ are an error, and never one of them.
        if let (Ok(_), Some(one), Some(other)) = (keys.presented(api, in_path, in_header), in_path, in_header)
        {
            assert_eq!(one, other);
        }
    }
});
