//! General keys: `create`, `list`, `show`, `edit`, `disable`, `enable`, `rotate`, `remove`.

use std::fs;

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::session::{Machine, assert_secret, mode_of};

/// A machine with three keys, made in this order: `deploy`, `backup` (read-only), `alerts` (with a scope).
fn with_three_keys() -> (Machine, [String; 3]) {
    let machine = Machine::with_store();
    let (deploy, _) = machine.make_key("deploy", &["--expires", "2099-06-01"]);
    let (backup, _) = machine.make_key("backup", &["--read-only", "--expires", "2098-06-01"]);
    let (alerts, _) = machine.make_key("alerts", &["--scope", "incidents.read"]);
    (machine, [deploy, backup, alerts])
}

#[test]
fn create_prints_the_secret_alone_on_standard_output() {
    let machine = Machine::with_store();
    let made = machine.run(["create", "nightly deploy"]);
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Created key [K1] (nightly deploy, ...[HINT 1]); its secret is shown only this once
    ");
    assert_secret(made.line());
    assert_eq!(made.stdout.len(), 21, "20 characters and a line end");
}

#[test]
fn create_in_a_script_gives_the_secret_to_a_variable() {
    let machine = Machine::with_store();
    let ran = machine.run_shell(r#"K=$("$pdkeys" create ci) && printf 'length %s\n' "${#K}""#);
    assert_eq!((ran.code(), ran.stdout.as_str()), (0, "length 20\n"));
}

#[test]
fn create_as_json_gives_the_secret_with_its_record() {
    let machine = Machine::with_store();
    assert_snapshot!(
        machine.run([
            "create", "reporting", "--scope", "incidents.read", "--scope", "services.read", "--expires", "90d",
            "--rate-limit", "100/min", "-o", "json",
        ]),
        @r#"
    exit: 0
    --- stdout
    {"id":"[K1]","secret":"[SECRET 1]","kind":"general","description":"reporting","hint":"[HINT 1]","access":"scopes","scopes":["incidents.read","services.read"],"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"[NOW + 2160h]","rate_limit":"100/min","overlap_ends_at":null}
    --- stderr
    Created key [K1] (reporting, ...[HINT 1]); it ends at [NOW + 2160h]; its secret is shown only this once
    "#
    );
}

#[test]
fn create_takes_blanks_around_a_description_off() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["create", "  ci  ", "--expires", "never", "--rate-limit", "none"]), @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Created key [K1] (ci, ...[HINT 1]); its secret is shown only this once
    ");
}

#[test]
fn create_refuses_to_be_read_only_and_limited_to_scopes_at_once() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["create", "x", "--read-only", "--scope", "incidents.read"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the argument '--read-only' cannot be used with '--scope <SCOPE>'

    Usage: pdkeys create --read-only <DESCRIPTION>

    For more information, try '--help'.
    ");
}

