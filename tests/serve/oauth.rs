//! `POST /oauth/token`: apps get their tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_encode_byte;

use crate::http::{Headers, Reply};
use crate::world::{Server, World};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const GRANT: &str = "grant_type=client_credentials";

fn app(world: &World) -> (String, String) {
    world.make(&["app", "register", "crm", "--scope", "incidents.read", "--scope", "teams.read"])
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn ask(server: &Server, headers: &[(&str, &str)], form: &str) -> Reply {
    let reply = server.ask("POST", "/oauth/token", &[&[FORM], headers].concat(), form);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("pragma"), Some("no-cache"));
    reply
}

#[test]
fn an_app_gets_a_token_for_a_day_by_either_way_of_authentication() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let form = format!("{GRANT}&client_id={id}&client_secret={secret}&scope=incidents.read");
    let basic = basic(&id, &secret);
    for reply in [
        ask(&server, &[], &form),
        ask(&server, &[("Authorization", &basic)], &format!("{GRANT}&scope=incidents.read")),
        ask(&server, &[("Authorization", &basic)], &format!("{GRANT}&scope=incidents.read&client_id={id}")),
    ] {
        assert_eq!(reply.status, 200, "{}", reply.body);
        let token = reply.json();
        assert_eq!((&token["token_type"], &token["expires_in"]), (&"bearer".into(), &86_400.into()));
        assert_eq!(token["scope"], "incidents.read");
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let status = |path: &str| server.ask("GET", path, &[("Authorization", &bearer)], "").status;
        assert_eq!((status("/auth/incidents"), status("/auth/teams")), (200, 403));
    }
    let all = ask(&server, &[("Authorization", &basic)], GRANT);
    assert_eq!(all.json()["scope"], "incidents.read teams.read", "without a scope, all that the app has");
}

#[test]
fn the_audit_trail_says_that_the_app_did_it() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    assert_eq!(ask(&server, &[("Authorization", &basic(&id, &secret))], GRANT).status, 200);
    let records: serde_json::Value =
        serde_json::from_str(&world.run(&["audit", "list", "-o", "json"])).unwrap();
    let record = &records[0];
    assert_eq!(record["actors"][0]["id"], id.as_str());
    assert_eq!(record["actors"][0]["type"], "app");
    assert_eq!(record["method"]["type"], "holder");
    assert_eq!(record["method"]["truncated_token"], &secret[secret.len() - 4..]);
    assert_eq!(record["root_resource"]["type"], "app_token");
    world.run(&["audit", "verify"]);
}

#[test]
fn a_request_that_is_refused_says_why_as_oauth_does_and_writes_nothing() {
    let world = World::new();
    let (id, secret) = app(&world);
    let (_, other) = world.make(&["app", "register", "other", "--scope", "teams.read"]);
    let server = world.serve(&[]);
    let before = world.run(&["audit", "head"]);
    let good = basic(&id, &secret);
    let in_form = format!("client_id={id}&client_secret={secret}");
    let cases: &[(&str, Headers<'_>, String)] = &[
        ("invalid_client", &[], GRANT.to_owned()),
        ("invalid_client", &[], format!("{GRANT}&client_id={id}")),
        ("invalid_client", &[], format!("{GRANT}&client_id={id}&client_secret=x{secret}")),
        ("invalid_client", &[], format!("{GRANT}&client_id={id}&client_secret={other}")),
        ("invalid_client", &[("Authorization", &basic("A00000000", &secret))], GRANT.to_owned()),
        ("invalid_client", &[("Authorization", "Basic !")], GRANT.to_owned()),
        ("invalid_client", &[("Authorization", &format!("Bearer {secret}"))], GRANT.to_owned()),
        ("invalid_request", &[("Authorization", &good)], String::new()),
        ("invalid_request", &[("Authorization", &good)], format!("{GRANT}&{in_form}")),
        ("invalid_request", &[("Authorization", &good)], format!("{GRANT}&client_id=A00000000")),
        ("invalid_request", &[("Authorization", &good), ("Authorization", &good)], GRANT.to_owned()),
        ("invalid_request", &[("Authorization", &good)], format!("{GRANT}&{GRANT}")),
        ("invalid_request", &[], format!("{GRANT}&{in_form}&client_secret={secret}")),
        ("unsupported_grant_type", &[("Authorization", &good)], "grant_type=password".to_owned()),
        ("invalid_scope", &[("Authorization", &good)], format!("{GRANT}&scope=users.read")),
        ("invalid_scope", &[("Authorization", &good)], format!("{GRANT}&scope=nonsense")),
        ("invalid_scope", &[("Authorization", &good)], format!("{GRANT}&scope=as_account-us.acme")),
    ];
    for (error, headers, form) in cases {
        let reply = ask(&server, headers, form);
        assert_eq!(reply.json()["error"], *error, "{headers:?} {form}");
        if *error == "invalid_client" {
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Basic realm=\"pdkeys\""))
            );
        } else {
            assert_eq!(reply.status, 400);
        }
    }
    let json = server.ask("POST", "/oauth/token", &[("Authorization", &good)], "{}");
    assert_eq!((json.status, json.json()["error"].as_str()), (400, Some("invalid_request")));
    let query = server.ask("POST", &format!("/oauth/token?{GRANT}&{in_form}"), &[FORM], "");
    assert_eq!((query.status, query.json()["error"].as_str()), (400, Some("invalid_request")));
    assert_eq!(server.get("/oauth/token").status, 405);
    assert_eq!(world.run(&["audit", "head"]), before, "nothing was written");
}

