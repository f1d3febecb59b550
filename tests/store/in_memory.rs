//! An engine in memory. It shows what an engine has to implement, and that none of the store's rules are left to it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use pdkeys::error::{Conflict, ErrorKind};
use pdkeys::model::{
    Access, Account, App, AppToken, AuditRecord, Credential, CredentialKind, Destination, Digest, Disabled,
    GeneralKey, Head, Id, Integration, KeyOrder, Keyring, LiveSecret, Owner, Role, User, UserRef, UserToken,
};
use pdkeys::store::{
    AppBy, AppQuery, AuditQuery, Clash, CredentialLookup, Death, DestinationBy, DestinationQuery,
    DigestOwner, Flow, HourlyUsage, ImportEntry, IntegrationQuery, KeyQuery, LookupResult, Page, ReadTx, Row,
    Store, StoredLink, TokenQuery, Tombstone, Unaudited, Unrecorded, UsageCount, UsageQuery, UserBy,
    UserQuery, Visit, Which, Window, WriteTx,
};
use pdkeys::{Error, Result};

use crate::in_memory_rows::{HOUR, Item, Rows, Secret, Stored, Usage, clashes};

pub(crate) struct Shared {
    pub(crate) rows: Mutex<Arc<Rows>>,
    usage: Mutex<Usage>,
    writer: Mutex<()>,
    keyring: Keyring,
}

impl Shared {
    pub(crate) fn new(keyring: Keyring) -> Self {
        let (rows, usage, writer) = Default::default();
        Self { rows, usage, writer, keyring }
    }
}

/// A connection.
pub(crate) struct InMemoryStore(pub(crate) Arc<Shared>);

/// A read transaction, or with the writers' lock a write transaction.
pub(crate) struct Tx<'s> {
    rows: Arc<Rows>,
    usage: Usage,
    shared: &'s Shared,
    /// The number of rows when the import of this transaction began.
    before_import: Option<usize>,
    _writer: Option<MutexGuard<'s, ()>>,
}

impl<'s> Tx<'s> {
    fn begin(shared: &'s Shared, writer: Option<MutexGuard<'s, ()>>) -> Self {
        let rows = Arc::clone(&shared.rows.lock().unwrap());
        let usage = shared.usage.lock().unwrap().clone();
        Self { rows, usage, shared, before_import: None, _writer: writer }
    }

    fn rows_mut(&mut self) -> &mut Rows {
        Arc::make_mut(&mut self.rows)
    }

    /// Returns the rows that are selected, joined with what is known from other rows and from the usage counts.
    fn all<N: Stored>(&self, is_selected: impl Fn(&N) -> bool) -> impl Iterator<Item = N> {
        let selected = self.rows.items.iter().filter(move |item| N::of(item).is_some_and(&is_selected));
        selected.map(|item| N::of(&self.joined(item)).unwrap().clone())
    }

    fn joined(&self, item: &Item) -> Item {
        let mut item = item.clone();
        let last_used_at = self.usage.last.get(&item.id()).copied();
        match &mut item {
            Item::GeneralKey(key) => {
                (key.last_used_at, key.created_by) = (last_used_at, self.named(&key.created_by));
                if let Some(Disabled { by: Some(by), .. }) = &mut key.disabled {
                    *by = self.named(by);
                }
            }
            Item::UserToken(token) => {
                let user = self.find(|user: &User| user.id == token.user.id).unwrap();
                (token.last_used_at, token.user) = (last_used_at, user);
            }
            Item::Integration(found) => {
                let destination = self.find(|to: &Destination| to.id == found.destination.id).unwrap();
                (found.last_used_at, found.destination) = (last_used_at, (&destination).into());
            }
            Item::App(app) => app.last_used_at = last_used_at,
            Item::User(_) | Item::Destination(_) => {}
        }
        item
    }

    fn find<N: Stored>(&self, is_it: impl Fn(&N) -> bool) -> Option<N> {
        self.all(is_it).next()
    }

