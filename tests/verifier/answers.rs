//! How the API says each verdict to a client: status, headers, body.

use jiff::SignedDuration;
use pdkeys::manage::DestinationKind;
use pdkeys::model::{Access, AccountEdit, KeyEdit, RateLimit, Role};
use pdkeys::verify::{Api, Reason, Request, UsageRecording, Verdict};
use serde_json::{Value, json};

use crate::world::{Made, World, event, rest, scopes};

#[track_caller]
fn body(verdict: &Verdict) -> Value {
    serde_json::from_str(&verdict.body()).unwrap()
}

fn coded(message: &str, code: u32) -> Value {
    json!({ "error": { "message": message, "code": code } })
}

#[test]
fn to_a_client_of_the_rest_api_every_401_looks_the_same() {
    let world = World::new();
    let full = || world.key(Access::Full, None);
    let [disabled, removed, rotated, overlapping, expired] = [(); 5].map(|()| full());
    let token = world.token(Role::User, Access::Role(None));
    let events = world.integration(DestinationKind::Service, None);
    world.act(|session| {
        session.disable_keys(std::slice::from_ref(&disabled.id), None)?;
        session.remove_keys(std::slice::from_ref(&removed.id), None)?;
        session.rotate_key(&rotated.id, None, &mut |_, _| Ok(()))?;
        session.rotate_key(&overlapping.id, Some(SignedDuration::from_hours(1)), &mut |_, _| Ok(()))?;
        let end = session.at() + SignedDuration::from_hours(1);
        session.edit_key(&expired.id, KeyEdit { expires_at: Some(Some(end)), ..Default::default() })?;
        session.remove_users(&["user".to_owned()], None)
    });
    let before =
        [&overlapping, &expired].map(|key| world.check(&rest(&key.secret, "GET", "/incidents")).reason);
    assert_eq!(before, [Reason::Allowed; 2]);
    world.wait(SignedDuration::from_hours(1));
    let verifier = world.verifier(UsageRecording::InMemory);
    for (presented, reason) in [
        ("", Reason::Missing),
        ("nonsense", Reason::Malformed),
        (&events.secret, Reason::WrongApi),
        ("AAAAbbbbCCCCddddEEEE", Reason::Unknown),
        (&removed.secret, Reason::Removed),
        (&rotated.secret, Reason::Rotated),
        (&overlapping.secret, Reason::Rotated),
        (&disabled.secret, Reason::Disabled),
        (&expired.secret, Reason::Expired),
        (&token.secret, Reason::UserLeft),
    ] {
        let verdict = verifier.verify(&rest(presented, "GET", "/incidents")).unwrap();
        assert_eq!((verdict.reason, verdict.status()), (reason, 401));
        assert_eq!(body(&verdict), coded("Unauthorized", 2006), "{reason}");
        assert_eq!(verdict.headers(), []);
        assert_eq!(verdict.rate_limit, None, "{reason} does not count");
    }
}

#[test]
fn other_rest_answers_have_their_documented_bodies() {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let full = world.key(Access::Full, Some(RateLimit::PerMinute(3))).secret;
    let read_only = world.key(Access::ReadOnly, None).secret;
    let scoped = world.key(Access::Scopes(scopes("users.read services.read")), None).secret;
    let token = world.token(Role::Observer, Access::Role(None)).secret;
    let narrow = world.token(Role::User, Access::Role(Some(scopes("services.read")))).secret;
    let ask = |secret: &str, method, path| verifier.verify(&rest(secret, method, path)).unwrap();

    let verdict = ask(&full, "GET", "/incidents");
    assert_eq!((verdict.reason, verdict.status(), verdict.body().as_str()), (Reason::Allowed, 200, ""));
    let verdict = ask(&full, "get", "/incidents");
    assert_eq!((verdict.reason, verdict.status()), (Reason::AmbiguousRequest, 400));
    assert!(body(&verdict)["error"]["message"].is_string());
    let verdict = ask(&full, "GET", "/incidents/");
    assert_eq!((verdict.reason, verdict.status()), (Reason::AmbiguousPath, 400));
    assert!(body(&verdict)["error"]["message"].is_string());
    let verdict = ask(&full, "GET", "/incidents");
    assert_eq!((verdict.reason, verdict.status()), (Reason::RateLimited, 429));
    assert_eq!(body(&verdict), coded("Rate Limit Exceeded", 2020));

    for (verdict, reason) in [
        (ask(&read_only, "POST", "/incidents"), Reason::ReadOnly),
        (ask(&token, "POST", "/incidents"), Reason::Role),
        (ask(&scoped, "GET", "/nowhere"), Reason::UnknownOperation),
    ] {
        assert_eq!((verdict.reason, verdict.status()), (reason, 403));
        assert_eq!(body(&verdict), coded("Access Denied", 2010));
        assert_eq!(verdict.headers().len(), 3);
    }
    let missing = |required: &str, has: &str| {
        json!({ "error": {
            "message": "Token missing required scopes", "required_scopes": required, "token_scopes": has
        } })
    };
    let verdict = ask(&scoped, "POST", "/incidents");
    assert_eq!((verdict.reason, verdict.status()), (Reason::Scope, 403));
    assert_eq!(body(&verdict), missing("incidents.write", "services.read users.read"));
    let verdict = ask(&narrow, "GET", "/incidents");
    assert_eq!(body(&verdict), missing("incidents.read", "services.read"));

    world.act(|session| {
        session.edit_account(AccountEdit { advanced_permissions: Some(false), ..Default::default() })
    });
    let verdict = ask(&token, "GET", "/incidents");
    assert_eq!((verdict.reason, verdict.status()), (Reason::NoAbility, 402));
    assert_eq!(body(&verdict)["error"]["code"], 2014);
    assert_ne!(ask(&read_only, "GET", "/incidents").reason, Reason::NoAbility);
}

