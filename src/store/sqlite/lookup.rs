//! Finding a credential by its digest, which is what every check does.
//!
//! Each look-up sees the store as it is at that moment: it begins by asking SQLite whether another process has
//! committed anything (`PRAGMA data_version`), and what was found before counts only if not. There is no time to
//! live: revoked means revoked when the command returns.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Row, Statement};

use super::columns::Columns;
use super::secrets::{self, Kind};
use super::{account, keys};
use crate::error::{ErrorKind, Result};
use crate::model::{
    Access, Account, Credential, CredentialKind, DestinationRef, Digest, Hint, Id, Owner, ScopeSet,
};
use crate::store::{Found, Presence};

/// How many credentials are remembered, in two generations of this size at most. A process that sees so many holds
/// some 60 MiB of them; one that sees ten thousand, 5 MiB.
const GENERATION: usize = 65_536;
/// How much of the file a connection that checks keeps in memory, in SQLite's spelling of 4 MiB: enough for the upper
/// levels of the trees over many million keys, so that a look-up reads two pages at most.
const PAGES: i64 = -4 * 1024;

/// What was found and has not changed since.
#[derive(Debug, Default)]
pub(super) struct Memory {
    version: Option<i64>,
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

impl Memory {
    /// Forgets everything: this connection itself is about to write.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn at_version(&mut self, version: i64) {
        if self.version != Some(version) {
            self.forget();
            self.version = Some(version);
        }
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

/// Finds what each of some digests belongs to, all at one moment.
pub(super) fn find(connection: &Connection, memory: &mut Memory, digests: &[Digest]) -> Result<Vec<Found>> {
    if memory.version.is_none() {
        connection.pragma_update(None, "cache_size", PAGES)?;
    }
    let mut version = connection.prepare_cached("PRAGMA data_version")?;
    let mut rows = version.query([])?;
    let row = rows.next()?.ok_or_else(|| ErrorKind::Damaged("no data version".to_owned()))?;
    memory.at_version(row.get(0)?);
    // As long as `rows` lives, what follows reads the moment that the version belongs to.
    let account = match &memory.account {
        Some(account) => Arc::clone(account),
        None => Arc::clone(memory.account.insert(Arc::new(account::get(connection)?))),
    };
    let mut statement = None;
    digests
        .iter()
        .map(|digest| {
            let presence = match memory.recall(digest) {
                Some(credential) => Presence::Known(credential),
                None => look_up(connection, &mut statement, memory, digest)?,
            };
            Ok(Found { account: Arc::clone(&account), presence })
        })
        .collect()
}

fn look_up<'c>(
    connection: &'c Connection,
    statement: &mut Option<CachedStatement<'c>>,
    memory: &mut Memory,
    digest: &Digest,
) -> Result<Presence> {
    let statement = match statement {
        Some(statement) => statement,
        none => none.insert(connection.prepare_cached(SELECT)?),
    };
    if let Some(credential) = read(connection, statement, digest)? {
        let credential = Arc::new(credential);
        memory.remember(digest, &credential);
        return Ok(Presence::Known(credential));
    }
    Ok(secrets::tombstone(connection, digest)?.map_or(Presence::Unknown, Presence::Dead))
}

/// A general key is what most checks are about, and comes with the first step.
const SELECT: &str = "
    SELECT d.kind, d.holder, d.ends_at, k.id, k.description, k.hint, k.access, k.scopes, k.disabled_at IS NOT NULL,
           k.expires_at, k.rate_limit
    FROM digest d LEFT JOIN general_key k ON d.kind = 'general' AND k.row = d.holder
    WHERE d.digest = ?1";

fn read(connection: &Connection, select: &mut Statement<'_>, digest: &Digest) -> Result<Option<Credential>> {
    let mut rows = select.query([digest.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::of(row);
    let kind: Kind = columns.parsed()?;
    let holder: i64 = columns.value()?;
    let secret_ends_at = columns.optional_moment()?;
    let credential = match kind {
        Kind::General => general_key(&mut columns)?,
        Kind::UserToken => one(connection, USER_TOKEN, holder, user_token)?,
        Kind::AppToken => one(connection, APP_TOKEN, holder, app_token)?,
        Kind::Integration => one(connection, INTEGRATION, holder, integration)?,
        // A client secret is no credential: it gets a token, and opens nothing.
        Kind::Client => return Ok(None),
    };
    Ok(Some(Credential { secret_ends_at, ..credential }))
}

fn one(
    connection: &Connection,
    sql: &str,
    holder: i64,
    read: fn(&mut Columns<'_>) -> Result<Credential>,
) -> Result<Credential> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([holder])?;
    let row: &Row<'_> =
        rows.next()?.ok_or_else(|| ErrorKind::Damaged("a secret belongs to nothing".to_owned()))?;
    read(&mut Columns::of(row))
}

fn optional_hint(columns: &mut Columns<'_>) -> Result<Option<Hint>> {
    Ok(columns.value::<Option<String>>()?.map(Hint::stored))
}

fn general_key(columns: &mut Columns<'_>) -> Result<Credential> {
    Ok(Credential {
        kind: CredentialKind::General,
        id: columns.parsed()?,
        description: columns.value()?,
        hint: optional_hint(columns)?,
        access: keys::read_access(columns)?,
        disabled: columns.value()?,
        expires_at: columns.optional_moment()?,
        rate_limit: columns.optional()?,
        owner: None,
        destination: None,
        secret_ends_at: None,
    })
}

const USER_TOKEN: &str = "
    SELECT t.id, t.description, t.hint, t.scopes, t.expires_at, u.id, u.name, u.role, u.external_id,
           u.left_at IS NOT NULL, u.rate_limit
    FROM user_token t JOIN user u ON u.id = t.user WHERE t.row = ?1";

fn user_token(columns: &mut Columns<'_>) -> Result<Credential> {
    Ok(Credential {
        kind: CredentialKind::UserToken,
        id: columns.parsed()?,
        description: columns.value()?,
        hint: optional_hint(columns)?,
        access: Access::Role(columns.optional()?),
        expires_at: columns.optional_moment()?,
        owner: Some(Owner {
            id: columns.parsed()?,
            name: columns.value()?,
            role: columns.parsed()?,
            external_id: columns.value()?,
            has_left: columns.value()?,
        }),
        rate_limit: columns.optional()?,
        destination: None,
        disabled: false,
        secret_ends_at: None,
    })
}

const APP_TOKEN: &str = "
    SELECT a.id, a.name, t.hint, t.scopes, a.scopes, t.expires_at, a.rate_limit
    FROM app_token t JOIN app a ON a.id = t.app WHERE t.row = ?1";

fn app_token(columns: &mut Columns<'_>) -> Result<Credential> {
    Ok(Credential {
        kind: CredentialKind::AppToken,
        id: columns.parsed()?,
        description: columns.value()?,
        hint: optional_hint(columns)?,
        access: {
            let asked_for: ScopeSet = columns.parsed()?;
            let app_has: ScopeSet = columns.parsed()?;
            Access::Scopes(asked_for.iter().filter(|scope| app_has.contains(scope)).cloned().collect())
        },
        expires_at: columns.optional_moment()?,
        rate_limit: columns.optional()?,
        owner: None,
        destination: None,
        disabled: false,
        secret_ends_at: None,
    })
}

const INTEGRATION: &str = "
    SELECT i.id, i.name, i.hint, d.id, d.name, i.rate_limit
    FROM integration i JOIN destination d ON d.id = i.destination WHERE i.row = ?1";

fn integration(columns: &mut Columns<'_>) -> Result<Credential> {
    Ok(Credential {
        kind: CredentialKind::Integration,
        id: columns.parsed()?,
        description: columns.value()?,
        hint: optional_hint(columns)?,
        destination: {
            let id: Id = columns.parsed()?;
            Some(DestinationRef { id, name: columns.name()? })
        },
        rate_limit: columns.optional()?,
        access: Access::Full,
        owner: None,
        disabled: false,
        expires_at: None,
        secret_ends_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_keeps_what_was_asked_for_last() {
        let mut memory = Memory::default();
        let keyring =
            crate::model::Keyring::new(&crate::model::StoreKey::from_bytes(&[1; 32]).unwrap()).unwrap();
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
        let digest = |number: usize| {
            keyring.digest(&crate::model::Secret::presented(number.to_string()).fingerprint())
        };
        for number in 0..=2 * GENERATION {
            memory.remember(&digest(number), &credential);
        }
        assert!(memory.young.len() + memory.old.len() <= 2 * GENERATION);
        assert!(memory.recall(&digest(0)).is_none(), "the oldest is forgotten");
        assert!(memory.recall(&digest(2 * GENERATION)).is_some());
        assert!(memory.recall(&digest(GENERATION)).is_some(), "one of the generation before");
        memory.at_version(7);
        assert!(memory.recall(&digest(2 * GENERATION)).is_none(), "somebody has written");
    }
}
