//! Finds the credential that a digest belongs to, which every check needs.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Row, Statement};

use super::columns::Columns;
use super::keys;
use super::secrets::{self, Kind};
use crate::error::{ErrorKind, Result};
use crate::model::{Access, Credential, CredentialKind, DestinationRef, Digest, Hint, Id, Owner, ScopeSet};
use crate::store::LookupResult;

/// Finds the credentials of digests. All results are from one snapshot if the connection is in a transaction.
pub(super) struct CredentialFinder<'c> {
    connection: &'c Connection,
    select: Option<CachedStatement<'c>>,
}

impl<'c> CredentialFinder<'c> {
    /// Returns a finder that uses a connection.
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, select: None }
    }

    /// Returns the credential or the tombstone of a digest.
    pub(super) fn find(&mut self, digest: &Digest) -> Result<LookupResult> {
        let Self { connection, select } = self;
        let select = match select {
            Some(select) => select,
            none => none.insert(connection.prepare_cached(SELECT)?),
        };
        if let Some(credential) = read(connection, select, digest)? {
            return Ok(LookupResult::Known(Arc::new(credential)));
        }
        Ok(secrets::tombstone(connection, digest)?.map_or(LookupResult::Unknown, LookupResult::Dead))
    }
}

/// Selects the digest and, if it is that of a general key, the key: most checks are of general keys.
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
        // A client secret is not a credential for checks. It can only be exchanged for a token.
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
    let row: &Row<'_> = rows.next()?.ok_or_else(|| ErrorKind::Damaged("a secret has no owner".to_owned()))?;
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
