//! Stories of what was counted.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use pdkeys::model::{GeneralKey, Id, KeyOrder};
use pdkeys::store::{HourlyUsage, ReadTx as _, Store as _, Transaction, UsageCount, UsageQuery};

use crate::site::{Engine, Site, in_order, moment};

fn count(id: Id, at: Timestamp) -> UsageCount {
    UsageCount { id, at, allowed: 1, denied: 1 }
}

/// Four keys, of which the third was used before the first, and the others never.
fn four_keys<E: Engine>(site: &mut Site<E>) -> Vec<GeneralKey> {
    let keys: Vec<_> = ["K00000001", "K00000002", "K00000003", "K00000004"]
        .into_iter()
        .map(|id| {
            let key = site.new_key(id, id);
            site.add_key(&key, id);
            key
        })
        .collect();
    let first = site.now();
    let later = site.wait(90);
    site.writer().add_usage(&[count(keys[0].id, later), count(keys[2].id, first)]).unwrap();
    keys
}

pub(crate) fn the_last_use_is_the_latest_that_was_counted<E: Engine>(site: &mut Site<E>) {
    let keys = four_keys(site);
    let used = site.now();
    assert_eq!(site.key(keys[0].id).unwrap(), GeneralKey { last_used_at: Some(used), ..keys[0].clone() });
    assert_eq!(site.key(keys[1].id).unwrap(), keys[1]);

    let earlier = used - SignedDuration::from_hours(30);
    site.writer().add_usage(&[count(keys[0].id, earlier)]).unwrap();
    assert_eq!(site.key(keys[0].id).unwrap().last_used_at, Some(used), "counts may come late");

    let latest = site.wait(1);
    site.writer().add_usage(&[count(keys[0].id, latest), count(keys[0].id, used)]).unwrap();
    assert_eq!(site.key(keys[0].id).unwrap().last_used_at, Some(latest));
    site.writer().add_usage(&[]).unwrap();

    let mut listed = Vec::new();
    site.reader()
        .read()
        .unwrap()
        .general_keys(&in_order(KeyOrder::Created, false), &mut |key| {
            listed.push(key.last_used_at);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(listed, [Some(latest), None, Some(latest - SignedDuration::from_mins(91)), None]);
}

pub(crate) fn keys_come_in_the_order_of_their_last_use_and_backwards<E: Engine>(site: &mut Site<E>) {
    four_keys(site);
    let order = ["K00000002", "K00000004", "K00000003", "K00000001"];
    assert_eq!(site.key_ids(KeyOrder::LastUsed, false), order);
    let backwards: Vec<_> = order.into_iter().rev().collect();
    assert_eq!(site.key_ids(KeyOrder::LastUsed, true), backwards);
}

pub(crate) fn a_list_by_last_use_stops_where_its_visitor_has_enough<E: Engine>(site: &mut Site<E>) {
    four_keys(site);
    for reverse in [false, true] {
        for enough in 1..=4 {
            let mut shown = 0;
            site.reader()
                .read()
                .unwrap()
                .general_keys(&in_order(KeyOrder::LastUsed, reverse), &mut |_| {
                    shown += 1;
                    Ok(if shown == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })
                .unwrap();
            assert_eq!(shown, enough, "backwards: {reverse}");
        }
    }
}

pub(crate) fn a_key_counted_while_keys_are_listed_by_last_use_is_listed_once<E: Engine>(site: &mut Site<E>) {
    four_keys(site);
    for (reverse, id) in [(false, "K00000005"), (true, "K00000006")] {
        let never_used = site.new_key(id, "never used");
        site.add_key(&never_used, id);
        let at = site.wait(1);
        let mut checker = site.engine.open();
        let mut listed = Vec::new();
        site.reader()
            .read()
            .unwrap()
            .general_keys(&in_order(KeyOrder::LastUsed, reverse), &mut |key| {
                // Never used, it comes first, and would come again; backwards it comes last, and would be left out.
                if reverse || key.id == never_used.id {
                    checker.add_usage(&[count(never_used.id, at)])?;
                }
                listed.push(key.id);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        let times = listed.iter().filter(|id| **id == never_used.id).count();
        assert_eq!(times, 1, "backwards: {reverse}: {listed:?}");
    }
}

pub(crate) fn counts_of_a_removed_key_bring_nothing_back<E: Engine>(site: &mut Site<E>) {
    let keys = four_keys(site);
    site.remove_key(&keys[0]);
    let at = site.now();
    site.writer().add_usage(&[count(keys[0].id, at)]).unwrap();
    assert_eq!(site.key(keys[0].id), None);
    assert_eq!(site.key_ids(KeyOrder::LastUsed, false), ["K00000002", "K00000004", "K00000003"]);
}

pub(crate) fn what_was_counted_is_shown_by_hours_of_one_or_of_all<E: Engine>(site: &mut Site<E>) {
    let keys = four_keys(site);
    let hours = |site: &mut Site<E>, of, since| {
        let mut shown = Vec::new();
        let show = &mut |hour: HourlyUsage| {
            shown.push((hour.id.to_string(), hour.began_at, hour.allowed, hour.denied));
            Ok(ControlFlow::Continue(()))
        };
        site.reader().read().unwrap().usage(&UsageQuery { of, since }, show).unwrap();
        shown
    };
    let (one, three) = (keys[0].id, keys[2].id);
    // The third at 12:00, the first at 13:30, and now the third again.
    let (noon, one_oclock) = (moment("2026-03-01T12:00:00Z"), moment("2026-03-01T13:00:00Z"));
    let later = site.now();
    site.writer().add_usage(&[count(three, later), count(three, later)]).unwrap();
    let first = ("K00000003".to_owned(), noon, 1, 1);
    let of_one = ("K00000001".to_owned(), one_oclock, 1, 1);
    let of_three = ("K00000003".to_owned(), one_oclock, 2, 2);
    let mut all = hours(site, None, Timestamp::MIN);
    all.sort();
    assert_eq!(all, [of_one.clone(), first.clone(), of_three.clone()]);
    assert_eq!(hours(site, Some(three), Timestamp::MIN), [first.clone(), of_three.clone()]);
    assert_eq!(hours(site, Some(three), noon), [first, of_three.clone()]);
    // An hour that began before the moment is not asked for.
    let after_noon = noon + SignedDuration::from_millis(1);
    assert_eq!(hours(site, Some(three), after_noon), [of_three]);
    assert_eq!(hours(site, Some(one), after_noon), [of_one]);
    assert!(hours(site, Some(keys[1].id), Timestamp::MIN).is_empty());
    let mut shown = 0;
    let enough = &mut |_| {
        shown += 1;
        Ok(ControlFlow::Break(()))
    };
    site.reader().read().unwrap().usage(&UsageQuery { of: None, since: Timestamp::MIN }, enough).unwrap();
    assert_eq!(shown, 1);
}

pub(crate) fn counting_waits_for_no_writer<E: Engine>(site: &mut Site<E>) {
    let keys = four_keys(site);
    let at = site.wait(1);
    let mut checker = site.engine.open();
    {
        let _tx = Transaction::begin(site.writer()).unwrap();
        checker.add_usage(&[count(keys[1].id, at)]).unwrap();
    }
    assert_eq!(site.key(keys[1].id).unwrap().last_used_at, Some(at));
}
