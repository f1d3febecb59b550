//! Services and orchestrations: `create`, `list`, `show`, `edit`, `remove`.

use insta::assert_snapshot;
use serde_json::json;

use crate::session::{Machine, assert_orchestration_key, assert_service_key, mode_of, text_of};

#[test]
fn a_service_is_made_without_an_integration() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.run(["service", "create", "web", "--description", "the shop", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Created service web ([S1])
    ");
    assert_snapshot!(machine.run(["service", "create", "mail", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[S2]","name":"mail","description":null,"created_at":"[NOW]","created_by":"ann","integrations":[]}
    ]
    --- stderr
    Created service mail ([S2])
    "#);
    assert_snapshot!(machine.run(["service", "list"]), @r"
    exit: 0
    --- stdout
    ID         NAME  DESCRIPTION  CREATED               BY   INTEGRATIONS
    [S1]  web   the shop     [NOW]  uma  -
    [S2]  mail  -            [NOW]  ann  -
    --- stderr
    ");
}

#[test]
fn a_service_is_made_with_an_integration_at_once_whose_key_is_printed() {
    let machine = Machine::with_store();
    let made = machine.run(["service", "create", "web", "--integration", "events-api-v2"]);
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Created service web ([S1])
    Created integration [I1] (Events API V2, ...[HINT 1]) into service web
    ");
    assert_service_key(made.line());
    let shown = machine.run(["service", "show", "web", "-o", "json"]).must_succeed().json();
    assert_eq!(shown["integrations"][0]["key"], made.line());
    assert_snapshot!(machine.run(["service", "create", "mail", "--integration", "email", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {"id":"[I2]","secret":"[SECRET 2]","kind":"integration","name":"email","type":"generic_email_inbound_integration","service":{"id":"[S2]","name":"mail"},"orchestration":null,"key":null,"hint":"[HINT 2]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null}
    --- stderr
    Created service mail ([S2])
    Created integration [I2] (email, ...[HINT 2]) into service mail
    "#);
}

#[test]
fn an_orchestration_gets_its_default_integration_when_it_is_made() {
    let machine = Machine::with_store();
    let made = machine.run(["orchestration", "create", "router"]);
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Created orchestration router ([O1])
    Created integration [I1] (Events API V2, ...[HINT 1]) into orchestration router
    ");
    assert_orchestration_key(made.line());
    let shown = machine.run(["orchestration", "show", "router", "-o", "json"]).must_succeed().json();
    assert_eq!(shown["integrations"].as_array().unwrap().len(), 1);
    assert_eq!(shown["integrations"][0]["type"], "events_api_v2_inbound_integration");
    assert_eq!(shown["integrations"][0]["key"], made.line());
}

#[test]
fn the_integration_key_goes_to_a_new_file_where_that_is_asked() {
    let machine = Machine::with_store();
    for (noun, name) in [("service", "web"), ("orchestration", "router")] {
        let create = [noun, "create", name, "--integration", "email", "--write-to", name];
        assert_eq!(machine.run(create).must_succeed().stdout, "");
        assert_eq!(mode_of(&machine.file(name)), 0o600);
        let shown = machine.run([noun, "show", name, "-o", "json"]).must_succeed().json();
        let written = std::fs::read_to_string(machine.file(name)).unwrap();
        assert_eq!(shown["integrations"][0]["key"], written.trim_end());
        machine.refuses([noun, "create", "other", "--integration", "email", "--write-to", name]).must_exit(1);
    }
}

#[test]
fn what_cannot_be_handed_over_is_not_made() {
    let machine = Machine::with_store();
    for (script, code) in [
        ("\"$pdkeys\" service create web --integration email >/dev/full", 1),
        ("\"$pdkeys\" orchestration create router >&-", 1),
        ("\"$pdkeys\" orchestration create router -o csv", 2),
    ] {
        machine.unchanged(|| machine.run_shell(script)).must_exit(code);
    }
}

#[test]
fn a_name_is_taken_once_among_services_and_once_among_orchestrations() {
    let machine = Machine::with_store();
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["service", "create", "mail"]).must_succeed();
    machine.run(["orchestration", "create", "web"]).must_succeed();
    assert_snapshot!(machine.refuses(["service", "create", "web"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: service web ([S1]) has this name already
    hint: choose another; pdkeys service list shows which are taken
    ");
    assert_snapshot!(machine.refuses(["orchestration", "create", "web"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: orchestration web ([O1]) has this name already
    hint: choose another; pdkeys orchestration list shows which are taken
    ");
    assert_snapshot!(machine.refuses(["service", "edit", "mail", "--name", "web"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: service web ([S1]) has this name already
    hint: choose another; pdkeys service list shows which are taken
    ");
    // Its own name is not in its way.
    machine.refuses(["service", "edit", "web", "--name", "web"]).must_succeed();
    // What is gone leaves its name free.
    machine.run(["service", "remove", "web", "--yes"]).must_succeed();
    machine.run(["service", "edit", "mail", "--name", "web"]).must_succeed();
    machine.run(["service", "create", "mail"]).must_succeed();
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let machine = Machine::with_store();
    for (noun, id) in [("service", "S12345678"), ("orchestration", "O12345678")] {
        for name in ["", " ", "a\nb", "a\u{202e}b", id] {
            let ran = machine.refuses([noun, "create", name]);
            assert_eq!(ran.code(), 2, "{name:?}: {ran}");
        }
    }
    machine.refuses(["service", "create"]).must_exit(2);
    machine.refuses(["service", "create", "web", "--description", "a\u{7}b"]).must_exit(2);
}

#[test]
fn an_unknown_type_is_refused_and_the_error_lists_the_known_ones() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["service", "create", "web", "--integration", "carrier-pigeon"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'carrier-pigeon' for '--integration <TYPE>': integration type: must be one of events-api-v2, events-api-v1, email, event-transformer, aws-cloudwatch, cloudkick, keynote, nagios, pingdom, sql-monitor

    For more information, try '--help'.

    hint: events-api-v2 is the one for a program of your own
    ");
    for kind in ["events_api_v2_inbound_integration", "aws-cloudwatch", "sql_monitor_inbound_integration"] {
        machine.run(["service", "create", kind, "--integration", kind]).must_succeed();
    }
}

/// A service with two integrations and one with none.
fn with_services() -> Machine {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web", "--description", "the shop"]).must_succeed();
    machine.run(["service", "create", "idle"]).must_succeed();
    machine.make_integration("service", "web", "alerts");
    machine.make_integration("service", "web", "metrics");
    machine
}

#[test]
fn list_has_the_integrations_with_their_keys_in_full_for_those_who_may() {
    let machine = with_services();
    assert_snapshot!(machine.run(["service", "list", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    ID         NAME  DESCRIPTION  CREATED               BY   INTEGRATIONS
    [S1]  web   the shop     [NOW]  ann  [I1] [SECRET 1], [I2] [SECRET 2]
    [S2]  idle  -            [NOW]  ann  -
    --- stderr
    ");
    assert_snapshot!(machine.run(["service", "list", "--as", "uma", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[S1]","name":"web","description":"the shop","created_at":"[NOW]","created_by":"ann","integrations":[{"id":"[I1]","kind":"integration","name":"alerts","type":"events_api_v2_inbound_integration","service":{"id":"[S1]","name":"web"},"orchestration":null,"key":"[SECRET 1]","hint":"[HINT 1]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null},{"id":"[I2]","kind":"integration","name":"metrics","type":"events_api_v2_inbound_integration","service":{"id":"[S1]","name":"web"},"orchestration":null,"key":"[SECRET 2]","hint":"[HINT 2]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null}]},
      {"id":"[S2]","name":"idle","description":null,"created_at":"[NOW]","created_by":"ann","integrations":[]}
    ]
    --- stderr
    "#);
    assert_snapshot!(machine.run(["service", "list", "--as", "uma", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[S1]","name":"web","description":"the shop","created_at":"[NOW]","created_by":"ann","integrations":[{"id":"[I1]","kind":"integration","name":"alerts","type":"events_api_v2_inbound_integration","service":{"id":"[S1]","name":"web"},"orchestration":null,"key":"[SECRET 1]","hint":"[HINT 1]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null},{"id":"[I2]","kind":"integration","name":"metrics","type":"events_api_v2_inbound_integration","service":{"id":"[S1]","name":"web"},"orchestration":null,"key":"[SECRET 2]","hint":"[HINT 2]","created_at":"[NOW]","created_by":"ann","last_used_at":null,"rate_limit":null}]}
    {"id":"[S2]","name":"idle","description":null,"created_at":"[NOW]","created_by":"ann","integrations":[]}
    --- stderr
    "#);
    assert_snapshot!(machine.run(["service", "list", "--as", "uma", "-o", "csv"]), @r#"
    exit: 0
    --- stdout
    id,name,description,created_at,created_by,integrations
    [S1],web,the shop,[NOW],ann,"{""id"":""[I1]"",""kind"":""integration"",""name"":""alerts"",""type"":""events_api_v2_inbound_integration"",""service"":{""id"":""[S1]"",""name"":""web""},""orchestration"":null,""key"":""[SECRET 1]"",""hint"":""[HINT 1]"",""created_at"":""[NOW]"",""created_by"":""ann"",""last_used_at"":null,""rate_limit"":null} {""id"":""[I2]"",""kind"":""integration"",""name"":""metrics"",""type"":""events_api_v2_inbound_integration"",""service"":{""id"":""[S1]"",""name"":""web""},""orchestration"":null,""key"":""[SECRET 2]"",""hint"":""[HINT 2]"",""created_at"":""[NOW]"",""created_by"":""ann"",""last_used_at"":null,""rate_limit"":null}"
    [S2],idle,,[NOW],ann,
    --- stderr
    "#);
}

#[test]
fn show_has_the_integrations_with_their_keys_in_full_for_those_who_may() {
    let machine = with_services();
    assert_snapshot!(machine.run(["service", "show", "web", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    id            [S1]
    name          web
    description   the shop
    created at    [NOW]
    created by    ann

    ID         NAME     TYPE           LEADS INTO       KEY                               CREATED               LAST USED
    [I1]  alerts   events-api-v2  web ([S1])  [SECRET 1]  [NOW]  never
    [I2]  metrics  events-api-v2  web ([S1])  [SECRET 2]  [NOW]  never
    --- stderr
    ");
    assert_snapshot!(machine.run(["service", "show", "idle", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    id            [S2]
    name          idle
    created at    [NOW]
    created by    ann
    --- stderr
    ");
    assert_snapshot!(machine.run(["service", "show", "web", "--as", "uma", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "id": "[S1]",
      "name": "web",
      "description": "the shop",
      "created_at": "[NOW]",
      "created_by": "ann",
      "integrations": [
        {
          "id": "[I1]",
          "kind": "integration",
          "name": "alerts",
          "type": "events_api_v2_inbound_integration",
          "service": {
            "id": "[S1]",
            "name": "web"
          },
          "orchestration": null,
          "key": "[SECRET 1]",
          "hint": "[HINT 1]",
          "created_at": "[NOW]",
          "created_by": "ann",
          "last_used_at": null,
          "rate_limit": null
        },
        {
          "id": "[I2]",
          "kind": "integration",
          "name": "metrics",
          "type": "events_api_v2_inbound_integration",
          "service": {
            "id": "[S1]",
            "name": "web"
          },
          "orchestration": null,
          "key": "[SECRET 2]",
          "hint": "[HINT 2]",
          "created_at": "[NOW]",
          "created_by": "ann",
          "last_used_at": null,
          "rate_limit": null
        }
      ]
    }
    --- stderr
    "#);
    assert_snapshot!(machine.run(["orchestration", "list"]), @r"
    exit: 0
    --- stdout
    ID  NAME  DESCRIPTION  CREATED  BY  INTEGRATIONS
    --- stderr
    ");
}

#[test]
fn others_see_the_last_four_characters() {
    let machine = with_services();
    assert_snapshot!(machine.run(["service", "list", "--as", "otto"]), @r"
    exit: 0
    --- stdout
    ID         NAME  DESCRIPTION  CREATED               BY   INTEGRATIONS
    [S1]  web   the shop     [NOW]  ann  [I1] ...[HINT 1], [I2] ...[HINT 2]
    [S2]  idle  -            [NOW]  ann  -
    --- stderr
    ");
    assert_snapshot!(machine.run(["service", "show", "web", "--as", "otto"]), @r"
    exit: 0
    --- stdout
    id            [S1]
    name          web
    description   the shop
    created at    [NOW]
    created by    ann

    ID         NAME     TYPE           LEADS INTO       KEY      CREATED               LAST USED
    [I1]  alerts   events-api-v2  web ([S1])  ...[HINT 1]  [NOW]  never
    [I2]  metrics  events-api-v2  web ([S1])  ...[HINT 2]  [NOW]  never
    --- stderr
    ");
    let shown = machine.run(["service", "show", "web", "-o", "json", "--as", "otto"]).must_succeed().json();
    assert_eq!(shown["integrations"][0]["key"], json!(null));
    assert_eq!(text_of(&shown["integrations"][0], "hint").len(), 4);
}

#[test]
fn a_service_goes_by_name_and_by_id_in_any_case() {
    let machine = with_services();
    let id = text_of(&machine.run(["service", "show", "web", "-o", "json"]).json(), "id");
    for reference in [&id, &id.to_lowercase()] {
        let shown = machine.run(["service", "show", reference, "-o", "json"]).must_succeed().json();
        assert_eq!(shown["name"], "web");
    }
    // A service is no orchestration.
    machine.refuses(["orchestration", "show", &id]).must_exit(5);
    machine.refuses(["orchestration", "show", "web"]).must_exit(5);
}

#[test]
fn what_is_not_there_is_not_found_and_a_near_miss_is_offered() {
    let machine = with_services();
    assert_snapshot!(machine.refuses(["service", "show", "wbe"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: service wbe not found
    hint: did you mean web?
    ");
    assert_snapshot!(machine.refuses(["service", "show", "billing"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: service billing not found
    hint: pdkeys service list shows what there is
    ");
    assert_snapshot!(machine.refuses(["orchestration", "remove", "router", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: orchestration router not found
    hint: pdkeys orchestration list shows what there is
    ");
    assert_snapshot!(machine.refuses(["orchestration", "edit", "O00000000", "--name", "x"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: orchestration [O1] not found
    hint: pdkeys orchestration list shows what there is
    ");
    // Who may see none is not told what there is.
    machine.refuses(["service", "show", "wbe", "--as", "rita"]).must_exit(4);
}

#[test]
fn edit_changes_name_and_description_and_what_changes_nothing_leaves_no_record() {
    let machine = with_services();
    assert_snapshot!(machine.run(["service", "edit", "web", "--name", "shop", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Changed service shop ([S1])
    ");
    assert_snapshot!(machine.run(["service", "edit", "shop", "--description", "none", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[S1]","name":"shop","description":null,"created_at":"[NOW]","created_by":"ann","integrations":[]}
    ]
    --- stderr
    Changed service shop ([S1])
    "#);
    machine.refuses(["service", "edit", "shop", "--description", "none"]).must_succeed();
    machine.refuses(["service", "edit", "shop"]).must_exit(2);
    let listed =
        machine.run(["integration", "list", "--service", "shop", "-o", "json"]).must_succeed().json();
    assert_eq!(listed[0]["service"]["name"], "shop");
}

#[test]
fn one_that_still_has_integrations_is_not_removed_and_the_error_says_which() {
    let machine = with_services();
    assert_snapshot!(machine.refuses(["service", "remove", "web", "--yes"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: service web still has integrations: [I1] (alerts), [I2] (metrics)
    hint: --with-integrations removes them too; pdkeys integration move takes them elsewhere
    ");
    assert_snapshot!(machine.refuses(["service", "remove", "web"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: service web still has integrations: [I1] (alerts), [I2] (metrics)
    hint: --with-integrations removes them too; pdkeys integration move takes them elsewhere
    ");
    assert_snapshot!(machine.refuses(["service", "remove", "web", "--with-integrations"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    machine.run(["orchestration", "create", "router"]).must_succeed();
    assert_snapshot!(machine.refuses(["orchestration", "remove", "router", "--yes"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: orchestration router still has integrations: [I3] (Events API V2)
    hint: --with-integrations removes them too; pdkeys integration move takes them elsewhere
    ");
}

#[test]
fn with_integrations_it_takes_them_with_it_each_with_a_record() {
    let machine = with_services();
    let records = machine.count("audit");
    let remove = ["service", "remove", "web", "--with-integrations", "--yes", "--reason", "closed"];
    assert_snapshot!(machine.run(remove), @r"
    exit: 0
    --- stdout
    --- stderr
    Removed service web ([S1])
    ");
    assert_eq!(machine.count("audit"), records + 3);
    assert_eq!((machine.count("integration"), machine.count("destination")), (0, 1));
    assert_eq!(machine.count("digest"), 0);
    assert_eq!(machine.count("tombstone"), 2);
    assert_snapshot!(machine.run(["service", "remove", "idle", "--yes", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[S2]","name":"idle","description":null,"created_at":"[NOW]","created_by":"ann","integrations":[]}
    ]
    --- stderr
    Removed service idle ([S2])
    "#);
    machine.run(["audit", "verify"]).must_succeed();
}

#[test]
fn a_removal_is_confirmed_first() {
    let machine = with_services();
    assert_snapshot!(machine.refuses(["service", "remove", "idle"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    machine.refuses(["service", "remove", "idle", "--yes", "--as", "otto"]).must_exit(4);
}

#[test]
fn a_service_or_orchestration_as_first_use_makes_the_store() {
    for command in [["service", "create", "web"], ["orchestration", "create", "router"]] {
        let machine = Machine::new();
        let ran = machine.run(command).must_succeed();
        assert!(ran.stderr.starts_with("Made a store"), "{ran}");
        machine.run([command[0], "show", command[2]]).must_succeed();
    }
    for noun in ["service", "orchestration", "integration", "token"] {
        let machine = Machine::new();
        machine.run([noun, "list"]).must_exit(1);
        assert!(!machine.store().exists());
    }
}
