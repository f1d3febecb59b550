//! Candidates: every string in some bytes that has the shape of a secret.
//!
//! A candidate is a maximal run of a shape's alphabet of exactly its length, or the head or the tail of a run of up to
//! 64: where something was put before a key, or after it, without anything between. Most bytes are never looked at:
//! no secret is made of fewer than 18 characters of the widest alphabet in a row, so that of each 18 bytes the last is
//! asked first, and one that is no such character rules out all that would reach over it.

use std::ops::Range;

use crate::model::{
    CredentialKind, Digest, Fingerprint, Keyring, LOWER_HEX, REST, Secret, UPPER_ALPHANUMERIC,
    is_client_secret,
};

/// The shortest run that has a candidate in it: what follows the `u+` of a user token.
pub(crate) const SHORTEST: usize = 18;
/// The longest run whose head and tail are candidates.
const LONGEST: usize = 64;
/// A general key.
const GENERAL: usize = 20;
/// An integration key.
const INTEGRATION: usize = 32;
/// A client secret.
const CLIENT: usize = 48;
/// What stands before the run of an app token, and how long that run is.
const APP_TOKEN: (&[u8], usize) = (b"pdus+", 45);
/// What stands before the run of a user token.
const USER_TOKEN: (&[u8], usize) = (b"u+", 18);

/// How many bytes before a run can belong to a candidate.
pub(crate) const BEFORE: usize = APP_TOKEN.0.len();
/// How many of the last bytes of an endless run are enough to know where a run of a narrower alphabet began.
pub(crate) const REMEMBERED: usize = 2 * LONGEST;

/// The digest of every candidate in a text.
pub(crate) fn digests_in(text: &str, keyring: &Keyring) -> Vec<Digest> {
    let bytes = text.as_bytes();
    let mut digests = Vec::new();
    each(bytes, 0, true, &mut |place| digests.push(keyring.digest(&Fingerprint::of(&bytes[place]))));
    digests
}

/// The parts of a text that look like secrets, for whoever is about to repeat it and has no store to ask. Parts that
/// overlap are one.
#[must_use]
pub fn secrets_within(text: &str) -> Vec<Secret> {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    each(bytes, 0, true, &mut |place| {
        let is_general = CredentialKind::of_shape(&bytes[place.clone()]) == Some(CredentialKind::General);
        if !is_general || is_random(bytes, &place) {
            places.push(place);
        }
    });
    places.sort_by_key(|place| place.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for place in places {
        match apart.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => apart.push(place),
        }
    }
    apart.into_iter().map(|place| Secret::presented(text[place].to_owned())).collect()
}

/// Whether what has a general key's shape is likely to be one, and no part of a name or a path: of 17,000 keys one has
/// not letters of both cases. Where it is but a part of a run it takes a digit too, which one key of 30 has not.
fn is_random(bytes: &[u8], place: &Range<usize>) -> bool {
    let candidate = &bytes[place.clone()];
    let is_in_run = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| REST.has(*byte));
    let is_whole_run = !is_in_run(place.start.checked_sub(1)) && !is_in_run(Some(place.end));
    candidate.iter().any(u8::is_ascii_uppercase)
        && candidate.iter().any(u8::is_ascii_lowercase)
        && (is_whole_run || candidate.iter().any(u8::is_ascii_digit))
}

/// Shows every candidate in the runs that begin at or after `from`; one that reaches up to the end of the bytes only if
/// they have ended there. Gives where the run begins that did not end, or the end.
pub(crate) fn each(bytes: &[u8], from: usize, ended: bool, visit: &mut impl FnMut(Range<usize>)) -> usize {
    let mut start = from;
    while let Some(run) = next_run(bytes, start) {
        if run.end == bytes.len() && !ended {
            return run.start;
        }
        start = run.end;
        in_run(bytes, run, visit);
    }
    if ended { bytes.len() } else { open_run(bytes, start) }
}

/// Shows every integration key's candidate inside a piece of a run that is too long for any other: in narrower runs
/// that end at or after `from`; one that ends with the piece only if the piece is `complete`.
pub(crate) fn each_inside(piece: &[u8], from: usize, complete: bool, visit: &mut impl FnMut(Range<usize>)) {
    integration_keys(piece, 0..piece.len(), &mut |candidate, end| {
        if end >= from && (complete || end < piece.len()) {
            visit(candidate);
        }
    });
}

/// Where the run ends that bytes begin with.
pub(crate) fn end_of_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !REST.has(*byte)).unwrap_or(bytes.len())
}

/// Where a run begins that may go on after the end.
pub(crate) fn open_run(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from.min(bytes.len())..];
    rest.iter().rposition(|byte| !REST.has(*byte)).map_or(from.min(bytes.len()), |at| from + at + 1)
}

/// The next maximal run of the widest alphabet that is long enough.
fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let mut start = from;
    loop {
        let window = bytes.get(start..start + SHORTEST)?;
        if let Some(at) = window.iter().rposition(|byte| !REST.has(*byte)) {
            start += at + 1;
        } else {
            let more = end_of_run(&bytes[start + SHORTEST..]);
            return Some(start..start + SHORTEST + more);
        }
    }
}

