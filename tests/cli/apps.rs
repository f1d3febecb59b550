//! `app`: registered apps and their one-day tokens.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::checking::{ask, make_app_token, reason, reason_for};
use crate::session::{Machine, Ran, text_of};

fn register<'m>(machine: &'m Machine, user: &str, name: &str, scopes: &[&str]) -> Ran<'m> {
    let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
    machine.run(["app", "register", name, "--as", user].into_iter().chain(scopes))
}

fn show(machine: &Machine, name: &str) -> Value {
    machine.run(["app", "show", name, "-o", "json"]).must_succeed().json()
}

#[test]
fn register_prints_the_client_secret_alone_and_says_the_client_id() {
    let machine = Machine::with_store();
    let ran = register(&machine, "ann", "bot", &["incidents.read", "incidents.write"]).must_succeed();
    let secret = ran.line().to_owned();
    assert!(secret.starts_with("pdcs_") && secret.len() == 48, "{secret:?}");
    assert!(secret[5..].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let app = show(&machine, "bot");
    let id = text_of(&app, "client_id");
    assert!(id.starts_with('A') && app["id"] == id);
    assert_eq!(text_of(&app, "client_secret_hint"), secret[44..]);
    assert!(ran.stderr.contains(&id) && ran.stderr.contains("only this once"), "{ran}");
    let members: Vec<_> = app.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        members.join(" "),
        "id name description scopes client_id client_secret_hint created_at created_by last_used_at rate_limit \
         overlap_ends_at tokens_revoked_at"
    );
    for ran in
        [machine.run(["app", "list"]), machine.run(["app", "show", "bot"]), machine.run(["audit", "list"])]
    {
        assert!(!ran.must_succeed().stdout.contains(&secret));
    }
    assert!(!machine.dump().contains(&secret));
}

