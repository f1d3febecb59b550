//! Apps, their client secrets and their tokens.

use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, ToSql, params};

use super::columns::{self, Columns, Table, optional_millisecond, optional_text, text};
use super::secrets::{self, Kind};
use crate::error::Result;
use crate::model::{App, AppToken, Digest, Hint, Id, LiveSecret};
use crate::store::{AppBy, AppQuery, Visit};

const SELECT: &str = "
    SELECT a.id, a.name, a.description, a.scopes, a.hint, a.rate_limit, a.overlap_ends_at, a.tokens_revoked_at, a.created_at,
           maker.id, maker.name
    FROM app a JOIN user maker ON maker.id = a.created_by";

fn read(row: &rusqlite::Row<'_>) -> Result<App> {
    let mut columns = Columns::of(row);
    Ok(App {
        id: columns.parsed()?,
        name: columns.name()?,
        description: columns.optional()?,
        scopes: columns.parsed()?,
        hint: Hint::stored(columns.value()?),
        rate_limit: columns.optional()?,
        overlap_ends_at: columns.optional_moment()?,
        tokens_revoked_at: columns.optional_moment()?,
        created_at: columns.moment()?,
        created_by: columns.user()?,
        last_used_at: None,
    })
}

fn find(connection: &Connection, condition: &str, params: impl Params) -> Result<Option<App>> {
    columns::find(connection, &format!("{SELECT} WHERE {condition}"), params, read)
}

pub(super) fn get(connection: &Connection, by: AppBy<'_>) -> Result<Option<App>> {
    match by {
        AppBy::Id(id) => find(connection, "a.id = ?1", [text(&id)]),
        AppBy::Name(name) => find(connection, "a.name = ?1", [name]),
        AppBy::ClientSecret(digest, at) => find(
            connection,
            "a.row = (SELECT holder FROM digest
                      WHERE digest = ?1 AND kind = 'client' AND (ends_at IS NULL OR ends_at > ?2))",
            params![digest.as_bytes(), at.as_millisecond()],
        ),
    }
}

pub(super) fn list(connection: &Connection, query: &AppQuery, visit: Visit<'_, App>) -> Result<()> {
    columns::page(connection, (SELECT, "app", "a"), None, query.page, read, visit)
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "app",
        &[
            "id",
            "name",
            "description",
            "scopes",
            "hint",
            "rate_limit",
            "overlap_ends_at",
            "tokens_revoked_at",
            "created_at",
            "created_by",
        ],
    )
});

/// Calls `take` with the column values of an app.
pub(super) fn with_values<T>(app: &App, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        text(&app.id),
        app.name.as_str(),
        optional_text(app.description.as_ref()),
        text(&app.scopes),
        app.hint.as_str(),
        optional_text(app.rate_limit.as_ref()),
        optional_millisecond(app.overlap_ends_at),
        optional_millisecond(app.tokens_revoked_at),
        app.created_at.as_millisecond(),
        text(&app.created_by.id),
    ])
}

/// Removes tokens that expired at or before the given time.
pub(super) fn sweep_tokens(connection: &Connection, expired_by: Timestamp) -> Result<()> {
    let expired_by = expired_by.as_millisecond();
    connection.execute(
        "DELETE FROM digest WHERE kind = 'app-token' AND holder IN (SELECT row FROM app_token WHERE expires_at <= ?1)",
        [expired_by],
    )?;
    connection.execute("DELETE FROM app_token WHERE expires_at <= ?1", [expired_by])?;
    Ok(())
}

/// Adds a token with its secret.
pub(super) fn insert_token(connection: &Connection, token: &AppToken, digest: &Digest) -> Result<()> {
    connection.execute(
        "INSERT INTO app_token (app, scopes, hint, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            text(&token.app),
            text(&token.scopes),
            token.hint.as_str(),
            token.issued_at.as_millisecond(),
            token.expires_at.as_millisecond()
        ],
    )?;
    secrets::insert(connection, Kind::AppToken, connection.last_insert_rowid(), digest)
}

