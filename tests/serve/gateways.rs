//! `/auth`: what gateways ask, and how they are answered.

use crate::http::{Headers, Reply};
use crate::world::World;

const NGINX: [(&str, &str); 2] = [("X-Original-Method", "GET"), ("X-Original-URI", "/incidents?limit=1")];
const FORWARDED: [(&str, &str); 2] =
    [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/incidents?limit=1")];
const ABOUT_THE_KEY: [&str; 7] = [
    "x-pdkeys-key-id",
    "x-pdkeys-kind",
    "x-pdkeys-access",
    "x-pdkeys-user",
    "x-pdkeys-role",
    "x-pdkeys-scopes",
    "x-pdkeys-service",
];

fn about_the_key(reply: &Reply) -> [String; 7] {
    ABOUT_THE_KEY.map(|name| reply.header(name).unwrap_or_else(|| panic!("no {name}")).to_owned())
}

#[test]
fn each_family_of_headers_is_understood_and_so_is_envoy() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    let authorization = format!("Token token={key}");
    let with_key = |headers: &[(&str, &str)], target: &str| {
        let headers = [headers, &[("Authorization", authorization.as_str())]].concat();
        server.ask("GET", target, &headers, "")
    };
    for reply in
        [with_key(&NGINX, "/auth"), with_key(&FORWARDED, "/auth"), with_key(&[], "/auth/incidents?limit=1")]
    {
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-length"), Some("0"));
        assert_eq!(
            about_the_key(&reply),
            [id.as_str(), "general", "full", "", "", "", ""].map(str::to_owned)
        );
        assert_eq!(reply.header("x-pdkeys-body"), None, "it is for nginx alone");
    }
}

#[test]
fn none_or_half_a_family_or_both_or_a_repeated_header_is_ambiguous() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let authorization = format!("Token token={key}");
    let key = ("Authorization", authorization.as_str());
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("/auth", &[key]),
        ("/auth", &[key, NGINX[0]]),
        ("/auth", &[key, NGINX[1]]),
        ("/auth", &[key, FORWARDED[0]]),
        ("/auth", &[key, FORWARDED[1]]),
        ("/auth", &[key, NGINX[0], NGINX[1], FORWARDED[0], FORWARDED[1]]),
        ("/auth", &[key, NGINX[0], NGINX[1], FORWARDED[1]]),
        ("/auth", &[key, NGINX[0], FORWARDED[1]]),
        ("/auth", &[key, NGINX[0], NGINX[0], NGINX[1]]),
        ("/auth", &[key, NGINX[0], NGINX[1], NGINX[1]]),
        ("/auth", &[key, key, NGINX[0], NGINX[1]]),
        ("/auth", &[key, NGINX[0], NGINX[1], ("X-HTTP-Method-Override", "GET")]),
        ("/auth", &[key, NGINX[0], NGINX[1], ("X-HTTP-Method", "DELETE")]),
        ("/auth", &[key, NGINX[0], NGINX[1], ("x-method-override", "DELETE")]),
        ("/auth/incidents", &[key, NGINX[0], NGINX[1]]),
        ("/auth/incidents", &[key, FORWARDED[1]]),
        ("/auth/incidents", &[key, ("X-Method-Override", "DELETE")]),
        ("/auth/incidents", &[key, key]),
        ("/auth/incidents", &[key, ("X-Rewrite-URL", "/users")]),
        ("/auth/incidents", &[key, ("X~HTTP~Method~Override", "DELETE")]),
        ("/auth/incidents", &[key, ("X-Pdkeys-Role", "owner")]),
        ("/auth/incidents", &[key, ("X`Pdkeys.Role", "owner")]),
    ];
    for (target, headers) in cases {
        let reply = server.ask("GET", target, headers, "");
        assert_eq!(reply.status, 400, "{target} {headers:?}");
        assert_eq!(about_the_key(&reply), [const { String::new() }; 7]);
    }
    let log = server.stop();
    assert_eq!(log.matches("reason=\"ambiguous-request\"").count(), cases.len(), "{log}");
}

#[test]
fn a_pinned_gateway_is_the_only_one_that_is_understood() {
    let world = World::new();
    let (_, key) = world.key();
    let authorization = format!("Token token={key}");
    let key = ("Authorization", authorization.as_str());
    for pinned in ["nginx", "forwarded", "envoy"] {
        let server = world.serve(&["--gateway", pinned]);
        for (gateway, target, headers) in [
            ("nginx", "/auth", vec![key, NGINX[0], NGINX[1]]),
            ("forwarded", "/auth", vec![key, FORWARDED[0], FORWARDED[1]]),
            ("envoy", "/auth/incidents", vec![key]),
        ] {
            let expected = if gateway == pinned { 200 } else { 400 };
            assert_eq!(server.ask("GET", target, &headers, "").status, expected, "{gateway} at {pinned}");
        }
    }
}

