//! What PagerDuty documents of user tokens and of Events API keys: one test a sentence, named after it. What the keys
//! are let through to is judged elsewhere, operation by operation.

use crate::checking::{ask, reason, reason_for};
use crate::session::{Machine, assert_orchestration_key, assert_service_key, assert_token, now, text_of};

// Of user tokens.

#[test]
fn a_user_token_exists_only_where_the_account_has_advanced_permissions() {
    let machine = Machine::with_users();
    let (_, before) = machine.make_token("uma", "laptop", &[]);
    machine.run(["account", "set", "--advanced-permissions", "off"]).must_succeed();
    for user in ["ann", "adam", "uma", "otto", "rita"] {
        machine.refuses(["token", "create", "x", "--as", user]).must_exit(1);
    }
    machine.unchanged(|| machine.run_with_token(&before, ["service", "create", "x"])).must_exit(4);
    machine.run(["account", "set", "--advanced-permissions", "on"]).must_succeed();
    machine.make_token("uma", "x", &[]);
    machine.run_with_token(&before, ["service", "create", "x"]).must_succeed();
}

#[test]
fn a_user_makes_user_tokens_for_himself_with_a_description() {
    let machine = Machine::with_users();
    let made = machine.run(["token", "create", "my laptop", "--as", "uma"]).must_succeed();
    assert_token(made.line());
    let listed = machine.run(["token", "list", "--as", "uma", "-o", "json"]).must_succeed().json();
    assert_eq!(
        (text_of(&listed[0], "user"), text_of(&listed[0], "description")),
        ("uma".into(), "my laptop".into())
    );
    machine.refuses(["token", "create", "--as", "uma"]).must_exit(2);
    for (user, other) in [("ann", "uma"), ("adam", "uma"), ("uma", "otto")] {
        machine.refuses(["token", "create", "x", "--user", other, "--as", user]).must_exit(4);
    }
}

#[test]
fn a_user_token_is_displayed_once() {
    let machine = Machine::with_users();
    let (id, secret) = machine.make_token("uma", "laptop", &[]);
    for format in ["table", "json", "jsonl", "csv"] {
        for command in [&["token", "list"][..], &["token", "show", &id], &["token", "list", "--user", "uma"]]
        {
            let shown =
                machine.run(command.iter().copied().chain(["--as", "uma", "-o", format])).must_succeed();
            assert!(!shown.stdout.contains(&secret) && shown.stdout.contains(&secret[16..]), "{shown}");
        }
    }
}

#[test]
fn what_is_done_with_a_user_token_is_restricted_to_the_users_own_permissions() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("otto", "laptop", &[]);
    machine.run_with_token(&secret, ["service", "list"]).must_succeed();
    for command in [&["service", "create", "x"][..], &["create", "x"], &["audit", "list"]] {
        machine.unchanged(|| machine.run_with_token(&secret, command.iter().copied())).must_exit(4);
    }
}

#[test]
fn what_a_user_token_asks_for_beyond_the_users_own_permissions_is_answered_with_403() {
    let machine = Machine::with_users();
    let cases = [
        ("otto", "GET", "/incidents", 200, "allowed"),
        ("otto", "POST", "/incidents", 403, "role"),
        ("uma", "POST", "/incidents", 200, "allowed"),
        ("uma", "POST", "/users", 403, "role"),
        ("rita", "GET", "/incidents", 403, "role"),
        ("adam", "POST", "/users", 200, "allowed"),
    ];
    for (user, method, path, status, why) in cases {
        let (_, secret) = machine.make_token(user, "laptop", &[]);
        let answer = ask(&machine, &secret, method, path);
        assert_eq!(reason(&answer), why, "{user}: {answer}");
        assert_eq!(answer.json()["status"], status, "{user}: {answer}");
    }
    // The permissions are those of today, not of the day on which the token was made.
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    machine.run(["user", "edit", "uma", "--role", "observer"]).must_succeed();
    assert_eq!(ask(&machine, &secret, "POST", "/incidents").json()["status"], 403);
}

#[test]
fn the_table_of_user_tokens_shows_when_made_when_last_used_and_the_api_version() {
    let machine = Machine::with_users();
    machine.make_token("uma", "laptop", &[]);
    let table = machine.run(["token", "list", "--as", "uma"]).must_succeed();
    for heading in ["CREATED", "LAST USED", "API"] {
        assert!(table.stdout.lines().next().unwrap().contains(heading), "{table}");
    }
    let listed = machine.run(["token", "list", "--as", "uma", "-o", "json"]).must_succeed().json();
    assert_eq!(listed[0]["api_version"], "v2");
    assert!(listed[0]["last_used_at"].is_null());
    text_of(&listed[0], "created_at").parse::<jiff::Timestamp>().unwrap();
}

