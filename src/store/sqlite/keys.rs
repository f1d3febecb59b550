//! General keys.

use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::columns::{self, Columns, optional_millisecond, optional_text, text};
use super::secrets::{self, Kind};
use crate::error::{ErrorKind, Result};
use crate::model::{
    Access, AccessKind, Change, Disabled, GeneralKey, Hint, Id, KeyOrder, ScopeSet, SecretChange,
};
use crate::store::Flow;

const SELECT: &str = "
    SELECT k.id, k.description, k.hint, k.access, k.scopes, k.created_at, k.created_by, maker.name,
           k.disabled_at, k.disabled_by, disabler.name, k.disabled_reason, k.expires_at, k.rate_limit, k.overlap_ends_at
    FROM general_key k
    JOIN user maker ON maker.id = k.created_by
    LEFT JOIN user disabler ON disabler.id = k.disabled_by";

fn read(row: &rusqlite::Row<'_>) -> Result<GeneralKey> {
    let mut columns = Columns::of(row);
    Ok(GeneralKey {
        id: columns.parsed()?,
        description: columns.label()?,
        hint: columns.value::<Option<String>>()?.map(Hint::stored),
        access: read_access(&mut columns)?,
        created_at: columns.moment()?,
        created_by: columns.user()?,
        disabled: read_disabled(&mut columns)?,
        expires_at: columns.optional_moment()?,
        rate_limit: columns.optional()?,
        overlap_ends_at: columns.optional_moment()?,
        last_used_at: None,
    })
}

/// Reads the two columns that say what a key may reach.
pub(super) fn read_access(columns: &mut Columns<'_>) -> Result<Access> {
    let kind: AccessKind = columns.parsed()?;
    let scopes: Option<ScopeSet> = columns.optional()?;
    match (kind, scopes) {
        (AccessKind::Full, None) => Ok(Access::Full),
        (AccessKind::ReadOnly, None) => Ok(Access::ReadOnly),
        (AccessKind::Scopes, Some(scopes)) => Ok(Access::Scopes(scopes)),
        (AccessKind::Role, scopes) => Ok(Access::Role(scopes)),
        (kind, _) => Err(ErrorKind::Damaged(format!("access {kind} does not fit its scopes")).into()),
    }
}

fn read_disabled(columns: &mut Columns<'_>) -> Result<Option<Disabled>> {
    let at = columns.optional_moment()?;
    let by = columns.optional_user()?;
    let reason = columns.optional_label()?;
    Ok(at.map(|at| Disabled { at, by, reason }))
}

pub(super) fn with_id(connection: &Connection, id: Id) -> Result<Option<GeneralKey>> {
    columns::find(connection, &format!("{SELECT} WHERE k.id = ?1"), [text(&id)], read)
}

pub(super) fn each(
    connection: &Connection,
    order: KeyOrder,
    reverse: bool,
    visit: &mut dyn FnMut(GeneralKey) -> Flow,
) -> Result<()> {
    // Row order is the order of making. Nothing was ever used where there is no usage file.
    let order = match (order, reverse) {
        (KeyOrder::Created | KeyOrder::LastUsed, false) => "k.row",
        (KeyOrder::Created | KeyOrder::LastUsed, true) => "k.row DESC",
        (KeyOrder::Description, false) => "k.description, k.row",
        (KeyOrder::Description, true) => "k.description DESC, k.row DESC",
        (KeyOrder::Expires, false) => "k.expires_at NULLS LAST, k.row",
        (KeyOrder::Expires, true) => "k.expires_at DESC NULLS FIRST, k.row DESC",
    };
    columns::each(connection, &format!("{SELECT} ORDER BY {order}"), [], read, visit)
}

/// Shows keys in the order of their last use, which comes from the usage file; those that it does not know were never
/// used.
pub(super) fn each_by_last_use(
    connection: &Connection,
    last_uses: &[(Id, Timestamp)],
    reverse: bool,
    visit: &mut dyn FnMut(GeneralKey) -> Flow,
) -> Result<()> {
    let known: HashSet<Id> = last_uses.iter().map(|(id, _)| *id).collect();
    let never_used = |visit: &mut dyn FnMut(GeneralKey) -> Flow| {
        let mut flow = ControlFlow::Continue(());
        each(connection, KeyOrder::Created, reverse, &mut |key| {
            if !known.contains(&key.id) {
                flow = visit(key)?;
            }
            Ok(flow)
        })?;
        Ok::<_, crate::error::Error>(flow)
    };
    let used = |visit: &mut dyn FnMut(GeneralKey) -> Flow| {
        for (id, at) in last_uses {
            if let Some(key) = with_id(connection, *id)?
                && visit(GeneralKey { last_used_at: Some(*at), ..key })?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok::<_, crate::error::Error>(ControlFlow::Continue(()))
    };
    let flow = if reverse { used(visit)? } else { never_used(visit)? };
    if flow.is_continue() {
        let _ = if reverse { never_used(visit)? } else { used(visit)? };
    }
    Ok(())
}

const TABLE: &str = "general_key";
const COLUMNS: &[&str] = &[
    "id",
    "description",
    "hint",
    "access",
    "scopes",
    "created_at",
    "created_by",
    "disabled_at",
    "disabled_by",
    "disabled_reason",
    "expires_at",
    "rate_limit",
    "overlap_ends_at",
];

/// Lends what the columns hold of a key.
fn with_values<T>(key: &GeneralKey, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let disabled = key.disabled.as_ref();
    take(params![
        text(&key.id),
        key.description.as_str(),
        key.hint.as_ref().map(Hint::as_str),
        key.access.kind().as_str(),
        optional_text(key.access.scopes()),
        key.created_at.as_millisecond(),
        text(&key.created_by.id),
        optional_millisecond(disabled.map(|disabled| disabled.at)),
        disabled.and_then(|disabled| Some(text(&disabled.by.as_ref()?.id))),
        disabled.and_then(|disabled| optional_text(disabled.reason.as_ref())),
        optional_millisecond(key.expires_at),
        optional_text(key.rate_limit.as_ref()),
        optional_millisecond(key.overlap_ends_at),
    ])
}

pub(super) fn save(
    connection: &Connection,
    change: &Change<GeneralKey>,
    secrets: SecretChange,
    at: Timestamp,
) -> Result<()> {
    let key = change.subject();
    if let Change::Delete { .. } = change {
        return secrets::remove_holder(connection, Kind::General, key.id, at);
    }
    with_values(key, |values| columns::save(connection, TABLE, COLUMNS, change, values))?;
    secrets::apply(connection, Kind::General, key.id, secrets, at)
}

/// Prepares for adding many keys one after the other.
pub(super) fn insertion(connection: &Connection) -> Result<CachedStatement<'_>> {
    Ok(connection.prepare_cached(&columns::insert(TABLE, COLUMNS))?)
}

/// Adds a key by such a statement.
pub(super) fn insert(insertion: &mut CachedStatement<'_>, key: &GeneralKey) -> Result<()> {
    with_values(key, |values| insertion.execute(values))?;
    Ok(())
}
