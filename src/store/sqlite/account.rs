//! The account's one row, and its owner's role.

use rusqlite::{Connection, params};

use super::columns::{Columns, optional_text, text};
use crate::error::{Conflict, ErrorKind, Result};
use crate::model::{Account, Change, Role};

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

pub(super) fn save(connection: &Connection, change: &Change<Account>) -> Result<()> {
    if let Change::Delete { .. } = change {
        return Err(Conflict::Fault("an account cannot be removed from its store".to_owned()).into());
    }
    let account = change.subject();
    connection.execute(
        "INSERT INTO account (only, name, policy, subdomain, rest_api, advanced_permissions, created_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (only) DO UPDATE SET name = excluded.name, policy = excluded.policy,
             subdomain = excluded.subdomain, rest_api = excluded.rest_api,
             advanced_permissions = excluded.advanced_permissions",
        params![
            account.name.as_str(),
            account.policy.as_str(),
            optional_text(account.subdomain.as_ref()),
            account.rest_api,
            account.advanced_permissions,
            account.created_at.as_millisecond(),
        ],
    )?;
    if let Change::Update { before, after } = change
        && before.owner != after.owner
    {
        // In this order: the store has never two owners.
        let mut set_role = connection.prepare_cached("UPDATE user SET role = ?2 WHERE id = ?1")?;
        set_role.execute(params![text(&before.owner.id), Role::Admin.as_str()])?;
        set_role.execute(params![text(&after.owner.id), Role::Owner.as_str()])?;
    }
    Ok(())
}
