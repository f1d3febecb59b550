//! Users: `user add`, `list`, `show`, `edit`, `remove`.

use insta::assert_snapshot;

use crate::session::{Machine, SOMEBODY};

#[test]
fn add_says_who_was_added_and_prints_it_if_a_format_is_asked_for() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["user", "add", "adam", "--role", "admin"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Added user adam ([U1], admin)
    ");
    assert_snapshot!(
        machine.run([
            "user", "add", "uma", "--role", "limited_user", "--email", "uma@example.org", "--os-user", "61234",
            "--external-id", "PABC123", "--rate-limit", "10/min", "-o", "json",
        ]),
        @r#"
    exit: 0
    --- stdout
    [
      {"id":"[U2]","name":"uma","email":"uma@example.org","role":"limited_user","status":"active","os_uid":61234,"external_id":"PABC123","rate_limit":"10/min","created_at":"[NOW]","left_at":null,"left_reason":null}
    ]
    --- stderr
    Added user uma ([U2], limited_user)
    "#
    );
}

#[test]
fn list_shows_who_is_here_and_with_all_who_has_left() {
    let machine = Machine::with_users();
    machine.run(["user", "remove", "uma", "--yes"]).must_succeed();
    assert_snapshot!(machine.run(["user", "list"]), @r"
    exit: 0
    --- stdout
    ID         NAME  ROLE               EMAIL  OS USER  ADDED                 STATUS
    [U1]  ann   owner              -      [UID]  [NOW]  active
    [U2]  adam  admin              -      -        [NOW]  active
    [U3]  otto  observer           -      -        [NOW]  active
    [U4]  rita  restricted_access  -      -        [NOW]  active
    [U5]  sam   admin              -      61234    [NOW]  active
    --- stderr
    ");
    assert_snapshot!(machine.run(["user", "list", "--all"]), @r"
    exit: 0
    --- stdout
    ID         NAME  ROLE               EMAIL  OS USER  ADDED                 STATUS
    [U1]  ann   owner              -      [UID]  [NOW]  active
    [U2]  adam  admin              -      -        [NOW]  active
    [U6]  uma   user               -      -        [NOW]  left [NOW]
    [U3]  otto  observer           -      -        [NOW]  active
    [U4]  rita  restricted_access  -      -        [NOW]  active
    [U5]  sam   admin              -      61234    [NOW]  active
    --- stderr
    ");
    assert_snapshot!(machine.run(["user", "list", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[U1]","name":"ann","email":null,"role":"owner","status":"active","os_uid":[UID],"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    {"id":"[U2]","name":"adam","email":null,"role":"admin","status":"active","os_uid":null,"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    {"id":"[U3]","name":"otto","email":null,"role":"observer","status":"active","os_uid":null,"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    {"id":"[U4]","name":"rita","email":null,"role":"restricted_access","status":"active","os_uid":null,"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    {"id":"[U5]","name":"sam","email":null,"role":"admin","status":"active","os_uid":61234,"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    --- stderr
    "#);
    assert_snapshot!(machine.run(["user", "list", "-o", "csv"]).stdout.lines().next().unwrap(), @"id,name,email,role,status,os_uid,external_id,rate_limit,created_at,left_at,left_reason");
}

#[test]
fn show_finds_a_user_by_name_and_by_id() {
    let machine = Machine::with_users();
    let by_name = machine.run(["user", "show", "adam", "-o", "json"]).must_succeed();
    let id = crate::session::text_of(&by_name.json(), "id");
    assert_eq!(machine.run(["user", "show", &id.to_lowercase(), "-o", "json"]).stdout, by_name.stdout);
    assert_snapshot!(machine.run(["user", "show", "adam"]), @r"
    exit: 0
    --- stdout
    id           [U1]
    name         adam
    role         admin
    status       active
    created at   [NOW]
    --- stderr
    ");
}

#[test]
fn edit_changes_a_user_and_none_takes_a_thing_away() {
    let machine = Machine::with_users();
    assert_snapshot!(
        machine.run([
            "user", "edit", "sam", "--name", "samira", "--role", "observer", "--email", "s@example.org",
            "--os-user", "none", "-o", "json",
        ]),
        @r#"
    exit: 0
    --- stdout
    [
      {"id":"[U1]","name":"samira","email":"s@example.org","role":"observer","status":"active","os_uid":null,"external_id":null,"rate_limit":null,"created_at":"[NOW]","left_at":null,"left_reason":null}
    ]
    --- stderr
    Changed user samira ([U1], observer)
    "#
    );
    machine.run_sudo(&SOMEBODY.to_string(), ["whoami"]).must_exit(4);
    assert_snapshot!(machine.refuses(["user", "edit", "samira"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <--name <NAME>|--role <ROLE>|--email <EMAIL>|--os-user <LOGIN>|--external-id <ID>|--rate-limit <LIMIT>>

    Usage: pdkeys user edit <--name <NAME>|--role <ROLE>|--email <EMAIL>|--os-user <LOGIN>|--external-id <ID>|--rate-limit <LIMIT>> <USER>

    For more information, try '--help'.
    ");
}

#[test]
fn an_external_id_is_never_the_id_of_another_user() {
    let machine = Machine::with_users();
    let id = |name: &str| {
        machine.run(["user", "show", name, "-o", "json"]).json()["id"].as_str().unwrap().to_owned()
    };
    let (sam, otto) = (id("sam"), id("otto"));
    for taken in [sam.clone(), sam.to_lowercase(), sam.replace('0', "o"), sam.replace('1', "L")] {
        machine.refuses(["user", "edit", "otto", "--external-id", &taken]).must_exit(1);
        machine.refuses(["user", "add", "eve", "--role", "observer", "--external-id", &taken]).must_exit(1);
    }
    assert_snapshot!(machine.refuses(["user", "edit", "otto", "--external-id", &sam]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: user sam ([U1]) has this id already
    hint: choose another; pdkeys user list shows which are taken
    ");
    machine.run(["user", "edit", "otto", "--external-id", &otto]).must_succeed();
    machine.run(["user", "edit", "otto", "--external-id", "none"]).must_succeed();
    // Whoever has left is still that user to the API behind.
    machine.run(["user", "remove", "sam", "--yes"]).must_succeed();
    machine.refuses(["user", "edit", "otto", "--external-id", &sam]).must_exit(1);
}

#[test]
fn remove_marks_a_user_as_left_and_frees_the_name_and_the_operating_system_user() {
    let machine = Machine::with_users();
    machine.run(["create", "sams", "--as", "sam"]).must_succeed();
    assert_snapshot!(machine.run(["user", "remove", "sam", "--yes"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Removed user sam ([U1], admin)
    ");
    let again = SOMEBODY.to_string();
    machine.run(["user", "add", "sam", "--role", "observer", "--os-user", &again]).must_succeed();
    assert_snapshot!(machine.run(["list"]), @r"
    exit: 0
    --- stdout
    ID         DESCRIPTION  HINT     ACCESS  CREATED               API  STATUS  LAST USED  EXPIRES
    [K1]  sams         ...[HINT 1]  full    [NOW]  v2   active  never      never
    --- stderr
    ");
}

#[test]
fn why_a_user_left_is_listed_and_recorded() {
    let machine = Machine::with_users();
    machine.run(["user", "remove", "sam", "otto", "--yes", "--reason", "key-compromise"]).must_succeed();
    let shown = machine.run(["user", "list", "--all"]).must_succeed().stdout;
    for name in ["sam", "otto"] {
        let line = shown.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("left ") && line.ends_with(" (key-compromise)"), "{line}");
    }
    let listed = machine.run(["user", "list", "--all", "-o", "json"]).json();
    let reasons: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|user| user["status"] == "left")
        .map(|user| &user["left_reason"])
        .collect();
    assert_eq!(reasons, ["key-compromise"; 2]);
    let records = machine.run(["audit", "list", "--limit", "2", "-o", "json"]).json();
    for record in records.as_array().unwrap() {
        let fields = record["details"]["fields"].as_array().unwrap();
        let reason = fields.iter().find(|field| field["name"] == "left_reason").unwrap();
        assert_eq!(reason["value"], "key-compromise");
    }
    assert_snapshot!(machine.refuses(["user", "remove", "adam", "--yes", "--reason", " "]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: reason: must not be empty
    hint: say in one line of plain text why, such as key-compromise
    ");
}

#[test]
fn of_several_users_all_leave_or_none() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["user", "remove", "adam", "addam", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user addam not found
    hint: did you mean adam?
    ");
    machine.run(["user", "remove", "adam", "uma", "--yes"]).must_succeed();
}

#[test]
fn remove_without_a_terminal_is_not_confirmed() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["user", "remove", "adam"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
}

#[test]
fn the_account_owner_cannot_leave_or_get_another_role() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["user", "remove", "ann", "--yes"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: ann is the Account Owner
    hint: transfer the account first: pdkeys account transfer USER
    ");
    assert_snapshot!(machine.refuses(["user", "edit", "ann", "--role", "admin"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: an account has exactly one owner
    hint: pdkeys account transfer USER makes another user the owner
    ");
}

#[test]
fn there_is_one_owner() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["user", "add", "olga", "--role", "owner"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: an account has exactly one owner
    hint: pdkeys account transfer USER makes another user the owner
    ");
    machine.refuses(["user", "edit", "adam", "--role", "owner"]).must_exit(1);
}

#[test]
fn a_name_an_operating_system_user_and_an_external_id_belong_to_one_user() {
    let machine = Machine::with_users();
    machine.run(["user", "edit", "adam", "--external-id", "PADAM"]).must_succeed();
    assert_snapshot!(machine.refuses(["user", "add", "adam", "--role", "observer"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: user adam ([U1]) has this name already
    hint: choose another; pdkeys user list shows which are taken
    ");
    assert_snapshot!(machine.refuses(["user", "add", "x", "--role", "observer", "--os-user", "61234"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: user sam ([U2]) has this operating-system user already
    hint: choose another; pdkeys user list shows which are taken
    ");
    assert_snapshot!(machine.refuses(["user", "edit", "uma", "--external-id", "PADAM"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: user adam ([U1]) has this external id already
    hint: choose another; pdkeys user list shows which are taken
    ");
}

#[test]
fn a_name_of_an_ids_shape_is_refused() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["user", "add", "u7q2m4dx3", "--role", "observer"]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: name: u7q2m4dx3 has the shape of an id
    hint: one line of plain text that is no id and does not begin with -, such as web
    "#);
}

#[test]
fn a_role_that_is_none_and_an_operating_system_user_that_is_nobody_are_refused() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["user", "add", "x", "--role", "boss"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'boss' for '--role <ROLE>': role: must be one of owner, admin, user, limited_user, observer, restricted_access, read_only_user, read_only_limited_user

    For more information, try '--help'.

    hint: pdkeys user list shows who has which
    ");
    assert_snapshot!(machine.refuses(["user", "add", "x", "--role", "user", "--os-user", "nobody-of-that-name"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: there is no operating-system user nobody-of-that-name
    hint: a number is taken as it is
    ");
}

#[test]
fn what_cannot_be_done_is_told_before_it_is_asked_about() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "web"]).must_succeed();
    let made =
        machine.run(["integration", "create", "--service", "web", "--type", "email", "--name", "mail"]);
    assert!(made.status.success());
    let listed = machine.run(["integration", "list", "-o", "json"]).json();
    let integration = crate::session::text_of(&listed[0], "id");
    machine.run(["service", "create", "mail"]).must_succeed();
    for arguments in [
        &["user", "remove", "adam", "--as", "otto"][..],
        &["account", "transfer", "uma", "--as", "adam"],
        &["integration", "remove", &integration, "--as", "otto"],
        &["service", "remove", "mail", "--as", "otto"],
        &["service", "remove", "web", "--with-integrations", "--as", "otto"],
    ] {
        let refused = machine.refuses(arguments.iter().copied()).must_exit(4);
        assert!(refused.stderr.contains("may not"), "{refused}");
        // Who may is asked.
        machine.refuses(arguments[..arguments.len() - 2].iter().copied()).must_exit(6);
    }
    assert_snapshot!(machine.refuses(["user", "remove", "ann"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: ann is the Account Owner
    hint: transfer the account first: pdkeys account transfer USER
    ");
    assert_snapshot!(machine.refuses(["user", "remove", "ann", "--as", "adam"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: adam (admin) may not remove users: not the Account Owner
    hint: pdkeys whoami shows on whose behalf this ran
    ");
}

#[test]
fn a_token_of_somebody_senior_is_refused_before_it_is_asked_about() {
    let machine = Machine::with_users();
    machine.run(["token", "create", "adams", "--as", "adam"]).must_succeed();
    let listed = machine.run(["token", "list", "--all", "-o", "json"]).json();
    let token = crate::session::text_of(&listed[0], "id");
    machine.refuses(["token", "remove", &token, "--as", "sam"]).must_exit(4);
    machine.refuses(["token", "rotate", &token, "--as", "sam"]).must_exit(4);
    machine.refuses(["token", "remove", &token, "--as", "adam"]).must_exit(6);
}
