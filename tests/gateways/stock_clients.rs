//! Clients of PagerDuty's API as they come, pointed at the gateway.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Gateway, Ports};
use crate::installed;
use crate::programs::{caddy, shown};
use crate::site::{Account, Site};

/// What the client scripts are told of.
fn credentials(account: &Account) -> Value {
    let make = |arguments: &[&str]| account.make(arguments).secret;
    account.run(&["service", "create", "checkout", "--quiet"]);
    account.run(&["account", "set", "--subdomain", "acme", "--quiet"]);
    let (client_id, client_secret) = account.register(["incidents.read", "users.read"]);
    json!({
        "full": make(&["create", "deploy"]),
        "read_only": make(&["create", "board", "--read-only"]),
        "scoped": make(&["create", "pager", "--scope", "incidents.read"]),
        "limited": make(&["create", "crawler", "--rate-limit", "1/min"]),
        "user": make(&["token", "create", "laptop"]),
        "unknown": "y_NbAkKc66ryYTWUXYEu",
        "integration": make(&["integration", "create", "--service", "checkout", "--type", "events-api-v2", "--name", "alerts"]),
        "unknown_integration": "0123456789abcdef0123456789abcdef",
        "client_id": client_id,
        "client_secret": client_secret,
    })
}

/// Runs a script of `tests/gateways/clients`, and gives what it saw.
fn run(mut command: Command, url: &str, credentials: &Value) -> Value {
    let output = command
        .env("PDKEYS_URL", url)
        .env("PDKEYS_CREDENTIALS", credentials.to_string())
        .env_remove("PYTHONPATH")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/clients").join(name)
}

fn python(name: &str) -> Command {
    let mut command = Command::new(installed::python("python3"));
    command.arg("-B").arg(script(name));
    command
}

#[test]
fn pdpyras_understands_every_answer() {
    let site = Site::behind(Gateway::Nginx);
    let credentials = credentials(&site.account);
    let url = format!("http://127.0.0.1:{}", site.port);
    let seen = run(python("pdpyras_client.py"), &url, &credentials);
    assert_eq!(
        seen,
        json!({
            "incidents": 200,
            "account_or_user": ["account", "user"],
            "unknown": [401, 2006],
            "no_ability": null,
            "read_only": [403, 2010],
            "scoped": [403, "Token missing required scopes", "incidents.write"],
            "limited": [200, 429, 2020],
        })
    );
    site.account.run(&["account", "set", "--rest-api", "off"]);
    let seen = run(python("pdpyras_client.py"), &url, &credentials);
    assert_eq!(seen["no_ability"], json!([402, 2014]));
}

#[test]
fn pdpyras_sends_events() {
    let site = Site::behind(Gateway::Envoy);
    let credentials = credentials(&site.account);
    let seen = run(python("pdpyras_events.py"), &format!("http://127.0.0.1:{}", site.port), &credentials);
    let too_short = "Length of 'routing_key' is incorrect (should be 32 characters)";
    assert_eq!(seen["integration"], json!([200, null]));
    assert_eq!(seen["unknown_integration"], json!([400, ["Invalid routing key"]]));
    assert_eq!((&seen["full"][0], &seen["full"][1][0]), (&json!(400), &json!(too_short)));
    assert_eq!(site.api.seen(), ["POST /v2/enqueue"]);
}

#[test]
fn pdjs_understands_every_answer() {
    let site = Site::behind(Gateway::Traefik);
    let credentials = credentials(&site.account);
    let mut command = Command::new(installed::system("node"));
    command.arg(script("pdjs_client.cjs")).env("NODE_PATH", installed::beside_the_build("node/node_modules"));
    let seen = run(command, &format!("http://127.0.0.1:{}", site.port), &credentials);
    assert_eq!(
        seen,
        json!({
            "incidents": 200,
            "user": 200,
            "account": [400, "string"],
            "unknown": [401, 2006],
            "read_only": [403, 2010],
            "scoped": [403, "incidents.write"],
            "limited": [200, 429, 2020],
        })
    );
}

/// The newer client speaks HTTPS alone. So Caddy gets a name, for which it makes a certificate of its own.
#[test]
fn the_pagerduty_client_understands_every_answer_over_https() {
    let with_a_name = |directory: &Path, ports: Ports| {
        let shown = shown("contrib/caddy/Caddyfile").replace(":8000 {", "https://localhost:8000 {");
        caddy(directory, &ports.put_into(&shown))
    };
    let site = Site::configured(Gateway::Caddy, with_a_name, "https://localhost");
    let credentials = credentials(&site.account);
    let authority = site.account.home().join("gateway/caddy/pki/authorities/local/root.crt");
    assert!(fs::metadata(&authority).is_ok_and(|file| file.len() > 0), "Caddy made no certificate");
    let mut command = python("pagerduty_client.py");
    command.env("PDKEYS_AUTHORITY", &authority);
    let seen = run(command, &format!("https://localhost:{}", site.port), &credentials);
    assert_eq!(
        seen,
        json!({
            "incidents": 200,
            "account_or_user": ["account", "user"],
            "unknown": [401, 2006],
            "read_only": [403, 2010],
            "scoped": [403, "Token missing required scopes", "incidents.write"],
            "limited": [200, 429, 2020],
            "app_token": {
                "scope": "as_account-us.acme incidents.read",
                "token_type": "bearer",
                "expires_in": 86400,
                "incidents": 200,
                "users": 403,
            },
            "wrong_secret": [401, "invalid_client"],
            "wrong_scope": [400, "invalid_scope"],
        })
    );
}
