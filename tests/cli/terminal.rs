//! What somebody at a terminal sees and is asked, through a real pseudo-terminal.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect as _};

use crate::session::{Machine, assert_secret};

/// A command that asks for a key.
const VERIFY: &str = "verify --method GET --path /incidents";

/// A command on a terminal of a width.
fn on_terminal(machine: &Machine, columns: u16, command: &str) -> OsSession {
    let mut shell: Command =
        machine.shell(&format!("read -r _; stty cols {columns} rows 40; exec \"$pdkeys\" {command}"));
    shell.stdin(Stdio::inherit());
    if !shell.get_envs().any(|(name, _)| name == "TERM") {
        shell.env("TERM", "xterm");
    }
    let mut session = OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    // The terminal has its first width only now, and the script may set another.
    session.send_line("").unwrap();
    session
}

/// A command on a terminal on which more was typed already than the command's own line.
fn at_once(machine: &Machine, command: &str, typed: &str) -> OsSession {
    let mut shell = machine.shell(&format!("read -r _; exec \"$pdkeys\" {command}"));
    shell.env("TERM", "xterm").stdin(Stdio::inherit());
    let mut session = OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    session.send(format!("\n{typed}")).unwrap();
    session
}

/// Waits for the end, and gives what was shown until then and the exit code.
fn end_of(mut session: OsSession) -> (String, i32) {
    let rest = session.expect(Eof).unwrap();
    let text = String::from_utf8_lossy(rest.as_bytes()).into_owned();
    match session.get_process().wait().unwrap() {
        WaitStatus::Exited(_, code) => (text, code),
        other => panic!("{other:?}"),
    }
}

/// What is left when colours and cursor movements are taken away.
fn plain(text: &str) -> String {
    let escape = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap();
    escape.replace_all(text, "").replace('\r', "")
}

#[test]
fn create_without_a_description_asks_for_one() {
    let machine = Machine::with_store();
    let mut session = on_terminal(&machine, 100, "create");
    session.expect("Description").unwrap();
    session.send_line("nightly deploy").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    let shown = plain(&text);
    assert_secret(shown.lines().find(|line| line.len() == 20 && !line.contains(' ')).expect("a secret"));
    assert!(shown.contains("(nightly deploy, ..."), "{shown}");
    let keys = machine.run(["list", "-o", "json"]).json();
    assert_eq!(keys[0]["description"], "nightly deploy");
}

#[test]
fn a_description_that_is_refused_is_asked_for_again() {
    let machine = Machine::with_store();
    let mut session = on_terminal(&machine, 100, "create");
    session.expect("Description").unwrap();
    session.send_line("   ").unwrap();
    session.expect("must not be empty").unwrap();
    session.send_line("ci").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert_eq!(machine.count("general_key"), 1);
}

#[test]
fn user_add_asks_for_a_name_and_a_role_and_says_which_there_are() {
    let machine = Machine::with_store();
    let mut session = on_terminal(&machine, 400, "user add");
    session.expect("Name").unwrap();
    session.send_line("adam").unwrap();
    session.expect("Role (admin, user, limited_user, observer, ").unwrap();
    session.send_line("boss").unwrap();
    session.expect("must be one of").unwrap();
    session.send_line("admin").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert_eq!(machine.run(["user", "show", "adam", "-o", "json"]).json()["role"], "admin");
}

#[test]
fn app_register_asks_for_a_name_and_for_scopes_on_one_line() {
    let machine = Machine::with_store();
    let mut session = on_terminal(&machine, 100, "app register");
    session.expect("Name").unwrap();
    session.send_line("dash").unwrap();
    session.expect("Scope (such as incidents.read services.read)").unwrap();
    session.send_line(" ").unwrap();
    session.expect("must not be empty").unwrap();
    session.send_line("users.read incidents.read").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    let app = machine.run(["app", "show", "dash", "-o", "json"]).json();
    assert_eq!(app["scopes"], serde_json::json!(["incidents.read", "users.read"]));
}

