//! The audit trail: `audit list`, `verify`, `head`.

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::session::Machine;

/// A machine where `ann` and `adam` did something.
fn with_a_past() -> (Machine, String) {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    machine.run(["disable", &id, "--yes", "--as", "adam"]).must_succeed();
    machine.run(["remove", &id, "--yes", "--reason", "retired"]).must_succeed();
    (machine, id)
}

/// The numbers of the records that a list shows.
fn numbers(machine: &Machine, options: &[&str]) -> Vec<u64> {
    let ran = machine.run(["audit", "list", "-o", "json"].iter().chain(options).copied()).must_succeed();
    let number = |record: &serde_json::Value| record["id"].as_str().unwrap().parse().unwrap();
    ran.json().as_array().unwrap().iter().map(number).collect()
}

/// Does to the trail what its triggers would refuse.
fn tamper(machine: &Machine, sql: &str) -> Connection {
    let connection = machine.sql();
    connection
        .execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened;")
        .unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

#[test]
fn list_shows_who_did_what_newest_first() {
    let (machine, _) = with_a_past();
    assert_snapshot!(machine.run(["audit", "list"]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR        ACTION  TARGET                 CALLED  CHANGES
    10      [NOW]  ann          delete  general_key [K1]  ci      reason: retired, description: ci, hint: [HINT 1], access: full, disabled: true
    9       [NOW]  adam by ann  update  general_key [K1]  ci      disabled: false -> true
    8       [NOW]  ann          create  general_key [K1]  ci      description: ci, hint: [HINT 1], access: full, disabled: false
    7       [NOW]  ann          create  user [U1]         sam     name: sam, role: admin, os_uid: 61234
    6       [NOW]  ann          create  user [U2]         rita    name: rita, role: restricted_access
    5       [NOW]  ann          create  user [U3]         otto    name: otto, role: observer
    4       [NOW]  ann          create  user [U4]         uma     name: uma, role: user
    3       [NOW]  ann          create  user [U5]         adam    name: adam, role: admin
    2       [NOW]  ann          create  user [U6]         ann     name: ann, role: owner, os_uid: [UID]
    1       [NOW]  ann          create  account account        acme    name: acme, owner: ann, policy: pagerduty, rest_api: true, advanced_permissions: true
    --- stderr
    ");
}

#[test]
fn a_record_names_the_owner_who_acted_as_somebody_else() {
    let (machine, id) = with_a_past();
    assert_snapshot!(
        machine.run(["audit", "list", "--target", &id, "--action", "update", "-o", "jsonl"]),
        @r#"
    exit: 0
    --- stdout
    {"id":"9","execution_time":"[NOW]","execution_context":{"request_id":"[REQUEST]","remote_address":null},"actors":[{"id":"[U1]","type":"user","summary":"adam"},{"id":"[U2]","type":"user","summary":"ann"}],"method":{"type":"os_user","truncated_token":null},"root_resource":{"id":"[K1]","type":"general_key","summary":"ci"},"action":"update","details":{"fields":[{"name":"disabled","before_value":"false","value":"true"}]}}
    --- stderr
    "#
    );
}

#[test]
fn list_filters_by_actor_action_target_type_and_number() {
    let (machine, id) = with_a_past();
    assert_eq!(numbers(&machine, &[]), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(&machine, &["--actor", "adam"]), [9]);
    assert_eq!(numbers(&machine, &["--action", "delete"]), [10]);
    assert_eq!(numbers(&machine, &["--target", &id.to_lowercase()]), [10, 9, 8]);
    assert_eq!(numbers(&machine, &["--type", "account"]), [1]);
    assert_eq!(numbers(&machine, &["--limit", "2"]), [10, 9]);
    // What the owner did as somebody else is the owner's too.
    assert_eq!(numbers(&machine, &["--actor", "ann", "--type", "general_key"]), [10, 9, 8]);
    assert_snapshot!(machine.run(["audit", "list", "--action", "disable"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'disable' for '--action <ACTION>': action: must be create, update or delete

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.run(["audit", "list", "--actor", "adan"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user adan not found
    hint: did you mean adam?
    ");
}

#[test]
fn list_finds_the_account_and_refuses_a_target_or_a_type_that_no_record_has() {
    let (machine, id) = with_a_past();
    assert_eq!(numbers(&machine, &["--target", "account"]), [1]);
    assert_eq!(numbers(&machine, &["--target", "Account"]), [1]);
    assert_eq!(numbers(&machine, &["--target", &id.to_lowercase(), "--type", "general_key"]), [10, 9, 8]);
    for noun in ["user_token", "app", "service", "orchestration", "integration"] {
        assert_eq!(numbers(&machine, &["--type", noun]), [0; 0]);
    }
    assert_snapshot!(machine.run(["audit", "list", "--target", "adam"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: target: adam is neither an id nor the word account
    hint: list and show print the ids of things; audit list prints those of what is gone
    ");
    assert_snapshot!(machine.run(["audit", "list", "--type", "key"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'key' for '--type <TYPE>': type: must be one of account, general_key, user_token, app, user, service, orchestration, integration, app_token

    For more information, try '--help'.
    ");
}

#[test]
fn list_filters_by_time() {
    let (machine, _) = with_a_past();
    assert_eq!(numbers(&machine, &["--since", "1h"]).len(), 10);
    assert_eq!(numbers(&machine, &["--until", "1h"]).len(), 0);
    assert_eq!(numbers(&machine, &["--since", "2020-01-01", "--until", "2099-01-01T00:00:00Z"]).len(), 10);
    assert_snapshot!(machine.run(["audit", "list", "--since", "yesterday"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: since: must be a duration such as 90d or 12h, a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z
    hint: --help shows what is taken, with examples
    ");
}

#[test]
fn verify_finds_an_untouched_trail_intact() {
    let (machine, _) = with_a_past();
    assert_snapshot!(machine.run(["audit", "verify"]), @r"
    exit: 0
    --- stdout
    10:[CHAIN]
    --- stderr
    Verified 10 records, none altered
    ");
    let head = machine.run(["audit", "head"]).must_succeed();
    assert_snapshot!(head, @r"
    exit: 0
    --- stdout
    10:[CHAIN]
    --- stderr
    ");
    assert_eq!(machine.run(["audit", "verify", "--head", head.line()]).must_succeed().stdout, head.stdout);
}

#[test]
fn head_and_verify_print_a_record_if_a_format_is_asked_for() {
    let (machine, _) = with_a_past();
    let line = machine.run(["audit", "head"]).must_succeed().line().to_owned();
    let head = machine.run(["audit", "head", "-o", "json"]).must_succeed();
    assert_eq!(head.json(), serde_json::json!({ "number": 10, "head": line }));
    machine.run(["audit", "verify", "--head", head.json()["head"].as_str().unwrap()]).must_succeed();
    let verified = machine.run(["audit", "verify", "-o", "json"]).must_succeed();
    assert_eq!(
        verified.json(),
        serde_json::json!({
            "intact": true, "number": 10, "head": line, "broken_at": null,
            "state_matches": true, "differences": [], "difference_count": 0, "not_covered": 0,
        })
    );
    assert_eq!(
        machine.run(["audit", "verify", "-o", "csv"]).must_succeed().stdout.replace(&line, "HEAD"),
        "intact,number,head,broken_at,state_matches,differences,difference_count,not_covered\ntrue,10,HEAD,,true,,0,0\n"
    );
    drop(tamper(&machine, "UPDATE audit SET record = replace(record, 'adam', 'uma') WHERE number = 9"));
    assert_snapshot!(machine.run(["audit", "verify", "-o", "jsonl"]), @r#"
    exit: 3
    --- stdout
    {"intact":false,"number":null,"head":null,"broken_at":9,"state_matches":null,"differences":null,"difference_count":null,"not_covered":null}
    --- stderr
    warning: the audit trail is broken at record 9
    "#);
}

#[test]
fn verify_goes_through_a_head_that_was_kept_earlier() {
    let (machine, _) = with_a_past();
    let head = machine.run(["audit", "head"]).must_succeed();
    machine.run(["create", "later"]).must_succeed();
    machine.run(["audit", "verify", "--head", head.line()]).must_succeed();
}

#[test]
fn a_trail_whose_end_was_cut_off_is_seen_against_a_kept_head() {
    let (machine, _) = with_a_past();
    let head = machine.run(["audit", "head"]).must_succeed();
    drop(tamper(&machine, "DELETE FROM audit WHERE number = 10"));
    assert_snapshot!(machine.run(["audit", "verify", "--head", head.line()]), @r"
    exit: 3
    --- stdout
    --- stderr
    warning: the audit trail is broken at record 10
    ");
    // Without the head the trail is one that ends sooner; that the key is gone does not follow from it.
    let ran = machine.run(["audit", "verify"]).must_exit(3);
    assert!(ran.stderr.contains("is missing; by the trail it is there (record 9)"), "{ran}");
}

#[test]
fn a_trail_that_was_cut_off_and_went_on_is_seen_against_a_kept_head() {
    let (machine, _) = with_a_past();
    let head = machine.run(["audit", "head"]).must_succeed();
    drop(tamper(&machine, "DELETE FROM audit WHERE number = 10"));
    machine.run(["create", "instead"]).must_succeed();
    assert_snapshot!(machine.run(["audit", "verify", "--head", head.line()]), @r"
    exit: 3
    --- stdout
    --- stderr
    warning: the audit trail is broken at record 10
    ");
}

#[test]
fn an_altered_record_breaks_the_chain() {
    let (machine, _) = with_a_past();
    drop(tamper(&machine, "UPDATE audit SET record = replace(record, 'adam', 'uma') WHERE number = 9"));
    assert_snapshot!(machine.run(["audit", "verify"]), @r"
    exit: 3
    --- stdout
    --- stderr
    warning: the audit trail is broken at record 9
    ");
}

#[test]
fn a_record_left_out_breaks_the_chain() {
    let (machine, _) = with_a_past();
    drop(tamper(
        &machine,
        "DELETE FROM audit WHERE number = 5; UPDATE audit SET number = number - 1 WHERE number > 5",
    ));
    machine.run(["audit", "verify"]).must_exit(3);
}

#[test]
fn an_inserted_record_breaks_the_chain() {
    let (machine, _) = with_a_past();
    machine
        .sql()
        .execute_batch(
            "INSERT INTO audit (number, record, chain)
             SELECT number + 1, replace(record, '\"id\":\"10\"', '\"id\":\"11\"'), chain FROM audit WHERE number = 10",
        )
        .unwrap();
    machine.run(["audit", "verify"]).must_exit(3);
}

#[test]
fn an_emptied_trail_is_broken() {
    let (machine, _) = with_a_past();
    drop(tamper(&machine, "DELETE FROM audit"));
    assert_snapshot!(machine.run(["audit", "verify"]), @r"
    exit: 3
    --- stdout
    --- stderr
    warning: the audit trail is broken at record 1
    ");
}

#[test]
fn the_store_refuses_to_change_or_shorten_the_trail() {
    let (machine, _) = with_a_past();
    for sql in ["UPDATE audit SET record = '{}'", "DELETE FROM audit"] {
        let refused = machine.sql().execute(sql, []).unwrap_err().to_string();
        assert_eq!(refused, "the audit trail is append-only");
    }
}

#[test]
fn a_head_that_is_none_is_refused() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["audit", "verify", "--head", "42"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value '42' for '--head <HEAD>': head: must be what audit head printed, such as 42:9f86...

    For more information, try '--help'.
    ");
}