#[test]
fn what_nginx_does_not_see_of_an_answer_comes_in_headers_and_only_to_nginx() {
    let world = World::new();
    let server = world.serve(&["--gateway", "nginx"]);
    let reply = server.ask("GET", "/auth", &NGINX, "");
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("x-pdkeys-status"), Some("401"));
    assert_eq!(reply.header("x-pdkeys-body"), Some(reply.body.as_str()));
    assert_eq!(reply.body, r#"{"error":{"message":"Unauthorized","code":2006}}"#);
}

#[test]
fn every_401_looks_the_same_to_a_client() {
    let world = World::new();
    let (id, disabled) = world.key();
    world.run(&["disable", &id, "--yes"]);
    let (removed_id, removed) = world.key();
    world.run(&["remove", &removed_id, "--yes"]);
    let server = world.serve(&[]);
    let unknown = "y_NbAkKc66ryYTWUXYEu";
    let replies: Vec<_> = [disabled.as_str(), &removed, unknown, "nonsense", ""]
        .map(|key| server.auth(key, "GET", "/incidents"))
        .into_iter()
        .map(|reply| {
            let headers: Vec<_> = reply.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
            (reply.status, headers, reply.body)
        })
        .collect();
    assert_eq!(replies[0].0, 401);
    for reply in &replies {
        assert_eq!(reply, &replies[0]);
    }
}

#[test]
fn the_answer_is_the_one_that_the_api_would_give() {
    let world = World::new();
    let (_, read_only) = world.make(&["create", "reader", "--read-only"]);
    let (_, scoped) = world.make(&["create", "scoped", "--scope", "teams.read"]);
    let (_, slow) = world.make(&["create", "slow", "--rate-limit", "1/min"]);
    let server = world.serve(&[]);
    let denied = server.auth(&read_only, "POST", "/incidents");
    assert_eq!(
        (denied.status, denied.body.as_str()),
        (403, r#"{"error":{"message":"Access Denied","code":2010}}"#)
    );
    assert_eq!(denied.header("ratelimit-limit"), Some("960"));
    assert_eq!(denied.header("ratelimit-remaining"), Some("959"));
    let denied = server.auth(&scoped, "GET", "/incidents");
    assert_eq!(denied.status, 403);
    assert_eq!(denied.json()["error"]["required_scopes"], "incidents.read");
    assert_eq!(server.auth(&slow, "GET", "/incidents").status, 200);
    let denied = server.auth(&slow, "GET", "/incidents");
    assert_eq!((denied.status, denied.header("ratelimit-remaining")), (429, Some("0")));
    assert_eq!(denied.body, r#"{"error":{"message":"Rate Limit Exceeded","code":2020}}"#);
    assert_eq!(server.auth(&read_only, "GET", "/incidents//x").status, 400);
    let no_user = server.auth(&read_only, "GET", "/users/me");
    assert_eq!(no_user.status, 400);
    assert!(
        no_user.json()["error"]
            .as_str()
            .unwrap()
            .starts_with("Because this request was made using an account")
    );
    world.run(&["account", "set", "--rest-api", "off", "--yes"]);
    assert_eq!(server.auth(&read_only, "GET", "/incidents").status, 402);
}

#[test]
fn the_api_is_told_whose_key_it_is() {
    let world = World::new();
    let (token, secret) = world.make(&["token", "create", "mine"]);
    let server = world.serve(&[]);
    let [id, kind, access, user, role, scopes, service] =
        about_the_key(&server.auth(&secret, "GET", "/users/me"));
    assert_eq!((id, kind.as_str(), role.as_str()), (token, "user-token", "owner"));
    assert_eq!(access, "role");
    assert!(user.starts_with('U') && user.len() == 9, "{user}");
    assert_eq!((scopes.as_str(), service.as_str()), ("", ""));
    let (_, narrow) = world.make(&["create", "k", "--scope", "teams.read", "--scope", "incidents.read"]);
    let [_, _, access, _, _, scopes, _] = about_the_key(&server.auth(&narrow, "GET", "/teams"));
    assert_eq!((access.as_str(), scopes.as_str()), ("scopes", "incidents.read teams.read"));
    let (_, narrow) = world.make(&["token", "create", "script", "--scope", "teams.read"]);
    let [_, _, access, _, role, scopes, _] = about_the_key(&server.auth(&narrow, "GET", "/teams"));
    assert_eq!([access, role, scopes], ["role-scopes", "owner", "teams.read"]);
}

#[test]
fn every_upgrade_but_a_websocket_is_denied_with_a_reason_of_its_own() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let authorization = format!("Token token={key}");
    let key = ("Authorization", authorization.as_str());
    let upgrade = |value| [("Connection", "Upgrade"), ("Upgrade", value)];
    let (h2c, websocket) = (upgrade("h2c"), upgrade("websocket"));
    let cases: &[(&str, &str, Headers<'_>)] = &[
        ("GET", "/auth", &[key, NGINX[0], NGINX[1], h2c[0], h2c[1]]),
        ("GET", "/auth", &[key, FORWARDED[0], FORWARDED[1], h2c[0], h2c[1]]),
        ("GET", "/auth/incidents", &[key, h2c[0], h2c[1]]),
        ("GET", "/auth/incidents", &[key, h2c[1]]),
        ("GET", "/auth/incidents", &[key, ("UPGRADE", "TLS/1.0")]),
        ("GET", "/auth/incidents", &[key, websocket[1], h2c[1]]),
        ("GET", "/auth/incidents", &[key, ("Upgrade", "websocket,h2c")]),
        ("GET", "/auth/incidents", &[key, ("HTTP2-Settings", "AAMAAABk")]),
        ("POST", "/auth/incidents", &[key, websocket[0], websocket[1]]),
        ("POST", "/auth/v2/enqueue", &[("X-Routing-Key", "abc"), h2c[0], h2c[1]]),
    ];
    for (method, target, headers) in cases {
        let reply = server.ask(method, target, headers, "");
        assert_eq!(reply.status, 400, "{target} {headers:?}");
        assert_eq!(about_the_key(&reply), [const { String::new() }; 7]);
    }
    assert_eq!(server.ask("GET", "/auth/incidents", &[key, websocket[0], websocket[1]], "").status, 200);
    let metrics = server.get("/metrics").body;
    let counted = format!("pdkeys_verdicts_total{{api=\"rest\",reason=\"upgrade\"}} {}", cases.len());
    assert!(metrics.contains(&counted), "{metrics}");
    let log = server.stop();
    assert_eq!(log.matches("reason=\"upgrade\"").count(), cases.len(), "{log}");
}

#[test]
fn a_key_that_was_disabled_is_refused_at_the_very_next_request() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    for _ in 0..5 {
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200);
        world.run(&["disable", &id, "--yes"]);
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 401);
        world.run(&["enable", &id]);
    }
}