#[test]
fn integration_create_asks_for_a_name_and_a_type_and_says_which_there_are() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    let mut session = on_terminal(&machine, 400, "integration create --service web");
    session.expect("Name").unwrap();
    session.send_line("mail").unwrap();
    session.expect("Type (events-api-v2, events-api-v1, email, ").unwrap();
    session.send_line("email").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert_eq!(machine.count("integration"), 1);
}

#[test]
fn init_asks_for_a_name_and_offers_one() {
    let machine = Machine::new();
    let mut session = on_terminal(&machine, 100, "init --owner ann");
    session.expect("Account name").unwrap();
    session.expect("default").unwrap();
    session.send_line("").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert_eq!(machine.run(["account", "show", "-o", "json"]).json()["name"], "default");
}

#[test]
fn remove_shows_what_will_go_and_takes_no_for_an_answer() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("nightly deploy", &[]);
    for answer in ["n", "", "no", "ja", "y\u{4}", "y\u{1b}", "\u{4}", "\u{1b}", "\u{1b}[A", "yes please"] {
        let before = machine.dump();
        let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
        session.expect(format!("{id} (nightly deploy, ...{})", &secret[16..])).unwrap();
        session.expect(format!("Remove key {id}?")).unwrap();
        session.send(answer).unwrap();
        if !answer.contains(['\u{4}', '\u{1b}']) {
            session.send_line("").unwrap();
        }
        let (text, code) = end_of(session);
        assert_eq!(code, 6, "{text}");
        assert!(plain(&text).contains("not confirmed, and nothing was done"), "{text}");
        assert_eq!(before, machine.dump());
    }
}

#[test]
fn remove_takes_yes_for_an_answer() {
    let machine = Machine::with_store();
    for answer in ["y", "Y", "yes", " YES "] {
        let (id, _) = machine.make_key("ci", &[]);
        let (other, _) = machine.make_key("other", &[]);
        let mut session = on_terminal(&machine, 100, &format!("remove {id} {other}"));
        session.expect("Remove 2 keys?").unwrap();
        session.send_line(answer).unwrap();
        let (text, code) = end_of(session);
        assert_eq!(code, 0, "{text}");
        assert_eq!(machine.count("general_key"), 0);
    }
}

#[test]
fn what_is_named_twice_is_asked_about_once() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    let (other, _) = machine.make_key("other", &[]);
    for (command, question, listed) in [
        (
            format!("disable {id} {}", id.to_lowercase()),
            format!("Disable key {id}?"),
            format!("  key {id} ("),
        ),
        (format!("remove {id} {other} {id}"), "Remove 2 keys?".to_owned(), format!("  key {id} (")),
        ("user remove adam adam".to_owned(), "Remove user adam?".to_owned(), "  user adam (".to_owned()),
    ] {
        let mut session = on_terminal(&machine, 100, &command);
        let before = session.expect(&question).unwrap();
        let shown = plain(&String::from_utf8_lossy(before.before()));
        assert_eq!(shown.matches(&listed).count(), 1, "{shown}");
        session.send_line("n").unwrap();
        assert_eq!(end_of(session).1, 6);
    }
}

#[test]
fn disable_rotate_and_transfer_ask_first() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    let before = machine.dump();
    for (command, question) in [
        (format!("disable {id}"), format!("Disable key {id}?")),
        (format!("rotate {id}"), format!("Rotate key {id}?")),
        ("user remove adam".to_owned(), "Remove user adam?".to_owned()),
        ("account transfer adam".to_owned(), "Transfer the account to adam?".to_owned()),
    ] {
        let mut session = on_terminal(&machine, 100, &command);
        session.expect(&question).unwrap();
        session.send_line("n").unwrap();
        let (text, code) = end_of(session);
        assert_eq!(code, 6, "{text}");
    }
    assert_eq!(before, machine.dump());
}

