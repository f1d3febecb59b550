//! `backup` and `restore`: a store that is copied while others use it, and put back whole.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::session::{Machine, SOMEBODY, can_be_others, dump, mode_of, names_in, text_of};

/// A machine with a key of each kind, the rotated and the disabled among them, and a backup with its store key; and
/// the secrets.
fn with_backup() -> (Machine, Vec<String>) {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    let (_, key) = machine.make_key("deploy", &["--read-only"]);
    let (disabled, disabled_key) = machine.make_key("old", &[]);
    machine.run(["disable", &disabled, "--yes"]).must_succeed();
    let (rotated, rotated_key) = machine.make_key("rotated", &[]);
    machine.run(["rotate", &rotated, "--yes"]).must_succeed();
    let (_, token) = machine.make_token("ann", "laptop", &[]);
    let (_, integration) = machine.make_integration("service", "web", "alerts");
    machine.run(["backup", "copy.db", "--with-store-key", "copy.key"]).must_succeed();
    (machine, vec![key, disabled_key, rotated_key, token, integration])
}

/// What `verify` says of each secret.
fn verdicts(machine: &Machine, secrets: &[String]) -> Vec<String> {
    let reason = |key: &String| {
        let mut command =
            machine.command(["verify", "--method", "POST", "--path", "/incidents", "-o", "json"]);
        let ran = machine.finish(command.env("PDKEYS_KEY", key));
        text_of(&ran.json(), "reason")
    };
    secrets.iter().map(reason).collect()
}

/// Asserts that a store is whole, and gives all that is in it.
fn intact(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    dump(&connection)
}

