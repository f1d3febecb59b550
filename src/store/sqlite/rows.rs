//! The table and the column values of a row of any noun.

use rusqlite::ToSql;

use super::columns::Table;
use super::{account, apps, destinations, integrations, keys, tokens, users};
use crate::error::Result;
use crate::store::Row;

/// Calls `take` with the table of a row and its column values.
pub(super) fn with_values(
    row: Row<'_>,
    take: impl FnOnce(&Table, &[&dyn ToSql]) -> Result<()>,
) -> Result<()> {
    match row {
        Row::Account(account) => account::with_values(account, |values| take(&account::TABLE, values)),
        Row::User(user) => users::with_values(user, |values| take(&users::TABLE, values)),
        Row::GeneralKey(key) => keys::with_values(key, |values| take(&keys::TABLE, values)),
        Row::UserToken(token) => tokens::with_values(token, |values| take(&tokens::TABLE, values)),
        Row::Destination(destination) => {
            destinations::with_values(destination, |values| take(&destinations::TABLE, values))
        }
        Row::Integration(integration) => {
            integrations::with_values(integration, |values| take(&integrations::TABLE, values))
        }
        Row::App(app) => apps::with_values(app, |values| take(&apps::TABLE, values)),
    }
}
