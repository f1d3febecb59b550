//! Nothing that reaches disk, error, audit or list holds a secret.

use std::fmt::Write as _;
use std::fs;

use insta::assert_snapshot;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::checking::reason_for;
use crate::session::{Machine, files_below};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A secret, and what is as good as one where nothing but a fast hash stands before it.
fn traces_of(secret: &str) -> [Vec<u8>; 5] {
    let hash = Sha256::digest(secret.as_bytes()).to_vec();
    [
        secret.as_bytes().to_vec(),
        hex(&hash).into_bytes(),
        hex(&hash).to_uppercase().into_bytes(),
        hash,
        hex(secret.as_bytes()).into_bytes(),
    ]
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Some of all ways to make secrets of every kind, and to have them die; and all secrets that were made. Those of
/// integrations come last, as many as are said: they are shown again on purpose.
fn with_secrets() -> (Machine, Vec<String>, usize) {
    let machine = Machine::with_store();
    let line = |arguments: &[&str]| machine.run(arguments.iter().copied()).must_succeed().line().to_owned();
    let (kept, first) = machine.make_key("kept", &[]);
    let (removed, second) = machine.make_key("removed", &["--read-only"]);
    let mut secrets = vec![first, second, line(&["create", "alone"])];
    secrets.push(line(&["rotate", &kept, "--overlap", "24h"]));
    secrets.push(line(&["rotate", &kept, "--overlap", "24h"]));
    secrets.push(line(&["rotate", &kept, "--yes"]));
    machine.run(["create", "written", "--write-to", "key.txt"]).must_succeed();
    let written = fs::read_to_string(machine.file("key.txt")).unwrap();
    fs::remove_file(machine.file("key.txt")).unwrap();
    secrets.push(written.trim_end().to_owned());
    machine.run(["remove", &removed, "--yes"]).must_succeed();

    let (kept, first) = machine.make_token("ann", "kept", &[]);
    let (removed, second) = machine.make_token("ann", "removed", &["--scope", "incidents.read"]);
    secrets.extend([first, second]);
    secrets.push(line(&["token", "rotate", &kept, "--overlap", "24h"]));
    secrets.push(line(&["token", "rotate", &kept, "--yes"]));
    machine.run(["token", "remove", &removed, "--yes"]).must_succeed();
    let acting = &secrets.last().unwrap().clone();
    machine.run_with_token(acting, ["service", "create", "web"]).must_succeed();
    machine.run(["service", "create", "mail"]).must_succeed();

    secrets.push(line(&["app", "register", "ci", "--scope", "incidents.read"]));
    secrets.push(line(&["app", "token", "ci"]));
    let of_app = secrets.last().unwrap().clone();
    secrets.push(line(&["app", "rotate", "ci", "--overlap", "24h"]));
    secrets.push(line(&["app", "rotate", "ci", "--yes"]));
    machine.run(["app", "register", "removed", "--scope", "incidents.read"]).must_succeed();
    secrets.push(line(&["app", "token", "removed"]));
    machine.run(["app", "remove", "removed", "--yes"]).must_succeed();

    // Checks are counted, in a file of their own.
    let (rotated, first) = machine.make_key("rotated", &[]);
    assert_eq!(reason_for(&machine, &first), "allowed");
    let second = line(&["rotate", &rotated, "--overlap", "24h"]);
    assert_eq!(reason_for(&machine, &first), "allowed");
    assert_eq!(reason_for(&machine, &second), "allowed");
    assert_eq!(reason_for(&machine, &of_app), "allowed");
    assert_eq!(reason_for(&machine, acting), "allowed");
    let third = line(&["rotate", &rotated, "--yes"]);
    assert_eq!(reason_for(&machine, &second), "rotated");
    secrets.extend([first, second, third]);

    let others = secrets.len();
    secrets.push(line(&["service", "create", "shop", "--integration", "email"]));
    secrets.push(line(&["orchestration", "create", "router"]));
    let (moved, first) = machine.make_integration("service", "web", "moved");
    let (removed, second) = machine.make_integration("orchestration", "router", "removed");
    secrets.extend([first, second]);
    machine.run(["integration", "move", &moved, "--service", "mail"]).must_succeed();
    machine.run(["integration", "remove", &removed, "--yes"]).must_succeed();
    machine.run(["service", "remove", "shop", "--with-integrations", "--yes"]).must_succeed();
    let of_integrations = secrets.len() - others;
    (machine, secrets, of_integrations)
}

#[test]
fn no_file_of_the_store_holds_a_secret_or_its_plain_hash() {
    // Somebody who keeps the store open keeps the write-ahead log there, with all that was ever in it.
    let machine = Machine::with_store();
    let reader: Connection = machine.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM audit").unwrap();
    let (id, first) = machine.make_key("kept open", &[]);
    let second = machine.run(["rotate", &id, "--overlap", "1h"]).must_succeed().line().to_owned();
    let log = fs::read(machine.directory().join("pdkeys.db-wal")).unwrap();
    assert!(holds(&log, id.as_bytes()), "the search finds what is there");
    let (other, secrets, _) = with_secrets();
    let counts = fs::read(other.directory().join("pdkeys.usage.db")).unwrap();
    let used = other.run(["list", "--text", "rotated", "-o", "json"]).must_succeed().json();
    assert!(holds(&counts, used[0]["id"].as_str().unwrap().as_bytes()), "what was counted is there");
    for (machine, secrets) in [(&machine, &vec![first, second]), (&other, &secrets)] {
        let files = files_below(machine.home());
        assert!(files.contains(&machine.store()));
        for path in files.iter().filter(|path| path.is_file()) {
            let content = fs::read(path).unwrap();
            for trace in secrets.iter().flat_map(|secret| traces_of(secret)) {
                assert!(!holds(&content, &trace), "{} holds a secret", path.display());
            }
        }
    }
    drop(reader);
}

#[test]
fn no_output_but_the_hand_over_holds_a_secret() {
    let (machine, secrets, of_integrations) = with_secrets();
    machine.run(["user", "add", "otto", "--role", "observer"]).must_succeed();
    let mut printed = String::new();
    let mut print = |format, command: &[&str]| {
        let ran = machine.run(command.iter().copied().chain(["-o", format])).must_succeed();
        printed += &ran.stdout;
        printed += &ran.stderr;
    };
    for format in ["table", "json", "jsonl", "csv"] {
        for command in [
            &["list"][..],
            &["audit", "list"],
            &["user", "list"],
            &["whoami"],
            &["token", "list", "--all"],
            &["app", "list"],
            &["app", "show", "ci"],
            &["usage"],
            // Integration keys are for those who may see them, and he may not.
            &["integration", "list", "--as", "otto"],
            &["service", "list", "--as", "otto"],
            &["service", "show", "mail", "--as", "otto"],
            &["orchestration", "list", "--as", "otto"],
        ] {
            print(format, command);
        }
    }
    let (_, live) = secrets.split_at(secrets.len() - of_integrations);
    for key in live {
        assert!(printed.contains(&key[28..]), "a hint is there: {printed}");
    }
    assert!(printed.contains(&secrets[0][16..]), "a hint is there: {printed}");
    for trace in secrets.iter().flat_map(|secret| traces_of(secret)) {
        assert!(!holds(printed.as_bytes(), &trace), "a secret was printed");
    }
}

#[test]
fn the_notice_of_a_hand_over_does_not_repeat_the_secret() {
    let machine = Machine::with_store();
    let made = machine.run(["create", "ci"]).must_succeed();
    assert!(!made.stderr.contains(made.line()));
}

/// Whoever pastes a secret in a wrong place is shown its hint, and it gets no farther.
#[test]
fn a_secret_pasted_anywhere_is_shown_as_its_hint_only() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    let hint = &secret[16..];
    let attached = format!("--key={secret}");
    let short = format!("-o{secret}");
    let flag = format!("--{secret}");
    for arguments in [
        &["show", &secret][..],
        &["disable", &secret, "--yes"],
        &["remove", &id, &secret, "--yes"],
        &["rotate", &secret, "--overlap", "1h"],
        &["edit", &secret, "--description", "x"],
        &["user", "show", &secret],
        &["list", "--created-by", &secret],
        &["audit", "list", "--actor", &secret],
        &["list", "--as", &secret],
        &["list", "--token-file", &secret],
        &["list", "--store", &secret],
        &["list", "--status", &secret],
        &["list", "--output", &secret],
        &["list", &attached],
        &["list", &short],
        &["list", &flag],
        &["list", &secret],
        &["list", "--key", &secret],
        &["user", "add", "x", "--role", &secret],
        &["user", "add", "x", "--role", "user", "--os-user", &secret],
        &["audit", "verify", "--head", &secret],
        &["create", "x", "--scope", &secret],
        &["create", "x", "--rate-limit", &secret],
        &["create", "x", "--expires", &secret],
        &[&secret],
        &["completions", &secret],
    ] {
        let ran = machine.refuses(arguments.iter().copied());
        assert!(!ran.status.success(), "{ran}");
        assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret), "{ran}");
        assert!(!ran.stderr.is_empty(), "{ran}");
    }
    assert_snapshot!(machine.run(["show", &secret]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key (a secret ending in [HINT 1]) not found
    hint: pdkeys list shows what there is
    hint: an argument looks like a secret, and may be in the shell's history now: if it was exposed, rotate it
    ");
    assert_snapshot!(machine.run(["list", "--as", &secret]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: there is no user (a secret ending in [HINT 1]) to act as
    hint: pdkeys user list shows who is here
    ");
    assert_snapshot!(machine.run(["list", "--status", &secret]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value '(a secret ending in [HINT 1])' for '--status <STATUS>': status: must be active, disabled or expired

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.run(["list", &secret]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: unexpected argument '(a secret ending in [HINT 1])' found

    Usage: pdkeys list [OPTIONS]

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.run(["list", &attached]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: unexpected argument '--key' found

    Usage: pdkeys list [OPTIONS]

    For more information, try '--help'.
    ");
    assert!(machine.run(["show", &secret]).stderr.contains(hint));
}

/// The other kinds of credential are known by their shape too.
#[test]
fn a_credential_of_any_kind_is_shown_as_its_hint_only() {
    let machine = Machine::with_store();
    for secret in [
        "u+AbCdEfGhIjKlMnOpQr",
        "0123456789abcdef0123456789abcdef",
        "R0123456789ABCDEFGHIJKLMNOPQRSTU",
        "pdus+_0ABC123_01234567-89ab-cdef-0123-456789abcdef",
    ] {
        for arguments in [&["show", secret][..], &["list", secret], &["list", "--as", secret]] {
            let ran = machine.refuses(arguments.iter().copied());
            assert!(
                !ran.stderr.contains(secret) && ran.stderr.contains(&secret[secret.len() - 4..]),
                "{ran}"
            );
        }
    }
}
