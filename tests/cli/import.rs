//! `import` and `user import`: bringing in what is used elsewhere.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::bad_input::run_on_full_disk;
use crate::checking::{ask_event, batch, line, lines, reason, reason_for, run_with_input};
use crate::session::{Machine, Ran, files_below, text_of};

const HEADER: &str = "kind,secret,digest,description,access,owner,created_at,expires_at";
const KEY: &str = "AAAAbbbbCCCCddddEEE1";
const TOKEN: &str = "u+AAAAbbbbCCCCddddE1";
const SERVICE_KEY: &str = "0123456789abcdef0123456789abcdef";
const ORCHESTRATION_KEY: &str = "R0123456789ABCDEFGHIJKLMNOPQRSTU";

fn hex(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The key with a number, in the shape of a general key's.
fn key(number: usize) -> String {
    format!("key-{number:06}-abcdefghi")
}

/// Writes a file of these rows below the header.
fn write(machine: &Machine, name: &str, rows: &[&str]) {
    fs::write(machine.file(name), format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
}

/// Imports these rows.
fn import<'m>(machine: &'m Machine, rows: &[&str], options: &[&str]) -> Ran<'m> {
    write(machine, "keys.csv", rows);
    machine.run(["import", "keys.csv"].into_iter().chain(options.iter().copied()))
}

/// Imports these rows, which are refused, and gives what was said about them.
#[track_caller]
fn problem(machine: &Machine, row: &str) -> String {
    let ran = machine.unchanged(|| import(machine, &[row], &["-o", "json"])).must_exit(1);
    assert!(ran.stderr.starts_with("error: 1 of 1 line cannot be imported, and nothing was\n"), "{ran}");
    let told = ran.json();
    assert_eq!((told.as_array().unwrap().len(), &told[0]["line"]), (1, &Value::from(2)), "{ran}");
    text_of(&told[0], "problem")
}

fn newest(machine: &Machine) -> Value {
    machine.run(["audit", "list", "--limit", "1", "-o", "json"]).must_succeed().json()[0].take()
}

