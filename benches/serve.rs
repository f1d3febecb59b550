//! What `pdkeys serve` costs a gateway that asks at `/auth`, beside an axum handler that answers 204 without looking.
//!
//! `wrk` asks both in turn, round by round, over connections that stay open, with the same requests. The keys are drawn
//! from ten thousand of those in the store, as most traffic is, and beside it from many more than are remembered. The
//! same goes through nginx, with the configuration that `contrib/` shows, where the handler stands in for pdkeys.
//!
//! What counts is the median of the rounds' ratios of the time that a request took, with as many at a time as there
//! are connections. Every request must be answered with a yes. The lines that begin with `ratio |` are for
//! `benches/report`.
//!
//! `PDKEYS_BENCH_KEYS` sets the size of the store, `PDKEYS_BENCH_ROUNDS` the number of rounds, `PDKEYS_BENCH_SECONDS`
//! how long each asks. In `PDKEYS_BENCH_STORES`, a directory, the store is kept for the next run.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]

#[path = "support/draw.rs"]
mod draw;
mod support;

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use draw::Draw;
use support::kept_store;
use support::measure::{self, Ratio, Results, copy, directory, high_water_mark, number, say};

/// With this as its first argument the bench is the floor: a server that answers 204 on the port that follows.
const FLOOR: &str = "empty-answers";
/// How many connections ask.
const CONNECTIONS: u32 = 32;
/// From how many keys those are drawn that ask again and again.
const SOME: u64 = 10_000;
/// From how many where they are drawn from all: more than pdkeys remembers, few enough for `wrk` to hold.
const MANY: u64 = 300_000;
/// What `serve` may take of memory, in MiB.
const MOST_MEMORY: f64 = 64.0;
/// Three quarters of the requests a second are this much of the time that one takes.
const MOST_TIME: f64 = 1.33;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().as_deref() == Some(OsStr::new(FLOOR)) {
        answer_nothing(arguments.next().ok_or("a port is missing")?.to_string_lossy().parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let in_earnest = measure::in_earnest();
    let (keys, rounds, seconds) = if in_earnest { (1_000_000, 9, 5) } else { (2_000, 1, 1) };
    let keys = number("PDKEYS_BENCH_KEYS", keys)?;
    let own = directory()?;
    let kept = env::var_os("PDKEYS_BENCH_STORES").map(PathBuf::from);
    let place = kept_store(kept.as_deref().unwrap_or(own.path()), keys)?;
    let bench = Bench {
        keys,
        rounds: number("PDKEYS_BENCH_ROUNDS", rounds)?,
        seconds: number("PDKEYS_BENCH_SECONDS", seconds)?,
        pdkeys: copy(env!("CARGO_BIN_EXE_pdkeys").as_ref(), own.path(), "pdkeys")?,
        store: place.database().as_os_str().to_owned(),
        directory: own.path().to_owned(),
    };
    let mut results = Results::new();
    bench.run(&mut results)?;
    Ok(if results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The floor.
fn answer_nothing(port: u16) -> Result<(), Box<dyn Error>> {
    let router = Router::new().fallback(async || StatusCode::NO_CONTENT);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

/// A program that listens on a port, and ends when this is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(command: impl FnOnce(u16) -> Command) -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let mut command = command(port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn()?, port };
        let started = Instant::now();
        while TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{command:?} ended with {status}").into());
            }
            if started.elapsed() > Duration::from_secs(20) {
                return Err(format!("{command:?} does not listen").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The most memory that it has taken so far, in MiB, where the system tells.
    fn peak_memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        high_water_mark(&status).map(|kibibytes| kibibytes / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, Box<dyn Error>> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// What `wrk` saw in one round.
#[derive(Clone, Copy)]
struct Round {
    requests: u64,
    seconds: f64,
    /// In microseconds.
    half: u64,
    /// In microseconds.
    slowest_hundredth: u64,
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "far fewer requests than a float can count")]
    fn a_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    fn time_of_one(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.a_second())
    }
}

/// What `wrk` asks: each thread the same requests in another order. It says at the end what came of it.
const SCRIPT: &str = r#"
local number = 0
function setup(thread) number = number + 1; thread:set("number", number) end
function init(arguments)
    before = "GET " .. arguments[1] .. " HTTP/1.1\r\nHost: bench\r\n"
        .. "X-Original-Method: GET\r\nX-Original-URI: /incidents\r\nAuthorization: Token token="
    secrets = {}
    for line in io.lines(arguments[2]) do secrets[#secrets + 1] = line end
    math.randomseed(number * 7919)
end
function request() return before .. secrets[math.random(#secrets)] .. "\r\n\r\n" end
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("saw %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99),
        errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"#;

/// Which requests: to which path, with which keys.
struct Draft<'f> {
    path: &'f str,
    keys: &'f Path,
}

struct Bench {
    keys: u64,
    rounds: u64,
    seconds: u64,
    pdkeys: OsString,
    store: OsString,
    directory: PathBuf,
}

impl Bench {
    fn run(&self, results: &mut Results) -> Result<(), Box<dyn Error>> {
        let some = self.write_keys("some", SOME.min(self.keys), SOME.min(self.keys))?;
        let many = self.write_keys("many", MANY.min(self.keys), self.keys)?;
        fs::write(self.directory.join("ask.lua"), SCRIPT)?;

        let floor = Self::floor()?;
        let serve = self.serve()?;
        let drawn = format!("/auth, {} keys, drawn from {}", self.keys, SOME.min(self.keys));
        let ask = Draft { path: "/auth", keys: &some };
        let (ratio, memory) = self.beside(&drawn, &ask, &serve, &serve, &floor)?;
        results.ratio(&drawn, ratio, "an axum handler that answers 204", MOST_TIME)?;
        if let Some(memory) = memory {
            say(&format!("{drawn}: {memory:.1} MiB at most (limit {MOST_MEMORY})"))?;
            results.machine_readable(&format!("{drawn}, peak memory in MiB"), memory, MOST_MEMORY)?;
        }
        drop(serve);

        // A process of its own, lest one live on what the other has read.
        let serve = self.serve()?;
        let uniform = format!("/auth, {} keys, drawn from all", self.keys);
        let ask = Draft { path: "/auth", keys: &many };
        let (Ratio { median, .. }, memory) = self.beside(&uniform, &ask, &serve, &serve, &floor)?;
        let memory = memory.map_or("?".to_owned(), |memory| format!("{memory:.1}"));
        say(&format!("{uniform}: {median:.2} x an axum handler that answers 204; {memory} MiB at most"))?;
        drop(serve);

        let serve = self.serve()?;
        let api = Self::floor()?;
        let through = self.nginx("with", serve.port, api.port)?;
        let past = self.nginx("without", floor.port, api.port)?;
        let name = format!("through nginx, {} keys, drawn from {}", self.keys, SOME.min(self.keys));
        let ask = Draft { path: "/incidents", keys: &some };
        let (Ratio { median, .. }, _) = self.beside(&name, &ask, &through, &serve, &past)?;
        say(&format!("{name}: {median:.2} x nginx that asks an axum handler which answers 204"))
    }

    /// Asks both in turn, and tells how the one compares with the other, and what the process behind it took of memory.
    fn beside(
        &self,
        name: &str,
        ask: &Draft<'_>,
        measured: &Server,
        process: &Server,
        floor: &Server,
    ) -> Result<(Ratio, Option<f64>), Box<dyn Error>> {
        let mut rounds = Vec::new();
        // The first round only fills the caches.
        for round in 0..=self.rounds {
            let both = if round % 2 == 0 {
                let one = self.wrk(measured, ask)?;
                (one, self.wrk(floor, ask)?)
            } else {
                let other = self.wrk(floor, ask)?;
                (self.wrk(measured, ask)?, other)
            };
            if round > 0 {
                rounds.push(both);
            }
        }
        let times: Vec<_> =
            rounds.iter().map(|(one, other)| (one.time_of_one(), other.time_of_one())).collect();
        let mut line = String::new();
        for (what, rounds) in [
            ("pdkeys", rounds.iter().map(|(one, _)| *one).collect::<Vec<_>>()),
            ("floor", rounds.iter().map(|(_, other)| *other).collect()),
        ] {
            let mut sorted = rounds;
            sorted.sort_by(|one, other| one.a_second().total_cmp(&other.a_second()));
            if let Some(middle) = sorted.get(sorted.len() / 2) {
                let (a_second, half, last) = (middle.a_second(), middle.half, middle.slowest_hundredth);
                write!(line, "; {what} {a_second:.0} requests/s, p50 {half} us, p99 {last} us")?;
            }
        }
        say(&format!("{name}{line}"))?;
        Ok((Ratio::of(&times), process.peak_memory()))
    }

    fn wrk(&self, server: &Server, ask: &Draft<'_>) -> Result<Round, Box<dyn Error>> {
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "2", "--latency", "--connections", &CONNECTIONS.to_string()])
            .args(["--duration", &format!("{}s", self.seconds), "--script"])
            .arg(self.directory.join("ask.lua"))
            .arg(format!("http://127.0.0.1:{}", server.port))
            .args(["--", ask.path])
            .arg(ask.keys);
        let output = command.output().map_err(|error| format!("wrk: {error}; Debian has it as `wrk`"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let saw = text.lines().find_map(|line| line.strip_prefix("saw "));
        let numbers: Vec<u64> = saw
            .ok_or_else(|| format!("wrk ended with {}: {text}", output.status))?
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [requests, microseconds, half, slowest_hundredth, refused] = numbers[..] else {
            return Err(format!("wrk said {text}").into());
        };
        if refused > 0 || requests == 0 {
            return Err(format!("{refused} of {requests} requests were not answered with a yes").into());
        }
        let seconds = Duration::from_micros(microseconds).as_secs_f64();
        Ok(Round { requests, seconds, half, slowest_hundredth })
    }

    fn floor() -> Result<Server, Box<dyn Error>> {
        let program = env::current_exe()?;
        Server::start(|port| {
            let mut command = Command::new(program);
            command.args([FLOOR, &port.to_string()]);
            command
        })
    }

    fn serve(&self) -> Result<Server, Box<dyn Error>> {
        Server::start(|port| {
            let mut command = Command::new(&self.pdkeys);
            command.env_clear().args(["serve", "--gateway", "nginx"]);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--store"]).arg(&self.store);
            command
        })
    }

    /// nginx as `contrib/` shows it, in one process.
    fn nginx(&self, name: &str, asked: u16, api: u16) -> Result<Server, Box<dyn Error>> {
        const AROUND: &str = "daemon off; master_process off; pid nginx.pid; error_log /dev/null;
            events { worker_connections 4096; }
            http {
                access_log off;
                client_body_temp_path body; proxy_temp_path proxy;
                fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                # wrk asks a connection as often as it likes.
                keepalive_requests 100000000;
                include api.conf;
            }";
        let directory = self.directory.join(name);
        fs::create_dir_all(directory.join("snippets"))?;
        let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/nginx");
        for snippet in ["pdkeys-server.conf", "pdkeys-location.conf"] {
            fs::copy(shown.join(snippet), directory.join("snippets").join(snippet))?;
        }
        let site = fs::read_to_string(shown.join("api.conf"))?
            .replace("8787", &asked.to_string())
            .replace("8080", &api.to_string());
        fs::write(directory.join("nginx.conf"), AROUND)?;
        let mut fault = None;
        let server = Server::start(|port| {
            fault = fs::write(directory.join("api.conf"), site.replace("8000", &port.to_string())).err();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&directory).args(["-c", "nginx.conf", "-e", "stderr"]);
            command
        });
        match fault {
            Some(fault) => Err(fault.into()),
            None => server,
        }
    }

    /// Writes the secrets of so many keys to a file: of the first ones, or drawn from so many.
    fn write_keys(&self, name: &str, count: u64, of: u64) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.directory.join(name);
        let mut draw = Draw(of | 1);
        let mut text = String::new();
        for number in 1..=count {
            let first = if of == count { number } else { draw.below(of) + 1 };
            // One in twenty is disabled; the one behind it is not.
            let number = if first % 20 == 7 { first + 1 } else { first };
            writeln!(text, "{}", support::secret(number))?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }
}
