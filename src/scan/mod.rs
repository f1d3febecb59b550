//! Finds the account's credentials, active or not, in any bytes.
//!
//! Every string with the shape of a secret is hashed and looked up. There is nothing to tune, and a finding is always a
//! secret that this account has or had. Secrets are also found in the encodings that `encodings.rs` knows. Input is
//! kept in memory that is wiped, and a finding names the credential, never its secret.

mod encodings;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::io::{self, ErrorKind as IoErrorKind, Read};
use std::ops::Range;

use jiff::Timestamp;
use zeroize::Zeroizing;

use self::encodings::{CONTEXT, Plain};
use crate::error::Error;
use crate::model::{
    CredentialKind, Digest, Fingerprint, Hint, Id, InactiveReason, Keyring, is_client_secret, secret_patterns,
};
use crate::store::{AppBy, CredentialStatus, DigestOwner, LookupResult, ReadTx as _, Store};

/// The number of bytes to read at a time.
const CHUNK: usize = 1 << 18;
/// The number of candidates to look up at a time.
const LOOKUP_BATCH: usize = 1_000;
/// The most candidates that are remembered as unknown, because the same words occur in many files of a tree.
const MAX_UNKNOWN: usize = 1 << 20;

/// A credential that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line of the input, counted from 1.
    pub line: u64,
    /// The kind of credential; `None` for the client secret of an app.
    pub kind: Option<CredentialKind>,
    /// The id of the credential; for an app token or a client secret, that of the app.
    pub id: Id,
    /// The description of the credential, if the store still has it.
    pub description: Option<String>,
    /// The last four characters of the secret, if the store still has them.
    pub hint: Option<Hint>,
    /// Whether the secret is active.
    pub standing: CredentialStatus,
}

/// The error returned if an input could not be scanned to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The input could not be read.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Finds the credentials of a store in any number of inputs, one after the other.
pub struct Scanner<S> {
    store: S,
    keyring: Keyring,
    at: Timestamp,
    /// The present chunk, after the part of the previous one that is still needed.
    buffer: Zeroizing<Vec<u8>>,
    /// Candidates that the store does not know, by a keyed 64-bit hash. The chance that a secret collides with one of a
    /// million entries is below one in ten trillion.
    unknown: HashSet<u64, BuildHasherDefault<IdentityHasher>>,
    hash: RandomState,
}

/// A hasher for values that are hashes already.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A candidate to look up.
struct Candidate {
    /// The position of the candidate, or of its encoded form.
    place: Range<usize>,
    hash: u64,
    digest: Digest,
    kind: Option<CredentialKind>,
    is_client_secret: bool,
}

/// Collects the candidates to look up, without those that are known to be none.
struct Collector<'s> {
    unknown: &'s HashSet<u64, BuildHasherDefault<IdentityHasher>>,
    hash: &'s RandomState,
    keyring: &'s Keyring,
    candidates: Vec<Candidate>,
}

impl Collector<'_> {
    fn add(&mut self, candidate: &[u8], place: Range<usize>) {
        let hash = self.hash.hash_one(candidate);
        if !self.unknown.contains(&hash) {
            self.candidates.push(Candidate {
                place,
                hash,
                digest: self.keyring.digest(&Fingerprint::of(candidate)),
                kind: CredentialKind::of_shape(candidate),
                is_client_secret: is_client_secret(candidate),
            });
        }
    }
}

impl<S: Store> Scanner<S> {
    /// Creates a scanner. Findings show the status of credentials at `at`.
    ///
    /// # Errors
    /// If the store key is unavailable.
    pub fn new(mut store: S, at: Timestamp) -> Result<Self, Error> {
        let keyring = store.keyring()?;
        let buffer = Zeroizing::new(Vec::with_capacity(2 * CHUNK + 2 * CONTEXT));
        Ok(Self { store, keyring, at, buffer, unknown: HashSet::default(), hash: RandomState::new() })
    }

