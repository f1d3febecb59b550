//! That every command asks the permission table: for each, a role that may and one that may not. The table itself is
//! tested through the library, cell by cell.

use std::collections::BTreeSet;
use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, SOMEBODY, can_be_others, text_of};

/// A command, a user who may, and one who may not. `ID` stands for the id of a key with an overlap, `TOKEN` for that
/// of a token of adam's, `INTEGRATION` for that of an integration into the service `web`.
const WIRING: &[(&[&str], &str, &str)] = &[
    (&["create", "x"], "adam", "uma"),
    (&["list"], "adam", "otto"),
    (&["show", "ID"], "adam", "uma"),
    (&["edit", "ID", "--description", "x"], "adam", "uma"),
    (&["disable", "ID", "--yes"], "adam", "uma"),
    (&["enable", "ID"], "adam", "uma"),
    (&["rotate", "ID", "--overlap", "1h"], "adam", "uma"),
    (&["rotate", "ID", "--yes"], "adam", "uma"),
    (&["rotate", "ID", "--end-overlap"], "adam", "uma"),
    (&["remove", "ID", "--yes"], "adam", "uma"),
    (&["token", "create", "x", "--user", "adam"], "adam", "uma"),
    (&["token", "create", "x"], "otto", "lisa"),
    (&["token", "list", "--user", "adam"], "ann", "uma"),
    (&["token", "list", "--all"], "adam", "uma"),
    (&["token", "edit", "TOKEN", "--description", "x"], "adam", "ann"),
    (&["token", "rotate", "TOKEN", "--overlap", "1h"], "adam", "ann"),
    (&["token", "rotate", "TOKEN", "--yes"], "adam", "ann"),
    (&["token", "rotate", "TOKEN", "--end-overlap"], "adam", "ann"),
    (&["token", "remove", "TOKEN", "--yes"], "adam", "ann"),
    (&["service", "create", "x"], "uma", "otto"),
    (&["service", "create", "x", "--integration", "email"], "uma", "otto"),
    (&["service", "list"], "otto", "rita"),
    (&["service", "show", "web"], "otto", "rita"),
    (&["service", "edit", "web", "--name", "x"], "uma", "otto"),
    (&["service", "remove", "idle", "--yes"], "uma", "otto"),
    (&["service", "remove", "web", "--with-integrations", "--yes"], "uma", "otto"),
    (&["orchestration", "create", "x"], "uma", "otto"),
    (&["orchestration", "list"], "otto", "rita"),
    (&["orchestration", "show", "router"], "otto", "rita"),
    (&["orchestration", "edit", "router", "--name", "x"], "uma", "otto"),
    (&["orchestration", "remove", "router", "--with-integrations", "--yes"], "uma", "otto"),
    (&["integration", "create", "--service", "web", "--type", "email", "--name", "x"], "uma", "otto"),
    (&["integration", "list"], "otto", "rita"),
    (&["integration", "list", "--service", "web"], "otto", "rita"),
    (&["integration", "show", "INTEGRATION"], "otto", "rita"),
    (&["integration", "move", "INTEGRATION", "--service", "idle"], "uma", "otto"),
    (&["integration", "remove", "INTEGRATION", "--yes"], "uma", "otto"),
    (&["app", "register", "x", "--scope", "incidents.read"], "uma", "otto"),
    (&["app", "register", "x", "--scope", "users.write"], "adam", "uma"),
    (&["app", "list"], "uma", "otto"),
    (&["app", "show", "ci"], "uma", "otto"),
    (&["app", "edit", "ci", "--description", "x"], "uma", "otto"),
    (&["app", "edit", "ci", "--revoke-tokens", "--yes"], "uma", "otto"),
    (&["app", "rotate", "ci", "--overlap", "1h"], "uma", "otto"),
    (&["app", "rotate", "ci", "--yes"], "uma", "otto"),
    (&["app", "rotate", "ci", "--end-overlap"], "uma", "otto"),
    (&["app", "remove", "ci", "--yes"], "uma", "otto"),
    (&["app", "token", "ci"], "uma", "otto"),
    (&["user", "add", "x", "--role", "user"], "adam", "uma"),
    (&["user", "add", "x", "--role", "owner"], "", "adam"),
    (&["user", "show", "uma"], "otto", "rita"),
    (&["user", "edit", "otto", "--name", "o"], "adam", "otto"),
    (&["user", "edit", "otto", "--role", "user"], "adam", "uma"),
    (&["user", "edit", "ann", "--name", "a"], "ann", "adam"),
    (&["user", "remove", "otto", "--yes"], "adam", "uma"),
    (&["account", "set", "--rest-api", "off"], "ann", "adam"),
    (&["account", "transfer", "adam", "--yes"], "ann", "adam"),
    (&["usage", "ID"], "adam", "uma"),
    (&["usage", "INTEGRATION"], "uma", "otto"),
    (&["export", "keys"], "adam", "uma"),
    (&["import", "keys.csv"], "adam", "uma"),
    (&["import", "tokens.csv"], "ann", "adam"),
    (&["user", "import", "users.csv"], "adam", "uma"),
    (&["audit", "list"], "adam", "uma"),
    (&["audit", "head"], "adam", "uma"),
    (&["audit", "verify"], "adam", "uma"),
    (&["doctor"], "adam", "uma"),
    (&["backup", "copy.db"], "adam", "uma"),
    (&["restore", "copy.db", "--yes"], "", "adam"),
];

