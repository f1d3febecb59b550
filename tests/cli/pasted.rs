//! A secret that is pasted where none belongs: into every argument and every option of every command, as `--help` lists
//! them, and no output repeats it.

use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use regex::Regex;

use crate::session::Machine;

/// A command, what it cannot do without, and where something can be pasted.
#[derive(Clone, Debug)]
struct Spot {
    command: Vec<String>,
    needed: Vec<String>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// The n-th argument without a name, from 0.
    Argument(usize),
    Option(String),
    /// A word that is none of the command's.
    Unknown,
}

fn help(machine: &Machine, command: &[String]) -> String {
    machine.run(command.iter().map(String::as_str).chain(["-h"])).must_succeed().stdout
}

/// What a value may be, so that the command gets as far as it can.
fn filling(name: &str) -> &'static str {
    match name {
        "ROLE" => "user",
        "METHOD" => "GET",
        "PATH" => "/incidents",
        "SCOPE" => "incidents.read",
        "SHELL" => "bash",
        "TYPE" => "events-api-v2",
        "WHEN" => "90d",
        _ => "x",
    }
}

/// Lists the spots of a command and of all below it.
fn spots(machine: &Machine, command: &[String], found: &mut Vec<Spot>) {
    let help = help(machine, command);
    let section = |name: &str| {
        let (_, rest) = help.split_once(&format!("\n{name}:\n")).unwrap_or_default();
        rest.split("\n\n").next().unwrap_or_default().to_owned()
    };
    let subcommand = Regex::new(r"(?m)^  ([a-z-]+)  ").unwrap();
    for name in subcommand.captures_iter(&section("Commands")) {
        if &name[1] != "help" {
            spots(machine, &[command, &[name[1].to_owned()]].concat(), found);
        }
    }
    let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    let one_of = Regex::new(r"<(--[a-z-]+) <([A-Z_]+)>(?:\|[^ ]+ <[A-Z_]+>)*>").unwrap();
    let option = Regex::new(r"(--[a-z-]+) <([A-Z_]+)>").unwrap();
    let mut needed = Vec::new();
    let usage =
        one_of.replace_all(usage, |first: &regex::Captures<'_>| format!("{} <{}>", &first[1], &first[2]));
    let usage = usage.replace("[OPTIONS]", "");
    for option in option.captures_iter(&usage) {
        needed.push(option[1].to_owned());
        needed.push(filling(&option[2]).to_owned());
    }
    let usage = option.replace_all(&usage, "");
    let argument = Regex::new(r"([<\[])([A-Z_]+)[>\]]").unwrap();
    let arguments: Vec<_> = argument.captures_iter(&usage).filter(|found| &found[2] != "COMMAND").collect();
    needed
        .extend(arguments.iter().filter(|found| &found[1] == "<").map(|found| filling(&found[2]).to_owned()));
    let mut spot = |place| found.push(Spot { command: command.to_vec(), needed: needed.clone(), place });
    (0..arguments.len()).for_each(|nth| spot(Place::Argument(nth)));
    let takes = Regex::new(r"(?m)^ +(?:-[a-z], )?(--[a-z0-9-]+) <").unwrap();
    let globals = if command == ["list"] { section("Global options") } else { String::new() };
    for section in [section("Options"), globals] {
        takes.captures_iter(&section).for_each(|name| spot(Place::Option(name[1].to_owned())));
    }
    spot(Place::Unknown);
}

/// The command line with something pasted at a spot.
fn pasted(spot: &Spot, text: &str) -> Vec<String> {
    let mut rest = spot.needed.clone();
    let first_argument = rest.chunks(2).take_while(|pair| pair[0].starts_with("--")).count() * 2;
    match &spot.place {
        Place::Argument(nth) if first_argument + nth < rest.len() => {
            text.clone_into(&mut rest[first_argument + nth]);
        }
        Place::Argument(_) | Place::Unknown => rest.push(text.to_owned()),
        Place::Option(name) => {
            if let Some(at) = rest.iter().position(|given| given == name) {
                rest.drain(at..at + 2);
            }
            rest.push(format!("{name}={text}"));
        }
    }
    [&spot.command[..], &rest, &["--yes".to_owned()]].concat()
}

/// Runs a command, and ends one that would run on.
fn run(machine: &Machine, arguments: &[String]) -> Output {
    let mut command: Command = machine.command(arguments.iter().map(String::as_str));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if arguments[0] == "serve" {
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_millis(300) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
    }
    child.wait_with_output().unwrap()
}

/// A secret of every kind that is live in a store.
fn secrets(machine: &Machine) -> Vec<String> {
    let line = |arguments: &[&str]| machine.run(arguments.iter().copied()).must_succeed().line().to_owned();
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["orchestration", "create", "door"]).must_succeed();
    vec![
        machine.make_key("ci", &[]).1,
        machine.make_token("ann", "ci", &[]).1,
        line(&["app", "register", "bot", "--scope", "incidents.read"]),
        line(&["app", "token", "bot"]),
        machine.make_integration("service", "web", "pings").1,
        machine.make_integration("orchestration", "door", "pings").1,
    ]
}

