//! CORS: scripts of web pages from other origins, which ask with a preflight that carries no key.
//!
//! The gateway answers it itself, where that is switched on: whatever looks like a preflight, nothing of it reaches the
//! API.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::curl::Answer;
use crate::gateway::{Gateway, Ports};
use crate::raw;
use crate::site::Site;

behind_each_gateway!(
    a_preflight_is_denied_unless_it_is_switched_on,
    a_script_of_a_named_origin_can_use_the_api,
    a_script_of_another_origin_cannot,
    nothing_of_a_preflight_reaches_the_api,
    what_is_no_preflight_is_checked,
);

/// The origin that the configurations name.
const ORIGIN: &str = "https://app.example.com";

/// Takes out each `#` that has no blank behind it.
fn switched_on(shown: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        match line[indent..].strip_prefix('#') {
            Some(rest) if rest.starts_with(|next: char| !next.is_whitespace()) => {
                format!("{}{rest}\n", &line[..indent])
            }
            _ => format!("{line}\n"),
        }
    };
    shown.lines().map(line).collect()
}

/// The gateway as `contrib/` shows it, with its lines for CORS.
fn with_cors(gateway: Gateway, directory: &Path, ports: Ports) -> Command {
    let command = gateway.command(directory, ports);
    let files: &[&str] = match gateway {
        Gateway::Nginx => {
            &["conf.d/api.conf", "snippets/pdkeys-location.conf", "snippets/pdkeys-server.conf"]
        }
        Gateway::Caddy => &["Caddyfile"],
        Gateway::Traefik => &["api.yml"],
        Gateway::Envoy => &["envoy.yaml"],
    };
    for file in files {
        let shown = fs::read_to_string(directory.join(file)).unwrap();
        let told = switched_on(&shown);
        assert_ne!(told, shown, "{file} has no such lines");
        fs::write(directory.join(file), told).unwrap();
    }
    command
}

fn site_with_cors(gateway: Gateway) -> Site {
    Site::configured(gateway, |directory, ports| with_cors(gateway, directory, ports), "http://127.0.0.1")
}

/// What a browser asks before a script's request with a key.
fn preflight(site: &Site, origin: &str, method: &str) -> Answer {
    let request = site.get("/incidents/PT4KHLK").method("OPTIONS").header("Origin", origin);
    request
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type")
        .send()
}

/// Whether a browser lets a script from an origin read an answer: one header says so, once.
fn can_read(answer: &Answer, origin: &str) -> bool {
    let name = "access-control-allow-origin";
    let told = answer.header_names().filter(|other| *other == name).count();
    assert!(told <= 1, "{answer:?}");
    answer.header(name).is_some_and(|allowed| allowed == origin || allowed == "*")
}

/// The elements of a header's value, in lower case.
fn list(answer: &Answer, name: &str) -> Vec<String> {
    let value = answer.header(name).unwrap_or_default();
    value.split(',').map(|element| element.trim().to_lowercase()).collect()
}

fn a_preflight_is_denied_unless_it_is_switched_on(gateway: Gateway) {
    let site = Site::behind(gateway);
    let answer = preflight(&site, ORIGIN, "PUT");
    assert_eq!((answer.status, can_read(&answer, ORIGIN)), (401, false), "{answer:?}");
    assert_eq!(site.api.requests(), 0);
}

fn a_script_of_a_named_origin_can_use_the_api(gateway: Gateway) {
    let mut site = site_with_cors(gateway);
    let full = site.account.make(&["create", "app", "--rate-limit", "3/min"]);
    let read_only = site.account.make(&["create", "board", "--read-only"]);

    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let answer = preflight(&site, ORIGIN, method);
        assert!([200, 204].contains(&answer.status), "{answer:?}");
        assert!(can_read(&answer, ORIGIN), "{answer:?}");
        assert!(list(&answer, "access-control-allow-methods").contains(&method.to_lowercase()), "{answer:?}");
        let headers = list(&answer, "access-control-allow-headers");
        assert!(["authorization", "content-type"].iter().all(|name| headers.contains(&(*name).to_owned())));
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer:?}");
        assert_eq!(answer.header("access-control-max-age"), Some("600"), "{answer:?}");
    }
    assert_eq!(site.api.requests(), 0);

    let script = |method: &str, key: &str| {
        site.get("/incidents/PT4KHLK").method(method).header("Origin", ORIGIN).key(key).send()
    };
    let readable = |answer: &Answer| {
        assert!(can_read(answer, ORIGIN), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer:?}");
        let exposed = list(answer, "access-control-expose-headers");
        assert!(exposed.contains(&"ratelimit-remaining".to_owned()), "{answer:?}");
    };
    // The API of these tests answers scripts of its own accord; the gateway speaks for it.
    let answer = script("PUT", &full.secret);
    readable(&answer);
    assert!(list(&answer, "vary").contains(&"origin".to_owned()), "{answer:?}");
    let reached = answer.reached();
    assert_eq!(reached.header("x-pdkeys-key-id"), Some(full.id.as_str()), "{reached:?}");
    assert_eq!(script("GET", &full.secret).status, 200);
    assert_eq!(script("DELETE", &full.secret).status, 200);
    // What is denied can be read too, so that the script learns why.
    for (method, key, status) in [
        ("GET", "y_NbAkKc66ryYTWUXYEu", 401),
        ("PUT", read_only.secret.as_str(), 403),
        ("GET", full.secret.as_str(), 429),
    ] {
        let answer = script(method, key);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.json()["error"].is_object(), "{answer:?}");
        readable(&answer);
    }
    site.pdkeys.kill();
    let answer = site.get("/incidents").header("Origin", ORIGIN).key(&full.secret).send();
    assert_eq!(answer.status, gateway.status_without_pdkeys(), "{answer:?}");
    assert!(can_read(&answer, ORIGIN), "{answer:?}");
}

