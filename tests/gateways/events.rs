//! Events, whose key stands in the body, the path or a header.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::site::{Key, Site};

fn with_integration(gateway: Gateway) -> (Site, Key) {
    let site = Site::behind(gateway);
    site.account.run(&["service", "create", "checkout", "--quiet"]);
    let key = site.account.make(&[
        "integration",
        "create",
        "--service",
        "checkout",
        "--type",
        "events-api-v2",
        "--name",
        "alerts",
    ]);
    (site, key)
}

fn invalid(error: &str) -> Value {
    json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] })
}

fn event(key: &str) -> String {
    json!({ "routing_key": key, "event_action": "trigger", "payload": { "summary": "disk full" } })
        .to_string()
}

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";
const TOO_SHORT: &str = "Length of 'routing_key' is incorrect (should be 32 characters)";

#[test]
fn envoy_shows_pdkeys_the_body_of_an_event() {
    let (site, key) = with_integration(Gateway::Envoy);
    let send = |target: &str, body: String| {
        site.post(target).header("Content-Type", "application/json").body(body).send()
    };
    for target in ["/v2/enqueue", "/v2/change/enqueue"] {
        let reached = send(target, event(&key.secret)).reached();
        assert_eq!(reached.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{reached:?}");
        assert_eq!(reached.header("x-pdkeys-kind"), Some("integration"), "{reached:?}");
        assert!(reached.header("x-pdkeys-service").is_some_and(|service| !service.is_empty()), "{reached:?}");
        assert_eq!(reached.length, event(&key.secret).len());
    }
    let v1 = "/generic/2010-04-15/create_event.json";
    let v1_event = |key: &str| json!({ "service_key": key, "event_type": "trigger" }).to_string();
    assert_eq!(send(v1, v1_event(&key.secret)).reached().target, v1);
    let before = site.api.requests();

    let answer = send("/v2/enqueue", event(UNKNOWN));
    assert_eq!((answer.status, answer.json()), (400, invalid("Invalid routing key")));
    let answer = send("/v2/enqueue", event("abc"));
    assert_eq!((answer.status, answer.json()), (400, invalid(TOO_SHORT)));
    let answer = send(v1, v1_event("abc"));
    let too_short = invalid("Service key is the wrong length (should be 32 characters)");
    assert_eq!((answer.status, answer.json()), (400, too_short));
    let general = site.account.make(&["create", "deploy"]);
    for body in [
        event(&general.secret),
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        format!(r#"{{"routing_key":"{UNKNOWN}","routing_key":"{}"}}"#, key.secret),
        format!(r#"{{"routing_key":"{}","routing_key":"{UNKNOWN}"}}"#, key.secret),
    ] {
        let answer = send("/v2/enqueue", body.clone());
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(site.api.requests(), before);
    // What Envoy would send on without its body is not allowed by a key elsewhere, and never in another spelling.
    let in_path = format!("/integration/{}/enqueue", key.secret);
    let reached = send(&in_path, json!({ "event_action": "trigger" }).to_string()).reached();
    assert_eq!(reached.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{reached:?}");
    let before = site.api.requests();
    for target in [in_path.as_str(), "/v2/%65nqueue", "/v2/Enqueue", &in_path.replace("enqueue", "%65nqueue")]
    {
        let answer = site.post(target).header("X-Routing-Key", &key.secret).body(event(UNKNOWN)).send();
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
    }
    let two = site.post("/v2/enqueue").header("X-Routing-Key", UNKNOWN).body(event(&key.secret)).send();
    assert_eq!(two.status, 400, "{two:?}");
    // More than pdkeys is shown is not shown in part.
    let large = site.post("/v2/enqueue").body(vec![b' '; 1 << 20]).send();
    assert_eq!(large.status, 413, "{large:?}");
    assert_eq!(site.api.requests(), before);
}

fn key_in_front_of_the_body(gateway: Gateway) {
    let (site, key) = with_integration(gateway);
    let event = || json!({ "event_action": "trigger" }).to_string();
    for target in ["/v2/enqueue", "/v2/change/enqueue"] {
        let reached = site.post(target).header("X-Routing-Key", &key.secret).body(event()).send().reached();
        assert_eq!(reached.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{reached:?}");
        assert_eq!(reached.length, event().len());
    }
    let target = format!("/integration/{}/enqueue", key.secret);
    assert_eq!(site.post(&target).body(event()).send().reached().target, target);
    let before = site.api.requests();

    let answer = site.post(&format!("/integration/{UNKNOWN}/enqueue")).body(event()).send();
    assert_eq!((answer.status, answer.json()), (400, invalid("Invalid routing key")));
    let answer = site.post("/v2/enqueue").header("X-Routing-Key", "abc").body(event()).send();
    assert_eq!((answer.status, answer.json()), (400, invalid(TOO_SHORT)));
    let answer = site.post("/v2/enqueue").body(event()).send();
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = site.post(&target).header("X-Routing-Key", UNKNOWN).body(event()).send();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(site.api.requests(), before);

    site.account.run(&["integration", "remove", &key.id, "--yes", "--quiet"]);
    let answer = site.post(&target).body(event()).send();
    assert_eq!((answer.status, answer.json()), (400, invalid("Invalid routing key")));
}

#[test]
fn the_key_of_an_event_comes_before_the_body_through_nginx() {
    key_in_front_of_the_body(Gateway::Nginx);
}

#[test]
fn the_key_of_an_event_comes_before_the_body_through_caddy() {
    key_in_front_of_the_body(Gateway::Caddy);
}

#[test]
fn the_key_of_an_event_comes_before_the_body_through_traefik() {
    key_in_front_of_the_body(Gateway::Traefik);
}

#[test]
fn too_many_events_are_told() {
    let site = Site::behind(Gateway::Nginx);
    site.account.run(&["service", "create", "checkout", "--quiet"]);
    let create = [
        "integration",
        "create",
        "--service",
        "checkout",
        "--type",
        "events-api-v2",
        "--name",
        "alerts",
        "--rate-limit",
        "1/min",
    ];
    let key = site.account.make(&create);
    let send = || site.post("/v2/enqueue").header("X-Routing-Key", &key.secret).body("{}").send();
    assert_eq!(send().status, 200);
    let answer = send();
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.json()["status"], "throttle exceeded", "{answer:?}");
    assert_eq!(answer.header("ratelimit-limit"), Some("1"), "{answer:?}");
}
