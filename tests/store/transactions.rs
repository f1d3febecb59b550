//! Stories of transactions and permits.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pdkeys::ErrorKind;
use pdkeys::authz::{Action, Permit, Target, authorize};
use pdkeys::model::{Account, Change, Disabled, GeneralKey, Role, SecretChange, User};
use pdkeys::store::{ReadTx as _, Store as _, Transaction};

use crate::site::{Engine, Site, label, name};

pub(crate) fn a_dropped_transaction_changes_nothing<E: Engine>(site: &mut Site<E>) {
    let kept = site.new_key("K00000001", "kept");
    site.add_key(&kept, "first");
    let before = site.everything();
    {
        let acting = site.acting();
        let new = site.digest("second");
        let user = site.new_user("U00000001", "jim");
        let account = site.reader().read().unwrap().account().unwrap();
        let renamed = Account { rest_api: false, ..account.clone() };

        let mut tx = Transaction::begin(site.writer()).unwrap();
        let permit = authorize(&acting, Action::RotateGeneralKey, &Target::of(&kept)).unwrap();
        let change = Change::Update { before: kept.clone(), after: kept.clone() };
        tx.save(permit, &change, SecretChange::Rotate { new, old_ends_at: None }).unwrap();
        let permit = authorize(&acting, Action::AddUser, &Target::of(&user)).unwrap();
        tx.save_user(permit, &Change::Create(user)).unwrap();
        let permit = authorize(&acting, Action::ChangeAccount, &Target::of(&account)).unwrap();
        tx.save_account(permit, &Change::Update { before: account, after: renamed }).unwrap();
        let permit = authorize(&acting, Action::RemoveGeneralKey, &Target::of(&kept)).unwrap();
        let change = Change::Delete { before: kept.clone(), reason: None };
        tx.save(permit, &change, SecretChange::Keep).unwrap();
    }
    assert_eq!(site.everything(), before);
    assert_eq!(site.holder("second"), None);
    assert!(matches!(site.holder("first"), Some(pdkeys::store::DigestOwner::Live { .. })));
    assert!(!site.reader().read().unwrap().is_taken("U00000001".parse().unwrap()).unwrap());
}

pub(crate) fn a_transaction_sees_its_own_changes<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    let acting = site.acting();
    let digest = site.digest("first");
    let mut tx = Transaction::begin(site.writer()).unwrap();
    let head = tx.audit_head().unwrap();
    let permit = authorize(&acting, Action::CreateGeneralKey, &Target::of(&key)).unwrap();
    tx.save(permit, &Change::Create(key.clone()), SecretChange::Issue(digest)).unwrap();
    assert_eq!(tx.general_key(key.id).unwrap().as_ref(), Some(&key));
    assert!(tx.is_taken(key.id).unwrap());
    assert!(tx.digest_owner(&digest).unwrap().is_some());
    assert_eq!(tx.audit_head().unwrap().number, head.number + 1);
}

