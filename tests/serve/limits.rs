//! Bounds: how large, how slow, how many.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::http::request;
use crate::world::World;

#[test]
fn a_head_that_is_too_large_is_refused() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let authorization = format!("Token token={key}");
    let with = |length: usize| {
        let cookie = "c".repeat(length);
        let headers = [("Authorization", authorization.as_str()), ("Cookie", cookie.as_str())];
        let mut client = server.connect();
        let _ = client.send(request("GET", "/auth/incidents", &headers, ""));
        client.reply().map(|reply| reply.status)
    };
    assert_eq!(with(32 * 1024), Some(200), "as much as nginx passes on");
    assert!(matches!(with(64 * 1024), None | Some(431)));
    let many: Vec<_> = (0..200).map(|_| ("X", "y")).collect();
    assert_eq!(server.ask("GET", "/auth/incidents", &many, "").status, 431);
}

#[test]
fn a_body_that_is_too_large_is_refused_announced_or_not() {
    let world = World::new();
    let server = world.serve(&["--max-body", "100"]);
    let announced = server.ask("POST", "/verify", &[], &"x".repeat(101));
    assert_eq!(announced.status, 413);
    let mut client = server.connect();
    client
        .send(format!(
            "POST /verify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n",
            "x".repeat(101)
        ))
        .unwrap();
    assert_eq!(client.reply().unwrap().status, 413);
    assert_eq!(server.ask("POST", "/auth/v2/enqueue", &[], &"x".repeat(101)).status, 413);
    assert_eq!(server.ask("POST", "/verify", &[], &"x".repeat(100)).status, 400);
}

#[test]
fn a_client_that_takes_too_long_is_hung_up_on() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&["--timeout", "1"]);
    let began = Instant::now();
    let mut silent = server.connect();
    let mut slow_head = server.connect();
    slow_head.send("GET /auth HTTP/1.1\r\nHost:").unwrap();
    let mut slow_body = server.connect();
    slow_body.send("POST /verify HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{").unwrap();
    assert_eq!(slow_body.reply().unwrap().status, 408);
    assert!(slow_body.reply().is_none());
    assert!(silent.reply().is_none() && slow_head.reply().is_none());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut kept = server.connect();
    let authorization = format!("Token token={key}");
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(kept.ask("GET", "/auth/incidents", &headers, "").status, 200);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(kept.ask("GET", "/auth/incidents", &headers, "").status, 200, "idle is not slow");
}

#[test]
fn more_connections_than_are_served_wait() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&["--max-connections", "2"]);
    let first = server.connect();
    let _second = server.connect();
    let mut third = server.connect();
    let authorization = format!("Token token={key}");
    third.send(request("GET", "/auth/incidents", &[("Authorization", &authorization)], "")).unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(first);
    assert_eq!(third.reply().unwrap().status, 200);
}

#[test]
fn ten_thousand_idle_connections_hold_up_nobody() {
    let world = World::new();
    let (_, key) = world.key();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    // The server has the same limit, and keeps some files for itself.
    let files = usize::try_from(limit.maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let many = 10_000.min(files.saturating_sub(1_000));
    let server = world.serve(&["--timeout", "60"]);
    let idle: Vec<TcpStream> = (0..many).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for _ in 0..10 {
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200);
    }
    let connected = format!("pdkeys_connections {}\n", many + 1);
    server.wait_until("all are accepted", |server| server.get("/metrics").body.contains(&connected));
    drop(idle);
    server.stop();
}

#[test]
fn what_is_no_request_at_all_is_hung_up_on() {
    let world = World::new();
    let server = world.serve(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(&[0xff; 2_000]).unwrap();
    let mut answer = Vec::new();
    // It may be reset, since there is more to read.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(server.get("/healthz").status, 200);
}
