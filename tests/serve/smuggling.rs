//! Requests that two programs could take for different ones: a 400 or a closed connection, and never a yes.

use crate::world::{Server, World};

/// Sends bytes, and gives the statuses of all answers until the connection ends.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut client = server.connect();
    // The server may have ended the connection before all of it was sent.
    let _ = client.send(bytes);
    let mut statuses = Vec::new();
    while let Some(reply) = client.reply() {
        statuses.push(reply.status);
        if reply.header("connection") != Some("close") {
            // A connection that goes on is ended by the request that says so.
            let _ = client.send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        }
    }
    statuses
}

#[test]
fn a_request_that_could_be_taken_for_another_is_never_allowed() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&["--timeout", "1"]);
    let head = format!("GET /auth HTTP/1.1\r\nHost: a\r\nAuthorization: Token token={key}\r\n");
    let asks = "X-Original-Method: GET\r\nX-Original-URI: /incidents\r\n";
    assert_eq!(statuses(&server, format!("{head}{asks}\r\n").as_bytes())[0], 200, "as it should be");
    let cases: Vec<(&str, String)> = vec![
        ("two lengths", format!("{head}{asks}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello")),
        ("two lengths in one", format!("{head}{asks}Content-Length: 0, 5\r\n\r\nhello")),
        ("a length with a sign", format!("{head}{asks}Content-Length: +0\r\n\r\n")),
        ("a length below zero", format!("{head}{asks}Content-Length: -1\r\n\r\n")),
        ("an unknown encoding", format!("{head}{asks}Transfer-Encoding: xchunked\r\n\r\n")),
        (
            "a folded header",
            format!("{head}X-Original-Method: GET\r\nX-Original-URI: /incidents\r\n /x\r\n\r\n"),
        ),
        ("a folded header with a tab", format!("{head}{asks}X: a\r\n\tb\r\n\r\n")),
        ("a bare line feed", format!("{head}X-Original-Method: GET\nX-Original-URI: /incidents\r\n\r\n")),
        ("a bare line feed in a value", format!("{head}{asks}X: a\nb: c\r\n\r\n")),
        ("bare line feeds at the end", format!("{head}{asks}\n\n")),
        ("a bare carriage return", format!("{head}{asks}X: a\rb\r\n\r\n")),
        ("a NUL in a value", format!("{head}{asks}X: a\0b\r\n\r\n")),
        (
            "a NUL in the key",
            format!("GET /auth/incidents HTTP/1.1\r\nAuthorization: Token token={key}\0\r\n\r\n"),
        ),
        (
            "a blank before the colon",
            format!("{head}X-Original-Method : GET\r\nX-Original-URI: /incidents\r\n\r\n"),
        ),
        ("a header without a colon", format!("{head}{asks}nothing\r\n\r\n")),
        ("a header without a name", format!("{head}{asks}: nothing\r\n\r\n")),
        (
            "the absolute form",
            format!(
                "GET http://a/auth HTTP/1.1\r\nHost: a\r\nAuthorization: Token token={key}\r\n{asks}\r\n"
            ),
        ),
        (
            "the absolute form of Envoy's path",
            format!(
                "GET http://a/auth/incidents HTTP/1.1\r\nHost: a\r\nAuthorization: Token token={key}\r\n\r\n"
            ),
        ),
        (
            "the authority form",
            format!("CONNECT a:80 HTTP/1.1\r\nAuthorization: Token token={key}\r\n{asks}\r\n"),
        ),
        ("another version", head.replace("HTTP/1.1", "HTTP/2.0") + asks + "\r\n"),
        ("no version", head.replace(" HTTP/1.1", "") + asks + "\r\n"),
        ("two blanks", head.replace("GET /auth", "GET  /auth") + asks + "\r\n"),
        (
            "a path that is not ASCII",
            format!("GET /auth/in\u{e9} HTTP/1.1\r\nAuthorization: Token token={key}\r\n\r\n"),
        ),
        (
            "a path with dots",
            format!("GET /auth/../auth/incidents HTTP/1.1\r\nAuthorization: Token token={key}\r\n\r\n"),
        ),
        ("half a request", head),
    ];
    for (what, request) in cases {
        let statuses = statuses(&server, request.as_bytes());
        assert!(
            statuses.first().is_none_or(|status| [400, 401, 405, 408, 431, 505].contains(status)),
            "{what}: {statuses:?}"
        );
    }
}