pub(crate) fn a_permit_for_another_change_is_refused_and_nothing_is_written<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    let other = site.new_key("K00000002", "two");
    let jim = site.new_user("U00000001", "jim");
    site.add_key(&key, "first");
    site.add_user(&jim);
    let account = site.reader().read().unwrap().account().unwrap();
    let new = site.digest("second");
    let before = site.everything();
    let acting = site.acting();
    let permit = |action, target: &Target| -> Permit { authorize(&acting, action, target).unwrap() };
    let of_key = Target::of(&key);

    let edit = Change::Update {
        before: key.clone(),
        after: GeneralKey { description: label("changed"), ..key.clone() },
    };
    let remove = Change::Delete { before: key.clone(), reason: None };
    let create = Change::Create(other.clone());
    let rotate = SecretChange::Rotate { new, old_ends_at: None };
    let misfits = [
        ("to read, for an update", permit(Action::ShowGeneralKey, &of_key), &edit, rotate),
        ("to remove, for an update", permit(Action::RemoveGeneralKey, &of_key), &edit, rotate),
        ("to create, for an update", permit(Action::CreateGeneralKey, &of_key), &edit, rotate),
        ("to update, for a removal", permit(Action::EditGeneralKey, &of_key), &remove, SecretChange::Keep),
        ("to update, for a creation", permit(Action::EditGeneralKey, &Target::of(&other)), &create, rotate),
        ("for another key", permit(Action::EditGeneralKey, &Target::of(&other)), &edit, rotate),
        (
            "for all keys",
            permit(Action::EditGeneralKey, &Target::all(pdkeys::model::Noun::GeneralKey)),
            &edit,
            rotate,
        ),
        ("of another noun, on the key", permit(Action::EditUser, &of_key), &edit, rotate),
        ("of another noun, on a user", permit(Action::EditUser, &Target::of(&jim)), &edit, rotate),
    ];
    for (case, permit, change, secrets) in misfits {
        // Committed all the same: the refusal itself must have written nothing.
        let mut tx = Transaction::begin(site.writer()).unwrap();
        let refusal = tx.save(permit, change, secrets).unwrap_err();
        tx.commit().unwrap();
        assert!(matches!(refusal.kind(), ErrorKind::Conflict(_)), "{case}: {refusal}");
        assert_eq!(site.everything(), before, "{case}");
        assert_eq!(site.holder("second"), None, "{case}");
    }

    let rename = Change::Update { before: jim.clone(), after: User { name: name("ben"), ..jim.clone() } };
    for permit in [
        permit(Action::EditUser, &Target::of(site.owner())),
        permit(Action::AddUser, &Target::of(&jim)),
        permit(Action::EditGeneralKey, &Target::of(&jim)),
    ] {
        let mut tx = Transaction::begin(site.writer()).unwrap();
        let case = format!("{permit:?}");
        assert!(tx.save_user(permit, &rename).is_err(), "{case}");
        tx.commit().unwrap();
        assert_eq!(site.everything(), before, "{case}");
    }

    let close =
        Change::Update { before: account.clone(), after: Account { rest_api: false, ..account.clone() } };
    for permit in [
        permit(Action::ShowAccount, &Target::of(&account)),
        permit(Action::EditUser, &Target::of(&account)),
        permit(Action::ChangeAccount, &Target::of(&jim)),
    ] {
        let mut tx = Transaction::begin(site.writer()).unwrap();
        let case = format!("{permit:?}");
        assert!(tx.save_account(permit, &close).is_err(), "{case}");
        tx.commit().unwrap();
        assert_eq!(site.everything(), before, "{case}");
    }
}

pub(crate) fn a_permit_for_one_action_is_refused_for_the_fields_of_another<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "first");
    let jim = site.new_user("U00000001", "jim");
    site.add_user(&jim);
    let before = site.everything();

    let at = site.now();
    let by = site.owner_ref();
    let described = GeneralKey { description: label("changed"), ..key.clone() };
    let rotated = GeneralKey { overlap_ends_at: Some(at), ..key.clone() };
    let off = GeneralKey { disabled: Some(Disabled { at, by: Some(by), reason: None }), ..key.clone() };
    for (own, after) in [
        (&[Action::EditGeneralKey][..], described),
        (&[Action::RotateGeneralKey], rotated),
        (&[Action::DisableGeneralKey, Action::EnableGeneralKey], off),
    ] {
        let change = Change::Update { before: key.clone(), after };
        for action in Action::ALL.iter().filter(|action| !own.contains(action)) {
            let refusal = site.change_key(*action, &change, SecretChange::Keep);
            assert!(refusal.is_err(), "{action:?} did what {own:?} does");
        }
    }

    let renamed = User { name: name("ben"), ..jim.clone() };
    let promoted = User { role: Role::Admin, ..jim.clone() };
    let left = User { left_at: Some(at), ..jim.clone() };
    for (own, after) in [
        (&[Action::EditUser, Action::SetUserRole][..], renamed),
        (&[Action::SetUserRole], promoted),
        (&[Action::RemoveUser], left),
    ] {
        let change = Change::Update { before: jim.clone(), after };
        for action in Action::ALL.iter().filter(|action| !own.contains(action)) {
            assert!(site.change_user(*action, &change).is_err(), "{action:?} did what {own:?} does");
        }
    }
    assert_eq!(site.everything(), before);
}

