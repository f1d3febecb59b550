//! User tokens: `token create`, `list`, `show`, `edit`, `rotate`, `remove`, and what it is to act with one.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, SOMEBODY, assert_token, mode_of, text_of};

/// Commands of every kind: what reads, what changes, what needs the store alone.
const SOME_COMMANDS: &[&[&str]] = &[
    &["whoami"],
    &["list"],
    &["create", "x"],
    &["user", "list"],
    &["user", "add", "x", "--role", "user"],
    &["account", "show"],
    &["account", "set", "--rest-api", "on"],
    &["audit", "list"],
    &["token", "list"],
    &["token", "create", "x"],
    &["service", "list"],
    &["service", "create", "x"],
    &["orchestration", "create", "x"],
    &["integration", "list"],
];

/// Asserts that a token is refused by every command, whoever runs it, and gives what `whoami` says.
#[track_caller]
fn refused_everywhere(machine: &Machine, token: &str) -> String {
    fs::write(machine.file("token"), format!("{token}\n")).unwrap();
    for arguments in SOME_COMMANDS {
        let ran = machine.unchanged(|| machine.run_with_token(token, arguments.iter().copied())).must_exit(4);
        assert_eq!(ran.stdout, "", "{ran}");
        let from_file = arguments.iter().copied().chain(["--token-file", "token"]);
        machine.refuses(from_file).must_exit(4);
    }
    machine.run_with_token(token, ["whoami"]).to_string()
}

#[test]
fn create_prints_the_token_alone_on_standard_output() {
    let machine = Machine::with_store();
    let made = machine.run(["token", "create", "laptop"]);
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    [SECRET 1]
    --- stderr
    Created token [T1] of ann (laptop, ...[HINT 1]); its secret is shown only this once
    ");
    assert_token(made.line());
    assert_eq!(made.stdout.len(), 21, "20 characters and a line end");
    assert!(!made.stderr.contains(made.line()));
}

