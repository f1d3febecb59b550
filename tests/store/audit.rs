//! Stories of the audit trail.

use std::ops::ControlFlow;

use jiff::SignedDuration;
use pdkeys::authz::{Action, Target, authorize};
use pdkeys::model::{
    Access, AuditAction, AuditRecord, Change, FieldChange, GeneralKey, Head, Id, Imported, Role,
    SecretChange, User, UserRef,
};
use pdkeys::store::{AuditQuery, Chain, ReadTx as _, Replay, Store as _, Transaction};

use crate::site::{Engine, Forgery, Site, label, moment};

/// Founding leaves two records: the account's, and its owner's.
const FOUNDED: u64 = 2;

fn head<E: Engine>(site: &mut Site<E>) -> Head {
    site.reader().read().unwrap().audit_head().unwrap()
}

fn verify<E: Engine>(site: &mut Site<E>, kept: Option<Head>) -> Chain {
    site.reader().verify_audit(kept).unwrap()
}

fn edit<E: Engine>(site: &mut Site<E>, key: &GeneralKey, description: &str) -> GeneralKey {
    let after = GeneralKey { description: label(description), ..key.clone() };
    let change = Change::Update { before: key.clone(), after: after.clone() };
    site.change_key(Action::EditGeneralKey, &change, SecretChange::Keep).unwrap();
    after
}

/// A key that is made, edited and removed, a minute apart, by `sarah`; and a user added between.
fn some_history<E: Engine>(site: &mut Site<E>) -> (Id, Id) {
    site.wait(1);
    let key = site.new_key("K00000001", "nightly deploy");
    site.add_key(&key, "first");
    site.wait(1);
    let user = site.new_user("U00000001", "jim");
    site.add_user(&user);
    site.wait(1);
    let key = edit(site, &key, "weekly deploy");
    site.wait(1);
    site.remove_key(&key);
    (key.id, user.id)
}

fn told(record: &AuditRecord) -> (u64, AuditAction, &str, &str) {
    (record.id, record.action, &record.root_resource.kind, &record.root_resource.summary)
}

pub(crate) fn each_change_leaves_one_record_of_who_did_what_when<E: Engine>(site: &mut Site<E>) {
    use AuditAction::{Create, Delete, Update};
    let began = site.now();
    let (key, _) = some_history(site);
    let records = site.records(&AuditQuery::default());
    let trail: Vec<_> = records.iter().rev().map(told).collect();
    assert_eq!(
        trail,
        [
            (1, Create, "account", "acme"),
            (2, Create, "user", "sarah"),
            (3, Create, "general_key", "nightly deploy"),
            (4, Create, "user", "jim"),
            (5, Update, "general_key", "weekly deploy"),
            (6, Delete, "general_key", "weekly deploy"),
        ]
    );
    for record in &records {
        let [actor] = record.actors.as_slice() else { panic!("{record:?}") };
        assert_eq!((actor.id.as_str(), actor.kind.as_str()), (site.owner().id.to_string().as_str(), "user"));
        assert_eq!((record.method.kind.as_str(), &record.method.truncated_token), ("os_user", &None));
    }
    assert_eq!(records[0].root_resource.id, key.to_string());
    assert_eq!(records[0].execution_context.request_id, "feedfacefeedface");
    assert_eq!(records[0].execution_time, site.now());
    assert_eq!(records[5].execution_time, began);
}

pub(crate) fn a_record_names_the_fields_that_changed_and_no_others<E: Engine>(site: &mut Site<E>) {
    some_history(site);
    let records = site.records(&AuditQuery::default());
    let field = |name: &str, before: Option<&str>, value: Option<&str>| FieldChange {
        name: name.to_owned(),
        before_value: before.map(str::to_owned),
        value: value.map(str::to_owned),
    };
    assert_eq!(
        records[1].details.fields,
        [field("description", Some("nightly deploy"), Some("weekly deploy"))]
    );
    let removed = &records[0].details.fields;
    assert!(removed.contains(&field("description", Some("weekly deploy"), None)), "{removed:?}");
    assert!(removed.contains(&field("hint", Some("WXYZ"), None)), "{removed:?}");
    assert!(removed.contains(&field("reason", None, Some("key-compromise"))), "{removed:?}");
}

