//! What checking keys costs, each beside its floor in the same run.
//!
//! In process: one check through [`Verifier::verify`], usage counted in memory, one thread, keys drawn uniformly from
//! the whole store; beside a raw loop that hashes the same keys and reads the same columns by one prepared statement.
//! Each runs in a process of its own, lest one live on what the other has read. That loop has a copy of the store in which
//! each digest is the plain SHA-256 of its secret, so that it hashes once. Policy matching alone is a divan bench at the
//! end.
//!
//! As processes: `pdkeys verify` beside a program that reads the same row and counts in the same way, and `pdkeys verify
//! --batch` beside one that reads the same lines and rows.
//!
//! As in `benches/process.rs`, absolute times say little: both are measured in turn, round by round, and what counts
//! is the median of the rounds' ratios. The lines that begin with `ratio |` are for `benches/report`.
//!
//! `PDKEYS_BENCH_KEYS` sets the size of the largest store, `PDKEYS_BENCH_ROUNDS` the number of rounds.
//! In `PDKEYS_BENCH_STORES`, a directory, the stores are kept for the next run.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/runs.rs"]
mod runs;
mod support;

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use divan::counter::ItemsCount;
use draw::Draw;
use pdkeys::model::{Access, Policy};
use pdkeys::ports::SystemClock;
use pdkeys::store::{Place, sqlite::SqliteStore};
use pdkeys::verify::{Api, Path, Presented, Request, UsageRecording, Verdict, Verifier, judge, operations};
use runs::{command, in_turn, time};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use support::measure::{self, Ratio, Results, copy, directory, high_water_mark, number, say};

