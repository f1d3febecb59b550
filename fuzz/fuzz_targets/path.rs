//! No spelling of a path leads elsewhere for somebody who reads it more generously than the policy does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::model::{Access, Policy};
use pdkeys::verify::{Path, Reason, judge};
use unicode_normalization::UnicodeNormalization as _;

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

/// The segments as the most obliging of servers has them: decodes whatever is encoded as often as it can, maps to ASCII
/// whatever Unicode maps there, takes `\` for `/`, cuts parameters and blanks off, leaves out what is empty, and follows
/// dots.
fn generous(target: &[u8]) -> Vec<Vec<u8>> {
    let path = target.split(|byte| *byte == b'?' || *byte == b'#').next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in fold(&decode_fully(path)).split(|byte| *byte == b'/' || *byte == b'\\') {
        let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let segment = segment.split(|byte| *byte == b'?' || *byte == b'#').next().unwrap_or_default();
        match segment.trim_ascii() {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment.to_vec()),
        }
    }
    segments
}

/// Maps what has an ASCII character in its compatibility form, in either case, to that form.
fn fold(bytes: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    let mut folded = String::with_capacity(text.len());
    for character in text.chars() {
        let plain = character.to_string();
        let forms = [plain.clone(), plain.to_lowercase(), plain.to_uppercase().to_lowercase()];
        let mut forms = forms.iter().map(|text| text.nfkc().collect::<String>());
        let is_ascii = |text: &String| text.contains(|character: char| character.is_ascii());
        let form = if character.is_ascii() { None } else { forms.find(is_ascii) };
        folded.push_str(&form.unwrap_or(plain));
    }
    folded.into_bytes()
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
