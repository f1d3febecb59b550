//! Finding the account's credentials, live or dead, wherever they have got to.
//!
//! Every string of a secret's shape is hashed and looked up, so that there is nothing to tune, and nothing is reported
//! that is not, or was not, a secret of this account. A secret is found as it is, and as [`encodings`] have it. What is read is kept in memory that is wiped, and a finding says
//! which credential it is, never its secret.

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

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 18;
/// How many candidates are looked up at a time.
const A_LOT: usize = 1_000;
/// How many candidates are remembered to be nothing: the same words stand in every file of a tree.
const MOST_REMEMBERED: usize = 1 << 20;

/// A credential that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which line of the input, counted from 1.
    pub line: u64,
    /// What it is: a credential, or the client secret of an app.
    pub kind: Option<CredentialKind>,
    /// Its id; of an app token or a client secret, the app's.
    pub id: Id,
    /// What it is for, if it is there still.
    pub description: Option<String>,
    /// The last four characters.
    pub hint: Option<Hint>,
    /// What it is good for.
    pub standing: CredentialStatus,
}

/// Why an input could not be scanned to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The input could not be read.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Looks for the credentials of a store in one input after the other.
pub struct Scanner<S> {
    store: S,
    keyring: Keyring,
    at: Timestamp,
    /// Room for a chunk, and for what a run left over.
    buffer: Zeroizing<Vec<u8>>,
    /// Candidates that are nothing, by a keyed hash of 64 bits: that a secret collides with one of a million is less
    /// likely than one in ten million millions.
    nothing: HashSet<u64, BuildHasherDefault<AsItIs>>,
    hash: RandomState,
}

/// A hash is as good a hash as any.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A candidate that is to be looked up.
struct Asked {
    /// Where it is, encoded or not.
    place: Range<usize>,
    hash: u64,
    digest: Digest,
    kind: Option<CredentialKind>,
    is_client_secret: bool,
}

/// What candidates are asked with.
struct Asking<'s> {
    nothing: &'s HashSet<u64, BuildHasherDefault<AsItIs>>,
    hash: &'s RandomState,
    keyring: &'s Keyring,
    asked: Vec<Asked>,
}

