//! Upgrades: what is checked is one request, so no client gets a channel to the API but a WebSocket.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::gateway::{Gateway, Ports};
use crate::installed;
use crate::process::{Process, free_port};
use crate::raw::{self, Raw};
use crate::site::Site;

behind_each_gateway!(
    a_checked_request_opens_no_channel_to_an_api_that_takes_h2c,
    no_upgrade_but_a_websocket_goes_on,
    a_client_that_offers_another_protocol_is_served_without_it,
    what_lets_websockets_through_lets_nothing_else_through,
);

/// An API of hypercorn, which takes h2c.
struct H2cApi {
    _process: Process,
    _directory: tempfile::TempDir,
    port: u16,
    seen: std::path::PathBuf,
}

impl H2cApi {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let seen = directory.path().join("seen");
        let mut fault = String::new();
        for _ in 0..5 {
            let port = free_port();
            let mut command = Command::new(installed::python("python3"));
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/h2c_api.py"))
                .arg(port.to_string())
                .arg(&seen);
            let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            match Process::start(&command, directory.path().join("log"), listens) {
                Ok(process) => return Self { _process: process, _directory: directory, port, seen },
                Err(reason) => fault = reason,
            }
        }
        panic!("{fault}");
    }

    /// Method and path of each request that has reached it.
    fn seen(&self) -> Vec<String> {
        fs::read_to_string(&self.seen).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// A site with this API.
    fn behind(&self, command: impl Fn(&Path, Ports) -> Command, gateway: Gateway) -> Site {
        let with_api = |directory: &Path, ports| command(directory, Ports { api: self.port, ..ports });
        Site::configured(gateway, with_api, "http://127.0.0.1")
    }
}

/// The gateway, configured for WebSocket connections as documented. Caddy and Traefik pass them on as they are shown.
fn with_websockets(gateway: Gateway, directory: &Path, ports: Ports) -> Command {
    let command = gateway.command(directory, ports);
    let (file, shown, told) = match gateway {
        Gateway::Nginx => (
            "conf.d/api.conf",
            "proxy_set_header Connection \"\";\n        proxy_set_header Host $host;",
            "proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection upgrade;",
        ),
        Gateway::Envoy => (
            "envoy.yaml",
            "                stat_prefix: web\n",
            "                stat_prefix: web\n                upgrade_configs: [{ upgrade_type: websocket }]\n",
        ),
        Gateway::Caddy | Gateway::Traefik => return command,
    };
    let text = fs::read_to_string(directory.join(file)).unwrap();
    assert!(text.contains(shown), "{text}");
    fs::write(directory.join(file), text.replacen(shown, told, 1)).unwrap();
    command
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client says who has got a channel: `DELETE /admin/users`, by an owner.
fn another_request() -> Vec<u8> {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_OF_ALL: u8 = 5;
    let fields = [
        (":method", "DELETE"),
        (":scheme", "http"),
        (":path", "/admin/users"),
        (":authority", "api"),
        ("x-pdkeys-key-id", "U00000000"),
        ("x-pdkeys-role", "owner"),
        ("x-pdkeys-access", "full"),
    ];
    // Each a literal that is not to be indexed, in plain.
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [preface, &frame(SETTINGS, 0, 0, &[])[..], &frame(HEADERS, END_OF_ALL, 3, &block)].concat()
}

/// Asks for an upgrade with these header lines, and speaks HTTP/2 on the connection whatever the answer. Gives the
/// status.
fn attack(port: u16, authorization: &str, lines: &str, seen: impl Fn() -> Vec<String>) -> String {
    let mut connection = Raw::connect(port);
    connection.send(format!(
        "GET /incidents HTTP/1.1\r\nHost: api\r\nAuthorization: {authorization}\r\n{lines}\r\n"
    ));
    let head = connection.read_until(|said| said.windows(4).any(|window| window == b"\r\n\r\n"));
    connection.send(another_request());
    connection.read_until(|_| seen().iter().any(|request| request.starts_with("DELETE")));
    String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned()
}

const UPGRADES: [&str; 6] = [
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Connection: upgrade\r\nUpgrade: H2C\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    "Connection: Upgrade\r\nConnection: X-Pdkeys-Role\r\nUpgrade: h2c\r\n",
    "Upgrade: h2c\r\n",
];

/// Attacks with an allowed request, in every way.
fn attack_in_every_way(api: &H2cApi, site: &Site) {
    let key = site.account.make(&["create", "attacker", "--scope", "incidents.read"]);
    let authorization = format!("Token token={}", key.secret);
    std::thread::scope(|scope| {
        for lines in UPGRADES {
            let (port, authorization) = (site.port, &authorization);
            scope.spawn(move || {
                let status = attack(port, authorization, lines, || api.seen());
                // A WebSocket that is none of RFC 6455 the API refuses by itself.
                assert!(["200", "400", "403", "426"].contains(&status.as_str()), "{lines:?}: {status}");
            });
        }
    });
    let seen = api.seen();
    assert!(seen.iter().all(|request| request.ends_with(" /incidents")), "{seen:?}");
}

fn a_checked_request_opens_no_channel_to_an_api_that_takes_h2c(gateway: Gateway) {
    let api = H2cApi::start();
    let site = api.behind(|directory, ports| gateway.command(directory, ports), gateway);
    attack_in_every_way(&api, &site);
    // The attack is one: without a gateway it works.
    assert_eq!(attack(api.port, "none", UPGRADES[0], || api.seen()), "101");
    assert_eq!(api.seen().last().map(String::as_str), Some("DELETE /admin/users"));
}

fn no_upgrade_but_a_websocket_goes_on(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "board", "--scope", "incidents.read"]);
    let authorization = format!("Token token={}", key.secret);
    let upgrades: [&[(&str, &str)]; 8] = [
        &[("Connection", "Upgrade"), ("Upgrade", "foo")],
        &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "TLS/1.0")],
        &[("Connection", "Upgrade"), ("Upgrade", "TLS/1.0, HTTP/1.1")],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket, h2c")],
        &[("Connection", "Upgrade"), ("Upgrade", "foo"), ("Upgrade", "websocket")],
        &[("Upgrade", "foo")],
        &[("Connection", "Upgrade"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    ];
    for upgrade in upgrades {
        let lines = [&[("Authorization", authorization.as_str())], upgrade].concat();
        let answer = raw::get(site.port, "/incidents", &lines);
        if answer.status == 200 {
            let reached = answer.reached();
            let asked = reached.header("upgrade").unwrap_or("websocket").to_owned();
            assert_eq!(asked, "websocket", "{upgrade:?}: {reached:?}");
            assert_eq!(reached.header("http2-settings"), None, "{upgrade:?}: {reached:?}");
        } else {
            assert!(matches!(answer.status, 400 | 403), "{upgrade:?}: {answer:?}");
        }
    }
}