pub(crate) fn with_as_a_record_names_both_users<E: Engine>(site: &mut Site<E>) {
    let jim = User { role: Role::Admin, ..site.new_user("U00000001", "jim") };
    site.add_user(&jim);
    let acting = site.acting().on_behalf_of(jim.clone()).unwrap();
    let key = site.new_key("K00000001", "one");
    let permit = authorize(&acting, Action::CreateGeneralKey, &Target::of(&key)).unwrap();
    let mut tx = Transaction::begin(site.writer()).unwrap();
    tx.save(permit, &Change::Create(key), SecretChange::Keep).unwrap();
    tx.commit().unwrap();
    let record = site.records(&AuditQuery::default()).remove(0);
    let actors: Vec<_> = record.actors.into_iter().map(|actor| actor.id).collect();
    assert_eq!(actors, [jim.id.to_string(), site.owner().id.to_string()]);
    for (actor, count) in [(jim.id, 1), (site.owner().id, 4)] {
        let filter = AuditQuery { actor: Some(actor.to_string()), ..AuditQuery::default() };
        assert_eq!(site.records(&filter).len(), count, "records of {actor}, who acted or was acted as");
    }
}

pub(crate) fn records_are_shown_newest_first_and_filtered<E: Engine>(site: &mut Site<E>) {
    let (key, user) = some_history(site);
    let all = AuditQuery::default;
    let at = |text| Some(moment(text));
    let owner = site.owner().id.to_string();
    for (filter, numbers) in [
        (all(), vec![6, 5, 4, 3, 2, 1]),
        (AuditQuery { since: at("2026-03-01T12:03:00.125Z"), ..all() }, vec![6, 5]),
        (AuditQuery { since: at("2026-03-01T12:03:00.126Z"), ..all() }, vec![6]),
        (AuditQuery { until: at("2026-03-01T12:01:00.125Z"), ..all() }, vec![2, 1]),
        (AuditQuery { until: at("2026-03-01T12:01:00.126Z"), ..all() }, vec![3, 2, 1]),
        (
            AuditQuery { since: at("2026-03-01T12:01:00Z"), until: at("2026-03-01T12:03:00Z"), ..all() },
            vec![4, 3],
        ),
        (AuditQuery { actor: Some(owner), ..all() }, vec![6, 5, 4, 3, 2, 1]),
        (AuditQuery { actor: Some(user.to_string()), ..all() }, vec![]),
        (AuditQuery { action: Some(AuditAction::Create), ..all() }, vec![4, 3, 2, 1]),
        (AuditQuery { action: Some(AuditAction::Update), ..all() }, vec![5]),
        (AuditQuery { action: Some(AuditAction::Delete), ..all() }, vec![6]),
        (AuditQuery { target: Some(key.to_string()), ..all() }, vec![6, 5, 3]),
        (AuditQuery { target_type: Some("user".to_owned()), ..all() }, vec![4, 2]),
        (AuditQuery { target_type: Some("account".to_owned()), ..all() }, vec![1]),
        (
            AuditQuery {
                action: Some(AuditAction::Create),
                target_type: Some("general_key".to_owned()),
                ..all()
            },
            vec![3],
        ),
        (AuditQuery { target: Some("' OR true --".to_owned()), ..all() }, vec![]),
    ] {
        let shown: Vec<_> = site.records(&filter).into_iter().map(|record| record.id).collect();
        assert_eq!(shown, numbers, "{filter:?}");
    }
}

