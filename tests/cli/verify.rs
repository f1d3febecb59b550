//! `verify`: one key, once.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use expectrl::process::Termios as _;
use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect as _};
use insta::assert_snapshot;
use serde_json::json;

use crate::checking::{
    UNKNOWN, ask, ask_event, batch, line, lines, make_app_token, make_integration, make_token, reason,
    reason_for, run_with_input,
};
use crate::session::{Machine, Ran, SOMEBODY, can_be_others, set_mode, text_of};

const INCIDENTS: [&str; 5] = ["verify", "--method", "GET", "--path", "/incidents"];

fn with_key() -> (Machine, String) {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    (machine, key)
}

#[track_caller]
fn from_file<'m>(machine: &'m Machine, file: &Path) -> Ran<'m> {
    let arguments = ["-o", "jsonl", "--key-file", file.to_str().unwrap()];
    machine.run(INCIDENTS.into_iter().chain(arguments))
}

// Where the secret comes from.

#[test]
fn a_key_file_comes_before_the_variable_and_the_variable_before_standard_input() {
    let (machine, key) = with_key();
    let file = machine.file("key");
    let in_file = file.to_str().unwrap().to_owned();
    let from_all = |variable: Option<&str>, options: &[&str], input: &str| -> String {
        let mut command = machine.command(INCIDENTS.into_iter().chain(options.iter().copied()));
        command.args(["-o", "jsonl"]).stdin(fs::File::open(machine.file(input)).unwrap());
        if let Some(variable) = variable {
            command.env("PDKEYS_KEY", variable);
        }
        reason(&machine.finish(&mut command))
    };
    fs::write(machine.file("good"), &key).unwrap();
    fs::write(machine.file("bad"), UNKNOWN).unwrap();
    fs::write(&file, &key).unwrap();
    assert_eq!(from_all(Some(UNKNOWN), &["--key-file", &in_file], "bad"), "allowed");
    assert_eq!(from_all(Some(&key), &[], "bad"), "allowed");
    assert_eq!(from_all(None, &[], "good"), "allowed");
    fs::write(&file, UNKNOWN).unwrap();
    assert_eq!(from_all(Some(&key), &["--key-file", &in_file], "good"), "unknown");
    assert_eq!(from_all(Some(UNKNOWN), &[], "good"), "unknown");
}

