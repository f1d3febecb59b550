//! A transaction: the reads of one moment, and with the store key the writes too.

use std::cell::OnceCell;
use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use super::intake::SqliteIntake;
use super::secrets::Kind;
use super::{
    account, apps, audit, destinations, imported, integrations, keys, secrets, tokens, usage, users,
};
use crate::error::{Error, Result};
use crate::model::{
    Account, App, AppToken, AuditRecord, Audited, Change, Destination, Digest, Evidence, GeneralKey, Head,
    Id, Imported, Integration, KeyOrder, Keyring, Label, LiveMark, LiveSecret, Noun, Permit, SecretChange,
    User, UserToken,
};
use crate::store::texts::refuse_secrets;
use crate::store::{
    AuditFilter, Flow, Holder, Hour, ImportEntry, Intake, Place, Read, Tombstone, Unrecorded, Write,
};

/// A transaction on an SQLite store. `K` is `()` for one that reads, and the keyring for one that writes.
#[derive(Debug)]
pub struct SqliteTransaction<'s, K> {
    main: Transaction<'s>,
    usage: Usage<'s>,
    keyring: K,
}

/// The usage file as management reads it: without it, or with a fault of it, nothing is known of any use, and all else
/// goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage<'s>(Option<UsageFile<'s>>);

#[derive(Clone, Copy, Debug)]
struct UsageFile<'s> {
    connection: &'s Connection,
    fault: &'s OnceCell<Error>,
    place: &'s Place,
}

impl<'s> Usage<'s> {
    /// No usage file.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The usage file, if it is open, and where a fault of it is told.
    pub(super) fn new(
        connection: Option<&'s Connection>,
        fault: &'s OnceCell<Error>,
        place: &'s Place,
    ) -> Self {
        Self(connection.map(|connection| UsageFile { connection, fault, place }))
    }

