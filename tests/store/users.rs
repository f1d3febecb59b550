//! Stories of the account and its users.

use pdkeys::authz::{Action, Target, authorize};
use pdkeys::model::{Account, Change, Id, Name, Noun, Policy, RateLimit, Role, User, UserRef};
use pdkeys::store::{ReadTx as _, Store as _, Transaction, UserBy};

use crate::site::{Engine, OWNER_UID, Site, label, name};

fn account<E: Engine>(site: &mut Site<E>) -> Account {
    site.reader().read().unwrap().account().unwrap()
}

fn change_account<E: Engine>(
    site: &mut Site<E>,
    action: Action,
    change: &Change<Account>,
) -> pdkeys::Result<()> {
    let permit = authorize(&site.acting(), action, &Target::of(change.subject()))?;
    let mut tx = Transaction::begin(site.writer())?;
    tx.save_account(permit, change)?;
    tx.commit()
}

pub(crate) fn the_account_reads_back_as_it_was_founded_and_changed<E: Engine>(site: &mut Site<E>) {
    let founded = account(site);
    let acme = Name::parse(Noun::Account, "acme").unwrap();
    assert_eq!(founded, Account::new(acme, site.owner_ref(), Policy::PagerDuty, site.now()));

    let changed = Account {
        name: Name::parse(Noun::Account, "Acme Ünited").unwrap(),
        policy: Policy::Convention,
        subdomain: Some("acme-eu".parse().unwrap()),
        rest_api: false,
        advanced_permissions: false,
        ..founded.clone()
    };
    let change = Change::Update { before: founded.clone(), after: changed.clone() };
    change_account(site, Action::ChangeAccount, &change).unwrap();
    assert_eq!(account(site), changed);

    let change = Change::Update { before: changed, after: founded.clone() };
    change_account(site, Action::ChangeAccount, &change).unwrap();
    assert_eq!(account(site), founded);
}

pub(crate) fn a_change_of_owner_makes_the_one_before_an_admin<E: Engine>(site: &mut Site<E>) {
    let heir = site.new_user("U00000001", "jim");
    site.add_user(&heir);
    let before = account(site);
    let after = Account { owner: UserRef { id: heir.id, name: heir.name.clone() }, ..before.clone() };
    change_account(site, Action::TransferAccount, &Change::Update { before, after: after.clone() }).unwrap();

    assert_eq!(account(site), after);
    let roles: Vec<_> = site.users().into_iter().map(|user| (user.name.to_string(), user.role)).collect();
    assert_eq!(roles, [("sarah".to_owned(), Role::Admin), ("jim".to_owned(), Role::Owner)]);
}

pub(crate) fn a_user_reads_back_with_every_field_and_with_none<E: Engine>(site: &mut Site<E>) {
    let plain = site.new_user("U00000001", "jim");
    let full = User {
        email: Some(label("zoë@example.org")),
        role: Role::ReadOnlyLimitedUser,
        os_uid: Some(u32::MAX - 1),
        external_id: Some(label("PXPGF42")),
        rate_limit: Some(RateLimit::PerMinute(17)),
        ..site.new_user("U00000002", "Zoë O'Neil \"z\"")
    };
    let unlimited = User { rate_limit: Some(RateLimit::Unlimited), ..site.new_user("U00000003", "ben") };
    for user in [&plain, &full, &unlimited] {
        site.add_user(user);
    }
    let tx = site.reader().read().unwrap();
    for user in [&plain, &full, &unlimited] {
        assert_eq!(tx.user(UserBy::Id(user.id)).unwrap().as_ref(), Some(user));
        assert_eq!(tx.user(UserBy::Name(user.name.as_str())).unwrap().as_ref(), Some(user));
    }
    assert_eq!(tx.user(UserBy::OsUser(u32::MAX - 1)).unwrap(), Some(full.clone()));
    assert_eq!(tx.user(UserBy::OsUser(1)).unwrap(), None);
    assert_eq!(tx.user(UserBy::Name("JIM")).unwrap(), None, "names are compared exactly");
    assert_eq!(tx.user(UserBy::Id("U00000009".parse().unwrap())).unwrap(), None);
    drop(tx);

    for role in Role::ALL.into_iter().filter(|role| *role != Role::Owner) {
        let before = site.reader().read().unwrap().user(UserBy::Id(full.id)).unwrap().unwrap();
        let after = User { role, ..plain.clone() };
        let after = User { id: full.id, name: name("renamed"), ..after };
        site.change_user(Action::SetUserRole, &Change::Update { before, after: after.clone() }).unwrap();
        assert_eq!(site.reader().read().unwrap().user(UserBy::Id(full.id)).unwrap(), Some(after));
    }
}

