//! Finds candidates in plain and in encoded form: escaped, in Base64, or as UTF-16.
//!
//! Each form produces decoded views of a range of bytes, which are searched in turn, so that a key is also found if it
//! was encoded more than once. A view decodes a single form: whether `%5F` is found must not depend on whether an `=AB`
//! before it is an escape. Positions always refer to the original bytes.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::model::{Alphabet, secret_patterns};

/// The number of encodings that can be nested.
const DEPTH: usize = 3;
/// The length of the shortest escaped candidate: 18 characters, and the escape of the last character of a prefix.
const SHORTEST: usize = 21;
/// The length of the shortest candidate in Base64: 18 bytes, at any offset.
const SHORTEST_BASE64: usize = 24;
/// The shortest line of Base64 that may continue in the next one. Encoders wrap lines at 64 or 76 characters.
const WRAPPED: usize = 40;
/// The number of bytes and of characters in a group of Base64.
const GROUP: (usize, usize) = (3, 4);
/// The fewest whole groups in a candidate, so that testing every fifth group finds them all.
const GROUPS_IN_CANDIDATE: usize = 5;
/// The number of bytes on each side of an encoded candidate that can affect it: 64 characters, each escaped twice.
pub(super) const CONTEXT: usize = 2048;

/// The bytes that encoded forms consist of, apart from UTF-16.
static ENCODED: Alphabet =
    Alphabet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/=%\\&#;");
/// The bytes that escapes begin with.
static LEADS: Alphabet = Alphabet::of(b"%\\&=");
/// The values of the Base64 characters, of both alphabets.
static BASE64: [u8; 256] = sextets();
/// The value of bytes that are not Base64 characters.
const NONE: u8 = 64;

