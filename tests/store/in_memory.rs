//! An engine that keeps its rows in vectors, to show what an engine has to do, and that nothing of the rules is left to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use pdkeys::error::{Conflict, ErrorKind};
use pdkeys::manage::Founding;
use pdkeys::model::{
    Access, Account, App, AppToken, AuditRecord, Credential, CredentialKind, Destination, DestinationRef,
    Digest, GeneralKey, Head, Id, Integration, KeyOrder, Keyring, LiveSecret, Noun, Owner, Role, StoreKey,
    User, UserRef, UserToken,
};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{
    AppBy, AppQuery, AuditQuery, Clash, CredentialLookup, Death, DestinationBy, DestinationQuery,
    DigestOwner, Flow, HourlyUsage, ImportEntry, IntegrationQuery, KeyQuery, LookupResult, Page, ReadTx, Row,
    Store, StoredLink, TokenQuery, Tombstone, Transaction, Unaudited, Unrecorded, UsageCount, UsageQuery,
    UserBy, UserQuery, Visit, Which, Window, WriteTx,
};
use pdkeys::{Error, Result};

use crate::site::{Engine, Forgery};

const HOUR: i64 = 3_600_000;

/// The rows of one moment.
#[derive(Clone, Default)]
struct Rows {
    account: Option<Account>,
    users: Vec<User>,
    general_keys: Vec<GeneralKey>,
    user_tokens: Vec<UserToken>,
    destinations: Vec<Destination>,
    integrations: Vec<Integration>,
    apps: Vec<App>,
    app_tokens: HashMap<[u8; 32], AppToken>,
    /// The owner of each live secret, and when it ends.
    live: HashMap<[u8; 32], (Id, Option<Timestamp>)>,
    dead: HashMap<[u8; 32], Tombstone>,
    audit: Vec<(u64, String, [u8; 32])>,
    imported: Vec<(Id, ImportEntry)>,
}

/// What was counted.
#[derive(Clone, Default)]
struct Usage {
    windows: HashMap<Id, Window>,
    hours: BTreeMap<(i64, Id), (u64, u64)>,
    last: HashMap<Id, Timestamp>,
}

impl Usage {
    fn add(&mut self, count: &UsageCount) {
        let hour = count.at.as_millisecond().div_euclid(HOUR);
        let (allowed, denied) = self.hours.entry((hour, count.id)).or_default();
        (*allowed, *denied) = (*allowed + count.allowed, *denied + count.denied);
        let last = self.last.entry(count.id).or_insert(count.at);
        *last = count.at.max(*last);
    }
}

struct Shared {
    rows: Mutex<Arc<Rows>>,
    usage: Mutex<Usage>,
    writer: Mutex<()>,
    keyring: Keyring,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection.
pub(crate) struct InMemoryStore(Arc<Shared>);

/// A snapshot, or with the writers' lock a write transaction.
pub(crate) struct Tx<'s> {
    rows: Arc<Rows>,
    usage: Usage,
    shared: &'s Shared,
    before_import: Option<Arc<Rows>>,
    _alone: Option<MutexGuard<'s, ()>>,
}

impl<'s> Tx<'s> {
    fn begin(shared: &'s Shared, alone: Option<MutexGuard<'s, ()>>) -> Self {
        Self {
            rows: Arc::clone(&lock(&shared.rows)),
            usage: lock(&shared.usage).clone(),
            shared,
            before_import: None,
            _alone: alone,
        }
    }

    fn rows_mut(&mut self) -> &mut Rows {
        Arc::make_mut(&mut self.rows)
    }

    fn is_recorded(&self, id: Id) -> bool {
        let named = format!("\"root_resource\":{{\"id\":\"{id}\"");
        self.rows.audit.iter().any(|(_, record, _)| record.contains(&named))
    }

    fn last_used(&self, id: Id) -> Option<Timestamp> {
        self.usage.last.get(&id).copied()
    }

