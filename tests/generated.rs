//! What is generated and kept in the repository: completion scripts and manual pages, from the definitions of the
//! commands; the picture in the README, from a run. And what the scripts ask pdkeys for while somebody types.

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::slice;

use jiff::Timestamp;
use pdkeys::manage::{Founding, Identity, Session, UserSpec};
use pdkeys::model::{Access, KeySpec, Name, Noun, Policy, Role};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{Place, sqlite::SqliteStore};
use regex::Regex;
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
        assert!(printed.contains("_PDKEYS_COMPLETE="), "{shell}: {printed}");
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

/// The picture with what is another in every run taken out: ids, secrets, hints and times, of which none changes its
/// length, and so nothing around it.
fn without_what_varies(picture: &str) -> String {
    let replacements = [
        (r"\bK[0-9A-HJKMNP-TV-Z]{8}\b", "[ID]"),
        (r">[A-Za-z0-9_-]{20}<", ">[SECRET]<"),
        (r"\.\.\.[A-Za-z0-9_-]{3}[A-Za-z0-9]", "[HINT]"),
        (r"hint: [A-Za-z0-9_-]{4} -&gt; [A-Za-z0-9_-]{4}", "hint: [HINT] -> [HINT]"),
        (r"hint: [A-Za-z0-9_-]{4},", "hint: [HINT],"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "[TIME]"),
        (r"\[TIME\]\.\d{3}Z", "[TIME].000Z"),
    ];
    replacements.into_iter().fold(picture.to_owned(), |text, (pattern, with)| {
        let pattern = Regex::new(pattern).unwrap();
        assert!(pattern.is_match(&text), "{pattern}: {text}");
        pattern.replace_all(&text, with).into_owned()
    })
}

#[test]
fn the_picture_shows_what_the_program_prints() {
    let data = TempDir::new().unwrap();
    let drawn = data.path().join("terminal.svg");
    let output = Command::new("python3")
        .arg(in_repository("contrib/picture/draw"))
        .arg(env!("CARGO_BIN_EXE_pdkeys"))
        .arg(&drawn)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let [kept, drawn] = [in_repository("docs/terminal.svg"), drawn]
        .map(|path| without_what_varies(&fs::read_to_string(path).unwrap()));
    for (kept, drawn) in kept.lines().zip(drawn.lines()) {
        assert_eq!(kept, drawn, "docs/terminal.svg is stale; `just picture` draws it anew");
    }
    assert_eq!(kept.lines().count(), drawn.lines().count());
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
    command.env("_PDKEYS_COMPLETE", shell).arg("--");
    match shell {
        "bash" => command.args([&words.join(" "), "", words[words.len() - 1]]),
        "zsh" => command.arg(words.len().to_string()).args(words),
        _ => command.args(words),
    };
    command.output().unwrap()
}

