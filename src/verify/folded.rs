//! Recognises non-ASCII code points that another program may convert to ASCII, or ignore.
//!
//! A program that normalises decoded text turns U+FE30 into `..` and U+2100 into `a/c`; one that ignores case turns
//! U+017F into `s`, so that it reads `/incident%C5%BF` as `/incidents`. The policy compares paths with ASCII literals,
//! so it could take a path with such a code point for one operation, and the API behind for another.
//!
//! Normalisation to other non-ASCII code points is harmless, since no literal contains any: `é` is the same path to the
//! policy in its composed and its decomposed form.

/// Code points that conversions to older character sets map to `%`, `/` or `\`, or that look like one of these, though
/// Unicode has no such mapping.
const LOOK_ALIKES: [char; 8] =
    ['\u{A5}', '\u{66A}', '\u{20A9}', '\u{2044}', '\u{2215}', '\u{2216}', '\u{29F5}', '\u{29F8}'];

/// The bounds of the ranges in ascending order: alternately the first code point of a range, and the first one after it.
///
/// The ranges contain the code points whose compatibility form (NFKC), or that of their upper or lower case, contains an
/// ASCII character; those that are default-ignorable; and those that are white space.
const BOUNDS: [u32; 314] = [
    0x85, 0x86, 0xa0, 0xa1, 0xa8, 0xa9, 0xaa, 0xab, 0xad, 0xae, 0xaf, 0xb0, 0xb2, 0xb5, 0xb8, 0xbb, 0xbc,
    0xbf, 0xdf, 0xe0, 0x130, 0x134, 0x13f, 0x141, 0x149, 0x14a, 0x17f, 0x180, 0x1c4, 0x1cd, 0x1f0, 0x1f4,
    0x2b0, 0x2b1, 0x2b2, 0x2b4, 0x2b7, 0x2b9, 0x2d8, 0x2de, 0x2e1, 0x2e4, 0x34f, 0x350, 0x37a, 0x37b, 0x37e,
    0x37f, 0x384, 0x386, 0x61c, 0x61d, 0x115f, 0x1161, 0x1680, 0x1681, 0x17b4, 0x17b6, 0x180b, 0x1810,
    0x1d2c, 0x1d2d, 0x1d2e, 0x1d2f, 0x1d30, 0x1d32, 0x1d33, 0x1d3b, 0x1d3c, 0x1d3d, 0x1d3e, 0x1d44, 0x1d47,
    0x1d4a, 0x1d4d, 0x1d4e, 0x1d4f, 0x1d51, 0x1d52, 0x1d53, 0x1d56, 0x1d59, 0x1d5b, 0x1d5c, 0x1d62, 0x1d66,
    0x1d9c, 0x1d9d, 0x1da0, 0x1da1, 0x1dbb, 0x1dbc, 0x1e96, 0x1e9b, 0x1fbd, 0x1fbe, 0x1fbf, 0x1fc2, 0x1fcd,
    0x1fd0, 0x1fdd, 0x1fe0, 0x1fed, 0x1ff0, 0x1ffd, 0x1fff, 0x2000, 0x2010, 0x2017, 0x2018, 0x2024, 0x2027,
    0x2028, 0x2030, 0x203c, 0x203d, 0x203e, 0x203f, 0x2047, 0x204a, 0x205f, 0x2072, 0x2074, 0x207b, 0x207c,
    0x208b, 0x208c, 0x208f, 0x2090, 0x2094, 0x2095, 0x20a0, 0x20a8, 0x20a9, 0x2100, 0x2104, 0x2105, 0x2107,
    0x2109, 0x210f, 0x2110, 0x2114, 0x2115, 0x2117, 0x2119, 0x211e, 0x2120, 0x2123, 0x2124, 0x2125, 0x2128,
    0x2129, 0x212a, 0x212b, 0x212c, 0x212e, 0x212f, 0x2132, 0x2133, 0x2135, 0x2139, 0x213a, 0x213b, 0x213c,
    0x2145, 0x214a, 0x2150, 0x2180, 0x2189, 0x218a, 0x2460, 0x24eb, 0x2a74, 0x2a77, 0x2c7c, 0x2c7e, 0x3000,
    0x3001, 0x309b, 0x309d, 0x3164, 0x3165, 0x3200, 0x321f, 0x3220, 0x3244, 0x3250, 0x3260, 0x32b1, 0x32d0,
    0x3358, 0x337b, 0x3380, 0x3400, 0xa7f1, 0xa7f5, 0xfb00, 0xfb07, 0xfb29, 0xfb2a, 0xfc5e, 0xfc64, 0xfdfa,
    0xfdfc, 0xfe00, 0xfe11, 0xfe13, 0xfe17, 0xfe19, 0xfe1a, 0xfe30, 0xfe31, 0xfe33, 0xfe39, 0xfe47, 0xfe51,
    0xfe52, 0xfe53, 0xfe54, 0xfe58, 0xfe59, 0xfe5d, 0xfe5f, 0xfe67, 0xfe68, 0xfe6c, 0xfe70, 0xfe71, 0xfe72,
    0xfe73, 0xfe74, 0xfe75, 0xfe76, 0xfe77, 0xfe78, 0xfe79, 0xfe7a, 0xfe7b, 0xfe7c, 0xfe7d, 0xfe7e, 0xfe7f,
    0xfeff, 0xff00, 0xff01, 0xff5f, 0xffa0, 0xffa1, 0xffe3, 0xffe4, 0xfff0, 0xfff9, 0x107a5, 0x107a6,
    0x1bca0, 0x1bca4, 0x1ccd6, 0x1ccfa, 0x1d173, 0x1d17b, 0x1d400, 0x1d455, 0x1d456, 0x1d49d, 0x1d49e,
    0x1d4a0, 0x1d4a2, 0x1d4a3, 0x1d4a5, 0x1d4a7, 0x1d4a9, 0x1d4ad, 0x1d4ae, 0x1d4ba, 0x1d4bb, 0x1d4bc,
    0x1d4bd, 0x1d4c4, 0x1d4c5, 0x1d506, 0x1d507, 0x1d50b, 0x1d50d, 0x1d515, 0x1d516, 0x1d51d, 0x1d51e,
    0x1d53a, 0x1d53b, 0x1d53f, 0x1d540, 0x1d545, 0x1d546, 0x1d547, 0x1d54a, 0x1d551, 0x1d552, 0x1d6a4,
    0x1d7ce, 0x1d800, 0x1f100, 0x1f10b, 0x1f110, 0x1f12f, 0x1f130, 0x1f150, 0x1f16a, 0x1f16d, 0x1f190,
    0x1f191, 0x1fbf0, 0x1fbfa, 0xe0000, 0xe1000,
];

