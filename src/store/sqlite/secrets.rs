//! The digests of secrets, and the tombstones of those that are dead.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::{Columns, optional_millisecond, text};
use crate::error::{Conflict, ErrorKind, Result};
use crate::model::{Digest, Id, Noun, SecretChange};
use crate::store::{Death, Holder, Tombstone};

/// What has secrets: the kinds of credential, and the apps with their client secrets.
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

    /// The kind as the `digest` table names it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::UserToken => "user-token",
            Self::AppToken => "app-token",
            Self::Integration => "integration",
            Self::Client => "client",
        }
    }

    /// The table that holds what has the secrets.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::General => "general_key",
            Self::UserToken => "user_token",
            Self::AppToken => "app_token",
            Self::Integration => "integration",
            Self::Client => "app",
        }
    }

    /// The column of that table with the id.
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
            .ok_or_else(|| format!("no kind is called {text}"))
    }
}

/// Makes a change to the secrets of a credential.
pub(super) fn apply(
    connection: &Connection,
    kind: Kind,
    id: Id,
    change: SecretChange,
    at: Timestamp,
) -> Result<()> {
    let holder = match change {
        SecretChange::Keep => return Ok(()),
        _ => row_of(connection, kind, id)?,
    };
    match change {
        SecretChange::Keep => Ok(()),
        SecretChange::Issue(digest) => issue(connection, kind, holder, &digest),
        SecretChange::EndOverlap => kill(connection, kind, holder, id, Which::Overlapped, Death::Rotated, at),
        SecretChange::Rotate { new, old_ends_at: None } => {
            kill(connection, kind, holder, id, Which::All, Death::Rotated, at)?;
            issue(connection, kind, holder, &new)
        }
        SecretChange::Rotate { new, old_ends_at } => {
            kill(connection, kind, holder, id, Which::Overlapped, Death::Rotated, at)?;
            connection
                .prepare_cached("UPDATE digest SET ends_at = ?3 WHERE kind = ?1 AND holder = ?2")?
                .execute(params![kind.as_str(), holder, optional_millisecond(old_ends_at)])?;
            issue(connection, kind, holder, &new)
        }
    }
}

/// Removes a credential from the table of its kind, and kills every secret that it has.
pub(super) fn remove_holder(connection: &Connection, kind: Kind, id: Id, at: Timestamp) -> Result<()> {
    let holder = row_of(connection, kind, id)?;
    kill(connection, kind, holder, id, Which::All, Death::Removed, at)?;
    connection.prepare_cached(&format!("DELETE FROM {} WHERE row = ?1", kind.table()))?.execute([holder])?;
    Ok(())
}

fn row_of(connection: &Connection, kind: Kind, id: Id) -> Result<i64> {
    connection
        .prepare_cached(&format!("SELECT row FROM {} WHERE id = ?1", kind.table()))?
        .query_row([text(&id)], |row| row.get(0))
        .optional()?
        .ok_or_else(|| ErrorKind::Damaged(format!("{id} is gone")).into())
}

#[derive(Clone, Copy)]
enum Which {
    All,
    Overlapped,
}

pub(super) fn issue(connection: &Connection, kind: Kind, holder: i64, digest: &Digest) -> Result<()> {
    // A secret that is dead for good does not come back to life.
    let dead: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM tombstone WHERE digest = ?1)")?
        .query_row([digest.as_bytes()], |row| row.get(0))?;
    if dead {
        return Err(Conflict::DeadSecret.into());
    }
    connection
        .prepare_cached("INSERT INTO digest (digest, kind, holder) VALUES (?1, ?2, ?3)")?
        .execute(params![digest.as_bytes(), kind.as_str(), holder])?;
    Ok(())
}

fn kill(
    connection: &Connection,
    kind: Kind,
    holder: i64,
    id: Id,
    which: Which,
    death: Death,
    at: Timestamp,
) -> Result<()> {
    let condition = match which {
        Which::All => "kind = ?1 AND holder = ?2",
        Which::Overlapped => "kind = ?1 AND holder = ?2 AND ends_at IS NOT NULL",
    };
    let death = match death {
        Death::Removed => "removed",
        Death::Rotated => "rotated",
    };
    connection
        .prepare_cached(&format!(
            "INSERT INTO tombstone (digest, id, death, died_at) SELECT digest, ?3, ?4, ?5 FROM digest WHERE {condition}"
        ))?
        .execute(params![kind.as_str(), holder, text(&id), death, at.as_millisecond()])?;
    connection
        .prepare_cached(&format!("DELETE FROM digest WHERE {condition}"))?
        .execute(params![kind.as_str(), holder])?;
    Ok(())
}

/// What a digest belongs to, dead or alive.
pub(super) fn holder(connection: &Connection, digest: &Digest) -> Result<Option<Holder>> {
    let mut live = connection.prepare_cached("SELECT kind, holder, ends_at FROM digest WHERE digest = ?1")?;
    let mut rows = live.query([digest.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(tombstone(connection, digest)?.map(Holder::Dead)) };
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
    let row = rows.next()?.ok_or_else(|| ErrorKind::Damaged("a secret belongs to nothing".to_owned()))?;
    Ok(Some(Holder::Live { id: Columns::of(row).parsed()?, ends_at }))
}

/// What is left of a secret that is dead for good.
pub(super) fn tombstone(connection: &Connection, digest: &Digest) -> Result<Option<Tombstone>> {
    let mut dead = connection.prepare_cached("SELECT id, death, died_at FROM tombstone WHERE digest = ?1")?;
    let mut rows = dead.query([digest.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::of(row);
    let id = columns.parsed()?;
    let death = match columns.value::<String>()?.as_str() {
        "removed" => Death::Removed,
        "rotated" => Death::Rotated,
        other => return Err(ErrorKind::Damaged(format!("a secret cannot be {other}")).into()),
    };
    Ok(Some(Tombstone { id, death, at: columns.moment()? }))
}

/// Whether an id is in use, or was: tombstones and the audit trail remember what is gone.
pub(super) fn is_taken(connection: &Connection, id: Id) -> Result<bool> {
    // Whole statements, since every key of an import asks.
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
        Noun::User => in_use!("user"),
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
