//! A whole site: an account with its keys, `pdkeys serve`, a gateway, and the API behind it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Api;
use crate::curl::Request;
use crate::gateway::{Gateway, Ports};
use crate::process::{Process, free_port};

/// Somebody else can take a free port before the program that it was meant for. So there are several tries.
const TRIES: usize = 5;

/// A credential that was made.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// An account: a store, and the command line on it.
pub(crate) struct Account {
    home: TempDir,
}

impl Account {
    pub(crate) fn new() -> Self {
        let private = fs::Permissions::from_mode(0o700);
        let home = tempfile::Builder::new().prefix("pdkeys-site-").permissions(private).tempdir().unwrap();
        let account = Self { home };
        account.run(&["init", "acme", "--owner", "ann"]);
        account
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn store(&self) -> PathBuf {
        self.home().join("acme.db")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pdkeys"));
        command.env_clear().env("HOME", self.home()).arg("--store").arg(self.store());
        command
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn made(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--quiet", "-o", "json"]].concat())).unwrap()
    }

    /// Makes a credential of any kind.
    pub(crate) fn make(&self, arguments: &[&str]) -> Key {
        let made = self.made(arguments);
        Key {
            id: made["id"].as_str().unwrap_or_default().to_owned(),
            secret: made["secret"].as_str().unwrap().to_owned(),
        }
    }

    /// Registers an app, and gives its client id and client secret.
    pub(crate) fn register(&self, scopes: [&str; 2]) -> (String, String) {
        let [one, other] = scopes;
        let made = self.made(&["app", "register", "reporter", "--scope", one, "--scope", other]);
        (made["client_id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    }
}

/// The server, on a free port.
pub(crate) fn serve(account: &Account, arguments: &[&str]) -> (Process, u16) {
    let mut fault = String::new();
    for _ in 0..TRIES {
        let port = free_port();
        let mut command = account.command();
        command.arg("serve").args(["--listen", &format!("127.0.0.1:{port}")]).args(arguments);
        match Process::start(&command, account.home().join("pdkeys.log"), || answers(port)) {
            Ok(process) => return (process, port),
            Err(reason) => fault = reason,
        }
    }
    panic!("{fault}");
}

fn answers(port: u16) -> bool {
    TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// All of it. The programs come first, so that they end while the directory with what they said is still there.
pub(crate) struct Site {
    _gateway: Process,
    pub(crate) pdkeys: Process,
    pub(crate) port: u16,
    pub(crate) api: Api,
    pub(crate) account: Account,
}

impl Site {
    pub(crate) fn behind(gateway: Gateway) -> Self {
        Self::configured(gateway, |directory, ports| gateway.command(directory, ports), "http://127.0.0.1")
    }

    /// With a gateway that is started in another way, and asked at another address.
    pub(crate) fn configured(
        gateway: Gateway,
        command: impl Fn(&Path, Ports) -> Command,
        address: &str,
    ) -> Self {
        let account = Account::new();
        let api = Api::start();
        let (pdkeys, pdkeys_port) = serve(&account, &["--gateway", gateway.pinned()]);
        let directory = account.home().join("gateway");
        fs::create_dir(&directory).unwrap();
        let mut fault = String::new();
        for _ in 0..TRIES {
            let ports = Ports { gateway: free_port(), pdkeys: pdkeys_port, api: api.port };
            let command = command(&directory, ports);
            // It is ready when it asks pdkeys, who lets nobody in without a key.
            let url = format!("{address}:{}/incidents", ports.gateway);
            let asks = || {
                let answer = Request::get(&url).insecure().try_send();
                answer.is_some_and(|answer| answer.status == 401)
            };
            match Process::start(&command, directory.join("log"), asks) {
                Ok(process) => {
                    let port = ports.gateway;
                    return Self { _gateway: process, pdkeys, port, api, account };
                }
                Err(reason) => fault = reason,
            }
        }
        panic!("{fault}");
    }

    /// A request to the gateway.
    pub(crate) fn get(&self, target: &str) -> Request {
        Request::get(format!("http://127.0.0.1:{}{target}", self.port))
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.get(target).method("POST")
    }
}