#[test]
fn a_token_may_name_the_account_that_it_is_for() {
    let world = World::new();
    let (id, secret) = app(&world);
    world.run(&["account", "set", "--subdomain", "acme"]);
    let server = world.serve(&[]);
    let basic = basic(&id, &secret);
    let scope = |scope: &str| {
        let reply = ask(&server, &[("Authorization", &basic)], &format!("{GRANT}&scope={scope}"));
        (reply.status, reply.json()["scope"].as_str().map(str::to_owned))
    };
    assert_eq!(
        scope("as_account-us.acme+teams.read"),
        (200, Some("as_account-us.acme teams.read".to_owned()))
    );
    assert_eq!(scope("as_account-us.other+teams.read"), (400, None));
    assert_eq!(scope("as_account-acme+teams.read"), (400, None));
    assert_eq!(scope("as_account-us.acme+as_account-eu.acme"), (400, None));
}

#[test]
fn an_app_that_is_gone_or_switched_off_gets_no_token() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let basic = basic(&id, &secret);
    let error =
        || ask(&server, &[("Authorization", &basic)], GRANT).json()["error"].as_str().map(str::to_owned);
    world.run(&["account", "set", "--rest-api", "off", "--yes"]);
    assert_eq!(error().as_deref(), Some("unauthorized_client"));
    world.run(&["account", "set", "--rest-api", "on", "--yes"]);
    assert_eq!(error(), None);
    world.run(&["app", "remove", "crm", "--yes"]);
    assert_eq!(error().as_deref(), Some("invalid_client"));
}

#[test]
fn a_parameter_without_a_value_is_one_that_was_left_out() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let basic = basic(&id, &secret);
    let in_form = format!("client_id={id}&client_secret={secret}");
    let cases: &[(Option<&str>, Headers<'_>, String)] = &[
        (None, &[("Authorization", &basic)], format!("{GRANT}&client_id=&client_secret=&scope=")),
        (None, &[("Authorization", &basic)], format!("{GRANT}&client_secret&scope")),
        (None, &[], format!("{GRANT}&{in_form}&scope=")),
        (Some("invalid_request"), &[("Authorization", &basic)], "grant_type=".to_owned()),
        (Some("invalid_request"), &[("Authorization", &basic)], format!("{GRANT}&grant_type=")),
        (Some("invalid_request"), &[], format!("{GRANT}&{in_form}&scope=&scope=teams.read")),
        (Some("invalid_client"), &[], format!("{GRANT}&client_id={id}&client_secret=")),
        (Some("invalid_client"), &[], format!("{GRANT}&client_id=&client_secret={secret}")),
    ];
    for (error, headers, form) in cases {
        let reply = ask(&server, headers, form);
        assert_eq!(reply.json()["error"].as_str(), *error, "{headers:?} {form}: {}", reply.body);
        if error.is_none() {
            assert_eq!(reply.json()["scope"], "incidents.read teams.read", "{form}");
        }
    }
}

