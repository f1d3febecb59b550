//! General keys.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params};

use super::columns::{self, Columns, Table, optional_millisecond, optional_text, text};
use super::transaction::Usage;
use super::usage;
use crate::error::{ErrorKind, Result};
use crate::model::{
    Access, AccessKind, Disabled, GeneralKey, Hint, Id, KeyFilter, KeyOrder, KeyState, ScopeSet,
};
use crate::store::{Flow, KeyQuery, Page, Visit};

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

/// Reads the two columns of a key's access.
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

pub(super) fn get(connection: &Connection, id: Id) -> Result<Option<GeneralKey>> {
    columns::find(connection, &format!("{SELECT} WHERE k.id = ?1"), [text(&id)], read)
}

/// Visits keys. Times of last use are in the usage file and cannot be joined in SQL, so they are added here, and keys
/// are filtered and ordered by them here.
pub(super) fn list(
    connection: &Connection,
    usage: Usage<'_>,
    query: &KeyQuery,
    visit: Visit<'_, GeneralKey>,
) -> Result<()> {
    if query.order == KeyOrder::LastUsed
        && let Some(last_uses) = usage.read(|usage| usage::last_uses(usage, query.reverse))
    {
        return list_by_last_use(connection, &last_uses, query, visit);
    }
    let last_used = |key: GeneralKey| GeneralKey { last_used_at: usage.last_used(key.id), ..key };
    if query.filter.unused_since.is_none() {
        return rows(connection, query, query.page, &mut |key| visit(last_used(key)));
    }
    let mut left = query.page.limit.unwrap_or(u64::MAX);
    rows(connection, query, Page { limit: None, ..query.page }, &mut |key| {
        let key = last_used(key);
        if query.filter.matches(&key, query.at) { visit_some(&mut left, key, visit) } else { Ok(GO_ON) }
    })
}

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

/// Visits a key and decrements the number left to visit. Breaks when none is left.
fn visit_some(left: &mut u64, key: GeneralKey, visit: Visit<'_, GeneralKey>) -> Flow {
    if *left == 0 {
        return Ok(ControlFlow::Break(()));
    }
    *left -= 1;
    if visit(key)?.is_break() || *left == 0 { Ok(ControlFlow::Break(())) } else { Ok(GO_ON) }
}

/// Visits a page of the keys that match the conditions on the main database.
fn rows(connection: &Connection, query: &KeyQuery, page: Page, visit: Visit<'_, GeneralKey>) -> Result<()> {
    if page.limit == Some(0) {
        return Ok(());
    }
    let (sql, values) = select(connection, query, page)?;
    columns::each(connection, &sql, rusqlite::params_from_iter(values), read, visit)
}

/// Returns the SQL statement for a page of keys, and its parameters.
fn select(connection: &Connection, query: &KeyQuery, page: Page) -> Result<(String, Vec<Value>)> {
    let KeyFilter { state, access, created_by, text: part, unused_since: _, ends_by } = &query.filter;
    let at = query.at.as_millisecond();
    let mut values: Vec<Value> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    match state {
        None => {}
        Some(KeyState::Disabled) => conditions.push("k.disabled_at IS NOT NULL".to_owned()),
        Some(KeyState::Expired) => {
            conditions.push(format!("k.disabled_at IS NULL AND k.expires_at <= {}", bind(at.into())));
        }
        Some(KeyState::Active) => conditions.push(format!(
            "k.disabled_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > {})",
            bind(at.into())
        )),
    }
    if let Some(access) = access {
        conditions.push(format!("k.access = {}", bind(access.as_str().to_owned().into())));
    }
    if let Some(user) = created_by {
        conditions.push(format!("k.created_by = {}", bind(text(user).into())));
    }
    if let Some(by) = ends_by {
        let (at, by) = (bind(at.into()), bind(by.as_millisecond().into()));
        conditions.push(format!("k.disabled_at IS NULL AND k.expires_at > {at} AND k.expires_at <= {by}"));
    }
    if let Some(part) = part {
        register_contains(connection)?;
        conditions.push(format!("contains(k.description, {})", bind(part.to_lowercase().into())));
    }
    // Rows are in the order of creation. Without a usage file, no key has ever been used.
    let order: &[&str] = match query.order {
        KeyOrder::Created | KeyOrder::LastUsed => &["row"],
        KeyOrder::Description => &["description", "row"],
        KeyOrder::Expires => &["ifnull(expires_at, 9223372036854775807)", "row"],
    };
    let of = |alias: &str| {
        let column = |column: &&str| match column.strip_prefix("ifnull(") {
            Some(rest) => format!("ifnull({alias}.{rest}"),
            None => format!("{alias}.{column}"),
        };
        order.iter().map(column).collect::<Vec<_>>()
    };
    if let Some(after) = page.after {
        let follows = if query.reverse { "<" } else { ">" };
        conditions.push(format!(
            "({}) {follows} (SELECT {} FROM general_key p WHERE p.id = {})",
            of("k").join(", "),
            of("p").join(", "),
            bind(text(&after).into())
        ));
    }
    let direction = if query.reverse { " DESC" } else { "" };
    let order: Vec<_> = of("k").into_iter().map(|column| format!("{column}{direction}")).collect();
    let conditions =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let limit = bind(columns::most(page.limit).into());
    Ok((format!("{SELECT}{conditions} ORDER BY {} LIMIT {limit}", order.join(", ")), values))
}