pub(crate) fn a_visitor_of_records_that_has_enough_is_shown_no_more<E: Engine>(site: &mut Site<E>) {
    let mut shown = 0;
    site.reader()
        .read()
        .unwrap()
        .audit_records(&AuditQuery::default(), &mut |_| {
            shown += 1;
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
    assert_eq!(shown, 1);
}

pub(crate) fn the_head_is_the_end_of_an_intact_chain_and_moves_with_every_change<E: Engine>(
    site: &mut Site<E>,
) {
    let mut heads = vec![head(site)];
    assert_eq!(heads[0].number, FOUNDED);
    let mut key = site.new_key("K00000001", "0");
    site.add_key(&key, "first");
    heads.push(head(site));
    for description in ["1", "2"] {
        key = edit(site, &key, description);
        heads.push(head(site));
    }
    let numbers: Vec<_> = heads.iter().map(|head| head.number).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    assert!(heads.windows(2).all(|pair| pair[0].end != pair[1].end));
    let last = heads[3];
    assert_eq!(verify(site, None), Chain::Intact(last));
    for kept in heads.into_iter().chain([Head::START]) {
        assert_eq!(verify(site, Some(kept)), Chain::Intact(last), "through {kept}");
    }
}

pub(crate) fn an_altered_record_breaks_the_chain_where_it_stands<E: Engine>(site: &mut Site<E>) {
    some_history(site);
    let alter = |from: &str, to: &str| Forgery::Alter { number: 3, from: from.to_owned(), to: to.to_owned() };
    site.engine.forge(&alter("nightly deploy", "harmless deploy"));
    assert_eq!(verify(site, None), Chain::BrokenAt(3));
}

pub(crate) fn a_record_left_out_breaks_the_chain_where_it_stood<E: Engine>(site: &mut Site<E>) {
    some_history(site);
    site.engine.forge(&Forgery::LeaveOut { number: 4 });
    assert_eq!(verify(site, None), Chain::BrokenAt(4));
}

pub(crate) fn records_cut_off_are_seen_against_a_kept_head_and_an_emptied_trail_always<E: Engine>(
    site: &mut Site<E>,
) {
    some_history(site);
    let kept = head(site);
    site.engine.forge(&Forgery::CutAfter { number: 4 });
    assert_eq!(verify(site, Some(kept)), Chain::BrokenAt(5));
    let cut = head(site);
    assert_eq!(cut.number, 4);
    assert_eq!(verify(site, None), Chain::Intact(cut), "without a kept head nobody can tell");
    site.engine.forge(&Forgery::CutAfter { number: 0 });
    assert_eq!(head(site), Head::START);
    assert_eq!(verify(site, None), Chain::BrokenAt(1));
    assert_eq!(verify(site, Some(Head::START)), Chain::BrokenAt(1));
}

pub(crate) fn a_kept_head_of_another_trail_is_not_gone_through<E: Engine>(site: &mut Site<E>) {
    some_history(site);
    let own = head(site);
    for number in [1, 4, own.number] {
        let foreign = Head { number, end: [7; 32] };
        assert_eq!(verify(site, Some(foreign)), Chain::BrokenAt(number));
    }
    let ahead = Head { number: own.number + 5, end: own.end };
    assert_eq!(verify(site, Some(ahead)), Chain::BrokenAt(own.number + 1));
    let before_the_first = Head { number: 0, end: [7; 32] };
    assert_eq!(verify(site, Some(before_the_first)), Chain::BrokenAt(1), "no trail begins so");
}

/// What replaying an intact trail finds.
fn replay<E: Engine>(site: &mut Site<E>) -> Replay {
    let (chain, replay) = site.reader().verify_state(None).unwrap();
    assert!(matches!(chain, Chain::Intact(_)), "{chain:?}");
    replay.unwrap()
}

/// Keys with a past: one edited, one rotated twice, one removed, one imported, all of them limited.
fn keys_with_a_past<E: Engine>(site: &mut Site<E>) -> [Id; 4] {
    let key = |site: &Site<E>, id: &str| GeneralKey { access: Access::ReadOnly, ..site.new_key(id, id) };
    let edited = key(site, "K00000001");
    site.add_key(&edited, "edited");
    edit(site, &edited, "edited");
    let rotated = key(site, "K00000002");
    site.add_key(&rotated, "first");
    let ends_at = site.now() + SignedDuration::from_hours(1);
    let rotated = site.rotate(&rotated, "second", Some(ends_at));
    let rotated = site.rotate(&rotated, "third", Some(ends_at));
    let removed = key(site, "K00000003");
    site.add_key(&removed, "removed");
    site.remove_key(&removed);
    let imported = key(site, "K00000004");
    let digest = site.digest("imported");
    let acting = site.acting();
    let mut tx = Transaction::begin(site.writer()).unwrap();
    let permit = authorize(&acting, Action::Import, &Target::of(&tx.account().unwrap())).unwrap();
    tx.import(permit, |import| {
        assert_eq!(import.add(&imported, &digest)?, None);
        Ok(Imported { account: "acme".to_owned(), general_keys: 1, ..Imported::default() })
    })
    .unwrap();
    tx.commit().unwrap();
    [edited.id, rotated.id, removed.id, imported.id]
}

pub(crate) fn what_follows_from_the_trail_is_no_difference<E: Engine>(site: &mut Site<E>) {
    assert_eq!(replay(site), Replay::default());
    keys_with_a_past(site);
    some_users(site);
    assert_eq!(replay(site), Replay::default());
}

/// Users of whom one leaves, and another becomes the owner.
fn some_users<E: Engine>(site: &mut Site<E>) {
    let [jim, joan] = [("U00000001", "jim"), ("U00000002", "joan")].map(|(id, name)| site.new_user(id, name));
    site.add_user(&jim);
    site.add_user(&joan);
    let left = User { left_at: Some(site.now()), ..jim.clone() };
    site.change_user(Action::RemoveUser, &Change::Update { before: jim, after: left }).unwrap();
    let acting = site.acting();
    let mut tx = Transaction::begin(site.writer()).unwrap();
    let before = tx.account().unwrap();
    let owner = UserRef { id: joan.id, name: joan.name };
    let after = pdkeys::model::Account { owner, ..before.clone() };
    let permit = authorize(&acting, Action::TransferAccount, &Target::of(&before)).unwrap();
    tx.save_account(permit, &Change::Update { before, after }).unwrap();
    tx.commit().unwrap();
}

pub(crate) fn what_was_changed_behind_the_trail_is_named<E: Engine>(site: &mut Site<E>) {
    let [edited, rotated, removed, imported] = keys_with_a_past(site);
    let mut named = Vec::new();
    for (forgery, id, field) in [
        (Forgery::Widen { id: edited }, edited, Some("access")),
        (Forgery::Widen { id: imported }, imported, Some("access")),
        (Forgery::Exchange { id: rotated }, rotated, Some("secret")),
        (Forgery::Exchange { id: imported }, imported, Some("secret")),
        (Forgery::Forget { id: removed }, removed, Some("dead secret")),
        (Forgery::TakeOut { id: edited }, edited, None),
    ] {
        site.engine.forge(&forgery);
        named.push((id.to_string(), field));
        let found = replay(site);
        let told: Vec<_> =
            found.differences.iter().map(|found| (found.id.clone(), found.field.as_deref())).collect();
        assert!(told.contains(&(id.to_string(), field)), "{forgery:?}: {told:?}");
        assert!(told.iter().all(|(id, _)| named.iter().any(|(named, _)| named == id)), "{told:?}");
    }
}

pub(crate) fn of_a_broken_trail_nothing_is_compared<E: Engine>(site: &mut Site<E>) {
    let [edited, ..] = keys_with_a_past(site);
    site.engine.forge(&Forgery::Widen { id: edited });
    site.engine.forge(&Forgery::LeaveOut { number: 4 });
    assert_eq!(site.reader().verify_state(None).unwrap(), (Chain::BrokenAt(4), None));
}
