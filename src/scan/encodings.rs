//! Finds candidates as they are, and in an encoded form: escaped, in Base64, or as UTF-16.
//!
//! Each form gives decoded views of a stretch of bytes, which are looked through in turn, so that a key is found that
//! was encoded more than once. A view holds one form only: `%5F` in a text that has `=AB` before it must not depend on
//! whether the latter is an escape. Positions stay those of the bytes that were read.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::model::{Alphabet, secret_patterns};

/// How often a candidate can have been encoded.
const DEPTH: usize = 3;
/// The shortest stretch that encodes a candidate: 18 characters, of which the last of a prefix is escaped.
const SHORTEST: usize = 21;
/// The fewest characters that encode a candidate in Base64: 18 bytes, wherever they begin.
const SHORTEST_BASE64: usize = 24;
/// The fewest characters in a line of Base64 that goes on in the next: it is wrapped at 64 or 76.
const WRAPPED: usize = 40;
/// How many bytes a group of Base64 characters decodes to, and how many these are.
const GROUP: (usize, usize) = (3, 4);
/// In every five groups that follow each other one is asked: no candidate has fewer whole groups.
const GROUPS_IN_CANDIDATE: usize = 5;
/// How many bytes on each side of a candidate's encoded form can matter to it: 64 characters, each escaped twice.
pub(super) const CONTEXT: usize = 2048;

/// Bytes of which the encoded forms are made, UTF-16 aside.
static ENCODED: Alphabet =
    Alphabet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/=%\\&#;");
/// What escapes begin with.
static LEADS: Alphabet = Alphabet::of(b"%\\&=");
/// The values of the characters of Base64, in either alphabet.
static BASE64: [u8; 256] = sextets();
/// Of what is no character of Base64.
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

/// Shows a candidate, and where the bytes are that encode it.
pub(super) type Visit<'v> = dyn FnMut(&[u8], Range<usize>) + 'v;

/// Which candidates are shown that stand in the bytes as they are; of those that are encoded, all are.
pub(super) struct Plain {
    /// Those in runs that begin here or later.
    pub(super) from: usize,
    /// Whether the bytes have ended, or a run may go on behind them.
    pub(super) ended: bool,
}

impl Plain {
    /// All of them.
    pub(super) const ALL: Self = Self { from: 0, ended: true };
}

/// Shows every candidate in some bytes. One that is encoded is shorter than what encodes it.
pub(super) fn each(bytes: &[u8], plain: &Plain, visit: &mut Visit<'_>) {
    forms(bytes, plain, DEPTH, visit);
}

/// Shows the candidates in some bytes, in what is encoded, and of that in what is encoded again. The first have no
/// bytes between them that the latter would not have, so that one pass finds the runs of both.
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

/// The next maximal run of what encoded forms are made of that is long enough for a candidate. Of as many bytes the
/// last is asked first.
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

/// What some bytes stand for, and where each of them comes from.
struct View {
    text: Zeroizing<Vec<u8>>,
    /// A position in the text, and the position that it comes from; between these, one byte is one byte.
    marks: Vec<(usize, usize)>,
    /// Where the text ends in what it comes from.
    end: usize,
}

impl View {
    /// Where a byte of the text comes from.
    fn origin(&self, at: usize) -> usize {
        if at >= self.text.len() {
            return self.end;
        }
        match self.marks[..self.marks.partition_point(|(decoded, _)| *decoded <= at)].last() {
            Some((decoded, from)) => from + (at - decoded),
            None => at,
        }
    }

    /// Shows the candidates that have escapes in them: the others stand in the bytes themselves.
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

    /// The text with escapes of one form resolved, if it has any.
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

/// A way to write a character by others.
#[derive(Clone, Copy)]
enum Escape {
    /// `%2B`, as in URLs.
    Percent,
    /// `\u002b`, `\x2b`, `\053` and `\_`, as in JSON, programs and Markdown.
    Backslash,
    /// `&#43;`, `&#x2b;` and `&plus;`, as in HTML and XML.
    Entity,
    /// `=2B`, as in mail.
    QuotedPrintable,
}

/// Entities with a name, of the characters that matter.
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

    /// The character that an escape stands for, and how long it is. Of what is not ASCII it does not matter what it is.
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

/// Reads digits up to an optional `;`, behind `before` bytes.
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

/// A character as a byte; one that is not ASCII as a byte that no candidate has.
fn ascii(value: u32) -> u8 {
    u8::try_from(value).ok().filter(u8::is_ascii).unwrap_or(u8::MAX)
}

/// Looks through Base64 in a run, which goes on in the next lines where it was wrapped; up to where that was done.
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

/// Whether a group that is asked stands for text.
fn may_encode(characters: &[u8]) -> bool {
    (0..GROUP.1).any(|phase| {
        let groups = characters[phase..].chunks_exact(GROUP.1);
        groups.step_by(GROUPS_IN_CANDIDATE).any(is_text)
    })
}

fn base64_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| BASE64[usize::from(*byte)] == NONE).unwrap_or(bytes.len())
}

/// A piece of Base64 with the lines that it goes on in.
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

/// Where the text of the next line begins, if this one ends here.
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

/// Looks through what Base64 stands for, wherever in it a group of four begins: something may stand before it without
/// anything between.
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
                // With what is left of a group on either side.
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

/// Whether each byte that a group stands for can belong to a candidate or its encoding; a zero to UTF-16.
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

/// Looks through text in UTF-16 of either order, at any offset: ASCII characters with a zero between each two.
fn utf16(bytes: &[u8], depth: usize, visit: &mut Visit<'_>) {
    let is_text =
        |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    // This is much faster than a search for where the first is.
    if !bytes.contains(&0) {
        return;
    }
    let mut from = 0;
    while let Some(zero) = bytes[from..].iter().position(|byte| *byte == 0).map(|at| from + at) {
        let zeros = bytes[zero..].iter().take_while(|byte| **byte == 0).count();
        // Of more than one, the last begins a character.
        let last = zero + zeros - 1;
        let before = last.checked_sub(1).filter(|_| zeros == 1);
        let start = before.filter(|before| is_text(bytes.get(*before))).unwrap_or(last + 1);
        let mut at = last;
        while bytes.get(at) == Some(&0) && is_text(bytes.get(at + 1)) {
            at += 2;
        }
        // What comes next may begin with the zero that this ends with.
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
