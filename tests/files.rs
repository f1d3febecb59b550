//! The files of a store, when they are lost, spoilt, or made by root for somebody else.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test ends it, in the functions that tests share too"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::thread;
use std::time::Duration;

use pdkeys::ErrorKind;
use pdkeys::manage::{Founding, Identity, Session};
use pdkeys::model::{Name, Noun, Policy, Secret};
use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{Place, Store as _};

fn store_in(directory: &Path) -> SqliteStore {
    let founding = Founding {
        account: Name::parse(Noun::Account, "test").unwrap(),
        policy: Policy::PagerDuty,
        owner: Name::parse(Noun::User, "ada").unwrap(),
        os_uid: 1000,
    };
    founding.make_store(&Place::new(directory.join("k.db")), &SystemClock, &mut SystemEntropy).unwrap()
}

#[test]
fn a_store_whose_file_is_gone_or_another_answers_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = store_in(directory.path());
    let digest = store.keyring().unwrap().digest(&Secret::presented("x".to_owned()).fingerprint());
    store.find_credential(&digest).unwrap();
    let path = directory.path().join("k.db");
    fs::rename(&path, directory.path().join("moved.db")).unwrap();
    // It is looked for once a second.
    thread::sleep(Duration::from_millis(1_100));
    for _ in 0..2 {
        let refused = store.find_credential(&digest).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::NoStore(_)), "{refused}");
        fs::write(&path, "another").unwrap();
    }
    fs::rename(directory.path().join("moved.db"), &path).unwrap();
    store.find_credential(&digest).unwrap();
}

#[test]
fn a_usage_file_that_cannot_be_used_keeps_nobody_from_managing() {
    let directory = tempfile::tempdir().unwrap();
    drop(store_in(directory.path()));
    let place = Place::new(directory.path().join("k.db"));
    fs::write(place.usage(), "this is no database").unwrap();
    let mut store = SqliteStore::open(&place).unwrap();
    let mut entropy = SystemEntropy;
    Session::begin(&mut store, Identity::OsUser(1000), &SystemClock, &mut entropy)
        .unwrap()
        .account()
        .unwrap();
    assert!(matches!(store.usage_fault().unwrap().kind(), ErrorKind::UsageFile { .. }));
    let counted = store.add_usage(&[]);
    assert!(matches!(counted.unwrap_err().kind(), ErrorKind::UsageFile { .. }));
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    if chown(directory.path(), Some(12_345), Some(12_345)).is_err() {
        // Only root can give a directory away, and only root makes files for others.
        return;
    }
    let mut store = store_in(directory.path());
    store.add_usage(&[]).unwrap();
    for file in ["k.db", "k.storekey", "k.usage.db"] {
        assert_eq!(fs::metadata(directory.path().join(file)).unwrap().uid(), 12_345, "{file}");
    }
}