const fn sextets() -> [u8; 256] {
    let mut sextets = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value: u8 = 0;
    while value < NONE {
        sextets[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    sextets[b'-' as usize] = sextets[b'+' as usize];
    sextets[b'_' as usize] = sextets[b'/' as usize];
    sextets
}

/// A function that receives a candidate, and the position of its plain or encoded form.
pub(super) type Visit<'v> = dyn FnMut(&[u8], Range<usize>) + 'v;

/// The plain candidates to visit. Encoded ones are always visited.
pub(super) struct Plain {
    /// Visit those in runs that begin at or after this position.
    pub(super) from: usize,
    /// Whether the input ends with the bytes, or a run may continue after them.
    pub(super) ended: bool,
}

impl Plain {
    /// Visits all plain candidates.
    pub(super) const ALL: Self = Self { from: 0, ended: true };
}

/// Visits every candidate in some bytes. A candidate is encoded if it is shorter than the range at its position.
pub(super) fn each(bytes: &[u8], plain: &Plain, visit: &mut Visit<'_>) {
    forms(bytes, plain, DEPTH, visit);
}

/// Visits plain candidates, and encoded ones up to `depth` encodings. The bytes of plain candidates are among those of
/// encoded ones, so that one pass finds the runs of both.
fn forms(bytes: &[u8], plain: &Plain, depth: usize, visit: &mut Visit<'_>) {
    if depth > 0 {
        utf16(bytes, depth, visit);
    }
    let mut blocks_end = 0;
    let mut from = 0;
    while let Some(run) = next_run(bytes, from) {
        from = run.end;
        if run.end > plain.from {
            let ended = plain.ended || run.end < bytes.len();
            secret_patterns::each(
                &bytes[..run.end],
                run.start.max(plain.from),
                ended,
                &mut |place: Range<usize>| {
                    visit(&bytes[place.clone()], place);
                },
            );
        }
        if depth == 0 || run.len() < SHORTEST {
            continue;
        }
        if bytes[run.clone()].iter().any(|byte| LEADS.has(*byte)) {
            for escape in [Escape::Percent, Escape::Backslash, Escape::Entity, Escape::QuotedPrintable] {
                if let Some(view) = View::unescaped(&bytes[run.clone()], run.start, escape) {
                    view.look_through(depth, visit);
                }
            }
        }
        if run.len() >= SHORTEST_BASE64 {
            let rest = run.start.max(blocks_end)..run.end;
            blocks_end = base64_blocks(bytes, rest, depth, visit).max(blocks_end);
        }
    }
}

/// Returns the next run of bytes of encoded forms that is long enough for a candidate. Tests the last byte of each window
/// first.
fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let mut start = from;
    loop {
        let window = bytes.get(start..start + secret_patterns::SHORTEST)?;
        if let Some(at) = window.iter().rposition(|byte| !ENCODED.has(*byte)) {
            start += at + 1;
        } else {
            let rest = &bytes[start + secret_patterns::SHORTEST..];
            let more = rest.iter().position(|byte| !ENCODED.has(*byte)).unwrap_or(rest.len());
            return Some(start..start + secret_patterns::SHORTEST + more);
        }
    }
}

/// Decoded text, with the original position of each of its bytes.
struct View {
    text: Zeroizing<Vec<u8>>,
    /// Pairs of a position in the text and its original position. Between two pairs, positions advance in step.
    marks: Vec<(usize, usize)>,
    /// The original position of the end of the text.
    end: usize,
}

impl View {
    /// Returns the original position of a byte of the text.
    fn origin(&self, at: usize) -> usize {
        if at >= self.text.len() {
            return self.end;
        }
        match self.marks[..self.marks.partition_point(|(decoded, _)| *decoded <= at)].last() {
            Some((decoded, from)) => from + (at - decoded),
            None => at,
        }
    }

    /// Visits the candidates that contain escapes. The others are plain candidates of the original bytes.
    fn look_through(&self, depth: usize, visit: &mut Visit<'_>) {
        let text = self.text.as_slice();
        let mut shown = |candidate: &[u8], place: Range<usize>| {
            let from = self.origin(place.start)..self.origin(place.end);
            if from.len() > place.len() {
                visit(candidate, from);
            }
        };
        forms(text, &Plain::ALL, depth - 1, &mut shown);
    }

    /// Resolves the escapes of one form. Returns `None` if there are none.
    fn unescaped(bytes: &[u8], start: usize, escape: Escape) -> Option<Self> {
        let lead = escape.lead();
        let mut at = bytes.iter().position(|byte| *byte == lead)?;
        let mut view = Self { text: Zeroizing::new(Vec::new()), marks: Vec::new(), end: start + bytes.len() };
        let mut copied = 0;
        while at < bytes.len() {
            if bytes[at] == lead
                && let Some((character, length)) = escape.resolve(&bytes[at..])
            {
                if view.marks.is_empty() {
                    view.text.reserve_exact(bytes.len());
                    view.marks.push((0, start));
                }
                view.text.extend_from_slice(&bytes[copied..at]);
                view.marks.push((view.text.len(), start + at));
                view.text.push(character);
                at += length;
                copied = at;
                view.marks.push((view.text.len(), start + at));
            } else {
                at += 1;
            }
        }
        if view.marks.is_empty() {
            return None;
        }
        view.text.extend_from_slice(&bytes[copied..]);
        Some(view)
    }
}

/// A form of escape.
#[derive(Clone, Copy)]
enum Escape {
    /// `%2B`, as in URLs.
    Percent,
    /// `\u002b`, `\x2b`, `\053` and `\_`, as in JSON, programs and Markdown.
    Backslash,
    /// `&#43;`, `&#x2b;` and `&plus;`, as in HTML and XML.
    Entity,
    /// `=2B`, as in quoted-printable mail.
    QuotedPrintable,
}

/// The named entities of characters that occur in candidates and encodings.
const NAMED: [(&[u8], u8); 7] = [
    (b"plus", b'+'),
    (b"lowbar", b'_'),
    (b"UnderBar", b'_'),
    (b"sol", b'/'),
    (b"equals", b'='),
    (b"percnt", b'%'),
    (b"amp", b'&'),
];

impl Escape {
    const fn lead(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Entity => b'&',
            Self::QuotedPrintable => b'=',
        }
    }

    /// Returns the character that an escape stands for, and the length of the escape. A character that is not ASCII
    /// becomes any byte that no candidate contains.
    fn resolve(self, bytes: &[u8]) -> Option<(u8, usize)> {
        match (self, bytes) {
            (Self::Percent | Self::QuotedPrintable, [_, rest @ ..]) => Some((hex(rest.get(..2)?)?, 3)),
            (Self::Entity, [_, b'#', b'x' | b'X', rest @ ..]) => number(rest, 16, 8, 3),
            (Self::Entity, [_, b'#', rest @ ..]) => number(rest, 10, 8, 2),
            (Self::Entity, [_, rest @ ..]) => NAMED
                .iter()
                .find(|(name, _)| rest.starts_with(name) && rest.get(name.len()) == Some(&b';'))
                .map(|(name, character)| (*character, name.len() + 2)),
            (Self::Backslash, [_, b'u', rest @ ..]) => Some((hex(rest.get(..4)?)?, 6)),
            (Self::Backslash, [_, b'x', rest @ ..]) => Some((hex(rest.get(..2)?)?, 4)),
            (Self::Backslash, [_, b'U', rest @ ..]) => Some((hex(rest.get(..8)?)?, 10)),
            (Self::Backslash, [_, b'n', ..]) => Some((b'\n', 2)),
            (Self::Backslash, [_, b'r', ..]) => Some((b'\r', 2)),
            (Self::Backslash, [_, b't', ..]) => Some((b'\t', 2)),
            (Self::Backslash, [_, b'0'..=b'7', ..]) => Some((ascii(value(bytes.get(1..4)?, 8)?), 4)),
            (Self::Backslash, [_, other, ..]) if other.is_ascii_punctuation() => Some((*other, 2)),
            _ => None,
        }
    }
}

