//! What is generated from the definitions of the commands and kept in the repository: completion scripts, manual
//! pages. And what the scripts ask pdkeys for while somebody types.

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use jiff::Timestamp;
use pdkeys::manage::{Founding, Identity, Session, UserSpec};
use pdkeys::model::{Access, KeySpec, Name, Noun, Policy, Role};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{Place, sqlite::SqliteStore};
use tempfile::TempDir;

const RENEW: &str = "`just generate` renews it";

/// pdkeys in an environment of its own: a data directory, and nothing else.
#[must_use]
fn pdkeys(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pdkeys"));
    command.env_clear().env("XDG_DATA_HOME", data).current_dir(data);
    command
}

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a directory, by name.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|_| panic!("{} is missing; {RENEW}", directory.display()));
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn the_completion_scripts_are_what_the_program_prints() {
    let data = TempDir::new().unwrap();
    let kept = files(&in_repository("completions"));
    let scripts =
        [("bash", "pdkeys.bash"), ("zsh", "_pdkeys"), ("fish", "pdkeys.fish"), ("elvish", "pdkeys.elv")];
    for (shell, file) in scripts {
        let output = pdkeys(data.path()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains("COMPLETE="), "{shell}: {printed}");
        assert!(kept.get(file).is_some_and(|kept| *kept == printed), "completions/{file} is stale; {RENEW}");
    }
    assert_eq!(kept.len(), scripts.len(), "completions/ holds something else: {:?}", kept.keys());
}

#[test]
fn the_manual_pages_are_what_the_program_writes() {
    let data = TempDir::new().unwrap();
    let pages = data.path().join("man");
    let output = pdkeys(data.path()).arg("man").arg(&pages).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let written = files(&pages);
    let kept = files(&in_repository("man"));
    assert!(
        written.contains_key("pdkeys.1") && written.contains_key("pdkeys-create.1"),
        "{:?}",
        written.keys()
    );
    assert_eq!(kept.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>(), "man/ is stale; {RENEW}");
    for (name, page) in &written {
        assert!(kept[name] == *page, "man/{name} is stale; {RENEW}");
    }
}

struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }
}

/// A store at the default place below a directory, with two keys, in which the user who runs the tests has a role.
/// Gives the ids of the keys, newest first.
fn store_where_i_am(role: Role, data: &Path) -> [String; 2] {
    const SOMEBODY_ELSE: u32 = 4_000_000;
    let me = fs::metadata(data).unwrap().uid();
    let name = |text| Name::parse(Noun::User, text).unwrap();
    let founding = Founding {
        account: Name::parse(Noun::Account, "acme").unwrap(),
        policy: Policy::PagerDuty,
        owner: name("sarah"),
        os_uid: if role == Role::Owner { me } else { SOMEBODY_ELSE },
    };
    let place = Place::new(data.join("pdkeys/pdkeys.db"));
    let mut store: SqliteStore = founding.make_store(&place, &Frozen, &mut SystemEntropy).unwrap();
    let mut entropy = SystemEntropy;
    let mut owner =
        Session::begin(&mut store, Identity::OsUser(founding.os_uid), &Frozen, &mut entropy).unwrap();
    if role != Role::Owner {
        let spec = UserSpec {
            name: name("me"),
            role,
            email: None,
            os_uid: Some(me),
            external_id: None,
            rate_limit: None,
        };
        owner.add_user(spec).unwrap();
    }
    ["nightly deploy", "weekly: [x] 'deploy'"]
        .map(|description| KeySpec {
            description: description.parse().unwrap(),
            access: Access::Full,
            expires_at: None,
            rate_limit: None,
        })
        .map(|spec| owner.create_key(spec, &mut |_, _| Ok(())).unwrap().id.to_string())
}

/// What pdkeys answers the script of a shell about a line of which the last word is being typed.
fn complete(shell: &str, data: &Path, words: &[&str]) -> Output {
    let mut command = pdkeys(data);
    command.env("COMPLETE", shell).arg("--").args(words);
    match shell {
        // As the scripts that are checked in set them.
        "bash" => {
            command
                .env("_CLAP_IFS", "\u{b}")
                .env("_CLAP_COMPLETE_COMP_TYPE", "9")
                .env("_CLAP_COMPLETE_SPACE", "false");
        }
        "zsh" | "elvish" => {
            command.env("_CLAP_IFS", "\n");
        }
        _ => {}
    }
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string()).output().unwrap()
}

