//! What whole processes cost: `list` and `show` as somebody runs them, each beside its floor in the same run.
//!
//! Absolute times say little on a machine that others use too. So each measurement is a ratio: the two processes run
//! in turn, each pair gives one ratio, and the median of these counts. The lines that begin with `ratio |` are for
//! `benches/report`.
//!
//! Both programs run from copies, as an installed program does: where a linker wrote a file piece by piece, mapping it
//! costs more, and the larger file suffers more.
//!
//! `PDKEYS_BENCH_KEYS` sets the size of the large store, `PDKEYS_BENCH_PAIRS` the number of pairs. Without `--bench`,
//! which `cargo bench` passes, both are small and no limit is enforced: this only shows that the bench works.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]

#[path = "support/runs.rs"]
mod runs;
mod support;

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use pdkeys::store::{Place, Store as _, UsageCount, sqlite::SqliteStore};
use runs::{command, in_turn, time};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use support::measure::{self, Results, copy, directory, high_water_mark, number, say};

/// With this as its first argument the bench is the floor instead.
const FLOOR: &str = "raw-list";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // First of all, so that the floor starts as quickly as a program of its own would.
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(OsStr::new(FLOOR)) {
        raw_list(&arguments.next().unwrap_or_default(), arguments.next().as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let in_earnest = measure::in_earnest();
    let (keys, pairs) = if in_earnest { (1_000_000, 200) } else { (1_000, 4) };
    let programs = directory()?;
    let mut bench = Bench {
        pairs: number("PDKEYS_BENCH_PAIRS", pairs)?,
        keys: number("PDKEYS_BENCH_KEYS", keys)?,
        pdkeys: copy(env!("CARGO_BIN_EXE_pdkeys").as_ref(), programs.path(), "pdkeys")?,
        floor: copy(&env::current_exe()?, programs.path(), "floor")?,
        results: Results::new(),
    };
    bench.run()?;
    Ok(if bench.results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The floor: what nobody who opens the file and reads the same rows can do without.
fn raw_list(database: &OsStr, usage: Option<&OsStr>) -> Result<(), Box<dyn Error>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let main = Connection::open_with_flags(database, flags)?;
    let usage = usage.map(|usage| Connection::open_with_flags(usage, flags)).transpose()?;
    let mut keys = main.prepare(
        "SELECT k.id, k.description, k.hint, k.access, k.scopes, k.created_at, k.created_by, maker.name,
                k.disabled_at, k.disabled_by, disabler.name, k.disabled_reason, k.expires_at, k.rate_limit,
                k.overlap_ends_at
         FROM general_key k
         JOIN user maker ON maker.id = k.created_by
         LEFT JOIN user disabler ON disabler.id = k.disabled_by
         ORDER BY k.row",
    )?;
    let last_used = "SELECT max(at) FROM
        (SELECT at FROM recent WHERE id = ?1 UNION ALL SELECT at FROM last_used WHERE id = ?1)";
    let mut last_used = usage.as_ref().map(|usage| usage.prepare(last_used)).transpose()?;
    let columns = keys.column_count();
    let mut rows = keys.query([])?;
    let mut out = BufWriter::new(io::stdout().lock());
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
        if let Some(last_used) = &mut last_used {
            let id = row.get_ref(0)?.as_str()?;
            if let Some(at) = last_used.query_row([id], |row| row.get::<_, Option<i64>>(0))? {
                write!(out, "{at}")?;
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

struct Bench {
    pairs: u64,
    keys: u64,
    pdkeys: OsString,
    floor: OsString,
    results: Results,
}

impl Bench {
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let ten_directory = directory()?;
        let ten = support::make_store(ten_directory.path(), 10)?;
        self.lists(&ten)?;

        let large_directory = directory()?;
        let large = support::kept_store(large_directory.path(), self.keys)?;
        self.memory(&large)?;
        self.shows(&ten, &large)
    }

    fn lists(&mut self, ten: &Place) -> Result<(), Box<dyn Error>> {
        let database = ten.database();
        for (name, format) in [("list", "table"), ("list -o jsonl", "jsonl")] {
            let floor = || command(&self.floor, &[FLOOR.as_ref(), database.as_os_str()]);
            let list = || self.pdkeys(database, &["list", "-o", format]);
            let header = usize::from(format == "table");
            expect_lines(floor(), 10)?;
            expect_lines(list(), 10 + header)?;
            let ratio = in_turn(self.pairs, |_| time(list()), |_| time(floor()))?;
            let beside = "a raw program that opens the file and reads the same rows";
            self.results.ratio(&format!("{name} of ten keys"), ratio, beside, 1.5)?;
        }

        // The same when checks have been counted, so that there are two files to open.
        let directory = directory()?;
        let used = support::make_store(directory.path(), 10)?;
        let counts = (1..=10).map(|key| {
            Ok(UsageCount {
                id: support::id(key).parse()?,
                at: jiff::Timestamp::from_second(1_767_225_600)?,
                allowed: 1,
                denied: 0,
            })
        });
        SqliteStore::open(&used)?.add_usage(&counts.collect::<Result<Vec<_>, Box<dyn Error>>>()?)?;
        let usage = used.usage();
        let floor =
            || command(&self.floor, &[FLOOR.as_ref(), used.database().as_os_str(), usage.as_os_str()]);
        let list = || self.pdkeys(used.database(), &["list", "-o", "jsonl"]);
        expect_lines(floor(), 10)?;
        expect_lines(list(), 10)?;
        let ratio = in_turn(self.pairs, |_| time(list()), |_| time(floor()))?;
        let beside = "a raw program that opens both files and reads the same rows";
        self.results.ratio("list -o jsonl of ten used keys", ratio, beside, 1.5)
    }

    fn memory(&mut self, large: &Place) -> Result<(), Box<dyn Error>> {
        let name = format!("list -o jsonl of {} keys, peak memory in MiB", self.keys);
        if !cfg!(target_os = "linux") {
            return say(&format!("{name}: not measured on this system"));
        }
        let (kibibytes, lines) = peak_memory(self.pdkeys(large.database(), &["list", "-o", "jsonl"]))?;
        if lines != self.keys {
            return Err(format!("list printed {lines} lines for {} keys", self.keys).into());
        }
        let mebibytes = kibibytes / 1024.0;
        say(&format!("{name}: {mebibytes:.1} (limit 64)"))?;
        self.results.machine_readable(&name, mebibytes, 64.0)
    }

    fn shows(&mut self, ten: &Place, large: &Place) -> Result<(), Box<dyn Error>> {
        // Another key each time, all over the large store.
        let show = |place: &Place, keys: u64, pair: u64| {
            let number = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys + 1;
            self.pdkeys(place.database(), &["show", &support::id(number)])
        };
        expect_lines(show(ten, 10, 1), 9)?;
        let ratio =
            in_turn(self.pairs, |pair| time(show(large, self.keys, pair)), |pair| time(show(ten, 10, pair)))?;
        self.results.ratio(&format!("show ID of {} keys", self.keys), ratio, "the same of ten keys", 1.2)
    }

    fn pdkeys(&self, database: &Path, arguments: &[&str]) -> Command {
        let mut all: Vec<&OsStr> = vec!["--store".as_ref(), database.as_os_str()];
        all.extend(arguments.iter().map(|argument| OsStr::new(*argument)));
        command(&self.pdkeys, &all)
    }
}

fn expect_lines(mut command: Command, expected: usize) -> Result<(), Box<dyn Error>> {
    let output = command.stdout(Stdio::piped()).output()?;
    let lines = String::from_utf8(output.stdout)?.lines().count();
    if output.status.success() && lines == expected {
        return Ok(());
    }
    Err(format!("{command:?} printed {lines} lines instead of {expected} and ended with {}", output.status)
        .into())
}

/// The largest resident set of a process in KiB, and the lines that it printed. The kernel keeps the high-water mark;
/// read while output is still to come, it misses nothing but what the last buffer cost. What `wait4` says would count
/// this process too, as it was when it forked.
fn peak_memory(mut command: Command) -> Result<(f64, u64), Box<dyn Error>> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().ok_or("no standard output")?;
    let status = format!("/proc/{}/status", child.id());
    let mut buffer = vec![0; 1 << 16];
    let (mut peak, mut lines) = (0.0, 0);
    loop {
        // Not there any more when the process has ended.
        if let Some(mark) = fs::read_to_string(&status).ok().as_deref().and_then(high_water_mark) {
            peak = mark.max(peak);
        }
        let read = out.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        lines += buffer[..read].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
    }
    let ended = child.wait()?;
    if ended.success() && peak > 0.0 {
        Ok((peak, lines))
    } else {
        Err(format!("{command:?} ended with {ended}").into())
    }
}