    /// Passes every credential in an input to `found`. Memory use does not depend on the length of the input.
    ///
    /// # Errors
    /// If the input cannot be read to its end, or the store cannot be read. Findings that were passed on are valid.
    pub fn scan(&mut self, input: &mut dyn Read, found: &mut dyn FnMut(Finding)) -> Result<(), ScanError> {
        self.buffer.clear();
        let mut progress = Progress::default();
        loop {
            let ended = self.fill(input)?;
            self.look_through(&mut progress, ended, found)?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Reads the next chunk, and returns whether the input has ended.
    fn fill(&mut self, input: &mut dyn Read) -> io::Result<bool> {
        let mut filled = self.buffer.len();
        let full = filled + CHUNK;
        // This stays within the capacity: a reallocation would leave a copy of the content in freed memory.
        self.buffer.resize(full, 0);
        while filled < full {
            match input.read(&mut self.buffer[filled..full]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(filled);
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(filled < full)
    }

    /// Finds every credential in a short text, encoded or not, with its position. Overlapping ones are found as well.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find(&mut self, text: &[u8]) -> Result<Vec<(Range<usize>, Finding)>, Error> {
        let mut collector = self.collector();
        encodings::each(text, &Plain::ALL, &mut |candidate, place| collector.add(candidate, place));
        let candidates = collector.candidates;
        let mut found = Vec::new();
        self.look_up(&candidates, &mut |candidate, finding| {
            let line = newlines(&text[..candidate.place.start]) + 1;
            found.push((candidate.place.clone(), Finding { line, ..finding }));
        })?;
        Ok(found)
    }

    fn collector(&self) -> Collector<'_> {
        let Self { unknown, hash, keyring, .. } = self;
        Collector { unknown, hash, keyring, candidates: Vec::new() }
    }

    /// Looks up the candidates in the buffer, and removes the part that is not needed any more.
    fn look_through(
        &mut self,
        progress: &mut Progress,
        ended: bool,
        found: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let mut collector = self.collector();
        let bytes = self.buffer.as_slice();
        let mut from = progress.from;
        let mut overlong = progress.overlong;
        if overlong {
            let end = secret_patterns::end_of_run(bytes);
            overlong = end == bytes.len() && !ended;
            secret_patterns::each_inside(&bytes[..end], from, !overlong, &mut |place: Range<usize>| {
                collector.add(&bytes[place.clone()], place);
            });
            from = end;
        }
        // An encoded candidate is looked up when the context that decides where it ends has been read.
        let decoded_to = if ended { bytes.len() } else { (bytes.len() - CONTEXT).max(progress.decoded) };
        let decoded = progress.decoded..decoded_to;
        let start = decoded.start.saturating_sub(CONTEXT).min(from.saturating_sub(secret_patterns::BEFORE));
        let plain = Plain { from: from - start, ended };
        encodings::each(&bytes[start..], &plain, &mut |candidate, place| {
            let place = start + place.start..start + place.end;
            if place.len() == candidate.len() || decoded.contains(&place.start) {
                collector.add(candidate, place);
            }
        });
        if !overlong {
            from = if ended { bytes.len() } else { secret_patterns::open_run(bytes, from) };
            if !ended && bytes.len() - from >= CHUNK {
                overlong = true;
                secret_patterns::each_inside(&bytes[from..], 0, false, &mut |place: Range<usize>| {
                    let place = from + place.start..from + place.end;
                    collector.add(&bytes[place.clone()], place);
                });
            }
        }
        let candidates = collector.candidates;
        let mut findings = Vec::new();
        self.look_up(&candidates, &mut |candidate, finding| findings.push((candidate.place.start, finding)))?;
        for (at, finding) in findings {
            found(Finding { line: progress.line + newlines(&self.buffer[..at]) + 1, ..finding });
        }
        // The next chunk may take long to arrive.
        self.store.end_read()?;
        let kept = if overlong {
            secret_patterns::REMEMBERED
        } else {
            self.buffer.len() - from + secret_patterns::BEFORE
        };
        let kept = kept.max(self.buffer.len() - decoded.end + CONTEXT);
        let cut = self.buffer.len().saturating_sub(kept);
        progress.line += newlines(&self.buffer[..cut]);
        progress.from = if overlong { self.buffer.len() } else { from } - cut;
        progress.decoded = decoded.end - cut;
        progress.overlong = overlong;
        self.buffer.copy_within(cut.., 0);
        let left = self.buffer.len() - cut;
        self.buffer.truncate(left);
        Ok(())
    }

    /// Looks candidates up, and passes on the findings. Their `line` is not set.
    fn look_up(
        &mut self,
        candidates: &[Candidate],
        found: &mut dyn FnMut(&Candidate, Finding),
    ) -> Result<(), Error> {
        for batch in candidates.chunks(LOOKUP_BATCH) {
            let digests: Vec<_> = batch.iter().map(|candidate| candidate.digest).collect();
            let lookups = self.store.find_credentials(&digests)?;
            for (candidate, lookup) in batch.iter().zip(lookups) {
                match self.finding(candidate, &lookup.result)? {
                    Some(finding) => found(candidate, finding),
                    None => self.remember_unknown(candidate.hash),
                }
            }
        }
        Ok(())
    }

    /// Creates the finding for a candidate, if the store knows it. Its `line` is not set.
    fn finding(&mut self, candidate: &Candidate, result: &LookupResult) -> Result<Option<Finding>, Error> {
        let standing = result.status(self.at);
        match result {
            LookupResult::Known(credential) => Ok(Some(Finding {
                line: 0,
                kind: Some(credential.kind),
                id: credential.id,
                description: Some(credential.description.clone()),
                hint: credential.hint.clone(),
                standing,
            })),
            LookupResult::Dead(tombstone) => {
                let (kind, id) = (candidate.kind, tombstone.id);
                Ok(Some(Finding { line: 0, kind, id, description: None, hint: None, standing }))
            }
            LookupResult::Unknown if candidate.is_client_secret => self.client_secret(&candidate.digest),
            LookupResult::Unknown => Ok(None),
        }
    }

    /// Remembers a candidate that the store does not know.
    fn remember_unknown(&mut self, hash: u64) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.insert(hash);
    }

    /// Creates the finding for a client secret, if an app has one with this digest.
    fn client_secret(&mut self, digest: &Digest) -> Result<Option<Finding>, Error> {
        let tx = self.store.read()?;
        let Some(DigestOwner::Live { id, ends_at }) = tx.digest_owner(digest)? else { return Ok(None) };
        let over = ends_at.is_some_and(|end| end <= self.at);
        let app = tx.app(AppBy::Id(id))?;
        Ok(Some(Finding {
            line: 0,
            kind: None,
            id,
            description: app.as_ref().map(|app| app.name.to_string()),
            hint: None,
            standing: if over {
                CredentialStatus::Inactive(InactiveReason::Rotated)
            } else {
                CredentialStatus::Live
            },
        }))
    }
}

/// The progress within an input.
#[derive(Default)]
struct Progress {
    /// The number of lines that end before the buffer.
    line: u64,
    /// The position in the buffer up to which plain candidates were collected.
    from: usize,
    /// The position in the buffer up to which encoded candidates were collected.
    decoded: usize,
    /// Whether the buffer begins within an overlong run, which contains no candidates but integration keys.
    overlong: bool,
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
