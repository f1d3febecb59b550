//! Stories of secrets: what a digest belongs to, dead or alive.

#![expect(clippy::unnecessary_wraps, reason = "what a digest belongs to is compared as the store answers it")]

use jiff::{SignedDuration, Timestamp};
use pdkeys::ErrorKind;
use pdkeys::authz::Action;
use pdkeys::model::{Change, GeneralKey, Id, Label, SecretChange};
use pdkeys::store::{Death, DigestOwner, Tombstone, Transaction};

use crate::site::{Engine, Site, secret};

fn live(id: Id) -> Option<DigestOwner> {
    Some(DigestOwner::Live { id, ends_at: None })
}

fn live_until(id: Id, end: Timestamp) -> Option<DigestOwner> {
    Some(DigestOwner::Live { id, ends_at: Some(end) })
}

fn dead(id: Id, death: Death, at: Timestamp) -> Option<DigestOwner> {
    Some(DigestOwner::Dead(Tombstone { id, death, at }))
}

/// A store with one key whose secret is `first`.
fn one_key<E: Engine>(site: &mut Site<E>) -> GeneralKey {
    let key = site.new_key("K00000001", "nightly deploy");
    site.add_key(&key, "first");
    key
}

fn in_an_hour<E: Engine>(site: &Site<E>) -> Timestamp {
    site.now() + SignedDuration::from_hours(1)
}

/// As text around it a secret is of a general key's shape, in a whole run.
pub(crate) fn a_text_with_a_secret_of_the_store_is_refused_and_one_that_was_there_is_in_nobodys_way<
    E: Engine,
>(
    site: &mut Site<E>,
) {
    const SECRET: &str = "y_NbAkKc66ryYTWUXYEu";
    let text = format!("was {SECRET}.");
    let early = site.new_key("K00000001", &text);
    site.add_key(&early, "first");
    let key = site.new_key("K00000002", "nightly deploy");
    site.add_key(&key, SECRET);

    let late = Change::Create(site.new_key("K00000003", &text));
    let issue = SecretChange::Issue(site.digest("third"));
    let refused = site.change_key(Action::CreateGeneralKey, &late, issue).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::HoldsSecret { of, .. } if *of == key.id), "{refused}");
    assert_eq!(site.holder("third"), None);

    let edited = GeneralKey { expires_at: Some(site.now()), ..early.clone() };
    let change = Change::Update { before: early, after: edited.clone() };
    site.change_key(Action::EditGeneralKey, &change, SecretChange::Keep).unwrap();
    let remove = Change::Delete { before: key.clone(), reason: None };
    site.change_key(Action::RemoveGeneralKey, &remove, SecretChange::Keep).unwrap();
    site.change_key(Action::CreateGeneralKey, &late, issue).unwrap_err();
    let reason = Label::parse("reason", &text).unwrap();
    let remove = Change::Delete { before: edited, reason: Some(reason) };
    site.change_key(Action::RemoveGeneralKey, &remove, SecretChange::Keep).unwrap_err();
}

pub(crate) fn a_digest_that_was_never_issued_belongs_to_nobody<E: Engine>(site: &mut Site<E>) {
    one_key(site);
    assert_eq!(site.holder("never issued"), None);
}

pub(crate) fn an_issued_secret_belongs_to_its_key<E: Engine>(site: &mut Site<E>) {
    let one = one_key(site);
    let two = site.new_key("K00000002", "two");
    site.add_key(&two, "other");
    assert_eq!(site.holder("first"), live(one.id));
    assert_eq!(site.holder("other"), live(two.id));

    let edited = GeneralKey { expires_at: Some(site.now()), ..one.clone() };
    let change = Change::Update { before: one.clone(), after: edited };
    site.change_key(Action::EditGeneralKey, &change, SecretChange::Keep).unwrap();
    assert_eq!(site.holder("first"), live(one.id), "other changes leave it alone");
}

pub(crate) fn a_rotation_without_overlap_kills_the_secret_before<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let at = site.wait(1);
    site.rotate(&key, "second", None);
    assert_eq!(site.holder("first"), dead(key.id, Death::Rotated, at));
    assert_eq!(site.holder("second"), live(key.id));
}

pub(crate) fn a_rotation_with_overlap_lets_the_secret_before_go_on_until_its_end<E: Engine>(
    site: &mut Site<E>,
) {
    let key = one_key(site);
    let other = site.new_key("K00000002", "other");
    site.add_key(&other, "not rotated");
    let end = in_an_hour(site);
    site.rotate(&key, "second", Some(end));
    assert_eq!(site.holder("first"), live_until(key.id, end));
    assert_eq!(site.holder("second"), live(key.id));
    assert_eq!(site.holder("not rotated"), live(other.id));
}

