//! The manners of every command: streams, colour, quiet, escaping, near misses, help.

use std::fs;
use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::session::{Machine, Ran, mode_of, names_in, set_mode};

const ESCAPE: char = '\u{1b}';

#[test]
fn quiet_prints_no_notices_and_no_hints_but_errors() {
    let machine = Machine::with_store();
    let made = machine.run(["create", "ci", "--quiet"]).must_succeed();
    assert_eq!(made.stderr, "");
    assert_snapshot!(machine.run(["show", "KZZZZZZZZ", "-q"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    ");
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let machine = Machine::with_store();
    assert!(!machine.run(["create", "ci"]).stderr.contains(ESCAPE));
    assert!(!machine.run(["create", "ci", "--color", "never"]).stderr.contains(ESCAPE));
    let colourful = machine.run(["create", "ci", "--color", "always"]).must_succeed();
    assert!(colourful.stderr.contains(ESCAPE));
    assert!(!colourful.stdout.contains(ESCAPE), "a secret is one exact line");
    assert_snapshot!(machine.run(["list", "--color", "sometimes"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'sometimes' for '--color <WHEN>'
      [possible values: auto, always, never]

    For more information, try '--help'.
    ");
}

#[test]
fn global_options_go_before_or_after_the_command() {
    let machine = Machine::with_store();
    let before = machine.run(["-o", "json", "-q", "account", "show"]).must_succeed();
    assert_eq!(before.stdout, machine.run(["account", "show", "-o", "json", "-q"]).must_succeed().stdout);
}

/// What somebody with the file, but without the program, might call a key to trick a terminal.
const HAZARD: &str = "a\u{1b}[2Jb\u{202e}c\u{7f}d\u{85}e\nf";

fn with_hazardous_texts() -> (Machine, String) {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &[]);
    machine.run(["disable", &id, "--yes", "--reason", "why"]).must_succeed();
    let sql = machine.sql();
    sql.execute("UPDATE general_key SET description = ?1, disabled_reason = ?1", [HAZARD]).unwrap();
    sql.execute("UPDATE user SET email = ?1", [HAZARD]).unwrap();
    sql.execute_batch("DROP TRIGGER audit_is_not_changed").unwrap();
    sql.execute(
        "UPDATE audit SET record = json_set(record, '$.root_resource.summary', ?1, '$.actors[0].summary', ?1,
             '$.details.fields[0].value', ?1)",
        [HAZARD],
    )
    .unwrap();
    (machine, id)
}

/// Asserts that neither stream holds what a terminal would act on.
#[track_caller]
fn assert_harmless(ran: &Ran<'_>) {
    for text in [&ran.stdout, &ran.stderr] {
        let hazard = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(hazard, None, "{text:?}");
    }
}

#[test]
fn nothing_that_a_thing_is_called_can_move_a_cursor() {
    let (machine, id) = with_hazardous_texts();
    for format in ["table", "json", "jsonl", "csv"] {
        for command in [
            &["list"][..],
            &["show", &id],
            &["user", "list"],
            &["user", "show", "adam"],
            &["audit", "list"],
            &["enable", &id],
            &["disable", &id, "--yes", "--reason", "again"],
        ] {
            let ran = machine.run(command.iter().copied().chain(["-o", format])).must_succeed();
            assert_harmless(&ran);
        }
    }
    let refused = machine.run(["edit", &id, "--description", HAZARD]).must_exit(2);
    assert_harmless(&refused);
    assert_harmless(&machine.run(["show", HAZARD]).must_exit(5));
}

#[test]
fn no_name_of_a_user_or_the_account_can_move_a_cursor() {
    let machine = Machine::with_users();
    machine.sql().execute("UPDATE user SET name = ?1 || row", [HAZARD]).unwrap();
    machine.sql().execute("UPDATE account SET name = ?1", [HAZARD]).unwrap();
    for command in [&["user", "list"][..], &["whoami"], &["account", "show"], &["list"], &["create", "x"]] {
        assert_harmless(&machine.run(command.iter().copied()).must_succeed());
    }
}

#[test]
fn what_has_a_hazardous_name_can_still_be_dealt_with() {
    let machine = Machine::with_users();
    machine.run(["user", "edit", "uma", "--email", "uma@example.org"]).must_succeed();
    machine.run(["service", "create", "web", "--integration", "email"]).must_succeed();
    let id = |arguments: [&str; 4]| crate::session::text_of(&machine.run(arguments).json(), "id");
    let uma = id(["user", "show", "uma", "-ojson"]);
    let web = id(["service", "show", "web", "-ojson"]);
    machine.sql().execute("UPDATE user SET name = ?1 || rowid, email = ?1", [HAZARD]).unwrap();
    for table in ["account", "destination", "integration"] {
        machine.sql().execute(&format!("UPDATE {table} SET name = ?1"), [HAZARD]).unwrap();
    }
    for command in [
        &["service", "list"][..],
        &["integration", "list"],
        &["service", "show", &web, "-o", "json"],
        &["user", "remove", &uma, "--yes"],
        &["service", "edit", &web, "--name", "web"],
        &["account", "set", "--name", "acme"],
        &["audit", "list", "--limit", "3"],
        &["service", "remove", &web, "--with-integrations", "--yes"],
    ] {
        assert_harmless(&machine.run(command.iter().copied()).must_succeed());
    }
    // The trail knows the names that were given.
    for command in [&["audit", "verify"][..], &["doctor"]] {
        assert_harmless(&machine.run(command.iter().copied()).must_exit(3));
    }
    let left = machine.run(["user", "show", &uma, "-o", "json"]).json();
    assert_eq!(left["email"], HAZARD, "what an edit does not touch stays as it is");
    assert_eq!(machine.run(["account", "show", "-o", "json"]).json()["name"], "acme");
}

#[test]
fn hazardous_characters_are_shown_escaped_and_json_reads_back_the_same() {
    let (machine, id) = with_hazardous_texts();
    let table = machine.run(["show", &id]);
    let description = table.stdout.lines().find(|line| line.starts_with("description")).unwrap();
    assert_snapshot!(description, @r"description      a\u{1b}[2Jb\u{202e}c\u{7f}d\u{85}e\u{a}f");
    assert_eq!(machine.run(["show", &id, "-o", "json"]).json()["description"], HAZARD);
    assert_eq!(machine.run(["list", "-o", "jsonl"]).json()["description"], HAZARD);
}

#[test]
fn a_table_without_a_terminal_is_neither_cut_nor_broken() {
    let machine = Machine::with_store();
    let long = "long ".repeat(50);
    machine.make_key(&long, &[]);
    let listed = machine.run(["list"]).must_succeed();
    assert_eq!(listed.stdout.lines().count(), 2);
    assert!(listed.stdout.contains(long.trim_end()));
}

#[test]
fn a_near_miss_is_suggested() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("ci", &[]);
    let mut slip = id.clone().into_bytes();
    slip.swap(7, 8);
    // Two equal neighbours make no slip: then another character is wrong.
    if slip == id.as_bytes() {
        slip[8] = if slip[8] == b'7' { b'8' } else { b'7' };
    }
    assert_snapshot!(machine.run(["show", &String::from_utf8(slip).unwrap()]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [K1] not found
    hint: did you mean [K2]?
    ");
    assert_snapshot!(machine.run(["show", &id[1..]]).to_string().replace(&id[1..], "[REST OF ID]"), @r"
    exit: 5
    --- stdout
    --- stderr
    error: key [REST OF ID] not found
    hint: did you mean [K2]?
    ");
}

#[test]
fn a_misspelt_name_and_a_misspelt_command_are_suggested_too() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.run(["user", "show", "adma"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user adma not found
    hint: did you mean adam?
    ");
    assert_snapshot!(machine.run(["creat", "ci"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: unrecognized subcommand 'creat'

      tip: a similar subcommand exists: 'create'

    Usage: pdkeys [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.run(["list", "--statos", "active"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: unexpected argument '--statos' found

      tip: a similar argument exists: '--status'

    Usage: pdkeys list --status <STATUS>

    For more information, try '--help'.
    ");
}

#[test]
fn a_store_that_others_can_read_is_reported() {
    let machine = Machine::with_store();
    set_mode(&machine.store(), 0o644);
    assert_snapshot!(machine.run(["account", "show", "-o", "csv"]), @r"
    exit: 0
    --- stdout
    name,owner,policy,subdomain,rest_api,advanced_permissions,created_at
    acme,ann,pagerduty,,true,true,[NOW]
    --- stderr
    warning: [HOME]/pdkeys/pdkeys.db can be read by others (mode 0644); chmod 0600 it
    ");
}

#[test]
fn a_store_that_others_can_write_is_refused() {
    let machine = Machine::with_store();
    set_mode(&machine.store(), 0o620);
    assert_snapshot!(machine.refuses(["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys/pdkeys.db: can be written by others (mode 0620)
    hint: chmod go-w [HOME]/pdkeys/pdkeys.db
    ");
    set_mode(&machine.store(), 0o600);
    set_mode(&machine.directory(), 0o777);
    assert_snapshot!(machine.refuses(["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: can be written by others (mode 0777)
    hint: chmod go-w [HOME]/pdkeys
    ");
    // Nobody is told to take a directory such as /tmp from everybody else.
    set_mode(&machine.directory(), 0o1777);
    assert_snapshot!(machine.refuses(["list"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: [HOME]/pdkeys: can be written by others (mode 1777)
    hint: put the store into a directory of your own
    ");
}

#[test]
fn help_names_the_exit_codes_and_the_environment() {
    let machine = Machine::new();
    let help = machine.run(["--help"]).must_succeed();
    assert_eq!(help.stderr, "");
    let codes: Vec<_> = help.stdout.lines().skip_while(|line| *line != "Exit codes:").collect();
    assert_snapshot!(codes.join("\n"), @r"
    Exit codes:
      0  done, or allowed
      1  it failed, or the store is missing or unusable
      2  called wrongly
      3  the answer is no
      4  not permitted
      5  no such thing in the store
      6  not confirmed, and not done

    Environment:
      PDKEYS_STORE           the store's file
      PDKEYS_STORE_KEY_FILE  the store key's file, if it does not lie beside the store
      PDKEYS_TOKEN           a user token; its owner is the acting user
      PDKEYS_KEY             the credential that verify checks
      NO_COLOR               no colour
      TERM                   no colour and no progress if it is dumb
      COLUMNS                the width of a terminal that does not say it
    ");
}

#[test]
fn called_without_a_command_it_shows_its_usage() {
    let machine = Machine::new();
    let ran = machine.run([]).must_exit(2);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("Usage: pdkeys"), "{ran}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let machine = Machine::new();
    assert_eq!(machine.run(["--version"]).stdout, format!("pdkeys {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_know_the_ids_that_the_acting_user_may_list() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("nightly deploy", &[]);
    let complete = |sudo_uid: Option<&str>| {
        let mut command = machine.command(["--", "pdkeys", "show", ""]);
        command.env("_PDKEYS_COMPLETE", "fish");
        if let Some(uid) = sudo_uid {
            command.env("SUDO_UID", uid);
        }
        machine.finish(&mut command)
    };
    let offered = complete(None).must_succeed().stdout;
    assert!(offered.lines().any(|line| line == format!("{id}\tnightly deploy")), "{offered}");
    let nobody = complete(Some("61299"));
    assert!(!nobody.stdout.contains(&id), "{nobody}");
    assert_eq!(nobody.stderr, "");
    fs::remove_dir_all(machine.directory()).unwrap();
    assert_eq!(complete(None).stderr, "");
}

#[test]
fn manual_pages_replace_links_and_follow_none() {
    let machine = Machine::new();
    fs::write(machine.file("precious"), "precious").unwrap();
    fs::create_dir(machine.file("man")).unwrap();
    symlink("../precious", machine.file("man/pdkeys.1")).unwrap();
    fs::write(machine.file("man/pdkeys-list.1"), "stale").unwrap();
    machine.run_shell("umask 022; exec \"$pdkeys\" man man").must_succeed();
    assert_eq!(fs::read_to_string(machine.file("precious")).unwrap(), "precious");
    for name in ["pdkeys.1", "pdkeys-list.1"] {
        let page = machine.file("man").join(name);
        assert!(fs::symlink_metadata(&page).unwrap().is_file());
        assert_eq!(mode_of(&page), 0o644);
        assert!(fs::read_to_string(&page).unwrap().contains(".TH pdkeys"), "{name}");
    }
    let names = names_in(&machine.file("man"));
    assert!(names.iter().all(|name| name.ends_with(".1")), "{names:?}");
}

#[test]
fn times_have_three_decimals_in_every_record() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_key("ci", &["--expires", "2100-01-01"]);
    machine.run(["rotate", &id, "--overlap", "1h"]).must_succeed();
    machine.run(["disable", &id, "--yes"]).must_succeed();
    machine.run(["token", "create", "t", "--expires", "2100-01-01T12:00:00Z"]).must_succeed();
    machine.run(["service", "create", "web", "--integration", "email"]).must_succeed();
    // On a whole second, where decimals would be left out.
    for table in ["general_key", "user_token", "user", "account", "destination", "integration"] {
        machine.sql().execute(&format!("UPDATE {table} SET created_at = 1700000000000"), []).unwrap();
    }
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*?Z").unwrap();
    for (command, times) in [
        (&["list"][..], 3),
        (&["show", &id], 3),
        (&["token", "list"], 2),
        (&["user", "list"], 6),
        (&["service", "list"], 2),
        (&["integration", "list"], 1),
        (&["account", "show"], 1),
        (&["audit", "list", "--limit", "3"], 3),
    ] {
        for format in ["json", "jsonl", "csv"] {
            let ran = machine.run(command.iter().copied().chain(["-o", format])).must_succeed();
            let found: Vec<_> = time.find_iter(&ran.stdout).map(|found| found.as_str()).collect();
            assert!(found.len() >= times, "{command:?} {format}: {found:?}");
            assert!(found.iter().all(|time| time.len() == "2026-03-01T12:00:00.000Z".len()), "{found:?}");
        }
    }
    assert!(machine.run(["show", &id]).stdout.contains("expires at       2100-01-01T00:00:00.000Z\n"));
}

#[test]
fn csv_has_its_header_where_there_is_nothing_to_list_too() {
    let machine = Machine::with_users();
    let lists = [
        &["list"][..],
        &["token", "list"],
        &["service", "list"],
        &["orchestration", "list"],
        &["integration", "list"],
        &["user", "list"],
        &["audit", "list"],
    ];
    let header = |list: &[&str]| {
        let ran = machine.run(list.iter().copied().chain(["-o", "csv"])).must_succeed();
        ran.stdout.lines().next().expect("a header").to_owned()
    };
    let empty = lists.map(header);
    machine.make_key("ci", &[]);
    machine.run(["token", "create", "t"]).must_succeed();
    machine.run(["service", "create", "web", "--integration", "email"]).must_succeed();
    machine.run(["orchestration", "create", "all"]).must_succeed();
    for (list, empty) in lists.iter().zip(empty) {
        assert_eq!(header(list), empty);
        let listed = machine.run(list.iter().copied().chain(["-o", "json"])).must_succeed().json();
        let names: Vec<_> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.join(","), empty, "the names of the fields");
    }
}

#[test]
fn without_a_terminal_a_missing_value_is_a_usage_error() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    for (arguments, missing) in [
        (&["user", "add"][..], "name"),
        (&["user", "add", "--role", "admin"], "name"),
        (&["user", "add", "adam"], "role"),
        (&["service", "create"], "name"),
        (&["orchestration", "create"], "name"),
        (&["app", "register"], "name"),
        (&["app", "register", "--scope", "incidents.read"], "name"),
        (&["app", "register", "dash"], "scope"),
        (&["integration", "create", "--service", "web", "--type", "email"], "name"),
        (&["integration", "create", "--service", "web", "--name", "mail"], "type"),
    ] {
        let refused = machine.refuses(arguments.iter().copied()).must_exit(2);
        let told = format!(
            "error: {missing} is missing\nhint: without a terminal nothing is asked; --help shows what to give\n"
        );
        assert_eq!(refused.stderr, told, "{arguments:?}");
        assert!(refused.stdout.is_empty(), "{refused}");
    }
}
