//! `export`: metadata for other tools, and never a secret.

use insta::assert_snapshot;

use crate::session::Machine;

#[test]
fn keys_users_services_and_changes_are_exported_as_csv_json_and_json_lines() {
    let machine = Machine::with_store();
    machine.make_key("ci", &["--read-only"]);
    machine.run(["user", "add", "gus", "--role", "observer"]).must_succeed();
    machine.run(["user", "remove", "gus", "--yes"]).must_succeed();
    machine.run(["service", "create", "web", "--integration", "events-api-v2"]).must_succeed();
    machine.run(["orchestration", "create", "router"]).must_succeed();
    assert_snapshot!(machine.run(["export", "keys"]), @r"
    exit: 0
    --- stdout
    id,kind,description,hint,access,scopes,created_at,created_by,api_version,status,disabled_at,disabled_by,disabled_reason,last_used_at,expires_at,rate_limit,overlap_ends_at
    [K1],general,ci,[HINT 1],read-only,,[NOW],ann,v2,active,,,,,,,
    --- stderr
    hint: left out: the keys themselves, and what is no general key; see pdkeys token list --all, pdkeys integration list and pdkeys app list; pdkeys backup copies everything
    ");
    // As many records as lists have, with those who have left, and services before orchestrations.
    for (what, records) in [("keys", 1), ("users", 2), ("services", 2), ("audit", 9)] {
        let json = machine.run(["export", what, "-o", "json"]).must_succeed().json();
        let lines = machine.run(["export", what, "-o", "jsonl"]).must_succeed();
        assert_eq!(
            (json.as_array().unwrap().len(), lines.stdout.lines().count()),
            (records, records),
            "{what}"
        );
        assert_eq!(
            machine.run(["export", what]).must_succeed().stdout.lines().count(),
            records + 1,
            "{what}"
        );
    }
    let services = machine.run(["export", "services", "-o", "json"]).json();
    assert_eq!([&services[0]["name"], &services[1]["name"]], ["web", "router"]);
    let names = |what: &str, list: &[&str]| {
        let exported = machine.run(["export", what, "-o", "json"]).json();
        assert_eq!(exported, machine.run(list.iter().copied().chain(["-o", "json"])).json(), "{what}");
    };
    names("keys", &["list"]);
    names("users", &["user", "list", "--all"]);
    names("audit", &["audit", "list"]);
}

#[test]
fn nothing_that_is_exported_holds_a_secret_or_a_digest() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    machine.run(["service", "create", "web"]).must_succeed();
    let (id, of_service) = machine.make_integration("service", "web", "events");
    let (_, of_orchestration) = {
        machine.run(["orchestration", "create", "router"]).must_succeed();
        machine.make_integration("orchestration", "router", "events")
    };
    let digests: Vec<String> = {
        let store = machine.sql();
        let mut digests = store.prepare("SELECT lower(hex(digest)) FROM digest").unwrap();
        digests.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for what in ["keys", "users", "services", "audit"] {
        for format in ["csv", "json", "jsonl"] {
            let exported = machine.run(["export", what, "-o", format]).must_succeed().stdout;
            for secret in [&key, &of_service, &of_orchestration].into_iter().chain(&digests) {
                assert!(!exported.to_lowercase().contains(&secret.to_lowercase()), "{what} {format}");
            }
            assert_eq!(exported.contains(&id), ["services", "audit"].contains(&what), "{what} {format}");
        }
    }
}

#[test]
fn owner_and_admins_export_and_nobody_else() {
    let machine = Machine::with_users();
    for what in ["keys", "users", "services", "audit"] {
        machine.run(["export", what, "--as", "adam"]).must_succeed();
        for user in ["uma", "otto", "rita"] {
            let ran = machine.refuses(["export", what, "-o", "jsonl", "--as", user]).must_exit(4);
            assert_eq!(ran.stdout, "");
        }
    }
    machine.refuses(["export", "secrets"]).must_exit(2);
    machine.refuses(["export"]).must_exit(2);
}