    fn named(&self, user: &UserRef) -> UserRef {
        let found = self.rows.users.iter().find(|found| found.id == user.id).unwrap();
        UserRef { id: found.id, name: found.name.clone() }
    }

    fn full_key(&self, key: &GeneralKey) -> GeneralKey {
        let mut key = GeneralKey {
            last_used_at: self.last_used(key.id),
            created_by: self.named(&key.created_by),
            ..key.clone()
        };
        if let Some(disabled) = &mut key.disabled {
            disabled.by = disabled.by.as_ref().map(|by| self.named(by));
        }
        key
    }

    fn full_token(&self, token: &UserToken) -> UserToken {
        let user = self.rows.users.iter().find(|user| user.id == token.user.id).unwrap().clone();
        UserToken { last_used_at: self.last_used(token.id), user, ..token.clone() }
    }

    fn full_integration(&self, found: &Integration) -> Integration {
        let destination = self.rows.destinations.iter().find(|to| to.id == found.destination.id).unwrap();
        Integration {
            last_used_at: self.last_used(found.id),
            destination: DestinationRef::from(destination),
            ..found.clone()
        }
    }

    fn full_app(&self, app: &App) -> App {
        App { last_used_at: self.last_used(app.id), ..app.clone() }
    }

    fn credential(&self, digest: &Digest) -> Option<Credential> {
        let (id, secret_ends_at) = *self.rows.live.get(digest.as_bytes())?;
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
        if let Some(token) = self.rows.app_tokens.get(digest.as_bytes()) {
            let app = self.rows.apps.iter().find(|app| app.id == id)?;
            let both = token.scopes.iter().filter(|scope| app.scopes.contains(scope)).cloned().collect();
            (found.kind, found.description) = (CredentialKind::AppToken, app.name.to_string());
            (found.hint, found.access) = (Some(token.hint.clone()), Access::Scopes(both));
            (found.expires_at, found.rate_limit) = (Some(token.expires_at), app.rate_limit);
        } else if let Some(key) = self.general_key(id).ok()? {
            (found.description, found.hint, found.access) =
                (key.description.to_string(), key.hint, key.access);
            (found.disabled, found.expires_at) = (key.disabled.is_some(), key.expires_at);
            found.rate_limit = key.rate_limit;
        } else if let Some(UserToken { user, description, hint, access, expires_at, .. }) =
            self.user_token(id).ok()?
        {
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
        } else {
            // What is left is a client secret, which is no credential.
            let integration = self.integration(id).ok()??;
            (found.kind, found.description) = (CredentialKind::Integration, integration.name.to_string());
            (found.hint, found.destination) = (Some(integration.hint), Some(integration.destination));
            found.rate_limit = integration.rate_limit;
        }
        Some(found)
    }
}

/// Visits a page of rows.
fn visit_page<T>(
    rows: impl Iterator<Item = T>,
    id: impl Fn(&T) -> Id,
    page: Page,
    visit: Visit<'_, T>,
) -> Result<()> {
    let mut rows = rows.peekable();
    if let Some(after) = page.after {
        while rows.next().is_some_and(|row| id(&row) != after) {}
    }
    for row in rows.take(usize::try_from(page.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)) {
        if visit(row)?.is_break() {
            break;
        }
    }
    Ok(())
}

