//! A foreign environment: variables of shells, of libraries, of git, of SQLite and of the Rust runtime change nothing
//! that is not documented.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use crate::session::Machine;

/// Every variable that clap, `clap_complete`, git, SQLite, the Rust runtime and the other libraries read, and what
/// common programs set. Not those of the dynamic linker, which decides what runs at all.
const VARIABLES: &[&str] = &[
    // clap, clap_complete and what they draw with.
    "COMPLETE",
    "_CLAP_IFS",
    "_CLAP_COMPLETE_INDEX",
    "_CLAP_COMPLETE_COMP_TYPE",
    "_CLAP_COMPLETE_SPACE",
    "_PDKEYS_COMPLETE",
    "COLUMNS",
    "LINES",
    "TERM",
    "COLORTERM",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "NO_COLOR",
    "FORCE_COLOR",
    "CI",
    "WT_SESSION",
    "VISUAL",
    "EDITOR",
    "PAGER",
    "SHELL",
    "LESS",
    "BROWSER",
    // SQLite.
    "SQLITE_TMPDIR",
    "TMPDIR",
    "TMP",
    "TEMP",
    "SQLITE_FORCE_PROXY_LOCKING",
    "USERPROFILE",
    "SQLITE_HISTORY",
    // The Rust runtime, and its libraries.
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "RUSTFLAGS",
    "TOKIO_WORKER_THREADS",
    "TOKIO_UNSTABLE_SHARDED_BLOCKING_QUEUE",
    "TZ",
    "TZDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LANGUAGE",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_BIN_HOME",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    "SYSTEMFD_SOCKET_SERVER",
    "SYSTEMFD_SOCKET_SECRET",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "SUDO_USER",
    "SUDO_GID",
    "SUDO_COMMAND",
    "USER",
    "LOGNAME",
    "PWD",
    "OLDPWD",
    "BASH_ENV",
    "ENV",
    "IFS",
    "CDPATH",
    "POSIXLY_CORRECT",
    // git.
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_DEFAULT_HASH",
    "GIT_CONFIG",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_PAGER",
    "GIT_PAGER_IN_USE",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PERFORMANCE",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_ATTR_SOURCE",
    "GIT_ATTR_NOSYSTEM",
    "GIT_FLUSH",
    "GIT_OPTIONAL_LOCKS",
    "GIT_REDIRECT_STDIN",
    "GIT_REDIRECT_STDOUT",
    "GIT_REDIRECT_STDERR",
    "GIT_MERGE_VERBOSITY",
    "GIT_NOTES_REF",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_DATE",
];

/// How large the Rust runtime makes the stacks of threads. One that is too small ends the process, and lets nothing in.
const STACKS: &str = "RUST_MIN_STACK";

/// Values that mean something to one of them, and rubbish.
const VALUES: [&str; 7] = ["bash", "zsh", "1", "0", "", "always", "x=y /nonexistent/\u{202e}\n"];

/// The same machine with all variables set to a value.
fn hostile(mut machine: Machine, value: &str) -> Machine {
    for name in VARIABLES {
        machine = machine.with(name, value);
    }
    machine
}

/// Every command that has none below it, found out by what help says.
fn commands() -> BTreeSet<String> {
    fn below(machine: &Machine, path: &[String], found: &mut BTreeSet<String>) {
        let help = machine.run(path.iter().map(String::as_str).chain(["--help"])).must_succeed().stdout;
        let names: Vec<_> = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            found.insert(path.join(" "));
        }
        for name in names {
            below(machine, &[path, &[name]].concat(), found);
        }
    }
    let mut found = BTreeSet::new();
    below(&Machine::new(), &[], &mut found);
    found
}

/// A line for every command, in an order in which each has what it needs. `ID` is the id of what was made last.
const LINES: &[&str] = &[
    "init acme --owner ann",
    "whoami",
    "create ci",
    "list",
    "show ID",
    "edit ID --description other",
    "disable ID --yes",
    "enable ID",
    "rotate ID --yes",
    "verify --method GET --path /incidents --key-file secret",
    "explain GET /incidents",
    "usage",
    "export keys",
    "revoke --key-file secret",
    "remove ID --yes",
    "import rows.csv",
    "user add adam --role admin",
    "user list",
    "user show adam",
    "user edit adam --role user",
    "user import users.csv",
    "token create laptop",
    "token list",
    "token show ID",
    "token edit ID --description phone",
    "token rotate ID --yes",
    "token remove ID --yes",
    "app register dash --scope incidents.read",
    "app list",
    "app show dash",
    "app edit dash --name dash2",
    "app rotate dash2 --yes",
    "app token dash2",
    "app remove dash2 --yes",
    "service create mail",
    "service create web",
    "service list",
    "service show web",
    "service edit web --name web2",
    "orchestration create router",
    "orchestration list",
    "orchestration show router",
    "orchestration edit router --name router2",
    "integration create --service web2 --type email --name mail",
    "integration list",
    "integration show ID",
    "integration move ID --service mail",
    "integration remove ID --yes",
    "service remove web2 --yes",
    "orchestration remove router2 --with-integrations --yes",
    "user remove adam --yes",
    "account show",
    "account set --rest-api on",
    "account transfer nobody --yes",
    "audit list",
    "audit verify",
    "audit head",
    "doctor",
    "scan tree",
    "backup copy.db",
    "restore copy.db --yes",
    "completions bash",
    "man pages",
    "serve --listen nowhere",
];

