//! Without its store key a store can be read, and nothing else.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, Ran, mode_of, own_uid, set_mode};

/// Asserts what works and what does not where the store key cannot be used, and gives what `create` says.
#[track_caller]
fn only_reads<'m>(machine: &'m Machine, id: &str) -> Ran<'m> {
    for arguments in
        [&["list"][..], &["show", id], &["audit", "list"], &["audit", "head"], &["user", "list"], &["whoami"]]
    {
        machine.refuses(arguments.iter().copied()).must_succeed();
    }
    for arguments in [
        &["disable", id, "--yes"][..],
        &["rotate", id, "--overlap", "1h"],
        &["remove", id, "--yes"],
        &["user", "add", "adam", "--role", "admin"],
        &["account", "set", "--rest-api", "off"],
        &["audit", "verify"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(1);
        assert!(ran.stderr.contains("pdkeys.storekey"), "it names the file: {ran}");
        assert_eq!(ran.stdout, "");
    }
    machine.refuses(["create", "ci"])
}

fn with_key() -> (Machine, String) {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    (machine, id)
}

#[test]
fn a_missing_store_key_is_an_error_that_names_the_file() {
    let (machine, id) = with_key();
    fs::remove_file(machine.store_key()).unwrap();
    assert_snapshot!(only_reads(&machine, &id), @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: no such file
    hint: put it back from where it is kept, or name it with PDKEYS_STORE_KEY_FILE
    ");
    assert!(!machine.store_key().exists(), "no other one was made");
}

/// A kill between the two steps in which a store key gets its name leaves it under the other one too.
#[test]
fn the_second_name_that_a_kill_left_a_store_key_goes_at_the_next_use() {
    let (machine, _) = with_key();
    let beside = |name: &str| machine.directory().join(name);
    let left = beside(".pdkeys.storekey.0123456789abcdef.new");
    let mine = beside("copy.storekey");
    let other = beside(".pdkeys.storekey.fedcba9876543210.new");
    fs::hard_link(machine.store_key(), &left).unwrap();
    fs::hard_link(machine.store_key(), &mine).unwrap();
    fs::write(&other, "of another making").unwrap();
    machine.run(["create", "ci"]).must_succeed();
    assert!(!left.exists(), "it was the live key");
    assert!(mine.exists() && other.exists(), "nothing else was");
    assert_eq!(fs::read(machine.store_key()).unwrap(), fs::read(mine).unwrap());
    fs::hard_link(machine.store_key(), &left).unwrap();
    let ran = machine.run(["doctor", "-o", "jsonl"]).must_succeed();
    assert!(!left.exists() && !ran.stdout.contains(left.to_str().unwrap()), "{ran}");
    assert!(ran.stdout.contains(other.to_str().unwrap()), "{ran}");
}

#[test]
fn a_store_key_of_the_wrong_size_is_an_error() {
    let (machine, id) = with_key();
    fs::write(machine.store_key(), "too short").unwrap();
    assert_snapshot!(only_reads(&machine, &id), @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: 9 bytes long instead of 32
    hint: the store works with the key that it was made with, and no other
    ");
    fs::write(machine.store_key(), [7; 33]).unwrap();
    only_reads(&machine, &id).must_exit(1);
}

#[test]
fn the_store_key_of_another_store_is_an_error() {
    let (machine, id) = with_key();
    fs::write(machine.store_key(), [7; 32]).unwrap();
    assert_snapshot!(only_reads(&machine, &id), @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: belongs to another store
    hint: the store works with the key that it was made with, and no other
    ");
}

#[test]
fn a_store_key_that_others_can_read_is_an_error() {
    let (machine, id) = with_key();
    set_mode(&machine.store_key(), 0o640);
    assert_snapshot!(only_reads(&machine, &id), @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: can be read by others (mode 0640)
    hint: chmod 0600 [HOME]/pdkeys/pdkeys.storekey
    ");
    assert_eq!(mode_of(&machine.store_key()), 0o640, "it is for its owner to change that");
}

/// systemd's credentials belong to root, and an access list opens them to the service: its mask shows where the group's
/// rights would.
#[test]
fn a_store_key_may_be_handed_over_by_systemd() {
    let (machine, _) = with_key();
    let handed_over = machine.file("credential");
    fs::copy(machine.store_key(), &handed_over).unwrap();
    set_mode(&handed_over, 0o440);
    let machine = machine.with("PDKEYS_STORE_KEY_FILE", handed_over.to_str().unwrap());
    let ran = machine.run(["create", "ci"]);
    if own_uid() == 0 {
        ran.must_succeed();
    } else {
        // Of anybody else's file the mode means what it says.
        assert!(ran.must_exit(1).stderr.contains("can be read by others (mode 0440)"));
    }
}

#[test]
fn a_directory_in_the_place_of_the_store_key_is_an_error() {
    let (machine, id) = with_key();
    fs::remove_file(machine.store_key()).unwrap();
    fs::create_dir(machine.store_key()).unwrap();
    assert_snapshot!(only_reads(&machine, &id), @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: not a file
    hint: run it as the user who owns the store, through sudo for instance
    ");
}

#[test]
fn the_store_key_may_lie_elsewhere() {
    let (machine, _) = with_key();
    let elsewhere = machine.file("credential");
    fs::rename(machine.store_key(), &elsewhere).unwrap();
    let machine = machine.with("PDKEYS_STORE_KEY_FILE", elsewhere.to_str().unwrap());
    machine.run(["create", "another"]).must_succeed();
    machine.run(["audit", "verify"]).must_succeed();
    assert!(!machine.store_key().exists());
}

#[test]
fn a_store_is_made_with_the_store_key_elsewhere() {
    let machine = Machine::new();
    let elsewhere = machine.file("credential");
    let machine = machine.with("PDKEYS_STORE_KEY_FILE", elsewhere.to_str().unwrap());
    machine.run(["init", "acme", "--owner", "ann"]).must_succeed();
    assert_eq!((mode_of(&elsewhere), fs::read(&elsewhere).unwrap().len()), (0o600, 32));
    assert!(!machine.store_key().exists());
}
