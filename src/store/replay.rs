//! Replays the audit trail and compares the result with the state of the store.
//!
//! The audit chain proves the records, not the rows. A record holds the fields that a resource was created with or that
//! a change altered, and [marks](SecretMark) of the secrets that it has from then on. Replaying all records of a
//! resource therefore yields its expected state. That is compared with the stored state: every field, live secret,
//! tombstone and app token. A resource that exists without a record, or is missing despite its records, is a difference
//! too.
//!
//! Three effects are not in the records of the affected resource, and are derived in the same way as the store derives
//! them: a transfer of the account changes the roles of two users; removing an app or revoking its tokens removes all
//! its tokens; and issuing an app token sweeps expired ones. Imported resources have no creation record. Their content
//! is stored as imported, and the audit record of the import commits to all of it.
//!
//! Records of version 0.1 have no marks, and its imports no commitment. What they leave unproven is counted, not
//! compared. Rotating such a secret covers it from then on.
//!
//! Resources are processed in the order of their ids, so that only the records of one resource are in memory at a time.

mod expected;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use expected::{Expected, TokenFields, moment};
use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::model::{
    Account, AuditAction, Audited, Commitment, Committing, FieldChange, Head, Id, Integration, Keyring,
    LiveSecret, Noun, Role, Secret,
};
use crate::store::{AppBy, AuditQuery, Death, DestinationBy, ImportEntry, Page, ReadTx, Unrecorded, UserBy};

/// The number of targets or import entries to read at a time.
const PAGE: u64 = 500;
/// The maximum number of differences to return. Further ones are only counted.
const KEPT: usize = 100;

/// The nouns that can be imported, each with the field of an import's audit record that counts them.
const IMPORTED: [(Noun, &str); 4] = [
    (Noun::GeneralKey, "general_keys"),
    (Noun::UserToken, "user_tokens"),
    (Noun::Integration, "integrations"),
    (Noun::User, "users"),
];

/// A difference between the audit trail and the store. It never contains a secret, a digest or a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The noun of the resource.
    pub noun: Noun,
    /// The id of the resource, or the resource type if it has none.
    pub id: String,
    /// The field, or `None` if the whole resource is missing or should not exist.
    pub field: Option<String>,
    /// The number of the audit record that the expectation comes from, if any.
    pub record: Option<u64>,
    /// The value according to the audit trail.
    pub trail: Option<String>,
    /// The value in the store.
    pub state: Option<String>,
}

/// The result of replaying an audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The first differences.
    pub differences: Vec<Difference>,
    /// The total number of differences.
    pub count: u64,
    /// The number of resources that the trail does not fully cover, because version 0.1 recorded or imported them.
    pub not_covered: u64,
}

/// Compares the state of a store with its audit trail, which must have been verified up to `head`.
///
/// # Errors
/// If the store cannot be read, or the database index of the audit trail does not match the trail.
pub fn replay(tx: &mut impl ReadTx, keyring: &Keyring, head: Head) -> Result<Replay> {
    let past = Past::of(tx)?;
    let mut replaying = Replaying {
        tx,
        keyring,
        past,
        last_issue: OnceCell::new(),
        without_creation: BTreeMap::new(),
        found: Replay::default(),
    };
    replaying.recorded_things(head)?;
    replaying.imported_things()?;
    replaying.unrecorded_things()?;
    Ok(replaying.found)
}

/// The facts about other resources in the audit records of the account.
struct Past {
    /// The commitment of each import, by the number of its record.
    imports: BTreeMap<u64, Option<Commitment>>,
    /// The number of resources of each noun that were imported by version 0.1, without a commitment.
    uncommitted: BTreeMap<Noun, u64>,
    /// By user id, the roles given by transfers of the account, each with the number of the record.
    roles: HashMap<String, Vec<(u64, Role)>>,
}