fn a_script_of_another_origin_cannot(gateway: Gateway) {
    let site = site_with_cors(gateway);
    let key = site.account.make(&["create", "app"]);
    for origin in [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://appxexample.com",
        "null",
    ] {
        let answer = preflight(&site, origin, "GET");
        assert!(!can_read(&answer, origin), "{origin}: {answer:?}");
        let answer = site.get("/incidents").header("Origin", origin).key(&key.secret).send();
        assert!(!can_read(&answer, origin), "{origin}: {answer:?}");
    }
    let seen = site.api.seen();
    assert!(seen.iter().all(|seen| seen == "GET /incidents"), "{seen:?}");
}

/// The two headers that make an OPTIONS a preflight.
const PREFLIGHT: [(&str, &str); 2] = [("Origin", ORIGIN), ("Access-Control-Request-Method", "DELETE")];

fn nothing_of_a_preflight_reaches_the_api(gateway: Gateway) {
    let site = site_with_cors(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let authorization = format!("Token token={}", key.secret);
    let more: &[&[(&str, &str)]] = &[
        &[],
        &[("X-HTTP-Method-Override", "DELETE")],
        &[("X-Method-Override", "DELETE")],
        &[("X-Original-URL", "/users")],
        &[("X-Pdkeys-Role", "owner"), ("X-Pdkeys-Access", "full")],
        &[("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")],
        &[("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")],
        &[("Authorization", &authorization)],
        &[("Access-Control-Request-Method", "GET")],
        &[("Origin", "https://evil.example")],
    ];
    for more in more {
        let answer = raw::ask(site.port, "OPTIONS", "/incidents/PT4KHLK", &[&PREFLIGHT[..], more].concat());
        assert!(answer.status != 101, "{more:?}: {answer:?}");
    }
    let request = site.get("/incidents/PT4KHLK").method("OPTIONS").body(r#"{"incident":{}}"#);
    let request = PREFLIGHT.iter().fold(request, |request, (name, value)| request.header(name, value));
    assert!(request.send().status < 500);
    // A request behind it on the same connection is one of its own.
    let mut connection = raw::Raw::connect(site.port);
    connection.send(
        "OPTIONS /incidents HTTP/1.1\r\nHost: api\r\nOrigin: https://app.example.com\r\n\
         Access-Control-Request-Method: GET\r\nContent-Length: 4\r\n\r\nbody\
         DELETE /incidents HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n",
    );
    let said = connection.read_until(|_| false);
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || !said.contains(r#""method""#), "{said}");
    assert_eq!(site.api.seen(), [""; 0]);
}

fn what_is_no_preflight_is_checked(gateway: Gateway) {
    let site = site_with_cors(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let origin = PREFLIGHT[0];
    let wanted = PREFLIGHT[1];
    for (method, lines) in [
        ("OPTIONS", vec![]),
        ("OPTIONS", vec![origin]),
        ("OPTIONS", vec![wanted]),
        ("OPTIONS", vec![origin, ("Access_Control_Request_Method", "GET")]),
        ("OPTIONS", vec![origin, ("Access-Control-Request_Method", "GET")]),
        ("OPTIONS", vec![origin, ("Access~Control~Request~Method", "GET")]),
        ("OPTIONS", vec![("X-Origin", ORIGIN), wanted]),
        ("GET", vec![origin, wanted]),
        ("POST", vec![origin, wanted]),
        ("DELETE", vec![origin, wanted, ("X-HTTP-Method-Override", "OPTIONS")]),
        ("options", vec![origin, wanted]),
        ("OPTIONSS", vec![origin, wanted]),
    ] {
        let answer = raw::ask(site.port, method, "/incidents", &lines);
        assert!([400, 401, 405].contains(&answer.status), "{method} {lines:?}: {answer:?}");
    }
    assert_eq!(site.api.seen(), [""; 0]);
    let answer = site.get("/incidents").method("OPTIONS").key(&key.secret).send();
    let reached = answer.reached();
    assert_eq!((reached.method.as_str(), reached.header("x-pdkeys-access")), ("OPTIONS", Some("full")));
}
