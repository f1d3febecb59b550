//! What somebody at a terminal sees and is asked, through a real pseudo-terminal.

use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::process::unix::{Signal, WaitStatus};
use expectrl::session::OsSession;
use expectrl::{Eof, Expect as _};

use crate::session::{Machine, assert_secret};

/// A command on a terminal of a width.
fn on_terminal(machine: &Machine, columns: u16, command: &str) -> OsSession {
    let mut shell: Command =
        machine.shell(&format!("read -r _; stty cols {columns} rows 40; exec \"$pdkeys\" {command}"));
    shell.env("TERM", "xterm").stdin(Stdio::inherit());
    let mut session = OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    // The terminal has its first width only now, and the script may set another.
    session.send_line("").unwrap();
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
    for answer in ["n", "\r"] {
        let before = machine.dump();
        let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
        session.expect(format!("{id} (nightly deploy, ...{})", &secret[16..])).unwrap();
        session.expect(format!("Remove key {id}?")).unwrap();
        session.send(answer).unwrap();
        let (text, code) = end_of(session);
        assert_eq!(code, 6, "{text}");
        assert!(plain(&text).contains("not confirmed, and nothing was done"), "{text}");
        assert_eq!(before, machine.dump());
    }
}

#[test]
fn remove_takes_yes_for_an_answer() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    let (other, _) = machine.make_key("other", &[]);
    let mut session = on_terminal(&machine, 100, &format!("remove {id} {other}"));
    session.expect("Remove 2 keys?").unwrap();
    session.send("y").unwrap();
    let (text, code) = end_of(session);
    assert_eq!(code, 0, "{text}");
    assert_eq!(machine.count("general_key"), 0);
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
        session.send("n").unwrap();
        let (text, code) = end_of(session);
        assert_eq!(code, 6, "{text}");
    }
    assert_eq!(before, machine.dump());
}

#[test]
fn a_question_that_is_interrupted_is_not_confirmed() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    let before = machine.dump();
    let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
    session.expect("Remove key").unwrap();
    session.send("\u{3}").unwrap();
    session.expect(Eof).unwrap();
    let end = session.get_process().wait().unwrap();
    assert!(matches!(end, WaitStatus::Exited(_, 6) | WaitStatus::Signaled(_, Signal::SIGINT, _)), "{end:?}");
    assert_eq!(before, machine.dump());
}

#[test]
fn a_name_in_a_question_cannot_move_the_cursor() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    machine.sql().execute("UPDATE general_key SET description = ?1", ["a\u{1b}[2Jb\u{202e}c"]).unwrap();
    let mut session = on_terminal(&machine, 100, &format!("remove {id}"));
    session.expect("a\\u{1b}[2Jb\\u{202e}c").unwrap();
    session.expect("Remove key").unwrap();
    session.send("n").unwrap();
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
