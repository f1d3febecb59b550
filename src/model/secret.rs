//! Secrets: how they are generated, what shapes they have, and their one-way conversion to a fingerprint.
//!
//! A [`Secret`] can be turned into a [`Fingerprint`], never back. Only this file can read the text of one: it is wiped
//! on drop, its `Debug` shows the hint, and it has neither `Display` nor `Serialize`. Input from outside is made a
//! `Secret` before it is inspected.
//!
//! The shape of a credential determines its kind, so that a malformed or misplaced one is recognised without asking the
//! store.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::model::{Error, Id, Keyring, Result, Sealed};
use crate::ports::Entropy;

pub(crate) static REST: Alphabet =
    Alphabet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
static ALPHANUMERIC: Alphabet =
    Alphabet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
pub(crate) static UPPER_ALPHANUMERIC: Alphabet = Alphabet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
pub(crate) static LOWER_HEX: Alphabet = Alphabet::of(b"0123456789abcdef");
/// The values of the variant digit of a random UUID (RFC 9562, section 4.1).
static UUID_VARIANT: Alphabet = Alphabet::of(b"89ab");

/// The prefix of a client secret, and the number of random characters after it.
const CLIENT_SECRET: &[u8] = b"pdcs_";
const CLIENT_SECRET_RANDOM: usize = 43;

/// A set of characters that secrets are made of, for drawing random ones and for recognising shapes.
pub(crate) struct Alphabet {
    characters: &'static [u8],
    /// Whether each byte is in the alphabet. A table, because every check asks it for every byte of a key.
    has: [bool; 256],
}

impl Alphabet {
    /// Creates an alphabet of ASCII characters.
    pub(crate) const fn of(characters: &'static [u8]) -> Self {
        let mut has = [false; 256];
        let mut at = 0;
        while at < characters.len() {
            has[characters[at] as usize] = true;
            at += 1;
        }
        Self { characters, has }
    }

    /// Returns true if the byte is one of the characters.
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.has[usize::from(byte)]
    }

    /// Returns true if the text consists of these characters alone.
    fn spells(&self, text: &[u8]) -> bool {
        text.iter().all(|byte| self.has(*byte))
    }
}

/// The four kinds of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// A general access REST key.
    General,
    /// A user's personal REST key.
    UserToken,
    /// A one-day bearer token of a registered app.
    AppToken,
    /// The key of an integration, for the Events API.
    Integration,
}

impl CredentialKind {
    /// Returns the name of the kind, as in verdicts and lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::UserToken => "user-token",
            Self::AppToken => "app-token",
            Self::Integration => "integration",
        }
    }

    /// Returns the kind of credential that has the shape of `text`.
    #[must_use]
    pub fn of_shape(text: &[u8]) -> Option<Self> {
        match text {
            [b'u', b'+', rest @ ..] if rest.len() == 18 && REST.spells(rest) => Some(Self::UserToken),
            _ if text.len() == 20 && REST.spells(text) => Some(Self::General),
            _ if text.len() == 32 && LOWER_HEX.spells(text) => Some(Self::Integration),
            [b'R', rest @ ..] if rest.len() == 31 && UPPER_ALPHANUMERIC.spells(rest) => {
                Some(Self::Integration)
            }
            [b'p', b'd', b'u', b's', b'+', b'_', b'0', rest @ ..] => match rest.split_at_checked(6) {
                Some((tag, [b'_', uuid @ ..])) if UPPER_ALPHANUMERIC.spells(tag) && is_uuid(uuid) => {
                    Some(Self::AppToken)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Returns true if the text has the shape of a secret, client secrets included. Messages must not repeat such text.
#[must_use]
pub fn looks_secret(text: &[u8]) -> bool {
    CredentialKind::of_shape(text).is_some() || is_client_secret(text)
}

/// Returns true if the text has the shape of a client secret.
pub(crate) fn is_client_secret(text: &[u8]) -> bool {
    text.strip_prefix(CLIENT_SECRET)
        .is_some_and(|rest| rest.len() == CLIENT_SECRET_RANDOM && REST.spells(rest))
}

impl FromStr for CredentialKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::General, Self::UserToken, Self::AppToken, Self::Integration]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid("kind", "must be general, user-token, app-token or integration"))
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => LOWER_HEX.has(*byte),
        })
}

