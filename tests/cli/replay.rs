//! State that was changed behind the audit trail: `audit verify`, `doctor` and `restore` name it.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::earlier_store::machine_of_0_1;
use crate::session::{Machine, text_of};

/// A machine where everything was done that leaves a record.
fn with_everything() -> Machine {
    let machine = Machine::with_users();
    let run = |arguments: &[&str]| machine.run(arguments.iter().copied().chain(["--yes"])).must_succeed();
    run(&["account", "set", "--subdomain", "acme"]);
    run(&["user", "add", "gone", "--role", "user"]);
    run(&["user", "remove", "gone", "--reason", "retired"]);
    run(&["user", "edit", "otto", "--email", "otto@example.com"]);
    for (description, options) in [
        ("full", &[][..]),
        ("narrow", &["--scope", "incidents.read", "--expires", "90d", "--rate-limit", "10/min"]),
        ("other", &["--read-only"]),
    ] {
        machine.make_key(description, options);
    }
    let (disabled, _) = machine.make_key("disabled", &[]);
    run(&["disable", &disabled, "--reason", "key-compromise", "--as", "adam"]);
    let (enabled, _) = machine.make_key("enabled", &[]);
    run(&["disable", &enabled]);
    run(&["enable", &enabled]);
    let (revoked, secret) = machine.make_key("revoked", &[]);
    run(&["edit", &revoked, "--description", "revoked by its holder"]);
    fs::write(machine.file("found"), &secret).unwrap();
    run(&["revoke", "--key-file", "found"]);
    let (overlapped, _) = machine.make_key("overlapped", &[]);
    run(&["rotate", &overlapped, "--overlap", "90d"]);
    let (rotated, _) = machine.make_key("rotated", &[]);
    run(&["rotate", &rotated]);
    run(&["rotate", &rotated, "--overlap", "1d"]);
    run(&["rotate", &rotated, "--end-overlap"]);
    let (removed, _) = machine.make_key("removed", &[]);
    run(&["remove", &removed]);
    machine.make_token("uma", "umas", &["--scope", "incidents.read", "--expires", "90d"]);
    let (token, _) = machine.make_token("otto", "ottos", &[]);
    run(&["token", "rotate", &token, "--overlap", "1d", "--as", "otto"]);
    for name in ["web", "api", "old"] {
        run(&["service", "create", name]);
    }
    run(&["service", "edit", "web", "--name", "web shop"]);
    run(&["service", "remove", "old"]);
    run(&["orchestration", "create", "router"]);
    machine.make_integration("service", "web shop", "alerts");
    let (moved, _) = machine.make_integration("service", "web shop", "moved");
    run(&["integration", "move", &moved, "--service", "api"]);
    let (gone, _) = machine.make_integration("service", "api", "gone");
    run(&["integration", "remove", &gone]);
    for name in ["bot", "stopped", "retired"] {
        run(&["app", "register", name, "--scope", "incidents.read", "--scope", "services.read"]);
        run(&["app", "token", name]);
    }
    run(&["app", "token", "bot", "--scope", "incidents.read"]);
    run(&["app", "rotate", "bot", "--overlap", "1d"]);
    run(&["app", "edit", "stopped", "--scope", "incidents.read", "--revoke-tokens"]);
    run(&["app", "remove", "retired"]);
    import(&machine);
    let (_, adams) = machine.make_token("adam", "adams", &[]);
    run(&["account", "transfer", "adam"]);
    machine.run_with_token(&adams, ["account", "transfer", "ann", "--yes"]).must_succeed();
    run(&["user", "edit", "adam", "--name", "adamina"]);
    machine
}

/// Imports keys and users, and changes some of them afterwards.
fn import(machine: &Machine) {
    let keys = "kind,secret,description,access,owner,expires_at
general,Zq7Lw0Xc9Vb8Nm7Kj6Hg,imported,read-only,,2090-01-01
general,Aw3Es5Rd7Ft9Gy1Hu2Ji,imported and disabled,full,,
general,Pl0Ok9Ij8Uh7Yg6Tf5Rd,imported and rotated,full,,
general,Mn1Bv2Cx3Zl4Kj5Hg6Fd,imported and removed,full,,
user-token,u+Qa1Ws2Ed3Rf4Tg5Yh6,imported token,role,otto,
integration,0f1e2d3c4b5a69788796a5b4c3d2e1f0,imported integration,,web shop,
";
    fs::write(machine.file("keys.csv"), keys).unwrap();
    fs::write(machine.file("users.csv"), "name,email,role\nida,ida@example.com,observer\nivo,,user\n")
        .unwrap();
    machine.run(["import", "keys.csv", "--yes"]).must_succeed();
    machine.run(["user", "import", "users.csv", "--yes"]).must_succeed();
    let listed = machine.run(["list", "-o", "json"]).must_succeed().json();
    let id_of = |called: &str| {
        text_of(listed.as_array().unwrap().iter().find(|key| key["description"] == called).unwrap(), "id")
    };
    machine.run(["disable", &id_of("imported and disabled"), "--yes"]).must_succeed();
    machine.run(["rotate", &id_of("imported and rotated"), "--overlap", "1d", "--yes"]).must_succeed();
    machine.run(["remove", &id_of("imported and removed"), "--yes"]).must_succeed();
    machine.run(["user", "edit", "ivo", "--role", "observer"]).must_succeed();
}