/// Stock clients tell an account's key from a user's by this.
#[test]
fn who_asks_through_the_server_which_user_it_is_is_told_that_a_key_has_none() {
    let world = World::new();
    world.app("bot", scopes("incidents.read"), None);
    let verifier = world.verifier(UsageRecording::InMemory);
    let ask = |secret: &str, method, path, via_gateway| {
        verifier.verify(&Request { via_gateway, ..rest(secret, method, path) }).unwrap()
    };
    let full = world.key(Access::Full, None).secret;
    for secret in [&full, &world.key(Access::ReadOnly, None).secret, &world.app_token("bot", None).secret] {
        let verdict = ask(secret, "GET", "/users/me", true);
        assert_eq!((verdict.reason, verdict.status()), (Reason::NoUser, 400));
        assert_eq!(
            body(&verdict),
            json!({ "error": "Because this request was made using an account-level access token, we were unable to \
                              determine the user's identity. Please use a user-level token." })
        );
        assert_eq!(verdict.headers().len(), 3);
        assert!(verdict.message().ends_with("belongs to no user"));
        assert_eq!(ask(secret, "GET", "/users/me?include=x", true).reason, Reason::NoUser);
        assert_ne!(ask(secret, "GET", "/users/PABC", true).reason, Reason::NoUser);
        assert_ne!(ask(secret, "GET", "/users/me", false).reason, Reason::NoUser);
    }
    let token = world.token(Role::RestrictedAccess, Access::Role(None)).secret;
    assert_eq!(ask(&token, "GET", "/users/me", true).reason, Reason::Allowed);
    assert_eq!(ask(&full, "GET", "/users/me", false).reason, Reason::Allowed);
}

const LENGTH: &str = "Length of 'routing_key' is incorrect (should be 32 characters)";
const CHARACTERS: &str = "'routing_key' cannot contain non-alphanumeric characters.";
const V1: &str = "Service key is the wrong length (should be 32 characters)";