/// The plaintext of a credential, or a client secret of an app.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps text that was presented, whatever its shape.
    #[must_use]
    pub fn presented(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Draws a general key: 20 characters, at least 119 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn general_key(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.one_of(&ALPHANUMERIC)?.many_of(&REST, 18)?.one_of(&ALPHANUMERIC)?;
        Ok(draw.finish())
    }

    /// Draws a user token: `u+` and 18 characters, at least 107 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn user_token(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.text.push_str("u+");
        draw.many_of(&REST, 17)?.one_of(&ALPHANUMERIC)?;
        Ok(draw.finish())
    }

    /// Draws an app token: `pdus+_0`, six upper-case letters and digits, `_` and a random UUID; 153 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn app_token(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.text.push_str("pdus+_0");
        draw.many_of(&UPPER_ALPHANUMERIC, 6)?.text.push('_');
        draw.many_of(&LOWER_HEX, 8)?.text.push('-');
        // Version 4, and the variant of RFC 9562: a random UUID.
        draw.many_of(&LOWER_HEX, 4)?.text.push_str("-4");
        draw.many_of(&LOWER_HEX, 3)?.text.push('-');
        draw.one_of(&UUID_VARIANT)?.many_of(&LOWER_HEX, 3)?.text.push('-');
        draw.many_of(&LOWER_HEX, 12)?;
        Ok(draw.finish())
    }

    /// Draws a client secret: `pdcs_` and 43 characters, at least 257 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn client_secret(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.text.extend(CLIENT_SECRET.iter().copied().map(char::from));
        draw.many_of(&REST, CLIENT_SECRET_RANDOM - 1)?.one_of(&ALPHANUMERIC)?;
        Ok(draw.finish())
    }

    /// Draws the integration key of a service: 32 lower-case hexadecimal digits, 128 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn service_integration_key(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.many_of(&LOWER_HEX, 32)?;
        Ok(draw.finish())
    }

    /// Draws the integration key of an orchestration: an `R` and 31 upper-case letters and digits, 160 bits.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn orchestration_integration_key(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut draw = Draw::new(entropy);
        draw.text.push('R');
        draw.many_of(&UPPER_ALPHANUMERIC, 31)?;
        Ok(draw.finish())
    }

    /// Encrypts an integration key for the integration `id`, so that it can be shown again.
    pub(crate) fn seal(&self, keyring: &Keyring, id: Id, entropy: &mut dyn Entropy) -> Result<Sealed> {
        keyring.seal(id, self.0.as_bytes(), entropy)
    }

    /// Decrypts the integration key of the integration `id`.
    pub(crate) fn unseal(keyring: &Keyring, id: Id, sealed: &Sealed) -> Result<Self> {
        let plain = keyring.unseal(id, sealed)?;
        match std::str::from_utf8(&plain) {
            Ok(text) => Ok(Self(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(Error::Damaged(format!("the sealed key of {id} is no text"))),
        }
    }

    /// Returns the plaintext of an integration key, which remains visible to permitted users; `None` for any other
    /// secret.
    #[must_use]
    pub fn visible(&self) -> Option<&str> {
        (self.kind() == Some(CredentialKind::Integration)).then_some(self.0.as_str())
    }

    /// Returns the kind of credential that has this shape.
    #[must_use]
    pub fn kind(&self) -> Option<CredentialKind> {
        CredentialKind::of_shape(self.0.as_bytes())
    }

    /// Returns true if it has the shape of an orchestration's integration key, as opposed to a service's.
    pub(crate) fn is_of_orchestration(&self) -> bool {
        self.kind() == Some(CredentialKind::Integration) && self.0.starts_with('R')
    }

    /// Returns true if it has the shape of a client secret.
    #[must_use]
    pub fn is_client_secret(&self) -> bool {
        is_client_secret(self.0.as_bytes())
    }

    /// Returns true if it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the last four characters, by which people recognise the secret. If it is too short to reveal them, the
    /// hint is four asterisks.
    #[must_use]
    pub fn hint(&self) -> Hint {
        Hint::of(&self.0)
    }

    /// Computes the SHA-256 of the secret, from which the store's digest is derived.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }

    /// Returns the length in characters, and whether any of them is not an ASCII letter or digit.
    pub(crate) fn measure(&self) -> (usize, bool) {
        (self.0.chars().count(), !self.0.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// Replaces every occurrence of this secret in `text` by its hint.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        text.replace(self.0.as_str(), &format!("(a secret ending in {})", self.hint()))
    }

    /// Writes the plaintext, without a line ending.
    ///
    /// # Errors
    /// If writing to `out` fails.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.0.as_bytes())
    }
}

/// Shows the hint instead of the plaintext.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.hint())
    }
}

/// The last four characters of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hint(String);

impl Hint {
    const CHARS: usize = 4;
    /// The shortest secret of which four characters may be revealed.
    const SHORTEST: usize = 16;

    fn of(text: &str) -> Self {
        let length = text.chars().count();
        if length < Self::SHORTEST {
            return Self("*".repeat(Self::CHARS));
        }
        Self(text.chars().skip(length - Self::CHARS).collect())
    }

    /// Creates a hint from its stored text.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the four characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&super::escape(&self.0))
    }
}

/// The SHA-256 of a secret. It is never stored or shown; the store keeps a [`Digest`](crate::model::Digest) of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Wraps the SHA-256 of a secret that was computed elsewhere.
    #[must_use]
    pub const fn of_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Computes the SHA-256 of bytes that may be a secret.
    pub(crate) fn of(candidate: &[u8]) -> Self {
        Self(Sha256::digest(candidate).into())
    }

    /// Returns the bytes of the hash.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// A secret under construction: characters drawn without bias, in memory that is wiped on drop.
struct Draw<'e> {
    entropy: &'e mut dyn Entropy,
    text: Zeroizing<String>,
}