    fn is_recorded(&self, id: Id) -> bool {
        let named = format!("\"root_resource\":{{\"id\":\"{id}\"");
        self.rows.audit.iter().any(|(_, record, _)| record.contains(&named))
    }

    fn named(&self, user: &UserRef) -> UserRef {
        let User { id, name, .. } = self.find(|found: &User| found.id == user.id).unwrap();
        UserRef { id, name }
    }

    fn credential(&self, digest: &Digest) -> Result<Option<Credential>> {
        let Some(&Secret { owner: id, ends_at: secret_ends_at, ref token, .. }) = self.rows.live(digest)
        else {
            return Ok(None);
        };
        let mut found = Credential {
            kind: CredentialKind::General,
            id,
            description: String::new(),
            hint: None,
            access: Access::Full,
            owner: None,
            destination: None,
            disabled: false,
            expires_at: None,
            secret_ends_at,
            rate_limit: None,
        };
        if let Some(token) = token {
            let app = self.find(|app: &App| app.id == id).unwrap();
            let both = token.scopes.iter().filter(|scope| app.scopes.contains(scope)).cloned().collect();
            (found.kind, found.description) = (CredentialKind::AppToken, app.name.to_string());
            (found.hint, found.access) = (Some(token.hint.clone()), Access::Scopes(both));
            (found.expires_at, found.rate_limit) = (Some(token.expires_at), app.rate_limit);
        } else if let Some(key) = self.general_key(id)? {
            (found.description, found.hint, found.access) =
                (key.description.to_string(), key.hint, key.access);
            (found.disabled, found.expires_at) = (key.disabled.is_some(), key.expires_at);
            found.rate_limit = key.rate_limit;
        } else if let Some(token) = self.user_token(id)? {
            let UserToken { user, description, hint, access, expires_at, .. } = token;
            (found.kind, found.description) = (CredentialKind::UserToken, description.to_string());
            (found.hint, found.access, found.expires_at) = (hint, access, expires_at);
            found.rate_limit = user.rate_limit;
            found.owner = Some(Owner {
                id: user.id,
                has_left: user.has_left(),
                name: user.name.to_string(),
                role: user.role,
                external_id: user.external_id.map(|id| id.to_string()),
            });
        } else if let Some(integration) = self.integration(id)? {
            (found.kind, found.description) = (CredentialKind::Integration, integration.name.to_string());
            (found.hint, found.destination) = (Some(integration.hint), Some(integration.destination));
            found.rate_limit = integration.rate_limit;
        } else {
            // A client secret, which is not a credential for checks.
            return Ok(None);
        }
        Ok(Some(found))
    }
}

fn to_usize(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap())
}

/// Visits rows until the visitor stops.
fn visit_all<T>(mut rows: impl Iterator<Item = T>, visit: &mut dyn FnMut(T) -> Flow) -> Result<()> {
    while let Some(row) = rows.next()
        && visit(row)?.is_continue()
    {}
    Ok(())
}

/// Returns the rows of a page.
fn page_of<T>(rows: impl Iterator<Item = T>, id: impl Fn(&T) -> Id, page: Page) -> impl Iterator<Item = T> {
    let mut rows = rows.fuse();
    if let Some(after) = page.after {
        while rows.next().is_some_and(|row| id(&row) != after) {}
    }
    rows.take(to_usize(page.limit))
}

/// Implements the methods that return a row by id, and those that visit the rows that a query selects.
macro_rules! reads {
    ($(one $get:ident: $noun:ident;)* $(many $list:ident($query:ident): |$of:ident, $row:ident: &$listed:ident| $is:expr;)*) => {
        $(fn $get(&self, id: Id) -> Result<Option<$noun>> {
            Ok(self.find(|row: &$noun| row.id == id))
        })*

        $(fn $list(&mut self, $of: &$query, visit: Visit<'_, $listed>) -> Result<()> {
            visit_all(page_of(self.all(|$row: &$listed| $is), |row| row.id, $of.page), visit)
        })*
    };
}

