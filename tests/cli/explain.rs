//! `explain`: what an operation needs, and who may.

use insta::assert_snapshot;

use crate::session::Machine;

#[test]
fn an_operation_is_explained_with_everybody_who_may() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["explain", "POST", "/incidents"]), @r"
    exit: 0
    --- stdout
    method             POST
    path               /incidents
    policy             pagerduty
    operation          createIncident
    template           /incidents
    needed             incidents.write
    access             full scopes
    roles              owner admin user limited_user
    --- stderr
    ");
    assert_snapshot!(machine.run(["explain", "GET", "/users/PABC?include=teams", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"method":"GET","path":"/users/PABC?include=teams","policy":"pagerduty","operation":"getUser","template":"/users/{id}","needed":["users.read"],"access":["full","read-only","scopes"],"roles":["owner","admin","user","limited_user","observer","read_only_user"],"roles_for_oneself":["restricted_access","read_only_limited_user"]}
    --- stderr
    "#);
    let head = machine.run(["explain", "HEAD", "/incidents", "-o", "json"]).must_succeed().json();
    assert_eq!(head["operation"], "listIncidents");
}

#[test]
fn an_unknown_operation_is_explained_as_one_for_those_who_may_everything() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["explain", "GET", "/nowhere", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"method":"GET","path":"/nowhere","policy":"pagerduty","operation":null,"template":null,"needed":[],"access":["full","read-only"],"roles":["owner","admin"],"roles_for_oneself":[]}
    --- stderr
    "#);
    // The template is there, the method is not, and it is not looked for elsewhere.
    let explained = machine.run(["explain", "DELETE", "/users/me", "-o", "json"]).must_succeed().json();
    assert_eq!(explained["operation"], serde_json::Value::Null);
}

#[test]
fn an_ambiguous_question_is_a_usage_error() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["explain", "GET", "/users/../incidents"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the path could be read in more than one way, and is never allowed
    hint: it must begin with / and have no empty segment, dots, backslashes or encoded slashes
    ");
    assert_snapshot!(machine.run(["explain", "get", "/users"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: no such method
    hint: it must be one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, in capitals
    ");
    for arguments in [&["explain"][..], &["explain", "GET"], &["explain", "GET", "/users", "--policy", "x"]] {
        machine.run(arguments.iter().copied()).must_exit(2);
    }
}

#[test]
fn it_goes_by_the_accounts_policy_unless_another_is_named() {
    let machine = Machine::with_store();
    machine.run(["account", "set", "--policy", "convention"]).must_succeed();
    assert_snapshot!(machine.run(["explain", "PATCH", "/orders/7", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"method":"PATCH","path":"/orders/7","policy":"convention","operation":null,"template":null,"needed":["orders.write"],"access":["full","scopes"],"roles":["owner","admin","user"],"roles_for_oneself":[]}
    --- stderr
    "#);
    let arguments = ["explain", "PATCH", "/orders/7", "--policy", "pagerduty", "-o", "json"];
    let explained = machine.run(arguments).must_succeed().json();
    assert_eq!(
        (&explained["policy"], &explained["roles"]),
        (&"pagerduty".into(), &serde_json::json!(["owner", "admin"]))
    );
}

#[test]
fn without_a_store_it_goes_by_the_policy_of_a_new_account_and_makes_none() {
    let machine = Machine::new();
    let explained = machine.run(["explain", "GET", "/incidents", "-o", "json"]).must_succeed().json();
    assert_eq!(explained["policy"], "pagerduty");
    assert!(!machine.directory().exists());
    // A store that was named and is not there is a mistake.
    machine.run(["explain", "GET", "/incidents", "--store", "elsewhere.db"]).must_exit(1);
}

#[test]
fn it_asks_neither_for_the_store_key_nor_for_an_acting_user() {
    let machine = Machine::with_store();
    std::fs::remove_file(machine.store_key()).unwrap();
    let machine = machine.with("PDKEYS_TOKEN", "nonsense");
    machine.run(["explain", "GET", "/incidents"]).must_succeed();
}