#[test]
fn an_app_needs_a_scope_a_name_of_its_own_and_no_shape_of_an_id() {
    let machine = Machine::with_store();
    register(&machine, "ann", "bot", &["incidents.read"]).must_succeed();
    assert_snapshot!(machine.refuses(["app", "register", "bot", "--scope", "users.read"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: app bot ([A1]) has this name already
    hint: choose another; pdkeys app list shows which are taken
    ");
    machine.refuses(["app", "register", "other"]).must_exit(2);
    machine.refuses(["app", "register", "other", "--scope", "everything"]).must_exit(2);
    machine.refuses(["app", "register", "A7Q2M4DX3", "--scope", "users.read"]).must_exit(2);
    machine.refuses(["app", "register", "a\u{1b}b", "--scope", "users.read"]).must_exit(2);
}

#[test]
fn list_shows_apps_in_every_format() {
    let machine = Machine::with_store();
    register(&machine, "ann", "bot", &["incidents.read"]).must_succeed();
    register(&machine, "ann", "pager", &["services.read", "services.write"]).must_succeed();
    let listed = machine.run(["app", "list", "-o", "json"]).must_succeed().json();
    assert_eq!([&listed[0]["name"], &listed[1]["name"]], ["bot", "pager"]);
    assert_eq!(listed[1]["scopes"], json!(["services.read", "services.write"]));
    assert_eq!(machine.run(["app", "list", "-o", "jsonl"]).stdout.lines().count(), 2);
    assert_eq!(machine.run(["app", "list", "-o", "csv"]).stdout.lines().count(), 3);
    let table = machine.run(["app", "list"]).must_succeed();
    assert!(table.stdout.starts_with("CLIENT ID  NAME   SCOPES"), "{table}");
}

#[test]
fn edit_changes_an_app_and_narrows_its_scopes_but_never_widens_them() {
    let machine = Machine::with_store();
    register(&machine, "ann", "bot", &["incidents.read", "incidents.write"]).must_succeed();
    machine
        .run([
            "app",
            "edit",
            "bot",
            "--name",
            "robot",
            "--description",
            "pages",
            "--scope",
            "incidents.read",
            "--rate-limit",
            "5/min",
        ])
        .must_succeed();
    let app = show(&machine, "robot");
    assert_eq!((&app["scopes"], &app["rate_limit"]), (&json!(["incidents.read"]), &json!("5/min")));
    assert_eq!(app["description"], "pages");
    assert_snapshot!(machine.refuses(["app", "edit", "robot", "--scope", "incidents.read", "--scope", "incidents.write"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: an app's scopes can be narrowed, never widened
    hint: pdkeys app register makes another that may do more
    ");
    machine.refuses(["app", "edit", "robot"]).must_exit(2);
    machine.refuses(["app", "edit", "bot", "--name", "x"]).must_exit(5);
    machine.refuses(["app", "edit", "robot", "--revoke-tokens"]).must_exit(6);
}

#[test]
fn a_token_is_bounded_by_what_was_asked_for_and_by_the_scopes_of_the_app_now() {
    let machine = Machine::with_store();
    let whole = make_app_token(&machine, "bot", &["incidents.read", "incidents.write"]);
    assert!(whole.starts_with("pdus+_0"), "{whole:.8}");
    let ran = machine.run(["app", "token", "bot", "--scope", "incidents.write"]).must_succeed();
    let part = ran.line().to_owned();
    let may =
        |token: &str, method: &str| reason(&ask(&machine, &format!("Bearer {token}"), method, "/incidents"));
    assert_eq!([may(&whole, "GET"), may(&whole, "POST")], ["allowed", "allowed"]);
    assert_eq!([may(&part, "GET"), may(&part, "POST")], ["scope", "allowed"]);
    assert_snapshot!(machine.refuses(["app", "token", "bot", "--scope", "users.read"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: app bot does not have users.read
    hint: leave that out; without --scope the token has all scopes of its app
    ");
    machine.run(["app", "edit", "bot", "--scope", "incidents.read"]).must_succeed();
    assert_eq!([may(&whole, "GET"), may(&whole, "POST")], ["allowed", "scope"]);
    assert_eq!([may(&part, "GET"), may(&part, "POST")], ["scope", "scope"]);
    let issued = machine.command(["app", "token", "bot", "-o", "json"]).output().unwrap();
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    assert_eq!((&issued["app"], &issued["scope"]), (&json!("bot"), &json!(["incidents.read"])));
    assert_eq!(may(issued["secret"].as_str().unwrap(), "GET"), "allowed");
}

#[test]
fn tokens_end_with_revoke_tokens_and_with_their_app_and_outlive_a_rotation() {
    let machine = Machine::with_store();
    let token = make_app_token(&machine, "bot", &["incidents.read"]);
    let before = text_of(&show(&machine, "bot"), "client_secret_hint");
    machine.refuses(["app", "rotate", "bot"]).must_exit(6);
    let secret = machine.run(["app", "rotate", "bot", "--yes"]).must_succeed().line().to_owned();
    assert!(secret.starts_with("pdcs_"));
    assert_ne!(text_of(&show(&machine, "bot"), "client_secret_hint"), before);
    assert_eq!(reason_for(&machine, &token), "allowed");

    machine.run(["app", "edit", "bot", "--revoke-tokens", "--yes"]).must_succeed();
    assert_eq!(reason_for(&machine, &token), "removed");
    assert!(show(&machine, "bot")["tokens_revoked_at"].is_string());
    let next = machine.run(["app", "token", "bot"]).must_succeed().line().to_owned();
    assert_eq!(reason_for(&machine, &next), "allowed");

    machine.refuses(["app", "remove", "bot"]).must_exit(6);
    machine.run(["app", "remove", "bot", "--yes"]).must_succeed();
    assert_eq!(reason_for(&machine, &next), "removed");
    machine.run(["app", "show", "bot"]).must_exit(5);
    machine.run(["app", "token", "bot"]).must_exit(5);
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn a_rotation_with_an_overlap_does_not_ask_and_its_overlap_can_be_ended() {
    let machine = Machine::with_store();
    register(&machine, "ann", "bot", &["incidents.read"]).must_succeed();
    machine.run(["app", "rotate", "bot", "--overlap", "24h"]).must_succeed();
    assert!(show(&machine, "bot")["overlap_ends_at"].is_string());
    machine.run(["app", "rotate", "bot", "--end-overlap"]).must_succeed();
    assert_eq!(show(&machine, "bot")["overlap_ends_at"], Value::Null);
    machine.refuses(["app", "rotate", "bot", "--end-overlap"]).must_exit(1);
}

#[test]
fn without_the_ability_no_token_is_issued() {
    let machine = Machine::with_store();
    register(&machine, "ann", "bot", &["incidents.read"]).must_succeed();
    machine.run(["account", "set", "--rest-api", "off"]).must_succeed();
    machine.refuses(["app", "token", "bot"]).must_exit(1);
}

/// Owner and admins all; a Manager those whose every scope the role holds; nobody else any.
#[test]
fn apps_belong_to_those_who_hold_all_their_scopes() {
    let machine = Machine::with_users();
    machine.run(["user", "add", "resi", "--role", "limited_user"]).must_succeed();
    register(&machine, "ann", "plain", &["incidents.write"]).must_succeed();
    register(&machine, "adam", "mighty", &["incidents.read", "users.write"]).must_succeed();
    let names = |user: &str| -> Vec<String> {
        let listed = machine.run(["app", "list", "-o", "json", "--as", user]).must_succeed().json();
        listed.as_array().unwrap().iter().map(|app| text_of(app, "name")).collect()
    };
    assert_eq!(names("adam"), ["plain", "mighty"]);
    assert_eq!(names("uma"), ["plain"]);
    register(&machine, "uma", "hers", &["services.write"]).must_succeed();
    for (commands, code) in [(["show", "token", "rotate", "remove"], 5)] {
        for command in commands {
            machine.refuses(["app", command, "mighty", "--as", "uma", "--yes"]).must_exit(code);
        }
    }
    machine.refuses(["app", "register", "greedy", "--scope", "users.write", "--as", "uma"]).must_exit(4);
    machine.run(["app", "token", "plain", "--as", "uma"]).must_succeed();
    machine.run(["app", "edit", "plain", "--description", "x", "--as", "uma"]).must_succeed();
    machine.run(["app", "remove", "hers", "--as", "uma", "--yes"]).must_succeed();
    for user in ["resi", "otto", "rita"] {
        machine.refuses(["app", "register", "x", "--scope", "abilities.read", "--as", user]).must_exit(4);
        for arguments in
            [&["list"][..], &["show", "plain"], &["token", "plain"], &["remove", "plain", "--yes"]]
        {
            let arguments = ["app"].into_iter().chain(arguments.iter().copied()).chain(["--as", user]);
            machine.refuses(arguments).must_exit(4);
        }
    }
}
