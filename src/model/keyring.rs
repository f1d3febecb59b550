//! The store key and what is derived from it: the lookup key, the seal key, the audit key, the evidence key.
//!
//! A secret is a uniform random string of 107 bits and more, so its digest needs no salt and no stretching. What
//! it needs is a key: without the store key a stolen database cannot be searched for a secret, short shapes and
//! four-character hints included.

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
    /// Takes what the store kept.
    #[must_use]
    pub fn stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

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

/// A secret that must be shown again, sealed with XChaCha20-Poly1305 under the seal key: the nonce, and the cipher
/// text with its tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    const NONCE_LEN: usize = 24;

    /// Takes what the store kept.
    #[must_use]
    pub fn stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes for the store.
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

/// The keys derived from one store key by HKDF-SHA-256, ready for use.
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
    /// Never for a key of 32 bytes; the derivation's own bounds are checked all the same.
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

    /// What audit records name a secret by.
    #[must_use]
    pub fn mark(&self, digest: &Digest) -> SecretMark {
        let mut mac = self.evidence.clone();
        mac.update(b"secret");
        mac.update(digest.as_bytes());
        SecretMark::of_bytes(&mac.finalize().into_bytes())
    }

    /// Begins to commit to what an import brings.
    pub(crate) fn commit(&self) -> Committing {
        let mut mac = self.evidence.clone();
        mac.update(b"import");
        Committing(mac)
    }

    /// Seals what must be shown again, for one id: moved to another row, it does not open.
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

    /// Opens what was sealed for an id.
    pub(super) fn unseal(&self, id: Id, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        let damaged = || Error::Damaged(format!("the sealed key of {id} does not open"));
        let (nonce, cipher) = sealed.0.split_first_chunk::<{ Sealed::NONCE_LEN }>().ok_or_else(damaged)?;
        let aad = id.to_string();
        let plain = self.seal.decrypt(&XNonce::from(*nonce), Payload { msg: cipher, aad: aad.as_bytes() });
        Ok(Zeroizing::new(plain.map_err(|_| damaged())?))
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

/// A commitment in the making.
pub(crate) struct Committing(Hmac<Sha256>);

impl Committing {
    /// Takes in the next entry, in the order in which they came in.
    pub(crate) fn add(&mut self, id: &str, content: &str) {
        for text in [id, content] {
            // With its length: no two lists of entries are the same bytes.
            self.0.update(&(text.len() as u64).to_be_bytes());
            self.0.update(text.as_bytes());
        }
    }

    /// What the record of the import says.
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

    /// The construction is fixed for ever: a changed one would orphan every stored key.
    #[test]
    fn a_digest_is_hmac_sha256_under_the_lookup_key_of_the_secrets_sha256() {
        let digest = keyring(7).digest(&Secret::presented("y_NbAkKc66ryYTWUXYEu".to_owned()).fingerprint());
        assert_eq!(format!("{:02x?}", digest.as_bytes()).replace(['[', ']', ' ', ','], ""), DIGEST_BY_PYTHON);
    }

    // Python: hkdf-expand and hmac of the standard library over bytes([7] * 32).
    const DIGEST_BY_PYTHON: &str = "d5c2f4f563fd4e643b14cdb010ba97c9012495831af7505a336989f50f9346d8";

    #[test]
    fn what_is_sealed_opens_for_its_own_id_and_store_key_alone() {
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