/// The candidates alone; asserts that nothing else was said.
fn candidates(shell: &str, data: &Path, words: &[&str]) -> Vec<String> {
    let output = complete(shell, data, words);
    assert_eq!(output.status.code(), Some(0), "{shell}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (kind, candidates) = text.split_once('\n').unwrap();
    assert_eq!(kind, "words", "{shell}: {text}");
    candidates.lines().map(str::to_owned).collect()
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

/// Runs a command that is to go well.
fn run(data: &Path, arguments: &[&str]) -> String {
    let output = pdkeys(data).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A column of the CSV that a list prints.
fn column(data: &Path, list: &[&str], number: usize) -> Vec<String> {
    let printed = run(data, &[list, &["-o", "csv"]].concat());
    printed.lines().skip(1).map(|line| line.split(',').nth(number).unwrap().to_owned()).collect()
}

/// The candidates that bash is told, but for options.
fn values(data: &Path, words: &[&str]) -> Vec<String> {
    let mut values = candidates("bash", data, words);
    values.retain(|value| !value.starts_with('-'));
    values
}

#[test]
fn whatever_has_an_id_or_a_name_completes_by_either() {
    let data = TempDir::new().unwrap();
    let data = data.path();
    store_where_i_am(Role::Owner, data);
    run(data, &["service", "create", "web"]);
    run(data, &["orchestration", "create", "router"]);
    run(data, &["integration", "create", "--service", "web", "--type", "email", "--name", "mail"]);
    run(data, &["app", "register", "ci", "--scope", "incidents.read"]);
    let id = |list: &[&str]| column(data, list, 0)[0].clone();
    for (group, name, commands) in [
        ("service", "web", &["show", "edit", "remove"][..]),
        ("orchestration", "router", &["show", "edit", "remove"]),
        ("app", "ci", &["show", "edit", "rotate", "remove", "token"]),
        ("user", "sarah", &["show", "edit", "remove"]),
    ] {
        let id = id(&[group, "list"]);
        for command in commands {
            let complete = |typed| values(data, &["pdkeys", group, command, typed]);
            assert_eq!(complete(""), [name], "{group} {command}");
            assert_eq!(complete(&name[..1]), [name], "{group} {command}");
            assert_eq!(complete(&id), slice::from_ref(&id), "{group} {command}");
            assert_eq!(complete(&id[..5].to_lowercase()), slice::from_ref(&id), "{group} {command}");
        }
    }
    let mut integrations = column(data, &["integration", "list"], 0);
    integrations.sort();
    for command in ["show", "move", "remove"] {
        let mut completed = values(data, &["pdkeys", "integration", command, "I"]);
        completed.sort();
        assert_eq!(completed, integrations, "{command}");
    }
    for line in [["list", "--service"], ["create", "--service"], ["move", "--service"]] {
        assert_eq!(values(data, &["pdkeys", "integration", line[0], line[1], ""]), ["web"], "{line:?}");
    }
    assert_eq!(values(data, &["pdkeys", "integration", "list", "--orchestration", "r"]), ["router"]);
    let app = id(&["app", "list"]);
    assert_eq!(values(data, &["pdkeys", "usage", "A"]), [app]);
}

#[test]
fn tokens_complete_where_the_command_lets_the_acting_user_act_on_them() {
    let data = TempDir::new().unwrap();
    let data = data.path();
    store_where_i_am(Role::Owner, data);
    for (user, role) in [("adam", "admin"), ("otto", "observer")] {
        run(data, &["user", "add", user, "--role", role]);
    }
    for user in ["sarah", "adam", "otto"] {
        run(data, &["token", "create", "laptop", "--as", user, "--write-to", user]);
    }
    // Whose tokens each may see, and whose each may remove; otherwise everybody's own.
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("sarah", &["sarah", "adam", "otto"], &["sarah", "otto"]),
        ("adam", &["sarah", "adam", "otto"], &["adam", "otto"]),
        ("otto", &["otto"], &["otto"]),
    ];
    for (user, seen, removable) in cases {
        for (command, owners) in
            [("show", seen), ("edit", &[user]), ("rotate", &[user]), ("remove", removable)]
        {
            let mut expected: Vec<_> = owners
                .iter()
                .flat_map(|owner| column(data, &["token", "list", "--user", owner], 0))
                .collect();
            let mut completed = values(data, &["pdkeys", "--token-file", user, "token", command, "T"]);
            expected.sort();
            completed.sort();
            assert_eq!(completed, expected, "{user}: token {command}");
        }
    }
    let of_otto = &column(data, &["token", "list", "--user", "otto"], 0)[0];
    assert_eq!(
        candidates("fish", data, &["pdkeys", "token", "remove", of_otto]),
        [format!("{of_otto}\totto: laptop")]
    );
    assert_eq!(values(data, &["pdkeys", "--as", "o"]), ["otto"]);
}

#[test]
fn words_of_which_there_are_but_a_few_complete_without_a_store() {
    let data = TempDir::new().unwrap();
    let complete = |words: &[&str]| values(data.path(), &[&["pdkeys"], words].concat());
    assert_eq!(complete(&["user", "add", "x", "--role", ""]), Role::ALL.map(Role::as_str));
    assert_eq!(complete(&["user", "edit", "x", "--role", "o"]), ["owner", "observer"]);
    assert_eq!(complete(&["list", "--status", ""]), ["active", "disabled", "expired"]);
    assert_eq!(complete(&["list", "--access", ""]), ["full", "read-only", "scopes"]);
    assert_eq!(complete(&["integration", "create", "--type", "events"]), ["events-api-v2", "events-api-v1"]);
    assert_eq!(complete(&["service", "create", "--integration", "n"]), ["nagios"]);
    assert_eq!(complete(&["init", "--policy", ""]), ["pagerduty", "convention"]);
    assert_eq!(complete(&["account", "set", "--policy", ""]), ["pagerduty", "convention"]);
    assert_eq!(complete(&["account", "set", "--rest-api", ""]), ["on", "off"]);
    assert_eq!(complete(&["verify", "--api", ""]), ["rest", "events-v1", "events-v2"]);
    assert_eq!(complete(&["audit", "list", "--action", ""]), ["create", "update", "delete"]);
    assert_eq!(complete(&["audit", "list", "--type", "general"]), ["general_key"]);
    assert_eq!(complete(&["export", "k"]), ["keys"]);
    assert_eq!(complete(&["import", "--format", ""]), ["csv", "jsonl"]);
    assert_eq!(complete(&["serve", "--gateway", "n"]), ["nginx"]);
    assert_eq!(complete(&["list", "-o", "js"]), ["json", "jsonl"]);
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
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
