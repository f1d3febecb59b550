//! Integrations: `create`, `list`, `show`, `move`, `remove`; and their keys, which stay visible.

use std::fs;
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::json;

use crate::session::{
    Machine, Ran, assert_orchestration_key, assert_service_key, mode_of, set_mode, text_of,
};

/// Two services, two orchestrations, and an integration `alerts` into the service `web`: its id and its key.
fn with_integration() -> (Machine, String, String) {
    let machine = Machine::with_users();
    for (noun, name) in
        [("service", "web"), ("service", "mail"), ("orchestration", "router"), ("orchestration", "other")]
    {
        machine.run([noun, "create", name]).must_succeed();
    }
    let (id, key) = machine.make_integration("service", "web", "alerts");
    (machine, id, key)
}

const CREATE: [&str; 7] =
    ["integration", "create", "--type", "events-api-v1", "--name", "nightly", "--as=uma"];

#[test]
fn create_prints_the_key_alone_on_standard_output() {
    let (machine, ..) = with_integration();
    let made = machine.run(CREATE.into_iter().chain(["--service", "mail"]));
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 4]
    --- stderr
    Created integration [I1] (nightly, ...[HINT 4]) into service mail
    ");
    assert_service_key(made.line());
    let made = machine.run(CREATE.into_iter().chain(["--orchestration", "other"]));
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 5]
    --- stderr
    Created integration [I2] (nightly, ...[HINT 5]) into orchestration other
    ");
    assert_orchestration_key(made.line());
    assert_snapshot!(
        machine.run(CREATE.into_iter().chain(["--service", "mail", "--rate-limit", "7/min", "-o", "json"])), @r#"
    exit: 0
    --- stdout
    {"id":"[I3]","secret":"[SECRET 6]","kind":"integration","name":"nightly","type":"generic_events_api_inbound_integration","service":{"id":"[S1]","name":"mail"},"orchestration":null,"key":null,"hint":"[HINT 6]","created_at":"[NOW]","created_by":"uma","last_used_at":null,"rate_limit":"7/min"}
    --- stderr
    Created integration [I3] (nightly, ...[HINT 6]) into service mail
    "#
    );
}

#[test]
fn create_writes_the_key_to_a_new_file() {
    let (machine, ..) = with_integration();
    let ran =
        machine.run(CREATE.into_iter().chain(["--service", "mail", "--write-to", "key"])).must_succeed();
    assert_eq!(ran.stdout, "");
    assert_eq!(mode_of(&machine.file("key")), 0o600);
    assert_service_key(fs::read_to_string(machine.file("key")).unwrap().trim_end());
}

#[test]
fn an_integration_whose_key_cannot_be_handed_over_is_not_made() {
    let (machine, ..) = with_integration();
    let create = "\"$pdkeys\" integration create --service web --type email --name x";
    for (script, code) in
        [(format!("{create} >/dev/full"), 1), (format!("{create} >&-"), 1), (format!("{create} -o csv"), 2)]
    {
        machine.unchanged(|| machine.run_shell(&script)).must_exit(code);
    }
}

