//! The systemd unit: its command runs with its environment and on a socket that is passed to it, as systemd would.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::curl::Request;
use crate::installed;
use crate::programs::shown;
use crate::site::Account;

/// What the unit says, by name; of what it says several times, all.
fn settings(unit: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut settings: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in unit.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            settings.entry(name).or_default().push(value);
        }
    }
    settings
}

#[test]
fn the_unit_serves_on_the_socket_that_it_is_given() {
    let account = Account::new();
    let key = account.make(&["create", "deploy"]);
    let unit = shown("contrib/systemd/pdkeys.service");
    let settings = settings(&unit);

    // The store key goes to where systemd puts credentials, and is nowhere else.
    let credentials = account.home().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let [credential] = settings["LoadCredential"][..] else { panic!("{unit}") };
    let (name, _) = credential.split_once(':').unwrap();
    fs::rename(account.home().join("acme.storekey"), credentials.join(name)).unwrap();

    let [command] = settings["ExecStart"][..] else { panic!("{unit}") };
    let arguments = command.strip_prefix("/usr/bin/pdkeys ").unwrap();
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut shell = Command::new(installed::system("setpriv"));
    shell
        .args(["--pdeathsig", "KILL", "--", "sh", "-c"])
        .arg(format!(
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; \
             exec \"$PROGRAM\" {arguments}"
        ))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PROGRAM", env!("CARGO_BIN_EXE_pdkeys"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for variable in &settings["Environment"] {
        let (name, value) = variable.split_once('=').unwrap();
        let store = account.home().join("acme.db");
        let value = value
            .replace("/var/lib/pdkeys/pdkeys.db", store.to_str().unwrap())
            .replace("%d", credentials.to_str().unwrap());
        shell.env(name, value);
    }
    let mut server = shell.spawn().unwrap();

    // The socket takes connections before there is anybody to answer: no waiting is needed.
    let ask = |secret: &str| {
        let request = Request::get(format!("http://127.0.0.1:{port}/auth")).key(secret);
        request.header("X-Original-Method", "GET").header("X-Original-URI", "/incidents").send()
    };
    assert_eq!(ask(&key.secret).status, 200);
    assert_eq!(ask("y_NbAkKc66ryYTWUXYEu").status, 401);
    let stopped = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(stopped.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
