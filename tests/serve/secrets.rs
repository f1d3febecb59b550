//! No secret in any log line, metric, or answer but the one that hands it over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::World;

#[test]
fn no_request_of_any_kind_puts_a_secret_into_the_log_or_the_metrics() {
    let world = World::new();
    let (id, general) = world.make(&["create", "general", "--read-only"]);
    let (_, token) = world.make(&["token", "create", "token"]);
    let (client, client_secret) = world.make(&["app", "register", "crm", "--scope", "teams.read"]);
    world.run(&["service", "create", "shop"]);
    let (_, integration) =
        world.make(&["integration", "create", "--service", "shop", "--type", "events-api-v2", "--name", "i"]);
    let server = world.serve(&["--gateway", "envoy"]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let grant = format!("grant_type=client_credentials&client_id={client}&client_secret={client_secret}");
    let granted = server.ask("POST", "/oauth/token", &form, &grant).json();
    let app_token = granted["access_token"].as_str().unwrap().to_owned();
    let secrets = [&general, &token, &client_secret, &integration, &app_token];
    let mut answers = Vec::new();
    for secret in secrets {
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}x")));
        for value in [format!("Token token={secret}"), format!("Bearer {secret}"), secret.clone(), basic] {
            let headers = [("Authorization", value.as_str())];
            for (method, target) in [
                ("GET", "/auth/teams".to_owned()),
                ("POST", "/auth/teams".to_owned()),
                ("GET", format!("/auth/{secret}?key={secret}")),
                ("DELETE", format!("/{secret}")),
                ("POST", "/oauth/token".to_owned()),
            ] {
                answers.push(server.ask(method, &target, &headers, ""));
            }
        }
        for body in [
            format!(r#"{{"key": "{secret}", "method": "POST", "path": "/teams/{secret}"}}"#),
            format!(r#"{{"key": "{secret}", "method": "{secret}", "path": "/{secret}", "api": "{secret}"}}"#),
            format!(r#"{{"{secret}": 1, "{secret}": 1}}"#),
            format!("[{secret}]"),
            secret.clone(),
        ] {
            answers.push(server.ask("POST", "/verify", &[], &body));
        }
        for body in [
            format!(r#"{{"routing_key": "{secret}"}}"#),
            format!(r#"{{"routing_key": "{secret}", "routing_key": "{secret}"}}"#),
        ] {
            answers.push(server.ask("POST", "/auth/v2/enqueue", &[("X-Routing-Key", secret)], &body));
            answers.push(server.ask("POST", &format!("/auth/integration/{secret}/enqueue"), &[], ""));
        }
        answers.push(server.ask("POST", "/oauth/token", &form, &format!("{grant}{secret}&scope={secret}")));
        let mut raw = server.connect();
        let _ = raw.send(format!("GET /{secret} {secret}\r\n{secret}\r\n\r\n"));
        raw.reply();
    }
    world.run(&["disable", &id, "--yes"]);
    server.auth(&general, "GET", "/teams");
    let answers = format!("{answers:?}");
    let metrics = server.get("/metrics").body;
    let log = server.stop();
    assert!(log.matches("denied").count() > 20, "{log}");
    for secret in secrets {
        for (place, text) in [("log", &log), ("metrics", &metrics), ("answers", &answers)] {
            assert!(!text.contains(secret.as_str()), "a secret is in the {place}");
        }
    }
    let database = ["keys.db", "keys.db-wal", "keys.usage.db", "keys.usage.db-wal"];
    for file in database {
        let bytes = std::fs::read(world.file(file)).unwrap_or_default();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {file}");
        }
    }
}
