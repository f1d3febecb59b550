//! The store key, and the keys derived from it: the lookup, seal, audit and evidence keys.
//!
//! A secret is a uniform random string of at least 107 bits, so its digest needs no salt and no key stretching. It is
//! keyed because without the store key a stolen database cannot be searched for a secret, not even one of a short
//! format or one whose hint is known.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::model::{Commitment, Error, Fingerprint, Id, Result, SecretMark};
use crate::ports::Entropy;

/// The store key: 32 random bytes in a file of its own. Without it, no secret can be looked up in the store.
pub struct StoreKey(Zeroizing<[u8; Self::LEN]>);

impl StoreKey {
    /// The length of a store key in bytes.
    pub const LEN: usize = 32;

    /// Draws a random store key.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        entropy.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// Creates a store key from the content of a key file. Returns `None` unless it is [`StoreKey::LEN`] bytes long.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Returns the content of the key file.
    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// The digest by which the store finds a credential: HMAC-SHA-256, under the lookup key, of the SHA-256 of the secret.
/// Because of the inner hash, keys can be imported of which only the SHA-256 is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Creates a digest from its stored bytes.
    #[must_use]
    pub fn stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the digest.
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

/// A secret encrypted with XChaCha20-Poly1305 under the seal key, because it must be shown again: the nonce, followed
/// by the ciphertext and its tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    const NONCE_LEN: usize = 24;

    /// Creates a sealed secret from its stored bytes.
    #[must_use]
    pub fn stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// The keys derived from one store key by HKDF-SHA-256.
#[derive(Clone)]
pub struct Keyring {
    lookup: Hmac<Sha256>,
    audit: Hmac<Sha256>,
    evidence: Hmac<Sha256>,
    seal: XChaCha20Poly1305,
    check: [u8; 32],
}

impl Keyring {
    /// Derives the keys.
    ///
    /// # Errors
    /// If the derivation fails, which it never does for these lengths.
    pub fn new(store_key: &StoreKey) -> Result<Self> {
        let derivation = Hkdf::<Sha256>::new(None, store_key.as_bytes());
        let derive = |purpose: &str| -> Result<Zeroizing<[u8; 32]>> {
            let mut key = Zeroizing::new([0; 32]);
            derivation
                .expand(purpose.as_bytes(), key.as_mut())
                .map_err(|_| Error::Damaged("a key cannot be derived".to_owned()))?;
            Ok(key)
        };
        let mac = |key: &[u8; 32]| {
            Hmac::new_from_slice(key).map_err(|_| Error::Damaged("a key cannot be used".to_owned()))
        };
        Ok(Self {
            lookup: mac(&*derive("pdkeys 1 lookup")?)?,
            audit: mac(&*derive("pdkeys 1 audit")?)?,
            evidence: mac(&*derive("pdkeys 1 evidence")?)?,
            seal: XChaCha20Poly1305::new((&*derive("pdkeys 1 seal")?).into()),
            check: *derive("pdkeys 1 check")?,
        })
    }

    /// Computes the digest of a secret.
    #[must_use]
    pub fn digest(&self, fingerprint: &Fingerprint) -> Digest {
        let mut mac = self.lookup.clone();
        mac.update(fingerprint.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }

    /// Computes the end of the audit chain after `record`, from the end before it.
    #[must_use]
    pub fn link(&self, end: &[u8; 32], record: &[u8]) -> [u8; 32] {
        let mut mac = self.audit.clone();
        mac.update(end);
        mac.update(record);
        mac.finalize().into_bytes().into()
    }

    /// Computes the mark by which audit records name a secret.
    #[must_use]
    pub fn mark(&self, digest: &Digest) -> SecretMark {
        let mut mac = self.evidence.clone();
        mac.update(b"secret");
        mac.update(digest.as_bytes());
        SecretMark::of_bytes(&mac.finalize().into_bytes())
    }

    /// Starts the commitment to the entries of an import.
    pub(crate) fn commit(&self) -> Committing {
        let mut mac = self.evidence.clone();
        mac.update(b"import");
        Committing(mac)
    }

    /// Encrypts `plain` for the resource `id`. The id is authenticated, so that the result cannot be moved to another
    /// row.
    pub(super) fn seal(&self, id: Id, plain: &[u8], entropy: &mut dyn Entropy) -> Result<Sealed> {
        let mut nonce = [0; Sealed::NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let aad = id.to_string();
        let cipher = self
            .seal
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: aad.as_bytes() })
            .map_err(|_| Error::Damaged("a key cannot be sealed".to_owned()))?;
        Ok(Sealed([nonce.as_slice(), &cipher].concat()))
    }

