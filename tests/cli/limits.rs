//! Rate limits and use, as `verify` counts them: exactly, in the usage file.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::checking::{
    UNKNOWN, ask, ask_event, make_app_token, make_integration, make_token, reason, reason_for, run_with_input,
};
use crate::session::{Machine, SOMEBODY, can_be_others, text_of};

/// What a check of a credential tells of its limit.
fn limit_of(machine: &Machine, presented: &str) -> Value {
    ask(machine, presented, "GET", "/incidents").json()["rate_limit"].clone()
}

#[test]
fn three_checks_of_a_limit_of_three_are_allowed_and_the_fourth_is_not() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &["--rate-limit", "3/min"]);
    let mut left = Vec::new();
    for _ in 0..3 {
        let ran = ask(&machine, &key, "GET", "/incidents");
        assert_eq!(reason(&ran), "allowed");
        left.push(ran.json()["rate_limit"]["remaining"].clone());
    }
    assert_eq!(left, [2, 1, 0]);
    for _ in 0..2 {
        let ran = ask(&machine, &key, "GET", "/incidents");
        assert_eq!(reason(&ran), "rate-limited");
        let verdict = ran.json();
        assert_eq!((&verdict["status"], &verdict["rate_limit"]["remaining"]), (&json!(429), &json!(0)));
        assert!(verdict["rate_limit"]["reset"].as_u64().unwrap() <= 60);
    }
}

#[test]
fn processes_that_check_at_once_never_exceed_the_limit_together() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &["--rate-limit", "7/min"]);
    let start = || {
        let mut command = machine.command(["verify", "--method", "GET", "--path", "/incidents"]);
        command.env("PDKEYS_KEY", &key).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..20).map(|_| start()).collect();
    let mut codes: Vec<_> = children
        .into_iter()
        .map(|child| {
            let ran = machine.ran(child.wait_with_output().unwrap());
            assert_eq!(ran.stderr, "");
            ran.code()
        })
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [[0; 7].as_slice(), &[3; 13]].concat());
}

#[test]
fn limits_are_960_a_minute_and_120_for_integration_keys_unless_told_otherwise() {
    let machine = Machine::with_users();
    let (id, key) = machine.make_key("ci", &[]);
    let token = make_token(&machine, "uma", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    let (_, event_key) = make_integration(&machine, &[]);
    for secret in [&key, &token, &app_token] {
        assert_eq!(limit_of(&machine, secret), json!({ "limit": 960, "remaining": 959, "reset": 60 }));
    }
    let event = ask_event(&machine, &event_key, "events-v2").json();
    assert_eq!(event["rate_limit"], json!({ "limit": 120, "remaining": 119, "reset": 60 }));

    for (setting, limit) in [("5/min", json!(5)), ("none", Value::Null), ("default", json!(960))] {
        machine.run(["edit", &id, "--rate-limit", setting]).must_succeed();
        machine.run(["user", "edit", "uma", "--rate-limit", setting]).must_succeed();
        machine.run(["app", "edit", "bot", "--rate-limit", setting]).must_succeed();
        for secret in [&key, &token, &app_token] {
            assert_eq!(limit_of(&machine, secret)["limit"], limit, "{setting}");
        }
    }
    machine
        .run([
            "integration",
            "create",
            "--service",
            "web",
            "--type",
            "email",
            "--name",
            "m",
            "--rate-limit",
            "none",
        ])
        .must_succeed();
    for wrong in ["0/min", "5", "5/h", "-1/min", "many"] {
        machine.refuses(["edit", &id, "--rate-limit", wrong]).must_exit(2);
    }
}

#[test]
fn all_tokens_of_a_user_share_one_limit_and_so_do_all_of_an_app() {
    let machine = Machine::with_users();
    machine.run(["user", "edit", "uma", "--rate-limit", "2/min"]).must_succeed();
    let tokens = [(); 3].map(|()| make_token(&machine, "uma", &[]));
    let others = make_token(&machine, "adam", &[]);
    let reasons: Vec<_> = tokens.iter().map(|token| reason_for(&machine, token)).collect();
    assert_eq!(reasons, ["allowed", "allowed", "rate-limited"]);
    assert_eq!(reason_for(&machine, &others), "allowed");

    let first = make_app_token(&machine, "bot", &["incidents.read"]);
    let second = machine.run(["app", "token", "bot"]).must_succeed().line().to_owned();
    machine.run(["app", "edit", "bot", "--rate-limit", "1/min"]).must_succeed();
    assert_eq!([reason_for(&machine, &first), reason_for(&machine, &second)], ["allowed", "rate-limited"]);
}

#[test]
fn denied_checks_of_a_live_credential_count_and_others_do_not() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &["--read-only", "--rate-limit", "9/min"]);
    let left = || limit_of(&machine, &key)["remaining"].as_u64().unwrap();
    assert_eq!(left(), 8);
    assert_eq!(reason(&ask(&machine, &key, "POST", "/incidents")), "read-only");
    assert_eq!(reason(&ask(&machine, &key, "GET", "//")), "ambiguous-path");
    assert_eq!(reason(&ask(&machine, &key, "get", "/")), "ambiguous-request");
    assert_eq!(left(), 4, "each of them, whatever its verdict");
    assert_eq!(reason(&ask_event(&machine, &key, "events-v2")), "wrong-api");
    assert_eq!(reason_for(&machine, UNKNOWN), "unknown");
    machine.run(["disable", &id, "--yes"]).must_succeed();
    let verdict = ask(&machine, &key, "GET", "/incidents").json();
    assert_eq!((&verdict["reason"], &verdict["rate_limit"]), (&json!("disabled"), &Value::Null));
    machine.run(["enable", &id]).must_succeed();
    assert_eq!(left(), 3);
}