#[test]
fn create_as_json_gives_the_token_with_its_record() {
    let machine = Machine::with_users();
    let arguments = [
        "token",
        "create",
        "laptop",
        "--as",
        "uma",
        "--expires",
        "90d",
        "--scope",
        "incidents.read",
        "--scope",
        "incidents.write",
        "-o",
        "json",
    ];
    assert_snapshot!(machine.run(arguments), @r#"
    exit: 0
    --- stdout
    {"id":"[T1]","secret":"[SECRET 1]","kind":"user-token","user":"uma","description":"laptop","hint":"[HINT 1]","access":"role","scopes":["incidents.read","incidents.write"],"created_at":"[NOW]","api_version":"v2","status":"active","disabled_at":null,"disabled_reason":null,"last_used_at":null,"expires_at":"[NOW + 2160h]","overlap_ends_at":null}
    --- stderr
    Created token [T1] of uma (laptop, ...[HINT 1]); it ends at [NOW + 2160h]; its secret is shown only this once
    "#);
    machine.refuses(["token", "create", "laptop", "-o", "csv"]).must_exit(2);
}

#[test]
fn create_writes_the_token_to_a_new_file_that_token_file_takes() {
    let machine = Machine::with_users();
    let made = machine.run(["token", "create", "laptop", "--as", "uma", "--write-to", "uma.token"]);
    machine.redact(&fs::read_to_string(machine.file("uma.token")).unwrap());
    assert_snapshot!(made, @r"
    exit: 0
    --- stdout
    --- stderr
    Created token [T1] of uma (laptop, ...[HINT 1]); its secret is in uma.token
    ");
    assert_eq!(mode_of(&machine.file("uma.token")), 0o600);
    let me = machine.run(["whoami", "--token-file", "uma.token", "-o", "json"]).must_succeed().json();
    assert_eq!(me["name"], "uma");
    // The file is there: it is neither overwritten nor taken away.
    let kept = fs::read(machine.file("uma.token")).unwrap();
    machine.refuses(["token", "create", "again", "--write-to", "uma.token"]).must_exit(1);
    assert_eq!(fs::read(machine.file("uma.token")).unwrap(), kept);
}

#[test]
fn a_token_that_cannot_be_handed_over_is_not_made() {
    let machine = Machine::with_store();
    let (id, secret) = machine.make_token("ann", "laptop", &[]);
    for script in [
        "\"$pdkeys\" token create x >/dev/full".to_owned(),
        "\"$pdkeys\" token create x >&-".to_owned(),
        format!("\"$pdkeys\" token rotate {id} --yes >/dev/full"),
        format!("\"$pdkeys\" token rotate {id} --overlap 1h >&-"),
    ] {
        machine.unchanged(|| machine.run_shell(&script)).must_exit(1);
    }
    machine.run_with_token(&secret, ["whoami"]).must_succeed();
}

#[test]
fn a_description_must_be_given_without_a_terminal() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["token", "create"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: description is missing
    hint: without a terminal nothing is asked; --help shows what to give
    ");
    assert_snapshot!(machine.refuses(["token", "create", " "]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: description: must not be empty
    hint: say in one line of plain text what it is for, such as "nightly deploy"
    "#);
    machine.refuses(["token", "create", "a\u{1b}[2Jb"]).must_exit(2);
}

#[test]
fn an_expiry_that_is_no_future_moment_is_refused() {
    let machine = Machine::with_store();
    for expires in ["yesterday", "2001-01-01", "-1d", "0d", ""] {
        let option = format!("--expires={expires}");
        machine.refuses(["token", "create", "x", &option]).must_exit(2);
    }
    machine.run(["token", "create", "x", "--expires", "never"]).must_succeed();
}

#[test]
fn nobody_makes_a_token_for_somebody_else() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["token", "create", "x", "--user", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: ann (owner) may not create tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["token", "create", "x", "--user", "ann", "--as", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma (user) may not create tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["token", "create", "x", "--user", "nobody"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user nobody not found
    hint: pdkeys user list shows what there is
    ");
    // Who may see nobody else is not told who is there.
    for user in ["uma", "nobody"] {
        machine.refuses(["token", "create", "x", "--user", user, "--as", "rita"]).must_exit(4);
    }
    for user in ["ann", "uma", "rita"] {
        machine.run(["token", "create", "x", "--user", user, "--as", user]).must_succeed();
    }
}

#[test]
fn a_scope_that_the_role_does_not_hold_is_refused() {
    let machine = Machine::with_users();
    let create = ["token", "create", "x", "--as", "otto", "--scope", "incidents.read"];
    assert_snapshot!(
        machine.refuses(create.into_iter().chain(["--scope", "incidents.write", "--scope", "users.write"])), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the role observer does not hold incidents.write, users.write
    hint: leave that out; without --scope a token may do all that the role may
    "
    );
    machine.run(create).must_succeed();
    machine.refuses(["token", "create", "x", "--as", "uma", "--scope", "users.write"]).must_exit(1);
    machine.run(["token", "create", "x", "--as", "adam", "--scope", "users.write"]).must_succeed();
    machine.refuses(["token", "create", "x", "--scope", "Incidents.read"]).must_exit(2);
}

#[test]
fn who_is_a_limited_stakeholder_can_have_no_token() {
    let machine = Machine::with_store();
    machine.run(["user", "add", "lisa", "--role", "read_only_limited_user"]).must_succeed();
    assert_snapshot!(machine.refuses(["token", "create", "x", "--as", "lisa"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: lisa (read_only_limited_user) may not create tokens
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.run(["token", "list", "--as", "lisa", "-o", "json"]), @r"
    exit: 0
    --- stdout
    []
    --- stderr
    ");
}

#[test]
fn no_token_is_made_where_the_account_has_not_the_ability() {
    let machine = Machine::with_store();
    machine.run(["account", "set", "--advanced-permissions", "off"]).must_succeed();
    assert_snapshot!(machine.refuses(["token", "create", "x"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: Advanced Permissions are switched off in this account
    hint: the Account Owner can switch them on: pdkeys account set --advanced-permissions on
    ");
    machine.run(["account", "set", "--advanced-permissions", "on", "--rest-api", "off"]).must_succeed();
    assert_snapshot!(machine.refuses(["token", "create", "x"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: REST keys are switched off in this account
    hint: the Account Owner can switch them on: pdkeys account set --rest-api on
    ");
    machine.run(["account", "set", "--rest-api", "on"]).must_succeed();
    machine.run(["token", "create", "x"]).must_succeed();
}

/// Three tokens: two of uma's, of which one is limited and ends, and one of adam's.
fn with_tokens() -> (Machine, [String; 3]) {
    let machine = Machine::with_users();
    let (laptop, _) = machine.make_token("uma", "laptop", &[]);
    let (phone, _) =
        machine.make_token("uma", "phone", &["--scope", "incidents.read", "--expires", "2099-06-01"]);
    let (desk, _) = machine.make_token("adam", "desk", &[]);
    (machine, [laptop, phone, desk])
}

#[test]
fn list_shows_ones_own_tokens() {
    let (machine, _) = with_tokens();
    assert_snapshot!(machine.run(["token", "list", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    ID         USER  DESCRIPTION  HINT     ACCESS          CREATED               API  STATUS  LAST USED  EXPIRES
    [T1]  uma   laptop       ...[HINT 1]  role            [NOW]  v2   active  never      never
    [T2]  uma   phone        ...[HINT 2]  incidents.read  [NOW]  v2   active  never      2099-06-01T00:00:00Z
    --- stderr
    ");
    assert_snapshot!(machine.run(["token", "list", "--as", "uma", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    [
      {"id":"[T1]","kind":"user-token","user":"uma","description":"laptop","hint":"[HINT 1]","access":"role","scopes":null,"created_at":"[NOW]","api_version":"v2","status":"active","disabled_at":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"overlap_ends_at":null},
      {"id":"[T2]","kind":"user-token","user":"uma","description":"phone","hint":"[HINT 2]","access":"role","scopes":["incidents.read"],"created_at":"[NOW]","api_version":"v2","status":"active","disabled_at":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2099-06-01T00:00:00.000Z","overlap_ends_at":null}
    ]
    --- stderr
    "#);
    assert_snapshot!(machine.run(["token", "list", "--as", "uma", "-o", "csv"]), @r"
    exit: 0
    --- stdout
    id,kind,user,description,hint,access,scopes,created_at,api_version,status,disabled_at,disabled_reason,last_used_at,expires_at,overlap_ends_at
    [T1],user-token,uma,laptop,[HINT 1],role,,[NOW],v2,active,,,,,
    [T2],user-token,uma,phone,[HINT 2],role,incidents.read,[NOW],v2,active,,,,2099-06-01T00:00:00.000Z,
    --- stderr
    ");
    assert_snapshot!(machine.run(["token", "list", "--as", "uma", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"id":"[T1]","kind":"user-token","user":"uma","description":"laptop","hint":"[HINT 1]","access":"role","scopes":null,"created_at":"[NOW]","api_version":"v2","status":"active","disabled_at":null,"disabled_reason":null,"last_used_at":null,"expires_at":null,"overlap_ends_at":null}
    {"id":"[T2]","kind":"user-token","user":"uma","description":"phone","hint":"[HINT 2]","access":"role","scopes":["incidents.read"],"created_at":"[NOW]","api_version":"v2","status":"active","disabled_at":null,"disabled_reason":null,"last_used_at":null,"expires_at":"2099-06-01T00:00:00.000Z","overlap_ends_at":null}
    --- stderr
    "#);
    assert_snapshot!(machine.run(["token", "list"]), @r"
    exit: 0
    --- stdout
    ID  USER  DESCRIPTION  HINT  ACCESS  CREATED  API  STATUS  LAST USED  EXPIRES
    --- stderr
    ");
}

#[test]
fn owner_and_admins_list_those_of_others_and_of_all() {
    let (machine, ids) = with_tokens();
    let listed = |arguments: &[&str]| {
        let list = ["token", "list", "-o", "json"].into_iter().chain(arguments.iter().copied());
        let listed = machine.run(list).must_succeed().json();
        listed.as_array().unwrap().iter().map(|token| text_of(token, "id")).collect::<Vec<_>>()
    };
    for user in ["ann", "adam", "sam"] {
        assert_eq!(listed(&["--all", "--as", user]), ids, "oldest first");
        assert_eq!(listed(&["--user", "uma", "--as", user]), ids[..2]);
        assert_eq!(listed(&["--user", "adam", "--as", user]), ids[2..]);
    }
    assert_eq!(listed(&["--user", "uma", "--as", "uma"]), ids[..2]);
    assert_eq!(listed(&["--as", "ann"]), [""; 0]);
    assert_snapshot!(machine.refuses(["token", "list", "--all", "--as", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma (user) may not list tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["token", "list", "--user", "adam", "--as", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma (user) may not list tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["token", "list", "--user", "uam"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user uam not found
    hint: did you mean uma or sam?
    ");
    machine.refuses(["token", "list", "--user", "uma", "--all"]).must_exit(2);
}

#[test]
fn show_shows_one_token_and_never_its_secret() {
    let (machine, [_, phone, desk]) = with_tokens();
    assert_snapshot!(machine.run(["token", "show", &phone, "--as", "uma"]), @r"
    exit: 0
    --- stdout
    id               [T1]
    kind             user-token
    user             uma
    description      phone
    hint             [HINT 2]
    access           role
    scopes           incidents.read
    created at       [NOW]
    api version      v2
    status           active
    expires at       2099-06-01T00:00:00.000Z
    --- stderr
    ");
    assert_snapshot!(machine.run(["token", "show", &desk.to_lowercase(), "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "id": "[T2]",
      "kind": "user-token",
      "user": "adam",
      "description": "desk",
      "hint": "[HINT 3]",
      "access": "role",
      "scopes": null,
      "created_at": "[NOW]",
      "api_version": "v2",
      "status": "active",
      "disabled_at": null,
      "disabled_reason": null,
      "last_used_at": null,
      "expires_at": null,
      "overlap_ends_at": null
    }
    --- stderr
    "#);
}

#[test]
fn a_token_that_is_not_there_is_not_found_and_a_near_miss_is_offered() {
    let (machine, [laptop, _, desk]) = with_tokens();
    let missed = format!("{}{}", &laptop[..8], if laptop.ends_with('0') { '1' } else { '0' });
    let ran = machine.refuses(["token", "show", &missed, "--as", "uma"]).must_exit(5);
    assert!(ran.stderr.contains(&format!("did you mean {laptop}?")), "{ran}");
    // What may not be seen is not offered.
    let missed = format!("{}{}", &desk[..8], if desk.ends_with('0') { '1' } else { '0' });
    let ran = machine.refuses(["token", "show", &missed, "--as", "uma"]).must_exit(5);
    assert!(!ran.stderr.contains(&desk), "{ran}");
    assert_snapshot!(machine.refuses(["token", "show", "T00000000", "--as", "otto"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: token [T1] not found
    hint: pdkeys token list shows what there is
    ");
    let (key, _) = machine.make_key("ci", &[]);
    machine.refuses(["token", "show", &key]).must_exit(5);
    machine.refuses(["show", &laptop]).must_exit(5);
}

#[test]
fn edit_changes_description_and_end_and_narrows_scopes() {
    let (machine, [laptop, phone, _]) = with_tokens();
    assert_snapshot!(
        machine.run(["token", "edit", &laptop, "--description", "notebook", "--expires", "90d", "--as", "uma"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Changed token [T1] of uma (notebook, ...[HINT 1]); it ends at [NOW + 2160h]
    "
    );
    let edit = ["token", "edit", &laptop, "--as", "uma", "--scope", "incidents.read", "-o", "json"];
    let edited = machine.run(edit).must_succeed().json();
    assert_eq!(edited[0]["scopes"], serde_json::json!(["incidents.read"]));
    assert_eq!(edited[0]["description"], "notebook");
    assert_snapshot!(
        machine.refuses(["token", "edit", &phone, "--scope", "services.read", "--as", "uma"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: access can be narrowed, never widened: it would gain services.read
    hint: make another that may do more: pdkeys create, or pdkeys token create
    "
    );
    assert_snapshot!(machine.refuses(["token", "edit", &phone, "--description", "x"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: ann (owner) may not edit tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.refuses(["token", "edit", &phone, "--as", "uma"]).must_exit(2);
    machine.refuses(["token", "edit", &phone, "--description", "phone", "--as", "uma"]).must_succeed();
    machine.run(["token", "edit", &laptop, "--expires", "never", "--as", "uma"]).must_succeed();
    let shown = machine.run(["token", "show", &laptop, "-o", "json"]).must_succeed().json();
    assert!(shown["expires_at"].is_null());
}

#[test]
fn an_edit_that_does_not_touch_the_scopes_does_not_ask_about_them() {
    let machine = Machine::with_users();
    let (id, _) = machine.make_token("uma", "laptop", &["--scope", "incidents.write"]);
    machine.run(["user", "edit", "uma", "--role", "observer"]).must_succeed();
    machine.run(["token", "edit", &id, "--description", "x", "--as", "uma"]).must_succeed();
    let (other, _) = machine.make_token("adam", "laptop", &[]);
    machine.run(["user", "edit", "adam", "--role", "observer"]).must_succeed();
    machine.refuses(["token", "edit", &other, "--scope", "incidents.write", "--as", "adam"]).must_exit(1);
}

#[test]
fn a_rotation_asks_first_and_stops_the_secret_before() {
    let machine = Machine::with_users();
    let (id, first) = machine.make_token("uma", "laptop", &[]);
    assert_snapshot!(machine.refuses(["token", "rotate", &id, "--as", "uma"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    let rotated = machine.run(["token", "rotate", &id, "--as", "uma", "--yes"]);
    assert_snapshot!(rotated, @r"
    exit: 0
    --- stdout
    [SECRET 2]
    --- stderr
    Rotated token [T1] of uma (laptop, ...[HINT 2]); the one before stopped working
    ");
    assert_token(rotated.line());
    machine.run_with_token(rotated.line(), ["whoami"]).must_succeed();
    assert_snapshot!(refused_everywhere(&machine, &first), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it was removed or rotated
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
}

#[test]
fn with_an_overlap_both_secrets_work_until_it_ends() {
    let machine = Machine::with_users();
    let (id, first) = machine.make_token("uma", "laptop", &[]);
    let rotated = machine.run(["token", "rotate", &id, "--as", "uma", "--overlap", "24h"]);
    assert_snapshot!(rotated, @r"
    exit: 0
    --- stdout
    [SECRET 2]
    --- stderr
    Rotated token [T1] of uma (laptop, ...[HINT 2]); the one before works until [NOW + 24h]
    ");
    let second = rotated.line().to_owned();
    for secret in [&first, &second] {
        machine.run_with_token(secret, ["whoami"]).must_succeed();
    }
    assert_snapshot!(machine.run_with_token(&second, ["token", "rotate", &id, "--end-overlap"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Ended the overlap of token [T1] of uma (laptop, ...[HINT 2])
    ");
    machine.run_with_token(&second, ["whoami"]).must_succeed();
    refused_everywhere(&machine, &first);
    assert_snapshot!(machine.refuses(["token", "rotate", &id, "--end-overlap", "--as", "uma"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: token [T1] has no overlap to end
    hint: its present secret is the only one; pdkeys token rotate [T1] replaces it
    ");
    machine.refuses(["token", "rotate", &id, "--end-overlap", "--overlap", "1h", "--as", "uma"]).must_exit(2);
}

#[test]
fn an_overlap_that_is_over_has_ended_by_itself() {
    let machine = Machine::with_users();
    let (id, first) = machine.make_token("uma", "laptop", &[]);
    machine.run(["token", "rotate", &id, "--as", "uma", "--overlap", "1h"]).must_succeed();
    machine.sql().execute("UPDATE digest SET ends_at = 1 WHERE ends_at IS NOT NULL", []).unwrap();
    refused_everywhere(&machine, &first);
}

#[test]
fn nobody_rotates_or_edits_a_token_of_somebody_else() {
    let (machine, [laptop, ..]) = with_tokens();
    assert_snapshot!(machine.refuses(["token", "rotate", &laptop, "--yes"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: ann (owner) may not rotate tokens: only their own
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.refuses(["token", "rotate", &laptop, "--yes", "--as", "adam"]).must_exit(4);
    machine.refuses(["token", "rotate", &laptop, "--end-overlap", "--as", "adam"]).must_exit(4);
    machine.refuses(["token", "edit", &laptop, "--expires", "1d", "--as", "adam"]).must_exit(4);
    machine.refuses(["token", "rotate", &laptop, "--yes", "--as", "otto"]).must_exit(5);
}

#[test]
fn a_removal_asks_first_and_is_for_good() {
    let machine = Machine::with_users();
    let (id, secret) = machine.make_token("uma", "laptop", &[]);
    assert_snapshot!(machine.refuses(["token", "remove", &id, "--as", "uma"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    assert_snapshot!(machine.run(["token", "remove", &id, "--as", "uma", "--yes", "--reason", "lost"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Removed token [T1] of uma (laptop, ...[HINT 1])
    ");
    machine.refuses(["token", "show", &id, "--as", "uma"]).must_exit(5);
    assert_snapshot!(refused_everywhere(&machine, &secret), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it was removed or rotated
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    let records = machine.run(["audit", "list", "-o", "json", "--limit", "1"]).must_succeed().json();
    assert!(records.to_string().contains("\"lost\""), "{records}");
}

#[test]
fn several_are_removed_all_or_none() {
    let (machine, [laptop, phone, desk]) = with_tokens();
    // adam's may not go, so neither do uma's; one that is named twice goes once.
    machine.refuses(["token", "remove", &laptop, &desk, "--yes"]).must_exit(4);
    machine.refuses(["token", "remove", &laptop, "T00000000", "--yes"]).must_exit(5);
    let removed = machine.run(["token", "remove", &laptop, &phone, &laptop, "--yes", "-o", "json"]);
    assert_eq!(removed.must_succeed().json().as_array().unwrap().len(), 2);
    assert_eq!(machine.count("user_token"), 1);
}

#[test]
fn the_owner_and_admins_remove_those_of_juniors_and_of_no_senior_but_themselves() {
    let machine = Machine::with_users();
    let token = |user: &str| machine.make_token(user, "t", &[]).0;
    let (owners, adams) = (token("ann"), token("adam"));
    assert_snapshot!(machine.refuses(["token", "remove", &adams, "--yes"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: ann (owner) may not remove tokens: not those of the owner or an admin
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.refuses(["token", "remove", &owners, "--yes", "--as", "adam"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: adam (admin) may not remove tokens: not those of the owner or an admin
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.refuses(["token", "remove", &adams, "--yes", "--as", "sam"]).must_exit(4);
    for junior in ["uma", "otto", "rita"] {
        for senior in ["ann", "adam"] {
            machine.run(["token", "remove", &token(junior), "--yes", "--as", senior]).must_succeed();
        }
        machine.refuses(["token", "remove", &owners, "--yes", "--as", junior]).must_exit(5);
    }
    machine.run(["token", "remove", &owners, "--yes"]).must_succeed();
    machine.run(["token", "remove", &adams, "--yes", "--as", "adam"]).must_succeed();
    assert_eq!(machine.count("user_token"), 0);
}

#[test]
fn tokens_die_with_their_users_leaving_and_never_come_back() {
    let machine = Machine::with_users();
    let (id, secret) = machine.make_token("uma", "laptop", &[]);
    machine.run_with_token(&secret, ["whoami"]).must_succeed();
    machine.run(["user", "remove", "uma", "--yes"]).must_succeed();
    assert_snapshot!(refused_everywhere(&machine, &secret), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: its user has left the account
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    assert_snapshot!(machine.run(["token", "list", "--all"]), @r"
    exit: 0
    --- stdout
    ID         USER  DESCRIPTION  HINT     ACCESS  CREATED               API  STATUS               LAST USED  EXPIRES
    [T1]  uma   laptop       ...[HINT 1]  role    [NOW]  v2   disabled: user-left  never      never
    --- stderr
    ");
    // Somebody of the same name is somebody else.
    machine.run(["user", "add", "uma", "--role", "user"]).must_succeed();
    refused_everywhere(&machine, &secret);
    assert_eq!(machine.run(["token", "list", "--user", "uma", "-o", "json"]).json(), serde_json::json!([]));
    machine.refuses(["token", "show", &id, "--as", "uma"]).must_exit(5);
    machine.run(["token", "remove", &id, "--yes"]).must_succeed();
}

#[test]
fn a_token_makes_its_owner_the_acting_user() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    assert_snapshot!(machine.run_with_token(&secret, ["whoami"]), @r"
    exit: 0
    --- stdout
    id               [U1]
    name             uma
    role             user
    title            Manager
    method           api_token
    truncated token  [HINT 1]
    account          acme
    store            [HOME]/pdkeys/pdkeys.db
    --- stderr
    ");
    assert_snapshot!(machine.run_with_token(&secret, ["whoami", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "id": "[U1]",
      "name": "uma",
      "role": "user",
      "title": "Manager",
      "method": "api_token",
      "truncated_token": "[HINT 1]",
      "on_behalf_by": null,
      "account": "acme",
      "store": "[HOME]/pdkeys/pdkeys.db"
    }
    --- stderr
    "#);
    // The operating-system user is the owner, and lends nothing.
    assert_snapshot!(machine.unchanged(|| machine.run_with_token(&secret, ["create", "x"])), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma (user) may not create keys
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    machine.run_with_token(&secret, ["service", "create", "web"]).must_succeed();
}

#[test]
fn what_is_done_with_a_token_is_recorded_with_its_last_four_characters() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    machine.run_with_token(&secret, ["service", "create", "web"]).must_succeed();
    let records = machine.run(["audit", "list", "-o", "json", "--limit", "1"]).must_succeed();
    assert_snapshot!(records, @r#"
    exit: 0
    --- stdout
    [
      {"id":"9","execution_time":"[NOW]","execution_context":{"request_id":"[REQUEST]","remote_address":null},"actors":[{"id":"[U1]","type":"user","summary":"uma"}],"method":{"type":"api_token","truncated_token":"[HINT 1]"},"root_resource":{"id":"[S1]","type":"service","summary":"web"},"action":"create","details":{"fields":[{"name":"name","before_value":null,"value":"web"}]}}
    ]
    --- stderr
    "#);
    let method = &records.json()[0]["method"];
    assert_eq!(method["type"], "api_token");
    assert_eq!(method["truncated_token"], secret[16..]);
    assert!(!records.stdout.contains(&secret));
}

#[test]
fn a_token_is_taken_from_a_file_with_one_line_end() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    for content in [secret.clone(), format!("{secret}\n"), format!("{secret}\r\n")] {
        fs::write(machine.file("token"), content).unwrap();
        machine.run(["whoami", "--token-file", "token"]).must_succeed();
    }
    for content in
        [format!("{secret}\n\n"), format!(" {secret}"), format!("{secret} "), format!("\"{secret}\"")]
    {
        fs::write(machine.file("token"), content).unwrap();
        machine.refuses(["create", "x", "--token-file", "token"]).must_exit(4);
    }
}

#[test]
fn a_file_goes_before_the_environment_and_a_bad_file_does_not_fall_back_on_it() {
    let machine = Machine::with_users();
    let (_, uma) = machine.make_token("uma", "laptop", &[]);
    let (_, otto) = machine.make_token("otto", "laptop", &[]);
    fs::write(machine.file("token"), otto).unwrap();
    let me = machine.run_with_token(&uma, ["whoami", "--token-file", "token", "-o", "json"]).must_succeed();
    assert_eq!(me.json()["name"], "otto");
    fs::write(machine.file("token"), "").unwrap();
    machine.run_with_token(&uma, ["whoami", "--token-file", "token"]).must_exit(4);
}

#[test]
fn a_token_that_is_empty_unknown_or_something_else_is_refused_everywhere() {
    let machine = Machine::with_users();
    let (_, key) = machine.make_key("ci", &[]);
    machine.run(["service", "create", "web"]).must_succeed();
    let (_, integration) = machine.make_integration("service", "web", "alerts");
    refused_everywhere(&machine, "");
    refused_everywhere(&machine, "u+AbCdEfGhIjKlMnOpQr");
    refused_everywhere(&machine, &key);
    refused_everywhere(&machine, &integration);
}

#[test]
fn an_expired_token_is_refused_everywhere() {
    let machine = Machine::with_users();
    let (id, secret) = machine.make_token("uma", "laptop", &["--expires", "1d"]);
    machine.sql().execute("UPDATE user_token SET expires_at = created_at", []).unwrap();
    assert_snapshot!(refused_everywhere(&machine, &secret), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it has expired
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    let shown = machine.run(["token", "show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!(shown["status"], "expired");
    assert_snapshot!(machine.refuses(["token", "rotate", &id, "--yes", "--as", "uma"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: token [T1] is expired: it cannot be rotated
    hint: give it more time first: pdkeys token edit [T1] --expires 90d
    ");
}

/// It could make its user another that is not limited.
#[test]
fn a_token_limited_to_scopes_names_no_acting_user() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("ann", "laptop", &["--scope", "incidents.read"]);
    assert_snapshot!(refused_everywhere(&machine, &secret), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it is limited to some scopes, and managing takes a token of the whole role
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
}

#[test]
fn no_token_is_accepted_where_the_account_has_not_the_ability() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("ann", "laptop", &[]);
    for ability in ["--advanced-permissions", "--rest-api"] {
        machine.run(["account", "set", ability, "off"]).must_succeed();
        let refused = refused_everywhere(&machine, &secret);
        assert!(refused.contains("switched off in this account"), "{refused}");
        machine.run(["account", "set", ability, "on"]).must_succeed();
        machine.run_with_token(&secret, ["whoami"]).must_succeed();
    }
    // A token can switch itself off, and then not on again.
    machine.run_with_token(&secret, ["account", "set", "--advanced-permissions", "off"]).must_succeed();
    assert_snapshot!(refused_everywhere(&machine, &secret), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: user tokens are switched off in this account
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
}

#[test]
fn a_token_goes_before_sudo_and_the_owner_acts_as_others_with_one() {
    let machine = Machine::with_users();
    let (_, uma) = machine.make_token("uma", "laptop", &[]);
    let (_, ann) = machine.make_token("ann", "laptop", &[]);
    let sam = SOMEBODY.to_string();
    let mut command = machine.command(["whoami", "-o", "json"]);
    let me = machine.finish(command.env("SUDO_UID", sam).env("PDKEYS_TOKEN", &uma)).must_succeed().json();
    assert_eq!(me["name"], "uma");
    machine.run_with_token(&uma, ["whoami", "--as", "ann"]).must_exit(4);
    let me = machine.run_with_token(&ann, ["whoami", "--as", "uma", "-o", "json"]).must_succeed().json();
    assert_eq!((text_of(&me, "name"), text_of(&me, "on_behalf_by")), ("uma".to_owned(), "ann".to_owned()));
}

#[test]
fn a_role_counts_as_it_is_now_not_as_it_was_when_the_token_was_made() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    machine.run(["user", "edit", "uma", "--role", "observer"]).must_succeed();
    machine.unchanged(|| machine.run_with_token(&secret, ["service", "create", "x"])).must_exit(4);
    machine.run(["user", "edit", "uma", "--role", "admin"]).must_succeed();
    machine.run_with_token(&secret, ["create", "x"]).must_succeed();
}

#[test]
fn a_token_never_comes_in_by_argument() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_token("uma", "laptop", &[]);
    let attached = format!("--token={secret}");
    for arguments in [
        &["whoami", "--token", &secret][..],
        &["whoami", &attached],
        &["token", "show", &secret],
        &["token", "remove", &secret, "--yes"],
        &["token", "list", "--user", &secret],
        &["whoami", "--as", &secret],
        &["service", "show", &secret],
        &["integration", "show", &secret],
    ] {
        let ran = machine.refuses(arguments.iter().copied());
        assert!(!ran.status.success() && !ran.stderr.contains(&secret) && ran.stdout.is_empty(), "{ran}");
    }
}
