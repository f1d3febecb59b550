//! The only row of the account.

use std::sync::LazyLock;

use rusqlite::{Connection, ToSql, params};

use super::columns::{Columns, Table, optional_text};
use crate::error::{ErrorKind, Result};
use crate::model::Account;

pub(super) fn get(connection: &Connection) -> Result<Account> {
    let mut statement = connection.prepare_cached(
        "SELECT account.name, user.id, user.name, policy, subdomain, rest_api, advanced_permissions, account.created_at
         FROM account, user WHERE user.role = 'owner'",
    )?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or_else(|| ErrorKind::Damaged("there is no account".to_owned()))?;
    let mut columns = Columns::of(row);
    Ok(Account {
        name: columns.name()?,
        owner: columns.user()?,
        policy: columns.parsed()?,
        subdomain: columns.optional()?,
        rest_api: columns.value()?,
        advanced_permissions: columns.value()?,
        created_at: columns.moment()?,
    })
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "account",
        &["only", "name", "policy", "subdomain", "rest_api", "advanced_permissions", "created_at"],
    )
});

/// Calls `take` with the column values of the account.
pub(super) fn with_values<T>(account: &Account, take: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    take(params![
        1,
        account.name.as_str(),
        account.policy.as_str(),
        optional_text(account.subdomain.as_ref()),
        account.rest_api,
        account.advanced_permissions,
        account.created_at.as_millisecond(),
    ])
}
