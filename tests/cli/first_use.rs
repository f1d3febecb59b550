//! `init`, the first use without it, and which store is meant.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, Ran, SOMEBODY, SOMEBODY_ELSE, can_be_others, mode_of, names_in};

/// With the name of the owner taken out, who is called as whoever runs the tests is.
fn without_login_name(ran: &Ran<'_>) -> String {
    let made = ran.stderr.lines().find(|line| line.starts_with("Made a store at ")).expect("a notice");
    let (_, owner) = made.rsplit_once("; ").unwrap();
    let name = owner.strip_suffix(" is Account Owner").unwrap();
    assert!(!name.is_empty());
    ran.to_string().replace(owner, "[LOGIN] is Account Owner")
}

#[test]
fn init_makes_a_store_and_says_what_to_keep() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["init", "acme", "--owner", "ann", "--policy", "convention"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Made a store at [HOME]/pdkeys/pdkeys.db; ann is Account Owner
    hint: keep a copy of [HOME]/pdkeys/pdkeys.storekey elsewhere: without it the store is worthless
    ");
    assert_snapshot!(machine.run(["whoami"]), @r"
    exit: 0
    --- stdout
    id               [U1]
    name             ann
    role             owner
    title            Account Owner
    method           os_user
    account          acme
    store            [HOME]/pdkeys/pdkeys.db
    --- stderr
    ");
    assert_snapshot!(machine.run(["account", "show"]), @r"
    exit: 0
    --- stdout
    name                  acme
    owner                 ann
    policy                convention
    rest api              true
    advanced permissions  true
    created at            [NOW]
    --- stderr
    ");
    assert_snapshot!(machine.run(["audit", "list"]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET           CALLED  CHANGES
    2       [NOW]  ann    create  user [U1]   ann     name: ann, role: owner, os_uid: [UID]
    1       [NOW]  ann    create  account account  acme    name: acme, owner: ann, policy: convention, rest_api: true, advanced_permissions: true
    --- stderr
    ");
}

#[test]
fn the_files_of_a_store_are_their_owners_alone() {
    let machine = Machine::with_store();
    assert_eq!(names_in(&machine.directory()), ["pdkeys.db", "pdkeys.storekey"]);
    assert_eq!(mode_of(&machine.directory()), 0o700);
    assert_eq!(mode_of(&machine.store()), 0o600);
    assert_eq!(mode_of(&machine.store_key()), 0o600);
    assert_eq!(fs::metadata(machine.store_key()).unwrap().len(), 32);
}

#[test]
fn init_refuses_a_place_where_there_is_a_store() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["init", "again"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: there is a store at [HOME]/pdkeys/pdkeys.db already
    hint: it is used as it is; --store names another place
    ");
}

#[test]
fn init_refuses_a_policy_that_is_none() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["init", "acme", "--policy", "lenient"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'lenient' for '--policy <POLICY>': policy: must be pagerduty or convention

    For more information, try '--help'.
    ");
    assert!(!machine.directory().exists());
}

#[test]
fn init_makes_a_store_at_a_named_place() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["init", "acme", "--owner", "ann", "--store", "elsewhere/keys.db"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Made a store at elsewhere/keys.db; ann is Account Owner
    hint: keep a copy of elsewhere/keys.storekey elsewhere: without it the store is worthless
    ");
    assert_eq!(names_in(&machine.file("elsewhere")), ["keys.db", "keys.storekey"]);
    machine.run(["--store", "elsewhere/keys.db", "create", "ci"]).must_succeed();
    let machine = machine.with("PDKEYS_STORE", "elsewhere/keys.db");
    assert_eq!(machine.run(["list", "-o", "jsonl"]).must_succeed().stdout.lines().count(), 1);
    assert!(!machine.directory().exists());
}

#[test]
fn an_option_names_the_store_before_the_environment_does() {
    let machine = Machine::with_store().with("PDKEYS_STORE", "/nonexistent/keys.db");
    machine.run(["whoami"]).must_exit(1);
    machine.run(["whoami", "--store", machine.store().to_str().unwrap()]).must_succeed();
}

#[test]
fn an_empty_store_path_is_a_usage_error() {
    let machine = Machine::new().with("PDKEYS_STORE", "");
    assert_snapshot!(machine.run(["create", "ci"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the store's path is empty
    ");
}

#[test]
fn the_first_create_makes_the_store_and_says_where() {
    let machine = Machine::new();
    let made = machine.run(["create", "--read-only", "nightly deploy"]);
    assert_snapshot!(without_login_name(&made), @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Made a store at [HOME]/pdkeys/pdkeys.db; [LOGIN] is Account Owner
    hint: keep a copy of [HOME]/pdkeys/pdkeys.storekey elsewhere: without it the store is worthless
    Created key [K1] (nightly deploy, ...[HINT 1]); its secret is shown only this once
    ");
    assert_eq!(made.line().len(), 20);
    assert_snapshot!(machine.run(["list", "-o", "json"]).json()[0]["description"], @r#""nightly deploy""#);
}

#[test]
fn the_first_user_add_makes_the_store_too() {
    let machine = Machine::new();
    assert_snapshot!(without_login_name(&machine.run(["user", "add", "adam", "--role", "admin"])), @r"
    exit: 0
    --- stdout
    --- stderr
    Made a store at [HOME]/pdkeys/pdkeys.db; [LOGIN] is Account Owner
    hint: keep a copy of [HOME]/pdkeys/pdkeys.storekey elsewhere: without it the store is worthless
    Added user adam ([U1], admin)
    ");
}

#[test]
fn a_command_that_would_find_nothing_makes_no_store() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: no store at [HOME]/pdkeys/pdkeys.db
    hint: pdkeys init makes a store; --store or PDKEYS_STORE names another
    ");
    for arguments in [
        &["show", "K7Q2M4DX3"][..],
        &["disable", "K7Q2M4DX3", "--yes"],
        &["audit", "verify"],
        &["user", "list"],
        &["account", "show"],
        &["whoami"],
    ] {
        machine.run(arguments.iter().copied()).must_exit(1);
    }
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn init_makes_the_store_for_the_owner_that_it_is_told() {
    let machine = Machine::new();
    machine.run(["init", "acme", "--owner", "sam", "--os-user", &SOMEBODY.to_string()]).must_succeed();
    machine.run(["whoami"]).must_exit(4);
    let me = machine.run_sudo(&SOMEBODY.to_string(), ["whoami", "-o", "json"]).must_succeed().json();
    assert_eq!(me["name"], "sam");
}

#[test]
fn a_service_account_makes_a_store_below_directories_that_are_not_there_yet() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::new();
    machine.give_to(SOMEBODY);
    let olli = SOMEBODY_ELSE.to_string();
    let store = ["--store", "new/below/keys.db"];
    let init = ["init", "acme", "--owner", "olli", "--os-user", &olli];
    machine.run_as(SOMEBODY, init.into_iter().chain(store)).must_succeed();
    let mut whoami = machine.command_of(SOMEBODY, ["whoami", "-o", "json"].into_iter().chain(store));
    let me = machine.finish(whoami.env("SUDO_UID", &olli)).must_succeed().json();
    assert_eq!(me["name"], "olli");
    machine.run_as(SOMEBODY, ["whoami"].into_iter().chain(store)).must_exit(4);
}