    /// Reads something, if there is anything to read it from. After a fault nothing is read any more.
    fn read<T>(self, read: impl FnOnce(&Connection) -> Result<T>) -> Option<T> {
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

impl<'s, K> SqliteTransaction<'s, K> {
    pub(super) fn new(main: Transaction<'s>, usage: Usage<'s>, keyring: K) -> Self {
        Self { main, usage, keyring }
    }

    fn last_used(&self, id: Id) -> Option<Timestamp> {
        self.usage.read(|usage| usage::last_used(usage, id)).flatten()
    }
}

impl<K> Read for SqliteTransaction<'_, K> {
    fn account(&self) -> Result<Account> {
        account::get(&self.main)
    }

    fn user(&self, id: Id) -> Result<Option<User>> {
        users::with_id(&self.main, id)
    }

    fn user_named(&self, name: &str) -> Result<Option<User>> {
        users::named(&self.main, name)
    }

    fn user_of_uid(&self, uid: u32) -> Result<Option<User>> {
        users::of_uid(&self.main, uid)
    }

    fn users(&self, visit: &mut dyn FnMut(User) -> Flow) -> Result<()> {
        users::each(&self.main, visit)
    }

    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>> {
        let Some(key) = keys::with_id(&self.main, id)? else { return Ok(None) };
        Ok(Some(GeneralKey { last_used_at: self.last_used(id), ..key }))
    }

    fn general_keys(
        &self,
        order: KeyOrder,
        reverse: bool,
        visit: &mut dyn FnMut(GeneralKey) -> Flow,
    ) -> Result<()> {
        if order == KeyOrder::LastUsed
            && let Some(last_uses) = self.usage.read(|usage| usage::last_uses(usage, reverse))
        {
            return keys::each_by_last_use(&self.main, &last_uses, reverse, visit);
        }
        keys::each(&self.main, order, reverse, &mut |key| {
            visit(GeneralKey { last_used_at: self.last_used(key.id), ..key })
        })
    }

    fn user_token(&self, id: Id) -> Result<Option<UserToken>> {
        let Some(token) = tokens::with_id(&self.main, id)? else { return Ok(None) };
        Ok(Some(UserToken { last_used_at: self.last_used(id), ..token }))
    }

    fn user_tokens(&self, user: Option<Id>, visit: &mut dyn FnMut(UserToken) -> Flow) -> Result<()> {
        tokens::each(&self.main, user, &mut |token| {
            visit(UserToken { last_used_at: self.last_used(token.id), ..token })
        })
    }

    fn destination(&self, id: Id) -> Result<Option<Destination>> {
        destinations::with_id(&self.main, id)
    }

    fn destination_named(&self, noun: Noun, name: &str) -> Result<Option<Destination>> {
        destinations::named(&self.main, noun, name)
    }

    fn destinations(&self, noun: Noun, visit: &mut dyn FnMut(Destination) -> Flow) -> Result<()> {
        destinations::each(&self.main, noun, visit)
    }

    fn integration(&self, id: Id) -> Result<Option<Integration>> {
        let Some(integration) = integrations::with_id(&self.main, id)? else { return Ok(None) };
        Ok(Some(Integration { last_used_at: self.last_used(id), ..integration }))
    }

    fn integrations(
        &self,
        destination: Option<Id>,
        visit: &mut dyn FnMut(Integration) -> Flow,
    ) -> Result<()> {
        integrations::each(&self.main, destination, &mut |integration| {
            visit(Integration { last_used_at: self.last_used(integration.id), ..integration })
        })
    }

    fn app(&self, id: Id) -> Result<Option<App>> {
        let Some(app) = apps::with_id(&self.main, id)? else { return Ok(None) };
        Ok(Some(App { last_used_at: self.last_used(id), ..app }))
    }

    fn app_named(&self, name: &str) -> Result<Option<App>> {
        let Some(app) = apps::named(&self.main, name)? else { return Ok(None) };
        Ok(Some(App { last_used_at: self.last_used(app.id), ..app }))
    }

    fn apps(&self, visit: &mut dyn FnMut(App) -> Flow) -> Result<()> {
        apps::each(&self.main, &mut |app| visit(App { last_used_at: self.last_used(app.id), ..app }))
    }

    fn app_of_client_secret(&self, digest: &Digest, at: Timestamp) -> Result<Option<App>> {
        apps::of_client_secret(&self.main, digest, at)
    }

    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>> {
        apps::token(&self.main, digest)
    }

    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>> {
        apps::token_issued_at(&self.main, app, n)
    }

    fn holder(&self, digest: &Digest) -> Result<Option<Holder>> {
        secrets::holder(&self.main, digest)
    }

    fn is_taken(&self, id: Id) -> Result<bool> {
        secrets::is_taken(&self.main, id)
    }

    fn usage(&self, of: Option<Id>, since: Timestamp, visit: &mut dyn FnMut(Hour) -> Flow) -> Result<()> {
        // What goes wrong with what is shown is no fault of the file.
        let mut shown = Ok(());
        let _ = self.usage.read(|usage| {
            usage::each_hour(usage, of, since, &mut |hour| {
                Ok(visit(hour).unwrap_or_else(|error| {
                    shown = Err(error);
                    ControlFlow::Break(())
                }))
            })
        });
        shown
    }

    fn audit_records(&self, filter: &AuditFilter, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()> {
        audit::each(&self.main, filter, visit)
    }

    fn audit_by_target(&self, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()> {
        audit::by_target(&self.main, visit)
    }

    fn live_secrets(&self, of: Id) -> Result<Vec<LiveSecret>> {
        Kind::of(of.noun()).map_or_else(|| Ok(Vec::new()), |kind| secrets::live(&self.main, kind, of))
    }

    fn dead_secrets(&self, of: Id) -> Result<Vec<(Digest, Tombstone)>> {
        secrets::dead(&self.main, of)
    }

    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
        apps::tokens(&self.main, app)
    }

    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>> {
        imported::entry(&self.main, id)
    }

    fn import_entries(&self, visit: &mut dyn FnMut(Id, ImportEntry, bool) -> Flow) -> Result<()> {
        imported::each(&self.main, visit)
    }

    fn unrecorded(&self, visit: &mut dyn FnMut(Unrecorded) -> Flow) -> Result<()> {
        secrets::unrecorded(&self.main, visit)
    }

    fn audit_head(&self) -> Result<Head> {
        audit::head(&self.main)
    }
}

impl SqliteTransaction<'_, &Keyring> {
    /// Writes the audit record of a change, and so makes sure that it is the permitted one, before it is made; and that
    /// it keeps no secret.
    fn record<T: Audited>(
        &mut self,
        permit: Permit,
        change: &Change<T>,
        secrets: SecretChange,
        evidence: Option<Evidence>,
    ) -> Result<()> {
        refuse_secrets(self, change)?;
        audit::append(&self.main, self.keyring, permit, change, secrets, evidence)
    }

    /// What the record of a change to the thing with an id says of its secrets: nothing, if it leaves them alone.
    fn evidence<T: Audited>(
        &self,
        id: Id,
        change: &Change<T>,
        secrets: SecretChange,
    ) -> Result<Option<Evidence>> {
        if matches!((change, secrets), (Change::Update { .. }, SecretChange::Keep)) {
            return Ok(None);
        }
        let before = self.live_secrets(id)?;
        Ok(Some(match change {
            Change::Delete { .. } => Evidence::of_removal(self.keyring, &before),
            _ => Evidence::of_change(self.keyring, &before, secrets),
        }))
    }

    /// Adds what dies with the tokens of an app, when it goes or its tokens are stopped.
    fn with_tokens(&self, app: Id, evidence: Option<Evidence>) -> Result<Evidence> {
        let mut evidence = evidence.unwrap_or_default();
        let tokens = self.app_tokens(app)?;
        let digests = tokens.iter().flat_map(|(_, secrets)| secrets);
        evidence.dead.extend(digests.map(|secret| self.keyring.mark(&secret.digest)));
        Ok(evidence)
    }
}

impl Write for SqliteTransaction<'_, &Keyring> {
    fn keyring(&self) -> &Keyring {
        self.keyring
    }

