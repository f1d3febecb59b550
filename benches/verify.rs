//! What checking keys costs, each beside its floor in the same run.
//!
//! In process: one check through [`Verifier::verify`], usage counted in memory, one thread, keys drawn uniformly from
//! the whole store; beside a raw loop that hashes the same keys and reads the same columns by one prepared statement.
//! That loop has a copy of the store in which each digest is the plain SHA-256 of its secret, so that it hashes once.
//! Policy matching alone is a divan bench at the end.
//!
//! As in `benches/process.rs`, absolute times say little: both are measured in turn, round by round, and what counts
//! is the median of the rounds' ratios. The lines that begin with `ratio |` are for `benches/report`.
//!
//! `PDKEYS_BENCH_KEYS` sets the size of the largest store, `PDKEYS_BENCH_ROUNDS` the number of rounds.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]

mod support;

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::hint::black_box;
use std::path::Path as FilePath;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use pdkeys::model::{Access, Policy};
use pdkeys::ports::SystemClock;
use pdkeys::store::{Place, sqlite::SqliteStore};
use pdkeys::verify::{Api, Counting, Path, Presented, Request, Verdict, Verifier, judge, operations};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use support::measure::{self, Ratio, Results, directory, high_water_mark, number, say};

/// With this as its first argument the bench checks some of the keys over and over, and tells its memory.
const SERVE: &str = "check-some";
/// Of how many keys those are drawn that a server sees again and again.
const SOME: u64 = 10_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(OsStr::new(SERVE)) {
        let mut next = || arguments.next().ok_or("an argument is missing");
        check_some(next()?.as_ref(), next()?.to_string_lossy().parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let in_earnest = measure::in_earnest();
    let (most, rounds) = if in_earnest { (1_000_000, 41) } else { (2_000, 3) };
    let most = number("PDKEYS_BENCH_KEYS", most)?;
    let mut results = Results::new();
    let directory = directory()?;
    let mut stores = Vec::new();
    for keys in [1_000, 100_000, 1_000_000] {
        stores.push(Checked::new(directory.path(), std::cmp::min(keys, most))?);
    }
    in_process(&mut results, &mut stores, number("PDKEYS_BENCH_ROUNDS", rounds)?)?;
    if let Some(largest) = stores.pop() {
        memory(&mut results, &largest)?;
    }
    drop(stores);
    divan::main();
    Ok(if results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many keys are checked at a time.
const BATCH: usize = 10_000;

/// One store, and both ways to check its keys.
struct Checked {
    keys: u64,
    place: Place,
    verifier: Verifier<SqliteStore>,
    raw: Connection,
    draw: Draw,
}

impl Checked {
    fn new(parent: &FilePath, keys: u64) -> Result<Self, Box<dyn Error>> {
        let started = Instant::now();
        let directory = tempfile::Builder::new().prefix("store").tempdir_in(parent)?.keep();
        let place = support::make_store(&directory, keys)?;
        let raw = directory.join("raw.db");
        support::copy_with_plain_digests(&place, keys, &raw)?;
        say(&format!("made two stores of {keys} keys in {:.1} s", started.elapsed().as_secs_f64()))?;
        Ok(Self {
            keys,
            verifier: verifier(&place)?,
            place,
            raw: Connection::open(raw)?,
            draw: Draw(keys | 1),
        })
    }

    /// The time of one check, by the library and by the raw loop, over the same keys.
    fn round(&mut self, library_first: bool) -> Result<(Duration, Duration), Box<dyn Error>> {
        let secrets: Vec<String> =
            (0..BATCH).map(|_| support::secret(self.draw.below(self.keys) + 1)).collect();
        if library_first {
            let library = self.library(&secrets)?;
            Ok((library, self.raw_loop(&secrets)?))
        } else {
            let raw = self.raw_loop(&secrets)?;
            Ok((self.library(&secrets)?, raw))
        }
    }

    fn library(&self, secrets: &[String]) -> Result<Duration, Box<dyn Error>> {
        let started = Instant::now();
        let mut found = 0;
        for secret in secrets {
            found += usize::from(check(&self.verifier, secret)?.credential.is_some());
        }
        time_of_one(started, found)
    }

    fn raw_loop(&self, secrets: &[String]) -> Result<Duration, Box<dyn Error>> {
        let started = Instant::now();
        let mut statement = self.raw.prepare(
            "SELECT d.kind, d.ends_at, k.id, k.description, k.hint, k.access, k.scopes, k.disabled_at, k.expires_at,
                    k.rate_limit
             FROM digest d JOIN general_key k ON k.row = d.holder
             WHERE d.digest = ?1",
        )?;
        let columns = statement.column_count();
        let mut found = 0;
        for secret in secrets {
            let digest: [u8; 32] = Sha256::digest(secret).into();
            let mut rows = statement.query([digest])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    black_box(row.get_ref(column)?);
                }
                found += 1;
            }
        }
        time_of_one(started, found)
    }
}

fn time_of_one(started: Instant, found: usize) -> Result<Duration, Box<dyn Error>> {
    let taken = started.elapsed();
    if found == BATCH {
        Ok(taken / u32::try_from(BATCH)?)
    } else {
        Err(format!("{found} of {BATCH} keys were found").into())
    }
}

fn verifier(place: &Place) -> Result<Verifier<SqliteStore>, Box<dyn Error>> {
    let place = place.clone();
    Ok(Verifier::new(move || SqliteStore::open(&place), Counting::InMemory, SystemClock)?)
}

fn check(verifier: &Verifier<SqliteStore>, secret: &str) -> Result<Verdict, Box<dyn Error>> {
    Ok(black_box(verifier.verify(&Request {
        api: Api::Rest,
        presented: Presented::bare(secret.as_bytes()),
        method: "GET",
        path: b"/incidents/Q1/notes",
        through_server: false,
    })?))
}

/// Numbers that are drawn evenly, the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn in_process(results: &mut Results, stores: &mut [Checked], rounds: u64) -> Result<(), Box<dyn Error>> {
    let mut times = vec![Vec::new(); stores.len()];
    for round in 0..rounds + 2 {
        for (store, times) in stores.iter_mut().zip(&mut times) {
            let both = store.round(round % 2 == 0)?;
            // The first two only fill the caches.
            if round >= 2 {
                times.push(both);
            }
        }
    }
    for (store, times) in stores.iter().zip(&times) {
        let name = format!("one check in process, {} keys", store.keys);
        // Where everything fits into any cache there is nothing to win; it is told all the same.
        let limit = if store.keys < 100_000 { 2.0 } else { 1.0 };
        let beside = "a raw loop that hashes and reads the same columns";
        results.ratio(&name, Ratio::of(times), beside, limit)?;
    }
    if let ([small, .., large], [small_times, .., large_times]) = (&*stores, times.as_slice()) {
        let growth: Vec<_> =
            large_times.iter().zip(small_times).map(|(large, small)| (large.0, small.0)).collect();
        let name = format!("one check in process, {} keys beside {}", large.keys, small.keys);
        results.ratio(&name, Ratio::of(&growth), "the small store", 3.0)?;
    }
    Ok(())
}

