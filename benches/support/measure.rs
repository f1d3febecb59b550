//! Measuring one thing beside another, and saying what came of it.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

/// Whether `cargo bench` runs the bench, and limits are to be met.
pub(crate) fn in_earnest() -> bool {
    env::args_os().any(|argument| argument == "--bench")
}

/// A size that an environment variable may set.
pub(crate) fn number(variable: &str, otherwise: u64) -> Result<u64, Box<dyn Error>> {
    match env::var(variable) {
        Ok(text) => text.parse().map_err(|error| format!("{variable}: {error}").into()),
        Err(_) => Ok(otherwise),
    }
}

/// What was measured so far: whether every limit was met.
#[derive(Debug)]
pub(crate) struct Results {
    all_met: bool,
}

impl Results {
    pub(crate) fn new() -> Self {
        Self { all_met: true }
    }

    pub(crate) fn all_met(&self) -> bool {
        self.all_met
    }

    /// Says how one thing compares with another.
    pub(crate) fn ratio(
        &mut self,
        name: &str,
        ratio: Ratio,
        beside: &str,
        limit: f64,
    ) -> Result<(), Box<dyn Error>> {
        let Ratio { median, measured, floor } = ratio;
        say(&format!(
            "{name}: {median:.2} x {beside} (limit {limit}); {} and {}",
            in_words(measured),
            in_words(floor)
        ))?;
        self.machine_readable(name, median, limit)
    }

    /// Says a number and its limit, for `benches/report`.
    pub(crate) fn machine_readable(
        &mut self,
        name: &str,
        value: f64,
        limit: f64,
    ) -> Result<(), Box<dyn Error>> {
        self.all_met &= value <= limit;
        say(&format!("ratio | {name} | {value:.2} | {limit}"))
    }
}

fn in_words(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds < 0.1 { format!("{:.2} us", milliseconds * 1e3) } else { format!("{milliseconds:.2} ms") }
}

pub(crate) fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// On the disk that is built on, not in a file system that may be memory.
pub(crate) fn directory() -> io::Result<TempDir> {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))
}

/// Copies a program, as an installed one is: where a linker wrote a file piece by piece, mapping it costs more, and
/// the larger file suffers more.
pub(crate) fn copy(program: &Path, directory: &Path, name: &str) -> io::Result<OsString> {
    let copy = directory.join(name);
    fs::copy(program, &copy).map(|_| copy.into_os_string())
}

/// How long one thing takes beside another, and both times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) measured: Duration,
    pub(crate) floor: Duration,
}

impl Ratio {
    /// The median of what each pair says.
    pub(crate) fn of(pairs: &[(Duration, Duration)]) -> Self {
        let ratios = pairs.iter().map(|(one, other)| one.as_secs_f64() / other.as_secs_f64()).collect();
        Self {
            median: middle(ratios, f64::total_cmp),
            measured: middle(pairs.iter().map(|(one, _)| *one).collect(), Duration::cmp),
            floor: middle(pairs.iter().map(|(_, other)| *other).collect(), Duration::cmp),
        }
    }
}

fn middle<T: Copy + Default>(mut values: Vec<T>, compare: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(compare);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The largest resident set so far in KiB, out of a process's `/proc/PID/status`.
pub(crate) fn high_water_mark(status: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}
