//! What the tests of checking share: credentials of every kind, and programs that are asked through a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::session::{Machine, Ran, text_of};

/// Runs a command with something on its standard input.
pub(crate) fn run_with_input<'m, 'a>(
    machine: &'m Machine,
    arguments: impl IntoIterator<Item = &'a str>,
    input: &[u8],
) -> Ran<'m> {
    let mut command = machine.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // Whoever has read enough may close the pipe early.
        scope.spawn(move || drop(pipe.write_all(input)));
        machine.ran(child.wait_with_output().unwrap())
    })
}

/// Asks whether what is presented may do something, through `verify`.
pub(crate) fn ask<'m>(machine: &'m Machine, presented: &str, method: &str, path: &str) -> Ran<'m> {
    let arguments = ["verify", "-o", "jsonl", "--method", method, "--path", path];
    run_with_input(machine, arguments, presented.as_bytes())
}

/// Asks about an event.
pub(crate) fn ask_event<'m>(machine: &'m Machine, presented: &str, api: &str) -> Ran<'m> {
    run_with_input(machine, ["verify", "-o", "jsonl", "--api", api], presented.as_bytes())
}

/// The reason of a verdict, after everything else in it was seen to agree with it.
#[track_caller]
pub(crate) fn reason(ran: &Ran<'_>) -> String {
    let verdict = ran.json();
    let reason = text_of(&verdict, "reason");
    assert_eq!(verdict["allowed"], reason == "allowed", "{ran}");
    assert_eq!(ran.code(), if reason == "allowed" { 0 } else { 3 }, "{ran}");
    assert_eq!(ran.stderr, "", "{ran}");
    reason
}

/// The reason why what is presented may GET `/incidents`, or not.
#[track_caller]
pub(crate) fn reason_for(machine: &Machine, presented: &str) -> String {
    reason(&ask(machine, presented, "GET", "/incidents"))
}

/// Makes a user token of a user; one who may make none is lent a role that may.
pub(crate) fn make_token(machine: &Machine, user: &str, options: &[&str]) -> String {
    let arguments = ["token", "create", "laptop", "--as", user].into_iter().chain(options.iter().copied());
    machine.run(arguments).must_succeed().line().to_owned()
}

/// The id of the only token of a user.
pub(crate) fn token_id(machine: &Machine, user: &str) -> String {
    text_of(&machine.run(["token", "list", "--user", user, "-o", "json"]).must_succeed().json()[0], "id")
}

/// Makes a service `web`, and an integration into it; gives its id and its key.
pub(crate) fn make_integration(machine: &Machine, options: &[&str]) -> (String, String) {
    machine.run(["service", "create", "web"]).must_succeed();
    let arguments =
        ["integration", "create", "--service", "web", "--type", "events-api-v2", "--name", "events"];
    let key =
        machine.run(arguments.into_iter().chain(options.iter().copied())).must_succeed().line().to_owned();
    let listed = machine.run(["integration", "list", "-o", "json"]).must_succeed().json();
    (text_of(&listed[0], "id"), key)
}

/// Registers an app with scopes, and issues a token to it.
pub(crate) fn make_app_token(machine: &Machine, name: &str, scopes: &[&str]) -> String {
    let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
    machine.run(["app", "register", name].into_iter().chain(scopes)).must_succeed();
    machine.run(["app", "token", name]).must_succeed().line().to_owned()
}

/// One of a shape that is in no store.
pub(crate) const UNKNOWN: &str = "AAAAbbbbCCCCddddEEEE";

/// A line of batch input.
pub(crate) fn line(key: &str, method: &str, path: &str) -> Value {
    json!({ "key": key, "method": method, "path": path })
}

/// Questions, one a line.
pub(crate) fn lines(questions: impl IntoIterator<Item = Value>) -> String {
    questions.into_iter().fold(String::new(), |text, question| text + &question.to_string() + "\n")
}

/// Answers lines, all at once, and gives the verdicts and how it ended.
#[track_caller]
pub(crate) fn batch<'m>(machine: &'m Machine, input: &[u8]) -> (Vec<Value>, Ran<'m>) {
    let ran = run_with_input(machine, ["verify", "--batch"], input);
    let answers = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (answers, ran)
}

/// A batch that is kept running, and asked one line at a time.
pub(crate) struct Coprocess {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Coprocess {
    pub(crate) fn start(machine: &Machine) -> Self {
        Self::of(machine.command(["verify", "--batch"]))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    /// Asks one question, and waits for its answer before anything else is written.
    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "a whole line: {answer:?}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The reason why a key may do something, or not.
    pub(crate) fn reason(&mut self, key: &str, method: &str, path: &str) -> String {
        text_of(&self.ask(&line(key, method, path)), "reason")
    }

    /// Ends the input, and gives what came of it.
    pub(crate) fn end(self, machine: &Machine) -> Ran<'_> {
        drop(self.questions);
        drop(self.answers);
        machine.ran(self.child.wait_with_output().unwrap())
    }
}