/// What `audit verify` says, as JSON, and with which exit code.
fn verified(machine: &Machine) -> (i32, Value) {
    let ran = machine.run(["audit", "verify", "-o", "json"]);
    let digests = machine
        .sql()
        .prepare("SELECT hex(digest) FROM digest UNION SELECT hex(digest) FROM tombstone")
        .unwrap()
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    let said = format!("{}{}", ran.stdout, ran.stderr).to_uppercase();
    assert!(digests.iter().all(|digest| !said.contains(digest.as_str())), "a digest was printed: {ran}");
    (ran.code(), ran.json())
}

/// The differences, each as type, field and what the store holds.
fn differences(verified: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = verified["differences"].as_array().unwrap();
    all.iter().map(|one| (text(&one["type"]), text(&one["field"]), text(&one["state"]))).collect()
}

/// What the triggers refuse is no obstacle to who can write the file.
const WITHOUT_TRIGGERS: &str = "PRAGMA foreign_keys = OFF;
    DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened; DROP TRIGGER audit_is_not_replaced;
    DROP TRIGGER tombstone_is_not_changed; DROP TRIGGER tombstone_is_not_removed;
    DROP TRIGGER tombstone_is_not_replaced; DROP TRIGGER imported_is_not_changed;
    DROP TRIGGER imported_is_not_shortened; DROP TRIGGER imported_is_not_replaced;";

/// Forges the store in one way after the other, each time from the same beginning, and asserts that `audit verify` and
/// `doctor` name what is different.
fn each_is_named(machine: &Machine, forgeries: &[(&str, &str, &str)]) {
    let whole = {
        let connection = machine.sql();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        fs::read(machine.store()).unwrap()
    };
    for (sql, kind, field) in forgeries {
        let connection = machine.sql();
        connection.execute_batch(WITHOUT_TRIGGERS).ok();
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        drop(connection);
        let (code, said) = verified(machine);
        assert_eq!(
            (code, &said["intact"], &said["state_matches"]),
            (3, &true.into(), &false.into()),
            "{sql}: {said}"
        );
        let found = differences(&said);
        assert!(found.iter().any(|(of, what, _)| of == kind && what == field), "{sql}: {found:?}");
        let ids: Vec<_> =
            said["differences"].as_array().unwrap().iter().map(|one| text_of(one, "id")).collect();
        let doctor = machine.run(["doctor", "-o", "json"]).must_exit(3).json();
        let about: Vec<_> =
            doctor.as_array().unwrap().iter().map(|finding| text_of(finding, "about")).collect();
        assert!(ids.iter().all(|id| about.contains(id)), "{sql}: {ids:?} of {about:?}");
        let file = machine.store();
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", file.display())).ok();
        }
        fs::write(&file, &whole).unwrap();
    }
    assert_eq!(verified(machine).0, 0, "the beginning is what the trail says");
}

#[test]
fn whatever_is_done_by_commands_follows_from_the_trail() {
    let machine = with_everything();
    let (code, said) = verified(&machine);
    assert_eq!(
        (code, &said["differences"], &said["not_covered"]),
        (0, &Value::Array(vec![]), &0.into()),
        "{said}"
    );
    machine.run(["doctor"]).must_succeed();
    // And in a backup, which is the same store.
    machine.run(["backup", "copy.db"]).must_succeed();
    let restored = machine.run(["restore", "copy.db", "--yes", "-o", "json"]).must_succeed();
    assert_eq!(restored.json()["differences"], Value::Array(vec![]));
    assert_eq!(restored.stderr.matches("warning").count(), 0, "{restored}");
    assert_eq!(verified(&machine).0, 0);
}