impl Past {
    fn of(tx: &mut impl ReadTx) -> Result<Self> {
        let mut past = Self { imports: BTreeMap::new(), uncommitted: BTreeMap::new(), roles: HashMap::new() };
        let mut transfers = Vec::new();
        let query = AuditQuery { target: Some(Account::AUDIT_ID.to_owned()), ..AuditQuery::default() };
        tx.audit_records(&query, &mut |record| {
            if record.action != AuditAction::Update {
                return Ok(ControlFlow::Continue(()));
            }
            let said = |name| record.details.fields.iter().find(|field| field.name == name);
            let count =
                |name| said(name).and_then(|field| field.value.as_ref()?.parse::<u64>().ok()).unwrap_or(0);
            let brought = IMPORTED.map(|(noun, name)| (noun, count(name)));
            if let Some(owner) = said("owner") {
                transfers.push((record.id, owner.clone()));
            } else if brought.iter().any(|(_, count)| *count > 0) {
                let commitment = record.details.evidence.and_then(|evidence| evidence.imported);
                if commitment.is_none() {
                    for (noun, count) in brought {
                        *past.uncommitted.entry(noun).or_default() += count;
                    }
                }
                past.imports.insert(record.id, commitment);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if !transfers.is_empty() {
            past.take_transfers(tx, transfers)?;
        }
        Ok(past)
    }

    /// Resolves the users of each transfer. Its record holds their names, and only one active user has a name at a
    /// time.
    fn take_transfers(&mut self, tx: &mut impl ReadTx, mut transfers: Vec<(u64, FieldChange)>) -> Result<()> {
        // The name of each user after a record, or `None` if the user has left.
        let mut called: Vec<(u64, String, Option<String>)> = Vec::new();
        let query =
            AuditQuery { target_type: Some(Noun::User.resource_type().to_owned()), ..AuditQuery::default() };
        tx.audit_records(&query, &mut |record| {
            let left =
                record.details.fields.iter().any(|field| field.name == "left_at" && field.value.is_some());
            let name = (!left).then_some(record.root_resource.summary);
            called.push((record.id, record.root_resource.id, name));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut page = Page { limit: Some(PAGE), after: None };
        loop {
            let entries = tx.import_entries(page)?;
            let Some((last, ..)) = entries.last() else { break };
            page.after = Some(*last);
            for (id, entry, _) in entries.into_iter().filter(|(id, ..)| id.noun() == Noun::User) {
                let name = entry.thing()?.fields.get("name").and_then(|name| Some(name.as_str()?.to_owned()));
                called.push((entry.record, id.to_string(), name));
            }
        }
        called.sort_by_key(|(number, ..)| *number);
        transfers.sort_by_key(|(number, _)| *number);
        let mut called = called.into_iter().peekable();
        let mut present: HashMap<String, String> = HashMap::new();
        for (number, owner) in transfers {
            while let Some((_, id, name)) = called.next_if(|(earlier, ..)| *earlier < number) {
                present.retain(|_, other| *other != id);
                present.extend(name.map(|name| (name, id)));
            }
            for (name, role) in [(owner.before_value, Role::Admin), (owner.value, Role::Owner)] {
                if let Some(id) = name.and_then(|name| present.get(&name)) {
                    self.roles.entry(id.clone()).or_default().push((number, role));
                }
            }
        }
        Ok(())
    }
}

/// A replay in progress.
struct Replaying<'r, R> {
    tx: &'r mut R,
    keyring: &'r Keyring,
    past: Past,
    /// When the last app token was issued, computed on first use.
    last_issue: OnceCell<Timestamp>,
    /// The number of resources of each noun without a creation record or import entry.
    without_creation: BTreeMap<Noun, u64>,
    found: Replay,
}

impl<R: ReadTx> Replaying<'_, R> {
    /// Replays the records of each resource and compares the result with the state.
    fn recorded_things(&mut self, head: Head) -> Result<()> {
        let (mut seen, mut after) = (0, String::new());
        loop {
            let targets = self.tx.audit_targets(&after, PAGE)?;
            let Some(last) = targets.last() else { break };
            after.clone_from(last);
            for target in targets {
                let mut expected = self.begin(&target)?;
                let mut records = Vec::new();
                let query = AuditQuery { target: Some(target), ..AuditQuery::default() };
                self.tx.audit_records(&query, &mut |record| {
                    records.push(record);
                    Ok(ControlFlow::Continue(()))
                })?;
                seen += records.len() as u64;
                // The query returns the newest first.
                for record in records.into_iter().rev() {
                    expected.fold(record);
                }
                self.compare_with_state(expected)?;
            }
        }
        if seen == head.number {
            return Ok(());
        }
        Err(ErrorKind::Damaged("the index of the audit trail does not fit the trail".to_owned()).into())
    }

    /// Returns the expected state of a resource before its first record: what was imported, if it was imported.
    fn begin(&self, target: &str) -> Result<Expected> {
        if target == Account::AUDIT_ID {
            return Ok(Expected::unknown(Noun::Account, target.to_owned()));
        }
        let id: Id = target
            .parse()
            .map_err(|_| ErrorKind::Damaged(format!("a record of the audit trail is about {target:?}")))?;
        self.begin_of(id, self.tx.import_entry(id)?.as_ref())
    }

    fn begin_of(&self, id: Id, entry: Option<&ImportEntry>) -> Result<Expected> {
        let mut expected = Expected::unknown(id.noun(), id.to_string());
        expected.roles = self.past.roles.get(&expected.id).cloned().unwrap_or_default();
        if let Some(entry) = entry {
            expected.came_in(entry)?;
        }
        Ok(expected)
    }

    /// Compares the import entries with the commitments, and imported resources that have no records with their
    /// entries.
    fn imported_things(&mut self) -> Result<()> {
        let mut committing: BTreeMap<u64, Committing> = BTreeMap::new();
        let mut page = Page { limit: Some(PAGE), after: None };
        loop {
            let entries = self.tx.import_entries(page)?;
            let Some((last, ..)) = entries.last() else { break };
            page.after = Some(*last);
            for (id, entry, is_recorded) in entries {
                committing
                    .entry(entry.record)
                    .or_insert_with(|| self.keyring.commit())
                    .add(&id.to_string(), &entry.content);
                if !is_recorded {
                    let expected = self.begin_of(id, Some(&entry))?;
                    self.compare_with_state(expected)?;
                }
            }
        }
        let mut kept: BTreeMap<_, _> =
            committing.into_iter().map(|(record, committing)| (record, committing.finish())).collect();
        let numbers: Vec<_> = self.past.imports.keys().chain(kept.keys()).copied().collect();
        for record in numbers {
            let said = self.past.imports.remove(&record).flatten();
            let held = kept.remove(&record);
            if said != held {
                let (trail, state) = (said.map(|_| "what came in"), held.map(|_| "something else"));
                self.differ(Difference {
                    noun: Noun::Account,
                    id: Account::AUDIT_ID.to_owned(),
                    field: Some("import".to_owned()),
                    record: Some(record),
                    trail: trail.map(str::to_owned),
                    state: state.map(str::to_owned),
                });
            }
        }
        Ok(())
    }

    /// Compares the number of resources without a record with the number that version 0.1 imported.
    fn unrecorded_things(&mut self) -> Result<()> {
        let mut unrecorded = Vec::new();
        self.tx.unrecorded(&mut |found| {
            unrecorded.push(found);
            Ok(ControlFlow::Continue(()))
        })?;
        for unrecorded in unrecorded {
            match unrecorded {
                Unrecorded::Thing(id)
                    if self.past.uncommitted.get(&id.noun()).is_some_and(|count| *count > 0) =>
                {
                    *self.without_creation.entry(id.noun()).or_default() += 1;
                    self.found.not_covered += 1;
                }
                Unrecorded::Thing(id) => self.differ(Difference {
                    noun: id.noun(),
                    id: id.to_string(),
                    field: None,
                    record: None,
                    trail: None,
                    state: Some("there".to_owned()),
                }),
                Unrecorded::DeadSecret(id) => self.differ(Difference {
                    noun: id.noun(),
                    id: id.to_string(),
                    field: Some("dead secret".to_owned()),
                    record: None,
                    trail: None,
                    state: Some("one".to_owned()),
                }),
                Unrecorded::StraySecret => self.differ(Difference {
                    noun: Noun::Account,
                    id: Account::AUDIT_ID.to_owned(),
                    field: Some("secret".to_owned()),
                    record: None,
                    trail: None,
                    state: Some("one that belongs to nothing".to_owned()),
                }),
                Unrecorded::Schema { made, present } => self.differ(Difference {
                    noun: Noun::Account,
                    id: Account::AUDIT_ID.to_owned(),
                    field: Some("schema".to_owned()),
                    record: None,
                    trail: made,
                    state: present,
                }),
            }
        }
        for (noun, said) in std::mem::take(&mut self.past.uncommitted) {
            let held = self.without_creation.get(&noun).copied().unwrap_or(0);
            if said != held {
                self.differ(Difference {
                    noun,
                    id: noun.resource_type().to_owned(),
                    field: Some("imported by 0.1".to_owned()),
                    record: None,
                    trail: Some(said.to_string()),
                    state: Some(held.to_string()),
                });
            }
        }
        Ok(())
    }

    fn differ(&mut self, difference: Difference) {
        self.found.count += 1;
        if self.found.differences.len() < KEPT {
            self.found.differences.push(difference);
        }
    }

    /// Compares the expected state of a resource with the stored state.
    fn compare_with_state(&mut self, mut expected: Expected) -> Result<()> {
        expected.take_roles(u64::MAX);
        if !expected.complete {
            *self.without_creation.entry(expected.noun).or_default() += 1;
        }
        let Ok(id) = expected.id.parse::<Id>() else {
            let account = match self.tx.account() {
                Ok(account) => Some(account),
                // The row of the account or of its owner is missing.
                Err(error) if matches!(error.kind(), ErrorKind::Damaged(_)) => None,
                Err(error) => return Err(error),
            };
            self.compare(&expected, account.as_ref());
            return Ok(());
        };
        let is_there = match id.noun() {
            Noun::User => {
                let user = self.tx.user(UserBy::Id(id))?;
                self.compare(&expected, user.as_ref())
            }
            Noun::GeneralKey => {
                let key = self.tx.general_key(id)?;
                self.compare(&expected, key.as_ref())
            }
            Noun::UserToken => {
                let token = self.tx.user_token(id)?;
                self.compare(&expected, token.as_ref())
            }
            Noun::Service | Noun::Orchestration => {
                let destination = self.tx.destination(DestinationBy::Id(id))?;
                self.compare(&expected, destination.as_ref())
            }
            Noun::App => {
                let app = self.tx.app(AppBy::Id(id))?;
                self.compare(&expected, app.as_ref())
            }
            Noun::Integration => {
                let integration = self.tx.integration(id)?;
                let is_there = self.compare(&expected, integration.as_ref());
                if let Some(integration) = integration.filter(|_| is_there) {
                    self.compare_sealed_key(&expected, &integration)?;
                }
                is_there
            }
            Noun::Account | Noun::AppToken => false,
        };
        if is_there {
            let mut open = !expected.complete;
            if expected.has_secrets() {
                let present = self.tx.live_secrets(id)?;
                open |= self.compare_live_secrets(&expected, &present);
                open |= id.noun() == Noun::App && self.compare_app_tokens(&mut expected, id)?;
            }
            self.found.not_covered += u64::from(open);
        }
        self.compare_dead_secrets(&expected, id)
    }

    /// Compares the fields of a resource. Returns true if it is expected to exist and does.
    fn compare<T: Audited>(&mut self, expected: &Expected, state: Option<&T>) -> bool {
        let presence = |is: bool| Some(if is { "there" } else { "gone" }.to_owned());
        if expected.there != state.is_some() {
            self.differ(expected.differs(
                None,
                Some(expected.last),
                presence(expected.there),
                presence(state.is_some()),
            ));
            return false;
        }
        let Some(state) = state else { return false };
        for (name, value) in state.audit_fields().into_iter().chain(state.implied_fields()) {
            if (expected.noun, name) == (Noun::Account, "owner")
                || (expected.noun, name) == (Noun::UserToken, "user")
            {
                // The name of a user, which can change. The user's role and id are compared instead.
                continue;
            }
            let (said, record) = match expected.fields.get(name) {
                Some((said, record)) => (said.clone(), Some(*record)),
                None if expected.complete => (None, expected.made),
                None => continue,
            };
            if said != value {
                self.differ(expected.differs(Some(name), record, said, value));
            }
        }
        true
    }

    /// Compares the live secrets of a resource. Returns true if the trail does not cover them.
    fn compare_live_secrets(&mut self, expected: &Expected, present: &[LiveSecret]) -> bool {
        let text = |text: &str| Some(text.to_owned());
        let Some((live, record)) = &expected.live else {
            // The secrets are not recorded, but their possible number is.
            let overlap = |secret: &&LiveSecret| secret.ends_at.is_some();
            let ends: Vec<_> = present.iter().filter(overlap).map(|secret| moment(secret.ends_at)).collect();
            let said = expected.fields.get("overlap_ends_at").and_then(|(end, _)| end.clone());
            if present.len() - ends.len() > 1 || ends.len() > 1 {
                let state = Some(present.len().to_string());
                let most = if said.is_some() { "two at most" } else { "one" };
                self.differ(expected.differs(Some("secret"), Some(expected.last), text(most), state));
            } else if let Some(end) = ends.into_iter().next()
                && expected.complete
                && end != said
            {
                self.differ(expected.differs(Some("secret ends"), Some(expected.last), said, end));
            }
            return !present.is_empty();
        };
        let present: Vec<_> = present
            .iter()
            .map(|secret| (self.keyring.mark(&secret.digest), moment(secret.ends_at)))
            .collect();
        let lost = live.iter().filter(|said| !present.iter().any(|(mark, _)| *mark == said.mark)).count();
        let new = present.iter().filter(|(mark, _)| !live.iter().any(|said| said.mark == *mark)).count();
        let differs = match (lost, new) {
            (0, 0) => None,
            (0, _) => Some((text("no other"), text("another as well"))),
            (_, 0) => Some((text("the issued one"), text("gone"))),
            (_, _) => Some((text("the issued one"), text("another"))),
        };
        if let Some((trail, state)) = differs {
            self.differ(expected.differs(Some("secret"), Some(*record), trail, state));
        }
        for said in live {
            let end = moment(said.ends_at);
            if let Some((_, held)) = present.iter().find(|(mark, _)| *mark == said.mark)
                && *held != end
            {
                self.differ(expected.differs(Some("secret ends"), Some(*record), end, held.clone()));
            }
        }
        false
    }

    /// Compares the sealed key, which is shown to users, with the secret that checks accept.
    fn compare_sealed_key(&mut self, expected: &Expected, integration: &Integration) -> Result<()> {
        let accepted = self.tx.live_secrets(integration.id)?;
        let state = match Secret::unseal(self.keyring, integration.id, &integration.sealed_key) {
            Ok(secret) => {
                let digest = self.keyring.digest(&secret.fingerprint());
                if accepted.iter().any(|accepted| accepted.digest == digest) {
                    return Ok(());
                }
                "another"
            }
            Err(_) => "one that does not open",
        };
        let trail = Some("that of its secret".to_owned());
        self.differ(expected.differs(Some("sealed key"), Some(expected.last), trail, Some(state.to_owned())));
        Ok(())
    }

    /// Compares the tokens of an app. Returns true if the trail does not cover their secrets.
    fn compare_app_tokens(&mut self, expected: &mut Expected, app: Id) -> Result<bool> {
        let mut open = false;
        let mut said = std::mem::take(&mut expected.tokens);
        for (token, secrets) in self.tx.app_tokens(app)? {
            let marks: Vec<_> = secrets.iter().map(|secret| self.keyring.mark(&secret.digest)).collect();
            let held = TokenFields::of(&token);
            let by_mark =
                said.iter().position(|said| said.mark.as_ref().is_some_and(|mark| marks.contains(mark)));
            let by_fields = || said.iter().position(|said| said.mark.is_none() && said.fields == held);
            let Some(found) = by_mark.or_else(by_fields) else {
                let state = Some(format!("one of {}", held.issued_at));
                self.differ(expected.differs(Some("token"), None, None, state));
                continue;
            };
            let said = said.swap_remove(found);
            open |= said.mark.is_none();
            for (field, said_value, value) in said.fields.differing(&held) {
                self.differ(expected.differs(Some(field), Some(said.record), Some(said_value), Some(value)));
            }
            if marks.len() != 1 || secrets.iter().any(|secret| secret.ends_at.is_some()) {
                let state = Some(format!("{} of a token", marks.len()));
                self.differ(expected.differs(
                    Some("secret"),
                    Some(said.record),
                    Some("1 of a token".to_owned()),
                    state,
                ));
            }
        }
        for lost in said {
            // An expired token is swept when the next one is issued.
            if lost.expires_at.is_some_and(|end| end <= self.last_issue().unwrap_or(Timestamp::MAX)) {
                continue;
            }
            let trail = Some(format!("one of {}", lost.fields.issued_at));
            self.differ(expected.differs(Some("token"), Some(lost.record), trail, Some("gone".to_owned())));
        }
        Ok(open)
    }

    /// Returns when the last app token of any app was issued.
    fn last_issue(&mut self) -> Result<Timestamp> {
        if let Some(known) = self.last_issue.get() {
            return Ok(*known);
        }
        let mut last = Timestamp::MIN;
        let query = AuditQuery {
            action: Some(AuditAction::Create),
            target_type: Some(Noun::AppToken.resource_type().to_owned()),
            ..AuditQuery::default()
        };
        self.tx.audit_records(&query, &mut |record| {
            last = last.max(record.execution_time);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(*self.last_issue.get_or_init(|| last))
    }

    /// Compares the tombstones of a resource's secrets.
    fn compare_dead_secrets(&mut self, expected: &Expected, id: Id) -> Result<()> {
        let mut held: HashMap<_, _> = self
            .tx
            .dead_secrets(id)?
            .into_iter()
            .map(|(digest, tombstone)| (self.keyring.mark(&digest), (tombstone.death, tombstone.at)))
            .collect();
        let told = |(death, at): (Death, Timestamp)| format!("{} at {at:.3}", death.as_str());
        for (mark, (record, said)) in &expected.dead {
            let held = held.remove(mark);
            if held != Some(*said) {
                let state = held.map_or_else(|| "gone".to_owned(), told);
                self.differ(expected.differs(
                    Some("dead secret"),
                    Some(*record),
                    Some(told(*said)),
                    Some(state),
                ));
            }
        }
        if expected.all_marked {
            for other in held.into_values() {
                self.differ(expected.differs(Some("dead secret"), None, None, Some(told(other))));
            }
        }
        Ok(())
    }
}