impl Asking<'_> {
    fn ask(&mut self, candidate: &[u8], place: Range<usize>) {
        let hash = self.hash.hash_one(candidate);
        if !self.nothing.contains(&hash) {
            self.asked.push(Asked {
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
    /// A scanner over a store, which tells what its credentials are good for at a moment.
    ///
    /// # Errors
    /// If the store key is not to be had.
    pub fn new(mut store: S, at: Timestamp) -> Result<Self, Error> {
        let keyring = store.keyring()?;
        let buffer = Zeroizing::new(Vec::with_capacity(2 * CHUNK + 2 * CONTEXT));
        Ok(Self { store, keyring, at, buffer, nothing: HashSet::default(), hash: RandomState::new() })
    }

    /// Shows every credential in an input, in constant memory, however long it is.
    ///
    /// # Errors
    /// If the input cannot be read to its end, or the store not be asked; what was shown until then stands.
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

    /// Reads as much as there is room for; whether that was the end.
    fn fill(&mut self, input: &mut dyn Read) -> io::Result<bool> {
        let mut filled = self.buffer.len();
        let full = filled + CHUNK;
        // Within its capacity: a buffer that moved would leave a copy of what it held behind.
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

    /// Finds every credential in a short text, encoded or not, and where it is; what overlaps is found as well.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub fn find(&mut self, text: &[u8]) -> Result<Vec<(Range<usize>, Finding)>, Error> {
        let mut asking = self.asking();
        encodings::each(text, &Plain::ALL, &mut |candidate, place| asking.ask(candidate, place));
        let asked = asking.asked;
        let mut found = Vec::new();
        self.answer(&asked, &mut |asked, finding| {
            let line = newlines(&text[..asked.place.start]) + 1;
            found.push((asked.place.clone(), Finding { line, ..finding }));
        })?;
        Ok(found)
    }

    fn asking(&self) -> Asking<'_> {
        let Self { nothing, hash, keyring, .. } = self;
        Asking { nothing, hash, keyring, asked: Vec::new() }
    }

    fn look_through(
        &mut self,
        progress: &mut Progress,
        ended: bool,
        found: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let mut asking = self.asking();
        let bytes = self.buffer.as_slice();
        let mut from = progress.from;
        let mut endless = progress.endless;
        if endless {
            let end = secret_patterns::end_of_run(bytes);
            endless = end == bytes.len() && !ended;
            secret_patterns::each_inside(&bytes[..end], from, !endless, &mut |place: Range<usize>| {
                asking.ask(&bytes[place.clone()], place);
            });
            from = end;
        }
        // What is encoded ends where its context does, and is asked when that is there.
        let decoded_to = if ended { bytes.len() } else { (bytes.len() - CONTEXT).max(progress.decoded) };
        let decoded = progress.decoded..decoded_to;
        let start = decoded.start.saturating_sub(CONTEXT).min(from.saturating_sub(secret_patterns::BEFORE));
        let plain = Plain { from: from - start, ended };
        encodings::each(&bytes[start..], &plain, &mut |candidate, place| {
            let place = start + place.start..start + place.end;
            if place.len() == candidate.len() || decoded.contains(&place.start) {
                asking.ask(candidate, place);
            }
        });
        if !endless {
            from = if ended { bytes.len() } else { secret_patterns::open_run(bytes, from) };
            if !ended && bytes.len() - from >= CHUNK {
                endless = true;
                secret_patterns::each_inside(&bytes[from..], 0, false, &mut |place: Range<usize>| {
                    let place = from + place.start..from + place.end;
                    asking.ask(&bytes[place.clone()], place);
                });
            }
        }
        let asked = asking.asked;
        let mut answers = Vec::new();
        self.answer(&asked, &mut |asked, finding| answers.push((asked.place.start, finding)))?;
        for (at, finding) in answers {
            found(Finding { line: progress.line + newlines(&self.buffer[..at]) + 1, ..finding });
        }
        // What comes next may be long in coming.
        self.store.end_read()?;
        let kept = if endless {
            secret_patterns::REMEMBERED
        } else {
            self.buffer.len() - from + secret_patterns::BEFORE
        };
        let kept = kept.max(self.buffer.len() - decoded.end + CONTEXT);
        let cut = self.buffer.len().saturating_sub(kept);
        progress.line += newlines(&self.buffer[..cut]);
        progress.from = if endless { self.buffer.len() } else { from } - cut;
        progress.decoded = decoded.end - cut;
        progress.endless = endless;
        self.buffer.copy_within(cut.., 0);
        let left = self.buffer.len() - cut;
        self.buffer.truncate(left);
        Ok(())
    }

    /// Looks candidates up, and shows what they are, but for their lines.
    fn answer(&mut self, asked: &[Asked], found: &mut dyn FnMut(&Asked, Finding)) -> Result<(), Error> {
        for lot in asked.chunks(A_LOT) {
            let digests: Vec<_> = lot.iter().map(|asked| asked.digest).collect();
            let answers = self.store.find_credentials(&digests)?;
            for (asked, answer) in lot.iter().zip(answers) {
                match self.finding(asked, &answer.presence)? {
                    Some(finding) => found(asked, finding),
                    None => self.remember(asked.hash),
                }
            }
        }
        Ok(())
    }

    /// What a candidate is, but for its line.
    fn finding(&mut self, asked: &Asked, presence: &LookupResult) -> Result<Option<Finding>, Error> {
        let standing = presence.standing(self.at);
        match presence {
            LookupResult::Known(credential) => Ok(Some(Finding {
                line: 0,
                kind: Some(credential.kind),
                id: credential.id,
                description: Some(credential.description.clone()),
                hint: credential.hint.clone(),
                standing,
            })),
            LookupResult::Dead(tombstone) => {
                let (kind, id) = (asked.kind, tombstone.id);
                Ok(Some(Finding { line: 0, kind, id, description: None, hint: None, standing }))
            }
            LookupResult::Unknown if asked.is_client_secret => self.client(&asked.digest),
            LookupResult::Unknown => Ok(None),
        }
    }

    /// Remembers that a candidate is nothing.
    fn remember(&mut self, hash: u64) {
        if self.nothing.len() >= MOST_REMEMBERED {
            self.nothing.clear();
        }
        self.nothing.insert(hash);
    }

    /// The app that has this client secret.
    fn client(&mut self, digest: &Digest) -> Result<Option<Finding>, Error> {
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

/// How far an input was looked through.
#[derive(Default)]
struct Progress {
    /// How many lines ended before what is in the buffer.
    line: u64,
    /// Up to where the buffer was looked through.
    from: usize,
    /// Up to where it was looked through for what is encoded.
    decoded: usize,
    /// Whether the buffer begins inside a run of a chunk or more, which has no candidates but integration keys.
    endless: bool,
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