#[test]
fn each_field_that_was_changed_behind_the_trail_is_named() {
    let other = "(SELECT id FROM user WHERE name = 'uma')";
    let of_key = [
        ("description = 'x'", "narrow", "description"),
        ("hint = 'abcd'", "narrow", "hint"),
        ("access = 'full', scopes = NULL", "narrow", "access"),
        ("access = 'full', scopes = NULL", "narrow", "scopes"),
        ("scopes = 'incidents.read incidents.write'", "narrow", "scopes"),
        ("access = 'full'", "other", "access"),
        ("expires_at = expires_at + 1", "narrow", "expires_at"),
        ("expires_at = NULL", "narrow", "expires_at"),
        ("rate_limit = '1000/min'", "narrow", "rate_limit"),
        ("rate_limit = NULL", "narrow", "rate_limit"),
        ("disabled_at = NULL, disabled_by = NULL, disabled_reason = NULL", "disabled", "disabled"),
        (
            "disabled_at = NULL, disabled_by = NULL, disabled_reason = NULL",
            "revoked by its holder",
            "disabled",
        ),
        ("disabled_at = 1", "enabled", "disabled"),
        ("disabled_at = disabled_at - 1", "disabled", "disabled_at"),
        ("disabled_by = created_by", "disabled", "disabled_by"),
        ("disabled_reason = NULL", "disabled", "disabled_reason"),
        ("overlap_ends_at = NULL", "overlapped", "overlap_ends_at"),
        ("created_at = created_at - 1", "full", "created_at"),
        (&format!("created_by = {other}"), "full", "created_by"),
        ("access = 'full'", "imported", "access"),
        ("expires_at = NULL", "imported", "expires_at"),
        ("access = 'read-only'", "imported and disabled", "access"),
        ("created_at = created_at - 1", "imported and rotated", "created_at"),
    ];
    let forged: Vec<_> = of_key
        .iter()
        .map(|(set, key, field)| {
            (format!("UPDATE general_key SET {set} WHERE description = '{key}'"), "general_key", *field)
        })
        .collect();
    let mut forgeries: Vec<_> =
        forged.iter().map(|(sql, kind, field)| (sql.as_str(), *kind, *field)).collect();
    forgeries.extend([
        ("UPDATE user SET role = 'admin' WHERE name = 'uma'", "user", "role"),
        ("UPDATE user SET role = 'admin' WHERE role = 'owner'", "user", "role"),
        ("UPDATE user SET role = 'admin' WHERE name = 'ann'; UPDATE user SET role = 'owner' WHERE name = 'adamina'", "user", "role"),
        ("UPDATE user SET role = 'admin' WHERE name = 'ida'", "user", "role"),
        ("UPDATE user SET role = 'user' WHERE name = 'ivo'", "user", "role"),
        ("UPDATE user SET os_uid = 61235 WHERE name = 'otto'", "user", "os_uid"),
        ("UPDATE user SET name = 'mallory' WHERE name = 'sam'", "user", "name"),
        ("UPDATE user SET email = NULL WHERE name = 'otto'", "user", "email"),
        ("UPDATE user SET external_id = 'P1' WHERE name = 'uma'", "user", "external_id"),
        ("UPDATE user SET rate_limit = '99/min' WHERE name = 'uma'", "user", "rate_limit"),
        ("UPDATE user SET left_at = NULL, left_reason = NULL WHERE name = 'gone'", "user", "left_at"),
        ("UPDATE user SET left_at = created_at WHERE name = 'uma'", "user", "left_at"),
        ("UPDATE user SET created_at = 1 WHERE name = 'uma'", "user", "created_at"),
        ("UPDATE account SET name = 'other'", "account", "name"),
        ("UPDATE account SET policy = 'convention'", "account", "policy"),
        ("UPDATE account SET subdomain = NULL", "account", "subdomain"),
        ("UPDATE account SET rest_api = 0", "account", "rest_api"),
        ("UPDATE account SET advanced_permissions = 0", "account", "advanced_permissions"),
        ("UPDATE account SET created_at = 1", "account", "created_at"),
        ("UPDATE user_token SET scopes = NULL WHERE description = 'umas'", "user_token", "scopes"),
        ("UPDATE user_token SET expires_at = NULL WHERE description = 'umas'", "user_token", "expires_at"),
        ("UPDATE user_token SET user = (SELECT id FROM user WHERE name = 'ann') WHERE description = 'umas'", "user_token", "user_id"),
        ("UPDATE user_token SET user = (SELECT id FROM user WHERE name = 'ann') WHERE description = 'imported token'", "user_token", "user_id"),
        ("UPDATE destination SET name = 'x' WHERE name = 'api'", "service", "name"),
        ("UPDATE destination SET description = 'x' WHERE name = 'router'", "orchestration", "description"),
        ("UPDATE integration SET destination = (SELECT id FROM destination WHERE name = 'web shop') WHERE name = 'moved'", "integration", "service"),
        ("UPDATE integration SET destination = (SELECT id FROM destination WHERE name = 'api') WHERE name = 'imported integration'", "integration", "service"),
        ("UPDATE integration SET rate_limit = '99/min' WHERE name = 'alerts'", "integration", "rate_limit"),
        ("UPDATE integration SET type = 'email' WHERE name = 'alerts'", "integration", "type"),
        ("UPDATE app SET scopes = 'incidents.read incidents.write' WHERE name = 'bot'", "app", "scopes"),
        ("UPDATE app SET rate_limit = 'none' WHERE name = 'bot'", "app", "rate_limit"),
        ("UPDATE app SET tokens_revoked_at = NULL WHERE name = 'stopped'", "app", "tokens_revoked_at"),
        ("UPDATE app_token SET scopes = 'incidents.write'", "app", "token_scopes"),
        ("UPDATE app_token SET expires_at = expires_at * 2", "app", "token_expires_at"),
        ("UPDATE app_token SET issued_at = issued_at - 1", "app", "token_issued_at"),
    ]);
    each_is_named(&with_everything(), &forgeries);
}

