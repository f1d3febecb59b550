//! A cache of lookups that is valid until any process commits a change.
//!
//! Each check sees the current state of the store: it reads the [header](Header) of the log's index first, and uses
//! cached credentials only if that is unchanged. There is no time to live: a key is revoked when the command returns.

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

/// The maximum number of credentials in each of the two generations. Two full generations take about 60 MiB; ten
/// thousand credentials take 5 MiB.
const GENERATION: usize = 65_536;
/// The page cache of a connection that checks: 4 MiB, which SQLite expects as a negative number of KiB. The upper
/// levels of the indexes over many millions of keys fit into it, so that a lookup reads at most two pages.
const PAGES: i64 = -4 * 1024;
/// The length of the log, in pages, up to which a connection keeps its snapshot open between lookups. SQLite writes the
/// log back at a thousand pages, and can restart it only if no connection is reading.
const SHORT_LOG: u32 = 500;

/// The credentials that were looked up since the last commit.
#[derive(Debug, Default)]
pub(super) struct CredentialCache {
    /// Whether many different keys are looked up, most of them once. Then no credentials are cached, and the connection
    /// keeps its snapshot open between lookups instead.
    for_many_keys: bool,
    /// The header of the log's index, read before any of the cached content.
    valid_for: Option<Header>,
    /// Whether the snapshot of that header is still open.
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
    /// Returns a cache that keeps the snapshot open instead of caching credentials.
    pub(super) fn for_many_keys() -> Self {
        Self { for_many_keys: true, ..Self::default() }
    }

    /// Looks up several digests in one snapshot, which may stay open until [`CredentialCache::end_read`] if the cache
    /// is for many keys.
    pub(super) fn find(
        &mut self,
        connection: &WatchedConnection,
        digests: &[Digest],
    ) -> Result<Vec<CredentialLookup>> {
        let now = || Header::now(connection.watch());
        let found = self.find_now(connection, &now, digests);
        let is_log_short = self.valid_for.is_some_and(|header| header.pages() < SHORT_LOG);
        if self.for_many_keys && is_log_short && found.is_ok() {
            return found;
        }
        let rested = self.end_read(connection);
        found.and_then(|found| rested.map(|()| found))
    }

    /// Closes the snapshot. The cache stays valid.
    pub(super) fn end_read(&mut self, connection: &Connection) -> Result<()> {
        // SQLite ends the transaction by itself after some errors.
        if std::mem::take(&mut self.is_reading) && !connection.is_autocommit() {
            connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Clears the cache and SQLite's page cache.
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
        if header.is_none() || header != self.valid_for {
            self.begin_anew(connection, header)?;
        }
        if let Some(found) = self.answer(connection, now, digests)? {
            return Ok(found);
        }
        self.begin_anew(connection, now())?;
        let nothing = || ErrorKind::Damaged("a lookup returned nothing".to_owned()).into();
        self.answer(connection, now, digests)?.ok_or_else(nothing)
    }

    /// Clears the cache and opens a new snapshot, which is that of `header` or a later one.
    fn begin_anew(&mut self, connection: &Connection, header: Option<Header>) -> Result<()> {
        self.end_read(connection)?;
        *self = Self { valid_for: header, for_many_keys: self.for_many_keys, ..Self::default() };
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

    /// Looks up several digests, or returns `None` if the cache is outdated and one of them is not in it.
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
                // SQLite takes the snapshot at the first read after `BEGIN`, so a commit may have come between.
                if has_paused && (self.valid_for.is_none() || now() != self.valid_for) {
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