#[test]
fn a_backup_is_the_store_and_says_that_it_cannot_be_used_alone() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    let before = machine.dump();
    assert_snapshot!(machine.run(["backup", "copy.db"]), @"
    exit: 0
    --- stdout
    --- stderr
    Copied the store to copy.db; 3 audit records, none altered
    hint: the copy cannot be used alone: it takes the store key, which --with-store-key FILE copies
    ");
    assert_eq!(intact(&machine.file("copy.db")), before);
    assert_eq!(machine.dump(), before, "taking one changes nothing");
    assert_eq!(mode_of(&machine.file("copy.db")), 0o600);
    assert_eq!(names_in(machine.home()), ["copy.db", "pdkeys"], "and nothing else");
    assert_snapshot!(machine.run(["backup", "another.db", "--with-store-key", "another.key"]), @"
    exit: 0
    --- stdout
    --- stderr
    Copied the store to another.db; 3 audit records, none altered
    Copied the store key to another.key
    hint: keep the two apart: together they are the store
    ");
    assert_eq!(fs::read(machine.file("another.key")).unwrap(), fs::read(machine.store_key()).unwrap());
    assert_eq!(mode_of(&machine.file("another.key")), 0o600);
}

#[test]
fn a_backup_overwrites_nothing() {
    let machine = Machine::with_store();
    fs::write(machine.file("there"), "mine").unwrap();
    assert_snapshot!(machine.refuses(["backup", "there"]), @"
    exit: 1
    --- stdout
    --- stderr
    error: there is there already, and is not overwritten
    hint: choose another name, or move it away first
    ");
    machine.refuses(["backup", "new", "--with-store-key", "there"]).must_exit(1);
    assert_eq!(fs::read_to_string(machine.file("there")).unwrap(), "mine");
    machine.refuses(["backup", "no/such/place"]).must_exit(1);
    assert_eq!(names_in(machine.home()), ["pdkeys", "there"]);
}

#[test]
fn of_a_full_disk_no_half_of_a_backup_is_left() {
    let machine = Machine::with_store();
    let ran = machine.run_shell("trap '' XFSZ; ulimit -f 20; exec \"$pdkeys\" backup copy.db").must_exit(1);
    assert!(ran.stderr.starts_with("error: "), "{ran}");
    assert_eq!(names_in(machine.home()), ["pdkeys"]);
}

#[test]
fn restored_elsewhere_with_its_store_key_every_credential_is_what_it_was() {
    let (machine, secrets) = with_backup();
    let elsewhere = Machine::new();
    let [copy, key] = ["copy.db", "copy.key"].map(|name| machine.file(name));
    let (copy, key) = (copy.to_str().unwrap(), key.to_str().unwrap());
    elsewhere.run(["restore", copy, "--yes"]).must_exit(1);
    assert!(!elsewhere.store().exists(), "without the store key there is nothing to restore");
    assert_snapshot!(elsewhere.run(["restore", copy, "--store-key", key, "--yes"]), @"
    exit: 0
    --- stdout
    --- stderr
    Restored the store; 11 audit records
    ");
    let before = verdicts(&machine, &secrets);
    assert_eq!(before, ["read-only", "disabled", "rotated", "allowed", "wrong-api"]);
    assert_eq!(verdicts(&elsewhere, &secrets), before);
    assert_eq!(mode_of(&elsewhere.store()), 0o600);
    assert_eq!(mode_of(&elsewhere.store_key()), 0o600);
    assert_eq!(mode_of(&elsewhere.directory()), 0o700);
    elsewhere.run(["audit", "verify"]).must_succeed();
    let record = &elsewhere.run(["audit", "list", "--limit", "1", "-o", "json"]).json()[0];
    assert_eq!(record["actors"][0]["summary"], "ann");
    assert_eq!(record["details"]["fields"][0]["name"], "restored");
}

#[test]
fn restore_names_what_will_work_again_and_asks() {
    let machine = Machine::with_store();
    let (kept, _) = machine.make_key("kept", &[]);
    let (disabled, _) = machine.make_key("disabled", &[]);
    let (removed, _) = machine.make_key("removed", &[]);
    let (rotated, _) = machine.make_key("rotated", &[]);
    let (token, _) = machine.make_token("ann", "laptop", &[]);
    machine.run(["backup", "copy.db"]).must_succeed();
    machine.run(["disable", &disabled, "--yes"]).must_succeed();
    machine.run(["remove", &removed, "--yes"]).must_succeed();
    machine.run(["rotate", &rotated, "--yes"]).must_succeed();
    machine.run(["token", "remove", &token, "--yes"]).must_succeed();
    let (later, _) = machine.make_key("later", &[]);

    assert_snapshot!(machine.refuses(["restore", "copy.db"]), @"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    assert_eq!(names_in(&machine.directory()).len(), 2, "nothing is left of looking at it");

    let ran = machine.run(["restore", "copy.db", "--yes", "-o", "json"]).must_succeed();
    let mut named: Vec<_> = ran.json()["working_again"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    let mut expected = vec![disabled.clone(), removed.clone(), rotated.clone(), token];
    named.sort();
    expected.sort();
    assert_eq!(named, expected);
    for (id, standing) in [(&disabled, "disabled"), (&removed, "removed"), (&rotated, "rotated")] {
        let told = ran.stderr.lines().find(|line| line.contains(id.as_str())).unwrap();
        assert!(told.contains(standing) && told.ends_with("works again"), "{told}");
    }
    assert!(!ran.stderr.contains(&kept) && !ran.stderr.contains(&later), "{ran}");
    for id in [&kept, &disabled, &removed, &rotated] {
        machine.run(["show", id]).must_succeed();
    }
    machine.run(["show", &later]).must_exit(5);
    machine.run(["audit", "verify"]).must_succeed();

    // What was there is beside it, whole, and can be restored in its turn.
    let aside = text_of(&ran.json(), "replaced_store");
    assert_eq!(mode_of(Path::new(&aside)), 0o600);
    machine.run(["restore", &aside, "--yes"]).must_succeed();
    machine.run(["show", &later]).must_succeed();
    machine.run(["show", &removed]).must_exit(5);
}

/// A running `verify --batch`, asked one question at a time.
struct Batch {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Batch {
    fn of(machine: &Machine) -> Self {
        let mut child = machine
            .command(["verify", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn allows(&mut self, key: &str) -> bool {
        let question = format!("{{\"key\":\"{key}\",\"method\":\"GET\",\"path\":\"/incidents\"}}\n");
        self.child.stdin.as_mut().unwrap().write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["allowed"].as_bool().unwrap()
    }
}

#[test]
fn a_running_process_sees_the_restored_store_at_once() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    machine.run(["backup", "copy.db"]).must_succeed();
    let (_, later) = machine.make_key("later", &[]);
    machine.run(["disable", &id, "--yes"]).must_succeed();
    let mut batch = Batch::of(&machine);
    assert!(!batch.allows(&key) && batch.allows(&later));
    machine.run(["restore", "copy.db", "--yes"]).must_succeed();
    assert!(batch.allows(&key) && !batch.allows(&later));
    machine.run(["disable", &id, "--yes"]).must_succeed();
    assert!(!batch.allows(&key));
    drop(batch.child.stdin.take());
    batch.child.wait().unwrap();
}

#[test]
fn a_backup_taken_while_others_write_is_whole_and_holds_what_was_committed_before() {
    let machine = Machine::with_store();
    let writer = |number: usize| {
        let script = format!(
            "i=0; while [ $i -lt 12 ]; do \"$pdkeys\" create w{number} -q >> made{number}; i=$((i+1)); done"
        );
        machine.shell(&script).spawn().unwrap()
    };
    let mut writers: Vec<Child> = (0..8).map(writer).collect();
    for round in 0..6 {
        let committed = machine.count("general_key");
        let name = format!("copy{round}.db");
        machine.run(["backup", &name]).must_succeed();
        let copy = Connection::open(machine.file(&name)).unwrap();
        let held: u64 = copy.query_row("SELECT count(*) FROM general_key", [], |row| row.get(0)).unwrap();
        assert!(held >= committed, "{held} of {committed}");
        intact(&machine.file(&name));
    }
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(machine.count("general_key"), 8 * 12, "nobody was kept from writing");
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_store_or_the_new_one() {
    let machine = Machine::with_store();
    machine.make_key("before", &[]);
    machine.run(["backup", "copy.db"]).must_succeed();
    for _ in 0..40 {
        machine.make_key("after", &[]);
    }
    machine.run(["backup", "full.db"]).must_succeed();
    let mut outcomes = [0; 2];
    for delay in (0..36).map(|step| Duration::from_millis(step * 2)) {
        machine.run(["restore", "full.db", "--yes", "-q"]).must_succeed();
        let mut child =
            machine.command(["restore", "copy.db", "--yes", "-q"]).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        intact(&machine.store());
        machine.run(["audit", "verify", "-q"]).must_succeed();
        match machine.count("general_key") {
            41 => outcomes[0] += 1,
            1 => outcomes[1] += 1,
            other => panic!("{other} keys"),
        }
        let made = machine.file("killed.db");
        let mut child = machine.command(["backup", "killed.db"]).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        if made.exists() {
            intact(&made);
            fs::remove_file(made).unwrap();
        }
    }
    assert!(outcomes[0] > 0, "some were killed in time: {outcomes:?}");
}

#[test]
fn on_a_full_disk_the_store_stays_what_it_was() {
    let machine = Machine::with_store();
    machine.run(["backup", "copy.db"]).must_succeed();
    let copied = fs::metadata(machine.file("copy.db")).unwrap().len();
    let (mut refused, mut restored) = (0, 0);
    // In blocks of 512 bytes: from next to nothing, past the size of a copy and of the log through which it becomes the
    // store, to enough for everything.
    let blocks = copied / 512;
    for limit in
        (20..blocks).step_by(60).chain((blocks..blocks + 40).step_by(4)).chain([blocks + 90, 4 * blocks])
    {
        machine.run(["create", "later", "-q"]).must_succeed();
        let before = machine.dump();
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$pdkeys\" restore copy.db --yes");
        if machine.run_shell(&script).status.success() {
            restored += 1;
            assert_eq!(machine.count("general_key"), 0, "{limit}");
        } else {
            refused += 1;
            assert_eq!(machine.dump(), before, "{limit}");
        }
        machine.run(["audit", "verify", "-q"]).must_succeed();
    }
    assert!(refused > 0 && restored > 0, "{refused} and {restored}");
}

#[test]
fn what_is_no_backup_of_this_store_is_refused_and_the_store_untouched() {
    let (machine, _) = with_backup();
    let whole = fs::read(machine.file("copy.db")).unwrap();
    fs::write(machine.file("text"), "id,description\nK1,one\n".repeat(100)).unwrap();
    fs::write(machine.file("empty"), "").unwrap();
    fs::write(machine.file("cut"), &whole[..whole.len() / 2]).unwrap();
    fs::write(machine.file("clipped"), &whole[..whole.len() - 500]).unwrap();
    let mut garbled = whole.clone();
    garbled[8192..12_288].fill(0xa5);
    fs::write(machine.file("garbled"), garbled).unwrap();
    let edited = |name: &str, sql: &str| {
        fs::copy(machine.file("copy.db"), machine.file(name)).unwrap();
        Connection::open(machine.file(name)).unwrap().execute_batch(sql).unwrap();
    };
    edited("newer", "PRAGMA user_version = 999");
    edited("foreign", "PRAGMA application_id = 7");
    edited("tampered", "DROP TRIGGER audit_is_not_shortened; DELETE FROM audit WHERE number = 3");
    edited("dangling", "PRAGMA foreign_keys = OFF; UPDATE general_key SET created_by = 'U00000000'");
    let mut said = String::new();
    for name in [
        "text", "empty", "cut", "clipped", "garbled", "newer", "foreign", "tampered", "dangling", "pdkeys",
        "gone",
    ] {
        let ran = machine.refuses(["restore", name, "--yes"]).must_exit(1);
        assert_eq!(ran.stdout, "");
        said.push_str(ran.stderr.lines().next().unwrap());
        said.push('\n');
    }
    let store = machine.store();
    let ran = machine.refuses(["restore", store.to_str().unwrap(), "--yes"]).must_exit(1);
    said.push_str(&machine.redact(ran.stderr.lines().next().unwrap()));
    assert_snapshot!(said, @"
    error: text: not a pdkeys store
    error: empty: not a pdkeys store
    error: cut: damaged or cut off
    error: clipped: damaged or cut off
    error: garbled: damaged: Tree 3 page 3: btreeInitPage() returns error code 11
    error: newer: written by a newer pdkeys (schema 999; this one knows 5)
    error: foreign: an SQLite database, but not a pdkeys store
    error: tampered: damaged: the audit trail is broken at record 3
    error: dangling: damaged: a row of general_key refers to a missing row
    error: pdkeys: not a file
    error: gone: No such file or directory (os error 2)
    error: [HOME]/pdkeys/pdkeys.db is the store itself
    ");
    assert_eq!(names_in(&machine.directory()), ["pdkeys.db", "pdkeys.storekey"], "nothing is left behind");
}

#[test]
fn the_store_key_must_fit_and_is_never_overwritten() {
    let (machine, _) = with_backup();
    let other = Machine::with_store();
    let key = fs::read(other.store_key()).unwrap();
    let copy = machine.file("copy.db");
    let copy = copy.to_str().unwrap();
    assert_snapshot!(other.refuses(["restore", copy, "--yes"]), @"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: belongs to another store
    hint: the store works with the key that it was made with, and no other
    ");
    let its_key = machine.file("copy.key");
    assert_snapshot!(other.refuses(["restore", copy, "--store-key", its_key.to_str().unwrap(), "--yes"]), @"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.storekey is another store key
    hint: move it away first, if it is not needed any more
    ");
    assert_eq!(fs::read(other.store_key()).unwrap(), key);
    machine.run(["restore", copy, "--store-key", "copy.key", "--yes"]).must_succeed();
}

#[test]
fn the_owner_alone_restores_and_an_admin_backs_up() {
    let machine = Machine::with_users();
    machine.run(["backup", "copy.db"]).must_succeed();
    assert_snapshot!(machine.refuses(["restore", "copy.db", "--yes", "--as", "adam"]), @"
    exit: 4
    --- stdout
    --- stderr
    error: adam (admin) may not restore the store
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.run(["backup", "by-admin.db", "--as", "adam"]).must_succeed();
    machine.refuses(["backup", "by-observer.db", "--as", "otto"]).must_exit(4);
    assert!(!machine.file("by-observer.db").exists());
    if can_be_others() {
        machine.give_to(SOMEBODY);
        machine.run_as(SOMEBODY, ["restore", "copy.db", "--yes"]).must_exit(4);
    }
}

#[test]
fn where_no_store_can_be_read_no_role_is_asked() {
    let (machine, secrets) = with_backup();
    let before = verdicts(&machine, &secrets);
    // Destroyed inside, with a header that is still that of a store.
    let mut garbled = fs::read(machine.store()).unwrap();
    garbled[4096..16_384].fill(0xa5);
    fs::write(machine.store(), garbled).unwrap();
    machine.run(["list"]).must_exit(1);
    machine.run(["restore", "copy.db"]).must_exit(6);
    machine.run(["restore", "copy.db", "--yes"]).must_succeed();
    assert_eq!(verdicts(&machine, &secrets), before);
    machine.run(["audit", "verify"]).must_succeed();
    // Cut short by less than a page.
    let whole = fs::read(machine.store()).unwrap();
    fs::write(machine.store(), &whole[..whole.len() - 500]).unwrap();
    machine.run(["list"]).must_exit(1);
    machine.run(["restore", "copy.db", "--yes"]).must_succeed();
    assert_eq!(verdicts(&machine, &secrets), before);
    machine.run(["doctor"]).must_succeed();
    // Deleted altogether.
    fs::remove_dir_all(machine.directory()).unwrap();
    machine.run(["restore", "copy.db", "--store-key", "copy.key", "--yes"]).must_succeed();
    assert_eq!(verdicts(&machine, &secrets), before);
}