/// Parses at most `most` digits and an optional `;`. Returns the character, and the length with the `before` bytes that
/// precede the digits.
fn number(bytes: &[u8], radix: u32, most: usize, before: usize) -> Option<(u8, usize)> {
    let digits = bytes.iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let character = value(&bytes[..digits], radix)?;
    let closed = usize::from(bytes.get(digits) == Some(&b';'));
    Some((ascii(character), before + digits + closed))
}

fn hex(digits: &[u8]) -> Option<u8> {
    value(digits, 16).map(ascii)
}

fn value(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, digit| {
        value.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })
}

/// Converts a code point to a byte; one that is not ASCII to a byte that no candidate contains.
fn ascii(value: u32) -> u8 {
    u8::try_from(value).ok().filter(u8::is_ascii).unwrap_or(u8::MAX)
}

/// Searches the Base64 in a run, including wrapped lines after it. Returns the position up to which it searched.
fn base64_blocks(bytes: &[u8], run: Range<usize>, depth: usize, visit: &mut Visit<'_>) -> usize {
    let mut at = run.start;
    while at < run.end {
        let length = base64_length(&bytes[at..]);
        let goes_on = length >= WRAPPED && next_line(bytes, at + length).is_some();
        if length >= SHORTEST_BASE64 && (goes_on || may_encode(&bytes[at..at + length])) {
            let view = base64_block(bytes, at, length);
            at = view.end;
            in_base64(&view, depth, visit);
        } else {
            at += length;
        }
        at += 1;
    }
    at
}

/// Returns true if one of the tested groups decodes to text.
fn may_encode(characters: &[u8]) -> bool {
    (0..GROUP.1).any(|phase| {
        let groups = characters[phase..].chunks_exact(GROUP.1);
        groups.step_by(GROUPS_IN_CANDIDATE).any(is_text)
    })
}

fn base64_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| BASE64[usize::from(*byte)] == NONE).unwrap_or(bytes.len())
}

/// Joins a piece of Base64 with the lines that continue it.
fn base64_block(bytes: &[u8], start: usize, length: usize) -> View {
    let mut text = Zeroizing::new(bytes[start..start + length].to_vec());
    let mut marks = vec![(0, start)];
    let (mut end, mut piece) = (start + length, length);
    while piece >= WRAPPED {
        let Some(next) = next_line(bytes, end) else { break };
        piece = base64_length(&bytes[next..]);
        if piece == 0 {
            break;
        }
        marks.push((text.len(), next));
        text.extend_from_slice(&bytes[next..next + piece]);
        end = next + piece;
    }
    View { text, marks, end }
}