#[test]
fn each_secret_that_was_exchanged_added_or_taken_away_is_named() {
    let of = |table: &str, called: &str| {
        let name = if table == "general_key" || table == "user_token" { "description" } else { "name" };
        format!("(SELECT row FROM {table} WHERE {name} = '{called}')")
    };
    let full = of("general_key", "full");
    let forgeries = [
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'general' AND holder = {full}"), "general_key", "secret"),
        (format!("INSERT INTO digest VALUES (randomblob(32), 'general', {full}, NULL)"), "general_key", "secret"),
        (format!("DELETE FROM digest WHERE kind = 'general' AND holder = {full}"), "general_key", "secret"),
        // The key that may little opens what the other may.
        (
            format!(
                "UPDATE digest SET holder = CASE holder WHEN {full} THEN {0} ELSE {full} END
                 WHERE kind = 'general' AND holder IN ({full}, {0})",
                of("general_key", "narrow")
            ),
            "general_key",
            "secret",
        ),
        ("UPDATE digest SET ends_at = ends_at + 1 WHERE kind = 'general' AND ends_at IS NOT NULL".to_owned(), "general_key", "secret ends"),
        ("UPDATE digest SET ends_at = NULL WHERE kind = 'user-token' AND ends_at IS NOT NULL".to_owned(), "user_token", "secret ends"),
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'user-token' AND holder = {}", of("user_token", "umas")), "user_token", "secret"),
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'user-token' AND holder = {}", of("user_token", "imported token")), "user_token", "secret"),
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'general' AND holder = {}", of("general_key", "imported")), "general_key", "secret"),
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'general' AND holder = {} AND ends_at IS NOT NULL", of("general_key", "imported and rotated")), "general_key", "secret"),
        ("UPDATE digest SET digest = randomblob(32) WHERE kind = 'client' AND ends_at IS NOT NULL".to_owned(), "app", "secret"),
        ("UPDATE digest SET digest = randomblob(32) WHERE kind = 'app-token'".to_owned(), "app", "token"),
        ("INSERT INTO digest SELECT randomblob(32), 'app-token', max(row), NULL FROM app_token".to_owned(), "app", "secret"),
        ("INSERT INTO digest VALUES (randomblob(32), 'general', 999, NULL)".to_owned(), "account", "secret"),
        ("UPDATE digest SET kind = 'other' WHERE kind = 'client' AND ends_at IS NULL".to_owned(), "app", "secret"),
        (format!("UPDATE digest SET digest = randomblob(32) WHERE kind = 'integration' AND holder = {}", of("integration", "alerts")), "integration", "secret"),
        // The key that is shown is another than the one that is accepted.
        ("UPDATE integration SET sealed_key = (SELECT sealed_key FROM integration other WHERE other.name = 'moved') WHERE name = 'alerts'".to_owned(), "integration", "sealed key"),
        ("UPDATE integration SET sealed_key = zeroblob(72) WHERE name = 'imported integration'".to_owned(), "integration", "sealed key"),
        ("DELETE FROM tombstone WHERE death = 'removed' AND id LIKE 'K%'".to_owned(), "general_key", "dead secret"),
        ("DELETE FROM tombstone WHERE death = 'rotated'".to_owned(), "general_key", "dead secret"),
        ("DELETE FROM tombstone WHERE id IN (SELECT id FROM app)".to_owned(), "app", "dead secret"),
        ("DELETE FROM tombstone WHERE id LIKE 'I%'".to_owned(), "integration", "dead secret"),
        ("UPDATE tombstone SET digest = randomblob(32)".to_owned(), "general_key", "dead secret"),
        ("UPDATE tombstone SET died_at = died_at + 1".to_owned(), "general_key", "dead secret"),
        ("UPDATE tombstone SET death = 'rotated'".to_owned(), "integration", "dead secret"),
        (format!("INSERT INTO tombstone SELECT randomblob(32), id, 'removed', 1 FROM general_key WHERE row = {full}"), "general_key", "dead secret"),
        ("INSERT INTO tombstone VALUES (randomblob(32), 'K00000000', 'removed', 1)".to_owned(), "general_key", "dead secret"),
    ];
    let forgeries: Vec<_> =
        forgeries.iter().map(|(sql, kind, field)| (sql.as_str(), *kind, *field)).collect();
    each_is_named(&with_everything(), &forgeries);
}

