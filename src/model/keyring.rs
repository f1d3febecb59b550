//! The store key and what is derived from it: the lookup key, the seal key, the audit key.
//!
//! A secret is a uniform random string of 107 bits and more, so its digest needs no salt and no stretching. What
//! it needs is a key: without the store key a stolen database cannot be searched for a secret, short shapes and
//! four-character hints included.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::{ErrorKind, Result};
use crate::model::Fingerprint;
use crate::ports::Entropy;

/// The 32 random bytes in a file beside the store, without which the store's contents are worthless.
pub struct StoreKey(Zeroizing<[u8; Self::LEN]>);

impl StoreKey {
    /// The length of a store key in bytes.
    pub const LEN: usize = 32;

    /// Draws a new one.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        entropy.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// Takes the bytes of a key file; `None` if there are not 32 of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes for the key file.
    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// What the store holds of a secret, and finds a credential by: HMAC-SHA-256, under the lookup key, of the
/// secret's SHA-256. The inner hash lets keys be taken over of which only a SHA-256 is left.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// The keys derived from one store key by HKDF-SHA-256, ready for use.
#[derive(Clone)]
pub struct Keyring {
    lookup: Hmac<Sha256>,
    audit: Hmac<Sha256>,
    check: [u8; 32],
}

impl Keyring {
    /// Derives the keys.
    ///
    /// # Errors
    /// Never for a key of 32 bytes; the derivation's own bounds are checked all the same.
    pub fn new(store_key: &StoreKey) -> Result<Self> {
        let derivation = Hkdf::<Sha256>::new(None, store_key.as_bytes());
        let derive = |purpose: &str| -> Result<Zeroizing<[u8; 32]>> {
            let mut key = Zeroizing::new([0; 32]);
            derivation
                .expand(purpose.as_bytes(), key.as_mut())
                .map_err(|_| ErrorKind::Damaged("a key cannot be derived".to_owned()))?;
            Ok(key)
        };
        let mac = |key: &[u8; 32]| {
            Hmac::new_from_slice(key).map_err(|_| ErrorKind::Damaged("a key cannot be used".to_owned()))
        };
        Ok(Self {
            lookup: mac(&*derive("pdkeys 1 lookup")?)?,
            audit: mac(&*derive("pdkeys 1 audit")?)?,
            check: *derive("pdkeys 1 check")?,
        })
    }

    /// The digest of a secret.
    #[must_use]
    pub fn digest(&self, fingerprint: &Fingerprint) -> Digest {
        let mut mac = self.lookup.clone();
        mac.update(fingerprint.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }

    /// The end of the audit chain after `record` is linked to what was its end before.
    #[must_use]
    pub fn link(&self, end: &[u8; 32], record: &[u8]) -> [u8; 32] {
        let mut mac = self.audit.clone();
        mac.update(end);
        mac.update(record);
        mac.finalize().into_bytes().into()
    }

    /// A value that the store keeps to tell its own store key from another's. It gives nothing of the key away.
    #[must_use]
    pub fn check_value(&self) -> [u8; 32] {
        self.check
    }

    /// Whether a store that keeps this check value belongs to this store key.
    #[must_use]
    pub fn belongs_to(&self, check_value: &[u8]) -> bool {
        self.check.ct_eq(check_value).into()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(&StoreKey::from_bytes(&[byte; 32]).unwrap()).unwrap()
    }

    #[test]
    fn a_digest_depends_on_the_secret_and_on_the_store_key() {
        let fingerprint = |text: &str| Secret::presented(text.to_owned()).fingerprint();
        let one = keyring(1);
        assert_eq!(one.digest(&fingerprint("a")), one.digest(&fingerprint("a")));
        assert_ne!(one.digest(&fingerprint("a")), one.digest(&fingerprint("b")));
        assert_ne!(one.digest(&fingerprint("a")), keyring(2).digest(&fingerprint("a")));
    }

    /// The construction is fixed for ever: a changed one would orphan every stored key.
    #[test]
    fn a_digest_is_hmac_sha256_under_the_lookup_key_of_the_secrets_sha256() {
        let digest = keyring(7).digest(&Secret::presented("y_NbAkKc66ryYTWUXYEu".to_owned()).fingerprint());
        assert_eq!(format!("{:02x?}", digest.as_bytes()).replace(['[', ']', ' ', ','], ""), DIGEST_BY_PYTHON);
    }

    // Python: hkdf-expand and hmac of the standard library over bytes([7] * 32).
    const DIGEST_BY_PYTHON: &str = "d5c2f4f563fd4e643b14cdb010ba97c9012495831af7505a336989f50f9346d8";

    #[test]
    fn a_foreign_store_key_is_recognised() {
        assert!(keyring(1).belongs_to(&keyring(1).check_value()));
        assert!(!keyring(1).belongs_to(&keyring(2).check_value()));
        assert!(!keyring(1).belongs_to(b""));
    }
}
