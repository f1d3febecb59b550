//! A store that pdkeys 0.1 made, with every noun in it: `tests/fixtures/store-0.1`.
//!
//! The store, its store key and the secrets were made for this, with the binary of 0.1 and a clock that was set back.
//! Later programs must open it, check its credentials and manage it.

use std::fs;
use std::path::PathBuf;

use crate::session::{Machine, set_mode, text_of};

/// A credential of the store, or the client secret of an app.
struct Held {
    name: String,
    secret: String,
    /// What `verify` says of it; of a client secret nothing.
    reason: Option<String>,
    /// What `scan` says of it.
    status: String,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-0.1").join(name)
}

/// A machine with that store at the default place.
pub(crate) fn machine_of_0_1() -> Machine {
    let machine = Machine::new();
    fs::create_dir(machine.directory()).unwrap();
    set_mode(&machine.directory(), 0o700);
    for name in ["pdkeys.db", "pdkeys.storekey", "pdkeys.usage.db"] {
        let copy = machine.directory().join(name);
        fs::copy(fixture(name), &copy).unwrap();
        set_mode(&copy, 0o600);
    }
    // The owner of the fixture is another operating-system user than the one who runs the tests.
    machine.with("PDKEYS_TOKEN", &held("token-ann").secret)
}

fn all_held() -> Vec<Held> {
    let text = fs::read_to_string(fixture("secrets.tsv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let [name, secret, reason, status] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let reason = (reason != "-").then(|| reason.to_owned());
        Held { name: name.to_owned(), secret: secret.to_owned(), reason, status: status.to_owned() }
    })
    .collect()
}

fn held(name: &str) -> Held {
    all_held().into_iter().find(|held| held.name == name).unwrap()
}

/// What `verify` says of a secret, asked of the API that its kind is for.
fn reason(machine: &Machine, held: &Held) -> String {
    let event = held.name.contains("integration");
    let asked: &[&str] = if event {
        &["verify", "--api", "events-v2", "--method", "POST", "--path", "/v2/enqueue", "-o", "json"]
    } else {
        &["verify", "--method", "GET", "--path", "/incidents", "-o", "json"]
    };
    let mut command = machine.command(asked.iter().copied());
    text_of(&machine.finish(command.env("PDKEYS_KEY", &held.secret)).json(), "reason")
}

fn ids(machine: &Machine, listed: &[&str]) -> usize {
    let ran = machine.run(listed.iter().copied().chain(["-o", "json"])).must_succeed();
    ran.json().as_array().unwrap().len()
}

#[test]
fn every_credential_is_what_it_was() {
    let machine = machine_of_0_1();
    for held in all_held() {
        if let Some(expected) = &held.reason {
            assert_eq!(&reason(&machine, &held), expected, "{}", held.name);
        }
    }
    // Client secrets are not checked by verify; scan knows them too.
    let all = fixture("secrets.tsv");
    let found = machine.run(["scan", all.to_str().unwrap(), "-o", "json"]).must_exit(3).json();
    let standing: Vec<_> = found.as_array().unwrap().iter().map(|found| text_of(found, "status")).collect();
    let expected: Vec<_> = all_held().into_iter().map(|held| held.status).collect();
    assert_eq!(standing, expected);
}

#[test]
fn everything_in_it_is_listed() {
    let machine = machine_of_0_1();
    for (listed, count) in [
        (&["list"][..], 14),
        (&["token", "list", "--all"], 11),
        (&["user", "list"], 11),
        (&["service", "list"], 2),
        (&["orchestration", "list"], 1),
        (&["integration", "list"], 5),
        (&["app", "list"], 2),
        (&["audit", "list"], 82),
    ] {
        assert_eq!(ids(&machine, listed), count, "{listed:?}");
    }
    let keys = machine.run(["list", "-o", "json"]).must_succeed().json();
    let used = keys.as_array().unwrap().iter().filter(|key| !key["last_used_at"].is_null()).count();
    assert_eq!(used, 2, "what was counted is there");
}

#[test]
fn its_trail_is_intact_and_the_doctor_finds_no_problem() {
    let machine = machine_of_0_1();
    let verified = machine.run(["audit", "verify", "-o", "json"]).must_succeed().json();
    assert_eq!((&verified["intact"], &verified["number"]), (&true.into(), &82.into()));
    machine.run(["doctor"]).must_succeed();
}

#[test]
fn everything_in_it_can_be_managed() {
    let machine = machine_of_0_1();
    let id_of = |listed: &[&str], field: &str, called: &str| {
        let all = machine.run(listed.iter().copied().chain(["-o", "json"])).must_succeed().json();
        let one = all.as_array().unwrap().iter().find(|one| one[field] == called).unwrap();
        text_of(one, "id")
    };
    let key = |called| id_of(&["list"], "description", called);
    let run = |arguments: &[&str]| machine.run(arguments.iter().copied().chain(["--yes"])).must_succeed();
    run(&["edit", &key("reads only"), "--description", "reads"]);
    run(&["enable", &key("disabled")]);
    run(&["disable", &key("full access")]);
    run(&["rotate", &key("rotated with overlap"), "--end-overlap"]);
    run(&["rotate", &key("imported"), "--overlap", "1d"]);
    run(&["remove", &key("digest only")]);
    run(&["edit", &key("imported then changed"), "--description", "changed again"]);
    run(&["token", "remove", &id_of(&["token", "list", "--all"], "description", "scoped"), "--as", "mona"]);
    run(&["token", "rotate", &id_of(&["token", "list", "--all"], "description", "rotated"), "--as", "lim"]);
    run(&["service", "edit", "api", "--description", "the API"]);
    run(&["integration", "move", &id_of(&["integration", "list"], "name", "moved"), "--service", "web shop"]);
    run(&["integration", "remove", &id_of(&["integration", "list"], "name", "imported integration")]);
    run(&["app", "rotate", "bot"]);
    run(&["app", "token", "bot"]);
    run(&["app", "edit", "bot", "--revoke-tokens"]);
    run(&["app", "remove", "narrowed"]);
    run(&["user", "edit", "ivo", "--role", "user"]);
    run(&["user", "remove", "ida"]);
    run(&["account", "transfer", "sam"]);
    run(&["backup", "copy.db"]);
    machine.run(["audit", "verify"]).must_succeed();
    machine.run(["doctor"]).must_succeed();
    for (name, expected) in [
        ("key-full", "disabled"),
        ("key-disabled", "allowed"),
        ("key-overlap", "rotated"),
        ("import-digest-only", "removed"),
        ("import-imported", "allowed"),
        ("import-integration", "removed"),
        ("token-overlap", "rotated"),
    ] {
        assert_eq!(reason(&machine, &held(name)), expected, "{name}");
    }
}
