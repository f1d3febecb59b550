//! On whose behalf a command runs.

use insta::assert_snapshot;

use crate::session::{Machine, SOMEBODY, SOMEBODY_ELSE, can_be_others, own_uid, set_mode};

#[test]
fn whoami_tells_on_whose_behalf_commands_run() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.run(["whoami"]), @r"
    exit: 0
    --- stdout
    id               [U1]
    name             ann
    role             owner
    title            Account Owner
    method           os_user
    account          acme
    store            [HOME]/pdkeys/pdkeys.db
    --- stderr
    ");
    assert_snapshot!(machine.run(["whoami", "--as", "uma", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "id": "[U2]",
      "name": "uma",
      "role": "user",
      "title": "Manager",
      "method": "os_user",
      "truncated_token": null,
      "on_behalf_by": "ann",
      "account": "acme",
      "store": "[HOME]/pdkeys/pdkeys.db"
    }
    --- stderr
    "#);
}

#[test]
fn behind_sudo_the_one_who_called_it_acts() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.run_sudo(&SOMEBODY.to_string(), ["whoami"]), @r"
    exit: 0
    --- stdout
    id               [U1]
    name             sam
    role             admin
    title            Global Admin
    method           os_user
    account          acme
    store            [HOME]/pdkeys/pdkeys.db
    --- stderr
    ");
}

#[test]
fn the_login_name_in_the_environment_is_not_believed() {
    let machine = Machine::with_users().with("USER", "sam").with("LOGNAME", "sam").with("SUDO_USER", "sam");
    let me = machine.run(["whoami", "-o", "json"]).must_succeed().json();
    assert_eq!(me["name"], "ann");
}

