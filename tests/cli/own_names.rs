//! The names that a store has for its own files: nothing else is put there, and no two stores share them.

use std::fs;
use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::session::{Machine, names_in, set_mode};

/// A store in use, and another beside it with a name that has more than one dot.
fn with_two_stores() -> Machine {
    let machine = Machine::with_store();
    machine.run(["--store", "pdkeys/api.example.com", "init", "api", "--owner", "ann"]).must_succeed();
    machine
}

#[test]
fn no_output_goes_to_one_of_the_stores_own_names() {
    let machine = with_two_stores();
    symlink("pdkeys", machine.file("link")).unwrap();
    fs::create_dir(machine.file("pdkeys/below")).unwrap();
    let before = names_in(&machine.directory());
    let names = [
        "pdkeys.usage.db",
        "pdkeys.usage.db-wal",
        "pdkeys.usage.db-journal",
        "pdkeys.db-journal",
        "pdkeys.db-wal",
        "pdkeys.db-shm",
        "PDKEYS.Usage.DB",
        ".pdkeys.db.0123456789abcdef.new",
        ".pdkeys.usage.db.0123456789abcdef.new",
        ".pdkeys.storekey.0123456789abcdef.new",
        "pdkeys.replaced-20261125T000000000Z.db",
        // Those of the other store, which is not the one in use.
        "api.example.com.usage.db",
        "api.example.com.usage.db-shm",
        "api.example.com-wal",
    ];
    for name in names {
        for directory in ["pdkeys", "link", "pdkeys/below/..", machine.directory().to_str().unwrap()] {
            let file = format!("{directory}/{name}");
            let socket = format!("unix:{file}");
            for arguments in [
                &["create", "x", "--write-to", &file][..],
                &["backup", &file],
                &["backup", "copy.db", "--with-store-key", &file],
                &["serve", "--listen", &socket],
                &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &socket],
            ] {
                let ran = machine.refuses(arguments.iter().copied()).must_exit(1);
                let why = ["is a name that a store has for its own files", "is there already"];
                assert!(why.iter().any(|why| ran.stderr.contains(why)), "{ran}");
            }
        }
    }
    assert_eq!(names_in(&machine.directory()), before);
    assert_snapshot!(machine.refuses(["create", "x", "--write-to", "pdkeys/pdkeys.usage.db"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: pdkeys/pdkeys.usage.db is a name that a store has for its own files
    hint: --write-to makes a new file; choose another name, or another directory
    ");
    // Others are as good as ever, also in that directory.
    machine.run(["create", "x", "--write-to", "pdkeys/usage.db"]).must_succeed();
    machine.run(["backup", "pdkeys/pdkeys.copy.db"]).must_succeed();
    machine.run(["backup", "copy.db", "--with-store-key", "copy.storekey"]).must_succeed();
}

#[test]
fn a_link_to_the_store_hides_none_of_its_names() {
    let machine = Machine::with_store();
    let links = machine.file("links");
    fs::create_dir(&links).unwrap();
    set_mode(&links, 0o700);
    symlink(machine.store(), links.join("keys.db")).unwrap();
    fs::copy(machine.store_key(), links.join("keys.storekey")).unwrap();
    for file in ["pdkeys/pdkeys.db-wal", "pdkeys/pdkeys.usage.db", "links/keys.usage.db"] {
        machine.refuses(["--store", "links/keys.db", "create", "x", "--write-to", file]).must_exit(1);
    }
}

#[test]
fn the_first_secret_does_not_go_where_the_new_store_has_its_files() {
    let machine = Machine::new();
    let file = machine.directory().join("pdkeys.usage.db");
    fs::create_dir(machine.directory()).unwrap();
    set_mode(&machine.directory(), 0o700);
    machine.run(["create", "x", "--write-to", file.to_str().unwrap()]).must_exit(1);
    assert!(!file.exists());
}

#[test]
fn stores_whose_names_differ_behind_the_last_dot_share_nothing() {
    let machine = Machine::new();
    for store in ["api.example.com", "api.example.org", "api.example.db"] {
        machine.run(["--store", &format!("stores/{store}"), "init", store, "--owner", "ann"]).must_succeed();
    }
    assert_eq!(
        names_in(&machine.file("stores")),
        [
            "api.example.com",
            "api.example.com.storekey",
            "api.example.db",
            "api.example.org",
            "api.example.org.storekey",
            "api.example.storekey",
        ]
    );
    let key = |name: &str| fs::read(machine.file("stores").join(name)).unwrap();
    assert_ne!(key("api.example.com.storekey"), key("api.example.org.storekey"));
}

#[test]
fn a_name_whose_files_another_store_has_is_refused() {
    let machine = Machine::new();
    machine.run(["--store", "keys.db", "init", "acme", "--owner", "ann"]).must_exit(0);
    let before = names_in(machine.home());
    for store in ["keys", "keys.usage.db"] {
        let ran = machine.run(["--store", store, "init", "x", "--owner", "ann"]).must_exit(1);
        assert!(ran.stderr.contains("would share the files beside it with"), "{ran}");
    }
    for key in
        ["keys.db-wal", "keys.usage.db", "./new.db", "new.db-journal", "new.usage.db", "new.usage.db-shm"]
    {
        let mut command = machine.command(["--store", "new.db", "init", "x", "--owner", "ann"]);
        let ran = machine.finish(command.env("PDKEYS_STORE_KEY_FILE", key)).must_exit(1);
        assert!(ran.stderr.contains("is a name that a store has for its own files"), "{ran}");
    }
    assert_eq!(names_in(machine.home()), before);
}

#[test]
fn a_store_of_the_first_version_keeps_its_files_where_they_are() {
    let machine = Machine::new();
    machine.run(["--store", "stores/api.example.com", "init", "api", "--owner", "ann"]).must_succeed();
    let file = |name: &str| machine.file("stores").join(name);
    fs::rename(file("api.example.com.storekey"), file("api.example.storekey")).unwrap();
    machine.run(["--store", "stores/api.example.com", "create", "x"]).must_succeed();
    // A new one beside it is made as new ones are.
    machine.run(["--store", "stores/api.example.org", "init", "api", "--owner", "ann"]).must_succeed();
    assert!(file("api.example.org.storekey").exists());
    machine.run(["--store", "stores/api.example.com", "create", "y"]).must_succeed();
    machine.run(["--store", "stores/api.example.com", "audit", "verify"]).must_succeed();
}

#[test]
fn a_store_key_belongs_to_one_store() {
    let machine = Machine::with_store();
    let key = machine.store_key();
    let elsewhere = |store: &str, key: &str| {
        let mut command = machine.command(["--store", store, "init", "x", "--owner", "ann"]);
        machine.finish(command.env("PDKEYS_STORE_KEY_FILE", key)).to_string()
    };
    assert_snapshot!(elsewhere("new.db", "pdkeys/pdkeys.storekey"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: pdkeys/pdkeys.storekey is the store key of another store
    hint: move it away if its store is gone for good; a new store gets a key of its own
    ");
    symlink(&key, machine.file("new.storekey")).unwrap();
    assert!(elsewhere("new.db", "new.storekey").starts_with("exit: 1"));
    fs::remove_file(machine.file("new.storekey")).unwrap();
    fs::copy(&key, machine.file("new.storekey")).unwrap();
    machine.run(["--store", "new.db", "init", "x", "--owner", "ann"]).must_exit(1);
    assert!(!machine.file("new.db").exists());
    // Its store may be somewhere else for a while.
    fs::rename(machine.store(), machine.file("away.db")).unwrap();
    machine.run(["init", "again", "--owner", "ann"]).must_exit(1);
    machine.run(["create", "x"]).must_exit(1);
    fs::rename(machine.file("away.db"), machine.store()).unwrap();
    machine.run(["create", "x"]).must_succeed();
}
