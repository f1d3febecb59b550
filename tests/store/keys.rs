//! Stories of general keys.

use std::ops::ControlFlow;

use pdkeys::Error;
use pdkeys::authz::Action;
use pdkeys::error::Conflict;
use pdkeys::model::{Access, Change, Disabled, GeneralKey, KeyOrder, RateLimit, ScopeSet, SecretChange};
use pdkeys::store::{ReadTx as _, Store as _, UserQuery};

use crate::site::{Engine, Site, in_order, label, moment, secret};

pub(crate) fn every_field_of_a_general_key_reads_back<E: Engine>(site: &mut Site<E>) {
    let scopes: ScopeSet = "incidents.read users:sessions.write my-things.read".parse().unwrap();
    let disabled = |reason: Option<&str>| {
        Some(Disabled { at: site.now(), by: Some(site.owner_ref()), reason: reason.map(label) })
    };
    let keys = [
        site.new_key("K00000001", "plain"),
        GeneralKey { access: Access::ReadOnly, ..site.new_key("K00000002", "read-only") },
        GeneralKey { access: Access::Scopes(scopes), ..site.new_key("K00000003", "scopes") },
        GeneralKey {
            access: Access::Scopes(ScopeSet::default()),
            ..site.new_key("K00000004", "no scope at all")
        },
        GeneralKey { hint: None, ..site.new_key("K00000005", "taken over as a hash") },
        GeneralKey {
            expires_at: Some(moment("2031-12-31T23:59:59.999Z")),
            ..site.new_key("K00000006", "ends")
        },
        GeneralKey { rate_limit: Some(RateLimit::PerMinute(u32::MAX)), ..site.new_key("K00000007", "much") },
        GeneralKey { rate_limit: Some(RateLimit::Unlimited), ..site.new_key("K00000008", "no limit") },
        GeneralKey { disabled: disabled(None), ..site.new_key("K00000009", "off") },
        GeneralKey {
            disabled: disabled(Some("key-compromise")),
            ..site.new_key("K0000000A", "off, and why")
        },
        GeneralKey {
            disabled: Some(Disabled { at: site.now(), by: None, reason: Some(label("key-compromise")) }),
            ..site.new_key("K0000000E", "off, by its holder")
        },
        GeneralKey {
            overlap_ends_at: Some(moment("2026-03-02T00:00:00Z")),
            ..site.new_key("K0000000B", "both")
        },
        site.new_key("K0000000C", "Größe 'quoted' \"twice\" \\ % _ 鍵 🔑"),
        site.new_key("K0000000D", &"é".repeat(255)),
    ];
    for (number, key) in keys.iter().enumerate() {
        site.add_key(key, &format!("secret {number}"));
    }
    for key in &keys {
        assert_eq!(site.key(key.id).as_ref(), Some(key));
    }
    let mut listed = Vec::new();
    site.reader()
        .read()
        .unwrap()
        .general_keys(&in_order(KeyOrder::Created, false), &mut |key| {
            listed.push(key);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(listed, keys);
}

pub(crate) fn an_update_changes_every_field_that_can_change<E: Engine>(site: &mut Site<E>) {
    let plain = site.new_key("K00000001", "nightly deploy");
    site.add_key(&plain, "a");
    site.wait(1);
    let edited = GeneralKey {
        description: label("weekly deploy"),
        access: Access::Scopes("incidents.read".parse().unwrap()),
        expires_at: Some(moment("2027-01-01T00:00:00Z")),
        rate_limit: Some(RateLimit::PerMinute(1)),
        ..plain.clone()
    };
    let rotated = GeneralKey {
        hint: Some(secret("0123456789abcdef1234").hint()),
        overlap_ends_at: Some(moment("2026-03-02T00:00:00Z")),
        ..edited.clone()
    };
    let off = GeneralKey {
        disabled: Some(Disabled { at: site.now(), by: Some(site.owner_ref()), reason: Some(label("lost")) }),
        ..rotated.clone()
    };
    // Each step by the action whose fields they are, forth and back.
    let steps = [
        (Action::EditGeneralKey, &plain, &edited),
        (Action::RotateGeneralKey, &edited, &rotated),
        (Action::DisableGeneralKey, &rotated, &off),
        (Action::EnableGeneralKey, &off, &rotated),
        (Action::RotateGeneralKey, &rotated, &edited),
        (Action::EditGeneralKey, &edited, &plain),
    ];
    for (action, before, after) in steps {
        let change = Change::Update { before: before.clone(), after: after.clone() };
        site.change_key(action, &change, SecretChange::Keep).unwrap();
        assert_eq!(site.key(plain.id).as_ref(), Some(after), "{action:?}");
    }
}

pub(crate) fn keys_come_in_every_order_and_backwards<E: Engine>(site: &mut Site<E>) {
    for (id, description, ends) in [
        ("K00000003", "c", None),
        ("K00000001", "a", Some("2027-06-01T00:00:00Z")),
        ("K00000004", "d", Some("2027-01-01T00:00:00Z")),
        ("K00000002", "b", None),
    ] {
        let key = GeneralKey { expires_at: ends.map(moment), ..site.new_key(id, description) };
        site.add_key(&key, id);
        site.wait(1);
    }
    for (order, ids) in [
        (KeyOrder::Created, ["K00000003", "K00000001", "K00000004", "K00000002"]),
        (KeyOrder::Description, ["K00000001", "K00000002", "K00000003", "K00000004"]),
        (KeyOrder::Expires, ["K00000004", "K00000001", "K00000003", "K00000002"]),
        (KeyOrder::LastUsed, ["K00000003", "K00000001", "K00000004", "K00000002"]),
    ] {
        assert_eq!(site.key_ids(order, false), ids, "{order:?}");
        let backwards: Vec<_> = ids.into_iter().rev().collect();
        assert_eq!(site.key_ids(order, true), backwards, "{order:?} backwards");
    }
}

const EVERY_ORDER: [KeyOrder; 4] =
    [KeyOrder::Created, KeyOrder::Description, KeyOrder::LastUsed, KeyOrder::Expires];

pub(crate) fn a_visitor_that_has_enough_is_shown_no_more<E: Engine>(site: &mut Site<E>) {
    for id in ["K00000001", "K00000002", "K00000003"] {
        let key = site.new_key(id, id);
        site.add_key(&key, id);
    }
    for order in EVERY_ORDER {
        let mut shown = 0;
        site.reader()
            .read()
            .unwrap()
            .general_keys(&in_order(order, false), &mut |_| {
                shown += 1;
                Ok(if shown == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
        assert_eq!(shown, 2, "{order:?}");
    }
    let user = site.new_user("U00000001", "jim");
    site.add_user(&user);
    let mut shown = 0;
    let stop_at_once = &mut |_| {
        shown += 1;
        Ok(ControlFlow::Break(()))
    };
    site.reader().read().unwrap().users(&UserQuery::default(), stop_at_once).unwrap();
    assert_eq!(shown, 1);
}

pub(crate) fn what_a_visitor_says_went_wrong_comes_back<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "a");
    let full = || Error::from(Conflict::Fault("the pipe is closed".to_owned()));
    for order in EVERY_ORDER {
        let outcome =
            site.reader().read().unwrap().general_keys(&in_order(order, false), &mut |_| Err(full()));
        assert_eq!(outcome.unwrap_err().to_string(), "the pipe is closed", "{order:?}");
    }
    let outcome = site.reader().read().unwrap().users(&UserQuery::default(), &mut |_| Err(full()));
    assert_eq!(outcome.unwrap_err().to_string(), "the pipe is closed");
}

pub(crate) fn a_removed_key_is_gone_and_the_others_stay<E: Engine>(site: &mut Site<E>) {
    let one = site.new_key("K00000001", "one");
    let two = site.new_key("K00000002", "two");
    site.add_key(&one, "a");
    site.add_key(&two, "b");
    site.remove_key(&one);
    assert_eq!(site.key(one.id), None);
    assert_eq!(site.key(two.id).as_ref(), Some(&two));
    assert_eq!(site.key_ids(KeyOrder::Created, false), ["K00000002"]);
}

pub(crate) fn ids_of_removed_things_stay_taken<E: Engine>(site: &mut Site<E>) {
    let with_secret = site.new_key("K00000001", "one");
    let without_secret = site.new_key("K00000002", "two");
    for key in [&with_secret, &without_secret] {
        assert!(!site.reader().read().unwrap().is_taken(key.id).unwrap());
    }
    site.add_key(&with_secret, "a");
    let create = Change::Create(without_secret.clone());
    site.change_key(Action::CreateGeneralKey, &create, SecretChange::Keep).unwrap();
    for key in [&with_secret, &without_secret] {
        assert!(site.reader().read().unwrap().is_taken(key.id).unwrap(), "in use");
        site.remove_key(key);
        assert!(site.reader().read().unwrap().is_taken(key.id).unwrap(), "removed");
    }
    assert!(!site.reader().read().unwrap().is_taken("K00000003".parse().unwrap()).unwrap());
    let owner = site.owner().id;
    assert!(site.reader().read().unwrap().is_taken(owner).unwrap());
}