fn in_run(bytes: &[u8], run: Range<usize>, visit: &mut impl FnMut(Range<usize>)) {
    if run.len() <= LONGEST {
        ends(&run, GENERAL, &mut *visit);
        for (before, length) in [USER_TOKEN, APP_TOKEN] {
            let candidate = run.start.saturating_sub(before.len())..run.start + length;
            if run.len() >= length
                && bytes[..run.start].ends_with(before)
                && CredentialKind::of_shape(&bytes[candidate.clone()]).is_some()
            {
                visit(candidate);
            }
        }
        ends(&run, CLIENT, &mut |candidate: Range<usize>| {
            if is_client_secret(&bytes[candidate.clone()]) {
                visit(candidate);
            }
        });
    }
    integration_keys(bytes, run, &mut |candidate, _| visit(candidate));
}

/// The integration keys' candidates in a run, each with the end of the narrower run that it is in.
fn integration_keys(bytes: &[u8], run: Range<usize>, visit: &mut impl FnMut(Range<usize>, usize)) {
    if run.len() < INTEGRATION {
        return;
    }
    for alphabet in [&LOWER_HEX, &UPPER_ALPHANUMERIC] {
        let mut start = run.start;
        for part in bytes[run.clone()].split(|byte| !alphabet.has(*byte)) {
            let narrower = start..start + part.len();
            start = narrower.end + 1;
            if narrower.len() <= LONGEST {
                ends(&narrower, INTEGRATION, &mut |candidate: Range<usize>| {
                    let is_one = CredentialKind::of_shape(&bytes[candidate.clone()]);
                    if is_one == Some(CredentialKind::Integration) {
                        visit(candidate, narrower.end);
                    }
                });
            }
        }
    }
}

/// The head and the tail of a run, or all of it.
fn ends(run: &Range<usize>, length: usize, visit: &mut impl FnMut(Range<usize>)) {
    if run.len() >= length {
        visit(run.start..run.start + length);
    }
    if run.len() > length {
        visit(run.end - length..run.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        each(text.as_bytes(), 0, true, &mut |candidate| found.push(&text[candidate]));
        found
    }

    const GENERAL_KEY: &str = "y_NbAkKc66ryYTWUXYEu";
    const TOKEN: &str = "u+x_Qr3-4mzAYsn3Rqd8";
    const SERVICE_KEY: &str = "0123456789abcdef0123456789abcdef";
    const ORCHESTRATION_KEY: &str = "R0123456789ABCDEFGHJKLMNPQRSTUVW";
    const APP: &str = "pdus+_0ABC123_00000000-1111-4222-8333-444444444444";

    #[test]
    fn a_run_of_exactly_the_length_is_one_candidate() {
        assert_eq!(found(GENERAL_KEY), [GENERAL_KEY]);
        assert_eq!(found(&format!("token={GENERAL_KEY}\n")), [GENERAL_KEY]);
        assert_eq!(found(TOKEN), [TOKEN]);
        assert!(found(APP).contains(&APP));
        assert!(found(SERVICE_KEY).contains(&SERVICE_KEY));
        assert!(found(ORCHESTRATION_KEY).contains(&ORCHESTRATION_KEY));
        assert!(
            found(&format!("pdcs_{}", "a".repeat(43))).contains(&format!("pdcs_{}", "a".repeat(43)).as_str())
        );
    }

    fn redacted(text: &str) -> String {
        secrets_within(text).iter().fold(text.to_owned(), |text, secret| secret.redact(&text))
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out_of_a_text_and_names_and_paths_are_not() {
        for (text, shown) in [
            (format!("Bearer {APP}"), "Bearer (a secret ending in 4444)"),
            (format!("Token token={GENERAL_KEY}"), "Token token=(a secret ending in XYEu)"),
            (format!("\"{TOKEN}\""), "\"(a secret ending in Rqd8)\""),
            (format!("{GENERAL_KEY}."), "(a secret ending in XYEu)."),
            (format!("key-{GENERAL_KEY}"), "(a secret ending in XYEu)"),
            (
                format!("{SERVICE_KEY},{ORCHESTRATION_KEY}"),
                "(a secret ending in cdef),(a secret ending in TUVW)",
            ),
            (format!("x=pdcs_{}\n", "aB3".repeat(15).split_at(43).0), "x=(a secret ending in B3a)\n"),
        ] {
            assert_eq!(redacted(&text), shown.replace("B3a)", "aB3a)"), "{text}");
        }
        for text in
            ["/home/ann/a-directory-of-keys/pdkeys.db", "PagerDuty-Integration-Production", "K7Q2M4DX3"]
        {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn the_head_and_the_tail_of_a_longer_run_are_candidates_and_of_one_too_long_are_not() {
        assert!(found(&format!("key-{GENERAL_KEY}")).contains(&GENERAL_KEY));
        assert!(found(&format!("{GENERAL_KEY}-key")).contains(&GENERAL_KEY));
        assert!(found(&format!("KEY_{SERVICE_KEY}")).contains(&SERVICE_KEY));
        assert!(found(&format!("{SERVICE_KEY}00")).contains(&SERVICE_KEY));
        assert!(found(&format!("{GENERAL_KEY}{}", "x".repeat(44))).contains(&GENERAL_KEY));
        assert!(!found(&format!("{GENERAL_KEY}{}", "x".repeat(45))).contains(&GENERAL_KEY));
        assert!(found(&"a".repeat(19)).is_empty() && found("").is_empty());
    }
}