#[test]
fn whatever_was_put_in_or_taken_out_behind_the_trail_is_named() {
    let columns = "description, hint, access, scopes, created_at, created_by, disabled_at, disabled_by, disabled_reason,
                   expires_at, rate_limit, overlap_ends_at";
    let key = |id: &str| {
        format!(
            "INSERT INTO general_key (id, {columns}) SELECT {id}, {columns} FROM general_key WHERE description = 'full'"
        )
    };
    let forgeries = [
        (key("'K00000000'"), "general_key", "-"),
        // One that was removed is there again.
        (key("(SELECT target FROM audit WHERE target_type = 'general_key' AND action = 'delete' ORDER BY number LIMIT 1)"), "general_key", "-"),
        ("DELETE FROM general_key WHERE description = 'disabled'".to_owned(), "general_key", "-"),
        ("DELETE FROM general_key WHERE description = 'imported'".to_owned(), "general_key", "-"),
        ("DELETE FROM general_key WHERE description = 'imported and disabled'".to_owned(), "general_key", "-"),
        ("INSERT INTO user (id, name, role, created_at) VALUES ('U00000000', 'mallory', 'admin', 1)".to_owned(), "user", "-"),
        ("DELETE FROM user WHERE name = 'rita'".to_owned(), "user", "-"),
        ("DELETE FROM user WHERE name = 'ida'".to_owned(), "user", "-"),
        ("INSERT INTO user_token (id, user, description, created_at) SELECT 'T00000000', id, 'x', 1 FROM user WHERE role = 'owner'".to_owned(), "user_token", "-"),
        ("DELETE FROM user_token WHERE description = 'umas'".to_owned(), "user_token", "-"),
        ("INSERT INTO destination (id, name, created_at, created_by) SELECT 'S00000000', 'x', 1, id FROM user WHERE role = 'owner'".to_owned(), "service", "-"),
        ("DELETE FROM integration WHERE name = 'alerts'".to_owned(), "integration", "-"),
        ("DELETE FROM app WHERE name = 'stopped'".to_owned(), "app", "-"),
        ("DELETE FROM app_token WHERE row = (SELECT min(row) FROM app_token)".to_owned(), "app", "token"),
        ("INSERT INTO app_token (app, scopes, hint, issued_at, expires_at) SELECT app, scopes, hint, issued_at, expires_at FROM app_token LIMIT 1".to_owned(), "app", "token"),
        ("DELETE FROM account".to_owned(), "account", "-"),
        // What is kept of an import is no more to be believed than the rest.
        ("UPDATE imported SET content = replace(content, 'read-only', 'full'); UPDATE general_key SET access = 'full' WHERE description = 'imported'".to_owned(), "account", "import"),
        ("DELETE FROM imported WHERE id = (SELECT id FROM general_key WHERE description = 'imported'); DELETE FROM general_key WHERE description = 'imported'".to_owned(), "account", "import"),
        ("DELETE FROM imported WHERE content LIKE '%imported token%'".to_owned(), "user_token", "-"),
        ("INSERT INTO imported (id, record, content) SELECT 'U00000000', record, content FROM imported WHERE content LIKE '%ida%'; INSERT INTO user (id, name, role, created_at) VALUES ('U00000000', 'mallory', 'admin', 1)".to_owned(), "account", "import"),
        ("UPDATE imported SET record = 1 WHERE content LIKE '%ida%'".to_owned(), "account", "import"),
        ("DELETE FROM imported".to_owned(), "account", "import"),
    ];
    let forgeries: Vec<_> =
        forgeries.iter().map(|(sql, kind, field)| (sql.as_str(), *kind, *field)).collect();
    each_is_named(&with_everything(), &forgeries);
}