impl ReadTx for Tx<'_> {
    reads! {
        one general_key: GeneralKey;
        one user_token: UserToken;
        one integration: Integration;
        many users(UserQuery): |query, user: &User| !query.present || !user.has_left();
        many user_tokens(TokenQuery): |query, token: &UserToken| query.user.is_none_or(|user| token.user.id == user);
        many destinations(DestinationQuery): |query, found: &Destination| found.id.noun() == query.noun;
        many integrations(IntegrationQuery): |query, found: &Integration| {
            query.destination.is_none_or(|to| found.destination.id == to)
        };
        many apps(AppQuery): |query, _app: &App| true;
    }

    fn account(&self) -> Result<Account> {
        let owner = self.find(|user: &User| user.role == Role::Owner).unwrap();
        let owner = UserRef { id: owner.id, name: owner.name };
        Ok(Account { owner, ..self.rows.account.clone().unwrap() })
    }

    fn user(&self, by: UserBy<'_>) -> Result<Option<User>> {
        Ok(self.find(|user: &User| match by {
            UserBy::Id(id) => user.id == id,
            UserBy::Name(name) => !user.has_left() && user.name.as_str() == name,
            UserBy::OsUser(uid) => !user.has_left() && user.os_uid == Some(uid),
        }))
    }

    fn general_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()> {
        let mut keys: Vec<GeneralKey> = self.all(|_| true).collect();
        let end = |key: &GeneralKey| key.expires_at.unwrap_or(Timestamp::MAX);
        let compare = |a: &GeneralKey, b: &GeneralKey| match query.order {
            KeyOrder::Created => Ordering::Equal,
            KeyOrder::Description => a.description.as_str().cmp(b.description.as_str()),
            KeyOrder::LastUsed => a.last_used_at.cmp(&b.last_used_at),
            KeyOrder::Expires => end(a).cmp(&end(b)),
        };
        if query.reverse {
            keys.reverse();
        }
        keys.sort_by(|a, b| {
            let order = if query.reverse { compare(b, a) } else { compare(a, b) };
            // Keys used at the same time are in the order of their ids, in both directions.
            let are_used = query.order == KeyOrder::LastUsed && a.last_used_at.is_some();
            order.then_with(
                || if are_used { a.id.to_string().cmp(&b.id.to_string()) } else { Ordering::Equal },
            )
        });
        // The last key of the previous page may not match any more, so the page is cut before the filter.
        if let Some(after) = query.page.after {
            let end = keys.iter().position(|key| key.id == after).map_or(keys.len(), |at| at + 1);
            keys.drain(..end);
        }
        let matching = keys.into_iter().filter(|key| query.filter.matches(key, query.at));
        visit_all(matching.take(to_usize(query.page.limit)), visit)
    }

    fn destination(&self, by: DestinationBy<'_>) -> Result<Option<Destination>> {
        Ok(self.find(|found: &Destination| match by {
            DestinationBy::Id(id) => found.id == id,
            DestinationBy::Name(noun, name) => found.id.noun() == noun && found.name.as_str() == name,
        }))
    }

    fn app(&self, by: AppBy<'_>) -> Result<Option<App>> {
        Ok(self.find(|app: &App| match by {
            AppBy::Id(id) => app.id == id,
            AppBy::Name(name) => app.name.as_str() == name,
            AppBy::ClientSecret(digest, at) => self
                .rows
                .live(digest)
                .is_some_and(|secret| secret.is_own(app.id) && secret.ends_at.is_none_or(|end| end > at)),
        }))
    }

    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>> {
        Ok(self.rows.live(digest).and_then(|secret| secret.token.clone()))
    }

    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
        let tokens = self.rows.secrets(|secret| secret.is_token_of(app));
        Ok(tokens.filter_map(|(live, secret)| Some((secret.token.clone()?, vec![live]))).collect())
    }

    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>> {
        let mut issued: Vec<_> =
            self.app_tokens(app)?.into_iter().map(|(token, _)| token.issued_at).collect();
        issued.sort_unstable();
        Ok(issued.into_iter().rev().nth(usize::try_from(n).unwrap().saturating_sub(1)))
    }

    fn live_secrets(&self, owner: Id) -> Result<Vec<LiveSecret>> {
        let mut live: Vec<_> =
            self.rows.secrets(|secret| secret.is_own(owner)).map(|(live, _)| live).collect();
        live.sort_by_key(|secret| secret.ends_at.unwrap_or(Timestamp::MAX));
        Ok(live)
    }

    fn dead_secrets(&self, owner: Id) -> Result<Vec<(Digest, Tombstone)>> {
        let of_owner = self.rows.secrets(|secret| secret.owner == owner);
        Ok(of_owner.filter_map(|(live, secret)| Some((live.digest, secret.tombstone.clone()?))).collect())
    }

    fn digest_owner(&self, digest: &Digest) -> Result<Option<DigestOwner>> {
        Ok(self.rows.secrets.get(digest.as_bytes()).map(|secret| match &secret.tombstone {
            Some(tombstone) => DigestOwner::Dead(tombstone.clone()),
            None => DigestOwner::Live { id: secret.owner, ends_at: secret.ends_at },
        }))
    }

    fn is_taken(&self, id: Id) -> Result<bool> {
        let is_user = |user: &User| {
            let external_id = user.external_id.as_ref().map(ToString::to_string);
            let is_external = external_id.is_some_and(|other| other.eq_ignore_ascii_case(&id.to_string()));
            user.id == id || !user.has_left() && is_external
        };
        Ok(self.find(is_user).is_some() || self.is_recorded(id) || self.import_entry(id)?.is_some())
    }

    fn usage(&mut self, query: &UsageQuery, visit: Visit<'_, HourlyUsage>) -> Result<()> {
        let hours = self.usage.hours.iter().map(|(&(hour, id), &(allowed, denied))| {
            let began_at = Timestamp::from_millisecond(hour * HOUR).unwrap();
            HourlyUsage { id, began_at, allowed, denied }
        });
        let is_selected =
            |hour: &HourlyUsage| query.of.is_none_or(|of| of == hour.id) && hour.began_at >= query.since;
        visit_all(hours.filter(is_selected), visit)
    }

    fn audit_records(&mut self, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
        let matches = |record: &AuditRecord| {
            query.before.is_none_or(|before| record.id < before)
                && query.since.is_none_or(|since| record.execution_time >= since)
                && query.until.is_none_or(|until| record.execution_time < until)
                && query.actor.as_ref().is_none_or(|actor| record.actors.iter().any(|one| one.id == *actor))
                && query.action.is_none_or(|action| record.action == action)
                && query.target.as_ref().is_none_or(|target| record.root_resource.id == *target)
                && query.target_type.as_ref().is_none_or(|kind| record.root_resource.kind == *kind)
        };
        let records =
            self.rows.audit.iter().rev().map(|(_, record, _)| serde_json::from_str(record).unwrap());
        visit_all(records.filter(matches).take(to_usize(query.limit)), visit)
    }

    fn audit_chain(&mut self, visit: &mut dyn FnMut(StoredLink<'_>) -> Flow) -> Result<()> {
        for (number, record, chain) in &self.rows.audit {
            let number = i64::try_from(*number).unwrap();
            if visit(StoredLink { number, record: record.as_bytes(), chain })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn audit_targets(&self, after: &str, limit: u64) -> Result<Vec<String>> {
        let target = |(_, record, _): &(u64, String, [u8; 32])| {
            serde_json::from_str::<AuditRecord>(record).unwrap().root_resource.id
        };
        let targets: BTreeSet<_> = self.rows.audit.iter().map(target).collect();
        let after = targets.into_iter().filter(|target| target.as_str() > after);
        Ok(after.take(to_usize(Some(limit))).collect())
    }

    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>> {
        Ok(self.rows.imported.iter().find(|(other, _)| *other == id).map(|(_, entry)| entry.clone()))
    }

    fn import_entries(&self, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>> {
        let page = page_of(self.rows.imported.iter(), |(id, _)| *id, page);
        Ok(page.map(|(id, entry)| (*id, entry.clone(), self.is_recorded(*id))).collect())
    }

    fn unrecorded(&mut self, visit: Visit<'_, Unrecorded>) -> Result<()> {
        let is_imported = |id: Id| self.rows.imported.iter().any(|(other, _)| *other == id);
        let ids = self.rows.items.iter().map(Item::id);
        let unrecorded = ids.filter(|id| !self.is_recorded(*id) && !is_imported(*id));
        visit_all(unrecorded.map(Unrecorded::Thing), visit)
    }

    fn audit_head(&self) -> Result<Head> {
        Ok(self.rows.audit.last().map_or(Head::START, |(number, _, end)| Head { number: *number, end: *end }))
    }
}

fn missing() -> Error {
    ErrorKind::Damaged("a row is missing".to_owned()).into()
}

fn refuse(refused: bool) -> Result<()> {
    if refused { Err(Conflict::NotUnique("rows").into()) } else { Ok(()) }
}

impl Tx<'_> {
    /// Adds a row, or replaces the one with its id.
    fn write(&mut self, row: Row<'_>, is_new: bool) -> Result<()> {
        let Rows { account, items, .. } = self.rows_mut();
        if let Row::Account(row) = row {
            refuse(is_new == account.is_some())?;
            *account = Some(row.clone());
        }
        let Some(item) = Item::of(row) else { return Ok(()) };
        refuse(items.iter().any(|other| clashes(&item, other)))?;
        if let Item::Integration(row) = &item {
            refuse(items.iter().all(|other| other.id() != row.destination.id))?;
        }
        match (items.iter_mut().find(|other| other.id() == item.id()), is_new) {
            (None, true) => items.push(item),
            (Some(stored), false) => *stored = item,
            (Some(_), true) => return refuse(true),
            (None, false) => return Err(missing()),
        }
        Ok(())
    }

    fn insert_live(&mut self, owner: Id, digest: &Digest, token: Option<AppToken>) -> Result<()> {
        let secret = Secret { owner, ends_at: None, token, tombstone: None };
        refuse(self.rows_mut().secrets.insert(*digest.as_bytes(), secret).is_some())
    }
}

impl WriteTx for Tx<'_> {
    fn insert(&mut self, row: Row<'_>) -> Result<()> {
        self.write(row, true)
    }

    fn update(&mut self, row: Row<'_>) -> Result<()> {
        self.write(row, false)
    }

    fn delete(&mut self, id: Id) -> Result<()> {
        refuse(self.find(|found: &Integration| found.destination.id == id).is_some())?;
        let removed = self.rows_mut().items.extract_if(.., |item| item.id() == id).count();
        if removed == 1 { Ok(()) } else { Err(missing()) }
    }

    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()> {
        self.insert_live(owner, digest, None)
    }

    fn end_secret(&mut self, owner: Id, at: Timestamp) -> Result<()> {
        let secrets = self.rows_mut().secrets.values_mut();
        secrets.filter(|secret| secret.is_own(owner)).for_each(|secret| secret.ends_at = Some(at));
        Ok(())
    }

    fn bury_secrets(&mut self, owner: Id, which: Which, death: Death, at: Timestamp) -> Result<()> {
        let is_selected = |secret: &Secret| which == Which::All || secret.ends_at.is_some();
        self.rows_mut().bury(death, at, |secret| secret.is_own(owner) && is_selected(secret));
        Ok(())
    }

    fn insert_app_token(&mut self, token: &AppToken, digest: &Digest) -> Result<()> {
        self.insert_live(token.app, digest, Some(token.clone()))
    }

    fn bury_app_token(&mut self, token: &AppToken, digest: &Digest, at: Timestamp) -> Result<bool> {
        let tombstone = Tombstone { id: token.app, death: Death::Removed, at };
        let stored = self.rows_mut().secrets.get_mut(digest.as_bytes());
        let stored = stored.filter(|secret| secret.is_token_of(token.app));
        Ok(stored.map(|secret| secret.tombstone = Some(tombstone)).is_some())
    }

    fn bury_app_tokens(&mut self, app: Id, at: Timestamp) -> Result<()> {
        self.rows_mut().bury(Death::Removed, at, |secret| secret.is_token_of(app));
        Ok(())
    }

    fn sweep_app_tokens(&mut self, expired_by: Timestamp) -> Result<()> {
        let is_over = |token: &AppToken| token.expires_at <= expired_by;
        self.rows_mut()
            .secrets
            .retain(|_, secret| secret.tombstone.is_some() || !secret.token.as_ref().is_some_and(is_over));
        Ok(())
    }

    fn import(&mut self, row: Row<'_>, digest: &Digest) -> Result<Option<Clash>> {
        let before = *self.before_import.get_or_insert(self.rows.items.len());
        match self.digest_owner(digest)? {
            Some(DigestOwner::Dead(tombstone)) => return Ok(Some(Clash::Dead(tombstone))),
            Some(DigestOwner::Live { id, .. }) => {
                let added = self.rows.items[before..].iter().map(Item::id);
                let index = added.filter(|other| other.noun() == id.noun()).position(|other| other == id);
                let clash = |index| Clash::Added { noun: id.noun(), index: u64::try_from(index).unwrap() };
                return Ok(Some(index.map_or(Clash::Taken(id), clash)));
            }
            None => {}
        }
        let id = Item::of(row).ok_or_else(missing)?.id();
        self.insert(row)?;
        self.insert_secret(id, digest)?;
        Ok(None)
    }

    fn insert_import_entry(&mut self, id: Id, entry: &ImportEntry) -> Result<()> {
        self.rows_mut().imported.push((id, entry.clone()));
        Ok(())
    }

    fn append_audit(&mut self, number: u64, record: &str, chain: &[u8; 32]) -> Result<()> {
        self.rows_mut().audit.push((number, record.to_owned(), *chain));
        Ok(())
    }

    fn commit(self) -> Result<()> {
        *self.shared.rows.lock().unwrap() = Arc::clone(&self.rows);
        Ok(())
    }
}

impl Store for InMemoryStore {
    type Snapshot<'s> = Tx<'s>;
    type WriteTx<'s> = Tx<'s>;

    fn read(&mut self) -> Result<Tx<'_>> {
        Ok(Tx::begin(&self.0, None))
    }

    fn begin_write(&mut self, _: Unaudited) -> Result<Tx<'_>> {
        let writer = self.0.writer.lock().unwrap();
        Ok(Tx::begin(&self.0, Some(writer)))
    }

    fn keyring(&mut self) -> Result<Keyring> {
        Ok(self.0.keyring.clone())
    }

    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<CredentialLookup>> {
        let tx = self.read()?;
        let account = Arc::new(tx.account()?);
        let look_up = |digest: &Digest| {
            let result = match (tx.credential(digest)?, tx.digest_owner(digest)?) {
                (Some(credential), _) => LookupResult::Known(Arc::new(credential)),
                (None, Some(DigestOwner::Dead(tombstone))) => LookupResult::Dead(tombstone),
                (None, _) => LookupResult::Unknown,
            };
            Ok(CredentialLookup { account: Arc::clone(&account), result })
        };
        digests.iter().map(look_up).collect()
    }

    fn count_check(
        &mut self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        decide: &mut dyn FnMut(Window) -> bool,
    ) -> Result<()> {
        let mut usage = self.0.usage.lock().unwrap();
        let window = Window::with_one_more(usage.windows.get(&counted_as).copied(), at);
        usage.windows.insert(counted_as, window);
        let allowed = decide(window);
        usage.add(&UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) });
        Ok(())
    }

    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>> {
        Ok(self.0.usage.lock().unwrap().windows.get(&counted_as).copied())
    }

    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()> {
        let mut usage = self.0.usage.lock().unwrap();
        for count in counts {
            usage.add(count);
        }
        Ok(())
    }
}