/// Returns where the text of the next line begins, if a line ends at `at`.
fn next_line(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let line_end = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => return None,
    };
    let indented = rest[line_end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    Some(at + line_end + indented)
}

/// Searches decoded Base64 at each of the four offsets at which groups may begin, since other text may precede it
/// without a separator.
fn in_base64(block: &View, depth: usize, visit: &mut Visit<'_>) {
    let characters = block.text.as_slice();
    for phase in 0..GROUP.1 {
        let groups = (characters.len() - phase) / GROUP.1;
        let group = |number: usize| &characters[phase + number * GROUP.1..][..GROUP.1];
        let mut at = 0;
        while at < groups {
            if !is_text(group(at)) {
                at += GROUPS_IN_CANDIDATE;
                continue;
            }
            let first = (0..at).rev().take_while(|number| is_text(group(*number))).last().unwrap_or(at);
            let last = (at..groups).take_while(|number| is_text(group(*number))).last().unwrap_or(at);
            if last - first + 1 >= GROUPS_IN_CANDIDATE {
                // Include the partial groups on both sides.
                let start = phase + first.saturating_sub(1) * GROUP.1;
                let end = characters.len().min(phase + (last + 2) * GROUP.1);
                let decoded = decode(&characters[start..end]);
                forms(&decoded, &Plain::ALL, depth - 1, &mut |candidate, place| {
                    let from = start + place.start * GROUP.1 / GROUP.0;
                    let to = start + (place.end * GROUP.1).div_ceil(GROUP.0);
                    visit(candidate, block.origin(from)..block.origin(to));
                });
            }
            at = last + 1 + GROUPS_IN_CANDIDATE;
        }
    }
}

/// Returns true if every byte of a decoded group can belong to a candidate or an encoded form, or is a zero of UTF-16.
fn is_text(group: &[u8]) -> bool {
    let [_, bytes @ ..] = bits(group).to_be_bytes();
    bytes.iter().all(|byte| *byte == 0 || ENCODED.has(*byte))
}

fn decode(characters: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(characters.len()));
    for group in characters.chunks(GROUP.1) {
        let bits = bits(group) << (6 * (GROUP.1 - group.len()));
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    decoded
}

fn bits(group: &[u8]) -> u32 {
    group.iter().fold(0, |bits, character| (bits << 6) | u32::from(BASE64[usize::from(*character)]))
}

/// Searches text in UTF-16 of either byte order, at any offset: ASCII characters that alternate with zeros.
fn utf16(bytes: &[u8], depth: usize, visit: &mut Visit<'_>) {
    let is_text =
        |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    // `contains` is much faster than searching for the position.
    if !bytes.contains(&0) {
        return;
    }
    let mut from = 0;
    while let Some(zero) = bytes[from..].iter().position(|byte| *byte == 0).map(|at| from + at) {
        let zeros = bytes[zero..].iter().take_while(|byte| **byte == 0).count();
        // Of several zeros, the last one begins a character.
        let last = zero + zeros - 1;
        let before = last.checked_sub(1).filter(|_| zeros == 1);
        let start = before.filter(|before| is_text(bytes.get(*before))).unwrap_or(last + 1);
        let mut at = last;
        while bytes.get(at) == Some(&0) && is_text(bytes.get(at + 1)) {
            at += 2;
        }
        // The next text may begin with the zero at the end of this one.
        from = at.max(last + 1);
        let length = (at + 1).saturating_sub(start) / 2;
        if length < SHORTEST - 1 {
            continue;
        }
        let text: Zeroizing<Vec<u8>> =
            Zeroizing::new(bytes[start..].iter().step_by(2).take(length).copied().collect());
        forms(&text, &Plain::ALL, depth - 1, &mut |candidate, place| {
            visit(candidate, start + 2 * place.start..start + 2 * place.end);
        });
    }
}
