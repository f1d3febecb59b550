//! Many at once.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use crate::session::{Machine, assert_secret, names_in};

/// Starts as many first or later uses at once, and gives the secrets that they printed.
fn create_at_once(machine: &Machine, processes: usize) -> BTreeSet<String> {
    let start = |number: usize| -> Child {
        machine
            .command(["create", &format!("key {number}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..processes).map(start).collect();
    children
        .into_iter()
        .map(|child| {
            let ran = machine.ran(child.wait_with_output().unwrap()).must_succeed();
            assert_secret(ran.line());
            assert!(!ran.stderr.contains("error"), "{ran}");
            ran.line().to_owned()
        })
        .collect()
}

#[test]
fn fifty_processes_that_create_at_once_make_fifty_keys_and_one_chain() {
    let machine = Machine::with_store();
    let founding = machine.count("audit");
    assert_eq!(create_at_once(&machine, 50).len(), 50);
    let keys = machine.run(["list", "-o", "json"]).must_succeed().json();
    let descriptions: BTreeSet<_> =
        keys.as_array().unwrap().iter().map(|key| key["description"].as_str().unwrap()).collect();
    assert_eq!(descriptions.len(), 50);
    assert_eq!(machine.count("audit"), founding + 50);
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn of_first_uses_at_once_one_makes_the_store_and_all_make_their_keys() {
    for processes in [2, 2, 2, 2, 2, 8] {
        let machine = Machine::new();
        assert_eq!(create_at_once(&machine, processes).len(), processes);
        assert_eq!(names_in(&machine.directory()), ["pdkeys.db", "pdkeys.storekey"]);
        let founding = 2;
        assert_eq!(machine.count("audit"), founding + processes as u64);
        assert_eq!(machine.count("user"), 1);
        machine.run(["audit", "verify"]).must_succeed();
    }
}

#[test]
fn of_inits_at_once_one_makes_the_store_and_the_others_are_told() {
    let machine = Machine::new();
    let start = |owner: &&str| -> Child {
        let mut command = machine.command(["init", "acme", "--owner", owner]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = ["ann", "bob", "cleo"].iter().map(start).collect();
    let mut codes: Vec<_> =
        children.into_iter().map(|child| machine.ran(child.wait_with_output().unwrap()).code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1, 1]);
    machine.run(["create", "ci"]).must_succeed();
}

/// The question is answered by reading: it neither waits for a writer nor makes one wait.
#[test]
fn a_question_is_asked_while_another_process_writes() {
    let machine = Machine::with_store();
    let id = |arguments: &[&str]| {
        let made = machine.run(arguments.iter().copied().chain(["-o", "json"])).must_succeed().json();
        made["id"].as_str().unwrap().to_owned()
    };
    let key = id(&["create", "ci"]);
    let token = id(&["token", "create", "laptop"]);
    let integration = id(&["service", "create", "web", "--integration", "events-api-v2"]);
    machine
        .run(["app", "register", "shop", "--scope", "incidents.read", "--write-to", "secret"])
        .must_succeed();
    machine.run(["user", "add", "bob", "--role", "user"]).must_succeed();
    let records = machine.count("audit");
    let writer = machine.sql();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    for command in [
        &["disable", &key][..],
        &["rotate", &key],
        &["remove", &key],
        &["token", "rotate", &token],
        &["token", "remove", &token],
        &["app", "rotate", "shop"],
        &["app", "edit", "shop", "--revoke-tokens"],
        &["app", "remove", "shop"],
        &["integration", "remove", &integration],
        &["service", "remove", "web", "--with-integrations"],
        &["user", "remove", "bob"],
        &["account", "transfer", "bob"],
    ] {
        let ran = machine.run(command.iter().copied());
        assert_eq!(ran.code(), 6, "{command:?}: {ran}");
    }
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(machine.count("audit"), records);
}