#[test]
fn an_operating_system_user_without_a_mapping_is_refused() {
    let machine = Machine::with_users();
    for arguments in [&["create", "x"][..], &["list"], &["whoami"], &["user", "list"], &["audit", "head"]] {
        let refused =
            machine.unchanged(|| machine.run_sudo(&SOMEBODY_ELSE.to_string(), arguments.iter().copied()));
        refused.must_exit(4);
    }
    assert_snapshot!(machine.run_sudo(&SOMEBODY_ELSE.to_string(), ["list"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: operating-system user 61235 is no user of this account
    hint: an owner or admin can run: pdkeys user edit USER --os-user 61235; or set PDKEYS_TOKEN
    ");
}

#[test]
fn a_sudo_uid_that_is_no_number_is_refused() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.unchanged(|| machine.run_sudo("root", ["create", "x"])), @r"
    exit: 4
    --- stdout
    --- stderr
    error: SUDO_UID is not a user id
    hint: sudo sets it; unset it to act as yourself
    ");
    machine.run_sudo("", ["create", "x"]).must_exit(4);
    machine.run_sudo("-1", ["create", "x"]).must_exit(4);
}

#[test]
fn a_forged_sudo_uid_is_not_believed_of_who_does_not_own_the_store() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    machine
        .run(["user", "add", "olli", "--role", "observer", "--os-user", &SOMEBODY_ELSE.to_string()])
        .must_succeed();
    // Others may look at this store, which takes somebody who keeps it open.
    let held = machine.sql();
    held.execute_batch("BEGIN; SELECT count(*) FROM audit").unwrap();
    for path in [machine.home().to_owned(), machine.directory()] {
        set_mode(&path, 0o755);
    }
    for name in ["pdkeys.db", "pdkeys.db-wal", "pdkeys.db-shm"] {
        set_mode(&machine.directory().join(name), 0o644);
    }
    let machine = machine.with("SUDO_UID", &own_uid().to_string());
    let as_observer = machine.run_as(SOMEBODY_ELSE, ["whoami", "-o", "json"]).must_succeed();
    assert_eq!(as_observer.json()["name"], "olli");
    assert_snapshot!(machine.run_as(SOMEBODY_ELSE, ["list"]), @r"
    exit: 4
    --- stdout
    --- stderr
    warning: [HOME]/pdkeys/pdkeys.db can be read by others (mode 0644); chmod 0600 it
    error: olli (observer) may not list keys
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    drop(held);
}

#[test]
fn the_one_who_owns_the_store_needs_no_root_to_act_as_oneself() {
    if !can_be_others() {
        return;
    }
    let machine = Machine::with_users();
    machine.give_to(SOMEBODY);
    let me = machine.run_as(SOMEBODY, ["whoami", "-o", "json"]).must_succeed().json();
    assert_eq!(me["name"], "sam");
    machine.run_as(SOMEBODY, ["create", "ci"]).must_succeed();
    assert_eq!(machine.count("general_key"), 1);
}

#[test]
fn a_user_who_has_left_does_not_act() {
    let machine = Machine::with_users();
    machine.run(["user", "remove", "sam", "--yes"]).must_succeed();
    let refused = machine.unchanged(|| machine.run_sudo(&SOMEBODY.to_string(), ["create", "x"]));
    assert_snapshot!(refused, @r"
    exit: 4
    --- stdout
    --- stderr
    error: operating-system user 61234 is no user of this account
    hint: an owner or admin can run: pdkeys user edit USER --os-user 61234; or set PDKEYS_TOKEN
    ");
}

#[test]
fn the_account_owner_acts_as_somebody_else_by_name_or_id() {
    let machine = Machine::with_users();
    let adam = crate::session::text_of(&machine.run(["user", "show", "adam", "-o", "json"]).json(), "id");
    for adam in ["adam", &adam] {
        let me = machine.run(["--as", adam, "whoami", "-o", "json"]).must_succeed().json();
        assert_eq!((me["name"].as_str(), me["on_behalf_by"].as_str()), (Some("adam"), Some("ann")));
    }
}

#[test]
fn nobody_but_the_account_owner_acts_as_somebody_else() {
    let machine = Machine::with_users();
    let somebody = SOMEBODY.to_string();
    assert_snapshot!(machine.run_sudo(&somebody, ["whoami", "--as", "ann"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: sam (admin) may not act as another user
    hint: pdkeys whoami shows on whose behalf this ran
    ");
    assert_snapshot!(machine.run_sudo(&somebody, ["whoami", "--as", "nobody"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: sam (admin) may not act as another user
    hint: pdkeys whoami shows on whose behalf this ran
    ");
}

#[test]
fn nobody_acts_as_one_who_is_not_there_or_has_left() {
    let machine = Machine::with_users();
    let uma = crate::session::text_of(&machine.run(["user", "show", "uma", "-o", "json"]).json(), "id");
    machine.run(["user", "remove", "uma", "--yes"]).must_succeed();
    assert_snapshot!(machine.refuses(["create", "x", "--as", "uma"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: there is no user uma to act as
    hint: pdkeys user list shows who is here
    ");
    assert_snapshot!(machine.refuses(["create", "x", "--as", &uma]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: uma has left the account
    hint: pdkeys user list shows who is here
    ");
}

#[test]
fn a_token_that_is_set_but_empty_is_refused_and_no_store_is_made() {
    let machine = Machine::new().with("PDKEYS_TOKEN", "");
    machine.run(["create", "ci"]).must_exit(4);
    machine.run(["user", "add", "adam", "--role", "admin"]).must_exit(4);
    assert_snapshot!(machine.run(["init", "acme"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it is empty
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    assert_eq!(crate::session::names_in(machine.home()), [""; 0]);
}

#[test]
fn where_there_is_no_store_a_token_makes_none_and_nobody_does_in_its_place() {
    let (machine, other) = (Machine::with_store(), Machine::new());
    let (_, token) = machine.make_token("ann", "laptop", &[]);
    std::fs::write(other.file("token"), &token).unwrap();
    assert_snapshot!(other.run_with_token(&token, ["init", "acme"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: a user token is of a store that is there; where one is made, the operating-system user acts
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    other.run(["init", "acme", "--token-file", "token"]).must_exit(4);
    other.run(["init", "acme", "--token-file", "missing"]).must_exit(4);
    machine.run(["backup", "copy.db", "--with-store-key", "copy.key"]).must_succeed();
    let copy = [machine.file("copy.db"), machine.file("copy.key")];
    let [copy, key] = copy.each_ref().map(|path| path.to_str().unwrap());
    let restore = ["restore", copy, "--store-key", key, "--yes"];
    other.run_with_token(&token, restore).must_exit(4);
    other.run_with_token("", restore).must_exit(4);
    assert_eq!(crate::session::names_in(other.home()), ["token"]);
    other.run(restore).must_succeed();
    // Where there is one, whose token it is may restore.
    other.run_with_token(&token, restore).must_succeed();
}

#[test]
fn a_token_that_is_not_accepted_never_falls_back_to_the_operating_system_user() {
    let machine = Machine::with_users();
    let (_, secret) = machine.make_key("a general key", &[]);
    let unknown = "u+AbCdEfGhIjKlMnOpQr";
    for (token, why) in
        [("", "empty"), ("hello", "not a user token"), (&secret, "not a user token"), (unknown, "unknown")]
    {
        let ran =
            machine.unchanged(|| machine.finish(machine.command(["create", "x"]).env("PDKEYS_TOKEN", token)));
        assert!(ran.stderr.contains(why), "{token:?}: {ran}");
        ran.must_exit(4);
    }
    assert_snapshot!(machine.finish(machine.command(["list"]).env("PDKEYS_TOKEN", "")), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it is empty
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    assert_snapshot!(machine.finish(machine.command(["list"]).env("PDKEYS_TOKEN", &secret)), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it is not a user token
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
}

#[test]
fn a_token_file_that_cannot_be_read_is_an_error_and_nobody_else_acts() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["create", "x", "--token-file", "missing"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: token file missing: No such file or directory (os error 2)
    hint: it must hold a user token, as pdkeys token create --write-to makes it
    ");
    std::fs::write(machine.file("empty"), "\n").unwrap();
    assert_snapshot!(machine.refuses(["create", "x", "--token-file", "empty"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the user token is not accepted: it is empty
    hint: the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user
    ");
    std::fs::write(machine.file("large"), "x".repeat(5000)).unwrap();
    assert_snapshot!(machine.refuses(["create", "x", "--token-file", "large"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: token file large: too large
    hint: it must hold a user token, as pdkeys token create --write-to makes it
    ");
}
