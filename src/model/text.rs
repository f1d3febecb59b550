//! Text that people give to things: checked on the way in, escaped on the way out.
//!
//! Nothing that a key is called can move a cursor, hide a line or turn the reading direction round.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Id, Noun};

/// The longest label, in characters.
pub(crate) const MAX_CHARS: usize = 255;

/// Whether a character can do more than be shown: C0 and C1 controls, DEL, bidirectional marks and overrides,
/// line and paragraph separators.
#[must_use]
pub fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Shows hazardous characters as `\u{..}`, so that text from anywhere can go to a terminal.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazardous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hazardous(character) {
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

/// A name that can be used in place of an id: of a user, a service, an orchestration or an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Checks a name for a `noun`: as a [`Label`], and not of the shape that the noun's ids have, lest one thing's
    /// name be taken for another's id.
    ///
    /// # Errors
    /// If it breaks one of these rules.
    pub fn parse(noun: Noun, text: &str) -> Result<Self> {
        let text = check("name", text)?;
        if text.parse::<Id>().is_ok_and(|id| id.noun() == noun) {
            return Err(Error::invalid("name", format!("{text} has the shape of an id")));
        }
        if text.starts_with('-') {
            return Err(Error::invalid("name", "must not begin with -"));
        }
        Ok(Self(text.to_owned()))
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
    fn a_name_of_an_ids_shape_is_refused_for_that_noun() {
        assert!(Name::parse(Noun::User, "U7Q2M4DX3").is_err());
        assert!(Name::parse(Noun::User, "u7q2m4dx3").is_err());
        assert!(
            Name::parse(Noun::User, "sarahjane").is_ok(),
            "a service's shape, but nobody looks for a service"
        );
    }
}