/// The memory of a process that checks some of the keys of a large store again and again.
fn memory(results: &mut Results, store: &Checked) -> Result<(), Box<dyn Error>> {
    let name = format!("peak memory in MiB, {SOME} of {} keys checked in process", store.keys);
    if !cfg!(target_os = "linux") {
        return say(&format!("{name}: not measured on this system"));
    }
    let output = Command::new(env::current_exe()?)
        .arg(SERVE)
        .arg(store.place.database())
        .arg(store.keys.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines();
    let (Some(rate), Some(kibibytes), true) = (lines.next(), lines.next(), output.status.success()) else {
        return Err(format!("{SERVE} ended with {}", output.status).into());
    };
    say(&format!("keys drawn from {SOME} of {}: {rate} checks a second", store.keys))?;
    results.machine_readable(&name, kibibytes.parse::<f64>()? / 1024.0, 64.0)
}

fn check_some(database: &FilePath, keys: u64) -> Result<(), Box<dyn Error>> {
    let verifier = verifier(&Place::new(database))?;
    let step = std::cmp::max(keys / SOME, 1);
    let secrets: Vec<String> = (1..=keys).step_by(usize::try_from(step)?).map(support::secret).collect();
    let mut draw = Draw(1);
    let mut checked = 0_u32;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        for _ in 0..1_000 {
            let at = usize::try_from(draw.below(secrets.len() as u64))?;
            check(&verifier, &secrets[at])?;
            checked += 1;
        }
    }
    let rate = f64::from(checked) / started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = high_water_mark(&status).ok_or("no high-water mark")?;
    say(&format!("{rate:.0}\n{peak}"))
}

/// Every operation of the table, as requests have them.
fn requests() -> Vec<(&'static str, String)> {
    let of = |template: &str| template.replace("{entity_type}", "teams").replace(['{', '}'], "");
    operations().iter().map(|operation| (operation.method, of(operation.template))).collect()
}

/// Policy matching alone: the path taken apart, and judged.
#[divan::bench]
fn judge_every_operation(bencher: divan::Bencher<'_, '_>) {
    let requests = requests();
    let access = match "incidents.read services.read schedules.write".parse() {
        Ok(scopes) => Access::Scopes(scopes),
        Err(_) => Access::ReadOnly,
    };
    bencher.counter(ItemsCount::new(requests.len())).bench_local(|| {
        for (method, path) in &requests {
            let judged = Path::parse(black_box(path.as_bytes()))
                .map(|path| judge(Policy::PagerDuty, &access, None, method, &path));
            black_box(judged);
        }
    });
}