/// Returns a token by its digest.
pub(super) fn token(connection: &Connection, digest: &Digest) -> Result<Option<AppToken>> {
    columns::find(
        connection,
        "SELECT t.app, a.name, t.scopes, t.hint, t.issued_at, t.expires_at
         FROM digest d JOIN app_token t ON t.row = d.holder JOIN app a ON a.id = t.app
         WHERE d.digest = ?1 AND d.kind = 'app-token'",
        [digest.as_bytes()],
        |row| read_token(&mut Columns::of(row)),
    )
}

fn read_token(columns: &mut Columns<'_>) -> Result<AppToken> {
    Ok(AppToken {
        app: columns.parsed()?,
        app_name: columns.name()?,
        scopes: columns.parsed()?,
        hint: Hint::stored(columns.value()?),
        issued_at: columns.moment()?,
        expires_at: columns.moment()?,
    })
}

/// Returns the stored tokens of an app, each with its digests. A token has exactly one unless the store was tampered
/// with.
pub(super) fn tokens(connection: &Connection, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
    let kept = "SELECT t.row, t.app, a.name, t.scopes, t.hint, t.issued_at, t.expires_at
                FROM app_token t JOIN app a ON a.id = t.app WHERE t.app = ?1 ORDER BY t.row";
    let digests = "SELECT digest, ends_at FROM digest WHERE kind = 'app-token' AND holder = ?1";
    columns::all(connection, kept, [text(&app)], |columns| {
        let row: i64 = columns.value()?;
        Ok((read_token(columns)?, columns::all(connection, digests, [row], secrets::read_live)?))
    })
}

/// Returns when the `n`-th newest token of an app was issued. The row numbers, and so the index, are in that order.
pub(super) fn token_issued_at(connection: &Connection, app: Id, n: u32) -> Result<Option<Timestamp>> {
    columns::find(
        connection,
        "SELECT issued_at FROM app_token WHERE app = ?1 ORDER BY row DESC LIMIT 1 OFFSET ?2",
        params![text(&app), n.saturating_sub(1)],
        |row| Columns::of(row).moment(),
    )
}

/// Removes one token and adds a tombstone of its secret. Returns false if there is no such token.
pub(super) fn bury_token(
    connection: &Connection,
    token: &AppToken,
    digest: &Digest,
    at: Timestamp,
) -> Result<bool> {
    let row: Option<i64> = connection
        .prepare_cached("DELETE FROM digest WHERE digest = ?1 AND kind = 'app-token' RETURNING holder")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(row) = row else { return Ok(false) };
    connection.execute(
        "INSERT INTO tombstone (digest, id, death, died_at) VALUES (?1, ?2, 'removed', ?3)",
        params![digest.as_bytes(), text(&token.app), at.as_millisecond()],
    )?;
    let removed = connection
        .execute("DELETE FROM app_token WHERE row = ?1 AND app = ?2", params![row, text(&token.app)])?;
    Ok(removed == 1)
}

/// Removes every token of an app and adds a tombstone of each secret.
pub(super) fn bury_tokens(connection: &Connection, app: Id, at: Timestamp) -> Result<()> {
    connection.execute(
        "INSERT INTO tombstone (digest, id, death, died_at)
         SELECT digest, ?1, 'removed', ?2 FROM digest
         WHERE kind = 'app-token' AND holder IN (SELECT row FROM app_token WHERE app = ?1)",
        params![text(&app), at.as_millisecond()],
    )?;
    connection.execute(
        "DELETE FROM digest WHERE kind = 'app-token' AND holder IN (SELECT row FROM app_token WHERE app = ?1)",
        [text(&app)],
    )?;
    connection.execute("DELETE FROM app_token WHERE app = ?1", [text(&app)])?;
    Ok(())
}