impl ReadTx for Tx<'_> {
    fn account(&self) -> Result<Account> {
        let owner = self.rows.users.iter().find(|user| user.role == Role::Owner).unwrap();
        let owner = UserRef { id: owner.id, name: owner.name.clone() };
        Ok(Account { owner, ..self.rows.account.clone().unwrap() })
    }

    fn user(&self, by: UserBy<'_>) -> Result<Option<User>> {
        let is_it = |user: &&User| match by {
            UserBy::Id(id) => user.id == id,
            UserBy::Name(name) => !user.has_left() && user.name.as_str() == name,
            UserBy::OsUser(uid) => !user.has_left() && user.os_uid == Some(uid),
        };
        Ok(self.rows.users.iter().find(is_it).cloned())
    }

    fn users(&mut self, query: &UserQuery, visit: Visit<'_, User>) -> Result<()> {
        let users = self.rows.users.iter().filter(|user| !query.present || !user.has_left());
        visit_page(users.cloned(), |user| user.id, query.page, visit)
    }

    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>> {
        Ok(self.rows.general_keys.iter().find(|key| key.id == id).map(|key| self.full_key(key)))
    }

    fn general_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()> {
        let mut keys: Vec<_> = self.rows.general_keys.iter().map(|key| self.full_key(key)).collect();
        match query.order {
            KeyOrder::Created => {}
            KeyOrder::Description => keys.sort_by(|a, b| a.description.as_str().cmp(b.description.as_str())),
            // Those used at the same moment by their ids, forwards and backwards.
            KeyOrder::LastUsed if query.reverse => {
                let used =
                    |key: &GeneralKey| key.last_used_at.map(|at| (at, std::cmp::Reverse(key.id.to_string())));
                keys.sort_by_key(used);
            }
            KeyOrder::LastUsed => keys.sort_by_key(|key| key.last_used_at.map(|at| (at, key.id.to_string()))),
            KeyOrder::Expires => keys.sort_by_key(|key| key.expires_at.unwrap_or(Timestamp::MAX)),
        }
        if query.reverse {
            keys.reverse();
        }
        // The page before may have ended at a key that does not match any more.
        if let Some(after) = query.page.after {
            let end = keys.iter().position(|key| key.id == after).map_or(keys.len(), |at| at + 1);
            keys.drain(..end);
        }
        let matching = keys.into_iter().filter(|key| query.filter.matches(key, query.at));
        visit_page(matching, |key| key.id, Page { after: None, ..query.page }, visit)
    }

    fn user_token(&self, id: Id) -> Result<Option<UserToken>> {
        Ok(self.rows.user_tokens.iter().find(|token| token.id == id).map(|token| self.full_token(token)))
    }

    fn user_tokens(&mut self, query: &TokenQuery, visit: Visit<'_, UserToken>) -> Result<()> {
        let of_user = |token: &&UserToken| query.user.is_none_or(|user| token.user.id == user);
        let tokens = self.rows.user_tokens.iter().filter(of_user).map(|token| self.full_token(token));
        visit_page(tokens, |token| token.id, query.page, visit)
    }

    fn destination(&self, by: DestinationBy<'_>) -> Result<Option<Destination>> {
        let is_it = |found: &&Destination| match by {
            DestinationBy::Id(id) => found.id == id,
            DestinationBy::Name(noun, name) => found.id.noun() == noun && found.name.as_str() == name,
        };
        Ok(self.rows.destinations.iter().find(is_it).cloned())
    }

    fn destinations(&mut self, query: &DestinationQuery, visit: Visit<'_, Destination>) -> Result<()> {
        let of_noun = self.rows.destinations.iter().filter(|found| found.id.noun() == query.noun);
        visit_page(of_noun.cloned(), |found| found.id, query.page, visit)
    }

    fn integration(&self, id: Id) -> Result<Option<Integration>> {
        let found = self.rows.integrations.iter().find(|found| found.id == id);
        Ok(found.map(|found| self.full_integration(found)))
    }

    fn integrations(&mut self, query: &IntegrationQuery, visit: Visit<'_, Integration>) -> Result<()> {
        let leads_there =
            |found: &&Integration| query.destination.is_none_or(|to| found.destination.id == to);
        let found =
            self.rows.integrations.iter().filter(leads_there).map(|found| self.full_integration(found));
        visit_page(found, |found| found.id, query.page, visit)
    }

    fn app(&self, by: AppBy<'_>) -> Result<Option<App>> {
        let is_it = |app: &&App| match by {
            AppBy::Id(id) => app.id == id,
            AppBy::Name(name) => app.name.as_str() == name,
            AppBy::ClientSecret(digest, at) => {
                let live = self.rows.live.get(digest.as_bytes());
                !self.rows.app_tokens.contains_key(digest.as_bytes())
                    && live.is_some_and(|(owner, ends_at)| {
                        *owner == app.id && ends_at.is_none_or(|end| end > at)
                    })
            }
        };
        Ok(self.rows.apps.iter().find(is_it).map(|app| self.full_app(app)))
    }

    fn apps(&mut self, query: &AppQuery, visit: Visit<'_, App>) -> Result<()> {
        visit_page(self.rows.apps.iter().map(|app| self.full_app(app)), |app| app.id, query.page, visit)
    }

    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>> {
        Ok(self.rows.app_tokens.get(digest.as_bytes()).cloned())
    }

    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>> {
        let of_app = self.rows.app_tokens.iter().filter(|(_, token)| token.app == app);
        let secret = |digest: &[u8; 32]| LiveSecret { digest: Digest::stored(*digest), ends_at: None };
        Ok(of_app.map(|(digest, token)| (token.clone(), vec![secret(digest)])).collect())
    }

    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>> {
        let of_app = self.rows.app_tokens.values().filter(|token| token.app == app);
        let mut issued: Vec<_> = of_app.map(|token| token.issued_at).collect();
        issued.sort_unstable();
        Ok(issued.into_iter().rev().nth(usize::try_from(n).unwrap().saturating_sub(1)))
    }

    fn live_secrets(&self, owner: Id) -> Result<Vec<LiveSecret>> {
        let is_its_own = |(digest, (holder, _)): &(&[u8; 32], &(Id, Option<Timestamp>))| {
            *holder == owner && !self.rows.app_tokens.contains_key(*digest)
        };
        let secret = |(digest, (_, ends_at)): (&[u8; 32], &(Id, Option<Timestamp>))| LiveSecret {
            digest: Digest::stored(*digest),
            ends_at: *ends_at,
        };
        let mut live: Vec<_> = self.rows.live.iter().filter(is_its_own).map(secret).collect();
        live.sort_by_key(|secret| secret.ends_at.unwrap_or(Timestamp::MAX));
        Ok(live)
    }

    fn dead_secrets(&self, owner: Id) -> Result<Vec<(Digest, Tombstone)>> {
        let of_owner = self.rows.dead.iter().filter(|(_, tombstone)| tombstone.id == owner);
        Ok(of_owner.map(|(digest, tombstone)| (Digest::stored(*digest), tombstone.clone())).collect())
    }

    fn digest_owner(&self, digest: &Digest) -> Result<Option<DigestOwner>> {
        let live = self.rows.live.get(digest.as_bytes());
        Ok(match live {
            Some((id, ends_at)) => Some(DigestOwner::Live { id: *id, ends_at: *ends_at }),
            None => self.rows.dead.get(digest.as_bytes()).cloned().map(DigestOwner::Dead),
        })
    }

    fn is_taken(&self, id: Id) -> Result<bool> {
        let is_external = |user: &User| {
            let external_id = user.external_id.as_ref().map(ToString::to_string);
            !user.has_left()
                && external_id.is_some_and(|external| external.eq_ignore_ascii_case(&id.to_string()))
        };
        let is_user = |user: &User| user.id == id || is_external(user);
        Ok(self.rows.users.iter().any(is_user) || self.is_recorded(id) || self.import_entry(id)?.is_some())
    }

    fn usage(&mut self, query: &UsageQuery, visit: Visit<'_, HourlyUsage>) -> Result<()> {
        for (&(hour, id), &(allowed, denied)) in &self.usage.hours {
            let began_at = Timestamp::from_millisecond(hour * HOUR).unwrap();
            let is_selected = query.of.is_none_or(|of| of == id) && began_at >= query.since;
            if is_selected && visit(HourlyUsage { id, began_at, allowed, denied })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn audit_records(&mut self, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()> {
        let mut left = query.limit.unwrap_or(u64::MAX);
        for (number, record, _) in self.rows.audit.iter().rev() {
            let record: AuditRecord = serde_json::from_str(record).unwrap();
            let matches = query.before.is_none_or(|before| *number < before)
                && query.since.is_none_or(|since| record.execution_time >= since)
                && query.until.is_none_or(|until| record.execution_time < until)
                && query.actor.as_ref().is_none_or(|actor| record.actors.iter().any(|one| one.id == *actor))
                && query.action.is_none_or(|action| record.action == action)
                && query.target.as_ref().is_none_or(|target| record.root_resource.id == *target)
                && query.target_type.as_ref().is_none_or(|kind| record.root_resource.kind == *kind);
            if !matches {
                continue;
            }
            if left == 0 || visit(record)?.is_break() {
                break;
            }
            left -= 1;
        }
        Ok(())
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
        Ok(after.take(usize::try_from(limit).unwrap()).collect())
    }

    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>> {
        Ok(self.rows.imported.iter().find(|(other, _)| *other == id).map(|(_, entry)| entry.clone()))
    }

    fn import_entries(&self, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>> {
        let mut found = Vec::new();
        let entry = |(id, entry): &(Id, ImportEntry)| (*id, entry.clone(), self.is_recorded(*id));
        visit_page(self.rows.imported.iter().map(entry), |(id, ..)| *id, page, &mut |entry| {
            found.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn unrecorded(&mut self, visit: Visit<'_, Unrecorded>) -> Result<()> {
        let rows = &self.rows;
        let ids = rows.general_keys.iter().map(|row| row.id).chain(rows.user_tokens.iter().map(|row| row.id));
        let unnamed = |id: &Id| !self.is_recorded(*id) && rows.imported.iter().all(|(other, _)| other != id);
        for id in ids.filter(unnamed) {
            if visit(Unrecorded::Thing(id))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn audit_head(&self) -> Result<Head> {
        Ok(self.rows.audit.last().map_or(Head::START, |(number, _, end)| Head { number: *number, end: *end }))
    }
}

/// Adds a row, or replaces the one with its id.
macro_rules! put {
    ($rows:expr, $row:ident, $is_new:ident) => {
        match ($rows.iter_mut().find(|other| other.id == $row.id), $is_new) {
            (None, true) => Ok($rows.push($row.clone())),
            (Some(there), false) => Ok(*there = $row.clone()),
            (Some(_), true) => refuse(true),
            (None, false) => Err(gone()),
        }
    };
}

fn gone() -> Error {
    ErrorKind::Damaged("a row is gone".to_owned()).into()
}

fn refuse(refused: bool) -> Result<()> {
    if refused { Err(Conflict::NotUnique("rows").into()) } else { Ok(()) }
}

impl Tx<'_> {
    fn write(&mut self, row: Row<'_>, is_new: bool) -> Result<()> {
        let rows = self.rows_mut();
        match row {
            Row::Account(account) => {
                refuse(is_new == rows.account.is_some())?;
                rows.account = Some(account.clone());
                Ok(())
            }
            Row::User(user) => {
                let same = |other: &User| {
                    user.name == other.name
                        || user.os_uid.is_some() && user.os_uid == other.os_uid
                        || user.external_id.is_some() && user.external_id == other.external_id
                };
                let clashes = |other: &User| {
                    let present = !user.has_left() && !other.has_left();
                    present && same(other) || [user.role, other.role] == [Role::Owner; 2]
                };
                refuse(rows.users.iter().any(|other| other.id != user.id && clashes(other)))?;
                put!(rows.users, user, is_new)
            }
            Row::GeneralKey(key) => put!(rows.general_keys, key, is_new),
            Row::UserToken(token) => put!(rows.user_tokens, token, is_new),
            Row::Destination(found) => {
                let clashes = |other: &Destination| {
                    other.id != found.id && other.id.noun() == found.id.noun() && other.name == found.name
                };
                refuse(rows.destinations.iter().any(clashes))?;
                put!(rows.destinations, found, is_new)
            }
            Row::Integration(found) => {
                refuse(rows.destinations.iter().all(|to| to.id != found.destination.id))?;
                put!(rows.integrations, found, is_new)
            }
            Row::App(app) => {
                refuse(rows.apps.iter().any(|other| other.id != app.id && other.name == app.name))?;
                put!(rows.apps, app, is_new)
            }
        }
    }

    fn bury(&mut self, digest: [u8; 32], id: Id, death: Death, at: Timestamp) {
        let rows = self.rows_mut();
        rows.live.remove(&digest);
        rows.app_tokens.remove(&digest);
        rows.dead.insert(digest, Tombstone { id, death, at });
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
        let rows = self.rows_mut();
        refuse(rows.integrations.iter().any(|found| found.destination.id == id))?;
        macro_rules! remove_from {
            ($($of_noun:ident)*) => { 0 $(+ rows.$of_noun.extract_if(.., |row| row.id == id).count())* };
        }
        let removed = remove_from!(general_keys user_tokens destinations integrations apps);
        if removed == 1 { Ok(()) } else { Err(gone()) }
    }

    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()> {
        let live = &mut self.rows_mut().live;
        refuse(live.contains_key(digest.as_bytes()))?;
        live.insert(*digest.as_bytes(), (owner, None));
        Ok(())
    }

    fn end_secret(&mut self, owner: Id, at: Timestamp) -> Result<()> {
        let Rows { live, app_tokens, .. } = self.rows_mut();
        for (digest, (holder, ends_at)) in live {
            if *holder == owner && !app_tokens.contains_key(digest) {
                *ends_at = Some(at);
            }
        }
        Ok(())
    }

    fn bury_secrets(&mut self, owner: Id, which: Which, death: Death, at: Timestamp) -> Result<()> {
        let dies = |(digest, (holder, ends_at)): (&[u8; 32], &(Id, Option<Timestamp>))| {
            let is_its_own = *holder == owner && !self.rows.app_tokens.contains_key(digest);
            (is_its_own && (which == Which::All || ends_at.is_some())).then_some(*digest)
        };
        let dying: Vec<_> = self.rows.live.iter().filter_map(dies).collect();
        for digest in dying {
            self.bury(digest, owner, death, at);
        }
        Ok(())
    }

    fn insert_app_token(&mut self, token: &AppToken, digest: &Digest) -> Result<()> {
        self.insert_secret(token.app, digest)?;
        self.rows_mut().app_tokens.insert(*digest.as_bytes(), token.clone());
        Ok(())
    }

    fn bury_app_token(&mut self, token: &AppToken, digest: &Digest, at: Timestamp) -> Result<bool> {
        let is_there = self.rows.app_tokens.contains_key(digest.as_bytes());
        if is_there {
            self.bury(*digest.as_bytes(), token.app, Death::Removed, at);
        }
        Ok(is_there)
    }

    fn bury_app_tokens(&mut self, app: Id, at: Timestamp) -> Result<()> {
        let dying: Vec<_> = self
            .rows
            .app_tokens
            .iter()
            .filter(|(_, token)| token.app == app)
            .map(|(digest, _)| *digest)
            .collect();
        for digest in dying {
            self.bury(digest, app, Death::Removed, at);
        }
        Ok(())
    }

    fn sweep_app_tokens(&mut self, expired_by: Timestamp) -> Result<()> {
        let Rows { live, app_tokens, .. } = self.rows_mut();
        app_tokens.retain(|digest, token| {
            let stays = token.expires_at > expired_by;
            if !stays {
                live.remove(digest);
            }
            stays
        });
        Ok(())
    }

    fn import(&mut self, row: Row<'_>, digest: &Digest) -> Result<Option<Clash>> {
        if let Some(tombstone) = self.rows.dead.get(digest.as_bytes()) {
            return Ok(Some(Clash::Dead(tombstone.clone())));
        }
        let before = self.before_import.get_or_insert_with(|| Arc::clone(&self.rows));
        if let Some((id, _)) = self.rows.live.get(digest.as_bytes()) {
            macro_rules! added {
                ($of_noun:ident) => {{
                    let number = self.rows.$of_noun.iter().position(|row| row.id == *id);
                    number.and_then(|number| number.checked_sub(before.$of_noun.len()))
                }};
            }
            let added = match id.noun() {
                Noun::GeneralKey => added!(general_keys),
                Noun::UserToken => added!(user_tokens),
                _ => added!(integrations),
            };
            let clash = |index| Clash::Added { noun: id.noun(), index: u64::try_from(index).unwrap() };
            return Ok(Some(added.map_or(Clash::Taken(*id), clash)));
        }
        let id = match row {
            Row::GeneralKey(key) => key.id,
            Row::UserToken(token) => token.id,
            Row::Integration(found) => found.id,
            _ => return Err(gone()),
        };
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
        *lock(&self.shared.rows) = Arc::clone(&self.rows);
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
        let alone = lock(&self.0.writer);
        Ok(Tx::begin(&self.0, Some(alone)))
    }

    fn keyring(&mut self) -> Result<Keyring> {
        Ok(self.0.keyring.clone())
    }

    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<CredentialLookup>> {
        let tx = self.read()?;
        let account = Arc::new(tx.account()?);
        let look_up = |digest: &Digest| {
            let result = match (tx.credential(digest), tx.digest_owner(digest)?) {
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
        let mut usage = lock(&self.0.usage);
        let window = Window::with_one_more(usage.windows.get(&counted_as).copied(), at);
        usage.windows.insert(counted_as, window);
        let allowed = decide(window);
        usage.add(&UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) });
        Ok(())
    }

    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>> {
        Ok(lock(&self.0.usage).windows.get(&counted_as).copied())
    }

    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()> {
        let mut usage = lock(&self.0.usage);
        for count in counts {
            usage.add(count);
        }
        Ok(())
    }
}

/// A store in memory.
pub(crate) struct InMemory(Arc<Shared>);

impl Engine for InMemory {
    type Store = InMemoryStore;

    fn found(founding: &Founding, clock: &dyn Clock) -> Self {
        let keyring = Keyring::new(&StoreKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let (rows, usage, writer) = Default::default();
        let shared = Arc::new(Shared { rows, usage, writer, keyring });
        let mut store = InMemoryStore(Arc::clone(&shared));
        let mut tx = Transaction::begin(&mut store).unwrap();
        founding.found(&mut tx, &mut SystemEntropy, "feedfacefeedface", clock.now()).unwrap();
        tx.commit().unwrap();
        Self(shared)
    }

    fn open(&self) -> InMemoryStore {
        InMemoryStore(Arc::clone(&self.0))
    }

    fn forge(&self, forgery: &Forgery) {
        let mut rows = lock(&self.0.rows);
        let rows = Arc::make_mut(&mut rows);
        let audit = &mut rows.audit;
        match forgery {
            Forgery::Alter { number, from, to } => {
                let (_, record, _) = audit.iter_mut().find(|(stored, ..)| stored == number).unwrap();
                *record = record.replace(from, to);
            }
            Forgery::LeaveOut { number } => audit.retain(|(stored, ..)| stored != number),
            Forgery::CutAfter { number } => audit.retain(|(stored, ..)| stored <= number),
            Forgery::Widen { id } => {
                let key = rows.general_keys.iter_mut().find(|key| key.id == *id).unwrap();
                key.access = Access::Full;
            }
            Forgery::Exchange { id } => {
                let own = *rows.live.iter().find(|(_, (owner, _))| owner == id).unwrap().0;
                let moved = rows.live.remove(&own).unwrap();
                rows.live.insert([own[0]; 32], moved);
            }
            Forgery::TakeOut { id } => {
                rows.live.retain(|_, (owner, _)| owner != id);
                rows.general_keys.retain(|key| key.id != *id);
            }
            Forgery::Forget { id } => rows.dead.retain(|_, tombstone| tombstone.id != *id),
        }
    }
}