#[test]
fn every_command_lets_one_role_in_and_another_not() {
    for (command, allowed, denied) in WIRING {
        let machine = Machine::with_users();
        let (id, _) = machine.make_key("ci", &[]);
        machine.run(["rotate", &id, "--overlap", "24h"]).must_succeed();
        machine.run(["user", "add", "lisa", "--role", "read_only_limited_user"]).must_succeed();
        let token = id_of(&machine, &["token", "create", "t", "--as", "adam"]);
        machine.run(["token", "rotate", &token, "--overlap", "24h", "--as", "adam"]).must_succeed();
        let integration = id_of(&machine, &["service", "create", "web", "--integration", "email"]);
        machine.run(["service", "create", "idle"]).must_succeed();
        machine.run(["orchestration", "create", "router"]).must_succeed();
        machine.run(["app", "register", "ci", "--scope", "incidents.read"]).must_succeed();
        machine.run(["app", "rotate", "ci", "--overlap", "24h"]).must_succeed();
        for (file, content) in [
            ("keys.csv", "kind,digest,description,access\ngeneral,DIGEST,x,full\n"),
            ("tokens.csv", "kind,digest,description,owner\nuser-token,DIGEST,x,uma\n"),
            ("users.csv", "name,role\nx,user\n"),
        ] {
            fs::write(machine.file(file), content.replace("DIGEST", &"00".repeat(32))).unwrap();
        }
        let arguments = |user| {
            let command = command.iter().map(|word| match *word {
                "ID" => id.as_str(),
                "TOKEN" => token.as_str(),
                "INTEGRATION" => integration.as_str(),
                word => word,
            });
            command.chain(["--as", user])
        };
        let ran = machine.refuses(arguments(denied)).must_exit(4);
        assert!(ran.stderr.contains(&format!("{denied} (")) && ran.stderr.contains("may not"), "{ran}");
        assert_eq!(ran.stdout, "");
        if !allowed.is_empty() {
            machine.run(arguments(allowed)).must_succeed();
        }
    }
}

/// The id of what a command makes.
fn id_of(machine: &Machine, command: &[&str]) -> String {
    text_of(&machine.run(command.iter().copied().chain(["-o", "json"])).must_succeed().json(), "id")
}

/// Which ids there are is not told either.
#[test]
fn a_token_is_not_there_for_those_who_may_not_see_it() {
    let machine = Machine::with_users();
    let token = id_of(&machine, &["token", "create", "t", "--as", "adam"]);
    for command in [
        &["show", &token][..],
        &["edit", &token, "--description", "x"],
        &["rotate", &token, "--yes"],
        &["rotate", &token, "--end-overlap"],
        &["remove", &token, "--yes"],
    ] {
        let ran = machine.refuses(["token", "--as", "uma"].into_iter().chain(command.iter().copied()));
        ran.must_exit(5);
    }
    for user in ["ann", "adam", "sam"] {
        machine.run(["token", "show", &token, "--as", user]).must_succeed();
    }
}

