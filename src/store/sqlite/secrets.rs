//! The digests of live secrets, and the tombstones of dead ones.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::columns::{self, Columns, not_unique, text};
use crate::error::{ErrorKind, Result};
use crate::model::{Digest, Id, LiveSecret, Noun};
use crate::store::{Death, DigestOwner, Tombstone, Unrecorded, Visit, Which};

/// A kind of secret owner: the kinds of credential, and apps, which own client secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    General,
    UserToken,
    AppToken,
    Integration,
    Client,
}

impl Kind {
    const ALL: [Self; 5] = [Self::General, Self::UserToken, Self::AppToken, Self::Integration, Self::Client];

    /// Returns the kind of a noun that owns secrets by its id.
    fn of(noun: Noun) -> Result<Self> {
        match noun {
            Noun::GeneralKey => Ok(Self::General),
            Noun::UserToken => Ok(Self::UserToken),
            Noun::Integration => Ok(Self::Integration),
            Noun::App => Ok(Self::Client),
            Noun::Account | Noun::User | Noun::Service | Noun::Orchestration | Noun::AppToken => {
                Err(ErrorKind::Damaged(format!("a {noun} owns no secrets by its id")).into())
            }
        }
    }

    /// Returns the name of the kind in the table `digest`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::UserToken => "user-token",
            Self::AppToken => "app-token",
            Self::Integration => "integration",
            Self::Client => "client",
        }
    }

    /// Returns the table of the owners.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::General => "general_key",
            Self::UserToken => "user_token",
            Self::AppToken => "app_token",
            Self::Integration => "integration",
            Self::Client => "app",
        }
    }

    /// Returns the column of that table with the id of the owner.
    const fn id_column(self) -> &'static str {
        match self {
            Self::AppToken => "app",
            _ => "id",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind of secret {text}"))
    }
}

/// Returns the kind and the row number of an owner of secrets.
pub(super) fn row_of(connection: &Connection, owner: Id) -> Result<(Kind, i64)> {
    let kind = Kind::of(owner.noun())?;
    let row = connection
        .prepare_cached(&format!("SELECT row FROM {} WHERE id = ?1", kind.table()))?
        .query_row([text(&owner)], |row| row.get(0))
        .optional()?;
    Ok((kind, row.ok_or_else(|| ErrorKind::Damaged(format!("{owner} is missing")))?))
}

pub(super) fn insert(connection: &Connection, kind: Kind, holder: i64, digest: &Digest) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO digest (digest, kind, holder) VALUES (?1, ?2, ?3)")?
        .execute(params![digest.as_bytes(), kind.as_str(), holder])
        .map_err(|error| not_unique("digest", error))?;
    Ok(())
}

/// Sets the time at which the secrets of an owner end.
pub(super) fn end(connection: &Connection, owner: Id, at: Timestamp) -> Result<()> {
    let (kind, holder) = row_of(connection, owner)?;
    connection
        .prepare_cached("UPDATE digest SET ends_at = ?3 WHERE kind = ?1 AND holder = ?2")?
        .execute(params![kind.as_str(), holder, at.as_millisecond()])?;
    Ok(())
}

/// Replaces live secrets of an owner with tombstones.
pub(super) fn bury(
    connection: &Connection,
    owner: Id,
    which: Which,
    death: Death,
    at: Timestamp,
) -> Result<()> {
    let (kind, holder) = row_of(connection, owner)?;
    let condition = match which {
        Which::All => "kind = ?1 AND holder = ?2",
        Which::Overlapped => "kind = ?1 AND holder = ?2 AND ends_at IS NOT NULL",
    };
    connection
        .prepare_cached(&format!(
            "INSERT INTO tombstone (digest, id, death, died_at) SELECT digest, ?3, ?4, ?5 FROM digest WHERE {condition}"
        ))?
        .execute(params![kind.as_str(), holder, text(&owner), death.as_str(), at.as_millisecond()])?;
    connection
        .prepare_cached(&format!("DELETE FROM digest WHERE {condition}"))?
        .execute(params![kind.as_str(), holder])?;
    Ok(())
}

/// Removes the row with an id.
pub(super) fn delete(connection: &Connection, id: Id) -> Result<()> {
    let table = match id.noun() {
        Noun::Service | Noun::Orchestration => "destination",
        noun => Kind::of(noun)?.table(),
    };
    let removed =
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([text(&id)])?;
    if removed == 1 { Ok(()) } else { Err(ErrorKind::Damaged(format!("{id} is missing")).into()) }
}

