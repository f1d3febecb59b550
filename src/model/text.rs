//! Text that people give to things: checked on the way in, escaped on the way out.
//!
//! Nothing that a key is called can move a cursor, hide a line or turn the reading direction round, and no two things
//! have names that differ in case, in Unicode form or in what cannot be seen.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use caseless::Caseless as _;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::model::{Error, Id, Noun, Result};

/// The longest label, in characters.
pub(crate) const MAX_CHARS: usize = 255;

/// Whether a character can do more than be shown: C0 and C1 controls, DEL, bidirectional marks and overrides,
/// line and paragraph separators.
#[must_use]
pub fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character may leave nothing to be seen: Unicode's default-ignorable code points (`DerivedCoreProperties`;
/// what is unassigned there is reserved for more of them), the other format controls that no letter is drawn for, and
/// symbols that are drawn as blanks.
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

/// Whether a character is escaped on the way out.
#[must_use]
pub fn is_escaped(character: char) -> bool {
    is_hazardous(character) || is_invisible(character)
}

/// Shows hazardous and invisible characters as `\u{..}`, so that text from anywhere can go to a terminal, and no two
/// texts look alike because of what cannot be seen.
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

fn check<'t>(what: &'static str, text: &'t str) -> Result<&'t str> {
    let length = text.chars().count();
    if length > MAX_CHARS {
        return Err(Error::invalid(what, format!("{length} characters long; {MAX_CHARS} are allowed")));
    }
    // Before the blanks go: a line end is a control character, and blank to Unicode.
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
    /// Checks a text that a user gave: not empty, at most 255 characters, nothing hazardous. Blanks around it go.
    ///
    /// # Errors
    /// If it breaks one of these rules; `what` names it in the message.
    pub fn parse(what: &'static str, text: &str) -> Result<Self> {
        check(what, text).map(|text| Self(text.to_owned()))
    }

    /// Takes back what the store kept. It is not checked again: a text that somebody wrote there by other means must
    /// not keep its key from being listed and disabled. It is escaped on the way out.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
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

/// What a name is compared by: Unicode's compatibility caseless matching (section 3.13, D146).
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
    /// Checks a name for a `noun`: as a [`Label`], without invisible characters, and not of the shape that the noun's
    /// ids have, lest one thing's name be taken for another's id. It is kept in Unicode's normalization form C.
    ///
    /// # Errors
    /// If it breaks one of these rules.
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

    /// Whether two names are the same but for case, width and Unicode form. Of things that are found by name, no two of
    /// a noun are.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        fold(&self.0) == fold(&other.0)
    }

    /// Takes back what the store kept, unchecked for the reasons of [`Label::stored`]: one hostile name must not keep
    /// everybody from everything. Its bearer is still found by id.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
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
    fn a_label_refuses_what_could_harm_a_terminal() {
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
    fn what_unicode_calls_default_ignorable_is_invisible() {
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
    fn a_name_of_an_ids_shape_is_refused_for_that_noun() {
        assert!(Name::parse(Noun::User, "U7Q2M4DX3").is_err());
        assert!(Name::parse(Noun::User, "u7q2m4dx3").is_err());
        assert!(
            Name::parse(Noun::User, "sarahjane").is_ok(),
            "a service's shape, but nobody looks for a service"
        );
    }
}
