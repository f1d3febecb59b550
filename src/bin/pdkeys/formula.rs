//! Cells of CSV that a spreadsheet would compute.
//!
//! A spreadsheet takes a cell that begins with one of a few characters for a formula, which can call programs and fetch
//! addresses. A single quote before it makes it text. So that every text comes back, one that begins with quotes
//! before such a character gets one more, and reading takes one away.

use std::borrow::Cow;

/// What a formula begins with: the list of OWASP, with the wide forms that some spreadsheets take as well.
const BEGINNINGS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
const QUOTE: char = '\'';

/// Puts a quote before what would be computed.
pub(crate) fn guard(cell: &str) -> Cow<'_, str> {
    if cell.trim_start_matches(QUOTE).starts_with(BEGINNINGS) {
        Cow::Owned(format!("{QUOTE}{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Takes the quote off again.
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
