//! What was looked up, for as long as nobody has committed anything since.
//!
//! Each check sees the store as it is at that moment: the [header](Header) of the log's index is read first, and what was found
//! before counts only if nothing has changed. There is no time to live: revoked means revoked when the command returns.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rusqlite::Connection;

use super::account;
use super::connection::WatchedConnection;
use super::lookup::CredentialFinder;
use super::wal_index::Header;
use crate::error::{ErrorKind, Result};
use crate::model::{Account, Credential, Digest};
use crate::store::{CredentialLookup, LookupResult};

/// How many credentials are remembered, in two generations of this size at most. A process that sees so many holds
/// some 60 MiB of them; one that sees ten thousand, 5 MiB.
const GENERATION: usize = 65_536;
/// How much of the file a connection that checks keeps in memory, in SQLite's spelling of 4 MiB: enough for the upper
/// levels of the trees over many million keys, so that a look-up reads two pages at most.
const PAGES: i64 = -4 * 1024;
/// Up to how many pages in the log a connection goes on reading between checks. SQLite writes the log back when there
/// are a thousand in it, and can begin it anew if nobody is reading: by then nobody is.
const SHORT_LOG: u32 = 500;

/// What was found and has not changed since.
#[derive(Debug, Default)]
pub(super) struct CredentialCache {
    /// Whether keys from all over the store are looked up, most of them once: they are not remembered, and the
    /// connection goes on reading between look-ups instead.
    for_many_keys: bool,
    /// The header of the log's index from before anything of what is remembered was read.
    moment: Option<Header>,
    /// Whether the connection is still reading what there was at that moment.
    is_reading: bool,
    account: Option<Arc<Account>>,
    young: Generation,
    old: Generation,
}

type Generation = HashMap<[u8; 32], Arc<Credential>, BuildHasherDefault<DigestHasher>>;

/// A digest is uniformly distributed: some of its bytes are as good a hash as any.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl CredentialCache {
    /// One that remembers nothing of single keys.
    pub(super) fn for_many_keys() -> Self {
        Self { for_many_keys: true, ..Self::default() }
    }

    /// What each of some digests belongs to, all at one moment. Where keys are many, the connection goes on reading
    /// afterwards, until [`CredentialCache::end_read`].
    pub(super) fn find(
        &mut self,
        connection: &WatchedConnection,
        digests: &[Digest],
    ) -> Result<Vec<CredentialLookup>> {
        let now = || Header::now(connection.watch());
        let found = self.find_now(connection, &now, digests);
        let is_log_short = self.moment.is_some_and(|header| header.pages() < SHORT_LOG);
        if self.for_many_keys && is_log_short && found.is_ok() {
            return found;
        }
        let rested = self.end_read(connection);
        found.and_then(|found| rested.map(|()| found))
    }

    /// Ends reading. What is remembered stays.
    pub(super) fn end_read(&mut self, connection: &Connection) -> Result<()> {
        // After some errors SQLite has ended it already.
        if std::mem::take(&mut self.is_reading) && !connection.is_autocommit() {
            connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Forgets everything, what SQLite has in memory of the file included.
    pub(super) fn forget(&mut self, connection: &Connection) -> Result<()> {
        self.end_read(connection)?;
        *self = Self { for_many_keys: self.for_many_keys, ..Self::default() };
        Ok(connection.execute_batch("PRAGMA shrink_memory")?)
    }

    fn find_now(
        &mut self,
        connection: &Connection,
        now: &dyn Fn() -> Option<Header>,
        digests: &[Digest],
    ) -> Result<Vec<CredentialLookup>> {
        let header = now();
        if header.is_none() || header != self.moment {
            self.begin_anew(connection, header)?;
        }
        if let Some(found) = self.answer(connection, now, digests)? {
            return Ok(found);
        }
        self.begin_anew(connection, now())?;
        let nothing = || ErrorKind::Damaged("a look-up gave nothing".to_owned()).into();
        self.answer(connection, now, digests)?.ok_or_else(nothing)
    }

    /// Forgets everything, and reads the store as it is now, which is at the moment of a header or after it.
    fn begin_anew(&mut self, connection: &Connection, header: Option<Header>) -> Result<()> {
        self.end_read(connection)?;
        *self = Self { moment: header, for_many_keys: self.for_many_keys, ..Self::default() };
        connection.pragma_update(None, "cache_size", PAGES)?;
        self.read_on(connection)?;
        self.account = Some(Arc::new(account::get(connection)?));
        Ok(())
    }

    fn read_on(&mut self, connection: &Connection) -> Result<()> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        self.is_reading = true;
        Ok(())
    }

    /// What each of some digests belongs to; nothing if something must be read that may have changed since what is
    /// remembered was.
    fn answer(
        &mut self,
        connection: &Connection,
        now: &dyn Fn() -> Option<Header>,
        digests: &[Digest],
    ) -> Result<Option<Vec<CredentialLookup>>> {
        let Some(account) = self.account.clone() else { return Ok(None) };
        let mut finder = CredentialFinder::new(connection);
        let mut found = Vec::with_capacity(digests.len());
        for digest in digests {
            let recalled = self.recall(digest);
            let result = if let Some(credential) = recalled {
                LookupResult::Known(credential)
            } else {
                let has_paused = !self.is_reading;
                if has_paused {
                    self.read_on(connection)?;
                }
                let result = finder.find(digest)?;
                // SQLite begins to read with the first look-up, and not before.
                if has_paused && (self.moment.is_none() || now() != self.moment) {
                    return Ok(None);
                }
                if let LookupResult::Known(credential) = &result
                    && !self.for_many_keys
                {
                    self.remember(digest, credential);
                }
                result
            };
            found.push(CredentialLookup { account: Arc::clone(&account), result });
        }
        Ok(Some(found))
    }

    fn recall(&mut self, digest: &Digest) -> Option<Arc<Credential>> {
        if let Some(credential) = self.young.get(digest.as_bytes()) {
            return Some(Arc::clone(credential));
        }
        let credential = self.old.remove(digest.as_bytes())?;
        self.remember(digest, &credential);
        Some(credential)
    }

    fn remember(&mut self, digest: &Digest, credential: &Arc<Credential>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*digest.as_bytes(), Arc::clone(credential));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Access, CredentialKind, Keyring, Secret, StoreKey};

    fn digests(count: usize) -> Vec<Digest> {
        let keyring = Keyring::new(&StoreKey::from_bytes(&[1; 32]).unwrap()).unwrap();
        let digest = |number: usize| keyring.digest(&Secret::presented(number.to_string()).fingerprint());
        (0..count).map(digest).collect()
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_was_asked_for_last() {
        let mut cache = CredentialCache::default();
        let credential = Arc::new(Credential {
            kind: CredentialKind::General,
            id: "K00000000".parse().unwrap(),
            description: String::new(),
            hint: None,
            access: Access::Full,
            owner: None,
            destination: None,
            disabled: false,
            expires_at: None,
            secret_ends_at: None,
            rate_limit: None,
        });
        let digests = digests(2 * GENERATION + 1);
        for digest in &digests {
            cache.remember(digest, &credential);
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        assert!(cache.recall(&digests[0]).is_none(), "the oldest is forgotten");
        assert!(cache.recall(&digests[2 * GENERATION]).is_some());
        assert!(cache.recall(&digests[GENERATION]).is_some(), "one of the generation before");
    }
}
