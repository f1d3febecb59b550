//! What importing keys costs, beside a raw loop that inserts the same rows.
//!
//! `pdkeys import` of a CSV file, as a process: it reads and hashes the file, makes digests, draws ids, looks for what
//! is there already, and writes the audit record. The floor has its rows ready in memory, and puts them into the same
//! two tables by two prepared statements in one transaction, with the same settings, as durably. Both begin with an
//! empty store each time.
//!
//! `PDKEYS_BENCH_KEYS` sets the number of keys, `PDKEYS_BENCH_IMPORTS` how often it is done.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]
#![expect(dead_code, reason = "the benches share what they are made of, and this one takes a part")]

#[path = "support/runs.rs"]
mod runs;
mod support;

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use pdkeys::model::{Digest, Secret};
use pdkeys::store::Store as _;
use pdkeys::store::sqlite::SqliteStore;
use runs::{command, in_turn, time};
use rusqlite::{Connection, TransactionBehavior, params};
use support::measure::{self, Results, copy, directory, high_water_mark, number};

/// The most memory that an import may take, in MiB, however long its file is: what SQLite may keep of the store, and
/// some for the rest.
const MOST_MEMORY: f64 = 192.0;
/// 2026-01-01, in milliseconds since 1970, and as it stands in the file.
const MADE: u64 = 1_767_225_600_000;
const MADE_ON: &str = "2026-01-01";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let in_earnest = measure::in_earnest();
    let keys = number("PDKEYS_BENCH_KEYS", if in_earnest { 1_000_000 } else { 2_000 })?;
    let pairs = number("PDKEYS_BENCH_IMPORTS", if in_earnest { 3 } else { 1 })?;
    let own = directory()?;
    let mut results = Results::new();
    let bench = Bench::new(own.path(), keys)?;
    let ratio = in_turn(pairs, |_| bench.import(), |_| bench.raw_loop())?;
    let name = format!("import of {keys} keys, beside a raw loop that inserts the same rows");
    results.ratio(&name, ratio, "a raw loop", 2.0)?;
    let name = format!("memory at the height of an import of {keys} keys, in MiB");
    results.machine_readable(&name, bench.memory()?, MOST_MEMORY)?;
    Ok(if results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file of keys, the same keys as rows, and an empty store.
struct Bench {
    directory: PathBuf,
    program: std::ffi::OsString,
    file: PathBuf,
    rows: Vec<Row>,
    owner: String,
}

struct Row {
    id: String,
    description: String,
    hint: String,
    digest: Digest,
}

impl Bench {
    fn new(directory: &Path, keys: u64) -> Result<Self, Box<dyn Error>> {
        let empty = directory.join("empty");
        fs::create_dir(&empty)?;
        set_private(&empty)?;
        let place = support::make_store(&empty, 0)?;
        let keyring = SqliteStore::open(&place)?.keyring()?;
        let file = directory.join("keys.csv");
        let mut csv = BufWriter::new(File::create(&file)?);
        writeln!(csv, "kind,secret,description,access,created_at")?;
        let mut rows = Vec::new();
        for number in 1..=keys {
            let plain = support::secret(number);
            let description = format!("deploy pipeline of service {number}");
            writeln!(csv, "general,{plain},{description},full,{MADE_ON}")?;
            let secret = Secret::presented(plain);
            rows.push(Row {
                id: support::id(number),
                description,
                hint: secret.hint().as_str().to_owned(),
                digest: keyring.digest(&secret.fingerprint()),
            });
        }
        csv.flush()?;
        let owner =
            Connection::open(place.database())?.query_row("SELECT id FROM user", [], |row| row.get(0))?;
        let program = copy(env!("CARGO_BIN_EXE_pdkeys").as_ref(), directory, "pdkeys")?;
        Ok(Self { directory: directory.to_owned(), program, file, rows, owner })
    }

    /// Puts an empty store in place, and gives its database.
    fn empty_store(&self) -> Result<PathBuf, Box<dyn Error>> {
        let used = self.directory.join("used");
        if used.exists() {
            fs::remove_dir_all(&used)?;
        }
        fs::create_dir(&used)?;
        set_private(&used)?;
        for entry in fs::read_dir(self.directory.join("empty"))? {
            let entry = entry?;
            fs::copy(entry.path(), used.join(entry.file_name()))?;
        }
        Ok(support::store_in(&used).database().to_owned())
    }

    fn import(&self) -> Result<Duration, Box<dyn Error>> {
        let database = self.empty_store()?;
        let taken = time(command(&self.program, &self.arguments(&database)))?;
        let count: usize =
            Connection::open(&database)?.query_row("SELECT count(*) FROM digest", [], |row| row.get(0))?;
        if count != self.rows.len() {
            return Err(format!("{count} of {} keys came in", self.rows.len()).into());
        }
        Ok(taken)
    }

    /// The most memory that an import has taken while it was looked at, in MiB.
    fn memory(&self) -> Result<f64, Box<dyn Error>> {
        let database = self.empty_store()?;
        let mut child = command(&self.program, &self.arguments(&database)).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0.0_f64;
        while child.try_wait()?.is_none() {
            most = fs::read_to_string(&status)
                .ok()
                .as_deref()
                .and_then(high_water_mark)
                .unwrap_or(0.0)
                .max(most);
            sleep(Duration::from_millis(5));
        }
        Ok(most / 1024.0)
    }

    fn arguments<'a>(&'a self, database: &'a Path) -> [&'a OsStr; 5] {
        let option = OsStr::new;
        [option("import"), self.file.as_os_str(), option("--quiet"), option("--store"), database.as_os_str()]
    }

    fn raw_loop(&self) -> Result<Duration, Box<dyn Error>> {
        let database = self.empty_store()?;
        let started = Instant::now();
        let mut connection = Connection::open(database)?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
             PRAGMA cache_size = -131072",
        )?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut key = tx.prepare(
                "INSERT INTO general_key (row, id, description, hint, access, created_at, created_by)
                 VALUES (?1, ?2, ?3, ?4, 'full', ?5, ?6)",
            )?;
            let mut digest =
                tx.prepare("INSERT INTO digest (digest, kind, holder) VALUES (?1, 'general', ?2)")?;
            for (number, row) in (1_i64..).zip(&self.rows) {
                key.execute(params![number, row.id, row.description, row.hint, MADE, self.owner])?;
                digest.execute(params![row.digest.as_bytes(), number])?;
            }
        }
        tx.commit()?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(started.elapsed())
    }
}

fn set_private(directory: &Path) -> Result<(), Box<dyn Error>> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?)
}