#[test]
fn what_was_typed_before_a_question_answers_nothing() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    let before = machine.dump();
    let mut session = at_once(&machine, &format!("remove {id}"), "y\nyes\ny");
    session.expect("Remove key").unwrap();
    session.send_line("n").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 6, "{text}");
    assert_eq!(before, machine.dump());

    let mut session = at_once(&machine, "create", "pasted\npasted too\n");
    session.expect("Description").unwrap();
    session.send_line("typed").unwrap();
    assert_eq!(end_of(session).1, 0);
    let listed = machine.run(["list"]).stdout;
    assert!(listed.contains("typed") && !listed.contains("pasted"), "{listed}");

    let mut session = at_once(&machine, VERIFY, "rubbish\n");
    session.expect("Key:").unwrap();
    session.send_line(&secret).unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(&secret), "{text}");
}

#[test]
fn a_question_after_a_question_is_answered_after_it_was_asked() {
    let machine = Machine::with_store();
    let mut session = on_terminal(&machine, 400, "user add");
    session.expect("Name").unwrap();
    session.send("ada\nadmin\n").unwrap();
    session.expect("Role (").unwrap();
    session.send_line("observer").unwrap();
    assert_eq!(end_of(session).1, 0);
    assert_eq!(machine.run(["user", "show", "ada", "-o", "json"]).json()["role"], "observer");
}

#[test]
fn a_question_that_is_left_changes_nothing() {
    let machine = Machine::with_store();
    let before = machine.dump();
    for (command, question) in
        [("create", "Description"), ("user add", "Name"), (VERIFY, "Key"), ("revoke", "Key")]
    {
        for key in ["\u{4}", "\u{1b}", "x\u{4}", "x\u{1b}", "\u{1b}[D"] {
            let mut session = on_terminal(&machine, 100, command);
            session.expect(question).unwrap();
            session.send(key).unwrap();
            let (text, code) = end_of(session);
            assert_eq!(code, 6, "{command} {key:?}: {text}");
            assert!(text.contains("nothing was answered"), "{text}");
        }
    }
    assert_eq!(before, machine.dump());
}

/// Runs a command whose process the test knows, between two looks at what the terminal is set to.
fn between_looks(machine: &Machine, command: &str) -> OsSession {
    let script = format!(
        "trap : INT QUIT; stty -g >before; sh -c 'echo $$ >pid; exec \"$pdkeys\" {command}'; echo $? >code; stty -g >after"
    );
    let mut shell = machine.shell(&script);
    shell.env("TERM", "dumb").stdin(Stdio::inherit());
    let mut session = OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    session
}

fn text_in(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.file(name)).unwrap().trim().to_owned()
}

#[test]
fn the_terminal_is_as_it_was_on_every_way_out_of_a_question() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    let before = machine.dump();
    for (command, question) in [
        (format!("remove {id}"), "Remove key"),
        ("create".to_owned(), "Description"),
        (VERIFY.to_owned(), "Key:"),
    ] {
        for (way_out, code) in [
            ("\u{3}", "130"),
            ("\u{1c}", "131"),
            ("TERM", "143"),
            ("HUP", "129"),
            ("INT", "130"),
            ("\u{4}", "6"),
            ("\u{1b}", "6"),
        ] {
            let mut session = between_looks(&machine, &command);
            session.expect(question).unwrap();
            if way_out.len() == 1 {
                session.send(way_out).unwrap();
            } else {
                let pid = text_in(&machine, "pid");
                Command::new("kill").args([&format!("-{way_out}"), &pid]).status().unwrap();
            }
            let rest = session.expect(Eof).unwrap();
            session.get_process().wait().unwrap();
            assert_eq!(text_in(&machine, "code"), code, "{command} {way_out:?}");
            assert_eq!(text_in(&machine, "before"), text_in(&machine, "after"), "{command} {way_out:?}");
            assert!(!rest.as_bytes().contains(&b'\x1b'), "{rest:?}");
        }
    }
    assert_eq!(before, machine.dump());
}

