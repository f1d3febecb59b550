//! Paths that a gateway, pdkeys and an API could each read in their own way: what gets through means what was checked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::Duration;

use crate::gateway::Gateway;
use crate::site::Site;

behind_each_gateway!(no_spelling_leads_elsewhere, requests_that_are_no_requests_reach_nobody);

/// Ways to say `/users`, which the key may not read, so that it looks like `/incidents`, which it may; and the reverse.
const SPELLINGS: &[&str] = &[
    "//users",
    "/incidents/../users",
    "/incidents/./../users",
    "/incidents/%2e%2e/users",
    "/incidents/.%2e/users",
    "/incidents/%2E./users",
    "/incidents/..%2fusers",
    "/incidents%2f..%2fusers",
    "/incidents/%2e%2e%2fusers",
    "/incidents/..%5cusers",
    "/incidents/..\\users",
    "/incidents\\..\\users",
    "/incidents/..;/users",
    "/incidents;/../users",
    "/incidents/;/../../users",
    "/incidents/%252e%252e/users",
    "/incidents/..%252fusers",
    "/incidents/..%c0%afusers",
    "/incidents/%c0%ae%c0%ae/users",
    "/incidents/%ef%bc%8e%ef%bc%8e/users",
    "/incidents/..%00/users",
    "/incidents/..//users",
    "/incidents//../users",
    "/incidents//..//users",
    "/./users",
    "/../users",
    "/incidents/../../users",
    "/incidents/Q1/../../users",
    "/users/../incidents",
    "/users//",
    "/incidents/",
    "/incidents//Q1",
    "/incidents%2fQ1",
    "/incidents/%2e",
    "/incidents/..",
    "/incidents?/../users",
    "/users?/../incidents",
    "/users%3f/../incidents",
    "/incidents%3f/../../users",
    "/incidents%23/../users",
    "/%69ncidents",
    "/%75sers",
    "/incidents%20",
    "/incidents%09",
    "/INCIDENTS",
    "/incidents/Q1%0d%0aX-Pdkeys-User:%20forged",
];

/// The first segment of a path as the most obliging of programs would read it.
fn leads_to(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut decoded = path.to_lowercase();
    for (encoded, meant) in [
        ("%25", "%"),
        ("%2e", "."),
        ("%2f", "/"),
        ("%5c", "/"),
        ("\\", "/"),
        ("%c0%af", "/"),
        ("%c0%ae", "."),
        ("%ef%bc%8e", "."),
        ("%3b", ";"),
        ("%69", "i"),
        ("%75", "u"),
        ("%00", ""),
    ] {
        decoded = decoded.replace(encoded, meant);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments.first().copied().unwrap_or_default().to_owned()
}

fn no_spelling_leads_elsewhere(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let mut passed = 0;
    for target in SPELLINGS {
        let answer = site.get(target).key(&key.secret).send();
        if answer.status == 200 {
            let reached = answer.reached();
            assert_eq!(leads_to(&reached.target), "incidents", "{target}: {reached:?}");
            passed += 1;
        } else {
            assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
        }
    }
    assert_eq!(site.api.requests(), passed, "the API got a request of which the client was told otherwise");
    assert!(passed > 0, "`/%69ncidents` is `/incidents`");
}

/// What answers come to what is written into a connection, one after the other.
fn statuses(port: u16, request: &str) -> Vec<String> {
    let mut connection = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // The gateway may hang up before it has read everything.
    let _ = connection.write_all(request.as_bytes());
    let mut said = Vec::new();
    let _ = connection.read_to_end(&mut said);
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(|line| Some(line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.to_owned()))
        .collect()
}

fn requests_that_are_no_requests_reach_nobody(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let head = format!("Host: api\r\nAuthorization: Token token={}\r\n", key.secret);
    // The second request of each is the one that must not get through: the key may not do it.
    let hidden = "POST /users HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // What comes alone is the last, so that nobody waits for more.
    let alone = format!("{head}Connection: close\r\n");
    let requests = [
        // Two lengths; a length beside chunks; chunks under a name that only some read; a space before the colon.
        format!(
            "GET /incidents HTTP/1.1\r\n{head}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ),
        format!(
            "GET /incidents HTTP/1.1\r\n{head}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            hidden.len() + 5
        ),
        format!("GET /incidents HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /incidents HTTP/1.1\r\n{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /incidents HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("GET /incidents HTTP/1.1\r\n{head}\r\n{hidden}"),
        // A host before the path, a fragment behind it, a path that is none, a method in small letters.
        format!("GET http://elsewhere/users HTTP/1.1\r\n{alone}\r\n"),
        format!("GET /users#/incidents HTTP/1.1\r\n{alone}\r\n"),
        format!("GET users HTTP/1.1\r\n{alone}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{alone}\r\n"),
        format!("post /incidents HTTP/1.1\r\n{alone}\r\n"),
        format!("CONNECT users:443 HTTP/1.1\r\n{alone}\r\n"),
        format!("TRACE /incidents HTTP/1.1\r\n{alone}\r\n"),
        format!("GET /inci dents HTTP/1.1\r\n{alone}\r\n"),
        format!("GET /incidents\t/users HTTP/1.1\r\n{alone}\r\n"),
        format!("GET /users HTTP/1.1\r\n{alone}X-Original-URI: /incidents\r\n\r\n"),
    ];
    let port = site.port;
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> =
            requests.iter().map(|request| scope.spawn(move || statuses(port, request))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (request, statuses) in requests.iter().zip(&answers) {
        let allowed = statuses.iter().filter(|status| status.starts_with('2')).count();
        assert!(allowed <= 1, "{request:?}: {statuses:?}");
    }
    let seen = site.api.seen();
    assert!(seen.iter().all(|request| request == "GET /incidents"), "{seen:?}: {answers:?}");
    let allowed = answers.iter().flatten().filter(|status| status.starts_with('2')).count();
    assert!((1..=allowed).contains(&seen.len()), "{seen:?}: {answers:?}");
}