#[test]
fn who_may_see_only_oneself_is_shown_only_oneself() {
    let machine = Machine::with_users();
    let names = |user| {
        let listed = machine.run(["user", "list", "-o", "json", "--as", user]).must_succeed().json();
        let name = |user: &serde_json::Value| user["name"].as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("otto"), "ann adam uma otto rita sam");
    assert_eq!(names("rita"), "rita");
    machine.run(["user", "show", "rita", "--as", "rita"]).must_succeed();
}

#[test]
fn everybody_may_see_the_account_and_who_they_are() {
    let machine = Machine::with_users();
    for user in ["ann", "adam", "uma", "otto", "rita"] {
        machine.run(["account", "show", "--as", user]).must_succeed();
        machine.run(["whoami", "--as", user]).must_succeed();
    }
}

#[test]
fn a_refusal_names_who_may_not_do_what() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["create", "x", "--as", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma (user) may not create keys
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["user", "edit", "ann", "--name", "a", "--as", "adam"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: adam (admin) may not edit users: not the Account Owner
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["user", "show", "ann", "--as", "rita"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: rita (restricted_access) may not show users: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
}

#[test]
fn what_is_not_permitted_is_refused_before_it_is_asked_about() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    for command in ["disable", "remove", "rotate"] {
        machine.refuses([command, &id, "--as", "uma"]).must_exit(4);
    }
}

#[test]
fn a_role_counts_for_the_operating_system_user_who_has_it() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    machine.give_to(SOMEBODY);
    machine.run_as(SOMEBODY, ["disable", &id, "--yes"]).must_succeed();
    let sam = SOMEBODY.to_string();
    machine.run(["user", "edit", "sam", "--role", "user"]).must_succeed();
    machine.give_to(SOMEBODY);
    assert_snapshot!(machine.unchanged(|| machine.run_as(SOMEBODY, ["enable", &id])), @r"
    exit: 4
    --- stdout
    --- stderr
    error: sam (user) may not enable keys
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    // Root does not open the store of the one on whose behalf it is run.
    machine.run_sudo(&sam, ["enable", &id]).must_exit(1);
    machine.run_as(SOMEBODY, ["user", "list"]).must_succeed();
}

/// The commands of the program that have an acting user and are not among these, which are given with all their words.
pub(crate) fn commands_beside<'a>(among: impl IntoIterator<Item = Vec<&'a str>>) -> BTreeSet<String> {
    let machine = Machine::new();
    machine.run(["man", "man"]).must_succeed();
    let mut pages: BTreeSet<String> = fs::read_dir(machine.file("man"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .filter_map(|page| Some(page.strip_prefix("pdkeys-")?.strip_suffix(".1")?.replace('-', " ")))
        .filter(|command| !command.starts_with("help") && !command.contains(" help"))
        .collect();
    for command in among {
        pages.remove(&command[..command.len().min(2)].join(" "));
        if !is_group(command[0]) {
            pages.remove(command[0]);
        }
    }
    let without_acting_user = ["init", "verify", "explain", "serve", "revoke", "scan", "completions", "man"];
    pages.retain(|page| !is_group(page) && !without_acting_user.contains(&page.as_str()));
    pages
}

/// What is no command itself.
fn is_group(page: &str) -> bool {
    ["account", "audit", "user", "token", "app", "service", "orchestration", "integration"].contains(&page)
}

/// A command that is added to the program without a row above is noticed here.
#[test]
fn no_command_is_forgotten() {
    let mut forgotten = commands_beside(WIRING.iter().map(|(command, ..)| command.to_vec()));
    for for_everybody in ["whoami", "account show", "user list", "token show"] {
        assert!(forgotten.remove(for_everybody), "{for_everybody}");
    }
    assert_eq!(forgotten, BTreeSet::new());
}
