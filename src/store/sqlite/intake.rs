//! Taking in what an import brings: rows without a record each.
//!
//! The digest goes in first, under the number that the row will have. Whether it is there already is found out by that
//! same descent of the tree, and a row whose secret clashes is never written. What is added gets the numbers one after
//! the other, so that the how-manieth it was need not be remembered.

use rusqlite::{CachedStatement, Connection, params};

use super::secrets::{self, Kind};
use super::{imported, integrations, keys, tokens, users};
use crate::error::{ErrorKind, Result};
use crate::model::{
    Audited, Change, Digest, GeneralKey, Id, ImportedThing, Integration, Keyring, Noun, SecretChange, User,
    UserToken,
};
use crate::store::{Clash, Holder, ImportEntry, Intake, Read};

/// How much of the file is kept in memory while much is added, in SQLite's spelling of 128 MiB. Digests are random, so
/// that every part of their tree is written again and again; what does not fit goes to the log each time.
const PAGES: i64 = -128 * 1024;

/// The intake of one import.
pub(super) struct SqliteIntake<'t> {
    connection: &'t Connection,
    store: &'t dyn Read,
    keyring: &'t Keyring,
    issue: CachedStatement<'t>,
    entry: CachedStatement<'t>,
    /// The number of the import's record.
    record: u64,
    /// Of the million that an import can have, most are general keys.
    general_key: CachedStatement<'t>,
    general_keys: Rows,
    user_tokens: Rows,
    integrations: Rows,
}

/// The numbers of the rows of a table.
#[derive(Clone, Copy)]
struct Rows {
    /// That of the first that is added.
    first: i64,
    /// That of the next.
    next: i64,
}

impl Rows {
    fn of(connection: &Connection, kind: Kind) -> Result<Self> {
        let sql = format!("SELECT coalesce(max(row), 0) + 1 FROM {}", kind.table());
        let first = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(Self { first, next: first })
    }
}

impl<'t> SqliteIntake<'t> {
    pub(super) fn new(
        connection: &'t Connection,
        store: &'t dyn Read,
        keyring: &'t Keyring,
        record: u64,
    ) -> Result<Self> {
        connection.pragma_update(None, "cache_size", PAGES)?;
        Ok(Self {
            connection,
            store,
            keyring,
            issue: connection.prepare_cached(
                "INSERT INTO digest (digest, kind, holder) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?,
            entry: connection.prepare_cached(imported::INSERT)?,
            record,
            general_key: keys::insertion(connection)?,
            general_keys: Rows::of(connection, Kind::General)?,
            user_tokens: Rows::of(connection, Kind::UserToken)?,
            integrations: Rows::of(connection, Kind::Integration)?,
        })
    }

    /// The rows of what this import can add.
    const fn rows(&mut self, kind: Kind) -> Option<&mut Rows> {
        match kind {
            Kind::General => Some(&mut self.general_keys),
            Kind::UserToken => Some(&mut self.user_tokens),
            Kind::Integration => Some(&mut self.integrations),
            Kind::AppToken | Kind::Client => None,
        }
    }

    /// Issues a digest to the next row of a table, and lets `add` write that row; or says what is in the way.
    fn add(
        &mut self,
        kind: Kind,
        digest: &Digest,
        add: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Option<Clash>> {
        if let Some(tombstone) = secrets::tombstone(self.connection, digest)? {
            return Ok(Some(Clash::Dead(tombstone)));
        }
        let Some(row) = self.rows(kind).map(|rows| rows.next) else {
            return Err(ErrorKind::Damaged(format!("no import adds a row of {}", kind.table())).into());
        };
        if self.issue.execute(params![digest.as_bytes(), kind.as_str(), row])? == 0 {
            return self.clash(digest).map(Some);
        }
        add(self)?;
        if self.connection.last_insert_rowid() != row {
            return Err(ErrorKind::Damaged(format!("the rows of {} are out of order", kind.table())).into());
        }
        if let Some(rows) = self.rows(kind) {
            rows.next = row + 1;
        }
        Ok(None)
    }

    /// Keeps what came in, for the import's record to commit to.
    fn note<T: Audited>(&mut self, id: Id, thing: &T, digest: Option<&Digest>) -> Result<()> {
        let thing = ImportedThing::new(thing, digest.map(|digest| self.keyring.mark(digest)));
        let entry = ImportEntry { record: self.record, content: thing.to_text()? };
        imported::insert(&mut self.entry, id, &entry)
    }

    /// Whose a digest is.
    fn clash(&mut self, digest: &Digest) -> Result<Clash> {
        let (kind, row): (String, i64) = self
            .connection
            .prepare_cached("SELECT kind, holder FROM digest WHERE digest = ?1")?
            .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let kind: Kind = kind.parse().map_err(ErrorKind::Damaged)?;
        if let Some(rows) = self.rows(kind)
            && let Ok(nth) = u64::try_from(row - rows.first)
        {
            let noun = match kind {
                Kind::UserToken => Noun::UserToken,
                Kind::Integration => Noun::Integration,
                _ => Noun::GeneralKey,
            };
            return Ok(Clash::Added { noun, nth });
        }
        match secrets::holder(self.connection, digest)? {
            Some(Holder::Live { id, .. }) => Ok(Clash::Taken(id)),
            Some(Holder::Dead(tombstone)) => Ok(Clash::Dead(tombstone)),
            None => Err(ErrorKind::Damaged("a secret belongs to nothing".to_owned()).into()),
        }
    }
}

impl Intake for SqliteIntake<'_> {
    fn store(&self) -> &dyn Read {
        self.store
    }

    fn keyring(&self) -> &Keyring {
        self.keyring
    }

    fn add_general_key(&mut self, key: &GeneralKey, digest: &Digest) -> Result<Option<Clash>> {
        self.add(Kind::General, digest, |intake| {
            intake.note(key.id, key, Some(digest))?;
            keys::insert(&mut intake.general_key, key)
        })
    }

    fn add_user_token(&mut self, token: &UserToken, digest: &Digest) -> Result<Option<Clash>> {
        let change = Change::Create(token.clone());
        let at = token.created_at;
        self.add(Kind::UserToken, digest, |intake| {
            intake.note(token.id, token, Some(digest))?;
            tokens::save(intake.connection, &change, SecretChange::Keep, at)
        })
    }

    fn add_integration(&mut self, integration: &Integration, digest: &Digest) -> Result<Option<Clash>> {
        let change = Change::Create(integration.clone());
        let at = integration.created_at;
        self.add(Kind::Integration, digest, |intake| {
            intake.note(integration.id, integration, Some(digest))?;
            integrations::save(intake.connection, &change, SecretChange::Keep, at)
        })
    }

    fn add_user(&mut self, user: &User) -> Result<()> {
        self.note(user.id, user, None)?;
        users::save(self.connection, &Change::Create(user.clone()))
    }
}
