//! Transactions: reads of one snapshot, and row operations.

use std::cell::OnceCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use super::import::ImportState;
use super::{
    account, apps, audit, destinations, imported, integrations, keys, rows, schema, secrets, tokens, usage,
    users,
};
use crate::error::{Error, Result};
use crate::model::{
    Account, App, AppToken, AuditRecord, Destination, Digest, GeneralKey, Head, Id, Integration, LiveSecret,
    User, UserToken,
};
use crate::store::{
    AppBy, AppQuery, AuditQuery, Clash, Death, DestinationBy, DestinationQuery, DigestOwner, Flow,
    HourlyUsage, ImportEntry, IntegrationQuery, KeyQuery, Page, Place, ReadTx, Row, StoredLink, TokenQuery,
    Tombstone, Unrecorded, UsageQuery, UserBy, UserQuery, Visit, Which, WriteTx,
};

/// Marks a read transaction.
#[derive(Debug)]
pub enum Reading {}

/// Marks a write transaction.
#[derive(Debug)]
pub enum Writing {}

/// The usage file as management commands read it. If it is missing or faulty, times of last use are unknown, and the
/// commands continue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage<'s>(Option<UsageFile<'s>>);

#[derive(Clone, Copy, Debug)]
struct UsageFile<'s> {
    connection: &'s Connection,
    fault: &'s OnceCell<Error>,
    place: &'s Place,
}

impl<'s> Usage<'s> {
    /// Returns a usage that knows nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Returns the usage in an open file, if any. The first fault is stored in `fault`.
    pub(super) fn new(
        connection: Option<&'s Connection>,
        fault: &'s OnceCell<Error>,
        place: &'s Place,
    ) -> Self {
        Self(connection.map(|connection| UsageFile { connection, fault, place }))
    }

    /// Returns when a credential was last used, if known.
    pub(super) fn last_used(self, id: Id) -> Option<Timestamp> {
        self.read(|usage| usage::last_used(usage, id)).flatten()
    }

    /// Reads from the usage file, or returns `None` if there is none or it has had a fault.
    pub(super) fn read<T>(self, read: impl FnOnce(&Connection) -> Result<T>) -> Option<T> {
        let file = self.0.filter(|file| file.fault.get().is_none())?;
        match read(file.connection) {
            Ok(read) => Some(read),
            Err(error) => {
                let _ = file.fault.set(usage::fault(file.place, error));
                None
            }
        }
    }
}

/// A transaction on an SQLite store.
pub struct SqliteTx<'s, Mode> {
    main: Transaction<'s>,
    usage: Usage<'s>,
    import: Option<ImportState>,
    mode: PhantomData<Mode>,
}

impl<'s, Mode> SqliteTx<'s, Mode> {
    /// Wraps a transaction on the main database.
    pub(super) fn new(main: Transaction<'s>, usage: Usage<'s>) -> Self {
        Self { main, usage, import: None, mode: PhantomData }
    }
}

impl<Mode> fmt::Debug for SqliteTx<'_, Mode> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx").field("main", &self.main).finish_non_exhaustive()
    }
}