#[test]
fn only_documented_credentials_are_taken_unless_asked_for() {
    let world = World::new();
    let (_, key) = world.key();
    let ask = |options: &[&str], name: &str, value: &str| {
        world.serve(options).ask("GET", "/auth/incidents", &[(name, value)], "").status
    };
    let (bearer, token) = (format!("Bearer {key}"), format!("Token token={key}"));
    assert_eq!(ask(&[], "Authorization", &token), 200);
    for stock in [format!("Token token=\"{key}\""), format!("Token {key}"), format!("token   token={key}")] {
        assert_eq!(ask(&[], "Authorization", &stock), 200, "{stock}");
    }
    assert_eq!(ask(&[], "Authorization", &bearer), 401);
    assert_eq!(ask(&[], "Authorization", &key), 401);
    assert_eq!(ask(&[], "X-Api-Key", &key), 401);
    assert_eq!(ask(&["--bearer-keys"], "Authorization", &bearer), 200);
    assert_eq!(ask(&["--bearer-keys"], "Authorization", &token), 200);
    assert_eq!(ask(&["--header", "X-Api-Key"], "x-api-key", &key), 200);
    assert_eq!(ask(&["--header", "X-Api-Key"], "x-api-key", &token), 401);
    assert_eq!(ask(&["--header", "X-Api-Key"], "Authorization", &token), 401, "it is read instead");
    let server = world.serve(&["--header", "X-Api-Key"]);
    let twice = [("X-Api-Key", key.as_str()), ("X-Api-Key", key.as_str())];
    assert_eq!(server.ask("GET", "/auth/incidents", &twice, "").status, 400);
}

#[test]
fn a_header_that_means_something_else_holds_no_key() {
    let world = World::new();
    for name in [
        "Authorization",
        "Host",
        "Content-Length",
        "X-Forwarded-Uri",
        "X-Pdkeys-Key-Id",
        "X_Forwarded_Uri",
        "X-Rewrite-URL",
        "a b",
        "",
    ] {
        let (code, said) = world.serve_fails(&["--header", name]);
        assert_eq!(code, Some(2), "{name}: {said}");
    }
    let (code, _) = world.serve_fails(&["--header", "X-Api-Key", "--bearer-keys"]);
    assert_eq!(code, Some(2));
}