    fn save_account(&mut self, permit: Permit, change: &Change<Account>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        account::save(&self.main, change)
    }

    fn save_user(&mut self, permit: Permit, change: &Change<User>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        users::save(&self.main, change)
    }

    fn save_general_key(
        &mut self,
        permit: Permit,
        change: &Change<GeneralKey>,
        secrets: SecretChange,
    ) -> Result<()> {
        let at = permit.at();
        let evidence = self.evidence(change.subject().id, change, secrets)?;
        self.record(permit, change, secrets, evidence)?;
        keys::save(&self.main, change, secrets, at)
    }

    fn save_user_token(
        &mut self,
        permit: Permit,
        change: &Change<UserToken>,
        secrets: SecretChange,
    ) -> Result<()> {
        let at = permit.at();
        let evidence = self.evidence(change.subject().id, change, secrets)?;
        self.record(permit, change, secrets, evidence)?;
        tokens::save(&self.main, change, secrets, at)
    }

    fn save_destination(&mut self, permit: Permit, change: &Change<Destination>) -> Result<()> {
        self.record(permit, change, SecretChange::Keep, None)?;
        destinations::save(&self.main, change)
    }

    fn save_integration(
        &mut self,
        permit: Permit,
        change: &Change<Integration>,
        secrets: SecretChange,
    ) -> Result<()> {
        let at = permit.at();
        let evidence = self.evidence(change.subject().id, change, secrets)?;
        self.record(permit, change, secrets, evidence)?;
        integrations::save(&self.main, change, secrets, at)
    }

    fn save_app(&mut self, permit: Permit, change: &Change<App>, secrets: SecretChange) -> Result<()> {
        let at = permit.at();
        let app = change.subject().id;
        let mut evidence = self.evidence(app, change, secrets)?;
        if apps::stops_tokens(change) {
            evidence = Some(self.with_tokens(app, evidence)?);
        }
        self.record(permit, change, secrets, evidence)?;
        apps::save(&self.main, change, secrets, at)
    }

    fn issue_app_token(&mut self, permit: Permit, token: &AppToken, digest: &Digest) -> Result<()> {
        let issued = LiveMark { mark: self.keyring.mark(digest), ends_at: None };
        let evidence = Evidence { live: Some(vec![issued]), ..Evidence::default() };
        let change = Change::Create(token.clone());
        self.record(permit, &change, SecretChange::Issue(*digest), Some(evidence))?;
        apps::issue_token(&self.main, token, digest)
    }

    fn revoke_app_token(
        &mut self,
        permit: Permit,
        token: &AppToken,
        digest: &Digest,
        reason: &Label,
    ) -> Result<()> {
        let at = permit.at();
        let change = Change::Delete { before: token.clone(), reason: Some(reason.clone()) };
        let evidence = Evidence { dead: vec![self.keyring.mark(digest)], ..Evidence::default() };
        self.record(permit, &change, SecretChange::Keep, Some(evidence))?;
        apps::revoke_token(&self.main, token, digest, at)
    }

    fn import(
        &mut self,
        permit: Permit,
        bring: &mut dyn FnMut(&mut dyn Intake) -> Result<Imported>,
    ) -> Result<Imported> {
        let number = self.audit_head()?.number + 1;
        let imported = bring(&mut SqliteIntake::new(&self.main, self, self.keyring, number)?)?;
        if imported.count() > 0 {
            let commitment = imported::commitment(&self.main, self.keyring, number)?;
            let evidence = Evidence { imported: Some(commitment), ..Evidence::default() };
            let nothing = Imported { account: imported.account.clone(), ..Imported::default() };
            let change = Change::Update { before: nothing, after: imported.clone() };
            self.record(permit, &change, SecretChange::Keep, Some(evidence))?;
        }
        Ok(imported)
    }

    fn commit(self) -> Result<()> {
        self.main.commit().map_err(Error::from)
    }
}