pub(crate) fn a_permit_for_one_action_is_refused_for_the_secrets_of_another<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "first");
    let new = site.digest("second");
    let before = site.everything();
    let same = Change::Update { before: key.clone(), after: key.clone() };
    for secrets in [
        SecretChange::Issue(new),
        SecretChange::Rotate { new, old_ends_at: None },
        SecretChange::Rotate { new, old_ends_at: Some(site.now()) },
        SecretChange::EndOverlap,
    ] {
        for action in Action::ALL {
            let is_rotation = !matches!(secrets, SecretChange::Issue(_));
            if *action == Action::RotateGeneralKey && is_rotation {
                continue;
            }
            let refusal = site.change_key(*action, &same, secrets);
            assert!(refusal.is_err(), "{action:?} changed secrets: {secrets:?}");
        }
    }
    let another = Change::Create(site.new_key("K00000002", "two"));
    for secrets in [SecretChange::Rotate { new, old_ends_at: None }, SecretChange::EndOverlap] {
        assert!(site.change_key(Action::CreateGeneralKey, &another, secrets).is_err(), "{secrets:?}");
    }
    assert_eq!(site.everything(), before);
    assert_eq!(site.holder("second"), None);
    assert!(matches!(site.holder("first"), Some(pdkeys::store::DigestOwner::Live { ends_at: None, .. })));
}

pub(crate) fn a_reader_sees_one_moment_while_a_writer_commits<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "first");
    let digest = site.digest("first");
    let mut reader = site.engine.open();
    let snapshot = reader.read().unwrap();
    let head = snapshot.audit_head().unwrap();

    let late = site.new_key("K00000002", "late");
    site.add_key(&late, "late");
    site.remove_key(&key);

    assert_eq!(snapshot.general_key(key.id).unwrap().as_ref(), Some(&key));
    assert_eq!(snapshot.general_key(late.id).unwrap(), None);
    assert_eq!(
        snapshot.digest_owner(&digest).unwrap(),
        Some(pdkeys::store::DigestOwner::Live { id: key.id, ends_at: None })
    );
    assert_eq!(snapshot.audit_head().unwrap(), head);
    drop(snapshot);

    let snapshot = reader.read().unwrap();
    assert_eq!(snapshot.general_key(key.id).unwrap(), None);
    assert_eq!(snapshot.general_key(late.id).unwrap().as_ref(), Some(&late));
    assert_eq!(snapshot.audit_head().unwrap().number, head.number + 2);
}

pub(crate) fn a_writer_waits_for_a_writer_and_sees_what_it_did<E: Engine>(site: &mut Site<E>) {
    let first = site.new_key("K00000001", "first");
    let second = site.new_key("K00000002", "second");
    let acting = site.acting();
    let digest = site.digest("first");
    let mut other = site.engine.open();

    let mut tx = Transaction::begin(site.writer()).unwrap();
    let permit = authorize(&acting, Action::CreateGeneralKey, &Target::of(&first)).unwrap();
    tx.save(permit, &Change::Create(first.clone()), SecretChange::Issue(digest)).unwrap();
    thread::scope(|scope| {
        let (begun, has_begun) = mpsc::channel();
        let waiting = scope.spawn(|| {
            let begun = begun;
            let mut tx = Transaction::begin(&mut other).unwrap();
            begun.send(()).unwrap();
            let found = tx.general_key(first.id).unwrap();
            let permit = authorize(&acting, Action::CreateGeneralKey, &Target::of(&second)).unwrap();
            tx.save(permit, &Change::Create(second.clone()), SecretChange::Keep).unwrap();
            tx.commit().unwrap();
            found
        });
        let early = has_begun.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "a second writer began while the first was at work");
        tx.commit().unwrap();
        assert_eq!(waiting.join().unwrap().as_ref(), Some(&first));
    });
    assert_eq!(site.key(first.id), Some(first));
    assert_eq!(site.key(second.id), Some(second));
}