/// What is right now need not be so tomorrow: a trigger acts later, and a view shows what it likes.
#[test]
fn a_schema_that_pdkeys_did_not_make_is_named() {
    let machine = with_everything();
    let made = [
        (
            "CREATE TRIGGER later AFTER INSERT ON audit WHEN new.number > 900 BEGIN UPDATE user SET role = 'admin'; END",
            "trigger later",
            "none",
        ),
        (
            "ALTER TABLE general_key RENAME TO keys; CREATE VIEW general_key AS SELECT * FROM keys",
            "view general_key",
            "none",
        ),
        ("CREATE TABLE mine (x)", "table mine", "none"),
        ("CREATE INDEX slow ON user (lower(name))", "index slow", "none"),
        ("DROP TRIGGER audit_is_not_replaced", "none", "trigger audit_is_not_replaced"),
        ("DROP INDEX user_one_owner", "none", "index user_one_owner"),
        (
            "DROP INDEX user_os_uid; CREATE INDEX user_os_uid ON user (os_uid)",
            "another index user_os_uid",
            "index user_os_uid",
        ),
        (
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (length(digest) = 32)', '') WHERE name = 'digest'",
            "another table digest",
            "table digest",
        ),
        (
            "CREATE TRIGGER x AFTER UPDATE ON user BEGIN SELECT 1; END; PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = 'sqlite_stat1', sql = replace(sql, ' x ', ' sqlite_stat1 ') WHERE name = 'x'",
            "trigger sqlite_stat1",
            "none",
        ),
    ];
    machine.sql().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let whole = fs::read(machine.store()).unwrap();
    for (sql, state, trail) in made {
        machine.sql().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let ran = machine.run(["audit", "verify"]).must_exit(3);
        let said = format!("account: schema is {state}; the trail says {trail}");
        assert!(ran.stderr.contains(&said), "{sql}: {ran}");
        let doctor = machine.run(["doctor"]).must_exit(3);
        assert!(doctor.stdout.contains(&format!("schema is {state}")), "{sql}: {doctor}");
        machine.run(["backup", "copy.db"]).must_succeed();
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", machine.store().display())).ok();
        }
        fs::write(machine.store(), &whole).unwrap();
        // Nor does it come in with a backup unseen.
        let restored = machine.run(["restore", "copy.db", "--yes"]).must_succeed();
        assert!(restored.stderr.contains(&format!("schema is {state}")), "{sql}: {restored}");
        fs::write(machine.store(), &whole).unwrap();
        fs::remove_file(machine.file("copy.db")).unwrap();
    }
    // What SQLite keeps for itself is none of it.
    machine.sql().execute_batch("ANALYZE; VACUUM; REINDEX").unwrap();
    assert_eq!(verified(&machine).0, 0);
}