/// Returns the owner of a digest, or its tombstone.
pub(super) fn owner(connection: &Connection, digest: &Digest) -> Result<Option<DigestOwner>> {
    let mut live = connection.prepare_cached("SELECT kind, holder, ends_at FROM digest WHERE digest = ?1")?;
    let mut rows = live.query([digest.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(tombstone(connection, digest)?.map(DigestOwner::Dead)) };
    let mut columns = Columns::of(row);
    let kind: Kind = columns.parsed()?;
    let holder: i64 = columns.value()?;
    let ends_at = columns.optional_moment()?;
    let mut named = connection.prepare_cached(&format!(
        "SELECT {} FROM {} WHERE row = ?1",
        kind.id_column(),
        kind.table()
    ))?;
    let mut rows = named.query([holder])?;
    let row = rows.next()?.ok_or_else(|| ErrorKind::Damaged("a secret has no owner".to_owned()))?;
    Ok(Some(DigestOwner::Live { id: Columns::of(row).parsed()?, ends_at }))
}

/// Returns the live secrets of an owner, the current one last.
pub(super) fn live(connection: &Connection, owner: Id) -> Result<Vec<LiveSecret>> {
    let Ok(kind) = Kind::of(owner.noun()) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT d.digest, d.ends_at FROM {} t JOIN digest d ON d.kind = ?2 AND d.holder = t.row
         WHERE t.id = ?1 ORDER BY d.ends_at IS NULL, d.ends_at",
        kind.table()
    );
    columns::all(connection, &sql, params![text(&owner), kind.as_str()], read_live)
}

/// Reads a digest and the time at which it ends.
pub(super) fn read_live(columns: &mut Columns<'_>) -> Result<LiveSecret> {
    Ok(LiveSecret { digest: Digest::stored(columns.value()?), ends_at: columns.optional_moment()? })
}

/// Returns the tombstones of an owner's secrets.
pub(super) fn dead(connection: &Connection, id: Id) -> Result<Vec<(Digest, Tombstone)>> {
    let sql = "SELECT digest, id, death, died_at FROM tombstone WHERE id = ?1";
    columns::all(connection, sql, [text(&id)], |columns| {
        Ok((Digest::stored(columns.value()?), read_tombstone(columns)?))
    })
}

/// Visits what is stored without an audit record or an import entry.
pub(super) fn unrecorded(connection: &Connection, visit: Visit<'_, Unrecorded>) -> Result<()> {
    let unnamed = "NOT EXISTS (SELECT 1 FROM audit WHERE target = thing.id)
                   AND NOT EXISTS (SELECT 1 FROM imported WHERE imported.id = thing.id)";
    for table in ["user", "general_key", "user_token", "destination", "integration", "app"] {
        let sql = format!("SELECT id FROM {table} thing WHERE {unnamed}");
        let read = |row: &Row<'_>| Ok(Unrecorded::Thing(Columns::of(row).parsed()?));
        columns::each(connection, &sql, [], read, visit)?;
    }
    let sql = format!("SELECT DISTINCT id FROM tombstone thing WHERE {unnamed}");
    let read = |row: &Row<'_>| Ok(Unrecorded::DeadSecret(Columns::of(row).parsed()?));
    columns::each(connection, &sql, [], read, visit)?;
    let belongs: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            let (kind, table) = (kind.as_str(), kind.table());
            format!("(kind = '{kind}' AND EXISTS (SELECT 1 FROM {table} WHERE row = holder))")
        })
        .collect();
    let sql = format!("SELECT 1 FROM digest WHERE NOT ({})", belongs.join(" OR "));
    columns::each(connection, &sql, [], |_| Ok(Unrecorded::StraySecret), visit)
}

/// Returns the tombstone of a digest.
pub(super) fn tombstone(connection: &Connection, digest: &Digest) -> Result<Option<Tombstone>> {
    let mut dead = connection.prepare_cached("SELECT id, death, died_at FROM tombstone WHERE digest = ?1")?;
    let mut rows = dead.query([digest.as_bytes()])?;
    rows.next()?.map(|row| read_tombstone(&mut Columns::of(row))).transpose()
}

fn read_tombstone(columns: &mut Columns<'_>) -> Result<Tombstone> {
    let id = columns.parsed()?;
    let death = match columns.value::<String>()?.as_str() {
        "removed" => Death::Removed,
        "rotated" => Death::Rotated,
        other => return Err(ErrorKind::Damaged(format!("unknown cause of death {other}")).into()),
    };
    Ok(Tombstone { id, death, at: columns.moment()? })
}

/// Returns true if an id is in use or was: tombstones and the audit trail keep the ids of removed resources.
pub(super) fn is_taken(connection: &Connection, id: Id) -> Result<bool> {
    // Static statements, because an import runs one for every key.
    macro_rules! in_use {
        ($table:literal) => {
            concat!(
                "SELECT EXISTS (SELECT 1 FROM ",
                $table,
                " WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM tombstone WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM audit WHERE target = ?1)"
            )
        };
    }
    let sql = match id.noun() {
        // The API behind a gateway identifies a user by the external id, if any, so it must not be another user's id.
        Noun::User => concat!(
            in_use!("user"),
            " OR EXISTS (SELECT 1 FROM user WHERE external_id IN (?1, lower(?1)) AND left_at IS NULL)"
        ),
        Noun::GeneralKey => in_use!("general_key"),
        Noun::UserToken => in_use!("user_token"),
        Noun::Service | Noun::Orchestration => in_use!("destination"),
        Noun::Integration => in_use!("integration"),
        Noun::App => in_use!("app"),
        noun @ (Noun::Account | Noun::AppToken) => {
            return Err(ErrorKind::Damaged(format!("no table holds a {noun}")).into());
        }
    };
    Ok(connection.prepare_cached(sql)?.query_row([text(&id)], |row| row.get(0))?)
}
