//! Paths that are no paths: URLs, special names of SQLite, homes that the shell did not replace.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, names_in};

/// What no shell and no database server has made a path of.
const NO_PATHS: [&str; 12] = [
    ":memory:",
    ":elsewhere:",
    "file:keys.db",
    "file:keys.db?mode=memory",
    "sqlite:keys.db",
    "sqlite:///keys.db",
    "postgres://db.example/keys",
    "https://example.com/keys.db",
    "~",
    "~/keys.db",
    "~/stores/keys.db",
    "~ada/keys.db",
];

#[test]
fn a_store_is_made_at_no_url_special_name_or_unexpanded_home() {
    let machine = Machine::new();
    for path in NO_PATHS {
        let store = format!("--store={path}");
        for command in [["init", "acme"], ["create", "ci"], ["user", "list"], ["audit", "verify"]] {
            machine.run([&[store.as_str()], &command[..]].concat()).must_exit(2);
            let refused = machine.finish(machine.command(command).env("PDKEYS_STORE", path));
            assert!(refused.stderr.contains("hint: "), "{refused}");
            refused.must_exit(2);
        }
    }
    assert_eq!(names_in(machine.home()), [""; 0], "nothing is left behind");

    assert_snapshot!(machine.run(["init", "--store=:memory:"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the store's path is a special name of SQLite's
    hint: this pdkeys keeps its store in a file: give its path, with ./ before it if it begins like this
    ");
    assert_snapshot!(machine.run(["init", "--store", "postgres://ada:hunter2@db.example/keys"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the store's path is a URL (postgres:)
    hint: this pdkeys keeps its store in a file: give its path, with ./ before it if it begins like this
    ");
    assert_snapshot!(machine.run(["init", "--store=~/keys.db"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: --store: the shell did not replace ~
    hint: it does so only where a word begins with it, without quotes: give the whole path, or ./~/keys.db if it is called so
    ");
}

#[test]
fn a_file_may_be_called_like_a_url() {
    let machine = Machine::new();
    for (number, name) in [":memory:", "file:keys.db", "file:keys.db?mode=ro", "~keys"].iter().enumerate() {
        let store = format!("--store=./{name}");
        machine.run([store.as_str(), "init", "acme"]).must_succeed();
        machine.run([store.as_str(), "create", "ci"]).must_succeed();
        assert!(machine.file(name).is_file(), "{name}");
        assert_eq!(machine.run([store.as_str(), "list", "-o", "json"]).json().as_array().unwrap().len(), 1);
        let backup = format!("file:backup{number}.db?mode=memory");
        machine.run([store.as_str(), "backup", &backup]).must_succeed();
        fs::remove_file(machine.file(name)).unwrap();
        machine.run([store.as_str(), "restore", &backup, "--yes"]).must_succeed();
        assert_eq!(machine.run([store.as_str(), "list", "-o", "json"]).json().as_array().unwrap().len(), 1);
    }
}

#[test]
fn no_file_is_made_in_a_directory_called_like_a_home() {
    let machine = Machine::with_store();
    fs::create_dir(machine.file("~")).unwrap();
    for arguments in [
        &["create", "ci", "--write-to=~/key"][..],
        &["backup", "~/copy.db"],
        &["backup", "copy.db", "--with-store-key=~/key"],
        &["man", "~/man"],
        &["verify", "--key-file=~/key"],
        &["list", "--token-file=~/token"],
        &["import", "~ada/keys.csv"],
        &["scan", ".", "~"],
    ] {
        let refused = machine.refuses(arguments.iter().copied()).must_exit(2);
        assert!(refused.stderr.contains("the shell did not replace ~"), "{refused}");
    }
    #[cfg(feature = "serve")]
    machine.run(["serve", "--listen", "unix:~/socket"]).must_exit(2);
    let key =
        machine.finish(machine.command(["init", "--store=new.db"]).env("PDKEYS_STORE_KEY_FILE", "~/key"));
    key.must_exit(2);
    assert_eq!(names_in(&machine.file("~")), [""; 0]);
    assert!(!machine.file("copy.db").exists() && !machine.file("new.db").exists());
    // A name may begin with it, and what is called so can be named.
    machine.run(["create", "ci", "--write-to", "~key"]).must_succeed();
    machine.run(["create", "ci", "--write-to", "./~/key"]).must_succeed();
    assert_eq!(names_in(&machine.file("~")), ["key"]);
}

#[test]
fn init_calls_the_account_default_as_the_first_use_does() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["init", "--owner", "ann"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Made a store at [HOME]/pdkeys/pdkeys.db; ann is Account Owner
    hint: keep a copy of [HOME]/pdkeys/pdkeys.storekey elsewhere: without it the store is worthless
    ");
    assert_eq!(machine.run(["account", "show", "-o", "json"]).json()["name"], "default");
}
