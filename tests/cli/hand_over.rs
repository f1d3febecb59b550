//! A secret is handed over before it is committed: what cannot be printed is not made.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::session::{Machine, assert_secret};

/// A machine with one key, and the key's id.
fn with_key() -> (Machine, String) {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    (machine, id)
}

/// Runs scripts that make secrets whose output fails, and asserts that nothing was changed.
#[track_caller]
fn nothing_is_made(machine: &Machine, id: &str, redirection: &str) -> String {
    for command in [
        format!("rotate {id} --yes"),
        format!("rotate {id} --overlap 24h"),
        "create x -o json".to_owned(),
        "create x -o jsonl".to_owned(),
    ] {
        let ran = machine.unchanged(|| machine.run_shell(&format!("\"$pdkeys\" {command} {redirection}")));
        assert!(ran.stderr.contains("nothing was changed"), "{command}: {ran}");
        ran.must_exit(1);
    }
    machine.unchanged(|| machine.run_shell(&format!("\"$pdkeys\" create x {redirection}"))).to_string()
}

#[test]
fn a_key_is_not_made_if_standard_output_is_closed() {
    let (machine, id) = with_key();
    assert_snapshot!(nothing_is_made(&machine, &id, ">&-"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: standard output is closed
    hint: send standard output where it is read, or name a new file with --write-to
    ");
}

#[test]
fn a_key_is_not_made_if_standard_output_is_full() {
    let (machine, id) = with_key();
    assert_snapshot!(nothing_is_made(&machine, &id, "> /dev/full"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: No space left on device (os error 28)
    hint: send standard output where it is read, or name a new file with --write-to
    ");
}

#[test]
fn a_key_is_not_made_if_standard_output_cannot_be_written() {
    let (machine, id) = with_key();
    assert_snapshot!(nothing_is_made(&machine, &id, "1< /dev/null"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: Bad file descriptor (os error 9)
    hint: send standard output where it is read, or name a new file with --write-to
    ");
}

#[test]
fn a_key_is_made_if_its_secret_is_thrown_away_on_purpose() {
    let (machine, _) = with_key();
    machine.run_shell("\"$pdkeys\" create x > /dev/null").must_succeed();
    assert_eq!(machine.count("general_key"), 2);
}

#[test]
fn a_key_is_made_if_its_secret_is_written_to_a_file_by_the_shell() {
    let (machine, _) = with_key();
    machine.run_shell("\"$pdkeys\" create x > key.txt").must_succeed();
    let secret = fs::read_to_string(machine.file("key.txt")).unwrap();
    assert_secret(secret.strip_suffix('\n').unwrap());
}

#[test]
fn a_key_is_not_made_if_its_reader_has_gone() {
    let (machine, _) = with_key();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let ran = machine
        .unchanged(|| machine.finish(machine.command(["create", "x"]).stdout(writer).stderr(Stdio::piped())));
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: Broken pipe (os error 32)
    hint: send standard output where it is read, or name a new file with --write-to
    ");
}

#[test]
fn a_key_is_not_made_if_its_reader_stops_reading() {
    let (machine, _) = with_key();
    let (mut reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    while let Ok(written) = writer.write(&[b'.'; 512]) {
        filled += written;
    }
    fcntl_setfl(&writer, flags).unwrap();
    let start = Instant::now();
    let ran = machine
        .unchanged(|| machine.finish(machine.command(["create", "x"]).stdout(writer).stderr(Stdio::piped())));
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: standard output took nothing for 2 s
    hint: send standard output where it is read, or name a new file with --write-to
    ");
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, ".".repeat(filled), "nothing of the secret came through");
}

#[test]
fn a_reader_that_takes_a_moment_gets_its_secret() {
    let (machine, _) = with_key();
    let ran = machine.run_shell("\"$pdkeys\" create x | { sleep 0.2; cat; }").must_succeed();
    assert_secret(ran.line());
}

#[test]
fn write_to_never_overwrites_a_file() {
    let (machine, id) = with_key();
    fs::write(machine.file("key.txt"), "precious").unwrap();
    assert_snapshot!(machine.refuses(["create", "x", "--write-to", "key.txt"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: key.txt is there already
    hint: --write-to makes a new file and overwrites none; choose another name
    ");
    machine.refuses(["rotate", &id, "--yes", "--write-to", "key.txt"]).must_exit(1);
    std::os::unix::fs::symlink("nowhere", machine.file("link")).unwrap();
    machine.refuses(["create", "x", "--write-to", "link"]).must_exit(1);
    assert_eq!(fs::read_to_string(machine.file("key.txt")).unwrap(), "precious");
    let first_use = Machine::new();
    fs::write(first_use.file("key.txt"), "precious").unwrap();
    first_use.run(["create", "x", "--write-to", "key.txt"]).must_exit(1);
    assert!(!first_use.directory().exists(), "it is refused before anything else");
    assert!(!machine.file("nowhere").exists());
}

#[test]
fn write_to_leaves_no_file_behind_if_the_key_is_not_made() {
    let (machine, _) = with_key();
    let ran = machine
        .unchanged(|| machine.run_shell("\"$pdkeys\" create x --write-to key.txt -o json > /dev/full"));
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    error: the secret could not be handed over, and nothing was changed: No space left on device (os error 28)
    hint: send standard output where it is read, or name a new file with --write-to
    ");
    assert!(!machine.file("key.txt").exists());
    machine.refuses(["create", "", "--write-to", "key.txt"]).must_exit(2);
    machine.refuses(["create", "x", "--write-to", "missing/key.txt"]).must_exit(1);
    machine.refuses(["create", "x", "--write-to", "/dev/full"]).must_exit(1);
    assert!(!machine.file("key.txt").exists());
}

#[test]
fn csv_is_refused_where_a_secret_is_printed_and_no_store_is_made_for_it() {
    let machine = Machine::new();
    assert_snapshot!(machine.run(["create", "x", "-o", "csv"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: a secret is not printed as csv
    hint: without -o it is printed alone; -o json prints it with its record
    ");
    machine.run(["token", "create", "x", "-o", "csv"]).must_exit(2);
    machine.run(["orchestration", "create", "x", "-o", "csv"]).must_exit(2);
    machine.run(["service", "create", "x", "--integration", "email", "-o", "csv"]).must_exit(2);
    assert!(!machine.directory().exists());
    let (machine, id) = with_key();
    machine.run(["service", "create", "web", "-o", "csv"]).must_succeed();
    machine.refuses(["rotate", &id, "-o", "csv", "--yes"]).must_exit(2);
    machine.refuses(["create", "x", "-o", "csv", "--write-to", "key.txt"]).must_exit(2);
    let into = ["--service", "web", "--type", "email", "--name", "mail", "-o", "csv"];
    machine.refuses(["integration", "create"].into_iter().chain(into)).must_exit(2);
    machine.run(["rotate", &id, "--overlap", "1h"]).must_succeed();
    machine.run(["rotate", &id, "--end-overlap", "-o", "csv"]).must_succeed();
}

#[test]
fn a_list_whose_output_fails_is_an_error_and_one_whose_reader_has_gone_is_silent() {
    let (machine, _) = with_key();
    assert_snapshot!(machine.run_shell("\"$pdkeys\" list > /dev/full"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: cannot write the output: No space left on device (os error 28)
    ");
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let ran = machine.finish(machine.command(["list"]).stdout(writer).stderr(Stdio::piped()));
    assert_snapshot!(ran, @r"
    exit: 1
    --- stdout
    --- stderr
    ");
}

#[test]
fn write_to_says_where_the_secret_is() {
    let (machine, id) = with_key();
    let made = machine.run(["create", "x", "--write-to", "one.txt"]).must_succeed();
    assert!(made.stderr.ends_with("); its secret is in one.txt\n"), "{made}");
    assert!(!made.stderr.contains("only this once"), "{made}");
    let rotate = ["rotate", &id, "--overlap", "24h", "--write-to", "two.txt"];
    assert!(machine.run(rotate).must_succeed().stderr.ends_with("; its secret is in two.txt\n"));
    let service = ["service", "create", "web", "--integration", "email", "--write-to", "three.txt"];
    assert!(machine.run(service).must_succeed().stderr.ends_with("; its secret is in three.txt\n"));
    let token = ["token", "create", "t", "--write-to", "four.txt"];
    assert!(machine.run(token).must_succeed().stderr.ends_with("; its secret is in four.txt\n"));
}
