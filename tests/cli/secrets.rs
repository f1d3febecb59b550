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

/// Nor does it matter what stands around it: a header's word, a comma, a quote, a full stop.
#[test]
fn a_secret_amid_something_else_is_shown_as_its_hint_only() {
    let machine = Machine::with_store();
    let secrets = [
        "y_NbAkKc66ryYTWUXYEu",
        "u+AbCdEfGhIjKlMnOpQr",
        "0123456789abcdef0123456789abcdef",
        "R0123456789ABCDEFGHIJKLMNOPQRSTU",
        "pdus+_0ABC123_01234567-89ab-cdef-0123-456789abcdef",
        "pdcs_0AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-abcd",
    ];
    for secret in secrets {
        for around in
            ["Bearer %", "Token token=%", "%,", "\"%\"", "'%", "%.", " % ", "--key=Bearer %", "KEY_%", "%\n"]
        {
            let pasted = around.replace('%', secret);
            for arguments in [["show", &pasted], ["list", &pasted]] {
                let ran = machine.refuses(arguments.iter().copied());
                assert!(!ran.status.success() && !ran.stderr.contains(&secret[..secret.len() - 4]), "{ran}");
                assert!(!ran.stderr.contains(&secret[4..]), "{ran}");
            }
        }
    }
    let pasted = format!("Bearer {}", secrets[4]);
    assert_snapshot!(machine.run(["show", &pasted]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key Bearer (a secret ending in cdef) not found
    hint: pdkeys list shows what there is
    hint: an argument looks like a secret, and may be in the shell's history now: if it was exposed, rotate it
    ");
    // What people write is told as they wrote it.
    for name in ["PagerDuty-Integration-Production", "the-nightly-deployment-of-the-shop"] {
        assert!(machine.run(["service", "show", name]).must_exit(5).stderr.contains(name));
    }
    let store = "a-directory-of-stores/with-another-below/pdkeys.db";
    assert!(machine.run(["list", "--store", store]).must_exit(1).stderr.contains(store));
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

/// What a description or a name says is kept in plain, and in the audit trail for good.
#[test]
fn no_text_that_is_kept_holds_a_secret_of_the_store() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    let (removed, dead) = machine.make_key("old", &[]);
    machine.run(["remove", &removed, "--yes"]).must_succeed();
    let (token_id, token) = machine.make_token("ann", "laptop", &[]);
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["orchestration", "create", "router"]).must_succeed();
    let (integration, integration_key) = machine.make_integration("service", "web", "alerts");
    let client =
        machine.run(["app", "register", "bot", "--scope", "incidents.read"]).must_succeed().line().to_owned();
    let app_token = machine.run(["app", "token", "bot"]).must_succeed().line().to_owned();
    machine.run(["user", "add", "uma", "--role", "user"]).must_succeed();

    assert_snapshot!(machine.refuses(["create", &key]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: description: must not contain a secret, but contains one of key [K1]
    hint: nothing was changed; the secret may be in the shell's history now: if it was exposed, rotate it
    ");
    for secret in [&key, &dead, &token, &integration_key, &client, &app_token] {
        let text = format!("of ci: {secret}.");
        let into = "--service=web";
        for arguments in [
            &["create", &text][..],
            &["edit", &id, "--description", &text],
            &["disable", &id, "--reason", &text, "--yes"],
            &["disable", &id, "--reason", &text],
            &["remove", &id, "--reason", &text, "--yes"],
            &["user", "add", &text, "--role", "user"],
            &["user", "add", "x", "--role", "user", "--email", &text],
            &["user", "add", "x", "--role", "user", "--external-id", &text],
            &["user", "edit", "uma", "--name", &text],
            &["user", "remove", "uma", "--reason", &text, "--yes"],
            &["token", "create", &text],
            &["token", "edit", &token_id, "--description", &text],
            &["token", "remove", &token_id, "--reason", &text, "--yes"],
            &["service", "create", &text],
            &["service", "create", "x", "--description", &text],
            &["service", "edit", "web", "--name", &text],
            &["orchestration", "edit", "router", "--description", &text],
            &["integration", "create", into, "--type", "email", "--name", &text],
            &["integration", "remove", &integration, "--reason", &text, "--yes"],
            &["app", "register", &text, "--scope", "incidents.read"],
            &["app", "register", "x", "--description", &text, "--scope", "incidents.read"],
            &["app", "edit", "bot", "--name", &text],
            &["app", "remove", "bot", "--reason", &text, "--yes"],
        ] {
            let ran = machine.refuses(arguments.iter().copied()).must_exit(2);
            assert!(ran.stdout.is_empty() && ran.stderr.contains("must not contain a secret"), "{ran}");
            assert!(!ran.stderr.contains(secret.as_str()), "{ran}");
        }
    }
    // What merely looks like one is somebody else's business.
    machine.run(["create", "y_NbAkKc66ryYTWUXYEu"]).must_succeed();
    machine.run(["create", "build 0123456789abcdef0123456789abcdef"]).must_succeed();
}

/// A store in which such a text lies already can be put right.
#[test]
fn a_key_whose_description_holds_a_secret_can_be_disabled_edited_and_removed() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    machine.sql().execute("UPDATE general_key SET description = ?1", [&secret]).unwrap();
    machine.run(["disable", &id, "--yes"]).must_succeed();
    machine.run(["enable", &id]).must_succeed();
    machine.run(["edit", &id, "--description", "ci"]).must_succeed();
    machine.sql().execute("UPDATE general_key SET description = ?1", [&secret]).unwrap();
    machine.run(["remove", &id, "--yes"]).must_succeed();
}

#[test]
fn an_import_brings_no_secret_in_as_a_text() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let imported = "y_NbAkKc66ryYTWUXYEu";
    fs::write(
        machine.file("keys.csv"),
        format!(
            "kind,secret,description,access\n\
             general,AAAAkKc66ryYTWUXYE00,was {key},full\n\
             general,{imported},({imported}),full\n\
             general,BBBBkKc66ryYTWUXYE00,fine,full\n"
        ),
    )
    .unwrap();
    assert_snapshot!(machine.refuses(["import", "keys.csv"]), @r"
    exit: 1
    --- stdout
    --- stderr
    warning: keys.csv:2: description: must not contain a secret, but contains one of key [K1]
    warning: keys.csv:3: description: must not contain a secret, but contains that of this line
    error: 2 of 3 lines cannot be imported, and nothing was
    hint: put them right, or leave them out with --skip-bad
    ");
    fs::write(machine.file("users.csv"), format!("name,email,role\n{key},,user\nx,{key}@example.com,user\n"))
        .unwrap();
    assert_snapshot!(machine.refuses(["user", "import", "users.csv"]), @r"
    exit: 1
    --- stdout
    --- stderr
    warning: users.csv:2: name: must not contain a secret, but contains one of key [K1]
    warning: users.csv:3: email: must not contain a secret, but contains one of key [K1]
    error: 2 of 2 lines cannot be imported, and nothing was
    hint: put them right, and import the file again
    ");
}