#[test]
fn the_table_of_user_tokens_shows_a_token_as_used_once_it_was() {
    let machine = Machine::with_users();
    let (used, secret) = machine.make_token("uma", "laptop", &[]);
    let (unused, _) = machine.make_token("uma", "phone", &[]);
    let before = now();
    assert_eq!(reason_for(&machine, &secret), "allowed");
    let shown =
        |id: &str| machine.run(["token", "show", id, "--as", "uma", "-o", "json"]).must_succeed().json();
    let at: jiff::Timestamp = text_of(&shown(&used), "last_used_at").parse().unwrap();
    assert!((before.as_second()..=now().as_second()).contains(&at.as_second()), "{at}");
    assert!(shown(&unused)["last_used_at"].is_null());
    let table = machine.run(["token", "list", "--as", "uma"]).must_succeed();
    let line = |id: &str| table.stdout.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert_eq!(
        (line(&used).matches("never").count(), line(&unused).matches("never").count()),
        (1, 2),
        "{table}"
    );
}

#[test]
fn there_is_no_disabling_of_a_user_token() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_token("uma", "laptop", &[]);
    for command in [
        &["token", "disable", &id, "--yes"][..],
        &["token", "enable", &id],
        &["token", "edit", &id, "--status", "disabled"],
    ] {
        machine.refuses(command.iter().copied().chain(["--as", "uma"])).must_exit(2);
    }
    machine.refuses(["disable", &id, "--yes"]).must_exit(5);
}

#[test]
fn the_removal_of_a_user_token_is_confirmed_and_irreversible() {
    let machine = Machine::with_users();
    let (id, secret) = machine.make_token("uma", "laptop", &[]);
    machine.refuses(["token", "remove", &id, "--as", "uma"]).must_exit(6);
    machine.run(["token", "remove", &id, "--as", "uma", "--yes"]).must_succeed();
    machine.refuses(["token", "show", &id, "--as", "uma"]).must_exit(5);
    machine.refuses(["token", "rotate", &id, "--as", "uma", "--yes"]).must_exit(5);
    machine.run_with_token(&secret, ["whoami"]).must_exit(4);
}

#[test]
fn any_user_may_remove_his_own_user_token() {
    let machine = Machine::with_users();
    machine.run(["user", "add", "lisa", "--role", "limited_user"]).must_succeed();
    machine.run(["user", "add", "fay", "--role", "read_only_user"]).must_succeed();
    let everybody_with_tokens = ["ann", "adam", "uma", "lisa", "otto", "rita", "fay"];
    for user in everybody_with_tokens {
        let (id, _) = machine.make_token(user, "laptop", &[]);
        machine.run(["token", "remove", &id, "--yes", "--as", user]).must_succeed();
    }
    // Somebody whose role can make none any more can still remove one that is left.
    let (id, _) = machine.make_token("fay", "laptop", &[]);
    machine.run(["user", "edit", "fay", "--role", "read_only_limited_user"]).must_succeed();
    machine.run(["token", "remove", &id, "--yes", "--as", "fay"]).must_succeed();
}

#[test]
fn owner_and_admins_may_remove_the_user_token_of_another_who_is_neither_owner_nor_admin() {
    let machine = Machine::with_users();
    let token = |user| machine.make_token(user, "laptop", &[]).0;
    for user in ["uma", "otto", "rita"] {
        machine.run(["token", "remove", &token(user), "--yes"]).must_succeed();
        machine.run(["token", "remove", &token(user), "--yes", "--as", "adam"]).must_succeed();
    }
    machine.refuses(["token", "remove", &token("adam"), "--yes"]).must_exit(4);
    machine.refuses(["token", "remove", &token("adam"), "--yes", "--as", "sam"]).must_exit(4);
    machine.refuses(["token", "remove", &token("ann"), "--yes", "--as", "adam"]).must_exit(4);
    let (otto, uma) = (token("otto"), token("uma"));
    machine.refuses(["token", "remove", &otto, "--yes", "--as", "uma"]).must_exit(5);
    machine.refuses(["token", "remove", &uma, "--yes", "--as", "otto"]).must_exit(5);
}

#[test]
fn when_a_user_leaves_the_account_his_tokens_stop_working() {
    let machine = Machine::with_users();
    let (_, first) = machine.make_token("uma", "laptop", &[]);
    let (_, second) = machine.make_token("uma", "phone", &[]);
    let (_, other) = machine.make_token("otto", "laptop", &[]);
    machine.run(["user", "remove", "uma", "--yes"]).must_succeed();
    for secret in [&first, &second] {
        machine.run_with_token(secret, ["whoami"]).must_exit(4);
    }
    machine.run_with_token(&other, ["whoami"]).must_succeed();
    let listed = machine.run(["token", "list", "--all", "-o", "json"]).must_succeed().json();
    assert_eq!(
        (&listed[0]["status"], &listed[0]["disabled_reason"]),
        (&"disabled".into(), &"user-left".into())
    );
}