/// With this as its first argument the bench checks some of the keys over and over, and tells its memory.
const SERVE: &str = "check-some";
/// With one of these it is the floor of a process instead.
const RAW_CHECK: &str = "raw-check";
const RAW_BATCH: &str = "raw-batch";
/// With one of these it checks as many batches as it is told, and tells how long each took.
const LIBRARY: &str = "library";
const RAW_LOOP: &str = "raw-loop";
/// Of how many keys those are drawn that a server sees again and again.
const SOME: u64 = 10_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next();
    let mut next = || arguments.next().ok_or("an argument is missing");
    match first.as_deref().and_then(OsStr::to_str) {
        Some(SERVE) => {
            check_some(next()?.as_ref(), next()?.to_string_lossy().parse()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(RAW_CHECK) => {
            raw_check(next()?.as_ref(), next()?.as_ref(), next()?.as_ref(), next()? == "lean")?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(LIBRARY) => {
            let (place, keys) = (Place::new(next()?), next()?.to_string_lossy().parse()?);
            let verifier = verifier(&place, true)?;
            answer(keys, |secrets| with_library(&verifier, secrets))?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(RAW_LOOP) => {
            let (raw, keys) = (Connection::open(next()?)?, next()?.to_string_lossy().parse()?);
            answer(keys, |secrets| with_raw_loop(&raw, secrets))?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(RAW_BATCH) => {
            raw_batch(next()?.as_ref())?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let in_earnest = measure::in_earnest();
    let (most, rounds) = if in_earnest { (1_000_000, 41) } else { (2_000, 3) };
    let most = number("PDKEYS_BENCH_KEYS", most)?;
    let mut results = Results::new();
    let own = directory()?;
    let kept = env::var_os("PDKEYS_BENCH_STORES").map(PathBuf::from);
    let parent = kept.as_deref().unwrap_or(own.path());
    let mut stores = Vec::new();
    for keys in [1_000, 100_000, 1_000_000] {
        stores.push(Checked::new(parent, std::cmp::min(keys, most))?);
    }
    in_process(&mut results, &mut stores, number("PDKEYS_BENCH_ROUNDS", rounds)?)?;
    if let Some(largest) = stores.last() {
        memory(&mut results, largest)?;
    }
    // Nobody else has the files open, as when a script asks once.
    let stores = stores.into_iter().map(Checked::end).collect::<Result<Vec<_>, _>>()?;
    let processes = Processes {
        pdkeys: copy(env!("CARGO_BIN_EXE_pdkeys").as_ref(), own.path(), "pdkeys")?,
        floor: copy(&env::current_exe()?, own.path(), "floor")?,
        directory: own.path().to_owned(),
        pairs: number("PDKEYS_BENCH_PAIRS", if in_earnest { 200 } else { 2 })?,
        lines: if in_earnest { 50_000 } else { 100 },
    };
    for (keys, place) in &stores {
        processes.one_check(&mut results, *keys, place)?;
    }
    for (keys, place) in stores.iter().skip(1) {
        processes.batch(&mut results, *keys, place)?;
    }
    divan::main();
    Ok(if results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a check needs to know.
const RAW_SELECT: &str = "
    SELECT k.id, d.kind, d.ends_at, k.description, k.hint, k.access, k.scopes, k.disabled_at, k.expires_at, k.rate_limit
    FROM digest d JOIN general_key k ON k.row = d.holder
    WHERE d.digest = ?1";

/// How many keys are checked at a time.
const BATCH: usize = 10_000;

/// One store, and both ways to check its keys.
struct Checked {
    keys: u64,
    place: Place,
    verifier: Worker,
    raw_loop: Worker,
}

impl Checked {
    fn new(parent: &FilePath, keys: u64) -> Result<Self, Box<dyn Error>> {
        let place = support::kept_store(parent, keys)?;
        let raw = place.directory().join("raw.db");
        if !raw.exists() {
            let draft = place.directory().join("draft.db");
            copy_with_plain_digests(&place, keys, &draft)?;
            fs::rename(draft, &raw)?;
        }
        Ok(Self {
            keys,
            verifier: Worker::start(LIBRARY, place.database(), keys)?,
            raw_loop: Worker::start(RAW_LOOP, &raw, keys)?,
            place,
        })
    }

    /// Ends both processes, and gives the store.
    fn end(self) -> Result<(u64, Place), Box<dyn Error>> {
        self.verifier.end()?;
        self.raw_loop.end()?;
        Ok((self.keys, self.place))
    }

    /// The time of one check, by the library and by the raw loop, over the same keys.
    fn round(&mut self, round: u64) -> Result<(Duration, Duration), Box<dyn Error>> {
        if round.is_multiple_of(2) {
            let checked = self.verifier.batch(round)?;
            Ok((checked, self.raw_loop.batch(round)?))
        } else {
            let raw = self.raw_loop.batch(round)?;
            Ok((self.verifier.batch(round)?, raw))
        }
    }
}

/// A process that checks keys when it is told to.
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(how: &str, database: &FilePath, keys: u64) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(how).arg(database).arg(keys.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        Ok(Self { child, orders, answers: BufReader::new(answers) })
    }

    fn batch(&mut self, round: u64) -> Result<Duration, Box<dyn Error>> {
        writeln!(self.orders, "{round}")?;
        let mut nanoseconds = String::new();
        self.answers.read_line(&mut nanoseconds)?;
        Ok(Duration::from_nanos(nanoseconds.trim_end().parse()?))
    }

    fn end(self) -> Result<(), Box<dyn Error>> {
        let Self { mut child, orders, .. } = self;
        drop(orders);
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a worker ended with {status}").into()) }
    }
}

/// A worker's side: for the number of each round a batch of its own keys, and the time that one check took.
fn answer(
    keys: u64,
    check: impl Fn(&[String]) -> Result<Duration, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let mut draw = Draw(line?.parse::<u64>()?.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let secrets: Vec<String> = (0..BATCH).map(|_| support::secret(draw.below(keys) + 1)).collect();
        say(&check(&secrets)?.as_nanos().to_string())?;
    }
    Ok(())
}

fn with_library(verifier: &Verifier<SqliteStore>, secrets: &[String]) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let mut found = 0;
    for secret in secrets {
        found += usize::from(check(verifier, secret)?.credential.is_some());
    }
    time_of_one(started, found)
}

fn with_raw_loop(raw: &Connection, secrets: &[String]) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let mut statement = raw.prepare(RAW_SELECT)?;
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

/// Copies a store of so many keys, with the plain SHA-256 of each secret in the place of its digest: what a program
/// without a store key would have.
fn copy_with_plain_digests(place: &Place, keys: u64, to: &FilePath) -> Result<(), Box<dyn Error>> {
    fs::copy(place.database(), to)?;
    let mut connection = Connection::open(to)?;
    connection.execute_batch(support::QUICKLY)?;
    let tx = connection.transaction()?;
    tx.execute("DELETE FROM digest", [])?;
    {
        let mut digest =
            tx.prepare("INSERT INTO digest (digest, kind, holder) VALUES (?1, 'general', ?2)")?;
        for number in 1..=keys {
            let plain: [u8; 32] = Sha256::digest(support::secret(number)).into();
            digest.execute(params![plain, number])?;
        }
    }
    tx.commit()?;
    Ok(())
}

fn time_of_one(started: Instant, found: usize) -> Result<Duration, Box<dyn Error>> {
    let taken = started.elapsed();
    if found == BATCH {
        Ok(taken / u32::try_from(BATCH)?)
    } else {
        Err(format!("{found} of {BATCH} keys were found").into())
    }
}

/// A verifier of few keys again and again, or one of keys from all over the store.
fn verifier(place: &Place, many: bool) -> Result<Verifier<SqliteStore>, Box<dyn Error>> {
    let place = place.clone();
    let open =
        move || if many { SqliteStore::open(&place)?.for_many_keys() } else { SqliteStore::open(&place) };
    Ok(Verifier::new(open()?, open, UsageRecording::InMemory, SystemClock)?)
}

fn check(verifier: &Verifier<SqliteStore>, secret: &str) -> Result<Verdict, Box<dyn Error>> {
    Ok(black_box(verifier.verify(&Request {
        api: Api::Rest,
        presented: Presented::bare(secret.as_bytes()),
        method: "GET",
        path: b"/incidents/Q1/notes",
        via_gateway: false,
    })?))
}

fn in_process(results: &mut Results, stores: &mut [Checked], rounds: u64) -> Result<(), Box<dyn Error>> {
    let mut times = vec![Vec::new(); stores.len()];
    for round in 0..rounds + 2 {
        for (store, times) in stores.iter_mut().zip(&mut times) {
            let both = store.round(round)?;
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
    let verifier = verifier(&Place::new(database), false)?;
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

/// The floor of one check in a process of its own: what nobody who reads the same row and counts in the same way can do
/// without. The lean one leaves its logs behind too, as long as they are short.
fn raw_check(
    database: &OsStr,
    usage_file: &OsStr,
    key_file: &OsStr,
    lean: bool,
) -> Result<(), Box<dyn Error>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let key = fs::read(key_file)?;
    let main = Connection::open_with_flags(database, flags)?;
    let digest: [u8; 32] = Sha256::digest(key.trim_ascii_end()).into();
    let id: String = main.query_row(RAW_SELECT, [digest], |row| {
        for column in 1..row.as_ref().column_count() {
            black_box(row.get_ref(column)?);
        }
        row.get(0)
    })?;
    let mut usage = Connection::open_with_flags(usage_file, flags)?;
    usage.pragma_update(None, "synchronous", "NORMAL")?;
    if lean {
        let log = fs::metadata(FilePath::new(usage_file).with_extension("db-wal"))?;
        main.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        usage.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log.len() < 100 * 4096)?;
    }
    let at = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let tx = usage.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let window: Option<(i64, i64)> = tx
        .query_row("SELECT began_at, count FROM window WHERE id = ?1", [&id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (began_at, count) = match window {
        Some((began_at, count)) if at - began_at < 60_000 => (began_at, count + 1),
        _ => (at, 1),
    };
    tx.execute(
        "INSERT INTO window (id, began_at, count) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, count = excluded.count",
        params![id, began_at, count],
    )?;
    tx.execute(
        "INSERT INTO recent (id, at, hour, allowed, denied) VALUES (?1, ?2, ?3, 1, 0)
         ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at), hour = excluded.hour,
             allowed = excluded.allowed + iif(hour = excluded.hour, allowed, 0)
         WHERE excluded.hour >= hour",
        params![id, at, at / 3_600_000],
    )?;
    tx.commit()?;
    say(&format!("{id} {count}"))
}

/// The floor of the batch mode: it reads the lines, hashes the keys, and prints what it finds.
fn raw_batch(database: &OsStr) -> Result<(), Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Line<'l> {
        key: &'l str,
        method: &'l str,
        path: &'l str,
    }
    let main = Connection::open(database)?;
    let mut statement = main.prepare(RAW_SELECT)?;
    let columns = statement.column_count();
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let Line { key, method, path } = serde_json::from_str(&line)?;
        black_box((method, path));
        let digest: [u8; 32] = Sha256::digest(key).into();
        let mut rows = statement.query([digest])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Integer(value) => write!(out, "{value}\t")?,
                    ValueRef::Text(text) => {
                        out.write_all(text)?;
                        out.write_all(b"\t")?;
                    }
                    _ => out.write_all(b"\t")?,
                }
            }
        }
        out.write_all(b"\n")?;
        line.clear();
    }
    Ok(out.flush()?)
}

/// What is measured as whole processes.
struct Processes {
    pdkeys: OsString,
    floor: OsString,
    directory: PathBuf,
    pairs: u64,
    lines: u64,
}

impl Processes {
    fn one_check(&self, results: &mut Results, keys: u64, place: &Place) -> Result<(), Box<dyn Error>> {
        let key_file = self.directory.join("key");
        // A key that may do everything.
        fs::write(&key_file, support::secret(15))?;
        let [key_file, database] = [key_file.as_os_str(), place.database().as_os_str()];
        let check = || {
            let asked = ["verify", "--method", "GET", "--path", "/incidents", "--key-file"].map(OsStr::new);
            let all = [&["--store".as_ref(), database][..], &asked, &[key_file]].concat();
            command(&self.pdkeys, &all)
        };
        // It counts in a file of its own, in which all the tables are.
        time(check())?;
        let raw = place.directory().join("raw.db");
        let raw_usage = place.directory().join("raw.usage.db");
        let made = Connection::open(place.usage())?;
        if !raw_usage.exists() {
            made.execute("VACUUM INTO ?1", [raw_usage.to_str().ok_or("a path that is no text")?])?;
            Connection::open(&raw_usage)?.pragma_update(None, "journal_mode", "WAL")?;
        }
        drop(made);
        let floor = |how: &str| {
            let all = [RAW_CHECK.as_ref(), raw.as_os_str(), raw_usage.as_os_str(), key_file, OsStr::new(how)];
            command(&self.floor, &all)
        };
        let ratio = in_turn(self.pairs, |_| time(check()), |_| time(floor("plain")))?;
        let beside = "a raw program that reads the same row and counts in the same way";
        results.ratio(&format!("one `verify`, {keys} keys"), ratio, beside, 1.25)?;
        let ratio = in_turn(self.pairs, |_| time(check()), |_| time(floor("lean")))?;
        let Ratio { median, .. } = ratio;
        say(&format!(
            "one `verify`, {keys} keys: {median:.2} x such a program that leaves its logs behind too"
        ))
    }

    fn batch(&self, results: &mut Results, keys: u64, place: &Place) -> Result<(), Box<dyn Error>> {
        let input = self.directory.join("lines");
        let mut out = BufWriter::new(File::create(&input)?);
        let mut draw = Draw(keys | 1);
        for _ in 0..self.lines {
            // One that is not disabled, and for which an operation of its scopes is asked.
            let number = std::iter::repeat_with(|| draw.below(keys) + 1).find(|number| number % 20 != 7);
            let secret = support::secret(number.unwrap_or(1));
            writeln!(out, r#"{{"key": "{secret}", "method": "GET", "path": "/incidents"}}"#)?;
        }
        out.flush()?;
        let with_input = |mut command: Command| -> Result<Duration, Box<dyn Error>> {
            command.stdin(File::open(&input)?);
            time(command)
        };
        let raw = place.directory().join("raw.db");
        let floor = || command(&self.floor, &[RAW_BATCH.as_ref(), raw.as_os_str()]);
        let batch = || {
            let all =
                ["--store".as_ref(), place.database().as_os_str(), "verify".as_ref(), "--batch".as_ref()];
            command(&self.pdkeys, &all)
        };
        let pairs = std::cmp::min(self.pairs, 9);
        let ratio = in_turn(pairs, |_| with_input(batch()), |_| with_input(floor()))?;
        let beside = "a raw program that reads the same lines and rows";
        results.ratio(&format!("`verify --batch` of {} lines, {keys} keys", self.lines), ratio, beside, 1.0)
    }
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