pub(crate) fn a_second_rotation_ends_the_earlier_overlap<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let end = in_an_hour(site);
    let key = site.rotate(&key, "second", Some(end));
    let at = site.wait(5);
    let end = in_an_hour(site);
    site.rotate(&key, "third", Some(end));
    assert_eq!(site.holder("first"), dead(key.id, Death::Rotated, at));
    assert_eq!(site.holder("second"), live_until(key.id, end));
    assert_eq!(site.holder("third"), live(key.id));
}

pub(crate) fn a_second_rotation_without_overlap_kills_both_secrets_before<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let end = in_an_hour(site);
    let key = site.rotate(&key, "second", Some(end));
    let at = site.wait(5);
    site.rotate(&key, "third", None);
    assert_eq!(site.holder("first"), dead(key.id, Death::Rotated, at));
    assert_eq!(site.holder("second"), dead(key.id, Death::Rotated, at));
    assert_eq!(site.holder("third"), live(key.id));
}

pub(crate) fn ending_an_overlap_kills_the_secret_before_and_not_the_present_one<E: Engine>(
    site: &mut Site<E>,
) {
    let key = one_key(site);
    let end = in_an_hour(site);
    let before = site.rotate(&key, "second", Some(end));
    let at = site.wait(5);
    let after = GeneralKey { overlap_ends_at: None, ..before.clone() };
    let change = Change::Update { before, after };
    site.change_key(Action::RotateGeneralKey, &change, SecretChange::EndOverlap).unwrap();
    assert_eq!(site.holder("first"), dead(key.id, Death::Rotated, at));
    assert_eq!(site.holder("second"), live(key.id));
}

pub(crate) fn removal_leaves_a_tombstone_of_every_secret<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let other = site.new_key("K00000002", "other");
    site.add_key(&other, "not removed");
    let end = in_an_hour(site);
    let key = site.rotate(&key, "second", Some(end));
    let at = site.wait(5);
    site.remove_key(&key);
    assert_eq!(site.holder("first"), dead(key.id, Death::Removed, at));
    assert_eq!(site.holder("second"), dead(key.id, Death::Removed, at));
    assert_eq!(site.holder("not removed"), live(other.id));
}

pub(crate) fn a_tombstone_keeps_the_first_reason_of_its_death<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let rotated_at = site.wait(1);
    let key = site.rotate(&key, "second", None);
    let removed_at = site.wait(1);
    site.remove_key(&key);
    assert_eq!(site.holder("first"), dead(key.id, Death::Rotated, rotated_at));
    assert_eq!(site.holder("second"), dead(key.id, Death::Removed, removed_at));
}

pub(crate) fn a_dead_secret_is_never_issued_again<E: Engine>(site: &mut Site<E>) {
    let removed = one_key(site);
    site.remove_key(&removed);
    let rotated = site.new_key("K00000002", "rotated");
    site.add_key(&rotated, "second");
    site.rotate(&rotated, "third", None);

    let before = site.everything();
    for plain in ["first", "second"] {
        let digest = site.digest(plain);
        let create = Change::Create(site.new_key("K00000003", "another"));
        let issue = SecretChange::Issue(digest);
        assert!(site.change_key(Action::CreateGeneralKey, &create, issue).is_err(), "{plain} issued");
        let change = Change::Update { before: rotated.clone(), after: rotated.clone() };
        let rotate = SecretChange::Rotate { new: digest, old_ends_at: None };
        assert!(site.change_key(Action::RotateGeneralKey, &change, rotate).is_err(), "{plain} rotated to");
        assert!(matches!(site.holder(plain), Some(DigestOwner::Dead(_))), "{plain}");
    }
    assert_eq!(site.holder("third"), live(rotated.id));
    assert_eq!(site.everything(), before);
}

pub(crate) fn a_live_secret_is_never_issued_to_a_second_key<E: Engine>(site: &mut Site<E>) {
    let key = one_key(site);
    let before = site.everything();
    let digest = site.digest("first");
    let create = Change::Create(site.new_key("K00000002", "another"));
    assert!(site.change_key(Action::CreateGeneralKey, &create, SecretChange::Issue(digest)).is_err());
    assert_eq!(site.holder("first"), live(key.id));
    assert_eq!(site.everything(), before);
}

pub(crate) fn the_digest_is_the_same_in_and_out_of_a_transaction<E: Engine>(site: &mut Site<E>) {
    let outside = site.digest("first");
    let inside = Transaction::begin(site.writer()).unwrap().keyring().digest(&secret("first").fingerprint());
    assert_eq!(outside, inside);
    assert_ne!(outside, site.digest("second"));
}