/// Registers the SQL function `contains(text, part)`, which ignores case in any script. `part` must be lower case.
fn register_contains(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    Ok(connection.create_scalar_function("contains", 2, flags, |context| {
        let (text, part): (String, String) = (context.get(0)?, context.get(1)?);
        Ok(text.to_lowercase().contains(&part))
    })?)
}

/// Visits keys in the order of their last use, according to the usage file. Keys that it does not list were never used:
/// they come first, or last in reverse order.
fn list_by_last_use(
    connection: &Connection,
    last_uses: &[(Id, Timestamp)],
    query: &KeyQuery,
    visit: Visit<'_, GeneralKey>,
) -> Result<()> {
    let known: HashSet<Id> = last_uses.iter().map(|(id, _)| *id).collect();
    let mut left = query.page.limit.unwrap_or(u64::MAX);
    let mut visit_matching = |key: GeneralKey| {
        if query.filter.matches(&key, query.at) { visit_some(&mut left, key, visit) } else { Ok(GO_ON) }
    };
    let never_used = |after: Option<Id>, visit: Visit<'_, GeneralKey>| -> Flow {
        let mut flow = GO_ON;
        rows(connection, query, Page { limit: None, after }, &mut |key| {
            if !known.contains(&key.id) {
                flow = visit(key)?;
            }
            Ok(flow)
        })?;
        Ok(flow)
    };
    let used = |last_uses: &[(Id, Timestamp)], visit: Visit<'_, GeneralKey>| -> Flow {
        for (id, at) in last_uses {
            if let Some(key) = get(connection, *id)?
                && visit(GeneralKey { last_used_at: Some(*at), ..key })?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    };
    // The previous page ended either at a key that was never used, or at one that was.
    let (after_never_used, after_used) = match query.page.after {
        None => (None, None),
        Some(id) if get(connection, id)?.is_none() => return Ok(()),
        Some(id) => match last_uses.iter().position(|(used, _)| *used == id) {
            Some(position) => (None, Some(position)),
            None => (Some(id), None),
        },
    };
    let rest = &last_uses[after_used.map_or(0, |position| position + 1)..];
    if query.reverse {
        if after_never_used.is_none() && used(rest, &mut visit_matching)?.is_break() {
            return Ok(());
        }
        return never_used(after_never_used, &mut visit_matching).map(drop);
    }
    if after_used.is_none() && never_used(after_never_used, &mut visit_matching)?.is_break() {
        return Ok(());
    }
    used(rest, &mut visit_matching).map(drop)
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "general_key",
        &[
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
        ],
    )
});

/// Calls `take` with the column values of a key.
pub(super) fn with_values<T>(key: &GeneralKey, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
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