#[test]
fn a_variable_that_is_set_but_empty_is_a_missing_key_whatever_standard_input_has() {
    let (machine, key) = with_key();
    let machine = machine.with("PDKEYS_KEY", "");
    assert_eq!(reason_for(&machine, &key), "missing");
    assert_snapshot!(run_with_input(&machine, INCIDENTS, key.as_bytes()), @r"
    exit: 3
    --- stdout
    verdict     denied: missing
    status      401
    because     no credential was presented
    --- stderr
    ");
}

#[test]
fn an_empty_input_or_none_is_a_missing_key() {
    let (machine, _) = with_key();
    for nothing in ["", "\n", "\r\n"] {
        assert_eq!(reason_for(&machine, nothing), "missing", "{nothing:?}");
    }
    machine.run(INCIDENTS).must_exit(3);
    let closed = machine.run_shell("\"$pdkeys\" verify --method GET --path /incidents <&-");
    assert!(matches!(closed.code(), 1 | 3), "{closed}");
    let a_directory = machine.run_shell("\"$pdkeys\" verify --method GET --path /incidents < .");
    assert!(matches!(a_directory.code(), 1 | 3), "{a_directory}");
}

#[test]
fn a_key_file_that_cannot_be_read_is_a_failure_and_an_empty_one_a_missing_key() {
    let (machine, key) = with_key();
    let file = machine.file("key");
    assert_snapshot!(from_file(&machine, &file), @r"
    exit: 1
    --- stdout
    --- stderr
    error: key file [HOME]/key: No such file or directory (os error 2)
    ");
    from_file(&machine, machine.home()).must_exit(1);
    fs::write(&file, "").unwrap();
    assert_eq!(reason(&from_file(&machine, &file)), "missing");
    fs::write(&file, format!("Token token={key}\n")).unwrap();
    assert_eq!(reason(&from_file(&machine, &file)), "allowed");
    fs::write(&file, [key.as_bytes(), b"\xff"].concat()).unwrap();
    assert_eq!(reason(&from_file(&machine, &file)), "malformed");
    machine.run(INCIDENTS.into_iter().chain(["--key-file", ""])).must_exit(2);
}

#[test]
fn a_key_file_of_somebody_else_is_a_failure() {
    if !can_be_others() {
        return;
    }
    let (machine, key) = with_key();
    let file = machine.file("key");
    fs::write(&file, &key).unwrap();
    machine.give_to(SOMEBODY);
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    set_mode(&file, 0o600);
    let arguments = INCIDENTS.into_iter().chain(["--key-file", file.to_str().unwrap()]);
    let ran = machine.run_as(SOMEBODY, arguments).must_exit(1);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("Permission denied"), "{ran}");
}

#[test]
fn a_key_in_an_argument_is_refused_and_not_repeated() {
    let (machine, key) = with_key();
    let arguments = INCIDENTS.into_iter().chain(["--key", &key]);
    let ran = machine.refuses(arguments);
    assert!(!ran.stderr.contains(&key) && !ran.stdout.contains(&key));
    assert_snapshot!(ran, @r"
    exit: 2
    --- stdout
    --- stderr
    error: a key is not given as an argument, which every user of the machine can see
    hint: give it on standard input, in a file with --key-file, or in PDKEYS_KEY
    ");
    let refusal = ran.stderr;
    for arguments in [
        &["verify", "--key", &key][..],
        &["verify", "--batch", "--key", &key],
        &["verify", "--key"],
        &["verify", "--key", "--method", "GET", "--path", "/incidents"],
        &["verify", &key],
        &["verify", "--method", "GET", "--path", "/incidents", &key],
        &["verify", "Token", &key],
        &["verify", "--batch", &key],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(2);
        assert_eq!((ran.stderr.as_str(), ran.stdout.as_str()), (refusal.as_str(), ""), "{arguments:?}");
    }
    let help = machine.run(["verify", "--help"]).must_succeed().stdout;
    assert!(!help.contains("[KEY]") && !help.contains("--key "), "{help}");
    let attached = format!("--key={key}");
    let ran = machine.refuses(INCIDENTS.into_iter().chain([attached.as_str()])).must_exit(2);
    assert!(!ran.stderr.contains(&key));
}

#[test]
fn a_variable_that_is_no_text_is_malformed() {
    use std::os::unix::ffi::OsStrExt as _;
    let (machine, key) = with_key();
    let bytes = [key.as_bytes(), b"\xff"].concat();
    let mut command = machine.command(INCIDENTS.into_iter().chain(["-o", "jsonl"]));
    command.env("PDKEYS_KEY", std::ffi::OsStr::from_bytes(&bytes));
    assert_eq!(reason(&machine.finish(&mut command)), "malformed");
}

/// A check has no acting user: it goes on where commands that have one are refused.
#[test]
fn a_check_asks_for_no_acting_user() {
    let (machine, key) = with_key();
    let machine = machine.with("PDKEYS_TOKEN", "nonsense");
    machine.run(["list"]).must_exit(4);
    assert_eq!(reason_for(&machine, &key), "allowed");
    machine.run(["explain", "GET", "/incidents"]).must_succeed();
}

fn on_terminal(machine: &Machine, arguments: &str) -> OsSession {
    let mut shell = machine.shell(&format!("read -r _; stty cols 100 echo; exec \"$pdkeys\" {arguments}"));
    shell.env("TERM", "xterm").stdin(Stdio::inherit());
    let mut session = OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    session.send_line("").unwrap();
    session
}

#[test]
fn at_a_terminal_the_key_is_asked_for_and_not_shown_and_the_answer_explained() {
    let (machine, key) = with_key();
    for (typed, code) in [(key.as_str(), 0), (UNKNOWN, 3), ("", 3)] {
        let mut session = on_terminal(&machine, "verify --method GET --path /incidents");
        session.expect("Key").unwrap();
        // What comes before the terminal stops to echo is thrown away.
        while session.get_process().is_echo().unwrap() {
            std::thread::sleep(Duration::from_millis(5));
        }
        session.send_line(typed).unwrap();
        let rest = session.expect(Eof).unwrap();
        let shown = String::from_utf8_lossy(rest.as_bytes()).into_owned();
        assert!(typed.is_empty() || !shown.contains(typed), "{shown}");
        assert!(
            matches!(session.get_process().wait().unwrap(), WaitStatus::Exited(_, end) if end == code),
            "{shown}"
        );
        assert_eq!(shown.contains("959 of 960 left"), code == 0, "{shown}");
        assert_eq!(shown.contains("listIncidents"), code == 0, "{shown}");
    }
}

// What is printed.

#[test]
fn the_four_formats_say_the_same() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &["--scope", "incidents.read", "--scope", "services.write"]);
    let run = |format: &str| {
        run_with_input(&machine, INCIDENTS.into_iter().chain(["--dry-run", "-o", format]), key.as_bytes())
    };
    assert_snapshot!(run("table"), @r"
    exit: 0
    --- stdout
    verdict     allowed
    status      200
    because     key [K1] (ci) may do this
    credential  general key [K1] (ci, ...[HINT 1])
    operation   listIncidents
    needed      incidents.read
    has         incidents.read services.write
    rate limit  959 of 960 left; a new window in 60 s
    --- stderr
    ");
    assert_snapshot!(run("json"), @r#"
    exit: 0
    --- stdout
    {
      "allowed": true,
      "reason": "allowed",
      "status": 200,
      "message": "key [K1] (ci) may do this",
      "credential": {
        "kind": "general",
        "id": "[K1]",
        "description": "ci",
        "hint": "[HINT 1]",
        "owner": null,
        "role": null,
        "access": "scopes",
        "scopes": [
          "incidents.read",
          "services.write"
        ],
        "service": null,
        "orchestration": null,
        "app": null
      },
      "needed": [
        "incidents.read"
      ],
      "rate_limit": {
        "limit": 960,
        "remaining": 959,
        "reset": 60
      },
      "operation": "listIncidents"
    }
    --- stderr
    "#);
    assert_snapshot!(run("jsonl"), @r#"
    exit: 0
    --- stdout
    {"allowed":true,"reason":"allowed","status":200,"message":"key [K1] (ci) may do this","credential":{"kind":"general","id":"[K1]","description":"ci","hint":"[HINT 1]","owner":null,"role":null,"access":"scopes","scopes":["incidents.read","services.write"],"service":null,"orchestration":null,"app":null},"needed":["incidents.read"],"rate_limit":{"limit":960,"remaining":959,"reset":60},"operation":"listIncidents"}
    --- stderr
    "#);
    let csv = run("csv").must_exit(0);
    assert!(
        csv.stdout.starts_with(
            "allowed,reason,status,message,credential,needed,rate_limit,operation\ntrue,allowed,200,"
        ),
        "{csv}"
    );
    assert_eq!(csv.stdout.lines().count(), 2);
}

#[test]
fn each_kind_of_credential_is_described() {
    let machine = Machine::with_users();
    let token = make_token(&machine, "uma", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    let (integration, key) = make_integration(&machine, &[]);
    let credential = |ran: Ran<'_>| ran.must_exit(0).json()["credential"].clone();
    let uma = text_of(&machine.run(["user", "show", "uma", "-o", "json"]).json(), "id");
    let bot = text_of(&machine.run(["app", "show", "bot", "-o", "json"]).json(), "id");
    let web = text_of(&machine.run(["service", "show", "web", "-o", "json"]).json(), "id");
    let found = credential(ask(&machine, &token, "GET", "/incidents"));
    assert_eq!(
        (&found["kind"], &found["role"], &found["access"]),
        (&json!("user-token"), &json!("user"), &json!("role"))
    );
    assert_eq!((&found["owner"], &found["scopes"]), (&json!({ "id": uma, "name": "uma" }), &json!(null)));
    let found = credential(ask(&machine, &format!("Bearer {app_token}"), "GET", "/incidents"));
    assert_eq!((&found["kind"], &found["access"]), (&json!("app-token"), &json!("scopes")));
    assert_eq!((&found["app"], &found["id"]), (&json!({ "id": bot, "name": "bot" }), &json!(bot)));
    assert_eq!(found["scopes"], json!(["incidents.read"]));
    let found = credential(ask_event(&machine, &key, "events-v2"));
    assert_eq!((&found["kind"], &found["id"]), (&json!("integration"), &json!(integration)));
    assert_eq!(found["service"], json!({ "id": web, "name": "web" }));
    assert_eq!((&found["orchestration"], &found["access"]), (&json!(null), &json!(null)));
}

#[test]
fn a_description_cannot_move_the_cursor_of_whoever_reads_the_verdict() {
    let (machine, key) = with_key();
    machine.sql().execute("UPDATE general_key SET description = ?1", ["a\u{1b}[2Jb\u{202e}c"]).unwrap();
    for format in ["table", "json", "jsonl", "csv"] {
        let ran = run_with_input(&machine, INCIDENTS.into_iter().chain(["-o", format]), key.as_bytes());
        assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{format}: {:?}", ran.stdout);
    }
}

// How it ends.

#[test]
fn what_is_not_asked_is_a_usage_error() {
    let (machine, key) = with_key();
    assert_snapshot!(run_with_input(&machine, ["verify", "--method", "GET"], key.as_bytes()), @r"
    exit: 2
    --- stdout
    --- stderr
    error: --method and --path are both required
    hint: for instance --method GET --path /incidents; events need neither
    ");
    for arguments in [
        &["verify"][..],
        &["verify", "--path", "/incidents"],
        &["verify", "--api", "soap", "--method", "GET", "--path", "/"],
        &["verify", "--method"],
        &["verify", "--method", "GET", "--path", "/", "-o", "xml"],
    ] {
        run_with_input(&machine, arguments.iter().copied(), key.as_bytes()).must_exit(2);
    }
}

#[test]
fn what_cannot_be_found_out_is_a_failure_and_never_allowed() {
    let (machine, key) = with_key();
    let run = |machine: &Machine| {
        let ran = run_with_input(machine, INCIDENTS, key.as_bytes()).must_exit(1);
        assert_eq!(ran.stdout, "", "{ran}");
        assert!(ran.stderr.starts_with("error: "), "{ran}");
        assert!(!ran.stderr.contains(&key), "{ran}");
    };
    let store_key = fs::read(machine.store_key()).unwrap();
    fs::remove_file(machine.store_key()).unwrap();
    run(&machine);
    fs::write(machine.store_key(), [7; 32]).unwrap();
    set_mode(&machine.store_key(), 0o600);
    run(&machine);
    fs::write(machine.store_key(), store_key).unwrap();
    assert_eq!(reason_for(&machine, &key), "allowed");
    fs::write(machine.store(), "not a database").unwrap();
    run(&machine);
    fs::remove_file(machine.store()).unwrap();
    run(&machine);
    run(&Machine::new());
}

#[test]
fn a_dry_run_counts_nothing() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &["--rate-limit", "1/min"]);
    let dry = || {
        run_with_input(&machine, INCIDENTS.into_iter().chain(["--dry-run", "-o", "jsonl"]), key.as_bytes())
    };
    for _ in 0..3 {
        let ran = dry();
        assert_eq!(reason(&ran), "allowed");
        assert_eq!(ran.json()["rate_limit"]["remaining"], 0);
    }
    assert_eq!(machine.run(["show", &id, "-o", "json"]).json()["last_used_at"], json!(null));
    assert_eq!(reason_for(&machine, &key), "allowed");
    assert_eq!(reason(&dry()), "rate-limited", "it tells what would be");
}

// Bad input.

#[test]
fn one_line_end_after_it_and_a_scheme_in_any_case_are_fine() {
    let machine = Machine::with_users();
    let (_, key) = machine.make_key("ci", &["--rate-limit", "none"]);
    let token = make_token(&machine, "uma", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    for secret in [&key, &token] {
        for text in [
            secret.clone(),
            format!("{secret}\n"),
            format!("{secret}\r\n"),
            format!("Token token={secret}"),
            format!("TOKEN token={secret}\r\n"),
            format!("token token={secret}\n"),
            format!("Token token=\"{secret}\""),
            format!("Token {secret}"),
            format!("Token   {secret}\n"),
            format!("Token  token={secret}"),
        ] {
            assert_eq!(reason_for(&machine, &text), "allowed");
        }
    }
    for text in [
        app_token.clone(),
        format!("Bearer {app_token}"),
        format!("bEARER {app_token}\n"),
        format!("Bearer  {app_token}"),
        format!("{app_token}\r\n"),
    ] {
        assert_eq!(reason_for(&machine, &text), "allowed");
    }
}

#[test]
fn anything_else_around_a_key_is_malformed() {
    let machine = Machine::with_users();
    let (_, key) = machine.make_key("ci", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    let mebibyte = "a".repeat(1 << 20);
    for text in [
        format!(" {key}"),
        format!("{key} "),
        format!("\t{key}"),
        format!("{key}\t"),
        format!("\"{key}\""),
        format!("'{key}'"),
        format!("\n{key}"),
        format!("{key}\n\n"),
        format!("{key}\r"),
        format!("{key}\n{key}"),
        format!("{key}\r\n{key}\r\n"),
        format!("{key}\0"),
        format!("{key}\u{a0}"),
        format!("\u{feff}{key}"),
        format!("{key},{key}"),
        format!("Token {key} "),
        format!("Token \"{key}\""),
        format!("Token token={key}, Token token={key}"),
        format!("Token token={key}\nToken token={key}"),
        format!("Token token={key} "),
        format!("Token token=\"{key}"),
        format!("Token token={key}\""),
        format!("Token token=\"{key}\", x=\"y\""),
        format!("Token\ttoken={key}"),
        format!("Token token={key},foo=bar"),
        format!("Token TOKEN={key}"),
        format!("Token token = {key}"),
        "Token".to_owned(),
        "Token ".to_owned(),
        "Token token=".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {key}"),
        format!("Bearer token={app_token}"),
        format!("Token token={app_token}"),
        format!("Basic {key}"),
        "Basic dXNlcjpwYXNz".to_owned(),
        format!("Authorization: Token token={key}"),
        format!("{key}{}", " ".repeat(1 << 20)),
        format!("{key}\n{mebibyte}"),
        mebibyte,
    ] {
        assert_eq!(reason_for(&machine, &text), "malformed", "{text:.60?}");
    }
    for bytes in [&b"\xff\xfe"[..], b"\xff", &[key.as_bytes(), b"\xc3"].concat(), &[0; 20]] {
        let arguments = INCIDENTS.into_iter().chain(["-o", "jsonl"]);
        assert_eq!(reason(&run_with_input(&machine, arguments, bytes)), "malformed", "{bytes:?}");
    }
}

#[test]
fn a_key_of_every_wrong_length_is_malformed() {
    let (machine, key) = with_key();
    let long = key.repeat(4);
    let mut input = String::new();
    for length in 0..=64 {
        // That 32 of them are an integration key is a chance that nobody lives to see.
        input += &lines([line(&long[..length], "GET", "/incidents")]);
        input += &lines([line(&format!("Token token={}", &long[..length]), "GET", "/incidents")]);
    }
    let (answers, ran) = batch(&machine, input.as_bytes());
    assert_eq!((ran.code(), answers.len()), (3, 130));
    for (length, pair) in answers.chunks(2).enumerate() {
        let expected = match length {
            0 => ["missing", "malformed"],
            20 => ["allowed"; 2],
            _ => ["malformed"; 2],
        };
        let reasons: Vec<_> = pair.iter().map(|answer| text_of(answer, "reason")).collect();
        assert_eq!(reasons, expected, "{length}");
    }
    for length in [1, 19, 21, 32, 64] {
        assert_eq!(reason_for(&machine, &long[..length]), "malformed", "{length}");
    }
}

/// Every spelling that two programs could read differently, of a path that a full key may go otherwise.
const AMBIGUOUS: [&str; 47] = [
    "",
    "users",
    "*",
    "//",
    "//users",
    "/users/",
    "/users//me",
    "/users///me",
    "/.",
    "/..",
    "/./users",
    "/users/.",
    "/users/..",
    "/users/../incidents",
    "/%2e/users",
    "/%2E%2E/users",
    "/users/.%2e/x",
    "/users%2fme",
    "/users%2Fme",
    "/users%2e",
    "/users\\me",
    "\\users",
    "/users%5cme",
    "/users%5C..%5Cx",
    "/users%252fme",
    "/users/%25",
    "/users%00",
    "/users%00.json",
    "/users%0a",
    "/users%0D%0A",
    "/users%7f",
    "/users;x=1",
    "/users;",
    "/users%3bx",
    "/users#f",
    "/users%23f",
    "/users?#",
    "http://host/users",
    "https://host/users",
    "//host/users",
    "/users%",
    "/users%4",
    "/users%zz",
    "/users%C0%AF",
    "/users%E0%80%AF",
    "/users%FF",
    "/a b",
];

#[test]
fn every_ambiguous_spelling_of_a_path_is_denied() {
    let (machine, key) = with_key();
    for path in AMBIGUOUS {
        assert_eq!(reason(&ask(&machine, &key, "GET", path)), "ambiguous-path", "{path:?}");
    }
    let too_long = format!("/users?{}", "a".repeat(8 * 1024));
    let hidden =
        ["/users\0", "/us\ters", "/users\u{7f}", "/users\u{85}", "/users?a\nb", "/users\r", &too_long];
    let input: String = lines(AMBIGUOUS.into_iter().chain(hidden).map(|path| line(&key, "GET", path)));
    let (answers, ran) = batch(&machine, input.as_bytes());
    assert_eq!(ran.code(), 3);
    for (answer, question) in answers.iter().zip(input.lines()) {
        assert_eq!(
            (&answer["reason"], &answer["status"]),
            (&json!("ambiguous-path"), &json!(400)),
            "{question:.80}"
        );
    }
    assert_eq!(answers.len(), AMBIGUOUS.len() + hidden.len());
}

#[test]
fn a_path_that_is_no_text_is_never_allowed() {
    use std::os::unix::ffi::OsStrExt as _;
    let (machine, key) = with_key();
    let mut command = machine.command(["verify", "--method", "GET", "--path"]);
    command.arg(std::ffi::OsStr::from_bytes(b"/users/\xff")).env("PDKEYS_KEY", &key);
    machine.finish(&mut command).must_exit(2);
}

#[test]
fn a_query_and_encoded_letters_are_fine() {
    let (machine, key) = with_key();
    for path in ["/users?query=a/../b;c%2f%00//", "/users?", "/%75sers", "/users?a?b"] {
        let ran = ask(&machine, &key, "GET", path);
        assert_eq!(reason(&ran), "allowed", "{path:?}");
        assert_eq!(ran.json()["operation"], "listUsers", "{path:?}");
    }
    for path in ["/", "/nowhere", "/users/P%C3%89", "/users/a@b"] {
        assert_eq!(reason(&ask(&machine, &key, "GET", path)), "allowed", "{path:?}");
    }
}

#[test]
fn unknown_methods_and_methods_in_lower_case_are_denied() {
    let (machine, key) = with_key();
    for method in [
        "", "get", "Get", "gET", "post", "GET ", " GET", "GET\n", "TRACE", "CONNECT", "PROPFIND", "GETT",
        "G\u{c9}T", "GET/", "*",
    ] {
        let ran = ask(&machine, &key, method, "/incidents");
        assert_eq!(reason(&ran), "ambiguous-request", "{method:?}");
        assert_eq!(ran.json()["status"], 400);
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(reason(&ask(&machine, &key, method, "/incidents")), "allowed", "{method:?}");
    }
}

// Every reason, once.

/// The reason, the status and the message of what is answered.
fn told(ran: &Ran<'_>) -> String {
    let verdict = ran.json();
    format!("{} {}: {}", reason(ran), verdict["status"], text_of(&verdict, "message"))
}

#[test]
fn every_reason_has_its_status_and_its_message() {
    let machine = Machine::with_users();
    let (removed, removed_key) = machine.make_key("removed", &[]);
    let (rotated, rotated_key) = machine.make_key("rotated", &[]);
    let (disabled, disabled_key) = machine.make_key("disabled", &[]);
    let (_, expired_key) = machine.make_key("expired", &["--expires", "1ms"]);
    let (_, key) = machine.make_key("full", &[]);
    let (_, read_only) = machine.make_key("reader", &["--read-only"]);
    let (_, scoped) = machine.make_key("scoped", &["--scope", "incidents.read"]);
    let (_, limited) = machine.make_key("limited", &["--rate-limit", "1/min"]);
    let left = make_token(&machine, "adam", &[]);
    let token = make_token(&machine, "otto", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read"]);
    let (integration, event_key) = make_integration(&machine, &["--rate-limit", "2/min"]);
    for arguments in [
        &["remove", &removed, "--yes"][..],
        &["rotate", &rotated, "--yes"],
        &["disable", &disabled, "--yes"],
        &["user", "remove", "adam", "--yes"],
    ] {
        machine.run(arguments.iter().copied()).must_succeed();
    }
    let on_incidents = |presented: &str, method: &str| ask(&machine, presented, method, "/incidents");
    assert_eq!(reason(&on_incidents(&limited, "GET")), "allowed");
    let mut answers = vec![
        told(&on_incidents("", "GET")),
        told(&on_incidents("nonsense", "GET")),
        told(&on_incidents(&event_key, "GET")),
        told(&ask_event(&machine, &key, "events-v2")),
        told(&on_incidents(UNKNOWN, "GET")),
        told(&on_incidents(&removed_key, "GET")),
        told(&on_incidents(&rotated_key, "GET")),
        told(&on_incidents(&disabled_key, "GET")),
        told(&on_incidents(&expired_key, "GET")),
        told(&on_incidents(&left, "GET")),
        told(&on_incidents(&key, "get")),
        told(&ask(&machine, &key, "GET", "/incidents/")),
        told(&ask(&machine, &scoped, "GET", "/nowhere")),
        told(&on_incidents(&read_only, "POST")),
        told(&on_incidents(&token, "POST")),
        told(&on_incidents(&scoped, "POST")),
        told(&on_incidents(&app_token, "POST")),
        told(&on_incidents(&limited, "GET")),
        told(&on_incidents(&key, "GET")),
        told(&on_incidents(&token, "GET")),
        told(&on_incidents(&app_token, "GET")),
        told(&ask_event(&machine, &event_key, "events-v2")),
        told(&ask_event(&machine, &event_key, "events-v1")),
        told(&ask_event(&machine, &event_key, "events-v2")),
        told(&ask_event(&machine, &event_key, "events-v1")),
        told(&ask_event(&machine, "", "events-v2")),
        told(&ask_event(&machine, "nonsense", "events-v1")),
        told(&ask_event(&machine, &"0".repeat(32), "events-v2")),
    ];
    machine.run(["account", "set", "--advanced-permissions", "off"]).must_succeed();
    answers.push(told(&on_incidents(&token, "GET")));
    machine.run(["integration", "remove", &integration, "--yes"]).must_succeed();
    answers.push(told(&ask_event(&machine, &event_key, "events-v2")));
    assert_snapshot!(machine.redact(&answers.join("\n")), @r"
    missing 401: no credential was presented
    malformed 401: what was presented does not look like any key
    wrong-api 401: an integration key does not work on the REST API; a REST key does
    wrong-api 400: a REST key does not work on the Events API; an integration key does
    unknown 401: no such key is in the store
    removed 401: key [K1] was removed on [NOW]
    rotated 401: key [K2] was given another secret on [NOW]
    disabled 401: key [K3] (disabled) is disabled
    expired 401: key [K4] (expired) has expired
    user-left 401: the user of token [T1] (laptop) has left
    ambiguous-request 400: the method or its headers could be read in more than one way
    ambiguous-path 400: the path could be read in more than one way
    unknown-operation 403: the account's policy does not know this operation; for an API of your own there is the policy `convention`
    read-only 403: key [K5] (reader) is read-only, and this needs incidents.write
    role 403: this needs incidents.write, which the role observer does not hold
    scope 403: this needs incidents.write, and key [K6] (scoped) has incidents.read
    scope 403: this needs incidents.write, and a token of app [A1] (bot) has incidents.read
    rate-limited 429: key [K7] (limited) has used up its limit of 1 a minute
    allowed 200: key [K8] (full) may do this
    allowed 200: token [T2] (laptop) may do this
    allowed 200: a token of app [A1] (bot) may do this
    allowed 202: integration [I1] (events) may do this
    allowed 200: integration [I1] (events) may do this
    rate-limited 429: integration [I1] (events) has used up its limit of 2 a minute
    rate-limited 403: integration [I1] (events) has used up its limit of 2 a minute
    missing 400: no credential was presented
    malformed 400: what was presented does not look like any key
    unknown 400: no such key is in the store
    no-ability 402: the account has switched off what this credential needs
    removed 400: integration [I1] was removed on [NOW]
    ");
}

#[test]
fn every_answer_has_the_same_members_in_the_same_order() {
    let machine = Machine::with_users();
    let (_, key) = machine.make_key("ci", &["--read-only"]);
    let token = make_token(&machine, "otto", &["--scope", "incidents.read"]);
    let (_, event_key) = make_integration(&machine, &[]);
    for ran in [
        ask(&machine, "", "GET", "/incidents"),
        ask(&machine, UNKNOWN, "GET", "/incidents"),
        ask(&machine, &key, "POST", "/incidents"),
        ask(&machine, &key, "GET", "//"),
        ask(&machine, &token, "GET", "/incidents"),
        ask_event(&machine, &event_key, "events-v1"),
    ] {
        let verdict = ran.json();
        let members = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(members(&verdict), "allowed reason status message credential needed rate_limit operation");
        if verdict["credential"].is_object() {
            assert_eq!(
                members(&verdict["credential"]),
                "kind id description hint owner role access scopes service orchestration app"
            );
        }
        if verdict["rate_limit"].is_object() {
            assert_eq!(members(&verdict["rate_limit"]), "limit remaining reset");
        }
        for secret in [&key, &token, &event_key] {
            assert!(!ran.stdout.contains(secret.as_str()), "{ran}");
        }
    }
}

/// What comes first in the documented order is the reason, however much else is wrong.
#[test]
fn of_several_reasons_the_first_in_the_documented_order_is_given() {
    let machine = Machine::with_users();
    let (id, key) = machine.make_key("ci", &["--read-only", "--expires", "1ms", "--rate-limit", "1/min"]);
    let (_, other) = machine.make_key("other", &["--scope", "incidents.read", "--rate-limit", "1/min"]);
    machine.run(["disable", &id, "--yes"]).must_succeed();
    let worst = |key: &str| reason(&ask(&machine, key, "get", "//"));
    assert_eq!(reason(&ask_event(&machine, UNKNOWN, "events-v2")), "wrong-api");
    assert_eq!(worst(&key), "disabled");
    machine.run(["enable", &id]).must_succeed();
    assert_eq!(worst(&key), "expired");
    machine.run(["account", "set", "--rest-api", "off"]).must_succeed();
    assert_eq!(worst(&key), "expired");
    assert_eq!(worst(&other), "no-ability");
    machine.run(["account", "set", "--rest-api", "on"]).must_succeed();
    assert_eq!(worst(&other), "ambiguous-request");
    assert_eq!(reason(&ask(&machine, &other, "POST", "//")), "ambiguous-path");
    assert_eq!(reason(&ask(&machine, &other, "POST", "/nowhere")), "unknown-operation");
    assert_eq!(reason(&ask(&machine, &other, "POST", "/incidents")), "scope", "its limit is used up, too");
    assert_eq!(reason(&ask(&machine, &other, "GET", "/incidents")), "rate-limited");
}

#[test]
fn a_client_secret_is_no_credential() {
    let machine = Machine::with_store();
    let ran = machine.run(["app", "register", "bot", "--scope", "incidents.read"]).must_succeed();
    let secret = ran.line().to_owned();
    for presented in [secret.clone(), format!("Bearer {secret}"), format!("Token token={secret}")] {
        assert_eq!(reason_for(&machine, &presented), "malformed");
    }
}