pub(crate) fn users_are_shown_in_the_order_in_which_they_were_added<E: Engine>(site: &mut Site<E>) {
    for (id, name) in [("U00000003", "zed"), ("U00000001", "amy"), ("U00000002", "moe")] {
        let user = site.new_user(id, name);
        site.add_user(&user);
    }
    let amy = site.users().remove(2);
    let renamed = User { name: name("zzz"), ..amy.clone() };
    site.change_user(Action::EditUser, &Change::Update { before: amy, after: renamed }).unwrap();
    let names: Vec<_> = site.users().into_iter().map(|user| user.name.to_string()).collect();
    assert_eq!(names, ["sarah", "zed", "zzz", "moe"]);
}

pub(crate) fn who_has_left_is_found_by_id_alone_and_leaves_name_and_mapping_free<E: Engine>(
    site: &mut Site<E>,
) {
    let jim =
        User { os_uid: Some(77), external_id: Some(label("PJIM")), ..site.new_user("U00000001", "jim") };
    site.add_user(&jim);
    let left_at = Some(site.wait(1));
    let left = User { left_at, left_reason: Some(label("moved on")), ..jim.clone() };
    site.change_user(Action::RemoveUser, &Change::Update { before: jim.clone(), after: left.clone() })
        .unwrap();
    {
        let tx = site.reader().read().unwrap();
        assert_eq!(tx.user(UserBy::Id(jim.id)).unwrap().as_ref(), Some(&left));
        assert_eq!(tx.user(UserBy::Name("jim")).unwrap(), None);
        assert_eq!(tx.user(UserBy::OsUser(77)).unwrap(), None);
        assert!(tx.is_taken(jim.id).unwrap());
    }
    let other = User { id: "U00000002".parse().unwrap(), created_at: site.now(), ..jim };
    site.add_user(&other);
    let tx = site.reader().read().unwrap();
    assert_eq!(tx.user(UserBy::Name("jim")).unwrap().as_ref(), Some(&other));
    assert_eq!(tx.user(UserBy::OsUser(77)).unwrap().as_ref(), Some(&other));
    drop(tx);
    assert_eq!(site.users()[1..], [left, other], "who left is still shown");
}

pub(crate) fn two_present_users_never_share_a_name_an_operating_system_user_or_an_external_id<E: Engine>(
    site: &mut Site<E>,
) {
    let jim =
        User { os_uid: Some(77), external_id: Some(label("PJIM")), ..site.new_user("U00000001", "jim") };
    site.add_user(&jim);
    let before = site.everything();
    for second in [
        site.new_user("U00000002", "jim"),
        User { os_uid: Some(77), ..site.new_user("U00000002", "ben") },
        User { external_id: Some(label("PJIM")), ..site.new_user("U00000002", "ben") },
    ] {
        assert!(site.change_user(Action::AddUser, &Change::Create(second.clone())).is_err(), "{second:?}");
        assert_eq!(site.everything(), before);
    }
}

pub(crate) fn an_id_is_not_drawn_that_is_the_external_id_of_a_user<E: Engine>(site: &mut Site<E>) {
    let named = |id: &str, external_id: &str| id.parse().map(|id: Id| (id, label(external_id))).unwrap();
    for (nth, (id, external_id)) in
        [named("U00000A01", "U00000A01"), named("U00000A02", "u00000a02")].into_iter().enumerate()
    {
        assert!(!site.reader().read().unwrap().is_taken(id).unwrap());
        let jim = User {
            external_id: Some(external_id),
            ..site.new_user(&format!("U0000000{nth}"), &format!("jim {nth}"))
        };
        site.add_user(&jim);
        assert!(site.reader().read().unwrap().is_taken(id).unwrap());
        let left = User { left_at: Some(site.now()), ..jim.clone() };
        site.change_user(Action::RemoveUser, &Change::Update { before: jim, after: left }).unwrap();
        assert!(!site.reader().read().unwrap().is_taken(id).unwrap(), "who left is nobody's other");
    }
}

pub(crate) fn there_are_never_two_owners<E: Engine>(site: &mut Site<E>) {
    let before = site.everything();
    let second = User { role: Role::Owner, ..site.new_user("U00000002", "ben") };
    assert!(site.change_user(Action::AddUser, &Change::Create(second)).is_err());
    assert_eq!(site.everything(), before);
    assert_eq!(
        site.reader().read().unwrap().user(UserBy::OsUser(OWNER_UID)).unwrap().unwrap().role,
        Role::Owner
    );
}

pub(crate) fn neither_the_account_nor_a_user_is_ever_deleted<E: Engine>(site: &mut Site<E>) {
    let jim = site.new_user("U00000001", "jim");
    site.add_user(&jim);
    let before = site.everything();
    // The table has no action that deletes one, so that no permit for it can be had either.
    for action in Action::ALL {
        let delete = Change::Delete { before: jim.clone(), reason: None };
        assert!(site.change_user(*action, &delete).is_err(), "{action:?}");
        let delete = Change::Delete { before: account(site), reason: None };
        assert!(change_account(site, *action, &delete).is_err(), "{action:?}");
    }
    assert_eq!(site.everything(), before);
}