/// hyper takes each of these as one request or another; none is looked at.
#[test]
fn what_hyper_would_pass_over_is_refused_before_anything_is_looked_up() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&["--timeout", "1"]);
    let head = format!("GET /auth/incidents HTTP/1.1\r\nAuthorization: Token token={key}\r\n");
    let verify = format!(r#"{{"key":"{key}","method":"GET","path":"/incidents"}}"#);
    let length = verify.len();
    let chunked = format!("{length:x}\r\n{verify}\r\n0\r\n\r\n");
    let post = "POST /verify HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(statuses(&server, format!("{head}Host: a\r\n\r\n").as_bytes())[0], 200, "as it should be");
    let (plain, old) =
        (format!("{post}Content-Length: {length}\r\n\r\n{verify}"), head.replace("1.1", "1.0"));
    assert_eq!(statuses(&server, plain.as_bytes())[0], 200);
    let whole = format!("{post}Transfer-Encoding: Chunked\r\n\r\n{chunked}");
    assert_eq!(statuses(&server, whole.as_bytes())[0], 200);
    assert_eq!(statuses(&server, format!("{old}\r\n").as_bytes())[0], 200, "HTTP/1.0 knows no hosts");
    let cases = [
        ("two hosts", format!("{head}Host: a\r\nHost: b\r\n\r\n")),
        ("two equal hosts", format!("{head}Host: a\r\nhost: a\r\n\r\n")),
        ("two hosts in HTTP/1.0", format!("{old}Host: a\r\nHost: b\r\n\r\n")),
        ("no host", format!("{head}\r\n")),
        (
            "two equal lengths of nothing",
            format!("{head}Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "two equal lengths",
            format!("{post}Content-Length: {length}\r\nA: b\r\ncontent-length:{length}\r\n\r\n{verify}"),
        ),
        (
            "a length before an encoding",
            format!("{post}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "a length after an encoding",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        ),
        ("two encodings", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n{chunked}")),
        (
            "two lines of encodings",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
        ("an encoding of its own", format!("{post}Transfer-Encoding: x, chunked\r\n\r\n{chunked}")),
    ];
    for (what, request) in &cases {
        for part in [request.len(), 7] {
            let mut client = server.connect();
            for bytes in request.as_bytes().chunks(part) {
                // The server may have ended the connection before all of it was sent.
                let _ = client.send(bytes);
            }
            let reply = client.reply().unwrap_or_else(|| panic!("{what}: no answer"));
            assert_eq!((reply.status, reply.header("connection")), (400, Some("close")), "{what}");
            assert!(client.reply().is_none(), "{what}");
        }
    }
    let checks = server.get("/metrics").body;
    assert!(checks.contains("pdkeys_check_seconds_count 4"), "{checks}");
}

#[test]
fn a_length_beside_an_encoding_is_no_way_to_hide_a_request() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&["--timeout", "1"]);
    let hidden =
        format!("GET /auth/incidents HTTP/1.1\r\nHost: a\r\nAuthorization: Token token={key}\r\n\r\n");
    for framing in [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            5 + hidden.len()
        ),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 2\r\n\r\n{{}}{hidden}"),
    ] {
        let statuses = statuses(&server, format!("POST /verify HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes());
        assert!(!statuses.contains(&200), "{framing}: {statuses:?}");
    }
}

#[test]
fn a_request_that_comes_before_the_answer_to_the_one_before_is_not_looked_at() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let request =
        format!("GET /auth/incidents HTTP/1.1\r\nHost: a\r\nAuthorization: Token token={key}\r\n\r\n");
    assert_eq!(statuses(&server, request.repeat(3).as_bytes()), [200], "and the connection ends");
}
