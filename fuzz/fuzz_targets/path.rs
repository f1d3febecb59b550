//! No spelling of a path leads elsewhere for somebody who reads it more generously than the policy does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::model::{Access, Policy};
use pdkeys::verify::{Path, Reason, judge};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fuzz_target!(|input: &[u8]| {
    let Some((first, target)) = input.split_first() else { return };
    let method = METHODS[usize::from(*first) % METHODS.len()];
    let Some(path) = Path::parse(target) else { return };
    let strict: Vec<_> = path.segments().map(|segment| decode_fully(segment.as_bytes())).collect();
    assert_eq!(strict, generous(target), "{}", target.escape_ascii());
    for policy in [Policy::PagerDuty, Policy::Convention] {
        let judged = judge(policy, &Access::ReadOnly, None, method, &path);
        if judged.reason == Reason::Allowed {
            assert!(["GET", "HEAD", "OPTIONS"].contains(&method), "{method} {}", target.escape_ascii());
        }
    }
});

/// The segments as the most obliging of servers has them: decodes whatever is encoded as often as it can, takes `\` for
/// `/`, cuts parameters off, leaves out what is empty, and follows dots.
fn generous(target: &[u8]) -> Vec<Vec<u8>> {
    let path = target.split(|byte| *byte == b'?' || *byte == b'#').next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in decode_fully(path).split(|byte| *byte == b'/' || *byte == b'\\') {
        let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let segment = segment.split(|byte| *byte == b'?' || *byte == b'#').next().unwrap_or_default();
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment.to_vec()),
        }
    }
    segments
}

fn decode_fully(bytes: &[u8]) -> Vec<u8> {
    let mut text = bytes.to_vec();
    loop {
        let decoded = decode(&text);
        if decoded == text {
            return text;
        }
        text = decoded;
    }
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, behind @ ..]) = (*first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.push(high << 4 | low);
            rest = behind;
        } else {
            decoded.push(*first);
        }
    }
    decoded
}
