//! `-` in the place of a file: standard input or output, or refused, and never a file of that name.

use std::fs;

use insta::assert_snapshot;

use crate::checking::run_with_input;
use crate::session::{Machine, names_in, set_mode};

#[test]
fn a_secret_is_written_to_standard_output_under_the_name_of_a_stream() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    let (key, _) = machine.make_key("ci", &[]);
    for arguments in [
        &["create", "other"][..],
        &["rotate", &key, "--yes"],
        &["token", "create", "laptop", "--as", "uma"],
        &["service", "create", "shop", "--integration", "events-api-v2"],
        &["orchestration", "create", "router"],
        &["integration", "create", "--service", "web", "--type", "events-api-v2", "--name", "events"],
        &["app", "register", "crm", "--scope", "incidents.read"],
    ] {
        let ran = machine.run(arguments.iter().copied().chain(["--write-to", "-"])).must_succeed();
        assert!(ran.line().len() > 15, "{ran}");
        assert!(!ran.stderr.contains("its secret is in"), "{ran}");
    }
    assert_eq!(names_in(machine.home()), ["pdkeys"]);
}

#[test]
fn a_key_is_read_from_standard_input_under_the_name_of_a_stream() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let question = ["verify", "--method", "GET", "--path", "/incidents", "--key-file", "-"];
    run_with_input(&machine, question, format!("{key}\r\n").as_bytes()).must_succeed();
    // Not from the environment, which would come first otherwise.
    let machine = machine.with("PDKEYS_KEY", &key);
    run_with_input(&machine, question, b"").must_exit(3);
    run_with_input(&machine, ["revoke", "--key-file", "-", "--yes"], key.as_bytes()).must_succeed();
}

#[test]
fn what_cannot_be_a_stream_says_so_and_makes_no_file() {
    let machine = Machine::with_store();
    machine.run(["backup", "copy.db"]).must_succeed();
    for arguments in [
        &["list", "--store", "-"][..],
        &["create", "ci", "--store=-"],
        &["init", "acme", "--store", "-"],
        &["list", "--token-file", "-"],
        &["backup", "other.db", "--with-store-key", "-"],
        &["restore", "copy.db", "--store-key", "-", "--yes"],
        &["man", "-"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(2);
        assert!(ran.stderr.contains("- stands for standard input or output, and is not taken here"), "{ran}");
        assert!(ran.stderr.contains("\nhint: "), "{ran}");
    }
    assert_snapshot!(machine.refuses(["list", "--token-file", "-"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value '-' for '--token-file <FILE>': token file: - stands for standard input or output, and is not taken here

    For more information, try '--help'.

    hint: name a file, or give the token itself in PDKEYS_TOKEN; a file that is called - is ./-
    ");
    for variable in ["PDKEYS_STORE", "PDKEYS_STORE_KEY_FILE"] {
        let ran = machine.finish(machine.command(["create", "ci"]).env(variable, "-")).must_exit(2);
        assert!(ran.stderr.contains("is not taken here\nhint: "), "{ran}");
    }
    assert_eq!(names_in(machine.home()), ["copy.db", "pdkeys"]);
    // A file that is called so has another name as well.
    machine.run(["create", "ci", "--write-to", "./-"]).must_succeed();
    assert!(fs::read(machine.file("-")).unwrap().len() > 15);
    machine.run(["verify", "--method", "GET", "--path", "/incidents", "--key-file", "./-"]).must_succeed();
}

#[test]
fn a_token_in_the_environment_may_end_its_line() {
    let machine = Machine::with_users();
    let (_, token) = machine.make_token("adam", "laptop", &[]);
    for end in ["", "\n", "\r\n"] {
        let ran = machine.run_with_token(&format!("{token}{end}"), ["whoami"]).must_succeed();
        assert!(ran.stdout.contains("adam"), "{ran}");
        fs::write(machine.file("token"), format!("{token}{end}")).unwrap();
        set_mode(&machine.file("token"), 0o600);
        machine.run(["whoami", "--token-file", "token"]).must_succeed();
    }
    for around in ["\n\n", " ", "\nx"] {
        machine.run_with_token(&format!("{token}{around}"), ["whoami"]).must_exit(4);
    }
    machine.run_with_token("\n", ["whoami"]).must_exit(4);
}
