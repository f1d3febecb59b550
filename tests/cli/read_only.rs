//! A store where nothing can be written, and what SQLite calls "unable to open database file".

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::checking::Coprocess;
use crate::session::{Machine, SOMEBODY, can_be_others, names_in, set_mode};

/// Mounts the store's directory anew, read-only, for the command alone. Elsewhere it can be written as before.
const ON_READ_ONLY_MOUNT: &str = r#"
    exec unshare -m /bin/sh -c '
        mount --bind "$HOME/pdkeys" "$HOME/pdkeys" &&
        mount -o remount,bind,ro "$HOME/pdkeys" &&
        exec "$pdkeys" "$@"' sh "$@"
"#;

/// Whether a test can mount something, in a name space of its own.
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("skipped: mounting takes root, and unshare");
    }
    can
}

fn on_read_only_mount<'a>(machine: &Machine, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = machine.shell(ON_READ_ONLY_MOUNT);
    command.arg("sh").args(arguments);
    command
}

/// A store of root's, which [`SOMEBODY`] can read, a user of it, and cannot write.
fn readable_by_somebody(machine: &Machine) {
    set_mode(machine.home(), 0o755);
    set_mode(&machine.directory(), 0o755);
    set_mode(&machine.store(), 0o644);
    fs::copy(machine.store_key(), machine.file("key")).unwrap();
    std::os::unix::fs::chown(machine.file("key"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
}

#[test]
fn a_store_on_a_read_only_medium_can_be_read_and_not_changed() {
    if !can_mount() {
        return;
    }
    let machine = Machine::with_users();
    let (id, secret) = machine.make_key("ci", &[]);
    machine.run(["backup", "earlier.db"]).must_succeed();
    let run =
        |arguments: &[&str]| machine.finish(&mut on_read_only_mount(&machine, arguments.iter().copied()));
    let before = (machine.dump(), names_in(&machine.directory()));
    assert_eq!(before.1, ["pdkeys.db", "pdkeys.storekey"], "SQLite has left nothing beside it");
    for arguments in [
        &["list"][..],
        &["show", &id],
        &["user", "list"],
        &["whoami"],
        &["usage"],
        &["audit", "list"],
        &["audit", "verify"],
        &["audit", "head"],
        &["doctor"],
        &["export", "keys"],
        &["export", "users"],
        &["backup", "copy.db", "--with-store-key", "copy.storekey"],
        &["list", "--as", "adam"],
    ] {
        run(arguments).must_succeed();
    }
    assert_eq!(run(&["list", "-o", "json"]).json()[0]["id"], id.as_str());
    machine.run(["--store", "copy.db", "list"]).must_succeed();
    for arguments in [
        &["disable", &id, "--yes"][..],
        &["rotate", &id, "--yes"],
        &["remove", &id, "--yes"],
        &["user", "add", "eve", "--role", "admin"],
        &["account", "set", "--rest-api", "off"],
        &["restore", "earlier.db", "--yes"],
    ] {
        let refused = run(arguments).must_exit(1);
        assert_eq!(refused.stdout, "", "{refused}");
    }
    assert_snapshot!(run(&["create", "another"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: can be read here, but not written
    hint: changes, and counts of checks, need the store's files and directory to be writable
    ");
    // A check that cannot be counted is none.
    let mut check = on_read_only_mount(&machine, ["verify", "--method", "GET", "--path", "/incidents"]);
    assert_snapshot!(machine.finish(check.env("PDKEYS_KEY", &secret)), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: can be read here, but not written
    hint: changes, and counts of checks, need the store's files and directory to be writable
    ");
    assert_eq!(before, (machine.dump(), names_in(&machine.directory())));
}

#[test]
fn a_usage_file_on_a_read_only_medium_is_read_too() {
    if !can_mount() {
        return;
    }
    let machine = Machine::with_store();
    let (id, secret) = machine.make_key("ci", &[]);
    let mut check = machine.command(["verify", "--method", "GET", "--path", "/incidents"]);
    machine.finish(check.env("PDKEYS_KEY", &secret)).must_succeed();
    // Whoever uses the file next writes back what the check left in its log.
    drop(
        rusqlite::Connection::open(machine.file("pdkeys/pdkeys.usage.db"))
            .and_then(|usage| usage.query_row("SELECT count(*) FROM last_used", [], |_| Ok(()))),
    );
    assert!(!machine.file("pdkeys/pdkeys.usage.db-wal").exists());
    let shown = machine.finish(&mut on_read_only_mount(&machine, ["show", &id, "-o", "json"])).must_succeed();
    assert!(shown.json()["last_used_at"].is_string(), "{shown}");
    assert_eq!(shown.stderr, "");
    let mut check = on_read_only_mount(&machine, ["verify", "--method", "GET", "--path", "/incidents"]);
    let refused = machine.finish(check.env("PDKEYS_KEY", &secret)).must_exit(1);
    assert!(refused.stderr.contains("pdkeys.usage.db: can be read here, but not written"), "{refused}");
}

#[test]
fn what_is_in_the_log_of_a_store_on_a_read_only_medium_counts() {
    if !can_mount() {
        return;
    }
    let machine = Machine::with_store();
    let list = || machine.finish(&mut on_read_only_mount(&machine, ["list", "-o", "json"]));
    // Somebody has it open: the log is there, with its index.
    let open = machine.sql();
    open.query_row("SELECT count(*) FROM general_key", [], |_| Ok(())).unwrap();
    machine.make_key("in the log", &[]);
    let log = machine.file("pdkeys/pdkeys.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    assert_eq!(list().must_succeed().json()[0]["description"], "in the log");
    // A log alone cannot be read there, and what it holds is not passed over.
    let kept = fs::read(&log).unwrap();
    drop(open);
    fs::write(&log, kept).unwrap();
    assert_snapshot!(list(), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db-wal: holds changes that cannot be read where nothing can be written
    hint: run pdkeys list once where the directory can be written, or copy the store with pdkeys backup there
    ");
}

/// Asserts that a batch denies a key at the very next question after a change, or cannot tell, and tells soon.
#[track_caller]
fn denies_at_once(batch: &mut Coprocess, key: &str, reason: &str) {
    let question = crate::checking::line(key, "GET", "/incidents");
    let began = Instant::now();
    loop {
        let answer = batch.ask(&question);
        assert_ne!(answer["allowed"], true, "{answer}");
        if answer["reason"] == reason {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{answer}");
    }
}

/// What others change where the store can be written is seen by a batch that reads it where it cannot.
fn sees_what_others_change(machine: &Machine, command: impl Fn() -> Command) {
    let keys: Vec<_> = (0..3).map(|number| machine.make_key(&format!("key {number}"), &[])).collect();
    let mut batch = Coprocess::of(command());
    for (_, key) in &keys {
        assert_eq!(batch.reason(key, "GET", "/incidents"), "allowed");
        assert_eq!(batch.reason(key, "GET", "/incidents"), "allowed");
    }
    machine.run(["disable", &keys[0].0, "--yes"]).must_succeed();
    denies_at_once(&mut batch, &keys[0].1, "disabled");
    assert_eq!(batch.reason(&keys[1].1, "GET", "/incidents"), "allowed");
    machine.run(["remove", &keys[1].0, "--yes"]).must_succeed();
    denies_at_once(&mut batch, &keys[1].1, "removed");
    // The log stays, since somebody has the store open.
    let open = machine.sql();
    open.query_row("SELECT count(*) FROM general_key", [], |_| Ok(())).unwrap();
    machine.run(["disable", &keys[2].0, "--yes"]).must_succeed();
    denies_at_once(&mut batch, &keys[2].1, "disabled");
    machine.run(["enable", &keys[2].0]).must_succeed();
    assert_eq!(batch.reason(&keys[2].1, "GET", "/incidents"), "allowed");
    drop(open);
    machine.run(["disable", &keys[2].0, "--yes"]).must_succeed();
    denies_at_once(&mut batch, &keys[2].1, "disabled");
    // What it counted cannot be added to anything.
    batch.end(machine).must_exit(1);
}

#[test]
fn a_batch_on_a_read_only_mount_sees_what_others_change() {
    if can_mount() {
        let machine = Machine::with_store();
        sees_what_others_change(&machine, || on_read_only_mount(&machine, ["verify", "--batch"]));
    }
}

#[test]
fn a_batch_in_a_directory_that_others_can_write_sees_what_they_change() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    readable_by_somebody(&machine);
    let key = machine.file("key");
    let list = machine.run_as(SOMEBODY, ["list"]).must_succeed();
    assert!(list.stderr.contains("can be read by others"), "{list}");
    sees_what_others_change(&machine, || {
        let mut command = machine.command_of(SOMEBODY, ["verify", "--batch"]);
        command.env("PDKEYS_STORE_KEY_FILE", &key);
        command
    });
}

#[test]
fn permission_denied_names_what_is_closed() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    let said = |arguments: &[&str]| {
        let ran = machine.run_as(SOMEBODY, arguments.iter().copied()).must_exit(1);
        ran.to_string().lines().find(|line| line.starts_with("error: ")).unwrap().to_owned()
    };
    set_mode(machine.home(), 0o755);
    assert_eq!(said(&["list"]), "error: [HOME]/pdkeys: permission denied");
    set_mode(&machine.directory(), 0o755);
    assert_eq!(said(&["list"]), "error: [HOME]/pdkeys/pdkeys.db: permission denied");
    assert_eq!(said(&["--store", "new.db", "init"]), "error: .: permission denied");
    assert_eq!(said(&["--store", "a/b/new.db", "init"]), "error: .: permission denied");
    // A log that only its owner can read.
    set_mode(&machine.store(), 0o644);
    let open = machine.sql();
    open.query_row("SELECT count(*) FROM general_key", [], |_| Ok(())).unwrap();
    set_mode(&machine.file("pdkeys/pdkeys.db-shm"), 0o600);
    assert_eq!(said(&["list"]), "error: [HOME]/pdkeys/pdkeys.db-shm: permission denied");
}

#[test]
fn what_is_no_file_beside_a_store_is_named() {
    for suffix in ["-wal", "-shm"] {
        let machine = Machine::with_store();
        let path = format!("pdkeys/pdkeys.db{suffix}");
        fs::create_dir(machine.file(&path)).unwrap();
        let refused = machine.run(["list"]).must_exit(1);
        assert!(refused.stderr.contains(&format!("{path}: not a file")), "{refused}");
        fs::remove_dir(machine.file(&path)).unwrap();
        machine.run(["list"]).must_succeed();
    }
}

#[test]
fn too_many_open_files_are_told_as_such() {
    let machine = Machine::with_store();
    let mut told = 0;
    for most in 3..12 {
        let ran = machine.run_shell(&format!("ulimit -n {most}; exec \"$pdkeys\" list"));
        if ran.status.code() == Some(1) {
            assert!(ran.stderr.contains("Too many open files"), "{most}: {ran}");
            told += 1;
        }
    }
    assert!(told > 0);
}

#[test]
fn a_path_that_is_too_long_for_sqlite_is_refused_before_anything_is_made() {
    // Longer than this no usage file could be made beside it.
    const LONGEST: usize = 473;
    let machine = Machine::new();
    let home = machine.home().to_str().unwrap().len();
    let path = |length: usize| {
        let rest = length - home - 1 - 201;
        format!("{}/{}", "d".repeat(200), "e".repeat(rest / 2 - 1) + "/" + &"f".repeat(rest - rest / 2))
    };
    for length in [LONGEST + 1, 504, 505, 512, 513, 600] {
        let refused = machine.run(["--store", &path(length), "init"]).must_exit(1);
        assert!(refused.stderr.contains("the path is too long: 473 bytes at most"), "{refused}");
        assert_eq!(names_in(machine.home()), [""; 0]);
    }
    let longest = path(LONGEST);
    assert_eq!(machine.file(&longest).as_os_str().len(), LONGEST);
    let on = |arguments: &[&str]| {
        machine.command(["--store", &longest].into_iter().chain(arguments.iter().copied()))
    };
    assert!(on(&["init"]).status().unwrap().success());
    let secret = machine.finish(&mut on(&["create", "ci"])).must_succeed().line().to_owned();
    let mut check = on(&["verify", "--method", "GET", "--path", "/incidents"]);
    machine.finish(check.env("PDKEYS_KEY", secret)).must_succeed();
    // The same file by a longer path of the same meaning, and by a short link.
    std::os::unix::fs::symlink(&longest, machine.file("link")).unwrap();
    machine.run(["--store", "link", "list"]).must_succeed();
    let directory = Path::new(&longest).parent().unwrap();
    let roundabout = format!("{}/{}", "./".repeat(300), longest);
    machine.run(["--store", &roundabout, "list"]).must_succeed();
    let backup = directory.join("b".repeat(LONGEST - home - directory.as_os_str().len()));
    let refused = machine.finish(&mut on(&["backup", backup.to_str().unwrap()]));
    refused.must_succeed();
    let backup = directory.join("b".repeat(LONGEST + 30 - home - directory.as_os_str().len()));
    let refused = machine.finish(&mut on(&["backup", backup.to_str().unwrap()]));
    assert!(refused.stderr.contains("the path is too long"), "{refused}");
}
