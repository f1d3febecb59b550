//! Keeps spreadsheets from computing cells of CSV.
//!
//! A spreadsheet treats a cell that begins with one of a few characters as a formula, which can run programs and fetch
//! addresses. A single quote before it makes it text. A text that begins with quotes before such a character gets one
//! more, so that reading can always take one away.

use std::borrow::Cow;

/// The first characters of formulas: the list of OWASP, and the full-width forms that some spreadsheets accept.
const BEGINNINGS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
const QUOTE: char = '\'';

/// Adds a quote before a cell that would be computed.
pub(crate) fn guard(cell: &str) -> Cow<'_, str> {
    if cell.trim_start_matches(QUOTE).starts_with(BEGINNINGS) {
        Cow::Owned(format!("{QUOTE}{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Removes the quote again.
pub(crate) fn unguard(cell: &str) -> &str {
    match cell.strip_prefix(QUOTE) {
        Some(rest) if rest.trim_start_matches(QUOTE).starts_with(BEGINNINGS) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_guarded_is_no_formula_and_comes_back() {
        for cell in [
            "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", "＝1", "＠x", "'=1", "''-1", "'", "''",
            "'a", "a=1", "", " =1",
        ] {
            let guarded = guard(cell);
            assert!(!guarded.starts_with(BEGINNINGS), "{cell:?}");
            assert_eq!(unguard(&guarded), cell);
        }
        assert_eq!([guard("'a"), guard("a=1"), guard("'=1")], ["'a", "a=1", "''=1"]);
    }
}