#[test]
fn two_hundred_keys_go_on_working_whether_they_came_as_plaintext_or_as_sha_256() {
    let machine = Machine::with_store();
    let mut file = format!("{HEADER}\n");
    for number in 0..200 {
        let access = ["full", "read-only", "scopes:incidents.read"][number / 2 % 3];
        let (secret, digest) = match number % 2 {
            0 => (key(number), String::new()),
            _ => (String::new(), hex(&key(number))),
        };
        writeln!(file, "general,{secret},{digest},client {number},{access},,2020-02-03,").unwrap();
    }
    fs::write(machine.file("keys.csv"), &file).unwrap();
    assert_snapshot!(machine.run(["import", "keys.csv"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Imported 200 general keys
    ");
    let questions =
        |method: &'static str| (0..200).map(move |number| line(&key(number), method, "/incidents"));
    let (answers, ran) = batch(&machine, lines(questions("GET").chain(questions("POST"))).as_bytes());
    assert_eq!((answers.len(), ran.code()), (400, 3));
    for (number, answer) in answers.iter().enumerate() {
        let (method, number) = (number / 200, number % 200);
        let expected = [["allowed", "allowed", "allowed"], ["allowed", "read-only", "scope"]];
        assert_eq!(answer["reason"], expected[method][number / 2 % 3], "{answer}");
        let credential = &answer["credential"];
        assert_eq!(credential["description"], format!("client {number}"));
        // What no SHA-256 tells is not made up.
        let hint = if number % 2 == 0 { Value::from("fghi") } else { Value::Null };
        assert_eq!(credential["hint"], hint);
    }
    // Elsewhere, with the store key, every key is what it was.
    machine.run(["backup", "copy.db", "--with-store-key", "copy.key"]).must_succeed();
    let (copy, store_key) = (machine.file("copy.db"), machine.file("copy.key"));
    let elsewhere = Machine::new();
    let restore = ["restore", copy.to_str().unwrap(), "--store-key", store_key.to_str().unwrap(), "--yes"];
    elsewhere.run(restore).must_succeed();
    let (there, _) = batch(&elsewhere, lines(questions("GET").chain(questions("POST"))).as_bytes());
    assert_eq!(there, answers);
    // One record for all of them, with the SHA-256 of the file.
    let record = newest(&machine);
    assert_eq!(text_of(&record, "id"), "3");
    let fields = &record["details"]["fields"];
    let value = |name: &str| {
        fields.as_array().unwrap().iter().find(|field| field["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!([value("file_sha256"), value("general_keys")], [Value::from(hex(&file)), Value::from("200")]);
    machine.run(["audit", "verify"]).must_succeed();
    // Lists know keys without a hint, and such keys can be managed as others.
    let listed = machine.run(["list", "-o", "json"]).must_succeed().json();
    assert_eq!(
        [&listed[1]["hint"], &listed[1]["created_at"]],
        [&Value::Null, &Value::from("2020-02-03T00:00:00.000Z")]
    );
    let id = text_of(&listed[1], "id");
    machine.run(["list"]).must_succeed();
    machine.run(["show", &id]).must_succeed();
    let rotated = machine.run(["rotate", &id, "--yes"]).must_succeed().line().to_owned();
    assert_eq!([reason_for(&machine, &key(1)), reason_for(&machine, &rotated)], ["rotated", "allowed"]);
    machine.run(["remove", &id, "--yes"]).must_succeed();
}

#[test]
fn a_dry_run_lists_every_problem_with_its_line_and_changes_nothing() {
    let machine = Machine::with_users();
    let (taken, taken_key) = machine.make_key("taken", &[]);
    let (gone, gone_key) = machine.make_key("gone", &[]);
    machine.run(["remove", &gone, "--yes"]).must_succeed();
    let (rotated, rotated_key) = machine.make_key("rotated", &[]);
    machine.run(["rotate", &rotated, "--yes"]).must_succeed();
    let rows = [
        &format!("general,{KEY},,fine,full,,,"),
        "",
        &format!("general,{KEY},,again,full,,,"),
        &format!("general,,{},again as a digest,full,,,", hex(KEY)),
        &format!("general,{taken_key},,taken,full,,,"),
        &format!("general,,{},gone,full,,,", hex(&gone_key)),
        &format!("general,{rotated_key},,rotated,full,,,"),
        "general,password,,no shape,full,,,",
        &format!("general,{TOKEN},,another shape,full,,,"),
        "general,,abcd,too short,full,,,",
        "general,,,neither,full,,,",
        &format!("general,{KEY},{},both,full,,,", hex(KEY)),
        &format!("user-token,{TOKEN},,nobody's,,nobody,,"),
        &format!("{KEY},general,,the wrong way round,full,,,"),
        "general,AAAAbbbbCCCCddddEEE2,,one cell too many,full,,,,",
    ];
    let ran = machine.unchanged(|| import(&machine, &rows.map(|row| row), &["--dry-run"]));
    assert!([&taken, &gone, &rotated].iter().all(|id| ran.stderr.contains(id.as_str())), "{ran}");
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    warning: keys.csv:4: line 2 has the same secret
    warning: keys.csv:5: line 2 has the same secret
    warning: keys.csv:6: key [K1] already has this secret
    warning: keys.csv:7: key [K2] had this secret; it was removed and cannot be used again
    warning: keys.csv:8: key [K3] had this secret; it was rotated and cannot be used again
    warning: keys.csv:9: secret: is not in the format of any key
    warning: keys.csv:10: secret: is in the format of kind user-token
    warning: keys.csv:11: digest: must be the 32 bytes of a SHA-256, in 64 hexadecimal digits or in base64
    warning: keys.csv:12: secret: neither that nor its digest is there
    warning: keys.csv:13: secret: either that or its digest, and not both
    warning: keys.csv:14: owner: there is no such user
    warning: keys.csv:15: kind: must be general, user-token or integration
    warning: keys.csv:16: has 9 cells, and the header has 8
    error: 13 of 14 lines cannot be imported, and nothing was
    hint: put them right, or leave them out with --skip-bad
    ");
    machine.unchanged(|| machine.run(["import", "keys.csv"])).must_exit(1);
    let tried =
        machine.unchanged(|| machine.run(["import", "keys.csv", "--skip-bad", "--dry-run"])).must_succeed();
    assert!(tried.stderr.ends_with("Would import 1 general key; 13 bad lines left out\n"), "{tried}");
    let ran = machine.run(["import", "keys.csv", "--skip-bad"]).must_succeed();
    assert!(ran.stderr.ends_with("Imported 1 general key; 13 bad lines left out\n"), "{ran}");
    assert_eq!(reason_for(&machine, KEY), "allowed");
    machine.run(["audit", "verify"]).must_succeed();
    // A second time all are bad, and to leave all out is not to import.
    let ran = machine.refuses(["import", "keys.csv", "--skip-bad"]).must_exit(1);
    assert!(
        ran.stderr.ends_with(
            "error: 14 of 14 lines cannot be imported, and nothing was\n\
             hint: put them right, and import the file again\n"
        ),
        "{ran}"
    );
    machine.refuses(["import", "keys.csv", "--skip-bad", "--dry-run"]).must_exit(1);
}

#[test]
fn user_tokens_and_integration_keys_come_in_where_they_belong() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["orchestration", "create", "router"]).must_succeed();
    let rows = [
        &format!("user-token,{TOKEN},,laptop,,uma,2024-01-01,2099-01-01"),
        &format!("user-token,,{},phone,scopes:incidents.read,otto,,never", hex("u+AAAAbbbbCCCCddddE2")),
        &format!("integration,{SERVICE_KEY},,events,,web,,"),
        &format!("integration,{ORCHESTRATION_KEY},,\"front, door\",full,router,,"),
    ];
    assert_snapshot!(import(&machine, &rows.map(String::as_str), &[]), @r"
    exit: 0
    --- stdout
    --- stderr
    Imported 2 user tokens, 2 integrations
    ");
    assert_eq!(reason_for(&machine, TOKEN), "allowed");
    assert_eq!(reason_for(&machine, "u+AAAAbbbbCCCCddddE2"), "allowed");
    for key in [SERVICE_KEY, ORCHESTRATION_KEY] {
        assert_eq!(reason(&ask_event(&machine, key, "events-v2")), "allowed");
        assert!(machine.run(["integration", "list", "-o", "json"]).must_succeed().stdout.contains(key));
    }
    // The token is bounded by its user's role, as any.
    let listed = machine.run(["token", "list", "--all", "-o", "json"]).must_succeed().json();
    assert_eq!([&listed[0]["user"], &listed[1]["scopes"][0]], ["uma", "incidents.read"]);
}

#[test]
fn each_kind_is_told_what_it_lacks_or_cannot_have() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["user", "add", "lea", "--role", "read_only_limited_user"]).must_succeed();
    machine.run(["user", "add", "gus", "--role", "observer"]).must_succeed();
    machine.run(["user", "remove", "gus", "--yes"]).must_succeed();
    let gus = machine.run(["user", "list", "--all", "-o", "json"]).json();
    let gus =
        gus.as_array().unwrap().iter().find(|user| user["name"] == "gus").unwrap()["id"].as_str().unwrap();
    for (row, why) in [
        (
            format!("general,{KEY},,a,,,,"),
            "access: must be full, read-only, or scopes: and scopes such as incidents.read",
        ),
        (
            format!("general,{KEY},,a,full,ann,,"),
            "owner: a general key belongs to the account and has no owner",
        ),
        (format!("general,{KEY},,,full,,,"), "description: is missing"),
        (format!("general,{KEY},,a,full,,2999-01-01,"), "created_at: is in the future"),
        (format!("general,{KEY},,a,full,,2024-01-02,2024-01-01"), "expires_at: is not after created_at"),
        (
            format!("general,{KEY},,a,full,,yesterday,"),
            "created_at: must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z",
        ),
        (format!("user-token,{TOKEN},,a,,,,"), "owner: a user token needs one"),
        (
            format!("user-token,{TOKEN},,a,full,uma,,"),
            "access: must be role, or scopes: and scopes such as incidents.read",
        ),
        (
            format!("user-token,{TOKEN},,a,scopes:incidents.write,otto,,"),
            "access: the role observer does not hold incidents.write",
        ),
        (
            format!("user-token,{TOKEN},,a,,lea,,"),
            "owner: the role read_only_limited_user has no user tokens",
        ),
        (format!("user-token,{TOKEN},,a,,{gus},,"), "owner: gus has left the account"),
        (
            format!("integration,{SERVICE_KEY},,a,,,,"),
            "owner: an integration key needs a service or an orchestration",
        ),
        (
            format!("integration,{ORCHESTRATION_KEY},,a,,web,,"),
            "owner: there is no such orchestration for this key",
        ),
        (
            format!("integration,,{},a,,web,,", hex(SERVICE_KEY)),
            "digest: an integration key must remain visible, so its secret is needed",
        ),
        (
            format!("integration,{SERVICE_KEY},,a,,web,,2099-01-01"),
            "expires_at: an integration key does not expire",
        ),
        (format!("integration,{SERVICE_KEY},,a,read-only,web,,"), "access: must be full, or nothing"),
        (
            "app-token,pdus+_0ABC123_01234567-89ab-cdef-0123-456789abcdef,,a,,,,".to_owned(),
            "kind: an app token is valid for a day only and cannot be imported",
        ),
        (
            format!("general,{KEY},,\"a\nb\",full,,,"),
            "description: must not contain control characters (\\u{a})",
        ),
        (format!("general, {KEY},,a,full,,,"), "secret: blanks stand around it"),
        (format!("general ,{KEY},,a,full,,,"), "kind: blanks stand around it"),
        (format!("general,{KEY},,a,full,,\u{a0}2024-01-01,"), "created_at: blanks stand around it"),
        (format!("general,{KEY}, ,a,full,,,"), "digest: blanks stand around it"),
        (",,,,,,,".to_owned(), "has nothing but commas"),
    ] {
        assert_eq!(problem(&machine, &row), why, "{row}");
    }
    // An end that is over is none that is refused: such keys stay listed.
    import(&machine, &[&format!("general,{KEY},,a,full,,2023-01-01,2024-01-01")], &[]).must_succeed();
    assert_eq!(reason_for(&machine, KEY), "expired");
}

#[test]
fn a_byte_order_mark_crlf_json_lines_and_another_order_of_columns_are_read() {
    let machine = Machine::with_store();
    fs::write(
        machine.file("excel.CSV"),
        format!("\u{feff}description,secret,kind,access\r\n\"a \"\"b\"\", c\",{KEY},general,read-only\r\n"),
    )
    .unwrap();
    machine.run(["import", "excel.CSV"]).must_succeed();
    assert_eq!(machine.run(["list", "-o", "json"]).json()[0]["description"], "a \"b\", c");
    fs::write(
        machine.file("keys.txt"),
        format!("{{\"kind\":\"general\",\"secret\":\"{}\",\"description\":\"j\",\"access\":\"full\",\"owner\":null}}\n\n", key(1)),
    )
    .unwrap();
    assert_snapshot!(machine.refuses(["import", "keys.txt"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: keys.txt: not known how it is written
    hint: --format csv or --format jsonl says it, where the file's name does not
    ");
    machine.run(["import", "keys.txt", "--format", "jsonl"]).must_succeed();
    assert_eq!(reason_for(&machine, &key(1)), "allowed");
    fs::write(machine.file("bad.jsonl"), format!("{{\"kind\":7}}\n{KEY}\n{{\"key\":\"{KEY}\"}}\n")).unwrap();
    assert_snapshot!(machine.refuses(["import", "bad.jsonl"]), @r"
    exit: 1
    --- stdout
    --- stderr
    warning: bad.jsonl:1: a member is neither text nor null, or it is no object (column 9)
    warning: bad.jsonl:2: not JSON (column 1)
    warning: bad.jsonl:3: a member has a name that is no column (column 30)
    error: 3 of 3 lines cannot be imported, and nothing was
    hint: put them right, and import the file again
    ");
}

#[test]
fn a_file_without_a_header_or_with_a_wrong_one_is_refused_without_a_word_of_what_is_in_it() {
    let machine = Machine::with_store();
    fs::write(machine.file("keys.csv"), format!("{KEY},one\n{},two\n", key(2))).unwrap();
    assert_snapshot!(machine.refuses(["import", "keys.csv"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: keys.csv: line 1: cell 1 is the name of no column
    hint: the first line names the columns: kind,secret,digest,description,access,owner,created_at,expires_at
    ");
    for (content, why) in [
        ("", "there is none"),
        ("kind,secret\n", "no column is called description"),
        ("kind,kind,description\n", "column kind is there twice"),
        ("kind,description\n", "no column is called secret or digest"),
        ("Kind,secret,description\n", "cell 1 is the name of no column"),
        ("kind;secret;description\n", "cells are separated by ;, and must be by commas"),
        ("\u{feff}description\tsecret\n", "cells are separated by tabs, and must be by commas"),
        ("kind|secret|access\n", "cells are separated by |, and must be by commas"),
        ("sep=,\nkind,secret,description\n", "sep= is for Excel; the header must stand in its place"),
        ("\u{feff}SEP=;\r\nkind;secret\r\n", "sep= is for Excel; the header must stand in its place"),
        ("kind,secret,description,,\n", "cell 4 is empty"),
        ("kind,secret\rgeneral,x\r", "a line ends with a carriage return alone"),
        ("k\0i\0n\0d\0", "the file is UTF-16 or no text, and must be UTF-8"),
        ("\0k\0i\0n\0d", "the file is UTF-16 or no text, and must be UTF-8"),
    ] {
        fs::write(machine.file("keys.csv"), content).unwrap();
        let ran = machine.refuses(["import", "keys.csv"]).must_exit(1);
        assert!(ran.stderr.starts_with(&format!("error: keys.csv: line 1: {why}\n")), "{ran}");
    }
    for mark in [b"\xff\xfek\0i\0", b"\xfe\xff\0k\0i"] {
        for (name, begins) in [("utf-16.csv", "utf-16.csv: line 1:"), ("utf-16.jsonl", "utf-16.jsonl:1:")] {
            fs::write(machine.file(name), mark).unwrap();
            let ran = machine.refuses(["import", name, "--skip-bad"]).must_exit(1);
            let why = format!("error: {begins} the file is UTF-16 or no text, and must be UTF-8\n");
            assert!(ran.stderr.starts_with(&why), "{ran}");
        }
    }
    // A header and nothing more brings nothing, and leaves no record.
    write(&machine, "keys.csv", &[]);
    machine.unchanged(|| machine.run(["import", "keys.csv"])).must_succeed();
    machine.refuses(["import", "missing.csv"]).must_exit(1);
    machine.refuses(["import", "/dev/null", "--format", "csv"]).must_exit(1);
    machine.run_shell("mkfifo pipe.csv; mkdir directory.csv").must_succeed();
    for name in ["pipe.csv", "directory.csv"] {
        let ran = machine.refuses(["import", name]).must_exit(1);
        assert!(ran.stderr.contains("not a file"), "{ran}");
    }
    let machine = Machine::new();
    write(&machine, "keys.csv", &[]);
    machine.run(["import", "keys.csv", "--dry-run"]).must_exit(1);
    assert!(!machine.directory().exists(), "what is only tried makes no store");
    let ran = machine.run(["import", "missing.csv"]).must_exit(1);
    assert!(ran.stderr.starts_with("error: missing.csv: "), "{ran}");
}

#[test]
fn what_stands_inside_a_quoted_cell_is_no_line_of_its_own() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    let inner = format!("general,{},,CI deploy,full,,,", key(1));
    let padding = "x\n".repeat(1 << 20);
    for cell in [
        format!("\"notes\n{inner}\n\""),
        format!("\"notes\r\n{inner}\r\nmore\""),
        format!("\"say \"\"hello\"\"\n\n{inner}\n\"\"\""),
        format!("\"{padding}{inner}\n\""),
        format!("{}\"\n{inner}\n\"", ",".repeat(100)),
    ] {
        let rows = [&format!("general,{KEY},,{cell},full,,,"), &format!("general,{},,fine,full,,,", key(2))];
        let ran = import(&machine, &rows.map(String::as_str), &["--skip-bad"]).must_succeed();
        assert!(ran.stderr.starts_with("warning: keys.csv:2: "), "{ran}");
        assert!(ran.stderr.ends_with("Imported 1 general key; 1 bad line left out\n"), "{ran}");
        assert_eq!([reason_for(&machine, &key(1)), reason_for(&machine, &key(2))], ["unknown", "allowed"]);
        let id = text_of(&machine.run(["list", "-o", "json"]).json()[0], "id");
        machine.run(["disable", &id, "--yes"]).must_succeed();
        machine
            .sql()
            .execute_batch("DELETE FROM digest WHERE kind = 'general'; DELETE FROM general_key")
            .unwrap();
    }
    // A line end in a cell where none can stand is told with the line on which the record begins.
    let rows = [
        &format!("\"general\n{inner}\",{KEY},,a,full,,,"),
        &format!("general,{KEY},,a,full,,\"2024-01-01\n{inner}\n\","),
        &format!("user-token,{TOKEN},,t,,\"uma\n{inner}\n\",,"),
        &format!("integration,{SERVICE_KEY},,i,,\"web\n{inner}\n\",,"),
        &format!("general,{},,fine,full,,,", key(3)),
    ];
    let ran = import(&machine, &rows.map(String::as_str), &["--skip-bad"]).must_succeed();
    let lines: Vec<_> = ran.stderr.lines().filter_map(|line| line.split(':').nth(2)).collect();
    assert_eq!(lines, ["2", "4", "7", "10"], "{ran}");
    assert_eq!(reason_for(&machine, &key(1)), "unknown");

    let file = "name,email,role\nlin,\"lin@example.org\nmallory,,admin\n\",user\n\"a\nmallory,,admin\",,user\nkim,,user\n";
    fs::write(machine.file("users.csv"), file).unwrap();
    assert_snapshot!(machine.run(["user", "import", "users.csv", "--skip-bad"]), @r"
    exit: 0
    --- stdout
    --- stderr
    warning: users.csv:2: email: must not contain control characters (\u{a})
    warning: users.csv:5: name: must not contain control characters (\u{a})
    Imported 1 user; 2 bad lines left out
    ");
    machine.run(["user", "show", "mallory"]).must_exit(5);
}

#[test]
fn where_a_record_ends_must_be_certain_or_nothing_comes_in() {
    let machine = Machine::with_users();
    let fine = format!("general,{},,fine,full,,,", key(2));
    let inner = format!("general,{},,CI deploy,full,,,", key(1));
    for (row, why) in [
        (format!("general,{KEY},,\"a,full,,,\n{inner}"), "a quote is opened and never closed"),
        (format!("\"general,{KEY},,a,full,,,"), "a quote is opened and never closed"),
        (format!("general,{KEY},,\"a \\\"b\n{inner}\n\",full,,,"), "text follows a closing quote"),
        (format!("general,{KEY},,\"a\" b,full,,,"), "text follows a closing quote"),
        (format!("general,{KEY}, \"a\n{inner}\n\",full,,,"), "blanks stand before an opening quote"),
        (format!("general,{KEY},,a\r{inner}"), "a line ends with a carriage return alone"),
    ] {
        for options in [["--skip-bad", "-q"], ["--skip-bad", "--dry-run"], ["--skip-bad", "-o=jsonl"]] {
            let ran = machine.unchanged(|| import(&machine, &[&fine, &row], &options)).must_exit(1);
            assert!(ran.stderr.starts_with(&format!("error: keys.csv:3: {why}")), "{ran}");
        }
    }
    assert_snapshot!(machine.unchanged(|| import(&machine, &[&fine, "", "\"general"], &["--skip-bad"])), @r"
    exit: 1
    --- stdout
    --- stderr
    error: keys.csv:4: a quote is opened and never closed
    hint: nothing was imported: what follows such a line cannot be told apart, and --skip-bad leaves out bad lines only
    ");
    fs::write(machine.file("users.csv"), "name,role\nlin,user\n\"kim,user\n").unwrap();
    machine.refuses(["user", "import", "users.csv", "--skip-bad"]).must_exit(1);
    // A quote amid a cell is part of its text, to every program.
    import(&machine, &[&format!("general,{KEY},,5\" disk,full,,,")], &[]).must_succeed();
    assert_eq!(machine.run(["list", "-o", "json"]).json()[0]["description"], "5\" disk");

    // JSON that goes on beyond its line is no JSON line, whatever stands on the next.
    let object = |key: &str| {
        format!("{{\"kind\":\"general\",\"secret\":\"{key}\",\"description\":\"d\",\"access\":\"full\"}}")
    };
    let inner = object(&key(1));
    for (number, cut) in [
        format!("{{\"kind\":\"general\",\"description\":\"\n{inner}\n\"}}"),
        format!("[\n{inner}\n]"),
        format!("{{\"before\":\n{inner}\n}}"),
        format!("{{\"kind\":\"general\",\"kind\":\"\n{inner}\n\"}}"),
        format!("{{\"kind\":7,\"description\":\"\n{inner}\n\"}}"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(machine.file("keys.jsonl"), format!("{}\n\n{cut}\n", object(&key(9)))).unwrap();
        let ran = machine.refuses(["import", "keys.jsonl", "--skip-bad"]).must_exit(1);
        let why = "error: keys.jsonl:3: its JSON does not end on its line\n";
        assert!(ran.stderr.starts_with(why), "{number}: {ran}");
    }
    let long = format!("{{\"kind\":\"{}\n{inner}\n\"}}\n", "x".repeat(2 << 20));
    fs::write(machine.file("keys.jsonl"), long).unwrap();
    let ran = machine.refuses(["import", "keys.jsonl", "--skip-bad"]).must_exit(1);
    assert!(ran.stderr.starts_with("error: keys.jsonl:1: longer than 1048576 bytes\n"), "{ran}");
}

#[test]
fn standard_input_is_imported_as_a_file_is() {
    let machine = Machine::with_users();
    let file = format!("{HEADER}\ngeneral,{KEY},,piped,full,,,\n");
    let ran = run_with_input(&machine, ["import", "-", "--format", "csv"], file.as_bytes()).must_succeed();
    assert_eq!(ran.stderr, "Imported 1 general key\n");
    assert_eq!(text_of(&newest(&machine)["details"]["fields"][0], "value"), hex(&file));
    fs::write(machine.file("more"), format!("{HEADER}\ngeneral,{},,redirected,full,,,\nbad\n", key(1)))
        .unwrap();
    let ran = machine.run_shell("\"$pdkeys\" import - --format=csv --skip-bad < more").must_succeed();
    assert_eq!(
        ran.stderr,
        "warning: standard input:3: has 1 cells, and the header has 8\nImported 1 general key; 1 bad line left out\n"
    );
    let users = b"{\"name\":\"lin\",\"role\":\"user\"}\n";
    run_with_input(&machine, ["user", "import", "-", "--format", "jsonl"], users).must_succeed();
    assert_snapshot!(machine.unchanged(|| run_with_input(&machine, ["import", "-"], file.as_bytes())), @r"
    exit: 2
    --- stdout
    --- stderr
    error: standard input: not known how it is written
    hint: --format csv or --format jsonl says it, where the file's name does not
    ");
    // While a program has not written all, others go on.
    let script = format!(
        "{{ echo {HEADER}; sleep 1; echo general,{},,slow,full,,,; }} | \"$pdkeys\" import - --format csv &
         sleep 0.3; \"$pdkeys\" create meanwhile || exit 9; wait",
        key(2)
    );
    machine.run_shell(&script).must_succeed();
    assert_eq!(machine.count("general_key"), 4);
    assert!(!machine.file("-").exists());
}

#[test]
fn an_export_of_users_comes_back_in() {
    let machine = Machine::with_users();
    let edit = ["user", "edit", "uma", "--external-id", "PABC123", "--email", "+uma@example.org"];
    machine.run(edit).must_succeed();
    machine.run(["user", "edit", "otto", "--rate-limit", "5/min"]).must_succeed();
    machine.run(["user", "remove", "rita", "--yes"]).must_succeed();
    let exported = |machine: &Machine| {
        let mut users = machine.run(["export", "users", "-o", "json"]).must_succeed().json();
        let users = users.as_array_mut().unwrap();
        users.retain(|user| user["status"] == "active" && user["role"] != "owner");
        for user in &mut *users {
            user.as_object_mut().unwrap().retain(|field, _| !["id", "created_at"].contains(&field.as_str()));
        }
        users.clone()
    };
    for (format, options) in [("csv", &[][..]), ("csv", &["--raw"][..]), ("jsonl", &["-o", "jsonl"][..])] {
        let file = machine.run(["export", "users"].iter().chain(options).copied()).must_succeed().stdout;
        let other = Machine::with_store();
        let name = format!("users.{format}");
        fs::write(other.file(&name), file).unwrap();
        let ran = other.run(["user", "import", &name]).must_succeed();
        assert_eq!(
            ran.stderr,
            "Imported 4 users\nhint: 2 users of the export left out: its Account Owner, and those who had left\n"
        );
        assert_eq!(exported(&other), exported(&machine), "{format} {options:?}");
        // A second time all of them are here.
        let ran = other.refuses(["user", "import", &name, "--skip-bad"]).must_exit(1);
        assert!(ran.stderr.contains("user adam ("), "{ran}");
    }
    // What only one user can have is not taken twice.
    let rows = "name,role,os_uid,external_id,rate_limit\n\
        a,user,61234,,\nb,user,,PABC123,\nc,user,7,E,\nd,user,7,,\ne,user,,E,\nf,user,x,,\ng,user,,,often\n";
    let rita = machine.run(["user", "list", "--all", "-o", "json"]).json();
    let rita = text_of(rita.as_array().unwrap().iter().find(|user| user["name"] == "rita").unwrap(), "id");
    fs::write(machine.file("users.csv"), format!("{rows}h,user,,{rita},\n")).unwrap();
    assert_snapshot!(machine.run(["user", "import", "users.csv", "--skip-bad"]), @r"
    exit: 0
    --- stdout
    --- stderr
    warning: users.csv:2: user sam ([U1]) already has this operating-system user
    warning: users.csv:3: user uma ([U2]) already has this external id
    warning: users.csv:5: line 4 has the same operating-system user
    warning: users.csv:6: line 4 has the same external id
    warning: users.csv:7: os_uid: must be the number of an operating-system user
    warning: users.csv:8: rate limit: must look like 100/min, or be none
    warning: users.csv:9: external id: is the id of user rita
    Imported 1 user; 7 bad lines left out
    ");
}

#[test]
fn what_a_spreadsheet_would_compute_is_text_in_csv_and_comes_back_as_it_was() {
    let machine = Machine::with_store();
    let descriptions = ["=1+1", "+1", "-2 (old)", "@SUM(A1)", "'=x", "''+y", "'quoted'", "a=b", "\u{ff1d}1"];
    for (number, description) in descriptions.iter().enumerate() {
        import(
            &machine,
            &[&format!("general,{},,\"{}\",full,,,", key(number), format_args!("{description}"))],
            &[],
        )
        .must_succeed();
    }
    let stored = |machine: &Machine| {
        let listed = machine.run(["list", "-o", "json"]).must_succeed().json();
        let listed = listed.as_array().unwrap();
        listed.iter().map(|key| text_of(key, "description")).collect::<Vec<_>>()
    };
    // Of quotes that an export put there, one is taken off.
    let expected = ["=1+1", "+1", "-2 (old)", "@SUM(A1)", "=x", "'+y", "'quoted'", "a=b", "\u{ff1d}1"];
    assert_eq!(stored(&machine), expected);
    let column = |options: &[&str]| -> Vec<String> {
        let ran = machine.run(options.iter().copied()).must_succeed();
        let cells = |line: &str| line.split(',').nth(2).unwrap().to_owned();
        ran.stdout.lines().skip(1).map(cells).collect()
    };
    let guarded = ["'=1+1", "'+1", "'-2 (old)", "'@SUM(A1)", "'=x", "''+y", "'quoted'", "a=b", "'\u{ff1d}1"];
    assert_eq!(column(&["export", "keys"]), guarded);
    assert_eq!(column(&["list", "-o", "csv"]), guarded);
    assert_eq!(column(&["export", "keys", "--raw"]), expected);
    assert_eq!(column(&["list", "-o", "csv", "--raw"]), expected);
    let shown =
        machine.run(["show", &text_of(&machine.run(["list", "-o", "json"]).json()[0], "id"), "-o", "csv"]);
    assert!(shown.stdout.contains(",'=1+1,"), "{shown}");
    // Exported descriptions, with new keys, come back as they were.
    let other = Machine::with_store();
    let rows: Vec<_> = column(&["export", "keys"])
        .iter()
        .enumerate()
        .map(|(number, cell)| format!("general,{},,{cell},full,,,", key(number)))
        .collect();
    import(&other, &rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]).must_succeed();
    assert_eq!(stored(&other), expected);
    assert_snapshot!(machine.refuses(["list", "--raw"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: --raw says how CSV is printed, and something else is
    hint: give it with -o csv; JSON has every text as it is
    ");
    machine.refuses(["export", "keys", "-o", "json", "--raw"]).must_exit(2);
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_told_by_its_number() {
    let machine = Machine::with_store();
    let mut file = format!("{HEADER}\ngeneral,{KEY},,").into_bytes();
    file.extend(vec![b'x'; 3 << 20]);
    file.extend(b",full,,,\ngeneral,");
    file.extend(b"\xff\xfe,,a,full,,,\n");
    file.extend(format!("general,{},,fine,full,,,", key(1)).bytes());
    fs::write(machine.file("keys.csv"), file).unwrap();
    assert_snapshot!(machine.run(["import", "keys.csv", "--skip-bad"]), @r"
    exit: 0
    --- stdout
    --- stderr
    warning: keys.csv:2: longer than 1048576 bytes
    warning: keys.csv:3: cell 2 is no UTF-8
    Imported 1 general key; 2 bad lines left out
    ");
    assert_eq!(reason_for(&machine, &key(1)), "allowed");
}

#[test]
fn an_admin_imports_everything_but_user_tokens_and_others_import_nothing() {
    let machine = Machine::with_users();
    let token = format!("user-token,{TOKEN},,laptop,,uma,,");
    let key = format!("general,{KEY},,ci,full,,,");
    assert_snapshot!(machine.unchanged(|| import(&machine, &[&key, &token], &["--as", "adam", "--skip-bad"])), @r"
    exit: 4
    --- stdout
    --- stderr
    error: adam (admin) may not import: not user tokens
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.unchanged(|| import(&machine, &[&key], &["--as", "uma"])).must_exit(4);
    import(&machine, &[&key], &["--as", "adam"]).must_succeed();
    import(&machine, &[&token], &[]).must_succeed();
}

#[test]
fn what_the_account_has_switched_off_does_not_come_in() {
    let machine = Machine::with_users();
    let token = format!("user-token,{TOKEN},,laptop,,uma,,");
    let key = format!("general,{KEY},,ci,full,,,");
    machine.run(["account", "set", "--advanced-permissions", "off"]).must_succeed();
    machine.unchanged(|| import(&machine, &[&token], &["--skip-bad"])).must_exit(1);
    machine.run(["account", "set", "--advanced-permissions", "on", "--rest-api", "off"]).must_succeed();
    machine.unchanged(|| import(&machine, &[&token], &["--skip-bad"])).must_exit(1);
    assert_snapshot!(machine.unchanged(|| import(&machine, &[&key], &["--skip-bad"])), @r"
    exit: 1
    --- stdout
    --- stderr
    error: REST keys are switched off in this account
    hint: the Account Owner can switch them on: pdkeys account set --rest-api on
    ");
}

#[test]
fn nothing_but_the_file_itself_holds_an_imported_secret_or_its_hash() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    let hashed = "AAAAbbbbCCCCddddEEE2";
    let rows = [
        &format!("general,{KEY},,a,full,,,"),
        &format!("general,,{},b,full,,,", hex(hashed)),
        &format!("user-token,{TOKEN},,c,,uma,,"),
        &format!("integration,{SERVICE_KEY},,d,,web,,"),
        &format!("general,{KEY},,bad,full,,,"),
    ];
    let ran = import(&machine, &rows.map(String::as_str), &["--skip-bad"]).must_succeed();
    let printed = ran.stdout + &ran.stderr + &machine.run(["audit", "list", "-o", "json"]).stdout;
    fs::remove_file(machine.file("keys.csv")).unwrap();
    let mut searched = vec![printed.into_bytes()];
    searched.extend(files_below(&machine.directory()).iter().map(|file| fs::read(file).unwrap()));
    for secret in [KEY, hashed, TOKEN, SERVICE_KEY] {
        let hash = Sha256::digest(secret.as_bytes());
        for trace in [secret.as_bytes(), hash.as_slice(), hex(secret).as_bytes()] {
            for content in &searched {
                assert!(!content.windows(trace.len()).any(|window| window == trace), "{secret}");
            }
        }
    }
}

/// Enough for an import that can be interrupted.
fn many_keys(machine: &Machine) -> usize {
    let many = 8_000;
    let rows: Vec<_> = (0..many).map(|number| format!("general,{},,k,full,,,", key(number))).collect();
    write(machine, "many.csv", &rows.iter().map(String::as_str).collect::<Vec<_>>());
    many
}

#[test]
fn a_kill_at_any_moment_leaves_all_of_an_import_or_nothing() {
    let machine = Machine::with_store();
    let many = many_keys(&machine) as u64;
    let mut killed = 0;
    for wait in [2, 10, 40, 100, 200, 400, 700] {
        let mut command = machine.command(["import", "many.csv"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        machine.run(["audit", "verify"]).must_succeed();
        let count = machine.count("general_key");
        assert!(count == 0 || count == many, "{count}");
        assert_eq!(machine.count("digest"), count);
        if count == many {
            break;
        }
    }
    assert!(killed > 1, "some were killed before they ended");
    if machine.count("general_key") == 0 {
        machine.run(["import", "many.csv"]).must_succeed();
    }
    assert_eq!(reason_for(&machine, &key(7_999)), "allowed");
}

#[test]
fn a_full_disk_leaves_nothing_of_an_import() {
    let machine = Machine::with_store();
    many_keys(&machine);
    for blocks in [0, 64, 300, 1_000] {
        let ran = machine.unchanged(|| run_on_full_disk(&machine, blocks, "import many.csv")).must_exit(1);
        assert!(ran.stderr.starts_with("error: the store failed"), "{ran}");
    }
    machine.run(["audit", "verify"]).must_succeed();
    machine.run(["import", "many.csv"]).must_succeed();
}

#[test]
fn users_come_in_from_a_file_with_one_record() {
    let machine = Machine::with_users();
    let file = "name,email,role\ngrace,grace@example.org,admin\nlin,,limited_user\n";
    fs::write(machine.file("users.csv"), file).unwrap();
    machine.unchanged(|| machine.run(["user", "import", "users.csv", "--dry-run"])).must_succeed();
    assert_snapshot!(machine.run(["user", "import", "users.csv"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Imported 2 users
    ");
    let grace = machine.run(["user", "show", "grace", "-o", "json"]).must_succeed().json();
    assert_eq!([&grace["email"], &grace["role"]], ["grace@example.org", "admin"]);
    let record = newest(&machine);
    assert_eq!(text_of(&record["details"]["fields"][0], "value"), hex(file));
    assert_eq!(text_of(&record["details"]["fields"][1], "value"), "2");

    let file = "role,name\nadmin,lin\nowner,olga\nobserver,new\nboss,bill\nuser,new\nuser,-x\n";
    fs::write(machine.file("bad.csv"), file).unwrap();
    assert_snapshot!(machine.refuses(["user", "import", "bad.csv"]), @r"
    exit: 1
    --- stdout
    --- stderr
    warning: bad.csv:2: user lin ([U1]) already has this name
    warning: bad.csv:3: role: an account has exactly one owner
    warning: bad.csv:5: role: must be one of the eight, such as limited_user
    warning: bad.csv:6: line 4 has the same name
    warning: bad.csv:7: name: must not begin with -
    error: 5 of 6 lines cannot be imported, and nothing was
    hint: put them right, or leave them out with --skip-bad
    ");
    machine.refuses(["user", "import", "users.csv", "--as", "uma"]).must_exit(4);
    machine.run(["user", "import", "bad.csv", "--skip-bad", "--as", "adam"]).must_succeed();
    machine.run(["user", "show", "new"]).must_succeed();
}
