//! Writes JSON that is safe to show on a terminal.

use std::io::{self, Write};

use pdkeys::model::is_escaped;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// Writes a record indented, over several lines.
pub(crate) fn write_pretty<R: Serialize>(out: impl Write, record: &R) -> io::Result<()> {
    write(out, PrettyFormatter::new(), record)
}

/// Writes a record on one line, without a line end.
pub(crate) fn write_compact<R: Serialize>(out: impl Write, record: &R) -> io::Result<()> {
    write(out, CompactFormatter, record)
}

/// Writes a record on one line, with a line end.
pub(crate) fn write_line<R: Serialize>(out: &mut impl Write, record: &R) -> io::Result<()> {
    write_compact(&mut *out, record)?;
    out.write_all(b"\n")
}

/// Returns a record as one compact JSON value in bytes.
pub(crate) fn to_bytes<R: Serialize>(record: &R) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_compact(&mut bytes, record)?;
    Ok(bytes)
}

fn write<R: Serialize>(out: impl Write, formatter: impl Formatter, record: &R) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, EscapingFormatter(formatter));
    record.serialize(&mut serializer).map_err(io::Error::from)
}

/// Escapes characters that could move a terminal's cursor or change the reading direction. JSON itself requires that only
/// for C0 control characters.
struct EscapingFormatter<F>(F);

macro_rules! delegate_to_inner {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$name(writer $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for EscapingFormatter<F> {
    delegate_to_inner! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Most text is plain ASCII and has nothing to escape.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_could_move_a_cursor_and_reads_back_the_same() {
        let text = "a\u{7f}\u{85}\u{202e}é\"\\\u{1b}\u{200b}\u{e0041}";
        let mut bytes = Vec::new();
        write_compact(&mut bytes, &text).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "\"a\\u007f\\u0085\\u202eé\\\"\\\\\\u001b\\u200b\\udb40\\udc41\""
        );
        assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
    }
}
