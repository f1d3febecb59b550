//! Builds the arguments of a command only if it is called.
//!
//! Building those of all seventy commands, with their help, takes as long as listing the keys of a small store. Help needs
//! all of them, since it shows a line of each.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

/// Whether building is deferred. It is while a command line is parsed, and not for completion and manual pages.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Runs `parse` with building deferred, unless the arguments ask for help.
pub(crate) fn deferring<T>(arguments: &[OsString], parse: impl FnOnce() -> T) -> T {
    let asks_for_help = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let is_among_short = text.starts_with('-') && !text.starts_with("--") && text.contains('h');
        is_among_short || text == "help" || text == "--help"
    };
    IS_ON.store(arguments.len() > 1 && !arguments.iter().any(asks_for_help), Ordering::Relaxed);
    let parsed = parse();
    IS_ON.store(false, Ordering::Relaxed);
    parsed
}

/// The arguments or subcommands of a command.
#[derive(Debug)]
pub(crate) struct Deferred<T>(pub(crate) T);

fn augment(command: Command, augment: fn(Command) -> Command) -> Command {
    if IS_ON.load(Ordering::Relaxed) { command.defer(augment) } else { augment(command) }
}

impl<T: FromArgMatches> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        augment(command, T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        augment(command, T::augment_args_for_update)
    }
}

impl<T: Subcommand> Subcommand for Deferred<T> {
    fn augment_subcommands(command: Command) -> Command {
        augment(command, T::augment_subcommands)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        augment(command, T::augment_subcommands_for_update)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}
