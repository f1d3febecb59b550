//! Events through `/auth`: where their keys are found.

use crate::http::{Headers, Reply};
use crate::world::{Server, World};

fn integration(world: &World) -> String {
    world.run(&["service", "create", "shop"]);
    let (_, key) = world.make(&[
        "integration",
        "create",
        "--service",
        "shop",
        "--type",
        "events-api-v2",
        "--name",
        "pings",
    ]);
    key
}

fn event(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    server.ask("POST", &format!("/auth{path}"), headers, body)
}

#[test]
fn an_event_is_checked_by_the_key_in_its_body() {
    let world = World::new();
    let key = integration(&world);
    let server = world.serve(&["--gateway", "envoy"]);
    let v2 =
        format!(r#"{{"routing_key": "{key}", "event_action": "trigger", "payload": {{"summary": "x"}}}}"#);
    for path in ["/v2/enqueue", "/v2/change/enqueue"] {
        let reply = event(&server, path, &[], &v2);
        assert_eq!(reply.status, 200, "every gateway takes 200 for a yes, and the API gives its own status");
        assert_eq!(reply.header("x-pdkeys-kind"), Some("integration"));
        assert!(reply.header("x-pdkeys-service").unwrap().starts_with('S'));
        assert_eq!(reply.header("ratelimit-limit"), Some("120"));
    }
    let v1 = format!(r#"{{"service_key": "{key}", "event_type": "trigger"}}"#);
    assert_eq!(event(&server, "/generic/2010-04-15/create_event.json", &[], &v1).status, 200);
    let chunked = format!(
        "POST /auth/v2/enqueue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{v2}\r\n0\r\n\r\n",
        v2.len()
    );
    let mut client = server.connect();
    client.send(chunked).unwrap();
    assert_eq!(client.reply().unwrap().status, 200);
}

#[test]
fn an_event_is_checked_by_the_key_in_its_path_or_its_header_where_its_body_is_not_passed_on() {
    let world = World::new();
    let key = integration(&world);
    let server = world.serve(&[]);
    let path = format!("/integration/{key}/enqueue");
    let nginx = |path: &str, headers: &[(&str, &str)]| {
        let original = [("X-Original-Method", "POST"), ("X-Original-URI", path)];
        server.ask("GET", "/auth", &[&original, headers].concat(), "").status
    };
    assert_eq!(nginx(&path, &[]), 200);
    assert_eq!(nginx("/v2/enqueue", &[("X-Routing-Key", &key)]), 200);
    assert_eq!(nginx("/v2/enqueue", &[]), 400);
}

#[test]
fn an_event_whose_body_envoy_does_not_show_is_ambiguous() {
    let world = World::new();
    let key = integration(&world);
    let server = world.serve(&["--gateway", "envoy"]);
    let path = format!("/integration/{key}/enqueue");
    assert_eq!(event(&server, &path, &[], "{}").status, 200);
    assert_eq!(event(&server, "/v2/enqueue", &[("X-Routing-Key", &key)], "{}").status, 200);
    let in_header = [("X-Routing-Key", key.as_str())];
    let hidden: [(&str, Headers<'_>); 5] = [
        (&path, &[]),
        (&path, &in_header),
        ("/v2/enqueue", &in_header),
        ("/v2/change/enqueue", &in_header),
        ("/generic/2010-04-15/create_event.json", &in_header),
    ];
    for (path, headers) in hidden {
        assert_eq!(event(&server, path, headers, "").status, 400, "{path} {headers:?}");
    }
    let log = server.stop();
    assert_eq!(log.matches("reason=\"ambiguous-request\"").count(), hidden.len(), "{log}");
}

#[test]
fn a_path_of_events_in_another_spelling_is_ambiguous_behind_every_gateway() {
    let world = World::new();
    let key = integration(&world);
    let server = world.serve(&[]);
    let body = format!(r#"{{"routing_key": "{key}"}}"#);
    let in_path = |path: &str| path.replace("KEY", &key);
    let paths = ["/v2/%65nqueue", "/v2/Enqueue", "/%69ntegration/KEY/enqueue", "/Integration/KEY/enqueue"];
    for path in paths.map(in_path) {
        assert_eq!(event(&server, &path, &[("X-Routing-Key", &key)], &body).status, 400, "{path}");
        for [method, target] in
            [["X-Original-Method", "X-Original-URI"], ["X-Forwarded-Method", "X-Forwarded-Uri"]]
        {
            let headers = [(method, "POST"), (target, path.as_str()), ("X-Routing-Key", &key)];
            assert_eq!(server.ask("GET", "/auth", &headers, "").status, 400, "{path}");
        }
    }
    let log = server.stop();
    assert_eq!(log.matches("reason=\"ambiguous-path\"").count(), 3 * paths.len(), "{log}");
    assert!(!log.contains(&key));
}

#[test]
fn the_key_that_is_judged_is_the_only_one_that_any_reader_finds() {
    let world = World::new();
    let key = integration(&world);
    let other = "0123456789abcdef0123456789abcdef";
    let server = world.serve(&[]);
    let json = ("Content-Type", "application/json");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = |members: &str| format!(r#"{{"routing_key": "{key}", {members}}}"#);
    let v2 = "/v2/enqueue".to_owned();
    let cases: &[(String, Headers<'_>, String)] = &[
        (v2.clone(), &[json], body(&format!(r#""Routing_Key": "{other}""#))),
        (v2.clone(), &[json], body(&format!(r#""routing_key\u0000": "{other}""#))),
        (v2.clone(), &[json], body(&format!(r#""\u017fervice_key": "{other}""#))),
        (v2.clone(), &[json], body(&format!(r#""rout\u0069ng_key": "{other}""#))),
        (v2.clone(), &[form], body(&format!(r#""x": "&routing_key={other}&""#))),
        (v2.clone(), &[("Content-Type", "multipart/form-data; boundary=x")], body(r#""x": 1"#)),
        (v2.clone(), &[("Content-Type", "application/json; charset=utf-7")], body(r#""x": 1"#)),
        (v2.clone(), &[json, form], body(r#""x": 1"#)),
        (v2.clone(), &[json, json], body(r#""x": 1"#)),
        (v2.clone(), &[json, ("Content-Encoding", "gzip")], body(r#""x": 1"#)),
        (v2.clone(), &[json], format!("\u{feff}{}", body(r#""x": 1"#))),
        (format!("/v2/enqueue?routing_key={other}"), &[json], body(r#""x": 1"#)),
        (format!("/integration/{key}/enqueue?Routing%5FKey={other}"), &[json], body(r#""x": 1"#)),
        (format!("/integration/{key}/enqueue"), &[json], format!(r#"{{"Service_Key": "{other}"}}"#)),
        (format!("/integration/{key}/enqueue"), &[json], format!(r#"{{"service_key": "{other}"}}"#)),
    ];
    for (path, headers, body) in cases {
        assert_eq!(event(&server, path, headers, body).status, 400, "{path} {headers:?} {body}");
    }
    for headers in [&[json][..], &[form], &[], &[json, ("Content-Encoding", "identity")]] {
        let nested = body(&format!(r#""payload": {{"summary": "a & b", "routing_key": "{other}"}}"#));
        assert_eq!(event(&server, &v2, headers, &nested).status, 200, "{headers:?}");
    }
    let log = server.stop();
    assert_eq!(log.matches("reason=\"ambiguous-request\"").count(), cases.len(), "{log}");
}

#[test]
fn an_event_without_a_key_that_works_gets_the_answer_of_its_api() {
    let world = World::new();
    let key = integration(&world);
    let (_, rest) = world.key();
    let server = world.serve(&[]);
    let missing = event(&server, "/v2/enqueue", &[], r#"{"event_action": "trigger"}"#);
    assert_eq!((missing.status, missing.json()["status"].as_str()), (400, Some("invalid event")));
    let short = event(&server, "/v2/enqueue", &[], r#"{"routing_key": "abc"}"#);
    assert_eq!(short.json()["errors"][0], "Length of 'routing_key' is incorrect (should be 32 characters)");
    let unknown = format!(r#"{{"routing_key": "{}"}}"#, "0".repeat(32));
    assert_eq!(event(&server, "/v2/enqueue", &[], &unknown).status, 400);
    let wrong_api = format!(r#"{{"routing_key": "{rest}"}}"#);
    assert_eq!(event(&server, "/v2/enqueue", &[], &wrong_api).status, 400);
    let authorization = format!("Token token={key}");
    assert_eq!(
        event(&server, "/incidents", &[("Authorization", &authorization)], "").status,
        401,
        "an integration key does not work on the REST API"
    );
}

#[test]
fn two_keys_that_differ_or_a_member_given_twice_is_ambiguous() {
    let world = World::new();
    let key = integration(&world);
    let (_, other) = world.make(&[
        "integration",
        "create",
        "--service",
        "shop",
        "--type",
        "events-api-v2",
        "--name",
        "others",
    ]);
    let server = world.serve(&[]);
    let body = format!(r#"{{"routing_key": "{key}"}}"#);
    let twice = format!(r#"{{"routing_key": "{key}", "routing_key": "{key}"}}"#);
    let both = format!(r#"{{"routing_key": "{key}", "service_key": "{other}"}}"#);
    let path = format!("/integration/{other}/enqueue");
    let cases: [(&str, Headers<'_>, &str); 7] = [
        ("/v2/enqueue", &[("X-Routing-Key", &other)], &body),
        (&path, &[], &body),
        (&path, &[("X-Routing-Key", &key)], "{}"),
        ("/v2/enqueue", &[], &twice),
        ("/v2/enqueue", &[], &both),
        ("/v2/enqueue", &[], "not json"),
        ("/v2/enqueue", &[("X-Routing-Key", &key), ("X-Routing-Key", &key)], ""),
    ];
    for (path, headers, body) in cases {
        assert_eq!(event(&server, path, headers, body).status, 400, "{path} {headers:?} {body}");
    }
    let same = event(&server, "/v2/enqueue", &[("X-Routing-Key", &key)], &body);
    assert_eq!(same.status, 200, "the same key in two places is one key");
    let log = server.stop();
    assert_eq!(log.matches("reason=\"ambiguous-request\"").count(), cases.len(), "{log}");
}

#[test]
fn too_many_events_are_answered_as_their_api_does() {
    let world = World::new();
    world.run(&["service", "create", "shop"]);
    let (_, key) = world.make(&[
        "integration",
        "create",
        "--service",
        "shop",
        "--type",
        "events-api-v2",
        "--name",
        "pings",
        "--rate-limit",
        "1/min",
    ]);
    let server = world.serve(&[]);
    let header = [("X-Routing-Key", key.as_str())];
    assert_eq!(event(&server, "/v2/enqueue", &header, "{}").status, 200);
    assert_eq!(event(&server, "/v2/enqueue", &header, "{}").status, 429);
    assert_eq!(event(&server, "/generic/2010-04-15/create_event.json", &header, "{}").status, 403);
}
