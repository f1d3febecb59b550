//! Ids: a letter for the noun, and eight random characters of Crockford's base 32.
//!
//! Random ids reveal neither order nor count, and these are short enough to be read out over the phone. Parsing ignores
//! case and corrects the characters that Crockford's alphabet leaves out: `I` and `L` to 1, `O` to 0.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Error, Result};
use crate::ports::Entropy;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_LEN: usize = 8;

/// A kind of resource in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Noun {
    /// The account. It has no id, since a store holds one account.
    Account,
    /// A general access key.
    GeneralKey,
    /// A user's personal token.
    UserToken,
    /// A registered app.
    App,
    /// A user.
    User,
    /// A service.
    Service,
    /// An event orchestration.
    Orchestration,
    /// An integration of a service or an orchestration.
    Integration,
    /// A token of an app. It is identified by the id of its app.
    AppToken,
}

impl Noun {
    /// Every noun.
    pub const ALL: [Self; 9] = [
        Self::Account,
        Self::GeneralKey,
        Self::UserToken,
        Self::App,
        Self::User,
        Self::Service,
        Self::Orchestration,
        Self::Integration,
        Self::AppToken,
    ];

    /// Returns the first letter of ids of this noun; `None` for nouns without ids.
    const fn letter(self) -> Option<u8> {
        match self {
            Self::Account | Self::AppToken => None,
            Self::GeneralKey => Some(b'K'),
            Self::UserToken => Some(b'T'),
            Self::App => Some(b'A'),
            Self::User => Some(b'U'),
            Self::Service => Some(b'S'),
            Self::Orchestration => Some(b'O'),
            Self::Integration => Some(b'I'),
        }
    }

    /// Returns the resource type in audit records.
    #[must_use]
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::GeneralKey => "general_key",
            Self::UserToken => "user_token",
            Self::App => "app",
            Self::User => "user",
            Self::Service => "service",
            Self::Orchestration => "orchestration",
            Self::Integration => "integration",
            Self::AppToken => "app_token",
        }
    }
}

/// Writes the word that messages use.
impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Account => "account",
            Self::GeneralKey => "key",
            Self::UserToken => "token",
            Self::App => "app",
            Self::User => "user",
            Self::Service => "service",
            Self::Orchestration => "orchestration",
            Self::Integration => "integration",
            Self::AppToken => "app token",
        })
    }
}

/// The id of a resource in the store, such as `K7Q2M4DX3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    noun: Noun,
    random: [u8; RANDOM_LEN],
}

impl Id {
    /// Draws a random id. The caller must check that it is not taken.
    ///
    /// # Errors
    /// If no random bytes are available, or the noun has no ids.
    pub fn generate(noun: Noun, entropy: &mut dyn Entropy) -> Result<Self> {
        if noun.letter().is_none() {
            return Err(Error::invalid("id", format!("the {noun} has none")));
        }
        let mut random = [0; RANDOM_LEN];
        entropy.fill(&mut random)?;
        // Five bits of a byte are uniform, because 256 is a multiple of 32.
        for byte in &mut random {
            *byte = ALPHABET[usize::from(*byte & 31)];
        }
        Ok(Self { noun, random })
    }

    /// Returns the id of a user that does not exist, for asking what any user of a role may do.
    pub(crate) const fn nobody() -> Self {
        Self { noun: Noun::User, random: [b'0'; RANDOM_LEN] }
    }

    /// Returns a hash of the id. Ids are random, so that two of their characters are enough.
    pub(crate) fn spread(self) -> usize {
        self.random.iter().rev().take(2).fold(0, |sum, byte| sum * 32 + usize::from(byte % 32))
    }

    /// Returns the noun of the resource.
    #[must_use]
    pub const fn noun(self) -> Noun {
        self.noun
    }

    /// Returns the ids from which `typed` differs by one typing error: a character wrong, missing, added, or two
    /// neighbours exchanged.
    pub(crate) fn neighbours(noun: Noun, typed: &str) -> Vec<Self> {
        let mut typed = typed.to_ascii_uppercase().into_bytes();
        if typed.len() > RANDOM_LEN + 2 {
            return Vec::new();
        }
        if let Some(letter) = noun.letter()
            && typed.len() == RANDOM_LEN
            && typed.first() != Some(&letter)
        {
            typed.insert(0, letter);
        }
        let mut spellings = vec![typed.clone()];
        for at in 0..=typed.len() {
            for &character in ALPHABET {
                let mut longer = typed.clone();
                longer.insert(at, character);
                spellings.push(longer);
                if at < typed.len() {
                    let mut replaced = typed.clone();
                    replaced[at] = character;
                    spellings.push(replaced);
                }
            }
            if at < typed.len() {
                let mut shorter = typed.clone();
                shorter.remove(at);
                spellings.push(shorter);
            }
            if at + 1 < typed.len() {
                let mut exchanged = typed.clone();
                exchanged.swap(at, at + 1);
                spellings.push(exchanged);
            }
        }
        let mut ids: Vec<Self> = spellings
            .into_iter()
            .filter_map(|spelling| String::from_utf8(spelling).ok()?.parse::<Self>().ok())
            .filter(|id| id.noun == noun)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shape = || Error::invalid("id", "not a letter and eight letters or digits");
        let [letter, rest @ ..] = text.as_bytes() else { return Err(shape()) };
        let letter = letter.to_ascii_uppercase();
        let noun = Noun::ALL.into_iter().find(|noun| noun.letter() == Some(letter)).ok_or_else(shape)?;
        let mut random: [u8; RANDOM_LEN] = rest.try_into().map_err(|_| shape())?;
        for byte in &mut random {
            *byte = match byte.to_ascii_uppercase() {
                b'I' | b'L' => b'1',
                b'O' => b'0',
                other @ (b'0'..=b'9'
                | b'A'..=b'H'
                | b'J'
                | b'K'
                | b'M'
                | b'N'
                | b'P'..=b'T'
                | b'V'..=b'Z') => other,
                _ => return Err(shape()),
            };
        }
        Ok(Self { noun, random })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(1 + RANDOM_LEN);
        text.extend(self.noun.letter().map(char::from));
        text.extend(self.random.map(char::from));
        f.pad(&text)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_any_case_and_with_crockfords_corrections() {
        let id: Id = "k7q2m4dx3".parse().unwrap();
        assert_eq!(id.to_string(), "K7Q2M4DX3");
        assert_eq!("KOIL00000".parse::<Id>().unwrap().to_string(), "K01100000");
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in ["", "K", "K7Q2M4DX", "K7Q2M4DX33", "X7Q2M4DX3", "K7Q2M4DXU", "Kééééé", "é7Q2M4DX3"]
        {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn neighbours_contain_the_id_that_one_typing_error_made() {
        let id: Id = "K7Q2M4DX3".parse().unwrap();
        for typed in ["K7Q2M4DX4", "K7Q2M4DX", "K7Q2M4DDX3", "K7Q2M4XD3", "7Q2M4DX3", "k7q2n4dx3"] {
            assert!(Id::neighbours(Noun::GeneralKey, typed).contains(&id), "{typed}");
        }
        assert!(!Id::neighbours(Noun::GeneralKey, "K7Q2M4DY4").contains(&id), "two errors");
    }
}
