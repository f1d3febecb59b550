//! `doctor`: what it finds, with its remedy; and `list --expiring-within`.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, set_mode, text_of};

/// What is found, as severity and about, a line each.
fn found(machine: &Machine, options: &[&str]) -> Vec<(String, String)> {
    let arguments = ["doctor", "-o", "json"].into_iter().chain(options.iter().copied());
    let ran = machine.run(arguments);
    let found: Vec<_> = ran
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            assert!(!text_of(record, "remedy").is_empty(), "{record}");
            (text_of(record, "severity"), machine.redact(&text_of(record, "about")))
        })
        .collect();
    let problem = found.iter().any(|(severity, _)| severity == "problem");
    assert_eq!(ran.code(), if problem { 3 } else { 0 }, "{ran}");
    found
}

fn one(severity: &str, about: &str) -> Vec<(String, String)> {
    vec![(severity.to_owned(), about.to_owned())]
}

#[test]
fn of_a_store_in_good_health_nothing_is_found() {
    let machine = Machine::with_store();
    machine.make_key("ci", &["--expires", "90d"]);
    assert_snapshot!(machine.run(["doctor"]), @"
    exit: 0
    --- stdout
    --- stderr
    Examined the store; there is nothing to do
    ");
    assert!(found(&machine, &[]).is_empty());
}

#[test]
fn keys_that_end_soon_never_end_or_are_not_used_are_notices() {
    let machine = Machine::with_store();
    machine.make_key("soon", &["--expires", "7d"]);
    machine.make_key("later", &["--expires", "90d"]);
    machine.make_key("never", &[]);
    let (disabled, _) = machine.make_key("disabled", &[]);
    machine.run(["disable", &disabled, "--yes"]).must_succeed();
    assert_snapshot!(machine.run(["doctor"]), @"
    exit: 0
    --- stdout
    SEVERITY  ABOUT      FINDING                REMEDY
    notice    [K1]  1 key ends within 14d  pdkeys list --expiring-within 14d, and rotate or edit them
    notice    [K2]  1 key never ends       pdkeys edit ID --expires WHEN gives one an end
    --- stderr
    ");
    assert_eq!(found(&machine, &["--expiring-within", "100d"]).len(), 2);
    machine.sql().execute("UPDATE general_key SET created_at = created_at - 86400000 * 100", []).unwrap();
    let mut all = found(&machine, &["--expiring-within", "1d"]);
    // That they are older than their records say is another matter.
    all.retain(|(severity, _)| severity == "notice");
    assert_eq!(all.len(), 2, "unused, and never ending: {all:?}");
    machine.run(["doctor", "--unused-for", "soon"]).must_exit(2);
}

#[test]
fn files_that_others_can_read_are_found() {
    let machine = Machine::with_store();
    set_mode(&machine.store(), 0o644);
    assert_eq!(found(&machine, &[]), one("problem", "[HOME]/pdkeys/pdkeys.db"));
    set_mode(&machine.store(), 0o600);
    set_mode(&machine.directory(), 0o755);
    assert_eq!(found(&machine, &[]), one("notice", "[HOME]/pdkeys"));
    set_mode(&machine.directory(), 0o700);
    set_mode(&machine.store_key(), 0o644);
    assert_eq!(found(&machine, &[]), one("problem", "store key"));
    fs::remove_file(machine.store_key()).unwrap();
    assert_eq!(found(&machine, &[]), one("problem", "store key"));
}

#[test]
fn a_damaged_database_and_a_broken_audit_trail_are_found() {
    let machine = Machine::with_store();
    machine.run(["create", "ci", "--expires", "90d"]).must_succeed();
    let connection = machine.sql();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; UPDATE general_key SET created_by = 'U00000000'")
        .unwrap();
    assert_eq!(found(&machine, &[])[0], ("problem".to_owned(), "store".to_owned()));
    let mended = "UPDATE general_key SET created_by = (SELECT id FROM user)";
    connection.execute(mended, []).unwrap();
    assert!(found(&machine, &[]).is_empty());
    connection
        .execute_batch("DROP TRIGGER audit_is_not_shortened; DELETE FROM audit WHERE number = 2")
        .unwrap();
    assert_eq!(found(&machine, &[]), one("problem", "audit trail"));
}

#[test]
fn a_hole_in_the_audit_trail_is_told_as_damage() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    let mut file = fs::read(machine.store()).unwrap();
    let number_at: i64 = machine
        .sql()
        .query_row("SELECT pageno FROM dbstat WHERE name = 'audit' AND pagetype = 'leaf'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let end = usize::try_from(number_at).unwrap() * 4096;
    // The end of a page is its first record.
    file[end - 500..end].fill(0);
    fs::write(machine.store(), file).unwrap();
    assert_eq!(found(&machine, &[])[0], ("problem".to_owned(), "store".to_owned()));
}

#[test]
fn a_clock_that_is_behind_is_found() {
    let machine = Machine::with_store();
    machine.make_key("ci", &["--expires", "90d"]);
    machine.sql().execute("UPDATE general_key SET created_at = created_at + 3600000", []).unwrap();
    assert!(found(&machine, &[]).contains(&("problem".to_owned(), "clock".to_owned())));
}

#[test]
fn what_was_left_behind_is_found() {
    let machine = Machine::with_store();
    fs::write(machine.directory().join(".pdkeys.db.0123456789abcdef.new"), "").unwrap();
    machine.run(["backup", "copy.db"]).must_succeed();
    machine.run(["restore", "copy.db", "--yes"]).must_succeed();
    let all = found(&machine, &[]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|(severity, _)| severity == "notice"), "{all:?}");
}

#[test]
fn what_was_left_behind_of_every_file_is_found() {
    let machine = Machine::with_store();
    for name in ["pdkeys.db", "pdkeys.storekey", "pdkeys.usage.db"] {
        let left = machine.directory().join(format!(".{name}.0123456789abcdef.new"));
        fs::write(&left, "half of it").unwrap();
        assert_eq!(found(&machine, &[]), one("notice", &machine.redact(left.to_str().unwrap())));
        fs::remove_file(left).unwrap();
    }
}

#[test]
fn a_usage_file_that_cannot_be_used_is_found() {
    let machine = Machine::with_store();
    fs::write(machine.directory().join("pdkeys.usage.db"), "no database").unwrap();
    set_mode(&machine.directory().join("pdkeys.usage.db"), 0o600);
    assert_eq!(found(&machine, &[]), one("problem", "usage file"));
}

#[test]
fn an_admin_may_and_an_observer_may_not() {
    let machine = Machine::with_users();
    machine.run(["doctor", "--as", "adam"]).must_succeed();
    machine.refuses(["doctor", "--as", "otto"]).must_exit(4);
}

#[test]
fn list_shows_the_keys_that_end_within_a_time_and_still_work() {
    let machine = Machine::with_store();
    let (soon, _) = machine.make_key("soon", &["--expires", "7d"]);
    let (disabled, _) = machine.make_key("disabled", &["--expires", "7d"]);
    machine.run(["disable", &disabled, "--yes"]).must_succeed();
    machine.make_key("later", &["--expires", "90d"]);
    machine.make_key("never", &[]);
    let listed = machine.run(["list", "--expiring-within", "14d", "-o", "json"]).must_succeed().json();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|key| text_of(key, "id")).collect();
    assert_eq!(ids, [soon]);
    assert_eq!(machine.run(["list", "--expiring-within", "1h", "-o", "jsonl"]).must_succeed().stdout, "");
    machine.run(["list", "--expiring-within", "never"]).must_exit(2);
}