#[test]
fn a_question_that_is_stopped_is_asked_again() {
    let machine = Machine::with_store();
    let (_, secret) = machine.make_key("ci", &[]);
    let mut session = between_looks(&machine, VERIFY);
    session.expect("Key:").unwrap();
    session.send("\u{1a}").unwrap();
    let pid = text_in(&machine, "pid");
    let is_stopped = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    while !is_stopped() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let terminal = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    let looked = Command::new("stty").arg("-g").arg("-F").arg(terminal).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&looked.stdout).trim(), text_in(&machine, "before"));
    Command::new("kill").args(["-CONT", &pid]).status().unwrap();
    session.expect("Key:").unwrap();
    session.send_line(&secret).unwrap();
    let (text, _) = end_of(session);
    assert!(!text.contains(&secret), "{text}");
    assert_eq!(text_in(&machine, "code"), "0");
    assert_eq!(text_in(&machine, "before"), text_in(&machine, "after"));
}

#[test]
fn a_dumb_terminal_gets_text_and_nothing_else() {
    let machine = Machine::with_store().with("TERM", "dumb");
    let (id, _) = machine.make_key("ci", &[]);
    fs::write(machine.file("big"), vec![b'x'; 4 << 20]).unwrap();
    for command in [
        "list",
        "show KZZZZZZZZ",
        "--help",
        "lst",
        "create x",
        "scan big",
        "audit list",
        &format!("show {id}"),
    ] {
        let (text, _) = end_of(on_terminal(&machine, 100, command));
        assert!(!text.contains('\u{1b}'), "{command}: {text:?}");
    }
    let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
    let asked = session.expect("Remove key").unwrap();
    assert!(!asked.before().contains(&b'\x1b'), "{asked:?}");
    session.send_line("y").unwrap();
    let (text, code) = end_of(session);
    assert_eq!((code, text.contains('\u{1b}')), (0, false), "{text:?}");
}

#[test]
fn a_name_in_a_question_cannot_move_the_cursor() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    machine.sql().execute("UPDATE general_key SET description = ?1", ["a\u{1b}[2Jb\u{202e}c"]).unwrap();
    let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
    session.expect("a\\u{1b}[2Jb\\u{202e}c").unwrap();
    session.expect("Remove key").unwrap();
    session.send_line("n").unwrap();
    assert_eq!(end_of(session).1, 6);
}

#[test]
fn a_list_on_a_terminal_fits_its_width_and_tells_times_relative() {
    let machine = Machine::with_store();
    machine.make_key(&"a long description ".repeat(8), &["--expires", "90d"]);
    let (text, code) = end_of(on_terminal(&machine, 72, "list"));
    assert_eq!(code, 0);
    let shown = plain(&text);
    assert!(shown.lines().count() > 2, "{shown}");
    for line in shown.lines() {
        assert!(line.chars().count() <= 72, "{line:?} in\n{shown}");
    }
    let (wide, _) = end_of(on_terminal(&machine, 400, "list"));
    let wide = plain(&wide);
    assert!(wide.contains("just now"), "{wide}");
    assert!(wide.contains("in 90 days"), "{wide}");
    assert_eq!(wide.trim().lines().count(), 2, "{wide}");
}

/// A store with something for every list to show.
fn with_something_of_everything() -> Machine {
    let machine = Machine::with_store();
    let long = "a description that is longer than any terminal of eighty columns is wide, and then some";
    machine.run(["user", "add", "adam", "--role", "admin", "--email", "adam@example.org"]).must_succeed();
    machine.run(["service", "create", "web", "--description", long]).must_succeed();
    machine.run(["orchestration", "create", "router", "--description", long]).must_succeed();
    machine.make_integration("service", "web", "alerts of all hosts");
    machine.make_integration("orchestration", "router", "alerts of all hosts");
    machine.make_token("adam", long, &[]);
    machine
        .run(["app", "register", "dash", "--scope", "incidents.read", "--scope", "users.read"])
        .must_succeed();
    let (_, secret) = machine.make_key(long, &["--expires", "90d"]);
    let mut verify = machine.command(["verify", "--method", "GET", "--path", "/incidents"]);
    assert_eq!(machine.finish(verify.env("PDKEYS_KEY", &secret)).code(), 0);
    fs::write(machine.file("leak"), secret).unwrap();
    machine
}

