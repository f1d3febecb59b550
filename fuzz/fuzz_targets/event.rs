//! The body and the request line of an event are read without a panic, and nothing passes for JSON that is none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::verify::{Api, EventKeys, events_request};
use serde::de::IgnoredAny;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (target, header, body) = (next(), next(), next());
    let in_path = events_request("POST", target).and_then(|(_, key)| key);
    let in_path = in_path.as_ref().map(|key| key.as_bytes());
    let in_header = Some(header).filter(|header| !header.is_empty());
    let Ok(keys) = EventKeys::parse(body) else { return };
    assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok(), "{}", body.escape_ascii());
    for api in [Api::EventsV1, Api::EventsV2] {
        // Two keys that differ are an error, and never one of them.
        if let (Ok(_), Some(one), Some(other)) = (keys.presented(api, in_path, in_header), in_path, in_header)
        {
            assert_eq!(one, other);
        }
    }
});