#[test]
fn it_must_be_said_where_an_integration_leads_and_of_what_type_it_is() {
    let (machine, ..) = with_integration();
    assert_snapshot!(machine.refuses(CREATE), @r"
    exit: 2
    --- stdout
    --- stderr
    error: it is not said where the integration leads
    hint: give --service or --orchestration
    ");
    machine.refuses(CREATE.into_iter().chain(["--service", "web", "--orchestration", "router"])).must_exit(2);
    machine.refuses(["integration", "create", "--service", "web", "--name", "x"]).must_exit(2);
    machine.refuses(["integration", "create", "--service", "web", "--type", "email"]).must_exit(2);
    assert_snapshot!(machine.refuses(CREATE.into_iter().chain(["--service", "wbe"])), @r"
    exit: 5
    --- stdout
    --- stderr
    error: service wbe not found
    hint: did you mean web?
    ");
    assert_snapshot!(machine.refuses(CREATE.into_iter().chain(["--orchestration", "web"])), @r"
    exit: 5
    --- stdout
    --- stderr
    error: orchestration web not found
    hint: pdkeys orchestration list shows what there is
    ");
}

#[test]
fn an_unknown_type_is_refused_and_the_error_lists_the_known_ones() {
    let (machine, ..) = with_integration();
    let create = ["integration", "create", "--service", "web", "--name", "x", "--type"];
    assert_snapshot!(machine.refuses(create.into_iter().chain(["pigeon"])), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'pigeon' for '--type <TYPE>': integration type: must be one of events-api-v2, events-api-v1, email, event-transformer, aws-cloudwatch, cloudkick, keynote, nagios, pingdom, sql-monitor

    For more information, try '--help'.

    hint: events-api-v2 is the one for a program of your own
    ");
    for word in [
        "events-api-v2",
        "events-api-v1",
        "email",
        "event-transformer",
        "aws-cloudwatch",
        "cloudkick",
        "keynote",
        "nagios",
        "pingdom",
        "sql-monitor",
    ] {
        machine.run(create.into_iter().chain([word])).must_succeed();
    }
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let (machine, ..) = with_integration();
    for name in ["", "a\u{1b}b", "I12345678"] {
        let option = format!("--name={name}");
        machine
            .refuses(["integration", "create", "--service", "web", "--type", "email", &option])
            .must_exit(2);
    }
}

#[test]
fn list_shows_all_or_those_of_one_service_or_orchestration() {
    let (machine, id, _) = with_integration();
    assert_snapshot!(machine.run(["integration", "list", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    ID         NAME           TYPE           LEADS INTO          KEY                               CREATED               LAST USED
    [I1]  Events API V2  events-api-v2  router ([O1])  [SECRET 1]  [NOW]  never
    [I2]  Events API V2  events-api-v2  other ([O2])   [SECRET 2]  [NOW]  never
    [I3]  alerts         events-api-v2  web ([S1])     [SECRET 3]  [NOW]  never
    --- stderr
    ");
    assert_snapshot!(machine.run(["integration", "list", "--as", "uma", "--service", "web", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[I3]","kind":"integration","name":"alerts","type":"events_api_v2_inbound_integration","service":{"id":"[S1]","name":"web"},"orchestration":null,"key":"[SECRET 3]","hint":"[HINT 3]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null}
    ]
    --- stderr
    "#);
    assert_snapshot!(machine.run(["integration", "list", "--as", "uma", "--service", "web", "-o", "csv"]), @r#"
    exit: 0
    --- stdout
    id,kind,name,type,service,orchestration,key,hint,created_at,created_by,last_used_at,rate_limit
    [I3],integration,alerts,events_api_v2_inbound_integration,"{""id"":""[S1]"",""name"":""web""}",,[SECRET 3],[HINT 3],[NOW],ann,,
    --- stderr
    "#);
    assert_snapshot!(
        machine.run(["integration", "list", "--as", "uma", "--orchestration", "other", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[I2]","kind":"integration","name":"Events API V2","type":"events_api_v2_inbound_integration","service":null,"orchestration":{"id":"[O2]","name":"other"},"key":"[SECRET 2]","hint":"[HINT 2]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null}
    --- stderr
    "#
    );
    assert_snapshot!(machine.run(["integration", "list", "--service", "mail"]), @r"
    exit: 0
    --- stdout
    ID  NAME  TYPE  LEADS INTO  KEY  CREATED  LAST USED
    --- stderr
    ");
    machine.refuses(["integration", "list", "--service", "nothing"]).must_exit(5);
    let listed = machine.run(["integration", "list", "-o", "json"]).must_succeed().json();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|one| text_of(one, "id")).collect();
    assert_eq!((ids.len(), &ids[2]), (3, &id), "oldest first");
}

#[test]
fn those_who_may_see_the_key_in_full_and_others_its_last_four_characters() {
    let (machine, id, key) = with_integration();
    let shown = |user: &str| {
        let shown =
            machine.run(["integration", "show", &id, "-o", "json", "--as", user]).must_succeed().json();
        (shown["key"].clone(), text_of(&shown, "hint"))
    };
    for user in ["ann", "adam", "uma"] {
        assert_eq!(shown(user), (json!(key), key[28..].to_owned()));
    }
    assert_eq!(shown("otto"), (json!(null), key[28..].to_owned()));
    machine.refuses(["integration", "show", &id, "--as", "rita"]).must_exit(4);
    assert_snapshot!(machine.run(["integration", "show", &id, "--as", "uma"]), @r#"
    exit: 0
    --- stdout
    id             [I1]
    kind           integration
    name           alerts
    type           events_api_v2_inbound_integration
    service        {"id":"[S1]","name":"web"}
    key            [SECRET 3]
    hint           [HINT 3]
    created at     [NOW]
    created by     ann
    --- stderr
    "#);
    assert_snapshot!(machine.run(["integration", "show", &id, "--as", "otto"]), @r#"
    exit: 0
    --- stdout
    id             [I1]
    kind           integration
    name           alerts
    type           events_api_v2_inbound_integration
    service        {"id":"[S1]","name":"web"}
    hint           [HINT 3]
    created at     [NOW]
    created by     ann
    --- stderr
    "#);
    for format in ["table", "json", "jsonl", "csv"] {
        for command in [
            &["integration", "list"][..],
            &["integration", "show", &id],
            &["service", "list"],
            &["service", "show", "web"],
        ] {
            let seen =
                machine.run(command.iter().copied().chain(["-o", format, "--as", "otto"])).must_succeed();
            assert!(!seen.stdout.contains(&key) && seen.stdout.contains(&key[28..]), "{seen}");
            let seen =
                machine.run(command.iter().copied().chain(["-o", format, "--as", "uma"])).must_succeed();
            assert!(seen.stdout.contains(&key), "{seen}");
        }
    }
}

#[test]
fn an_integration_that_is_not_there_is_not_found() {
    let (machine, id, _) = with_integration();
    assert_snapshot!(machine.refuses(["integration", "show", "I00000000"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: integration [I1] not found
    hint: pdkeys integration list shows what there is
    ");
    assert_snapshot!(machine.refuses(["integration", "show", "alerts"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: integration alerts not found
    hint: pdkeys integration list shows what there is
    ");
    let missed = format!("{}{}", &id[..8], if id.ends_with('0') { '1' } else { '0' });
    let ran = machine.refuses(["integration", "move", &missed, "--service", "mail"]).must_exit(5);
    assert!(ran.stderr.contains(&format!("did you mean {id}?")), "{ran}");
    machine.refuses(["integration", "remove", &id, "I00000000", "--yes"]).must_exit(5);
}

#[test]
fn a_move_keeps_the_key() {
    let (machine, id, key) = with_integration();
    assert_snapshot!(machine.run(["integration", "move", &id, "--service", "mail", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Moved integration [I1] (alerts, ...[HINT 3]) into service mail
    ");
    let shown = machine.run(["integration", "show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!((text_of(&shown, "key"), text_of(&shown["service"], "name")), (key, "mail".to_owned()));
    assert_eq!((machine.count("digest"), machine.count("tombstone")), (3, 0));
    assert_snapshot!(machine.run(["audit", "list", "--limit", "1", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"15","execution_time":"[NOW]","execution_context":{"request_id":"[REQUEST]","remote_address":null},"actors":[{"id":"[U1]","type":"user","summary":"uma"},{"id":"[U2]","type":"user","summary":"ann"}],"method":{"type":"os_user","truncated_token":null},"root_resource":{"id":"[I1]","type":"integration","summary":"alerts"},"action":"update","details":{"fields":[{"name":"service","before_value":"[S1]","value":"[S2]"}]}}
    ]
    --- stderr
    "#);
    // Where it leads already: done, said, and not recorded.
    machine.refuses(["integration", "move", &id, "--service", "mail"]).must_succeed();
}

#[test]
fn an_orchestrations_integration_moves_to_another_orchestration() {
    let (machine, ..) = with_integration();
    let (id, key) = machine.make_integration("orchestration", "router", "extra");
    machine.run(["integration", "move", &id, "--orchestration", "other"]).must_succeed();
    let shown = machine.run(["integration", "show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!((text_of(&shown, "key"), text_of(&shown["orchestration"], "name")), (key, "other".to_owned()));
}

#[test]
fn nothing_moves_from_a_service_to_an_orchestration_or_back() {
    let (machine, id, _) = with_integration();
    let (other, _) = machine.make_integration("orchestration", "router", "extra");
    assert_snapshot!(machine.refuses(["integration", "move", &id, "--orchestration", "router"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: integration [I1] leads into the service web, and can move to another service only
    hint: name that with --service; pdkeys integration create --orchestration ORCHESTRATION makes a new key for one
    ");
    assert_snapshot!(machine.refuses(["integration", "move", &other, "--service", "web"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: integration [I2] leads into the orchestration router, and can move to another orchestration only
    hint: name that with --orchestration; pdkeys integration create --service SERVICE makes a new key for a service
    ");
    machine.refuses(["integration", "move", &id]).must_exit(2);
    machine
        .refuses(["integration", "move", &id, "--service", "mail", "--orchestration", "router"])
        .must_exit(2);
    machine.refuses(["integration", "move", &id, "--service", "router"]).must_exit(5);
}

#[test]
fn a_removal_asks_first_and_is_for_good() {
    let (machine, id, key) = with_integration();
    assert_snapshot!(machine.refuses(["integration", "remove", &id]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    let (other, _) = machine.make_integration("service", "web", "extra");
    let remove = ["integration", "remove", &id, &other, &id, "--yes", "--reason", "key-compromise"];
    assert_snapshot!(machine.run(remove), @r"
    exit: 0
    --- stdout
    --- stderr
    Removed integration [I1] (alerts, ...[HINT 3]) into service web
    Removed integration [I2] (extra, ...[HINT 4]) into service web
    ");
    machine.refuses(["integration", "show", &id]).must_exit(5);
    assert_eq!(machine.count("tombstone"), 2);
    assert!(!machine.run(["service", "show", "web"]).must_succeed().stdout.contains(&key));
    machine.run(["service", "remove", "web", "--yes"]).must_succeed();
}

#[test]
fn two_commands_that_move_the_same_integration_at_once_both_end_well() {
    let (machine, id, key) = with_integration();
    for name in ["a", "b", "c", "d"] {
        machine.run(["service", "create", name]).must_succeed();
    }
    for _ in 0..5 {
        let before = machine.count("audit");
        let start = |to: &&str| {
            let mut command = machine.command(["integration", "move", &id, "--service", to]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = ["a", "b", "c", "d"].iter().map(start).collect();
        for child in children {
            machine.ran(child.wait_with_output().unwrap()).must_succeed();
        }
        let shown = machine.run(["integration", "show", &id, "-o", "json"]).must_succeed().json();
        assert_eq!(text_of(&shown, "key"), key);
        assert!("abcd".contains(&text_of(&shown["service"], "name")), "{shown}");
        let records = machine.count("audit") - before;
        assert!((3..=4).contains(&records), "{records} records: each move has one, to where it was none");
        machine.run(["audit", "verify"]).must_succeed();
        // Each record goes on from where the one before had put it.
        let records = machine.run(["audit", "list", "--target", &id, "-o", "json"]).must_succeed().json();
        let moves: Vec<_> =
            records.as_array().unwrap().iter().filter(|one| one["action"] == "update").collect();
        for pair in moves.windows(2) {
            let (later, earlier) = (&pair[0]["details"]["fields"][0], &pair[1]["details"]["fields"][0]);
            assert_eq!(later["before_value"], earlier["value"]);
        }
    }
}

#[test]
fn of_a_move_and_the_removal_of_where_it_leads_nothing_is_left_in_between() {
    for _ in 0..5 {
        let (machine, id, _) = with_integration();
        let start = |arguments: &[&str]| {
            let mut command = machine.command(arguments.iter().copied());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let moving = start(&["integration", "move", &id, "--service", "mail"]);
        let removing = start(&["service", "remove", "mail", "--with-integrations", "--yes"]);
        let moved = machine.ran(moving.wait_with_output().unwrap());
        machine.ran(removing.wait_with_output().unwrap()).must_succeed();
        let is_there = machine.run(["integration", "show", &id]).status.success();
        assert!(matches!((moved.code(), is_there), (0, false) | (5, true)), "{is_there}: {moved}");
        machine.run(["integration", "list"]).must_succeed();
        machine.run(["audit", "verify"]).must_succeed();
    }
}

/// Asserts that what reads works and shows no key, that what changes does not, and gives what they say.
#[track_caller]
fn only_reads<'m>(machine: &'m Machine, id: &str, key: &str) -> [Ran<'m>; 2] {
    for arguments in [
        &["integration", "list"][..],
        &["integration", "list", "--service", "web"],
        &["integration", "show", id],
        &["service", "list"],
        &["service", "show", "web"],
        &["orchestration", "list"],
        &["token", "list"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_succeed();
        assert!(!ran.stdout.contains(key), "{ran}");
        let says_why =
            ran.stderr.contains("integration keys are not shown") && ran.stderr.contains("storekey");
        assert_eq!(says_why, arguments[0] != "token", "{ran}");
    }
    for arguments in [
        &["token", "create", "x"][..],
        &["service", "create", "x"],
        &["service", "create", "x", "--integration", "email"],
        &["orchestration", "create", "x"],
        &["service", "edit", "web", "--name", "x"],
        &["service", "remove", "web", "--with-integrations", "--yes"],
        &["integration", "move", id, "--service", "mail"],
        &["integration", "remove", id, "--yes"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("pdkeys.storekey"), "{ran}");
    }
    let create = ["integration", "create", "--service", "web", "--type", "email", "--name", "x"];
    [machine.run(["integration", "list", "--service", "web"]), machine.refuses(create)]
}

#[test]
fn without_the_store_key_integrations_are_listed_without_their_keys_and_none_is_made() {
    let (machine, id, key) = with_integration();
    fs::remove_file(machine.store_key()).unwrap();
    let [listed, created] = only_reads(&machine, &id, &key);
    assert_snapshot!(listed, @r"
    exit: 0
    --- stdout
    ID         NAME    TYPE           LEADS INTO       KEY      CREATED               LAST USED
    [I1]  alerts  events-api-v2  web ([S1])  ...[HINT 3]  [NOW]  never
    --- stderr
    warning: integration keys are not shown: store key [HOME]/pdkeys/pdkeys.storekey: no such file
    ");
    assert_snapshot!(created, @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: no such file
    hint: put it back from where it is kept, or name it with PDKEYS_STORE_KEY_FILE
    ");
    assert!(!machine.store_key().exists());
}

#[test]
fn with_a_store_key_of_the_wrong_size_no_key_is_shown_and_none_made() {
    let (machine, id, key) = with_integration();
    fs::write(machine.store_key(), "short").unwrap();
    let [listed, created] = only_reads(&machine, &id, &key);
    assert_snapshot!(listed, @r"
    exit: 0
    --- stdout
    ID         NAME    TYPE           LEADS INTO       KEY      CREATED               LAST USED
    [I1]  alerts  events-api-v2  web ([S1])  ...[HINT 3]  [NOW]  never
    --- stderr
    warning: integration keys are not shown: store key [HOME]/pdkeys/pdkeys.storekey: 5 bytes long instead of 32
    ");
    assert_snapshot!(created, @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: 5 bytes long instead of 32
    hint: the store works with the key that it was made with, and no other
    ");
}

#[test]
fn with_the_store_key_of_another_store_no_key_is_shown_and_none_made() {
    let (machine, id, key) = with_integration();
    let other = Machine::with_store();
    fs::copy(other.store_key(), machine.store_key()).unwrap();
    let [listed, created] = only_reads(&machine, &id, &key);
    assert_snapshot!(listed, @r"
    exit: 0
    --- stdout
    ID         NAME    TYPE           LEADS INTO       KEY      CREATED               LAST USED
    [I1]  alerts  events-api-v2  web ([S1])  ...[HINT 3]  [NOW]  never
    --- stderr
    warning: integration keys are not shown: store key [HOME]/pdkeys/pdkeys.storekey: belongs to another store
    ");
    assert_snapshot!(created, @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: belongs to another store
    hint: the store works with the key that it was made with, and no other
    ");
}

#[test]
fn with_a_store_key_that_others_can_read_no_key_is_shown_and_none_made() {
    let (machine, id, key) = with_integration();
    set_mode(&machine.store_key(), 0o644);
    let [listed, created] = only_reads(&machine, &id, &key);
    assert_snapshot!(listed, @r"
    exit: 0
    --- stdout
    ID         NAME    TYPE           LEADS INTO       KEY      CREATED               LAST USED
    [I1]  alerts  events-api-v2  web ([S1])  ...[HINT 3]  [NOW]  never
    --- stderr
    warning: integration keys are not shown: store key [HOME]/pdkeys/pdkeys.storekey: can be read by others (mode 0644)
    ");
    assert_snapshot!(created, @r"
    exit: 1
    --- stdout
    --- stderr
    error: store key [HOME]/pdkeys/pdkeys.storekey: can be read by others (mode 0644)
    hint: chmod 0600 [HOME]/pdkeys/pdkeys.storekey
    ");
}

#[test]
fn who_may_not_see_keys_is_not_warned_that_they_are_hidden() {
    let (machine, ..) = with_integration();
    fs::remove_file(machine.store_key()).unwrap();
    assert_eq!(machine.run(["integration", "list", "--as", "otto"]).must_succeed().stderr, "");
}

/// A sealed key opens for the integration that it was sealed for, and no other.
#[test]
fn a_sealed_key_put_into_another_row_does_not_open() {
    let (machine, id, _) = with_integration();
    let (other, _) = machine.make_integration("service", "mail", "extra");
    let swap = "UPDATE integration SET sealed_key = (SELECT sealed_key FROM integration WHERE id = ?1) WHERE id = ?2";
    machine.sql().execute(swap, [&other, &id]).unwrap();
    let ran = machine.refuses(["integration", "show", &id]).must_exit(1);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("does not open"), "{ran}");
    machine.run(["integration", "show", &other]).must_succeed();
}