/// What a variable says is repeated as little as what an argument does.
#[test]
fn no_command_repeats_a_secret_in_a_variable() {
    let machine = Machine::with_users();
    for secret in secrets(&machine) {
        for variable in ["PDKEYS_STORE", "PDKEYS_STORE_KEY_FILE", "PDKEYS_TOKEN"] {
            for arguments in [&["list"][..], &["user", "show", "eve"], &["scan", "."]] {
                let ran = machine.finish(machine.command(arguments.iter().copied()).env(variable, &secret));
                let outputs = [&ran.stdout, &ran.stderr];
                assert!(!outputs.iter().any(|text| text.contains(&secret[4..])), "{variable} {ran}");
            }
        }
    }
}

/// Nor is it a matter of the command failing.
#[test]
fn a_command_that_succeeds_does_not_repeat_a_secret() {
    let machine = Machine::with_store();
    let (_, secret) = machine.make_key("ci", &[]);
    let path = format!("/incidents?key={secret}");
    assert_snapshot!(machine.run(["explain", "GET", &path, "--policy", "convention"]), @r"
    exit: 0
    --- stdout
    method             GET
    path               /incidents?key=(a secret ending in [HINT 1])
    policy             convention
    needed             incidents.read
    access             full read-only scopes
    roles              owner admin user limited_user observer read_only_user
    --- stderr
    ");
    let copied = machine.run(["backup", &secret]).must_succeed();
    assert!(copied.stderr.starts_with("Copied the store to (a secret ending in "), "{copied}");
    // The name of the file is a finding.
    let scanned = machine.run(["scan", &secret]).must_exit(3);
    assert!(!scanned.stderr.contains(&secret) && !scanned.stdout.contains(&secret), "{scanned}");
    // What people write is told as they wrote it.
    let name = "payments-production1";
    assert!(machine.run(["service", "create", name]).must_succeed().stderr.contains(name));
}

#[test]
fn no_command_repeats_a_secret_that_is_pasted_into_any_argument_or_option() {
    let machine = Machine::with_users();
    let mut found = Vec::new();
    spots(&machine, &[], &mut found);
    let spots: Vec<_> = found.into_iter().filter(|spot| !spot.command.is_empty()).collect();
    assert!(spots.len() > 200, "{}", spots.len());
    let commands: Vec<_> = spots.iter().map(|spot| spot.command.join(" ")).collect();
    for known in ["create", "scan", "explain", "serve", "user add", "audit list", "integration move"] {
        assert!(commands.contains(&known.to_owned()), "{known}");
    }

    let (next, repeated) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let machine = Machine::with_users();
                let secrets = secrets(&machine);
                while let Some(spot) = spots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (nth, secret) in secrets.iter().enumerate() {
                        // Each kind alone, and amid a path, in turns.
                        let below = machine.home().display();
                        let text = [secret.clone(), format!("{below}/{secret}?x={secret}")];
                        let text = &text[(nth + next.load(Ordering::Relaxed)) % 2];
                        let arguments = pasted(spot, text);
                        let output = run(&machine, &arguments);
                        let outputs =
                            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
                        if outputs.iter().any(|text| text.contains(&secret[4..])) {
                            repeated.lock().unwrap().push((arguments, outputs));
                        }
                    }
                }
            });
        }
    });
    let repeated = repeated.into_inner().unwrap();
    assert!(repeated.is_empty(), "{} of {}: {repeated:#?}", repeated.len(), spots.len());
}