#[test]
fn the_last_use_appears_in_lists() {
    let machine = Machine::with_users();
    let (id, key) = machine.make_key("ci", &[]);
    let token = make_token(&machine, "uma", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    let (_, event_key) = make_integration(&machine, &[]);
    let last_used = || {
        let first = |arguments: &[&str]| -> Value {
            let listed = machine.run(arguments.iter().copied().chain(["-o", "json"])).must_succeed().json();
            listed[0]["last_used_at"].clone()
        };
        [
            first(&["list"]),
            first(&["token", "list", "--user", "uma"]),
            first(&["app", "list"]),
            first(&["integration", "list"]),
        ]
    };
    assert_eq!(last_used(), [(); 4].map(|()| Value::Null));
    for secret in [&key, &token, &app_token] {
        assert_eq!(reason_for(&machine, secret), "allowed");
    }
    assert_eq!(reason(&ask_event(&machine, &event_key, "events-v2")), "allowed");
    for moment in last_used() {
        let moment: jiff::Timestamp = moment.as_str().unwrap().parse().unwrap();
        let since = crate::session::now().duration_since(moment).as_secs();
        assert!((0..60).contains(&since), "{moment}");
    }
    assert_eq!(text_of(&machine.run(["show", &id, "-o", "json"]).json(), "id"), id);
}

#[test]
fn losing_the_usage_file_loses_counts_and_nothing_else() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &["--rate-limit", "1/min"]);
    assert_eq!(reason_for(&machine, &key), "allowed");
    assert_eq!(reason_for(&machine, &key), "rate-limited");
    for entry in fs::read_dir(machine.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("usage") {
            fs::remove_file(path).unwrap();
        }
    }
    let shown = machine.run(["show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!(shown["last_used_at"], Value::Null);
    assert_eq!(reason_for(&machine, &key), "allowed");
    machine.run(["audit", "verify"]).must_succeed();
}

/// Asserts that a check fails, and says nothing that could be taken for a yes.
#[track_caller]
fn fails(machine: &Machine, key: &str) {
    let ran = ask(machine, key, "GET", "/incidents").must_exit(1);
    assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{ran}");
}

#[test]
fn what_cannot_be_counted_is_a_failure_and_never_allowed() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let usage = machine.directory().join("pdkeys.usage.db");
    fs::write(&usage, "this is no database, and was not made by anybody who counts").unwrap();
    fails(&machine, &key);
    fs::remove_file(&usage).unwrap();
    fs::create_dir(&usage).unwrap();
    fails(&machine, &key);
    fs::remove_dir(&usage).unwrap();
    assert_eq!(reason_for(&machine, &key), "allowed");
    // A dry run counts nothing, and needs nothing of it.
    let arguments = ["verify", "--dry-run", "--method", "GET", "--path", "/incidents"];
    run_with_input(&machine, arguments, key.as_bytes()).must_exit(0);
}

#[test]
fn a_usage_file_that_cannot_be_written_is_a_failure() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    assert_eq!(reason_for(&machine, &key), "allowed");
    machine.give_to(SOMEBODY);
    let usage = machine.directory().join("pdkeys.usage.db");
    std::os::unix::fs::chown(&usage, Some(0), Some(0)).unwrap();
    crate::session::set_mode(&usage, 0o644);
    let mut command = machine.command_of(SOMEBODY, ["verify", "--method", "GET", "--path", "/incidents"]);
    let ran = machine.finish(command.env("PDKEYS_KEY", &key)).must_exit(1);
    assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{ran}");
}

#[test]
fn a_writer_who_holds_the_store_does_not_keep_checks_waiting() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let writer = machine.sql();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE general_key SET description = 'held'").unwrap();
    let before = crate::session::now();
    let ran = ask(&machine, &key, "GET", "/incidents");
    assert_eq!(reason(&ran), "allowed");
    assert_eq!(ran.json()["credential"]["description"], "ci", "what is not committed is not seen");
    assert!(crate::session::now().duration_since(before).as_secs() < 4, "it did not wait for the writer");
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn whoever_holds_the_usage_file_is_waited_for_and_then_it_is_a_failure() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    assert_eq!(reason_for(&machine, &key), "allowed");
    let holder = rusqlite::Connection::open(machine.directory().join("pdkeys.usage.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    fails(&machine, &key);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(reason_for(&machine, &key), "allowed");
}