// Of Events API keys.

#[test]
fn a_manager_or_above_makes_an_integration_key_by_creating_a_service() {
    let machine = Machine::with_users();
    for user in ["ann", "adam", "uma"] {
        let made = machine.run(["service", "create", user, "--integration", "events-api-v2", "--as", user]);
        assert_service_key(made.must_succeed().line());
    }
    for user in ["otto", "rita"] {
        machine
            .refuses(["service", "create", user, "--integration", "events-api-v2", "--as", user])
            .must_exit(4);
    }
}

#[test]
fn a_manager_or_above_makes_an_integration_key_on_an_existing_service() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    let create =
        ["integration", "create", "--service", "web", "--type", "events-api-v2", "--name", "x", "--as"];
    for user in ["ann", "adam", "uma"] {
        assert_service_key(machine.run(create.into_iter().chain([user])).must_succeed().line());
    }
    for user in ["otto", "rita"] {
        machine.refuses(create.into_iter().chain([user])).must_exit(4);
    }
}

#[test]
fn a_manager_or_above_makes_an_integration_key_on_an_event_orchestration() {
    let machine = Machine::with_users();
    machine.run(["orchestration", "create", "router"]).must_succeed();
    let create = [
        "integration",
        "create",
        "--orchestration",
        "router",
        "--type",
        "events-api-v2",
        "--name",
        "x",
        "--as",
    ];
    for user in ["ann", "adam", "uma"] {
        assert_orchestration_key(machine.run(create.into_iter().chain([user])).must_succeed().line());
    }
    for user in ["otto", "rita"] {
        machine.refuses(create.into_iter().chain([user])).must_exit(4);
    }
}

#[test]
fn an_integration_key_is_always_listed_with_its_service() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    let (_, key) = machine.make_integration("service", "web", "alerts");
    for command in [&["service", "show", "web"][..], &["service", "list"], &["integration", "list"]] {
        for format in ["table", "json", "jsonl", "csv"] {
            let shown = machine.run(command.iter().copied().chain(["-o", format])).must_succeed();
            assert!(shown.stdout.contains(&key), "{shown}");
        }
    }
}

#[test]
fn a_moved_integration_keeps_its_key() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["service", "create", "mail"]).must_succeed();
    let (id, key) = machine.make_integration("service", "web", "alerts");
    machine.run(["integration", "move", &id, "--service", "mail"]).must_succeed();
    let shown = machine.run(["integration", "show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!((text_of(&shown, "key"), text_of(&shown["service"], "name")), (key, "mail".to_owned()));
}

#[test]
fn a_services_integration_is_deleted_irreversibly() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    let (id, key) = machine.make_integration("service", "web", "alerts");
    machine.refuses(["integration", "remove", &id]).must_exit(6);
    machine.run(["integration", "remove", &id, "--yes"]).must_succeed();
    machine.refuses(["integration", "show", &id]).must_exit(5);
    machine.refuses(["integration", "move", &id, "--service", "web"]).must_exit(5);
    assert!(!machine.run(["service", "list", "-o", "json"]).must_succeed().stdout.contains(&key));
}

#[test]
fn an_orchestrations_integration_is_moved_to_another_orchestration_and_never_to_a_service() {
    let machine = Machine::with_store();
    for (noun, name) in [("orchestration", "router"), ("orchestration", "other"), ("service", "web")] {
        machine.run([noun, "create", name]).must_succeed();
    }
    let (id, key) = machine.make_integration("orchestration", "router", "alerts");
    machine.refuses(["integration", "move", &id, "--service", "web"]).must_exit(1);
    machine.run(["integration", "move", &id, "--orchestration", "other"]).must_succeed();
    let shown = machine.run(["integration", "show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!((text_of(&shown, "key"), text_of(&shown["orchestration"], "name")), (key, "other".to_owned()));
}

#[test]
fn an_integration_has_one_of_the_documented_types() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    let types = [
        "events_api_v2_inbound_integration",
        "generic_events_api_inbound_integration",
        "generic_email_inbound_integration",
        "event_transformer_api_inbound_integration",
        "aws_cloudwatch_inbound_integration",
        "cloudkick_inbound_integration",
        "keynote_inbound_integration",
        "nagios_inbound_integration",
        "pingdom_inbound_integration",
        "sql_monitor_inbound_integration",
    ];
    let create = ["integration", "create", "--service", "web", "--name", "x", "--type"];
    for kind in types {
        machine.run(create.into_iter().chain([kind])).must_succeed();
    }
    machine.refuses(create.into_iter().chain(["other_inbound_integration"])).must_exit(2);
    let listed = machine.run(["integration", "list", "-o", "json"]).must_succeed().json();
    let shown: Vec<_> = listed.as_array().unwrap().iter().map(|one| text_of(one, "type")).collect();
    assert_eq!(shown, types);
}