impl<'e> Draw<'e> {
    fn new(entropy: &'e mut dyn Entropy) -> Self {
        // Large enough for every shape: a reallocation would leave part of a secret behind in freed memory.
        Self { entropy, text: Zeroizing::new(String::with_capacity(64)) }
    }

    fn one_of(&mut self, alphabet: &Alphabet) -> Result<&mut Self> {
        let size = alphabet.characters.len();
        // Bytes at or above the largest multiple of the alphabet's size are rejected: they would favour its first
        // characters.
        let unbiased = 256 - 256 % size;
        loop {
            let mut byte = Zeroizing::new([0]);
            self.entropy.fill(byte.as_mut())?;
            let value = usize::from(byte[0]);
            if value < unbiased {
                self.text.push(char::from(alphabet.characters[value % size]));
                return Ok(self);
            }
        }
    }

    fn many_of(&mut self, alphabet: &Alphabet, count: usize) -> Result<&mut Self> {
        for _ in 0..count {
            self.one_of(alphabet)?;
        }
        Ok(self)
    }

    fn finish(self) -> Secret {
        Secret(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemEntropy;

    #[test]
    fn a_general_key_begins_and_ends_with_a_letter_or_digit() {
        for _ in 0..2_000 {
            let secret = Secret::general_key(&mut SystemEntropy).unwrap();
            let text = secret.0.as_bytes();
            assert_eq!(secret.kind(), Some(CredentialKind::General));
            assert!(text[0].is_ascii_alphanumeric() && text[19].is_ascii_alphanumeric());
        }
    }

    #[test]
    fn generated_secrets_have_the_shape_of_their_kind() {
        for _ in 0..500 {
            let token = Secret::user_token(&mut SystemEntropy).unwrap();
            assert_eq!(token.kind(), Some(CredentialKind::UserToken));
            assert!(token.0.as_bytes()[19].is_ascii_alphanumeric());
            let service = Secret::service_integration_key(&mut SystemEntropy).unwrap();
            assert_eq!((service.kind(), service.0.len()), (Some(CredentialKind::Integration), 32));
            let orchestration = Secret::orchestration_integration_key(&mut SystemEntropy).unwrap();
            assert_eq!(
                (orchestration.kind(), orchestration.0.len()),
                (Some(CredentialKind::Integration), 32)
            );
            let app = Secret::app_token(&mut SystemEntropy).unwrap();
            assert_eq!((app.kind(), app.0.len()), (Some(CredentialKind::AppToken), 50));
            let client = Secret::client_secret(&mut SystemEntropy).unwrap();
            assert_eq!((client.kind(), client.0.len()), (None, 48), "not a credential");
            assert!(looks_secret(client.0.as_bytes()) && looks_secret(app.0.as_bytes()));
            assert!(token.visible().is_none() && orchestration.visible().is_some());
        }
    }

    #[test]
    fn every_character_of_the_alphabet_is_drawn_equally_often() {
        let mut counts = [0_u32; 256];
        for _ in 0..4_000 {
            let secret = Secret::general_key(&mut SystemEntropy).unwrap();
            for byte in &secret.0.as_bytes()[1..19] {
                counts[usize::from(*byte)] += 1;
            }
        }
        // 72,000 draws of 64 characters: 1,125 expected, standard deviation 33.
        for byte in REST.characters {
            let count = counts[usize::from(*byte)];
            assert!((900..1_350).contains(&count), "{} was drawn {count} times", char::from(*byte));
        }
    }

    #[test]
    fn the_shape_determines_the_kind() {
        use CredentialKind::{AppToken, General, Integration, UserToken};
        for (text, kind) in [
            ("y_NbAkKc66ryYTWUXYEu", Some(General)),
            ("u+abcdefghij_-ABCDEF", Some(UserToken)),
            ("0123456789abcdef0123456789abcdef", Some(Integration)),
            ("R0123456789ABCDEFGHIJKLMNOPQRSTU", Some(Integration)),
            ("pdus+_0XBPWQQ_f8b6d7de-aaaa-4bbb-8ccc-0123456789ab", Some(AppToken)),
            ("pdus+_0XBPWQQ_f8b6d7de-aaaa-4bbb-8ccc-0123456789aB", None),
            ("", None),
            ("y_NbAkKc66ryYTWUXYE", None),
            ("y_NbAkKc66ryYTWUXYEu ", None),
            ("0123456789ABCDEF0123456789ABCDEF", None),
            ("u+abcdefghij_-ABCDE+", None),
            ("pdus+_0", None),
        ] {
            assert_eq!(CredentialKind::of_shape(text.as_bytes()), kind, "{text:?}");
        }
    }

    #[test]
    fn debug_shows_only_the_hint() {
        let secret = Secret::presented("y_NbAkKc66ryYTWUXYEu".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(XYEu)");
        assert_eq!(Secret::presented("password".to_owned()).hint().as_str(), "****");
        assert_eq!(format!("{:?}", secret.fingerprint()), "Fingerprint(..)");
    }
}