#[test]
fn basic_credentials_are_encoded_as_in_a_form() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let encoded = |text: &str| text.bytes().map(percent_encode_byte).collect::<String>();
    for (id, secret, status) in [
        (encoded(&id), encoded(&secret), 200),
        (id.clone(), secret.replace('_', "%5F").replace('-', "%2D"), 200),
        (id.to_lowercase(), secret.clone(), 200),
        (id.clone(), encoded(&encoded(&secret)), 401),
        (id.clone(), format!("{secret}%"), 401),
        (id.clone(), format!("{secret}+"), 401),
        (id.clone(), format!("{secret}%00"), 401),
        (id.clone(), format!("{secret}%ff"), 401),
        (id.clone(), format!("{secret}=x"), 401),
    ] {
        let reply = ask(&server, &[("Authorization", &basic(&id, &secret))], GRANT);
        assert_eq!(reply.status, status, "{id} {secret}");
    }
}

#[test]
fn a_media_type_that_is_given_twice_is_refused() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let form = format!("{GRANT}&client_id={id}&client_secret={secret}");
    let ask = |headers: &[(&str, &str)]| {
        let reply = server.ask("POST", "/oauth/token", headers, &form);
        (reply.status, reply.json()["error"].as_str().map(str::to_owned))
    };
    let refused = (400, Some("invalid_request".to_owned()));
    assert_eq!(ask(&[FORM]), (200, None));
    assert_eq!(ask(&[("Content-Type", "Application/X-WWW-Form-Urlencoded ; charset=UTF-8")]), (200, None));
    assert_eq!(ask(&[FORM, FORM]), refused);
    assert_eq!(ask(&[FORM, ("Content-Type", "application/json")]), refused);
    assert_eq!(ask(&[("Content-Type", "application/x-www-form-urlencoded, application/json")]), refused);
    assert_eq!(ask(&[]), refused);
}

#[test]
fn an_app_that_asks_for_too_many_tokens_is_told_to_wait_and_no_other_is() {
    let world = World::new();
    let (id, secret) = app(&world);
    let (other_id, other) = world.make(&["app", "register", "other", "--scope", "teams.read"]);
    let server = world.serve(&[]);
    let good = basic(&id, &secret);
    // Who does not have the client secret takes nothing away.
    for _ in 0..100 {
        assert_eq!(ask(&server, &[("Authorization", &basic(&id, &other))], GRANT).status, 401);
    }
    let issued = (0..80).filter(|_| ask(&server, &[("Authorization", &good)], GRANT).status == 200).count();
    assert_eq!(issued, 60);
    let head = world.run(&["audit", "head"]);
    let reply = ask(&server, &[("Authorization", &good)], GRANT);
    assert_eq!((reply.status, reply.json()["error"].as_str()), (429, Some("temporarily_unavailable")));
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(world.run(&["audit", "head"]), head, "nothing was written");
    assert_eq!(ask(&server, &[("Authorization", &basic(&other_id, &other))], GRANT).status, 200);
    // The store counts, so another process, or one that begins anew, knows.
    server.stop();
    let server = world.serve(&[]);
    assert_eq!(ask(&server, &[("Authorization", &good)], GRANT).status, 429);
    world.run(&["app", "token", "crm", "--quiet"]);
}

#[test]
fn a_client_is_told_which_scopes_its_app_does_not_have() {
    let world = World::new();
    let (id, secret) = app(&world);
    let server = world.serve(&[]);
    let (_, key) = world.key();
    let basic = basic(&id, &secret);
    let many: Vec<_> = (b'a'..b'm').map(|letter| format!("x{}.read", char::from(letter))).collect();
    for (scope, description) in [
        ("users.read", "the app does not have users.read"),
        (
            "teams.read users.write incidents.read incidents.write users.write",
            "the app does not have incidents.write users.write",
        ),
        (&key, "one word is no scope"),
        ("users.read * users:read", "the app does not have users.read; 2 words are no scopes"),
        (
            &many.join(" "),
            "the app does not have xa.read xb.read xc.read xd.read xe.read xf.read xg.read xh.read xi.read xj.read and 2 more",
        ),
    ] {
        let form: String =
            form_urlencoded::Serializer::new(GRANT.to_owned()).append_pair("scope", scope).finish();
        let reply = ask(&server, &[("Authorization", &basic)], &form);
        assert_eq!((reply.status, reply.json()["error"].as_str()), (400, Some("invalid_scope")));
        assert_eq!(reply.json()["error_description"], description, "{scope}");
    }
    let log = server.stop();
    assert!(!log.contains("users.write") && !log.contains(&key), "{log}");
}
