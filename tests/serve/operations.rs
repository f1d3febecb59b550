//! What operators see: health, readiness, metrics, the log.

use crate::world::World;

#[test]
fn it_is_alive_and_ready() {
    let world = World::new();
    let server = world.serve(&[]);
    assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
    assert_eq!(server.ask("POST", "/healthz", &[], "").status, 405);
    assert_eq!(server.get("/").status, 404);
    assert_eq!(server.get("/authentic").status, 404);
}

#[test]
fn metrics_count_verdicts_by_reason_and_name_no_key() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    for _ in 0..3 {
        server.auth(&key, "GET", "/incidents");
    }
    server.auth("nonsense", "GET", "/incidents");
    server.ask("POST", "/auth/v2/enqueue", &[], "");
    let metrics = server.get("/metrics").body;
    for line in [
        r#"pdkeys_verdicts_total{api="rest",reason="allowed"} 3"#,
        r#"pdkeys_verdicts_total{api="rest",reason="malformed"} 1"#,
        r#"pdkeys_verdicts_total{api="events-v2",reason="missing"} 1"#,
        "pdkeys_check_seconds_count 5",
        "pdkeys_store_errors_total 0",
        "pdkeys_store_usable 1",
        "pdkeys_counts_written 1",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
    assert!(metrics.contains(&format!("pdkeys_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    assert!(!metrics.contains(&id) && !metrics.contains(&key));
    server.wait_until("those who have gone are not connected", |server| {
        server.get("/metrics").body.contains("pdkeys_connections 1\n")
    });
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn metrics_and_health_can_have_an_address_of_their_own() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve_with(&["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"], 2);
    let mut operators = crate::http::Client::connect(&server.addresses[1]);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(operators.ask("GET", path, &[], "").status, 200, "{path}");
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(operators.ask("GET", "/auth/incidents", &[], "").status, 404);
    assert_eq!(server.auth(&key, "GET", "/incidents").status, 200);
}

#[test]
fn the_log_has_a_line_for_each_denied_request_and_none_for_an_allowed_one() {
    let world = World::new();
    let (id, key) = world.make(&["create", "reader", "--read-only"]);
    let server = world.serve(&["--log-format", "json"]);
    server.auth(&key, "GET", "/incidents/PABC/notes?secret=in-the-query");
    server.auth(&key, "POST", "/incidents/PABC/notes?secret=in-the-query");
    let log = server.stop();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["listening", "denied", "stopping", "stopped"]);
    let denied = &lines[1];
    assert_eq!(denied["reason"], "read-only");
    assert_eq!(denied["status"], 403);
    assert_eq!(denied["key"], id.as_str());
    assert_eq!(denied["kind"], "general");
    assert_eq!(denied["operation"], "createIncidentNote");
    assert!(!log.contains("PABC") && !log.contains("in-the-query"), "{log}");
}

#[test]
fn a_flood_of_denials_does_not_fill_the_log() {
    let world = World::new();
    let server = world.serve(&[]);
    let mut client = server.connect();
    for _ in 0..2_000 {
        assert_eq!(client.ask("GET", "/auth/incidents", &[], "").status, 401);
    }
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    client.ask("GET", "/auth/incidents", &[], "");
    let log = server.stop();
    let told = log.matches("denied reason=").count();
    assert!(told < 2_000, "{told}");
    assert!(log.contains("more requests were denied suppressed="), "{log}");
}

#[test]
fn quiet_means_warnings_alone() {
    let world = World::new();
    let output = {
        let mut command = world.command(&["serve", "--quiet", "--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        std::io::read_to_string(child.stderr.take().unwrap()).unwrap()
    };
    assert_eq!(output, "");
}