#[test]
fn a_difference_is_told_with_what_the_trail_says_and_what_the_store_holds() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &["--scope", "incidents.read"]);
    machine.run(["disable", &id, "--yes"]).must_succeed();
    let forged =
        "UPDATE general_key SET access = 'full', scopes = NULL, disabled_at = NULL, disabled_by = NULL;
                  UPDATE digest SET digest = randomblob(32)";
    machine.sql().execute_batch(forged).unwrap();
    assert_snapshot!(machine.run(["audit", "verify"]), @r"
    exit: 3
    --- stdout
    4:[CHAIN]
    --- stderr
    Verified 4 records, none altered
    warning: general_key [K1]: access is full; the trail says scopes (record 3)
    warning: general_key [K1]: scopes is none; the trail says incidents.read (record 3)
    warning: general_key [K1]: disabled is false; the trail says true (record 4)
    warning: general_key [K1]: disabled_at is none; the trail says [NOW] (record 4)
    warning: general_key [K1]: disabled_by is none; the trail says [U1] (record 4)
    warning: general_key [K1]: secret is another; the trail says the issued one (record 3)
    ");
    assert_snapshot!(machine.run(["audit", "verify", "-q", "-o", "jsonl"]).must_exit(3).stdout.lines().map(|line| machine.redact(line)).collect::<String>(), @r#"{"intact":true,"number":4,"head":"4:[CHAIN]","broken_at":null,"state_matches":false,"differences":[{"id":"[K1]","type":"general_key","field":"access","record":"3","trail":"scopes","state":"full"},{"id":"[K1]","type":"general_key","field":"scopes","record":"3","trail":"incidents.read","state":null},{"id":"[K1]","type":"general_key","field":"disabled","record":"4","trail":"true","state":"false"},{"id":"[K1]","type":"general_key","field":"disabled_at","record":"4","trail":"[NOW]","state":null},{"id":"[K1]","type":"general_key","field":"disabled_by","record":"4","trail":"[U1]","state":null},{"id":"[K1]","type":"general_key","field":"secret","record":"3","trail":"the issued one","state":"another"}],"difference_count":6,"not_covered":0}"#);
    let findings = machine.run(["doctor", "-o", "json"]).must_exit(3).json();
    assert_eq!(findings[0]["about"], *id);
    assert_eq!(findings[0]["finding"], "access is full; the trail says scopes (record 3)");
    // Put right with commands, which leave records.
    machine.run(["edit", &id, "--scope", "incidents.read", "--yes"]).must_succeed();
    machine.run(["rotate", &id, "--yes"]).must_succeed();
    machine.run(["disable", &id, "--yes"]).must_succeed();
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn restore_names_what_follows_from_no_record_and_yes_does_not_hide_it() {
    let machine = Machine::with_store();
    machine.make_key("ci", &["--read-only"]);
    machine.run(["backup", "copy.db"]).must_succeed();
    let widened = "UPDATE general_key SET access = 'full'";
    rusqlite::Connection::open(machine.file("copy.db")).unwrap().execute(widened, []).unwrap();
    machine.sql().execute("UPDATE user SET os_uid = os_uid, email = 'mallory@example.com'", []).unwrap();
    machine.refuses(["restore", "copy.db"]).must_exit(6);
    let warned = machine.run(["restore", "copy.db", "--yes", "-q"]).must_succeed();
    assert_snapshot!(warned, @r"
    exit: 0
    --- stdout
    --- stderr
    warning: in the backup, general_key [K1]: access is full; the trail says read-only (record 3)
    warning: in the present store, user [U1]: email is mallory@example.com; the trail says none (record 2)
    ");
    machine.run(["audit", "verify"]).must_exit(3);
    // Where there is no store, the backup alone is looked at.
    let elsewhere = Machine::new();
    let [copy, key] = [machine.file("copy.db"), machine.store_key()];
    let ran = elsewhere
        .run(["restore", copy.to_str().unwrap(), "--store-key", key.to_str().unwrap(), "--yes", "-o", "json"])
        .must_succeed();
    assert_eq!(ran.json()["differences"][0]["field"], "access");
    assert!(ran.stderr.contains("access is full; the trail says read-only"), "{ran}");
}

#[test]
fn a_store_that_cannot_be_compared_is_no_obstacle_to_a_restore() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    machine.run(["backup", "copy.db"]).must_succeed();
    machine
        .sql()
        .execute_batch("DROP TRIGGER audit_is_not_shortened; DELETE FROM audit WHERE number = 2")
        .unwrap();
    let ran = machine.run(["restore", "copy.db", "--yes"]).must_succeed();
    assert!(ran.stderr.contains("in the present store, the audit trail is broken at record 2"), "{ran}");
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn neither_a_record_nor_a_tombstone_nor_an_entry_is_replaced() {
    let machine = with_everything();
    let connection = machine.sql();
    let mut refused = String::new();
    for sql in [
        "INSERT OR REPLACE INTO audit (number, record, chain) SELECT number, '{}', chain FROM audit WHERE number = 3",
        "REPLACE INTO audit (number, record, chain) SELECT number, record, zeroblob(32) FROM audit",
        "INSERT INTO audit (record, chain) SELECT record, chain FROM audit WHERE number = 1",
        "INSERT INTO audit (number, record, chain) SELECT number + 1000, record, chain FROM audit WHERE number = 1",
        "INSERT INTO audit (number, record, chain) SELECT number, record, chain FROM audit WHERE number = 1
         ON CONFLICT DO UPDATE SET record = '{}'",
        "INSERT OR REPLACE INTO tombstone SELECT digest, id, 'rotated', 1 FROM tombstone",
        "UPDATE tombstone SET died_at = 1",
        "DELETE FROM tombstone",
        "INSERT OR REPLACE INTO imported SELECT row, id, record, '{}' FROM imported",
        "INSERT OR REPLACE INTO imported SELECT row, 'K00000000', record, content FROM imported",
        "UPDATE OR REPLACE imported SET record = 1",
        "DELETE FROM imported",
    ] {
        refused.push_str(&connection.execute(sql, []).unwrap_err().to_string());
        refused.push('\n');
    }
    assert_snapshot!(refused, @r"
    the audit trail is append-only
    the audit trail is append-only
    the audit trail is append-only
    the audit trail is append-only
    the audit trail is append-only
    a tombstone is kept for good
    a tombstone is kept for good
    a tombstone is kept for good
    the entries of imports are append-only
    the entries of imports are append-only
    the entries of imports are append-only
    the entries of imports are append-only
    ");
    assert_eq!(verified(&machine).0, 0);
}

#[test]
fn of_a_store_of_0_1_what_its_trail_says_is_compared_and_the_rest_is_counted() {
    let machine = machine_of_0_1();
    let (code, said) = verified(&machine);
    assert_eq!((code, &said["state_matches"], &said["not_covered"]), (0, &true.into(), &34.into()), "{said}");
    let all = machine.run(["list", "-o", "json"]).must_succeed().json();
    let key = all.as_array().unwrap().iter().find(|key| key["description"] == "full access").unwrap();
    machine.run(["rotate", &text_of(key, "id"), "--yes"]).must_succeed();
    assert_eq!(verified(&machine).1["not_covered"], 33, "a rotated secret is on record");
    let full = "(SELECT row FROM general_key WHERE description = 'full access')";
    each_is_named(
        &machine,
        &[
            (
                "UPDATE general_key SET access = 'full' WHERE description = 'reads only'",
                "general_key",
                "access",
            ),
            (
                "UPDATE general_key SET disabled_at = NULL, disabled_by = NULL, disabled_reason = NULL",
                "general_key",
                "disabled",
            ),
            (
                "UPDATE general_key SET expires_at = NULL WHERE description = 'expired'",
                "general_key",
                "expires_at",
            ),
            ("UPDATE user SET role = 'admin' WHERE name = 'mona'", "user", "role"),
            (
                "UPDATE user SET role = 'admin' WHERE name = 'ann'; UPDATE user SET role = 'owner' WHERE name = 'adam'",
                "user",
                "role",
            ),
            ("UPDATE user SET role = 'admin' WHERE name = 'ivo'", "user", "role"),
            ("UPDATE user SET left_at = NULL, left_reason = NULL WHERE name = 'gone'", "user", "left_at"),
            ("UPDATE account SET subdomain = 'other'", "account", "subdomain"),
            ("UPDATE user_token SET scopes = NULL WHERE description = 'scoped'", "user_token", "scopes"),
            (
                "UPDATE integration SET destination = (SELECT id FROM destination WHERE name = 'web shop') WHERE name = 'moved'",
                "integration",
                "service",
            ),
            (
                "UPDATE integration SET sealed_key = (SELECT sealed_key FROM integration other WHERE other.name = 'moved') WHERE name = 'alerts'",
                "integration",
                "sealed key",
            ),
            ("UPDATE app SET scopes = 'incidents.write' WHERE name = 'narrowed'", "app", "scopes"),
            ("UPDATE app_token SET scopes = 'incidents.write'", "app", "token"),
            ("DELETE FROM general_key WHERE description = 'disabled'", "general_key", "-"),
            (
                "INSERT INTO user_token (id, user, description, created_at) SELECT 'T00000000', id, 'x', 1 FROM user WHERE role = 'owner'",
                "user_token",
                "imported by 0.1",
            ),
            (
                "INSERT INTO destination (id, name, created_at, created_by) SELECT 'S00000000', 'x', 1, id FROM user WHERE role = 'owner'",
                "service",
                "-",
            ),
            ("DELETE FROM general_key WHERE description = 'digest only'", "general_key", "imported by 0.1"),
            (
                "INSERT INTO digest VALUES (randomblob(32), 'general', (SELECT row FROM general_key WHERE description = 'scopes, narrowed'), NULL)",
                "general_key",
                "secret",
            ),
            (
                "UPDATE digest SET ends_at = ends_at + 1 WHERE ends_at IS NOT NULL AND kind = 'general'",
                "general_key",
                "secret ends",
            ),
            (
                &format!(
                    "UPDATE digest SET digest = randomblob(32) WHERE kind = 'general' AND holder = {full}"
                ),
                "general_key",
                "secret",
            ),
        ],
    );
}
