//! A store, and servers over it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{Client, Reply};

/// A store of the account acme, whose Account Owner is called ann and is whoever runs the tests.
pub(crate) struct World {
    home: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("pdkeys-serve-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let world = Self { home };
        world.run(&["init", "acme", "--owner", "ann"]);
        world
    }

    /// A file beside the store.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.file("keys.db")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pdkeys"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).env("PDKEYS_STORE", self.store());
        command
    }

    /// Runs a command that must succeed, and gives the line that it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Makes something with a secret, and gives its id and the secret.
    pub(crate) fn make(&self, arguments: &[&str]) -> (String, String) {
        let made = self.run(&[arguments, &["-o", "json"]].concat());
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let text = |name: &str| made[name].as_str().map(str::to_owned);
        (text("id").unwrap(), text("secret").or_else(|| text("key")).unwrap())
    }

    /// A general key that may do everything.
    pub(crate) fn key(&self) -> (String, String) {
        self.make(&["create", "a key", "--rate-limit", "none"])
    }

    /// A server over the store, on a port of its own.
    pub(crate) fn serve(&self, options: &[&str]) -> Server {
        self.serve_with(&[&["--listen", "127.0.0.1:0"], options].concat(), 1)
    }

    /// A server over the store that listens on so many addresses.
    pub(crate) fn serve_with(&self, options: &[&str], listeners: usize) -> Server {
        Server::start(self.command(&[&["serve"], options].concat()), listeners)
    }

    /// A server that does not come up: how it ends, and what it says.
    pub(crate) fn serve_fails(&self, options: &[&str]) -> (Option<i32>, String) {
        let output = self.command(&[&["serve"], options].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    /// What it listens on, in the order in which it says so.
    pub(crate) addresses: Vec<String>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(mut command: Command, listeners: usize) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut addresses, mut said) = (Vec::new(), String::new());
        while addresses.len() < listeners {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {said}")).unwrap();
            said.push_str(&line);
            said.push('\n');
            let address = line.split("address=\"").nth(1).or_else(|| line.split("\"address\":\"").nth(1));
            addresses.extend(address.map(|address| address.split('"').next().unwrap().to_owned()));
        }
        let log = Arc::new(Mutex::new(said));
        let reader = thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        Self { child, addresses, log, reader: Some(reader) }
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Asks once, on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.connect().ask(method, target, headers, body)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], "")
    }

    /// Asks as nginx does about a request with this key.
    pub(crate) fn auth(&self, key: &str, method: &str, path: &str) -> Reply {
        let authorization = format!("Token token={key}");
        let headers = [
            ("X-Original-Method", method),
            ("X-Original-URI", path),
            ("Authorization", authorization.as_str()),
        ];
        self.ask("GET", "/auth", &headers, "")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Tells it to end, and sees that it does so well. Gives its whole log.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Moves a file and those that SQLite keeps beside it.
pub(crate) fn move_store(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if with(from).exists() {
            fs::rename(with(from), with(to)).unwrap();
        }
    }
}
