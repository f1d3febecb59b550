//! Apps, their client secrets and their tokens.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::columns::{self, Columns, optional_millisecond, optional_text, text};
use super::secrets::{self, Kind};
use crate::error::{ErrorKind, Result};
use crate::model::{App, AppToken, Change, Digest, Hint, Id, LiveSecret, SecretChange};
use crate::store::Flow;

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

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<App>> {
    find(connection, "a.id = ?1", [text(&id)])
}

pub(super) fn named(connection: &Connection, name: &str) -> Result<Option<App>> {
    find(connection, "a.name = ?1", [name])
}

pub(super) fn each(connection: &Connection, visit: &mut dyn FnMut(App) -> Flow) -> Result<()> {
    columns::each(connection, &format!("{SELECT} ORDER BY a.row"), [], read, visit)
}

/// Whether a change to an app stops every token that was issued to it.
pub(super) fn stops_tokens(change: &Change<App>) -> bool {
    match change {
        Change::Create(_) => false,
        Change::Update { before, after } => before.tokens_revoked_at != after.tokens_revoked_at,
        Change::Delete { .. } => true,
    }
}

pub(super) fn save(
    connection: &Connection,
    change: &Change<App>,
    secrets: SecretChange,
    at: Timestamp,
) -> Result<()> {
    let app = change.subject();
    if let Change::Delete { .. } = change {
        revoke_tokens(connection, app.id, at)?;
        return secrets::remove_holder(connection, Kind::Client, app.id, at);
    }
    if stops_tokens(change) {
        revoke_tokens(connection, app.id, at)?;
    }
    columns::save(
        connection,
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
        change,
        params![
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
        ],
    )?;
    secrets::apply(connection, Kind::Client, app.id, secrets, at)
}

/// Keeps a token that was issued, and clears away those whose day is over.
pub(super) fn issue_token(connection: &Connection, token: &AppToken, digest: &Digest) -> Result<()> {
    let over = token.issued_at.as_millisecond();
    connection.execute(
        "DELETE FROM digest WHERE kind = 'app-token' AND holder IN (SELECT row FROM app_token WHERE expires_at <= ?1)",
        [over],
    )?;
    connection.execute("DELETE FROM app_token WHERE expires_at <= ?1", [over])?;
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
    secrets::issue(connection, Kind::AppToken, connection.last_insert_rowid(), digest)
}

/// A token that is kept.
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

/// The tokens of an app that are kept, each with its digests: a token that was not tampered with has one.
pub(super) fn tokens(connection: &Connection, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
    let kept = "SELECT t.row, t.app, a.name, t.scopes, t.hint, t.issued_at, t.expires_at
                FROM app_token t JOIN app a ON a.id = t.app WHERE t.app = ?1 ORDER BY t.row";
    let digests = "SELECT digest, ends_at FROM digest WHERE kind = 'app-token' AND holder = ?1";
    columns::all(connection, kept, [text(&app)], |columns| {
        let row: i64 = columns.value()?;
        Ok((read_token(columns)?, columns::all(connection, digests, [row], secrets::read_live)?))
    })
}

/// When the `n`-th newest token of an app was issued. Rows are in the order of issuing, and so is the index.
pub(super) fn token_issued_at(connection: &Connection, app: Id, n: u32) -> Result<Option<Timestamp>> {
    columns::find(
        connection,
        "SELECT issued_at FROM app_token WHERE app = ?1 ORDER BY row DESC LIMIT 1 OFFSET ?2",
        params![text(&app), n.saturating_sub(1)],
        |row| Columns::of(row).moment(),
    )
}

/// Stops one token of an app.
pub(super) fn revoke_token(
    connection: &Connection,
    token: &AppToken,
    digest: &Digest,
    at: Timestamp,
) -> Result<()> {
    let gone = || ErrorKind::Damaged(format!("a token of {} is gone", token.app));
    let row: Option<i64> = connection
        .prepare_cached("DELETE FROM digest WHERE digest = ?1 AND kind = 'app-token' RETURNING holder")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()?;
    let removed = connection.execute(
        "DELETE FROM app_token WHERE row = ?1 AND app = ?2",
        params![row.ok_or_else(gone)?, text(&token.app)],
    )?;
    if removed != 1 {
        return Err(gone().into());
    }
    connection.execute(
        "INSERT INTO tombstone (digest, id, death, died_at) VALUES (?1, ?2, 'removed', ?3)",
        params![digest.as_bytes(), text(&token.app), at.as_millisecond()],
    )?;
    Ok(())
}

/// Stops every token of an app.
fn revoke_tokens(connection: &Connection, app: Id, at: Timestamp) -> Result<()> {
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

/// The app of a client secret.
pub(super) fn of_client_secret(
    connection: &Connection,
    digest: &Digest,
    at: Timestamp,
) -> Result<Option<App>> {
    find(
        connection,
        "a.row = (SELECT holder FROM digest
                  WHERE digest = ?1 AND kind = 'client' AND (ends_at IS NULL OR ends_at > ?2))",
        params![digest.as_bytes(), at.as_millisecond()],
    )
}
