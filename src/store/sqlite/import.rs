//! Adds the rows of an import.
//!
//! The digest is inserted first, with the number that the row will get. The same descent of the index finds a clash, so
//! a row whose secret clashes is never written. Rows get consecutive numbers, so that the index of a row within the
//! import follows from its number, and nothing about the added rows has to be kept in memory.

use rusqlite::{Connection, params};

use super::rows;
use super::secrets::{self, Kind};
use crate::error::{ErrorKind, Result};
use crate::model::{Digest, Noun};
use crate::store::{Clash, DigestOwner, Row};

/// The page cache during an import: 128 MiB, which SQLite expects as a negative number of KiB. Digests are random, so
/// every page of their index is modified repeatedly; pages that do not fit are written to the log each time.
const PAGES: i64 = -128 * 1024;

/// The progress of one import.
#[derive(Debug)]
pub(super) struct ImportState {
    general_keys: RowNumbers,
    user_tokens: RowNumbers,
    integrations: RowNumbers,
}

/// The numbers of the rows that an import adds to a table.
#[derive(Clone, Copy, Debug)]
struct RowNumbers {
    first: i64,
    next: i64,
}

impl RowNumbers {
    fn after(connection: &Connection, kind: Kind) -> Result<Self> {
        let sql = format!("SELECT coalesce(max(row), 0) + 1 FROM {}", kind.table());
        let first = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(Self { first, next: first })
    }
}

impl ImportState {
    pub(super) fn begin(connection: &Connection) -> Result<Self> {
        connection.pragma_update(None, "cache_size", PAGES)?;
        Ok(Self {
            general_keys: RowNumbers::after(connection, Kind::General)?,
            user_tokens: RowNumbers::after(connection, Kind::UserToken)?,
            integrations: RowNumbers::after(connection, Kind::Integration)?,
        })
    }

    const fn numbers(&mut self, kind: Kind) -> Option<&mut RowNumbers> {
        match kind {
            Kind::General => Some(&mut self.general_keys),
            Kind::UserToken => Some(&mut self.user_tokens),
            Kind::Integration => Some(&mut self.integrations),
            Kind::AppToken | Kind::Client => None,
        }
    }

    /// Adds a digest for the next row of a table, and then the row; or returns the clash of the digest.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        row: Row<'_>,
        digest: &Digest,
    ) -> Result<Option<Clash>> {
        let kind = match row {
            Row::GeneralKey(_) => Kind::General,
            Row::UserToken(_) => Kind::UserToken,
            Row::Integration(_) => Kind::Integration,
            Row::Account(_) | Row::User(_) | Row::Destination(_) | Row::App(_) => {
                return Err(ErrorKind::Damaged("an import adds credentials only".to_owned()).into());
            }
        };
        if let Some(tombstone) = secrets::tombstone(connection, digest)? {
            return Ok(Some(Clash::Dead(tombstone)));
        }
        let Some(number) = self.numbers(kind).map(|numbers| numbers.next) else {
            return Err(ErrorKind::Damaged(format!("no import adds a row of {}", kind.table())).into());
        };
        let added = connection
            .prepare_cached(
                "INSERT INTO digest (digest, kind, holder) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute(params![digest.as_bytes(), kind.as_str(), number])?;
        if added == 0 {
            return self.clash(connection, digest).map(Some);
        }
        rows::with_values(row, |table, values| table.insert(connection, values))?;
        if connection.last_insert_rowid() != number {
            return Err(ErrorKind::Damaged(format!("the rows of {} are out of order", kind.table())).into());
        }
        if let Some(numbers) = self.numbers(kind) {
            numbers.next = number + 1;
        }
        Ok(None)
    }

    /// Returns the clash for a digest that exists.
    fn clash(&mut self, connection: &Connection, digest: &Digest) -> Result<Clash> {
        let (kind, row): (String, i64) = connection
            .prepare_cached("SELECT kind, holder FROM digest WHERE digest = ?1")?
            .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let kind: Kind = kind.parse().map_err(ErrorKind::Damaged)?;
        if let Some(numbers) = self.numbers(kind)
            && let Ok(index) = u64::try_from(row - numbers.first)
        {
            let noun = match kind {
                Kind::UserToken => Noun::UserToken,
                Kind::Integration => Noun::Integration,
                _ => Noun::GeneralKey,
            };
            return Ok(Clash::Added { noun, index });
        }
        match secrets::owner(connection, digest)? {
            Some(DigestOwner::Live { id, .. }) => Ok(Clash::Taken(id)),
            Some(DigestOwner::Dead(tombstone)) => Ok(Clash::Dead(tombstone)),
            None => Err(ErrorKind::Damaged("a secret has no owner".to_owned()).into()),
        }
    }
}