/// How a command ended, and what it printed.
type Ended = (String, Option<i32>, String);

/// Takes out what is another in every run: secrets of whatever kind, digests, and hints.
fn without_what_varies(text: &str) -> String {
    let replacements = [
        (r"[A-Za-z0-9_+=/-]{16,}", "[LONG]"),
        (r"\.\.\.[A-Za-z0-9_+-]{4}\b", "...[HINT]"),
        (r"hint: \S{4} -> \S{4}", "hint: [HINT] -> [HINT]"),
        (r"hint(:? +)[^\s\[]{4}", "hint$1[HINT]"),
    ];
    replacements.into_iter().fold(text.to_owned(), |text, (pattern, with)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, with).into_owned()
    })
}

fn run_all(machine: &Machine) -> Vec<Ended> {
    let id = regex::Regex::new(r"\b[KTAUSOI][0-9A-HJKMNP-TV-Z]{8}\b").unwrap();
    fs::create_dir(machine.file("tree")).unwrap();
    fs::write(machine.file("tree/file"), "nothing").unwrap();
    fs::write(
        machine.file("rows.csv"),
        "kind,secret,description,access\ngeneral,qX7wE2rT9yU4iO1pA6sD,old,full\n",
    )
    .unwrap();
    fs::write(machine.file("users.csv"), "name,role\neve,observer\n").unwrap();
    let mut last = String::new();
    LINES
        .iter()
        .map(|line| {
            let line = line.replace("ID", &last);
            let ran = machine.run(line.split(' '));
            if line.starts_with("create ") || line.starts_with("rotate ") {
                fs::write(machine.file("secret"), &ran.stdout).unwrap();
            }
            if let Some(made) = id.find(&ran.stderr).filter(|_| line.contains("create ")) {
                made.as_str().clone_into(&mut last);
            }
            (machine.redact(&line), ran.status.code(), without_what_varies(&machine.redact(&ran.stdout)))
        })
        .collect()
}

#[test]
fn no_command_does_anything_else_in_a_foreign_environment() {
    let known = commands();
    for command in &known {
        assert!(LINES.iter().any(|line| line.starts_with(command.as_str())), "no line for {command}");
    }
    let usual = run_all(&Machine::new());
    let failed: Vec<_> = usual.iter().filter(|(_, code, _)| *code != Some(0)).collect();
    let are_to_fail = |line: &str| line.starts_with("account transfer") || line.starts_with("serve");
    assert!(failed.iter().all(|(line, ..)| are_to_fail(line)) && failed.len() == 2, "{failed:#?}");
    for value in VALUES {
        let found = run_all(&hostile(Machine::new(), value));
        for (usual, found) in usual.iter().zip(&found) {
            assert_eq!(usual, found, "all variables are {value:?}");
        }
    }
}

#[test]
fn help_and_errors_are_the_same_in_a_foreign_environment() {
    let usual = Machine::new();
    for value in VALUES {
        let hostile = hostile(Machine::new(), value);
        for line in [
            "--help",
            "-h",
            "--version",
            "create --help",
            "lst",
            "list --nothing",
            "--",
            "",
            "-- list",
            "-- x",
        ] {
            let run = |machine: &Machine| {
                let ran = machine.run(line.split(' ').filter(|word| !word.is_empty()));
                (ran.code(), ran.stdout.clone(), ran.stderr.clone())
            };
            // What only the completion scripts set says something to what only they pass.
            let is_asked = line.starts_with("-- ") && matches!(value, "bash" | "zsh" | "fish" | "elvish");
            if !is_asked {
                assert_eq!(run(&usual), run(&hostile), "{line} with {value:?}");
            }
        }
    }
}

/// The gate of the README.
const GATE: &str = r#"if "$pdkeys" verify --quiet --method GET --path /incidents <key >/dev/null; then echo in; else echo out; fi"#;

#[test]
fn the_gate_lets_in_whom_it_lets_in_whatever_a_variable_says() {
    let machine = Machine::with_store();
    let (_, secret) = machine.make_key("gate", &["--scope", "incidents.read"]);
    let (_, other) = machine.make_key("other", &["--scope", "users.read"]);
    let gate = |key: &str, variables: &[&str], value: &str| {
        fs::write(machine.file("key"), key).unwrap();
        let mut gate = machine.shell(GATE);
        machine.finish(gate.envs(variables.iter().map(|name| (name, value))).stdin(Stdio::null())).stdout
    };
    for name in VARIABLES.iter().chain([&STACKS]) {
        for value in ["zsh", "1", "x=y"] {
            assert_eq!(gate("rubbish", &[name], value), "out\n", "{name}={value:?}");
        }
    }
    for value in VALUES {
        for key in ["", "AbCdEfGhIjKlMnOpQrSt", &other] {
            assert_eq!(gate(key, VARIABLES, value), "out\n", "all are {value:?}");
        }
        assert_eq!(gate(&secret, VARIABLES, value), "in\n", "all are {value:?}");
    }
}

#[test]
fn a_secret_is_a_secret_and_no_script_whatever_a_variable_says() {
    for value in VALUES {
        let machine = hostile(Machine::with_store(), value);
        crate::session::assert_secret(machine.run(["create", "ci"]).must_succeed().line());
    }
}
