//! Programs that run beside a test, and end with it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::installed;

/// How long a program may take until it does what it was started for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port of this machine that nobody uses.
pub(crate) fn free_port() -> u16 {
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    TcpListener::bind(nobody).unwrap().local_addr().unwrap().port()
}

/// A program that is running. It ends when this is dropped, and when the test dies.
pub(crate) struct Process {
    name: String,
    pub(crate) child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program, and waits until it is ready. What it says goes to a file.
    pub(crate) fn start(command: &Command, log: PathBuf, ready: impl Fn() -> bool) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let said = File::create(&log).unwrap();
        let mut guarded = Command::new(installed::system("setpriv"));
        guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            guarded.env(variable, value.unwrap());
        }
        if let Some(directory) = command.get_current_dir() {
            guarded.current_dir(directory);
        }
        guarded.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut process = Self { name, child: guarded.spawn().unwrap(), log };
        let started = Instant::now();
        while !ready() {
            if let Some(status) = process.child.try_wait().unwrap() {
                return Err(format!("{} ended with {status}\n{}", process.name, process.said()));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} is not ready\n{}", process.name, process.said()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprint_tail(&self.name, &self.said());
        }
    }
}

#[expect(clippy::print_stderr, reason = "what a program said explains why a test failed")]
fn eprint_tail(name: &str, said: &str) {
    let lines: Vec<_> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    eprintln!("--- {name} said\n{tail}");
}
