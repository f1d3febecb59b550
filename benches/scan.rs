//! What `pdkeys scan` costs on a source tree, beside `rg` searching the same tree for the same shapes by regular
//! expression, each with its own threads.
//!
//! The two run in turn, each pair gives one ratio, and the median of these counts. The tree is the sources of the
//! dependencies, or what `PDKEYS_BENCH_TREE` names; the store has `PDKEYS_BENCH_KEYS` keys. Without `--bench`, which
//! `cargo bench` passes, the tree is small and no limit is enforced.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own environment and streams")]
#![expect(dead_code, reason = "the benches share what they are made of, and this one takes a part")]

#[path = "support/runs.rs"]
mod runs;
mod support;

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use runs::{command, in_turn, time};
use support::measure::{self, Results, copy, directory, number, say};

/// The shapes of secrets, as somebody with nothing but a search tool would look for them.
const SHAPES: &str = "[A-Za-z0-9_-]{20}|u\\+[A-Za-z0-9_-]{18}|[0-9a-f]{32}|R[0-9A-Z]{31}|\
                      pdus\\+_0[0-9A-Z]{6}_[0-9a-f-]{36}|pdcs_[A-Za-z0-9_-]{43}";
/// `scan` is to be at 0.3 of the speed of `rg` at least: to take no more than this many times as long.
const LIMIT: f64 = 3.33;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let in_earnest = measure::in_earnest();
    let (keys, pairs) = if in_earnest { (100_000, 10) } else { (1_000, 1) };
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tree = match env::var_os("PDKEYS_BENCH_TREE") {
        Some(tree) => tree.into(),
        None if in_earnest => sources_of_dependencies()?,
        None => manifest.join("src"),
    };
    let Ok(rg) = which("rg") else {
        say("rg is not installed: nothing to compare with")?;
        return Ok(if in_earnest { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    let place = directory()?;
    let store = support::make_store(place.path(), number("PDKEYS_BENCH_KEYS", keys)?)?;
    let pdkeys = copy(env!("CARGO_BIN_EXE_pdkeys").as_ref(), place.path(), "pdkeys")?;
    let [store, tree] = [store.database().as_os_str(), tree.as_os_str()];
    let mut results = Results::new();
    let ratio = in_turn(
        number("PDKEYS_BENCH_PAIRS", pairs)?,
        |_| time(command(&pdkeys, &["scan".as_ref(), "--store".as_ref(), store, tree])),
        |_| {
            let options =
                ["-a", "--hidden", "--no-messages", "--count-matches", "-e", SHAPES].map(OsStr::new);
            time(command(rg.as_os_str(), &[options.as_slice(), &[tree]].concat()))
        },
    )?;
    say(&format!("tree: {}", tree.display()))?;
    results.ratio("scan of a source tree, time", ratio, "rg for the same shapes", LIMIT)?;
    Ok(if results.all_met() || !in_earnest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn which(program: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = env::var_os("PATH").ok_or("no PATH")?;
    let found = env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed").into())
}

/// Where cargo keeps the sources of the dependencies.
fn sources_of_dependencies() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = match (env::var_os("CARGO_HOME"), env::var_os("HOME")) {
        (Some(cargo), _) => PathBuf::from(cargo),
        (None, Some(home)) => PathBuf::from(home).join(".cargo"),
        (None, None) => {
            return Err("neither CARGO_HOME nor HOME is set; PDKEYS_BENCH_TREE names a tree".into());
        }
    };
    Ok(cargo.join("registry/src"))
}