/// Java's `HttpClient`, `curl --http2` and Apache `HttpClient` send these with every request of plain HTTP.
fn a_client_that_offers_another_protocol_is_served_without_it(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "java", "--scope", "incidents.read"]);
    let authorization = format!("Token token={}", key.secret);
    let offers: [&[(&str, &str)]; 3] = [
        &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
        ],
        &[("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")],
        &[("Connection", "keep-alive, Upgrade")],
    ];
    for offer in offers {
        let lines = [&[("Authorization", authorization.as_str())], offer].concat();
        let answer = raw::get(site.port, "/incidents", &lines);
        // nginx cannot remove a header from what is checked without the risk that it goes on.
        if gateway == Gateway::Nginx && offer.iter().any(|(name, _)| *name == "Upgrade") {
            assert_eq!(answer.status, 400, "{offer:?}: {answer:?}");
            continue;
        }
        assert_eq!(answer.status, 200, "{offer:?}: {answer:?}");
        let reached = answer.reached();
        assert_eq!(reached.header("upgrade"), None, "{offer:?}: {reached:?}");
        assert_eq!(reached.header("http2-settings"), None, "{offer:?}: {reached:?}");
    }
}

fn what_lets_websockets_through_lets_nothing_else_through(gateway: Gateway) {
    let api = H2cApi::start();
    let site = api.behind(|directory, ports| with_websockets(gateway, directory, ports), gateway);
    let key = site.account.make(&["create", "board", "--scope", "incidents.read"]);
    let authorization = format!("Token token={}", key.secret);
    // As RFC 6455 has it.
    let open = |target: &str, authorization: &str| {
        let mut connection = Raw::connect(site.port);
        connection.send(format!(
            "GET {target} HTTP/1.1\r\nHost: api\r\nAuthorization: {authorization}\r\n\
             Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        let head = connection.read_until(|said| said.windows(4).any(|window| window == b"\r\n\r\n"));
        String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(open("/incidents", &authorization), "101");
    assert_eq!(open("/users", &authorization), "403");
    assert_eq!(open("/incidents", "Token token=y_NbAkKc66ryYTWUXYEu"), "401");
    assert_eq!(api.seen(), ["WEBSOCKET /incidents"]);
    attack_in_every_way(&api, &site);
}