/// The candidates alone; asserts that nothing else was said.
fn candidates(shell: &str, data: &Path, words: &[&str]) -> Vec<String> {
    let output = complete(shell, data, words);
    assert_eq!(output.status.code(), Some(0), "{shell}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    let separator = if shell == "bash" { '\u{b}' } else { '\n' };
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(separator).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "elvish"];

#[test]
fn ids_complete_from_the_store_with_their_descriptions_newest_first() {
    let data = TempDir::new().unwrap();
    let [nightly, weekly] = store_where_i_am(Role::Owner, data.path());
    let line = ["pdkeys", "disable", "K"];
    assert_eq!(
        candidates("fish", data.path(), &line),
        [format!("{weekly}\tweekly: [x] 'deploy'"), format!("{nightly}\tnightly deploy")]
    );
    assert_eq!(
        candidates("zsh", data.path(), &line),
        [format!("{weekly}:weekly: [x] 'deploy'"), format!("{nightly}:nightly deploy")]
    );
    for shell in ["bash", "elvish"] {
        assert_eq!(candidates(shell, data.path(), &line), [weekly.clone(), nightly.clone()], "{shell}");
    }
    for command in ["show", "edit", "enable", "rotate", "remove"] {
        assert_eq!(candidates("bash", data.path(), &["pdkeys", command, "K"]).len(), 2, "{command}");
    }
    let lower_case = nightly.to_lowercase();
    assert_eq!(candidates("bash", data.path(), &["pdkeys", "show", &lower_case]), [nightly]);
    assert_eq!(candidates("fish", data.path(), &["pdkeys", "user", "show", "s"]), ["sarah\tAccount Owner"]);
}

#[test]
fn only_what_the_acting_user_may_list_completes() {
    for role in Role::ALL {
        let data = TempDir::new().unwrap();
        store_where_i_am(role, data.path());
        let keys = candidates("bash", data.path(), &["pdkeys", "show", "K"]);
        assert_eq!(keys.len(), if matches!(role, Role::Owner | Role::Admin) { 2 } else { 0 }, "{role}");
        let users = candidates("bash", data.path(), &["pdkeys", "user", "show", ""]);
        let users: Vec<_> = users.iter().filter(|word| !word.starts_with('-')).map(String::as_str).collect();
        match role {
            Role::Owner => assert_eq!(users, ["sarah"]),
            Role::RestrictedAccess | Role::ReadOnlyLimitedUser => assert_eq!(users, ["me"], "{role}"),
            _ => assert_eq!(users, ["sarah", "me"], "{role}"),
        }
    }
}

#[test]
fn what_completes_is_what_the_line_would_be_allowed_to_list() {
    let data = TempDir::new().unwrap();
    store_where_i_am(Role::Owner, data.path());
    let run = |arguments: &[&str]| {
        let output = pdkeys(data.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&["user", "add", "otto", "--role", "observer"]);
    run(&["token", "create", "t", "--as", "otto", "--write-to", "token.txt"]);
    let complete = |words: &[&str]| candidates("bash", data.path(), words);
    assert_eq!(complete(&["pdkeys", "show", "K"]).len(), 2);
    assert_eq!(complete(&["pdkeys", "--as", "otto", "show", "K"]), [""; 0]);
    assert_eq!(complete(&["pdkeys", "--token-file", "token.txt", "show", "K"]), [""; 0]);
    assert_eq!(complete(&["pdkeys", "--token-file", "token.txt", "user", "show", "s"]), ["sarah"]);
    assert_eq!(complete(&["pdkeys", "--token-file", "missing", "show", "K"]), [""; 0]);
    assert_eq!(complete(&["pdkeys", "--as", "nobody", "show", "K"]), [""; 0]);
}

#[test]
fn ids_complete_from_the_store_that_the_line_names() {
    let data = TempDir::new().unwrap();
    store_where_i_am(Role::Owner, data.path());
    let elsewhere = TempDir::new().unwrap();
    let store = data.path().join("pdkeys/pdkeys.db");
    let store = store.to_str().unwrap();
    for line in [["pdkeys", "--store", store, "show", "K"], ["pdkeys", "show", "--store", store, "K"]] {
        assert_eq!(candidates("bash", elsewhere.path(), &line).len(), 2, "{line:?}");
    }
}

#[test]
fn completion_is_silent_where_there_is_no_store_and_makes_none() {
    let data = TempDir::new().unwrap();
    for shell in SHELLS {
        assert_eq!(
            candidates(shell, data.path(), &["pdkeys", "disable", "K"]),
            Vec::<String>::new(),
            "{shell}"
        );
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn completion_is_silent_where_the_store_cannot_be_used() {
    let data = TempDir::new().unwrap();
    let directory = data.path().join("pdkeys");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("pdkeys.db"), "not a store").unwrap();
    for shell in SHELLS {
        assert_eq!(
            candidates(shell, data.path(), &["pdkeys", "disable", "K"]),
            Vec::<String>::new(),
            "{shell}"
        );
    }
    assert_eq!(fs::read_to_string(directory.join("pdkeys.db")).unwrap(), "not a store");
}
