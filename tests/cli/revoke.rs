//! `revoke`: whoever holds a key may put an end to it.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::checking::{
    UNKNOWN, ask_event, make_app_token, make_integration, make_token, reason, reason_for, run_with_input,
};
use crate::session::{Machine, Ran, SOMEBODY_ELSE, text_of};

fn revoke<'m>(machine: &'m Machine, presented: &str) -> Ran<'m> {
    run_with_input(machine, ["revoke"], presented.as_bytes())
}

/// The newest record of the audit trail.
fn newest(machine: &Machine) -> Value {
    machine.run(["audit", "list", "--limit", "1", "-o", "json"]).must_succeed().json()[0].take()
}

#[test]
fn a_general_key_is_disabled_by_its_holder_and_can_be_enabled_again() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    assert_snapshot!(revoke(&machine, &format!("{secret}\n")), @r"
    exit: 0
    --- stdout
    --- stderr
    Disabled general key [K1] (ci, ...[HINT 1])
    ");
    assert_eq!(reason_for(&machine, &secret), "disabled");
    assert_snapshot!(machine.run(["list"]), @r"
    exit: 0
    --- stdout
    ID         DESCRIPTION  HINT     ACCESS  CREATED               API  STATUS                                                       LAST USED  EXPIRES
    [K1]  ci           ...[HINT 1]  full    [NOW]  v2   disabled by its holder [NOW]: key-compromise  never      never
    --- stderr
    ");
    let record = newest(&machine);
    assert_eq!(text_of(&record["root_resource"], "id"), id);
    assert_eq!(text_of(&record["actors"][0], "type"), "general_key");
    assert_eq!(text_of(&record["method"], "type"), "holder");
    assert_eq!(text_of(&record["method"], "truncated_token"), secret[16..]);
    machine.run(["audit", "verify"]).must_succeed();
    machine.run(["enable", &id]).must_succeed();
    assert_eq!(reason_for(&machine, &secret), "allowed");
}

#[test]
fn a_user_token_and_an_integration_are_removed() {
    let machine = Machine::with_users();
    let token = make_token(&machine, "uma", &[]);
    let ran = revoke(&machine, &format!("Token token={token}")).must_succeed();
    assert!(ran.stderr.starts_with("Removed user token T"), "{ran}");
    assert_eq!(reason_for(&machine, &token), "removed");
    assert_eq!(text_of(&newest(&machine), "action"), "delete");

    let (_, key) = make_integration(&machine, &[]);
    let ran = revoke(&machine, &key).must_succeed();
    assert!(ran.stderr.starts_with("Removed integration key I"), "{ran}");
    assert_eq!(reason(&ask_event(&machine, &key, "events-v2")), "removed");
    let fields = &newest(&machine)["details"]["fields"];
    let reason = fields.as_array().unwrap().iter().find(|field| field["name"] == "reason").unwrap();
    assert_eq!(reason["value"], "key-compromise");
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn an_app_token_is_dead_and_another_of_the_same_app_is_not() {
    let machine = Machine::with_store();
    let one = make_app_token(&machine, "bot", &["incidents.read"]);
    let other = machine.run(["app", "token", "bot"]).must_succeed().line().to_owned();
    let may = |token: &str| reason_for(&machine, &format!("Bearer {token}"));
    let ran = revoke(&machine, &format!("Bearer {one}")).must_succeed();
    assert!(ran.stderr.starts_with("Revoked app token of A"), "{ran}");
    assert_eq!([may(&one), may(&other)], ["removed", "allowed"]);
    let record = newest(&machine);
    assert_eq!(text_of(&record["root_resource"], "type"), "app_token");
    assert_eq!(text_of(&record, "action"), "delete");
    let again = machine.unchanged(|| revoke(&machine, &one)).must_succeed();
    assert!(again.stderr.starts_with("Unchanged app token A"), "{again}");
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn a_secret_in_its_overlap_ends_alone() {
    let machine = Machine::with_store();
    let (id, old) = machine.make_key("ci", &[]);
    let new = machine.run(["rotate", &id, "--overlap", "1h"]).must_succeed().line().to_owned();
    let ran = revoke(&machine, &old).must_succeed();
    assert!(ran.stderr.starts_with(&format!("Ended the overlap of general key {id}")), "{ran}");
    assert_eq!([reason_for(&machine, &old), reason_for(&machine, &new)], ["rotated", "allowed"]);
    assert_eq!(machine.run(["show", &id, "-o", "json"]).json()["overlap_ends_at"], Value::Null);

    // The present secret is the key itself: with it, the one before stops too.
    let next = machine.run(["rotate", &id, "--overlap", "1h"]).must_succeed().line().to_owned();
    revoke(&machine, &next).must_succeed();
    assert_eq!([reason_for(&machine, &new), reason_for(&machine, &next)], ["disabled", "disabled"]);

    // Enabled again, the key would open with what the overlap keeps.
    let ran = revoke(&machine, &new).must_succeed();
    assert!(ran.stderr.starts_with("Ended"), "{ran}");
    machine.run(["enable", &id]).must_succeed();
    assert_eq!([reason_for(&machine, &new), reason_for(&machine, &next)], ["rotated", "allowed"]);

    let (token, old) = machine.make_token("ann", "laptop", &[]);
    let new = machine.run(["token", "rotate", &token, "--overlap", "1h"]).must_succeed().line().to_owned();
    revoke(&machine, &old).must_succeed();
    assert_eq!([reason_for(&machine, &old), reason_for(&machine, &new)], ["rotated", "allowed"]);
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn what_is_dead_already_says_so_and_leaves_no_record() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    revoke(&machine, &secret).must_succeed();
    assert_snapshot!(machine.unchanged(|| revoke(&machine, &secret)), @r"
    exit: 0
    --- stdout
    --- stderr
    Unchanged general key [K1] (ci, ...[HINT 1]) opened nothing any more
    ");
    machine.run(["remove", &id, "--yes"]).must_succeed();
    assert_snapshot!(machine.unchanged(|| revoke(&machine, &secret)), @r"
    exit: 0
    --- stdout
    --- stderr
    Unchanged general key [K1] (...[HINT 1]) opened nothing any more
    ");
}

#[test]
fn what_no_key_has_is_not_found_and_what_is_no_key_is_a_usage_error() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.unchanged(|| revoke(&machine, UNKNOWN)), @r"
    exit: 5
    --- stdout
    --- stderr
    error: no key of this store has or had the secret that ends in EEEE
    hint: --store or PDKEYS_STORE names another store
    ");
    assert_snapshot!(machine.unchanged(|| revoke(&machine, "")), @r"
    exit: 2
    --- stdout
    --- stderr
    error: there is no key to revoke
    hint: give it on standard input, or in a file with --key-file
    ");
    let client_secret =
        machine.run(["app", "register", "bot", "--scope", "incidents.read"]).must_succeed().line().to_owned();
    for text in [client_secret.as_str(), "hello", "AAAA bbbb", "\"AAAAbbbbCCCCddddEEEE\""] {
        machine.unchanged(|| revoke(&machine, text)).must_exit(2);
    }
    machine.refuses(["revoke", UNKNOWN]).must_exit(2);
    machine.refuses(["revoke", "--key", UNKNOWN]).must_exit(2);
    machine.refuses(["revoke", "--key-file", "missing.txt"]).must_exit(1);
    Machine::new().run(["revoke", "--key-file", "/dev/null"]).must_exit(2);
    assert_eq!(revoke(&Machine::new(), UNKNOWN).code(), 1, "there is no store");
}

#[test]
fn the_variable_that_verify_reads_is_not_looked_at() {
    let machine = Machine::with_store();
    let (_, kept) = machine.make_key("kept", &[]);
    let (_, leaked) = machine.make_key("leaked", &[]);
    let machine = machine.with("PDKEYS_KEY", &kept);
    revoke(&machine, &leaked).must_succeed();
    let machine = machine.without("PDKEYS_KEY");
    assert_eq!([reason_for(&machine, &kept), reason_for(&machine, &leaked)], ["allowed", "disabled"]);
}

#[test]
fn no_user_is_needed_and_the_record_can_be_printed() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &["--expires", "2099-01-31"]);
    fs::write(machine.file("leak.txt"), &secret).unwrap();
    // Somebody whom the account does not know, with a token that is none.
    let mut command = machine.command(["revoke", "-o", "json"]);
    command.stdin(fs::File::open(machine.file("leak.txt")).unwrap());
    command.env("SUDO_UID", SOMEBODY_ELSE.to_string()).env("PDKEYS_TOKEN", "");
    let ran = machine.finish(&mut command).must_succeed();
    let told = ran.json();
    let field = |name: &str| text_of(&told, name);
    assert_eq!([field("id"), field("kind"), field("description")], [id, "general".into(), "ci".into()]);
    assert_eq!([field("hint"), field("outcome")], [secret[16..].to_owned(), "disabled".into()]);
    assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret));
}
