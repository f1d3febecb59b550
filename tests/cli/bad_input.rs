//! What can go wrong before and while a store is used: each ends in a clear error with the right exit code, a hint,
//! and an unchanged store.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::session::{
    Machine, Ran, SOMEBODY, SOMEBODY_ELSE, assert_secret, can_be_others, files_below, names_in, set_mode,
};

/// Runs a command on a file that is no store of ours, and asserts that it is left as it is, with nothing beside it.
#[track_caller]
fn refuses_file(machine: &Machine, path: &Path, arguments: &[&str]) -> String {
    let directory = path.parent().unwrap();
    let before = (names_in(directory), fs::read(path).unwrap());
    let ran = machine.run(arguments.iter().copied().chain(["--store", path.to_str().unwrap()])).must_exit(1);
    assert_eq!(before, (names_in(directory), fs::read(path).unwrap()), "it was touched");
    ran.to_string()
}

#[test]
fn a_store_path_that_does_not_exist_makes_no_store() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["create", "ci", "--store", "typo/keys.db"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: no store at typo/keys.db
    hint: pdkeys init makes a store; --store or PDKEYS_STORE names another
    ");
    machine.run(["list", "--store", "typo/keys.db"]).must_exit(1);
    machine.run(["create", "ci", "--store", "keys.db"]).must_exit(1);
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn a_directory_is_no_store() {
    let machine = Machine::with_store();
    let directory = machine.directory();
    let store = directory.to_str().unwrap();
    assert_snapshot!(machine.refuses(["create", "ci", "--store", store]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: not a file
    hint: nothing was touched; --store or PDKEYS_STORE names another place
    ");
    machine.refuses(["list", "--store", store]).must_exit(1);
    machine.refuses(["create", "ci", "--store", &format!("{store}/pdkeys.db/keys.db")]).must_exit(1);
}

/// SQLite opens what lies under these names, and a pipe would keep it waiting for good.
#[test]
fn what_lies_where_the_store_has_its_files_must_be_a_file() {
    for (name, script) in [
        ("journal", "mkfifo $file"),
        ("journal", "ln -s /dev/zero $file"),
        ("wal", "rm -f $file; mkfifo $file"),
        ("shm", "rm -f $file; mkfifo $file"),
        ("wal", "rm -f $file; mkdir $file"),
    ] {
        let machine = Machine::with_store();
        let file = format!("{}-{name}", machine.store().display());
        machine.finish(machine.shell(script).env("file", &file)).must_succeed();
        for arguments in [&["list"][..], &["create", "ci"], &["doctor"]] {
            let ran = machine.run(arguments.iter().copied()).must_exit(1);
            assert!(ran.stderr.contains(&format!("pdkeys.db-{name}: not a file")), "{script}: {ran}");
        }
    }
}

#[test]
fn a_store_without_permission_is_refused() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    set_mode(machine.home(), 0o755);
    assert_snapshot!(machine.unchanged(|| machine.run_as(SOMEBODY, ["create", "ci"])), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: permission denied
    hint: run it as the user who owns the store, through sudo for instance
    ");
    set_mode(&machine.directory(), 0o755);
    assert_snapshot!(machine.unchanged(|| machine.run_as(SOMEBODY, ["list"])), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: permission denied
    hint: run it as the user who owns the store, through sudo for instance
    ");
}

#[test]
fn a_place_without_permission_gets_no_store() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::new();
    set_mode(machine.home(), 0o755);
    assert_snapshot!(machine.run_as(SOMEBODY, ["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]: permission denied
    hint: run it as the user who owns the store, through sudo for instance
    ");
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn no_store_is_made_at_first_use_under_sudo() {
    let machine = Machine::new();
    assert_snapshot!(machine.run_sudo("0", ["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: no store at [HOME]/pdkeys/pdkeys.db, and none is made under sudo
    hint: pdkeys init makes it on purpose; --store or PDKEYS_STORE names another
    ");
    machine.run_sudo("61234", ["user", "add", "adam", "--role", "admin"]).must_exit(4);
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn a_store_key_that_a_killed_first_use_left_behind_is_used() {
    let machine = Machine::new();
    fs::create_dir(machine.directory()).unwrap();
    let mut options = OpenOptions::new();
    let mut key = options.write(true).create_new(true).mode(0o600).open(machine.store_key()).unwrap();
    std::io::Write::write_all(&mut key, &[7; 32]).unwrap();
    let draft = machine.directory().join(".pdkeys.db.0123456789abcdef.new");
    fs::write(&draft, "half a database").unwrap();
    set_mode(&machine.directory(), 0o700);
    // Until there is a store the key has the name that it was made under, too.
    let made_as = machine.directory().join(".pdkeys.storekey.0123456789abcdef.new");
    fs::hard_link(machine.store_key(), &made_as).unwrap();
    assert_secret(machine.run(["create", "ci"]).must_succeed().line());
    assert_eq!(fs::read(machine.store_key()).unwrap(), [7; 32], "a store key is never overwritten");
    assert_eq!(fs::read(draft).unwrap(), b"half a database");
    assert!(!made_as.exists(), "the key belongs to a store now");
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn a_log_that_a_store_left_behind_is_not_laid_over_a_new_one() {
    let machine = Machine::with_store();
    fs::rename(machine.store(), machine.directory().join("pdkeys.db-wal")).unwrap();
    assert_snapshot!(machine.run(["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db-wal is left over from a store that is gone
    hint: move it away first
    ");
    assert_eq!(names_in(&machine.directory()), ["pdkeys.db-wal", "pdkeys.storekey"]);
}

#[test]
fn the_empty_log_that_a_check_leaves_is_in_nobodys_way() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    crate::checking::ask(&machine, &key, "GET", "/incidents").must_succeed();
    fs::remove_file(machine.store()).unwrap();
    fs::write(machine.directory().join("pdkeys.db-wal"), "").unwrap();
    fs::remove_file(machine.store_key()).unwrap();
    machine.run(["init", "again"]).must_succeed();
    machine.run(["audit", "verify"]).must_succeed();
}

/// Runs a command that may make no file longer than so many blocks of 512 bytes, as if the disk were full then.
pub(crate) fn run_on_full_disk<'m>(machine: &'m Machine, blocks: u64, arguments: &str) -> Ran<'m> {
    machine.run_shell(&format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$pdkeys\" {arguments}"))
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("before", &[]);
    for blocks in [0, 8, 32, 63] {
        for command in ["create full", &format!("rotate {id} --yes"), &format!("disable {id} --yes")] {
            let ran = machine.unchanged(|| run_on_full_disk(&machine, blocks, command)).must_exit(1);
            assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{ran}");
        }
        machine.run(["audit", "verify"]).must_succeed();
    }
    assert_snapshot!(run_on_full_disk(&machine, 0, "create full"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the store failed: disk I/O error: Error code 4618: disk I/O error
    hint: nothing was changed; see whether the disk is full or read-only
    ");
    machine.run(["create", "after"]).must_succeed();
}

#[test]
fn a_secret_is_void_if_the_disk_was_full_after_it_was_printed() {
    let machine = Machine::with_store();
    // Somebody who keeps the store open keeps the write-ahead log there, which then is its longest file.
    let reader = machine.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM audit").unwrap();
    let log = machine.directory().join("pdkeys.db-wal");
    while fs::metadata(&log).map_or(0, |log| log.len()) < 100_000 {
        machine.make_key("before", &[]);
    }
    let blocks = fs::metadata(&log).unwrap().len() / 512;
    for more in [0, 8, 16] {
        let ran = machine.unchanged(|| run_on_full_disk(&machine, blocks + more, "create full"));
        assert_secret(ran.line());
        ran.must_exit(1);
    }
    let ran = machine.unchanged(|| run_on_full_disk(&machine, blocks, "create x --write-to key.txt"));
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    error: the change could not be committed: the secret just handed over is void: the store failed: disk I/O error: Error code 778: disk I/O error
    hint: throw that secret away, and run it again
    ");
    assert!(!machine.file("key.txt").exists());
    drop(reader);
    machine.run(["audit", "verify"]).must_succeed();
    machine.run(["create", "after"]).must_succeed();
}

#[test]
fn a_full_disk_at_first_use_makes_no_store() {
    let machine = Machine::new();
    for blocks in [0, 8, 64] {
        let ran =
            machine.run_shell(&format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$pdkeys\" create full"));
        assert!(!machine.store().exists(), "{ran}");
        ran.must_exit(1);
    }
    machine.run(["create", "ci"]).must_succeed();
    let left: Vec<_> = files_below(&machine.directory())
        .into_iter()
        .filter(|path| path.to_str().unwrap().contains(".new"))
        .collect();
    assert_eq!(left, [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_text_file_is_no_store() {
    let machine = Machine::new();
    let path = machine.file("notes.db");
    fs::write(&path, "remember the milk\n".repeat(50)).unwrap();
    assert_snapshot!(refuses_file(&machine, &path, &["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/notes.db: not a pdkeys store
    hint: nothing was touched; --store or PDKEYS_STORE names another place
    ");
    refuses_file(&machine, &path, &["list"]);
    fs::write(machine.file("notes.db-wal"), "the milk, remembered").unwrap();
    refuses_file(&machine, &path, &["list"]);
    fs::remove_file(machine.file("notes.db-wal")).unwrap();
    fs::write(&path, "").unwrap();
    refuses_file(&machine, &path, &["create", "ci"]);
}

#[test]
fn another_programs_database_is_left_alone() {
    let machine = Machine::new();
    let path = machine.file("theirs.db");
    let theirs = Connection::open(&path).unwrap();
    theirs
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE user (id, name); INSERT INTO user VALUES (1, 'x')",
        )
        .unwrap();
    theirs.close().unwrap();
    assert_snapshot!(refuses_file(&machine, &path, &["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/theirs.db: an SQLite database, but not a pdkeys store
    hint: nothing was touched; --store or PDKEYS_STORE names another place
    ");
    refuses_file(&machine, &path, &["list"]);
    refuses_file(&machine, &path, &["init", "acme"]);
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let machine = Machine::with_store();
    machine.sql().pragma_update(None, "user_version", 99).unwrap();
    assert_snapshot!(refuses_file(&machine, &machine.store(), &["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: written by a newer pdkeys (schema 99; this one knows 5)
    hint: install a newer pdkeys
    ");
    refuses_file(&machine, &machine.store(), &["list"]);
}

/// The same files on another machine, as they are there while somebody has them open, but for what is shared.
fn copied_with_log(machine: &Machine) -> Machine {
    let copied = Machine::new();
    fs::create_dir(copied.directory()).unwrap();
    set_mode(&copied.directory(), 0o700);
    for name in ["pdkeys.db", "pdkeys.db-wal", "pdkeys.storekey"] {
        fs::copy(machine.directory().join(name), copied.directory().join(name)).unwrap();
    }
    copied
}

/// What the newer program committed may still wait in the log, and so may that it is newer.
#[test]
fn a_store_of_a_newer_program_is_left_alone_with_its_log() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    let newer = machine.sql();
    newer.execute_batch("BEGIN; SELECT count(*) FROM audit; COMMIT; PRAGMA user_version = 99").unwrap();
    let content = |machine: &Machine| {
        let directory = machine.directory();
        names_in(&directory)
            .into_iter()
            .map(|name| (name.clone(), fs::read(directory.join(name)).unwrap()))
            .collect::<Vec<_>>()
    };
    let killed = copied_with_log(&machine);
    let before = content(&killed);
    for arguments in [&["create", "x"][..], &["list"], &["doctor"], &["init", "again"]] {
        let ran = killed.run(arguments.iter().copied()).must_exit(1);
        assert!(
            arguments[0] == "init" || ran.stderr.contains("written by a newer pdkeys (schema 99;"),
            "{ran}"
        );
        assert!(content(&killed) == before, "{arguments:?} touched it");
    }
    // By a link it is the same file, and its log is where the file is.
    let link = killed.file("link.db");
    std::os::unix::fs::symlink(killed.store(), &link).unwrap();
    fs::copy(killed.store_key(), killed.file("link.storekey")).unwrap();
    killed.run(["list", "--store", link.to_str().unwrap()]).must_exit(1);
    assert!(content(&killed) == before, "it was touched");
    // The same while it is in use, and after a kill that leaves what was shared.
    let log = fs::read(machine.directory().join("pdkeys.db-wal")).unwrap();
    machine.run(["list"]).must_exit(1);
    fs::copy(machine.directory().join("pdkeys.db-shm"), killed.directory().join("pdkeys.db-shm")).unwrap();
    killed.run(["list"]).must_exit(1);
    for machine in [&machine, &killed] {
        assert!(fs::read(machine.directory().join("pdkeys.db-wal")).unwrap() == log);
    }
    assert!(fs::read(killed.store()).unwrap() == before[0].1);
    drop(newer);
}

/// Left by a kill or a power cut, a log is no reason to refuse a store.
#[test]
fn what_waits_in_a_log_that_was_left_behind_is_not_lost() {
    let machine = Machine::with_store();
    let reader = machine.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM audit").unwrap();
    let (id, _) = machine.make_key("ci", &[]);
    let killed = copied_with_log(&machine);
    killed.run(["show", &id]).must_succeed();
    assert_eq!(names_in(&killed.directory()), ["pdkeys.db", "pdkeys.storekey"]);
    killed.run(["doctor"]).must_succeed();
}

#[test]
fn a_truncated_store_is_refused() {
    let machine = Machine::with_store();
    machine.make_key("ci", &[]);
    let whole = fs::read(machine.store()).unwrap();
    for length in [whole.len() / 2, 4096, 4095, 100] {
        fs::write(machine.store(), &whole[..length]).unwrap();
        let message = refuses_file(&machine, &machine.store(), &["create", "x"]);
        assert!(message.contains("\nerror: "), "{length}: {message}");
        assert!(
            message.contains("\nhint: pdkeys restore FILE puts a backup in its place\n"),
            "{length}: {message}"
        );
        let message = refuses_file(&machine, &machine.store(), &["list"]);
        assert!(message.contains("\nerror: "), "{length}: {message}");
    }
    // Less than a page is missing, which SQLite would take for zeros.
    for missing in [1, 50, 500, 2000, 4095, 4096] {
        fs::write(machine.store(), &whole[..whole.len() - missing]).unwrap();
        for command in [
            &["create", "x"][..],
            &["list"],
            &["doctor"],
            &["audit", "verify"],
            &["backup", "copy.db"],
            &["verify", "--method", "GET", "--path", "/incidents"],
        ] {
            let message = refuses_file(&machine, &machine.store(), command);
            assert!(message.contains("/pdkeys.db: damaged or cut off\n"), "{missing}: {message}");
        }
        assert!(!machine.file("copy.db").exists());
    }
    assert_snapshot!(refuses_file(&machine, &machine.store(), &["doctor"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: damaged or cut off
    hint: pdkeys restore FILE puts a backup in its place
    ");
    fs::write(machine.store(), &whole[..50]).unwrap();
    assert_snapshot!(refuses_file(&machine, &machine.store(), &["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: not a pdkeys store
    hint: nothing was touched; --store or PDKEYS_STORE names another place
    ");
}

#[test]
fn a_store_whose_changes_wait_in_its_log_is_not_taken_for_truncated() {
    let machine = Machine::with_store();
    let reader = machine.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM audit").unwrap();
    let length = fs::metadata(machine.store()).unwrap().len();
    for _ in 0..30 {
        machine.make_key("ci", &[]);
    }
    assert_eq!(fs::metadata(machine.store()).unwrap().len(), length, "all is in the log");
    machine.run(["list"]).must_succeed();
    drop(reader);
    machine.run(["list"]).must_succeed();
    assert!(fs::metadata(machine.store()).unwrap().len() > length);
    machine.run(["doctor"]).must_succeed();
}

#[test]
fn a_store_locked_for_longer_than_five_seconds_is_given_up() {
    let machine = Machine::with_store();
    let holder = machine.sql();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let ran = machine.run(["create", "ci"]);
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(30), "{waited:?}");
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    error: the store was locked by another process for 5 s
    hint: nothing was changed; try again, or see who holds it: fuser -v FILE
    ");
    machine.run(["list"]).must_succeed();
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(machine.count("general_key"), 0);
}

#[test]
fn a_store_locked_for_a_moment_is_waited_for() {
    let machine = Machine::with_store();
    let holder = machine.sql();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = machine.command(["create", "ci"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    holder.execute_batch("COMMIT").unwrap();
    machine.ran(child.wait_with_output().unwrap()).must_succeed();
}

#[test]
fn an_unknown_id_is_not_found() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["disable", "KZZZZZZZZ", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    hint: pdkeys list shows what there is
    ");
    for arguments in [
        &["show", "KZZZZZZZZ"][..],
        &["edit", "KZZZZZZZZ", "--description", "x"],
        &["enable", "KZZZZZZZZ"],
        &["rotate", "KZZZZZZZZ", "--yes"],
        &["rotate", "KZZZZZZZZ", "--overlap", "1h"],
        &["rotate", "KZZZZZZZZ", "--end-overlap"],
        &["remove", "KZZZZZZZZ", "--yes"],
        &["remove", "", "--yes"],
        &["show", "UZZZZZZZZ"],
        &["user", "show", "KZZZZZZZZ"],
        &["user", "edit", "zoe", "--name", "x"],
        &["user", "remove", "zoe", "--yes"],
    ] {
        machine.refuses(arguments.iter().copied()).must_exit(5);
    }
}

#[test]
fn an_id_that_could_be_one_of_two_names_both_and_touches_neither() {
    let machine = Machine::with_store();
    for id in ["K0000AAA1", "K0000AAA2"] {
        let (made, _) = machine.make_key("ci", &[]);
        machine.sql().execute("UPDATE general_key SET id = ?1 WHERE id = ?2", [id, &made]).unwrap();
    }
    assert_snapshot!(machine.refuses(["disable", "K0000AAA3", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    hint: did you mean [K2] or [K3]?
    ");
    machine.refuses(["disable", "K0000AAA", "--yes"]).must_exit(5);
}

#[test]
fn a_description_that_is_empty_too_long_or_has_control_characters_is_refused() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["create", ""]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: description: must not be empty
    hint: say in one line of plain text what it is for, such as "nightly deploy"
    "#);
    assert_snapshot!(machine.refuses(["create", &"x".repeat(10_000)]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: description: 10000 characters long; 255 are allowed
    hint: say in one line of plain text what it is for, such as "nightly deploy"
    "#);
    assert_snapshot!(machine.refuses(["create", "a\u{1b}[2Jb"]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: description: must not contain control characters (\u{1b})
    hint: say in one line of plain text what it is for, such as "nightly deploy"
    "#);
    for text in ["   ", "a\n", "\ta", "a\u{7f}", "a\u{9b}", "a\u{202e}b", "a\u{2066}b"] {
        machine.refuses(["create", text]).must_exit(2);
    }
    let (id, _) = machine.make_key("ci", &[]);
    machine.refuses(["edit", &id, "--description", ""]).must_exit(2);
    machine.refuses(["disable", &id, "--yes", "--reason", "a\u{7}"]).must_exit(2);
    machine.refuses(["user", "add", "a\u{202e}", "--role", "user"]).must_exit(2);
}

#[test]
fn a_refused_description_makes_no_store() {
    let machine = Machine::new();
    machine.run(["create", ""]).must_exit(2);
    machine.run(["create", &"x".repeat(10_000)]).must_exit(2);
    machine.run(["user", "add", "", "--role", "user"]).must_exit(2);
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn an_end_that_may_be_read_as_two_or_cannot_be_told_is_refused_as_that() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["create", "ci", "--expires", "6m"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: expiry: m is ambiguous: use min for minutes or mo for months
    hint: --expires 90d counts from now, dates are in UTC, and --expires never sets no end
    ");
    assert_snapshot!(machine.run(["create", "ci", "--expires", "9000y"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: expiry: is too long: the latest date is 9999-12-30
    hint: --expires 90d counts from now, dates are in UTC, and --expires never sets no end
    ");
    assert_eq!(names_in(machine.home()), [""; 0]);
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    for arguments in [
        &["edit", &id, "--expires", "6m"][..],
        &["token", "create", "ci", "--expires", "30m"],
        &["rotate", &id, "--overlap", "5m"],
        &["list", "--unused-for", "3m"],
        &["list", "--expiring-within", "3m"],
        &["audit", "list", "--since", "3m"],
        &["usage", "--since", "3m"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(2);
        assert!(ran.stderr.contains("m is ambiguous: use min for minutes or mo for months"), "{ran}");
    }
}

#[test]
fn the_last_day_of_other_systems_is_never() {
    let machine = Machine::with_store();
    for never in ["9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59"] {
        let made = machine.run(["create", "ci", "--expires", never, "-o", "json"]).must_succeed();
        assert!(made.json()["expires_at"].is_null() && !made.stderr.contains("it ends"), "{made}");
    }
    let header = "kind,secret,digest,description,access,owner,created_at,expires_at";
    let line = "general,y_NbAkKc66ryYTWUXYEu,,old,full,,2024-01-02,9999-12-31";
    std::fs::write(machine.file("keys.csv"), format!("{header}\n{line}\n")).unwrap();
    machine.run(["import", "keys.csv"]).must_succeed();
    let listed = machine.run(["list", "--text", "old", "-o", "json"]).must_succeed().json();
    assert!(listed[0]["expires_at"].is_null(), "{listed}");
}

#[test]
fn an_expiry_in_the_past_or_unparsable_is_refused_and_makes_no_store() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["create", "ci", "--expires", "2020-01-31"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: expiry: 2020-01-31T00:00:00Z is in the past
    hint: --expires 90d counts from now, dates are in UTC, and --expires never sets no end
    ");
    assert_snapshot!(machine.run(["create", "ci", "--expires", "soon"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: expiry: must be a duration such as 90d or 12h, a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z, or never
    hint: --expires 90d counts from now, dates are in UTC, and --expires never sets no end
    ");
    machine.run(["create", "ci", "--expires", ""]).must_exit(2);
    machine.run(["create", "ci", "--expires", "0d"]).must_exit(2);
    assert_eq!(names_in(machine.home()), [""; 0]);
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    machine.refuses(["edit", &id, "--expires", "2020-01-31"]).must_exit(2);
}

#[test]
fn what_stops_something_that_works_is_not_done_without_a_terminal_or_yes() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    assert_snapshot!(machine.refuses(["remove", &id]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    assert_snapshot!(machine.refuses(["disable", &id]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    assert_snapshot!(machine.refuses(["rotate", &id]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
}

#[test]
fn without_home_there_is_no_default_place() {
    let machine = Machine::new().without("HOME").without("XDG_DATA_HOME");
    assert_snapshot!(machine.run(["create", "ci"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: there is no default place for the store: HOME is not set
    hint: set HOME, or name the store with --store or PDKEYS_STORE
    ");
    machine.run(["list"]).must_exit(1);
    let machine = machine.with("HOME", "").with("XDG_DATA_HOME", "relative");
    machine.run(["create", "ci"]).must_exit(1);
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn without_home_a_named_store_is_used() {
    let machine = Machine::with_store().without("HOME").without("XDG_DATA_HOME");
    machine.run(["create", "ci", "--store", machine.store().to_str().unwrap()]).must_succeed();
}

#[test]
fn who_has_neither_the_right_nor_a_mapping_learns_nothing_of_which_keys_there_are() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    for command in ["show", "enable"] {
        let there = machine.refuses([command, &id, "--as", "otto"]).must_exit(4);
        let not_there = machine.refuses([command, "KZZZZZZZZ", "--as", "otto"]).must_exit(4);
        assert_eq!(there.stderr, not_there.stderr);
    }
    let stranger = SOMEBODY_ELSE.to_string();
    assert_eq!(
        machine.run_sudo(&stranger, ["show", &id]).must_exit(4).stderr,
        machine.run_sudo(&stranger, ["show", "KZZZZZZZZ"]).must_exit(4).stderr
    );
}

#[test]
fn a_service_account_uses_no_store_and_no_directory_of_its_caller() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    machine.give_to(SOMEBODY);
    set_mode(machine.home(), 0o755);
    set_mode(&machine.directory(), 0o755);
    set_mode(&machine.store(), 0o644);
    let whole = || files_below(machine.home());
    let before = whole();
    let as_service = |arguments: &[&str]| {
        let mut command = machine.command_of(SOMEBODY_ELSE, arguments.iter().copied());
        machine.finish(command.env("SUDO_UID", SOMEBODY.to_string()))
    };
    for arguments in [&["list"][..], &["create", "x"], &["user", "list"]] {
        machine.unchanged(|| as_service(arguments)).must_exit(1);
    }
    assert_snapshot!(as_service(&["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]: belongs to another operating-system user (61234)
    hint: run it as the user who owns the store, through sudo for instance; --store names another place
    ");
    // The file alone is the service account's: who owns the directory could put another in its place.
    chown(machine.home(), Some(SOMEBODY_ELSE), Some(SOMEBODY_ELSE)).unwrap();
    chown(machine.store(), Some(SOMEBODY_ELSE), Some(SOMEBODY_ELSE)).unwrap();
    assert_snapshot!(as_service(&["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: belongs to another operating-system user (61234)
    hint: run it as the user who owns the store, through sudo for instance; --store names another place
    ");
    // Nor is a store made in a directory of somebody else.
    let init = ["init", "acme", "--owner", "olli", "--store", "pdkeys/new.db"];
    as_service(&init).must_exit(4);
    assert_snapshot!(machine.run_as(SOMEBODY_ELSE, init), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: belongs to another operating-system user (61234)
    hint: run it as the user who owns the store, through sudo for instance; --store names another place
    ");
    assert_eq!(whole(), before);
    // Root opens the store of any user, unless a third one could change the way to it.
    machine.run(["list"]).must_exit(1);
    machine.give_to(SOMEBODY_ELSE);
    machine.run(["list"]).must_succeed();
}