    /// Decrypts what was sealed for the resource `id`.
    pub(super) fn unseal(&self, id: Id, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        let damaged = || Error::Damaged(format!("the sealed key of {id} does not open"));
        let (nonce, cipher) = sealed.0.split_first_chunk::<{ Sealed::NONCE_LEN }>().ok_or_else(damaged)?;
        let aad = id.to_string();
        let plain = self.seal.decrypt(&XNonce::from(*nonce), Payload { msg: cipher, aad: aad.as_bytes() });
        Ok(Zeroizing::new(plain.map_err(|_| damaged())?))
    }

    /// Returns the value by which a store recognises its store key. It reveals nothing about the key.
    #[must_use]
    pub fn check_value(&self) -> [u8; 32] {
        self.check
    }

    /// Returns true if `check_value` is that of this store key. Compares in constant time.
    #[must_use]
    pub fn belongs_to(&self, check_value: &[u8]) -> bool {
        self.check.ct_eq(check_value).into()
    }
}

/// A commitment under construction.
pub(crate) struct Committing(Hmac<Sha256>);

impl Committing {
    /// Adds the next entry, in the order of import.
    pub(crate) fn add(&mut self, id: &str, content: &str) {
        for text in [id, content] {
            // The lengths make the encoding of a list of entries unambiguous.
            self.0.update(&(text.len() as u64).to_be_bytes());
            self.0.update(text.as_bytes());
        }
    }

    /// Returns the commitment for the record of the import.
    pub(crate) fn finish(self) -> Commitment {
        Commitment::of_bytes(&self.0.finalize().into_bytes())
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

    /// The construction must never change: digests that are stored would not be found any more.
    #[test]
    fn a_digest_is_hmac_sha256_under_the_lookup_key_of_the_secrets_sha256() {
        let digest = keyring(7).digest(&Secret::presented("y_NbAkKc66ryYTWUXYEu".to_owned()).fingerprint());
        assert_eq!(format!("{:02x?}", digest.as_bytes()).replace(['[', ']', ' ', ','], ""), DIGEST_BY_PYTHON);
    }

    // Python: hkdf-expand and hmac of the standard library over bytes([7] * 32).
    const DIGEST_BY_PYTHON: &str = "d5c2f4f563fd4e643b14cdb010ba97c9012495831af7505a336989f50f9346d8";

    #[test]
    fn a_sealed_secret_opens_only_with_its_id_and_its_store_key() {
        let id: Id = "I00000001".parse().unwrap();
        let one = keyring(1);
        let secret = Secret::presented("0123456789abcdef0123456789abcdef".to_owned());
        let sealed = secret.seal(&one, id, &mut crate::ports::SystemEntropy).unwrap();
        assert_eq!(Secret::unseal(&one, id, &sealed).unwrap().fingerprint(), secret.fingerprint());
        assert!(Secret::unseal(&one, "I00000002".parse().unwrap(), &sealed).is_err());
        assert!(Secret::unseal(&keyring(2), id, &sealed).is_err());
        assert!(Secret::unseal(&one, id, &Sealed::stored(vec![0; 5])).is_err());
    }

    #[test]
    fn a_foreign_store_key_is_recognised() {
        assert!(keyring(1).belongs_to(&keyring(1).check_value()));
        assert!(!keyring(1).belongs_to(&keyring(2).check_value()));
        assert!(!keyring(1).belongs_to(b""));
    }
}
