//! Programs that run to their end, and how long they take.

use std::error::Error;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::measure::Ratio;

/// A program to run without an environment, input or output.
pub(crate) fn command(program: &OsStr, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Does two things in turn, and again the other way round. The first two pairs only fill the caches.
pub(crate) fn in_turn(
    pairs: u64,
    mut measured: impl FnMut(u64) -> Result<Duration, Box<dyn Error>>,
    mut floor: impl FnMut(u64) -> Result<Duration, Box<dyn Error>>,
) -> Result<Ratio, Box<dyn Error>> {
    let mut times = Vec::new();
    for pair in 0..pairs + 2 {
        let both = if pair % 2 == 0 {
            let one = measured(pair)?;
            (one, floor(pair)?)
        } else {
            let other = floor(pair)?;
            (measured(pair)?, other)
        };
        if pair >= 2 {
            times.push(both);
        }
    }
    Ok(Ratio::of(&times))
}

/// How long a program takes, from its start to its end.
pub(crate) fn time(mut command: Command) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let status = command.status()?;
    let taken = started.elapsed();
    if status.success() { Ok(taken) } else { Err(format!("{command:?} ended with {status}").into()) }
}
