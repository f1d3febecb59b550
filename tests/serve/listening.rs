//! Where the server listens.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::http::{Client, request};
use crate::world::{Server, World};

fn over(path: &Path) -> Client<UnixStream> {
    Client::over(UnixStream::connect(path).unwrap())
}

#[test]
fn it_listens_on_several_addresses() {
    let world = World::new();
    let server = world.serve_with(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"], 2);
    for address in &server.addresses {
        assert_eq!(Client::connect(address).ask("GET", "/healthz", &[], "").status, 200, "{address}");
    }
}

#[test]
fn it_listens_on_a_unix_socket_for_its_owner_and_group() {
    let world = World::new();
    let socket = world.file("s.sock");
    let address = format!("unix:{}", socket.display());
    let server = world.serve_with(&["--listen", &address], 1);
    assert_eq!(server.address(), address);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(over(&socket).ask("GET", "/healthz", &[], "").status, 200);
    server.stop();
    assert!(!socket.exists(), "it goes with the server");
    let server = world.serve_with(&["--listen", &address, "--socket-mode", "0600"], 1);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    drop(server);
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let world = World::new();
    let socket = world.file("s.sock");
    let address = format!("unix:{}", socket.display());
    drop(UnixListener::bind(&socket).unwrap());
    let server = world.serve_with(&["--listen", &address], 1);
    assert_eq!(over(&socket).ask("GET", "/healthz", &[], "").status, 200);
    let (code, said) = world.serve_fails(&["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another process listens on"), "{said}");
    assert_eq!(over(&socket).ask("GET", "/healthz", &[], "").status, 200, "the first is unharmed");
    server.stop();
    fs::write(&socket, "precious").unwrap();
    let (code, said) = world.serve_fails(&["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is no socket"), "{said}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn an_address_that_is_taken_or_none_is_an_error() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = world.serve_fails(&["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    for address in ["8787", ":8787", "localhost", "unix:", "127.0.0.1:http"] {
        assert_eq!(world.serve_fails(&["--listen", address]).0, Some(2), "{address}");
    }
    assert_eq!(world.serve_fails(&["--socket-mode", "999"]).0, Some(2));
    assert_eq!(world.serve_fails(&["--listen", "systemd"]).0, Some(1), "systemd passed none");
}

#[test]
fn it_does_not_start_without_a_store() {
    let world = World::new();
    fs::remove_file(world.store()).unwrap();
    let (code, said) = world.serve_fails(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no store at"), "{said}");
    assert!(!world.store().exists());
}

/// Starts a server as systemd does: with a socket as its descriptor 3.
fn start_as_systemd(world: &World, socket: TcpListener, notify: &Path) -> Server {
    let server = world.command(&["serve"]);
    let mut shell = Command::new("/bin/sh");
    // The shell's process id stays when it becomes the server.
    shell.args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" serve"]).arg(server.get_program());
    shell.env_clear().env("LISTEN_FDS", "1").env("NOTIFY_SOCKET", notify);
    for (name, value) in server.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.stdin(OwnedFd::from(socket));
    Server::start(shell, 1)
}

#[test]
fn it_takes_the_sockets_that_systemd_passes_and_says_when_it_is_ready() {
    let world = World::new();
    let notify = world.file("notify.sock");
    let notified = UnixDatagram::bind(&notify).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = start_as_systemd(&world, socket, &notify);
    assert_eq!(server.address(), address);
    let mut message = [0; 64];
    let length = notified.recv(&mut message).unwrap();
    assert_eq!(message[..length].trim_ascii_end(), b"READY=1");
    let mut client = Client::connect(&address);
    client.send(request("GET", "/healthz", &[], "")).unwrap();
    assert_eq!(client.reply().unwrap().status, 200);
    server.stop();
    let length = notified.recv(&mut message).unwrap();
    assert_eq!(message[..length].trim_ascii_end(), b"STOPPING=1");
}