#[test]
fn the_events_api_has_its_own_answers() {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let ask = |secret: &str, api| verifier.verify(&event(secret, api)).unwrap();
    let invalid = |errors: &[&str]| json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
    let key = world.key(Access::Full, None).secret;
    let alphanumeric = "AAAAbbbbCCCCddddEEEE";
    let token = world.token(Role::User, Access::Role(None)).secret;
    for (presented, reason, errors) in [
        ("abc", Reason::Malformed, &[LENGTH][..]),
        ("a-c", Reason::Malformed, &[LENGTH, CHARACTERS]),
        ("abc def", Reason::Malformed, &[LENGTH, CHARACTERS]),
        (&"a".repeat(31), Reason::Malformed, &[LENGTH]),
        (&"a".repeat(33), Reason::Malformed, &[LENGTH]),
        (&"-".repeat(32), Reason::Malformed, &[CHARACTERS]),
        (&"z".repeat(32), Reason::Malformed, &["Invalid routing key"]),
        (alphanumeric, Reason::WrongApi, &[LENGTH]),
        (&token, Reason::WrongApi, &[LENGTH, CHARACTERS]),
        (&"0".repeat(32), Reason::Unknown, &["Invalid routing key"]),
    ] {
        let verdict = ask(presented, Api::EventsV2);
        assert_eq!((verdict.reason, verdict.status()), (reason, 400), "{presented}");
        assert_eq!(body(&verdict), invalid(errors), "{presented}");
        assert_eq!(verdict.headers(), []);
        let verdict = ask(presented, Api::EventsV1);
        assert_eq!((verdict.reason, verdict.status()), (reason, 400), "{presented}");
        if presented.len() != 32 {
            assert_eq!(body(&verdict), invalid(&[V1]), "{presented}");
        }
        assert_eq!(body(&verdict)["status"], "invalid event");
    }
    for api in [Api::EventsV1, Api::EventsV2] {
        assert_eq!((ask("", api).reason, ask("", api).status()), (Reason::Missing, 400));
        assert_eq!(body(&ask("", api))["status"], "invalid event");
        assert_eq!(ask(&key, api).reason, Reason::WrongApi);
    }
    let limited = |kind| world.integration(kind, Some(RateLimit::PerMinute(2)));
    let integrations: [Made; 2] =
        [limited(DestinationKind::Service), limited(DestinationKind::Orchestration)];
    for integration in &integrations {
        let [first, second] = [Api::EventsV2, Api::EventsV1].map(|api| ask(&integration.secret, api));
        assert_eq!(
            [(first.status(), first.body()), (second.status(), second.body())],
            [(202, String::new()), (200, String::new())]
        );
        let [third, fourth] = [Api::EventsV2, Api::EventsV1].map(|api| ask(&integration.secret, api));
        assert_eq!([third.reason, fourth.reason], [Reason::RateLimited; 2]);
        assert_eq!([third.status(), fourth.status()], [429, 403]);
        world.act(|session| session.remove_integrations(std::slice::from_ref(&integration.id), None));
        assert_eq!(ask(&integration.secret, Api::EventsV2).reason, Reason::Removed);
        assert_eq!(body(&ask(&integration.secret, Api::EventsV2)), invalid(&["Invalid routing key"]));
    }
    // Abilities and policies are the REST API's.
    let free = world.integration(DestinationKind::Service, None).secret;
    world.act(|session| session.edit_account(AccountEdit { rest_api: Some(false), ..Default::default() }));
    assert_eq!(ask(&free, Api::EventsV2).reason, Reason::Allowed);
}

#[test]
fn a_verdict_can_be_had_from_many_threads_at_once() {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let keys = [(); 4].map(|()| world.key(Access::ReadOnly, Some(RateLimit::Unlimited)).secret);
    std::thread::scope(|scope| {
        for key in &keys {
            let verifier = &verifier;
            scope.spawn(move || {
                for _ in 0..200 {
                    let reason = |method| verifier.verify(&rest(key, method, "/incidents")).unwrap().reason;
                    assert_eq!([reason("GET"), reason("POST")], [Reason::Allowed, Reason::ReadOnly]);
                }
            });
        }
    });
}

#[test]
fn questions_asked_together_have_the_answers_of_each_alone_in_their_order() {
    let world = World::new();
    let [full, removed] = [(); 2].map(|()| world.key(Access::Full, None));
    let events = world.integration(DestinationKind::Service, None);
    world.act(|session| session.remove_keys(std::slice::from_ref(&removed.id), None));
    let ask = || {
        vec![
            rest("no key at all", "GET", "/incidents"),
            rest(&full.secret, "GET", "/incidents"),
            rest(&events.secret, "GET", "/incidents"),
            rest("AAAAbbbbCCCCddddEEE1", "GET", "/incidents"),
            rest(&removed.secret, "GET", "/incidents"),
            rest(&full.secret, "GET", "//"),
            event(&events.secret, Api::EventsV2),
        ]
    };
    let verifier = world.verifier(UsageRecording::Nowhere);
    let together: Vec<_> =
        verifier.verify_all(&ask()).unwrap().iter().map(|verdict| (verdict.reason, verdict.api)).collect();
    let requests = ask();
    let alone = requests.iter().map(|request| verifier.verify(request).unwrap());
    assert_eq!(together, alone.map(|verdict| (verdict.reason, verdict.api)).collect::<Vec<_>>());
    assert_eq!(
        together.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
        [
            Reason::Malformed,
            Reason::Allowed,
            Reason::WrongApi,
            Reason::Unknown,
            Reason::Removed,
            Reason::AmbiguousPath,
            Reason::Allowed,
        ]
    );
}
