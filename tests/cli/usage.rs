//! `usage`: what keys did.

use std::fs;

use insta::assert_snapshot;
use rusqlite::{Connection, params};

use crate::checking::{ask, ask_event, make_integration, make_token, reason, reason_for, token_id};
use crate::session::{Machine, Ran, now, text_of};

/// Counts so many checks of a key, hours ago, behind the program's back.
fn count(machine: &Machine, id: &str, hours_ago: i64, allowed: u64, denied: u64) {
    let usage = Connection::open(machine.directory().join("pdkeys.usage.db")).unwrap();
    let hour = now().as_second().div_euclid(3600) - hours_ago;
    usage
        .execute(
            "INSERT INTO past (hour, id, allowed, denied) VALUES (?1, ?2, ?3, ?4)",
            params![hour, id, allowed, denied],
        )
        .unwrap();
}

/// The ids that come first in each line of CSV.
fn ids(ran: &Ran<'_>) -> Vec<String> {
    ran.stdout.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn the_keys_that_did_most_come_first_with_what_they_did() {
    let machine = Machine::with_store();
    assert_eq!(machine.run(["usage", "-o", "json"]).must_succeed().stdout, "[]\n");
    let (one, first) = machine.make_key("one", &["--read-only"]);
    let (two, second) = machine.make_key("two", &[]);
    let (removed, third) = machine.make_key("removed", &[]);
    machine.make_key("never used", &[]);
    for secret in [&first, &second, &second, &third, &third, &third] {
        assert_eq!(reason_for(&machine, secret), "allowed");
    }
    assert_eq!(reason(&ask(&machine, &first, "POST", "/incidents")), "read-only");
    count(&machine, &two, 24 * 3, 100, 7);
    count(&machine, &one, 24 * 91, 1_000, 0);
    machine.run(["remove", &removed, "--yes"]).must_succeed();
    let ran = machine.run(["usage", "-o", "csv"]).must_succeed();
    assert_snapshot!(ran, @r"
    exit: 0
    --- stdout
    id,kind,description,created_at,last_used_at,allowed,denied
    [K1],general,two,[NOW],[NOW],102,7
    [K2],general,one,[NOW],[NOW],1,1
    --- stderr
    ");
    assert_eq!(ids(&machine.run(["usage", "--top", "1", "-o", "csv"])), std::slice::from_ref(&two));
    // Of the last day alone, both did as much.
    let lately = machine.run(["usage", "--since", "1d", "-o", "json"]).must_succeed().json();
    let sums: Vec<_> = lately
        .as_array()
        .unwrap()
        .iter()
        .map(|used| used["allowed"].as_u64().unwrap() + used["denied"].as_u64().unwrap())
        .collect();
    assert_eq!(sums, [2, 2]);
    let table = machine.run(["usage"]).must_succeed();
    assert!(table.stdout.starts_with("ID         KIND     DESCRIPTION  CREATED"), "{table}");
}

#[test]
fn one_key_is_shown_with_its_days_and_hours_as_bars() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    assert_eq!(reason_for(&machine, &secret), "allowed");
    count(&machine, &id, 5, 19, 20);
    count(&machine, &id, 5 + 24 * 91, 1_000, 0);
    let ran = machine.run(["usage", &id]).must_succeed();
    assert!(ran.stdout.contains("allowed       20\ndenied        20\n"), "{ran}");
    assert!(!ran.stdout.contains("1000"), "what is older than 90 days is not told: {ran}");
    // Half of the longest bar was denied, and the locale says nothing of UTF-8.
    let longest = format!(" {}{}\n", "#".repeat(19), "-".repeat(20));
    assert!(ran.stdout.contains(&longest), "{ran}");
    let hours = machine.run(["usage", &id, "--by", "hour", "-o", "csv"]).must_succeed();
    assert_eq!(hours.stdout.lines().count(), 1 + 25);
    assert!(
        hours.stdout.starts_with("from,allowed,denied\n") && hours.stdout.contains(":00:00.000Z,19,20\n"),
        "{hours}"
    );
    let days =
        machine.run(["usage", &id, "--by", "day", "--since", "200d", "-o", "json"]).must_succeed().json();
    assert_eq!(days.as_array().unwrap().len(), 91);
    let sum: u64 = days.as_array().unwrap().iter().map(|day| day["allowed"].as_u64().unwrap()).sum();
    assert_eq!(sum, 20);
    let machine = machine.with("LANG", "en_US.UTF-8");
    let chart = |options: &[&str]| {
        let arguments = ["usage", "--by", "hour"].into_iter().chain(options.iter().copied());
        machine.run(arguments).must_succeed().stdout
    };
    assert!(chart(&[]).contains(&format!(" {}{}\n", "█".repeat(19), "░".repeat(20))));
    assert!(chart(&["--ascii"]).contains(&longest));
}

#[test]
fn keys_not_used_for_long_are_listed_by_their_making_if_they_never_were() {
    let machine = Machine::with_store();
    let (fresh, secret) = machine.make_key("fresh", &[]);
    assert_eq!(reason_for(&machine, &secret), "allowed");
    let header = "kind,digest,description,access,created_at";
    let digest = "00".repeat(32);
    fs::write(machine.file("old.csv"), format!("{header}\ngeneral,{digest},old,full,2020-01-01\n")).unwrap();
    machine.run(["import", "old.csv"]).must_succeed();
    let ran = machine.run(["usage", "--unused-for", "90d", "-o", "json"]).must_succeed();
    assert_eq!(ran.json().as_array().unwrap().len(), 1);
    let unused = ran.json();
    assert_eq!((&unused[0]["description"], unused[0]["last_used_at"].is_null()), (&"old".into(), true));
    assert!(!ran.stdout.contains(&fresh));
    assert_snapshot!(machine.run(["usage", "--unused-for", "90d"]), @r"
    exit: 0
    --- stdout
    ID         KIND     DESCRIPTION  CREATED               LAST USED
    [K1]  general  old          2020-01-01T00:00:00Z  never
    --- stderr
    ");
    machine.refuses(["usage", "--unused-for", "soon"]).must_exit(2);
    machine.refuses(["usage", "--unused-for", "90d", "--by", "day"]).must_exit(2);
}

#[test]
fn a_manager_sees_own_tokens_and_integrations_and_others_their_own_tokens() {
    let machine = Machine::with_users();
    let (key, secret) = machine.make_key("ci", &[]);
    let (integration, events) = make_integration(&machine, &[]);
    let (umas, ottos) = (make_token(&machine, "uma", &[]), make_token(&machine, "otto", &[]));
    let (uma, otto) = (token_id(&machine, "uma"), token_id(&machine, "otto"));
    for secret in [&secret, &umas, &ottos] {
        assert_eq!(reason_for(&machine, secret), "allowed");
    }
    assert_eq!(reason(&ask_event(&machine, &events, "events-v2")), "allowed");
    let seen = |user| {
        let mut seen = ids(&machine.run(["usage", "-o", "csv", "--as", user]).must_succeed());
        seen.sort();
        seen
    };
    let sorted = |mut ids: Vec<&String>| {
        ids.sort();
        ids.into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(seen("adam"), sorted(vec![&key, &integration, &uma, &otto]));
    assert_eq!(seen("uma"), sorted(vec![&integration, &uma]));
    assert_eq!(seen("otto"), sorted(vec![&otto]));
    let sum = |user| {
        let days = machine.run(["usage", "--by", "day", "-o", "json", "--as", user]).must_succeed().json();
        days.as_array().unwrap().iter().map(|day| day["allowed"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!([sum("adam"), sum("uma"), sum("otto"), sum("rita")], [4, 2, 1, 0]);
    for (user, id, code) in [
        ("uma", &uma, 0),
        ("uma", &integration, 0),
        ("uma", &otto, 5),
        ("uma", &key, 4),
        ("otto", &integration, 4),
        ("otto", &otto, 0),
        ("adam", &otto, 0),
    ] {
        assert_eq!(machine.run(["usage", id, "--as", user]).code(), code, "{user} {id}");
    }
    assert_eq!(ids(&machine.run(["usage", "--unused-for", "1s", "-o", "csv", "--as", "rita"])), [""; 0]);
}

#[test]
fn a_key_that_is_not_there_is_not_found_and_a_lost_usage_file_loses_counts_only() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    machine.refuses(["usage", "KZZZZZZZZ"]).must_exit(5);
    machine.refuses(["usage", &secret]).must_exit(5);
    assert_eq!(reason_for(&machine, &secret), "allowed");
    fs::write(machine.directory().join("pdkeys.usage.db"), "this is no database").unwrap();
    let ran = machine.run(["usage", &id, "-o", "json"]).must_succeed();
    assert!(ran.stderr.contains("it is not known when anything was last used"), "{ran}");
    assert_eq!(text_of(&ran.json(), "id"), id);
}

/// What may become of a usage file, for a shell: `$usage` is the file, `$other` an SQLite database of another program.
const FAULTS: [(&str, &str); 14] = [
    ("echo this is no database > $usage", "not a"),
    (": > $usage", "last_used"),
    ("mkdir $usage", "not a file"),
    ("mkfifo -m 600 $usage", "not a file"),
    ("cp $other $usage", "last_used"),
    ("ln $made $usage", "has 2 names"),
    ("cp $made $usage && chmod 666 $usage", "can be written by others"),
    // SQLite finds out when it reads, and not before.
    (
        "cp $made $usage && dd if=/dev/urandom of=$usage bs=4096 seek=1 count=20 conv=notrunc 2>&1",
        "malformed",
    ),
    ("cp $made $usage && truncate -s 8192 $usage", "malformed"),
    ("ln -s nowhere $usage", "entity not found"),
    ("ln -s $usage $usage", "too many links"),
    // Opening one of these would wait for good.
    ("cp $made $usage && mkfifo $usage-journal", "usage.db-journal: not a file"),
    ("cp $made $usage && rm -f $usage-wal && mkfifo $usage-wal", "usage.db-wal: not a file"),
    ("cp $made $usage && rm -f $usage-shm && mkfifo $usage-shm", "usage.db-shm: not a file"),
];

#[test]
fn a_fault_of_the_usage_file_is_told_and_stops_nothing_but_counting() {
    for (script, told) in FAULTS {
        let machine = Machine::with_store();
        let (id, secret) = machine.make_key("ci", &[]);
        assert_eq!(reason_for(&machine, &secret), "allowed");
        let usage = machine.directory().join("pdkeys.usage.db");
        let (made, other) = (machine.file("made"), machine.file("other"));
        // The last to close it writes the log back.
        drop(Connection::open(&usage).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
        fs::rename(&usage, &made).unwrap();
        let mut command = machine.shell(script);
        command.env("usage", &usage).env("made", &made).env("other", &other).env("umask", "077");
        machine.finish(&mut command).must_succeed();
        for arguments in [
            &["list"][..],
            &["list", "--sort", "last-used"],
            &["list", "--sort", "last-used", "--reverse"],
            &["show", &id],
            &["usage"],
            &["usage", &id],
            &["edit", &id, "--description", "ci again"],
            &["disable", &id, "--yes"],
            &["enable", &id],
            &["rotate", &id, "--yes"],
            &["token", "list"],
            &["app", "list"],
            &["integration", "list"],
        ] {
            let ran = machine.run(arguments.iter().copied());
            let said = "it is not known when anything was last used: usage file";
            let has_to_tell = !["token", "app", "integration"].contains(&arguments[0]);
            assert_eq!(ran.code(), 0, "{script}: {arguments:?} {ran}");
            if has_to_tell {
                assert!(
                    ran.stderr.contains(said) && ran.stderr.contains(told),
                    "{script}: {arguments:?} {ran}"
                );
            }
        }
        let ran = machine.run(["doctor", "-o", "json"]).must_exit(3);
        assert!(ran.stdout.contains("usage file"), "{script}: {ran}");
        machine.run(["remove", &id, "--yes"]).must_succeed();
    }
}

#[test]
fn a_usage_file_that_is_locked_is_named_and_holds_management_up_for_a_moment_only() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    assert_eq!(reason_for(&machine, &secret), "allowed");
    let usage = machine.directory().join("pdkeys.usage.db");
    let holder = Connection::open(&usage).unwrap();
    holder.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let told = format!("usage file {}: locked by another process", usage.display());
    let began = crate::session::now();
    for arguments in [&["list"][..], &["disable", &id, "--yes"], &["enable", &id]] {
        let ran = machine.run(arguments.iter().copied()).must_succeed();
        assert!(ran.stderr.contains(&told), "{ran}");
    }
    assert!(crate::session::now().duration_since(began).as_secs() < 4, "each waits for a moment only");
    let ran = crate::checking::ask(&machine, &secret, "GET", "/incidents").must_exit(1);
    assert!(ran.stdout.is_empty() && ran.stderr.contains(&told), "{ran}");
}