impl<Mode> ReadTx for SqliteTx<'_, Mode> {
    fn account(&self) -> Result<Account> {
        account::get(&self.main)
    }

    fn user(&self, by: UserBy<'_>) -> Result<Option<User>> {
        users::get(&self.main, by)
    }

    fn users(&mut self, query: &UserQuery, visit: Visit<'_, User>) -> Result<()> {
        users::list(&self.main, query, visit)
    }

    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>> {
        let Some(key) = keys::get(&self.main, id)? else { return Ok(None) };
        Ok(Some(GeneralKey { last_used_at: self.usage.last_used(id), ..key }))
    }

    fn general_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()> {
        keys::list(&self.main, self.usage, query, visit)
    }

    fn user_token(&self, id: Id) -> Result<Option<UserToken>> {
        let Some(token) = tokens::get(&self.main, id)? else { return Ok(None) };
        Ok(Some(UserToken { last_used_at: self.usage.last_used(id), ..token }))
    }

    fn user_tokens(&mut self, query: &TokenQuery, visit: Visit<'_, UserToken>) -> Result<()> {
        tokens::list(&self.main, query, &mut |token| {
            visit(UserToken { last_used_at: self.usage.last_used(token.id), ..token })
        })
    }

    fn destination(&self, by: DestinationBy<'_>) -> Result<Option<Destination>> {
        destinations::get(&self.main, by)
    }

    fn destinations(&mut self, query: &DestinationQuery, visit: Visit<'_, Destination>) -> Result<()> {
        destinations::list(&self.main, query, visit)
    }

    fn integration(&self, id: Id) -> Result<Option<Integration>> {
        let Some(integration) = integrations::get(&self.main, id)? else { return Ok(None) };
        Ok(Some(Integration { last_used_at: self.usage.last_used(id), ..integration }))
    }

    fn integrations(&mut self, query: &IntegrationQuery, visit: Visit<'_, Integration>) -> Result<()> {
        integrations::list(&self.main, query, &mut |found| {
            visit(Integration { last_used_at: self.usage.last_used(found.id), ..found })
        })
    }

    fn app(&self, by: AppBy<'_>) -> Result<Option<App>> {
        let Some(app) = apps::get(&self.main, by)? else { return Ok(None) };
        Ok(Some(App { last_used_at: self.usage.last_used(app.id), ..app }))
    }

    fn apps(&mut self, query: &AppQuery, visit: Visit<'_, App>) -> Result<()> {
        apps::list(&self.main, query, &mut |app| {
            visit(App { last_used_at: self.usage.last_used(app.id), ..app })
        })
    }

    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>> {
        apps::token(&self.main, digest)
    }

    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
        apps::tokens(&self.main, app)
    }

    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>> {
        apps::token_issued_at(&self.main, app, n)
    }

    fn live_secrets(&self, owner: Id) -> Result<Vec<LiveSecret>> {
        secrets::live(&self.main, owner)
    }

    fn dead_secrets(&self, owner: Id) -> Result<Vec<(Digest, Tombstone)>> {
        secrets::dead(&self.main, owner)
    }

    fn digest_owner(&self, digest: &Digest) -> Result<Option<DigestOwner>> {
        secrets::owner(&self.main, digest)
    }

    fn is_taken(&self, id: Id) -> Result<bool> {
        secrets::is_taken(&self.main, id)
    }

    fn usage(&mut self, query: &UsageQuery, visit: Visit<'_, HourlyUsage>) -> Result<()> {
        // An error of the visitor is not a fault of the file.
        let mut visited = Ok(());
        let _ = self.usage.read(|usage| {
            usage::each_hour(usage, query, &mut |hour| {
                Ok(visit(hour).unwrap_or_else(|error| {
                    visited = Err(error);
                    ControlFlow::Break(())
                }))
            })
        });
        visited
    }

    fn audit_records(&mut self, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
        audit::list(&self.main, query, visit)
    }

    fn audit_chain(&mut self, visit: &mut dyn FnMut(StoredLink<'_>) -> Flow) -> Result<()> {
        audit::chain(&self.main, visit)
    }

    fn audit_targets(&self, after: &str, limit: u64) -> Result<Vec<String>> {
        audit::targets(&self.main, after, limit)
    }

    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>> {
        imported::get(&self.main, id)
    }

    fn import_entries(&self, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>> {
        imported::list(&self.main, page)
    }

    fn unrecorded(&mut self, visit: Visit<'_, Unrecorded>) -> Result<()> {
        schema::differences(&self.main, visit)?;
        secrets::unrecorded(&self.main, visit)
    }

    fn audit_head(&self) -> Result<Head> {
        audit::head(&self.main)
    }
}

impl WriteTx for SqliteTx<'_, Writing> {
    fn insert(&mut self, row: Row<'_>) -> Result<()> {
        rows::with_values(row, |table, values| table.insert(&self.main, values))
    }

    fn update(&mut self, row: Row<'_>) -> Result<()> {
        rows::with_values(row, |table, values| table.update(&self.main, values))
    }

    fn delete(&mut self, id: Id) -> Result<()> {
        secrets::delete(&self.main, id)
    }

    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()> {
        let (kind, row) = secrets::row_of(&self.main, owner)?;
        secrets::insert(&self.main, kind, row, digest)
    }

    fn end_secret(&mut self, owner: Id, at: Timestamp) -> Result<()> {
        secrets::end(&self.main, owner, at)
    }

    fn bury_secrets(&mut self, owner: Id, which: Which, death: Death, at: Timestamp) -> Result<()> {
        secrets::bury(&self.main, owner, which, death, at)
    }

    fn insert_app_token(&mut self, token: &AppToken, digest: &Digest) -> Result<()> {
        apps::insert_token(&self.main, token, digest)
    }

    fn bury_app_token(&mut self, token: &AppToken, digest: &Digest, at: Timestamp) -> Result<bool> {
        apps::bury_token(&self.main, token, digest, at)
    }

    fn bury_app_tokens(&mut self, app: Id, at: Timestamp) -> Result<()> {
        apps::bury_tokens(&self.main, app, at)
    }

    fn sweep_app_tokens(&mut self, expired_by: Timestamp) -> Result<()> {
        apps::sweep_tokens(&self.main, expired_by)
    }

    fn import(&mut self, row: Row<'_>, digest: &Digest) -> Result<Option<Clash>> {
        let state = match &mut self.import {
            Some(state) => state,
            none => none.insert(ImportState::begin(&self.main)?),
        };
        state.add(&self.main, row, digest)
    }

    fn insert_import_entry(&mut self, id: Id, entry: &ImportEntry) -> Result<()> {
        imported::insert(&self.main, id, entry)
    }

    fn append_audit(&mut self, number: u64, record: &str, chain: &[u8; 32]) -> Result<()> {
        audit::append(&self.main, number, record, chain)
    }

    fn commit(self) -> Result<()> {
        self.main.commit().map_err(Error::from)
    }
}
