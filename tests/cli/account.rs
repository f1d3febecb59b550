//! The account: `account show`, `set`, `transfer`.

use insta::assert_snapshot;

use crate::session::Machine;

#[test]
fn show_prints_the_account_and_its_settings() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.run(["account", "show"]), @r"
    exit: 0
    --- stdout
    name                  acme
    owner                 ann
    policy                pagerduty
    rest api              true
    advanced permissions  true
    created at            [NOW]
    --- stderr
    ");
    assert_snapshot!(machine.run(["account", "show", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "name": "acme",
      "owner": "ann",
      "policy": "pagerduty",
      "subdomain": null,
      "rest_api": true,
      "advanced_permissions": true,
      "created_at": "[NOW]"
    }
    --- stderr
    "#);
}

#[test]
fn set_changes_the_settings() {
    let machine = Machine::with_store();
    assert_snapshot!(
        machine.run([
            "account", "set", "--name", "acme two", "--policy", "convention", "--subdomain", "acme",
            "--advanced-permissions", "off", "--rest-api", "off", "-o", "json",
        ]),
        @r#"
    exit: 0
    --- stdout
    {
      "name": "acme two",
      "owner": "ann",
      "policy": "convention",
      "subdomain": "acme",
      "rest_api": false,
      "advanced_permissions": false,
      "created_at": "[NOW]"
    }
    --- stderr
    Changed account acme two; ann is Account Owner
    "#
    );
    assert_snapshot!(machine.run(["account", "set", "--subdomain", "none", "--rest-api", "on"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Changed account acme two; ann is Account Owner
    ");
    assert_snapshot!(machine.run(["audit", "list", "--type", "account", "--action", "update"]), @r"
    exit: 0
    --- stdout
    NUMBER  TIME                  ACTOR  ACTION  TARGET           CALLED    CHANGES
    4       [NOW]  ann    update  account account  acme two  subdomain: acme -> none, rest_api: false -> true
    3       [NOW]  ann    update  account account  acme two  name: acme -> acme two, policy: pagerduty -> convention, subdomain: acme, rest_api: true -> false, advanced_permissions: true -> false
    --- stderr
    ");
}

#[test]
fn set_refuses_what_is_no_setting() {
    let machine = Machine::with_store();
    assert_snapshot!(machine.refuses(["account", "set"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <--name <NAME>|--rest-api <REST_API>|--advanced-permissions <ADVANCED_PERMISSIONS>|--policy <POLICY>|--subdomain <SUBDOMAIN>>

    Usage: pdkeys account set <--name <NAME>|--rest-api <REST_API>|--advanced-permissions <ADVANCED_PERMISSIONS>|--policy <POLICY>|--subdomain <SUBDOMAIN>>

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.refuses(["account", "set", "--policy", "none"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: invalid value 'none' for '--policy <POLICY>': policy: must be pagerduty or convention

    For more information, try '--help'.
    ");
    assert_snapshot!(machine.refuses(["account", "set", "--subdomain", "not a host"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: subdomain: must be lower-case letters, digits and hyphens, 63 at most
    hint: --help shows what is taken, with examples
    ");
}

#[test]
fn setting_what_is_already_so_writes_no_audit_record() {
    let machine = Machine::with_store();
    machine.unchanged(|| machine.run(["account", "set", "--rest-api", "on"]).must_succeed());
}

#[test]
fn transfer_makes_another_user_the_owner_and_the_owner_an_admin() {
    let machine = Machine::with_users();
    assert_snapshot!(machine.refuses(["account", "transfer", "adam"]), @r"
    exit: 6
    --- stdout
    --- stderr
    error: not confirmed, and nothing was done
    hint: --yes does it without asking
    ");
    assert_snapshot!(machine.run(["account", "transfer", "adam", "--yes"]), @r"
    exit: 0
    --- stdout
    --- stderr
    Transferred account acme; adam is Account Owner
    ");
    assert_snapshot!(machine.run(["user", "list"]), @r"
    exit: 0
    --- stdout
    ID         NAME  ROLE               EMAIL  OS USER  ADDED                 STATUS
    [U1]  ann   admin              -      [UID]  [NOW]  active
    [U2]  adam  owner              -      -        [NOW]  active
    [U3]  uma   user               -      -        [NOW]  active
    [U4]  otto  observer           -      -        [NOW]  active
    [U5]  rita  restricted_access  -      -        [NOW]  active
    [U6]  sam   admin              -      61234    [NOW]  active
    --- stderr
    ");
    assert_snapshot!(machine.refuses(["account", "transfer", "ann", "--yes"]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: ann (admin) may not transfer the account
    hint: pdkeys whoami shows on whose behalf this ran
    ");
}

#[test]
fn transfer_to_nobody_or_to_somebody_who_has_left_is_refused() {
    let machine = Machine::with_users();
    let uma = crate::session::text_of(&machine.run(["user", "show", "uma", "-o", "json"]).json(), "id");
    machine.run(["user", "remove", "uma", "--yes"]).must_succeed();
    assert_snapshot!(machine.refuses(["account", "transfer", "zoe", "--yes"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: user zoe not found
    hint: pdkeys user list shows what there is
    ");
    assert_snapshot!(machine.refuses(["account", "transfer", &uma, "--yes"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: uma has left the account
    hint: pdkeys user list shows who is here; pdkeys user add adds the person as a new user
    ");
}