/// Returns true if another program may convert a non-ASCII character to ASCII, or ignore it.
pub(super) fn may_be_folded(character: char) -> bool {
    let code_point = u32::from(character);
    LOOK_ALIKES.contains(&character) || BOUNDS.partition_point(|bound| *bound <= code_point) % 2 == 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;
    use std::iter;

    use regex::Regex;
    use unicode_normalization::UnicodeNormalization as _;

    use super::*;

    /// Returns true if the compatibility form of a text contains an ASCII character.
    fn turns_ascii(text: impl Iterator<Item = char>) -> bool {
        text.nfkc().any(|character| character.is_ascii())
    }

    /// Returns true if a program that normalises text, in any case, may convert a character to ASCII.
    fn may_read_as_ascii(character: char) -> bool {
        turns_ascii(iter::once(character))
            || turns_ascii(character.to_lowercase())
            || turns_ascii(character.to_uppercase())
            || turns_ascii(character.to_uppercase().flat_map(char::to_lowercase))
    }

    #[test]
    fn the_bounds_match_the_unicode_data() {
        let everything: String = ('\0'..=char::MAX).collect();
        let ignored: HashSet<char> = Regex::new(r"\p{Default_Ignorable_Code_Point}+")
            .unwrap()
            .find_iter(&everything)
            .flat_map(|run| run.as_str().chars())
            .collect();
        let is_meant = |character: char| {
            !character.is_ascii()
                && (character.is_whitespace() || ignored.contains(&character) || may_read_as_ascii(character))
        };
        let mut bounds = Vec::new();
        // Surrogates are not characters, and are in no range.
        for code_point in 0..=u32::from(char::MAX) + 1 {
            let is_in = bounds.len() % 2 == 1;
            if char::from_u32(code_point).is_some_and(is_meant) != is_in {
                bounds.push(code_point);
            }
        }
        let mut text = String::new();
        for bound in &bounds {
            write!(text, "0x{bound:x}, ").unwrap();
        }
        assert_eq!(BOUNDS.as_slice(), bounds, "BOUNDS is to be: {} of {text}", bounds.len());
    }

    #[test]
    fn only_code_points_that_may_become_ascii_or_nothing_are_recognised() {
        let leads = "\u{FE30}\u{2024}\u{FF0F}\u{2100}\u{37E}\u{FE68}\u{FF05}\u{FE54}\u{FE5F}\u{212A}\u{17F}\u{131}\u{DF}\u{FB01}\u{AD}\u{200D}\u{FE0F}\u{E0041}\u{3164}\u{A0}\u{1680}\u{2044}";
        for character in leads.chars() {
            assert!(may_be_folded(character), "{}", character.escape_unicode());
        }
        for character in "éÉñжЖ漢字🔑\u{301}\u{fffd}".chars().chain('\0'..='\x7f') {
            assert!(!may_be_folded(character), "{}", character.escape_unicode());
        }
    }
}