#[test]
fn create_refuses_what_is_no_scope_and_no_rate_limit() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["create", "x", "--scope", "incidents"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'incidents' for '--scope <SCOPE>': scope: must look like incidents.read, services.write or users:sessions.read

    For more information, try '--help'.

    hint: pdkeys explain METHOD PATH shows which scopes a request needs
    ");
    assert_snapshot!(machine.refuses(["create", "x", "--rate-limit", "lots"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'lots' for '--rate-limit <LIMIT>': rate limit: must look like 100/min, or be none

    For more information, try '--help'.
    ");
}

#[test]
fn create_without_a_description_and_without_a_terminal_is_a_usage_error() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["create"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: description is missing
    hint: without a terminal nothing is asked; --help shows what to give
    ");
}

#[test]
fn no_key_can_be_made_while_rest_keys_are_switched_off() {
    let machine = Machine::with_store();
    machine.run(["account", "set", "--rest-api", "off"]).must_succeed();
    assert_snapshot!(machine.refuses(["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: REST keys are switched off in this account
    hint: the Account Owner can switch them on: pdkeys account set --rest-api on
    ");
}

#[test]
fn write_to_makes_a_file_that_its_owner_alone_can_read() {
    let machine = Machine::with_store();
    let made = machine.run(["create", "ci", "--write-to", "key.txt"]);
    assert_eq!(mode_of(&machine.file("key.txt")), 0o600);
    let secret = fs::read_to_string(machine.file("key.txt")).unwrap();
    assert_secret(secret.strip_suffix('\n').unwrap());
    machine.redact(&secret);
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    --- stderr
    Created key [K1] (ci, ...[HINT 1]); its secret is in key.txt
    ");
}

#[test]
fn list_shows_every_key_in_the_order_of_its_making() {
    let (machine, [_, backup, _]) = with_three_keys();
    machine.run(["disable", &backup, "--yes", "--reason", "key-compromise"]).must_succeed();
    assert_snapshot!(machine.run(["list"]), @r"
    exit: 0
    --- stdout
    ID         DESCRIPTION  HINT     ACCESS          CREATED               API  STATUS                                                LAST USED  EXPIRES
    [K1]  deploy       ...[HINT 1]  full            [NOW]  v2   active                                                never      2099-06-01T00:00:00Z
    [K2]  backup       ...[HINT 2]  read-only       [NOW]  v2   disabled by ann [NOW]: key-compromise  never      2098-06-01T00:00:00Z
    [K3]  alerts       ...[HINT 3]  incidents.read  [NOW]  v2   active                                                never      never
    --- stderr
    ");
}

#[test]
fn list_prints_json_json_lines_and_csv() {
    let (machine, _) = with_three_keys();
    assert_snapshot!(machine.run(["list", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[K1]","kind":"general","description":"deploy","hint":"[HINT 1]","access":"full","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2099-06-01T00:00:00.000Z","rate_limit":null,"overlap_ends_at":null},
      {"id":"[K2]","kind":"general","description":"backup","hint":"[HINT 2]","access":"read-only","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2098-06-01T00:00:00.000Z","rate_limit":null,"overlap_ends_at":null},
      {"id":"[K3]","kind":"general","description":"alerts","hint":"[HINT 3]","access":"scopes","scopes":["incidents.read"],"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"rate_limit":null,"overlap_ends_at":null}
    ]
    --- stderr
    "#);
    assert_snapshot!(machine.run(["list", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[K1]","kind":"general","description":"deploy","hint":"[HINT 1]","access":"full","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2099-06-01T00:00:00.000Z","rate_limit":null,"overlap_ends_at":null}
    {"id":"[K2]","kind":"general","description":"backup","hint":"[HINT 2]","access":"read-only","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2098-06-01T00:00:00.000Z","rate_limit":null,"overlap_ends_at":null}
    {"id":"[K3]","kind":"general","description":"alerts","hint":"[HINT 3]","access":"scopes","scopes":["incidents.read"],"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"rate_limit":null,"overlap_ends_at":null}
    --- stderr
    "#);
    assert_snapshot!(machine.run(["list", "-o", "csv"]), @r"
    exit: 0
    --- stdout
    id,kind,description,hint,access,scopes,created_at,created_by,api_version,status,disabled_at,disabled_by,disabled_reason,last_used_at,expires_at,rate_limit,overlap_ends_at
    [K1],general,deploy,[HINT 1],full,,[NOW],ann,v2,active,,,,,2099-06-01T00:00:00.000Z,,
    [K2],general,backup,[HINT 2],read-only,,[NOW],ann,v2,active,,,,,2098-06-01T00:00:00.000Z,,
    [K3],general,alerts,[HINT 3],scopes,incidents.read,[NOW],ann,v2,active,,,,,,,
    --- stderr
    ");
}

#[test]
fn a_list_of_nothing_is_empty_in_every_format() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["list"]), @r"
    exit: 0
    --- stdout
    ID  DESCRIPTION  HINT  ACCESS  CREATED  API  STATUS  LAST USED  EXPIRES
    --- stderr
    ");
    assert_snapshot!(machine.run(["list", "-o", "json"]), @r"
    exit: 0
    --- stdout
    []
    --- stderr
    ");
    assert_snapshot!(machine.run(["list", "-o", "jsonl"]), @r"
    exit: 0
    --- stdout
    --- stderr
    ");
    assert_snapshot!(machine.run(["list", "-o", "csv"]), @r"
    exit: 0
    --- stdout
    id,kind,description,hint,access,scopes,created_at,created_by,api_version,status,disabled_at,disabled_by,disabled_reason,last_used_at,expires_at,rate_limit,overlap_ends_at
    --- stderr
    ");
}

/// The descriptions that a list shows, in its order.
fn listed(machine: &Machine, options: &[&str]) -> String {
    let ran = machine.run(["list", "-o", "json"].iter().chain(options).copied()).must_succeed();
    let keys = ran.json();
    let descriptions: Vec<_> =
        keys.as_array().unwrap().iter().map(|key| key["description"].as_str().unwrap()).collect();
    descriptions.join(" ")
}

#[test]
fn list_filters_by_status() {
    let (machine, [deploy, backup, _]) = with_three_keys();
    machine.run(["disable", &backup, "--yes"]).must_succeed();
    machine.sql().execute("UPDATE general_key SET expires_at = 1000 WHERE id = ?1", [&deploy]).unwrap();
    assert_eq!(listed(&machine, &["--status", "active"]), "alerts");
    assert_eq!(listed(&machine, &["--status", "disabled"]), "backup");
    assert_eq!(listed(&machine, &["--status", "expired"]), "deploy");
    assert_snapshot!(machine.run(["list", "--status", "gone"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'gone' for '--status <STATUS>': status: must be active, disabled or expired

    For more information, try '--help'.
    ");
}

#[test]
fn list_filters_by_access() {
    let (machine, _) = with_three_keys();
    assert_eq!(listed(&machine, &["--access", "full"]), "deploy");
    assert_eq!(listed(&machine, &["--access", "read-only"]), "backup");
    assert_eq!(listed(&machine, &["--access", "scopes"]), "alerts");
    assert_snapshot!(machine.run(["list", "--access", "all"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'all' for '--access <ACCESS>': access: must be full, read-only, scopes or role

    For more information, try '--help'.
    ");
}

#[test]
fn list_filters_by_who_made_a_key() {
    let (machine, _) = with_three_keys();
    machine.run(["user", "add", "adam", "--role", "admin"]).must_succeed();
    machine.run(["create", "adams", "--as", "adam"]).must_succeed();
    assert_eq!(listed(&machine, &["--created-by", "adam"]), "adams");
    assert_eq!(listed(&machine, &["--created-by", "ann"]), "deploy backup alerts");
    assert_snapshot!(machine.run(["list", "--created-by", "adan"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user adan not found
    hint: did you mean adam?
    ");
}

#[test]
fn list_filters_by_text_in_any_case() {
    let (machine, _) = with_three_keys();
    assert_eq!(listed(&machine, &["--text", "ALER"]), "alerts");
    assert_eq!(listed(&machine, &["--text", "a", "--access", "read-only"]), "backup");
    assert_eq!(listed(&machine, &["--text", "%"]), "");
}

#[test]
fn list_filters_by_how_long_a_key_was_not_used() {
    let (machine, [deploy, backup, alerts]) = with_three_keys();
    let day = 24 * 60 * 60 * 1000;
    let now = crate::session::now().as_millisecond();
    machine.sql().execute("UPDATE general_key SET created_at = ?1", [now - 100 * day]).unwrap();
    let usage = Connection::open(machine.file("pdkeys/pdkeys.usage.db")).unwrap();
    usage.execute_batch(include_str!("../../src/store/sqlite/usage.sql")).unwrap();
    for (id, days) in [(&deploy, 2), (&backup, 40)] {
        usage.execute("INSERT INTO last_used VALUES (?1, ?2, 0, 0, 0)", (id, now - days * day)).unwrap();
    }
    assert_eq!(listed(&machine, &["--unused-for", "30d"]), "backup alerts");
    assert_eq!(listed(&machine, &["--unused-for", "90d"]), "alerts", "of one never used, the making counts");
    assert_eq!(listed(&machine, &["--unused-for", "1d"]), "deploy backup alerts");
    assert_eq!(listed(&machine, &["--sort", "last-used"]), "alerts backup deploy");
    assert_eq!(listed(&machine, &["--sort", "last-used", "--reverse"]), "deploy backup alerts");
    let used = machine.run(["show", &deploy, "-o", "json"]).must_succeed().json();
    assert!(used["last_used_at"].is_string(), "{used}");
    let never = machine.run(["show", &alerts, "-o", "json"]).must_succeed().json();
    assert!(never["last_used_at"].is_null(), "{never}");
    assert_snapshot!(machine.run(["list", "--unused-for", "long"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: unused for: must be a duration such as 90d or 24h
    hint: --help shows what is taken, with examples
    ");
}

#[test]
fn list_sorts_both_ways_and_stops_at_a_limit() {
    let (machine, _) = with_three_keys();
    assert_eq!(listed(&machine, &["--sort", "created"]), "deploy backup alerts");
    assert_eq!(listed(&machine, &["--sort", "created", "--reverse"]), "alerts backup deploy");
    assert_eq!(listed(&machine, &["--sort", "description"]), "alerts backup deploy");
    assert_eq!(listed(&machine, &["--sort", "expires"]), "backup deploy alerts");
    assert_eq!(listed(&machine, &["--sort", "expires", "--reverse"]), "alerts deploy backup");
    assert_eq!(listed(&machine, &["--limit", "2"]), "deploy backup");
    assert_eq!(listed(&machine, &["--limit", "0"]), "");
    assert_eq!(listed(&machine, &["--limit", "1", "--sort", "description", "--reverse"]), "deploy");
}

#[test]
fn show_prints_one_key_whole() {
    let (machine, [deploy, backup, alerts]) = with_three_keys();
    machine.run(["disable", &backup, "--yes", "--reason", "lost laptop"]).must_succeed();
    assert_snapshot!(machine.run(["show", &deploy]), @r"
    exit: 0
    --- stdout
    id               [K1]
    kind             general
    description      deploy
    hint             [HINT 1]
    access           full
    created at       [NOW]
    created by       ann
    api version      v2
    status           active
    expires at       2099-06-01T00:00:00.000Z
    --- stderr
    ");
    assert_snapshot!(machine.run(["show", &backup.to_lowercase(), "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "id": "[K2]",
      "kind": "general",
      "description": "backup",
      "hint": "[HINT 2]",
      "access": "read-only",
      "scopes": null,
      "created_at": "[NOW]",
      "created_by": "ann",
      "api_version": "v2",
      "status": "disabled",
      "disabled_at": "[NOW]",
      "disabled_by": "ann",
      "disabled_reason": "lost laptop",
      "last_used_at": null,
      "expires_at": "2098-06-01T00:00:00.000Z",
      "rate_limit": null,
      "overlap_ends_at": null
    }
    --- stderr
    "#);
    assert_snapshot!(machine.run(["show", &alerts, "-o", "csv"]), @r"
    exit: 0
    --- stdout
    id,kind,description,hint,access,scopes,created_at,created_by,api_version,status,disabled_at,disabled_by,disabled_reason,last_used_at,expires_at,rate_limit,overlap_ends_at
    [K3],general,alerts,[HINT 3],scopes,incidents.read,[NOW],ann,v2,active,,,,,,,
    --- stderr
    ");
}

#[test]
fn edit_changes_description_expiry_and_rate_limit() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(
        machine.run(["edit", &deploy, "--description", "deploys", "--expires", "90d", "--rate-limit", "5/min"]),
        @r"
    exit: 0
    --- stdout
    --- stderr
    Changed key [K1] (deploys, ...[HINT 1]); it ends at [NOW + 2160h]
    "
    );
    assert_snapshot!(
        machine.run(["edit", &deploy, "--expires", "never", "--rate-limit", "default", "-o", "jsonl"]),
        @r#"
    exit: 0
    --- stdout
    {"id":"[K1]","kind":"general","description":"deploys","hint":"[HINT 1]","access":"full","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"rate_limit":null,"overlap_ends_at":null}
    --- stderr
    Changed key [K1] (deploys, ...[HINT 1])
    "#
    );
    assert_snapshot!(machine.run(["audit", "list", "--target", &deploy]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET                 CALLED   CHANGES
    7       [NOW]  ann    update  general_key [K1]  deploys  expires_at: [NOW + 2160h] -> none, rate_limit: 5/min -> none
    6       [NOW]  ann    update  general_key [K1]  deploys  description: deploy -> deploys, expires_at: 2099-06-01T00:00:00.000Z -> [NOW + 2160h], rate_limit: 5/min
    3       [NOW]  ann    create  general_key [K1]  deploy   description: deploy, hint: [HINT 1], access: full, disabled: false, expires_at: 2099-06-01T00:00:00.000Z
    --- stderr
    ");
}

#[test]
fn edit_narrows_access_and_never_widens_it() {
    let (machine, [deploy, backup, alerts]) = with_three_keys();
    assert_snapshot!(machine.refuses(["edit", &backup, "--scope", "incidents.read"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: access can be narrowed, never widened: from read-only to scopes
    hint: make another that may do more: pdkeys create, or pdkeys token create
    ");
    assert_snapshot!(
        machine.refuses(["edit", &alerts, "--scope", "incidents.read", "--scope", "services.read"]),
        @r"
    exit: 1
    --- stdout
    --- stderr
    error: access can be narrowed, never widened: it would gain services.read
    hint: make another that may do more: pdkeys create, or pdkeys token create
    "
    );
    assert_snapshot!(machine.refuses(["edit", &alerts, "--read-only"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: access can be narrowed, never widened: from scopes to read-only
    hint: make another that may do more: pdkeys create, or pdkeys token create
    ");
    machine.run(["edit", &deploy, "--read-only"]).must_succeed();
    assert_eq!(listed(&machine, &["--access", "read-only"]), "deploy backup");
}

#[test]
fn edit_without_a_change_is_a_usage_error() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.refuses(["edit", &deploy]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <--description <DESCRIPTION>|--read-only|--scope <SCOPE>|--expires <WHEN>|--rate-limit <LIMIT>>

    Usage: pdkeys edit <--description <DESCRIPTION>|--read-only|--scope <SCOPE>|--expires <WHEN>|--rate-limit <LIMIT>> <ID>

    For more information, try '--help'.
    ");
}

#[test]
fn an_edit_to_what_is_already_so_writes_no_audit_record() {
    let (machine, [deploy, ..]) = with_three_keys();
    machine.unchanged(|| machine.run(["edit", &deploy, "--description", "deploy"]).must_succeed());
}

#[test]
fn disable_and_enable_say_what_they_did() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.run(["disable", &deploy, "--yes", "--reason", "key-compromise"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Disabled key [K1] (deploy, ...[HINT 1])
    ");
    assert_snapshot!(machine.run(["enable", &deploy]), @r"
    exit: 0
    --- stdout
    --- stderr
    Enabled key [K1] (deploy, ...[HINT 1])
    ");
    assert_snapshot!(machine.run(["show", &deploy]), @r"
    exit: 0
    --- stdout
    id               [K1]
    kind             general
    description      deploy
    hint             [HINT 1]
    access           full
    created at       [NOW]
    created by       ann
    api version      v2
    status           active
    expires at       2099-06-01T00:00:00.000Z
    --- stderr
    ");
    assert_snapshot!(machine.run(["audit", "list", "--target", &deploy]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET                 CALLED  CHANGES
    7       [NOW]  ann    update  general_key [K1]  deploy  disabled: true -> false, disabled_reason: key-compromise -> none
    6       [NOW]  ann    update  general_key [K1]  deploy  disabled: false -> true, disabled_reason: key-compromise
    3       [NOW]  ann    create  general_key [K1]  deploy  description: deploy, hint: [HINT 1], access: full, disabled: false, expires_at: 2099-06-01T00:00:00.000Z
    --- stderr
    ");
}

#[test]
fn disabling_what_is_disabled_succeeds_and_writes_no_audit_record() {
    let (machine, [deploy, ..]) = with_three_keys();
    machine.run(["disable", &deploy, "--yes"]).must_succeed();
    let again = machine.unchanged(|| machine.run(["disable", &deploy, "--yes", "--reason", "twice"]));
    assert_snapshot!(again, @r"
    exit: 0
    --- stdout
    --- stderr
    Unchanged key [K1] (deploy, ...[HINT 1]) was disabled already
    ");
}

#[test]
fn enabling_what_is_enabled_succeeds_and_writes_no_audit_record() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.unchanged(|| machine.run(["enable", &deploy])), @r"
    exit: 0
    --- stdout
    --- stderr
    Unchanged key [K1] (deploy, ...[HINT 1]) was enabled already
    ");
}

#[test]
fn several_keys_are_disabled_enabled_and_removed_at_once() {
    let (machine, [deploy, backup, alerts]) = with_three_keys();
    assert_snapshot!(machine.run(["disable", &deploy, &backup, &deploy, "--yes"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Disabled key [K1] (deploy, ...[HINT 1])
    Disabled key [K2] (backup, ...[HINT 2])
    ");
    assert_snapshot!(machine.run(["enable", &deploy, &backup, &alerts]), @r"
    exit: 0
    --- stdout
    --- stderr
    Unchanged key [K3] (alerts, ...[HINT 3]) was enabled already
    Enabled key [K1] (deploy, ...[HINT 1])
    Enabled key [K2] (backup, ...[HINT 2])
    ");
    assert_snapshot!(machine.run(["remove", &deploy, &alerts, "--yes", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[K1]","kind":"general","description":"deploy","hint":"[HINT 1]","access":"full","scopes":null,"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2099-06-01T00:00:00.000Z","rate_limit":null,"overlap_ends_at":null}
    {"id":"[K3]","kind":"general","description":"alerts","hint":"[HINT 3]","access":"scopes","scopes":["incidents.read"],"created_at":"[NOW]","created_by":"ann","api_version":"v2","status":"active","disabled_at":null,"disabled_by":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"rate_limit":null,"overlap_ends_at":null}
    --- stderr
    Removed key [K1] (deploy, ...[HINT 1])
    Removed key [K3] (alerts, ...[HINT 3])
    "#);
    assert_eq!(listed(&machine, &[]), "backup");
}

#[test]
fn of_several_ids_all_are_done_or_none() {
    let (machine, [deploy, backup, _]) = with_three_keys();
    for command in ["disable", "enable", "remove"] {
        machine.refuses([command, &deploy, "KZZZZZZZZ", &backup, "--yes"]).must_exit(5);
    }
    assert_snapshot!(machine.refuses(["disable", &deploy, "KZZZZZZZZ", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    hint: pdkeys list shows what there is
    ");
}

#[test]
fn rotate_without_an_overlap_stops_the_old_secret_at_once() {
    let (machine, [deploy, ..]) = with_three_keys();
    let rotated = machine.run(["rotate", &deploy, "--yes"]);
    assert_snapshot!(rotated, @r"
    exit: 0
    --- stdout
    [SECRET 4]
    --- stderr
    Rotated key [K1] (deploy, ...[HINT 4]); it ends at 2099-06-01T00:00:00Z; the one before stopped working
    ");
    assert_secret(rotated.line());
    assert_eq!(machine.count("tombstone"), 1);
    assert_eq!(machine.count("digest"), 3);
}

#[test]
fn rotate_with_an_overlap_asks_nothing_and_keeps_the_old_secret_for_a_while() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.run(["rotate", &deploy, "--overlap", "24h"]), @r"
    exit: 0
    --- stdout
    [SECRET 4]
    --- stderr
    Rotated key [K1] (deploy, ...[HINT 4]); it ends at 2099-06-01T00:00:00Z; the one before works until [NOW + 24h]
    ");
    assert_eq!((machine.count("digest"), machine.count("tombstone")), (4, 0));
    assert_snapshot!(machine.run(["show", &deploy]), @r"
    exit: 0
    --- stdout
    id               [K1]
    kind             general
    description      deploy
    hint             [HINT 4]
    access           full
    created at       [NOW]
    created by       ann
    api version      v2
    status           active
    expires at       2099-06-01T00:00:00.000Z
    overlap ends at  [NOW + 24h]
    --- stderr
    ");
    assert_snapshot!(machine.run(["audit", "list", "--target", &deploy, "--action", "update"]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET                 CALLED  CHANGES
    6       [NOW]  ann    update  general_key [K1]  deploy  hint: [HINT 1] -> [HINT 4], overlap_ends_at: [NOW + 24h]
    --- stderr
    ");
}

#[test]
fn a_second_rotation_ends_the_overlap_of_the_first() {
    let (machine, [deploy, ..]) = with_three_keys();
    machine.run(["rotate", &deploy, "--overlap", "24h"]).must_succeed();
    machine.run(["rotate", &deploy, "--overlap", "1h"]).must_succeed();
    assert_eq!((machine.count("digest"), machine.count("tombstone")), (4, 1));
}

#[test]
fn end_overlap_stops_the_old_secret_and_makes_no_new_one() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.refuses(["rotate", &deploy, "--end-overlap"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: key [K1] has no overlap to end
    hint: its present secret is the only one; pdkeys rotate [K1] replaces it
    ");
    machine.run(["rotate", &deploy, "--overlap", "24h"]).must_succeed();
    assert_snapshot!(machine.run(["rotate", &deploy, "--end-overlap"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Ended the overlap of key [K1] (deploy, ...[HINT 4])
    ");
    assert_eq!((machine.count("digest"), machine.count("tombstone")), (3, 1));
}

#[test]
fn a_disabled_key_cannot_be_rotated() {
    let (machine, [deploy, ..]) = with_three_keys();
    machine.run(["disable", &deploy, "--yes"]).must_succeed();
    assert_snapshot!(machine.refuses(["rotate", &deploy, "--overlap", "24h"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: key [K1] is disabled: it cannot be rotated
    hint: let it work again first: pdkeys enable [K1]
    ");
}

#[test]
fn an_overlap_that_is_no_length_of_time_is_refused() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.refuses(["rotate", &deploy, "--overlap", "soon"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: overlap: must be a duration such as 90d or 24h
    hint: --overlap 24h lets the present secret go on for a day; without it, it stops at once
    ");
    machine.refuses(["rotate", &deploy, "--overlap", "0s"]).must_exit(2);
}

#[test]
fn remove_deletes_the_key_and_the_audit_trail_remembers_it() {
    let (machine, [deploy, ..]) = with_three_keys();
    assert_snapshot!(machine.run(["remove", &deploy, "--yes", "--reason", "retired"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Removed key [K1] (deploy, ...[HINT 1])
    ");
    assert_snapshot!(machine.run(["show", &deploy]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    hint: pdkeys list shows what there is
    ");
    assert_snapshot!(machine.run(["audit", "list", "--target", &deploy, "--action", "delete"]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET                 CALLED  CHANGES
    6       [NOW]  ann    delete  general_key [K1]  deploy  reason: retired, description: deploy, hint: [HINT 1], access: full, expires_at: 2099-06-01T00:00:00.000Z
    --- stderr
    ");
    assert_eq!((machine.count("digest"), machine.count("tombstone")), (2, 1));
}
