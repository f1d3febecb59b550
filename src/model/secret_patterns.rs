//! Finds candidates: substrings of any bytes that have the shape of a secret.
//!
//! A run is a maximal sequence of characters of one alphabet. A candidate is a run of exactly the length of a secret, or
//! the head or the tail of a run of up to 64 characters, since text may be joined to a key without a separator. Most
//! bytes are never read: every secret contains 18 consecutive characters of the widest alphabet, so the search looks at
//! the last byte of each window of 18 first, and a byte outside the alphabet rules out the whole window up to it.

use std::ops::Range;

use crate::model::{
    CredentialKind, Digest, Fingerprint, Keyring, LOWER_HEX, REST, Secret, UPPER_ALPHANUMERIC,
    is_client_secret,
};

/// The length of the shortest run that contains a candidate: the part of a user token after `u+`.
pub(crate) const SHORTEST: usize = 18;
/// The length of the longest run whose head and tail are candidates.
const LONGEST: usize = 64;
/// The length of a general key.
const GENERAL: usize = 20;
/// The length of an integration key.
const INTEGRATION: usize = 32;
/// The length of a client secret.
const CLIENT: usize = 48;
/// The prefix of an app token that is not part of its run, and the length of the run.
const APP_TOKEN: (&[u8], usize) = (b"pdus+", 45);
/// The prefix of a user token that is not part of its run, and the length of the run.
const USER_TOKEN: (&[u8], usize) = (b"u+", 18);

/// The most bytes before a run that can belong to a candidate.
pub(crate) const BEFORE: usize = APP_TOKEN.0.len();
/// The number of bytes at the end of an overlong run that suffice to tell where a run of a narrower alphabet begins.
pub(crate) const REMEMBERED: usize = 2 * LONGEST;

/// Computes the digest of every candidate in a text.
pub(crate) fn digests_in(text: &str, keyring: &Keyring) -> Vec<Digest> {
    let bytes = text.as_bytes();
    let mut digests = Vec::new();
    each(bytes, 0, true, &mut |place| digests.push(keyring.digest(&Fingerprint::of(&bytes[place]))));
    digests
}

/// Returns the parts of a text that look like secrets, for redaction where no store can be asked. Overlapping parts are
/// merged.
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

/// Returns true if text with the shape of a general key is likely to be one, and not part of a name or a path. It must
/// have letters of both cases, which all but one key in 17,000 have. If it is only part of a run, it must have a digit
/// too, which all but one key in 30 have.
fn is_random(bytes: &[u8], place: &Range<usize>) -> bool {
    let candidate = &bytes[place.clone()];
    let is_in_run = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| REST.has(*byte));
    let is_whole_run = !is_in_run(place.start.checked_sub(1)) && !is_in_run(Some(place.end));
    candidate.iter().any(u8::is_ascii_uppercase)
        && candidate.iter().any(u8::is_ascii_lowercase)
        && (is_whole_run || candidate.iter().any(u8::is_ascii_digit))
}

/// Visits every candidate in the runs that begin at or after `from`. A run that reaches the end of the bytes may go on
/// in the next chunk, so it is visited only if the input has `ended`. Returns where that run begins, or else the length
/// of the bytes.
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

/// Visits the candidates for integration keys within a piece of an overlong run, which has no others: those in narrower
/// runs that end at or after `from`. A narrower run that ends with the piece is visited only if the piece is
/// `complete`.
pub(crate) fn each_inside(piece: &[u8], from: usize, complete: bool, visit: &mut impl FnMut(Range<usize>)) {
    integration_keys(piece, 0..piece.len(), &mut |candidate, end| {
        if end >= from && (complete || end < piece.len()) {
            visit(candidate);
        }
    });
}

/// Returns the length of the run at the beginning of the bytes.
pub(crate) fn end_of_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !REST.has(*byte)).unwrap_or(bytes.len())
}

/// Returns where the run begins that reaches the end of the bytes, at or after `from`.
pub(crate) fn open_run(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from.min(bytes.len())..];
    rest.iter().rposition(|byte| !REST.has(*byte)).map_or(from.min(bytes.len()), |at| from + at + 1)
}

/// Returns the next run of the widest alphabet that is long enough for a candidate.
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

/// Visits the candidates in a run of the widest alphabet.
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

/// Visits the candidates for integration keys in a run, each with the end of the narrower run that contains it.
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

/// Visits the head and the tail of a run, or all of it if it has exactly this length.
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
    fn a_run_of_exactly_the_length_of_a_secret_is_a_candidate() {
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
    fn redaction_replaces_secrets_and_leaves_names_and_paths() {
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
    fn the_head_and_the_tail_of_a_run_are_candidates_up_to_the_longest_run() {
        assert!(found(&format!("key-{GENERAL_KEY}")).contains(&GENERAL_KEY));
        assert!(found(&format!("{GENERAL_KEY}-key")).contains(&GENERAL_KEY));
        assert!(found(&format!("KEY_{SERVICE_KEY}")).contains(&SERVICE_KEY));
        assert!(found(&format!("{SERVICE_KEY}00")).contains(&SERVICE_KEY));
        assert!(found(&format!("{GENERAL_KEY}{}", "x".repeat(44))).contains(&GENERAL_KEY));
        assert!(!found(&format!("{GENERAL_KEY}{}", "x".repeat(45))).contains(&GENERAL_KEY));
        assert!(found(&"a".repeat(19)).is_empty() && found("").is_empty());
    }
}