const LISTS: [&str; 11] = [
    "list",
    "token list --all",
    "service list",
    "orchestration list",
    "integration list",
    "app list",
    "user list",
    "audit list",
    "usage",
    "scan leak",
    "doctor",
];

#[test]
fn no_list_breaks_an_id_a_key_or_a_hint_however_narrow_the_terminal_is() {
    let machine = with_something_of_everything();
    let copied = regex::Regex::new(
        r"\b[KTAUSOI][0-9A-HJKMNP-TV-Z]{8}\b|\b([0-9a-f]{32}|R[0-9A-Z]{31})\b|\.\.\.[A-Za-z0-9_-]{4}",
    )
    .unwrap();
    for list in LISTS {
        let words = list.split(' ');
        let unbroken = machine.run(words).stdout;
        let mut expected: Vec<_> =
            copied.find_iter(&unbroken).map(|found| found.as_str().to_owned()).collect();
        expected.sort();
        assert!(!expected.is_empty() || list == "doctor", "{list}: {unbroken}");
        for columns in [200, 120, 100, 80, 60, 40, 30, 10, 1, 0] {
            let shown = plain(&end_of(on_terminal(&machine, columns, &format!("{list} --quiet"))).0);
            let mut found: Vec<_> = copied.find_iter(&shown).map(|found| found.as_str().to_owned()).collect();
            found.sort();
            assert_eq!(found, expected, "{list} at {columns}:\n{shown}");
        }
    }
}

#[test]
fn a_table_is_no_wider_than_the_terminal_and_becomes_a_line_a_field_where_it_would_be() {
    let machine = with_something_of_everything();
    for (columns, width) in [(120, 120), (80, 80), (0, 80)] {
        for list in LISTS {
            let shown = plain(&end_of(on_terminal(&machine, columns, list)).0);
            let is_table = shown.trim_start().lines().next().is_some_and(|line| line == line.to_uppercase());
            assert!(
                is_table
                    || list.starts_with("integration")
                    || list.starts_with("service")
                    || list.starts_with("orch")
                    || list == "doctor",
                "{list} at {columns}:\n{shown}"
            );
            if is_table {
                assert!(
                    shown.lines().all(|line| line.chars().count() <= width),
                    "{list} at {columns}:\n{shown}"
                );
            }
        }
    }
    let shown = plain(&end_of(on_terminal(&machine, 30, "list")).0);
    let first: Vec<_> = shown.trim_start().lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(first, ["id", "description", "hint", "access", "created", "api", "status", "last", "expires"]);
}

#[test]
fn columns_counts_where_the_terminal_does_not_say_its_width() {
    let machine = with_something_of_everything().with("COLUMNS", "400");
    let lines = |columns| plain(&end_of(on_terminal(&machine, columns, "list")).0).trim().lines().count();
    assert_eq!(lines(0), 2);
    assert!(lines(100) > 2);
    for rubbish in ["0", "-1", "x", "", "99999999999"] {
        let machine = with_something_of_everything().with("COLUMNS", rubbish);
        let shown = plain(&end_of(on_terminal(&machine, 0, "list")).0);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{rubbish}: {shown}");
    }
}

#[test]
fn no_color_takes_the_colours_of_a_terminal_away() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    let (text, _) = end_of(on_terminal(&machine, 200, "list"));
    assert!(text.contains("\u{1b}["), "{text:?}");
    let machine = machine.with("NO_COLOR", "1");
    let (text, _) = end_of(on_terminal(&machine, 200, "list"));
    assert!(!text.contains("\u{1b}["), "{text:?}");
    let (text, _) = end_of(on_terminal(&machine, 200, "show KZZZZZZZZ"));
    assert!(!text.contains("\u{1b}["), "{text:?}");
}
