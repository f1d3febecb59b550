//! Names, descriptions and other text from users: validated on input, escaped on output.
//!
//! Such text cannot move the cursor of a terminal, hide a line or reverse the reading direction, and no two names differ
//! only in case, Unicode form or invisible characters.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use caseless::Caseless as _;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::model::{Error, Id, Noun, Result};

/// The longest label, in characters.
pub(crate) const MAX_CHARS: usize = 255;

/// Returns true if a character can affect how other text is displayed: C0 and C1 controls, DEL, bidirectional marks and
/// overrides, line and paragraph separators.
#[must_use]
pub fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns true if a character may be displayed as nothing or as a blank: Unicode's default-ignorable code points
/// (`DerivedCoreProperties`, including unassigned ones reserved for them), other format controls without a glyph, and
/// symbols whose glyph is blank.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    !character.is_ascii()
        && matches!(
            character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E0FFF}'
                // Format controls that are not default-ignorable.
                | '\u{FFF9}'..='\u{FFFB}' | '\u{13430}'..='\u{1343F}'
                // An empty braille cell, and a musical note without a head.
                | '\u{2800}' | '\u{1D159}'
        )
}

/// Returns true if [`escape`] replaces the character.
#[must_use]
pub fn is_escaped(character: char) -> bool {
    is_hazardous(character) || is_invisible(character)
}

/// Replaces hazardous and invisible characters by `\u{..}`, so that text of any origin is safe to print to a terminal,
/// and texts that differ in invisible characters look different.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_escaped(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Validates a line of text, and trims blanks around it. `what` names the text in errors.
fn check<'t>(what: &'static str, text: &'t str) -> Result<&'t str> {
    let length = text.chars().count();
    if length > MAX_CHARS {
        return Err(Error::invalid(what, format!("{length} characters long; {MAX_CHARS} are allowed")));
    }
    // Checked before trimming, because a line ending is both a control character and a blank.
    if let Some(character) = text.chars().find(|character| is_hazardous(*character)) {
        return Err(Error::invalid(
            what,
            format!("must not contain control characters ({})", character.escape_unicode()),
        ));
    }
    match text.trim() {
        "" => Err(Error::invalid(what, "must not be empty")),
        text => Ok(text),
    }
}

/// A line of free text: a description, a reason, an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Label(String);

impl Label {
    /// Validates text from a user, and trims blanks around it. `what` names the text in errors.
    ///
    /// # Errors
    /// If the text is empty, is longer than 255 characters, or contains a hazardous character.
    pub fn parse(what: &'static str, text: &str) -> Result<Self> {
        check(what, text).map(|text| Self(text.to_owned()))
    }

    /// Creates a label from its stored text, without validation: a key whose description was written to the database by
    /// other means must still be listed and disabled. `Display` escapes it.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, not escaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse("text", text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.0))
    }
}

/// Returns the form in which names are compared: Unicode's compatibility caseless matching (section 3.13, D146).
pub(crate) fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().nfd().default_case_fold().nfkd().default_case_fold().nfkd().collect()
}

/// A name that can be used in place of an id: of a user, a service, an orchestration or an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Validates the name of a resource, and converts it to Unicode's normalization form C.
    ///
    /// # Errors
    /// If the text is not a valid [`Label`], contains an invisible character, begins with `-`, or has the shape of an id
    /// of this noun, for which it could be mistaken.
    pub fn parse(noun: Noun, text: &str) -> Result<Self> {
        let text: String = text.nfc().collect();
        let text = check("name", &text)?;
        if let Some(character) = text.chars().find(|character| is_invisible(*character)) {
            let why = format!("must not contain invisible characters ({})", character.escape_unicode());
            return Err(Error::invalid("name", why));
        }
        if fold(text).parse::<Id>().is_ok_and(|id| id.noun() == noun) {
            return Err(Error::invalid("name", format!("{text} has the shape of an id")));
        }
        if text.starts_with('-') {
            return Err(Error::invalid("name", "must not begin with -"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns true if two names differ at most in case, width and Unicode form. Resources of one noun never have names
    /// that are alike.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        fold(&self.0) == fold(&other.0)
    }

    /// Creates a name from its stored text, without validation, as [`Label::stored`] does. A resource with an invalid
    /// name is still found by its id.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, not escaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_refuses_hazardous_characters() {
        for text in ["", "   ", "a\u{1b}[2J", "a\nb", "a\u{7f}", "a\u{85}", "a\u{202e}b", "a\u{2066}b"] {
            assert!(Label::parse("description", text).is_err(), "{text:?}");
        }
        assert!(Label::parse("description", &"x".repeat(10_000)).is_err());
        assert!(Label::parse("description", &"é".repeat(255)).is_ok());
        assert_eq!(Label::parse("description", "  nightly deploy ").unwrap().as_str(), "nightly deploy");
    }

    #[test]
    fn escaping_leaves_nothing_hazardous() {
        assert_eq!(escape("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert!(matches!(escape("plain ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn default_ignorable_code_points_are_invisible() {
        let ignorable = regex::Regex::new(r"^\p{Default_Ignorable_Code_Point}$").unwrap();
        let unseen = |character: char| {
            ignorable.is_match(character.encode_utf8(&mut [0; 4]))
                || matches!(character, '\u{FFF9}'..='\u{FFFB}' | '\u{13430}'..='\u{1343F}' | '\u{2800}' | '\u{1D159}')
        };
        let differing = ('\0'..=char::MAX).find(|character| is_invisible(*character) != unseen(*character));
        assert_eq!(differing, None);
    }

    #[test]
    fn names_that_look_the_same_are_alike_and_are_kept_in_one_form() {
        let name = |text: &str| Name::parse(Noun::User, text).unwrap();
        for (one, other) in [
            ("ada", "ADA"),
            ("zo\u{eb}", "Zoe\u{308}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3bb}\u{3cc}\u{3b3}\u{3bf}\u{3c2}", "\u{39b}\u{38c}\u{393}\u{39f}\u{3a3}"),
            ("\u{ff21}da", "ada"),
            ("o\u{fb03}ce", "office"),
            ("a\u{a0}b", "a b"),
            ("\u{212b}ngstr\u{f6}m", "\u{c5}NGSTR\u{d6}M"),
        ] {
            assert!(name(one).is_like(&name(other)), "{one} {other}");
        }
        for (one, other) in [("ada", "adb"), ("e", "\u{e9}"), ("a b", "ab"), ("web1", "web2")] {
            assert!(!name(one).is_like(&name(other)), "{one} {other}");
        }
        assert_eq!(name("Zoe\u{308}").as_str(), "Zo\u{eb}");
        for text in [
            "ad\u{200b}a",
            "ada\u{ad}",
            "\u{3164}",
            "ada\u{e0041}",
            "ada\u{fe0f}",
            "a\u{2800}",
            "\u{feff}ada",
        ] {
            assert!(Name::parse(Noun::User, text).is_err(), "{text:?}");
            assert!(Label::parse("description", text).is_ok(), "{text:?}");
            assert!(escape(text).contains("\\u{"), "{text:?}");
        }
        assert!(Name::parse(Noun::User, "\u{ff35}7Q2M4DX3").is_err(), "alike to an id");
    }

    #[test]
    fn a_name_with_the_shape_of_an_id_of_its_noun_is_refused() {
        assert!(Name::parse(Noun::User, "U7Q2M4DX3").is_err());
        assert!(Name::parse(Noun::User, "u7q2m4dx3").is_err());
        assert!(
            Name::parse(Noun::User, "sarahjane").is_ok(),
            "it has the shape of the id of a service, not of a user"
        );
    }
}
