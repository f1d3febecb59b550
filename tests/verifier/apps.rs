//! App tokens, with a clock that the test turns.

use jiff::SignedDuration;
use pdkeys::model::{AppEdit, CredentialKind, Role};
use pdkeys::verify::{Reason, UsageRecording};

use crate::world::{World, capture, hand_to, rest, scopes};

#[test]
fn an_app_token_works_for_a_day_and_is_cleared_away_afterwards() {
    let world = World::new();
    world.app("bot", scopes("incidents.read"), None);
    let token = world.app_token("bot", None).secret;
    let verifier = world.verifier(UsageRecording::InMemory);
    let check = || verifier.verify(&rest(&format!("Bearer {token}"), "GET", "/incidents")).unwrap().reason;
    assert_eq!(check(), Reason::Allowed);
    world.wait(SignedDuration::from_hours(24) - SignedDuration::from_millis(1));
    assert_eq!(check(), Reason::Allowed);
    world.wait(SignedDuration::from_millis(1));
    assert_eq!(check(), Reason::Expired);

    let count = |table: &str| -> u64 {
        let sql = rusqlite::Connection::open(world.place().database()).unwrap();
        let condition = if table == "digest" { "WHERE kind = 'app-token'" } else { "" };
        sql.query_row(&format!("SELECT count(*) FROM {table} {condition}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!([count("app_token"), count("digest")], [1, 1]);
    let next = world.app_token("bot", None).secret;
    assert_eq!([count("app_token"), count("digest")], [1, 1], "the one whose day is over went");
    assert_eq!(check(), Reason::Unknown);
    assert_eq!(verifier.verify(&rest(&next, "GET", "/incidents")).unwrap().reason, Reason::Allowed);
}

#[test]
fn app_tokens_are_counted_and_described_by_their_app() {
    let world = World::new();
    let app = world.app("bot", scopes("incidents.read"), None);
    let token = world.app_token("bot", None);
    assert_eq!(token.id, app.id);
    let verdict = world.check(&rest(&token.secret, "GET", "/incidents"));
    let credential = verdict.credential.unwrap();
    assert_eq!((credential.kind, credential.id.to_string()), (CredentialKind::AppToken, app.id));
    assert!(world.act(|session| session.app("bot")).last_used_at.is_some());
}

#[test]
fn a_client_secret_opens_nothing() {
    let world = World::new();
    let secret = world.app("bot", scopes("incidents.read"), None).secret;
    for presented in [secret.clone(), format!("Bearer {secret}"), format!("Token token={secret}")] {
        assert_eq!(world.check(&rest(&presented, "GET", "/incidents")).reason, Reason::Malformed);
    }
}

/// Whoever issued a token, and what became of that user, is nothing to the token: it belongs to the app.
#[test]
fn a_token_is_bounded_by_its_app_and_not_by_whoever_issued_it() {
    let world = World::new();
    world.app("bot", scopes("incidents.read incidents.write"), None);
    let issue = |session: &mut pdkeys::manage::Session<'_, _>| {
        capture(|out| Ok(session.issue_app_token("bot", None, &mut hand_to(out))?.app.to_string()))
    };
    let token = world.try_as(Role::User, issue).unwrap().secret;
    world.set_role("user", Role::Observer);
    let check = |method| world.check(&rest(&token, method, "/incidents")).reason;
    assert_eq!(check("POST"), Reason::Allowed);
    let narrower = AppEdit { scopes: Some(scopes("incidents.read")), ..Default::default() };
    world.act(|session| session.edit_app("bot", narrower));
    assert_eq!([check("POST"), check("GET")], [Reason::Scope, Reason::Allowed]);
    let revoke = AppEdit { revoke_tokens: true, ..Default::default() };
    world.act(|session| session.edit_app("bot", revoke));
    assert_eq!(check("GET"), Reason::Removed);
}
