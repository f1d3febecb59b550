//! `pdkeys completions` and `pdkeys man`: what is generated from the definitions of the commands.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::env::Shells;

use super::Cli;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::render;

/// A shell that completion scripts are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
}

impl Shell {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
        }
    }
}

/// Print the completion script of a shell
///
/// The script asks pdkeys itself, so that ids and names complete from the store.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let cannot = || Failure::failed(format!("no completion script for {}", self.shell.name()));
        let mut script = Vec::new();
        Shells::builtins()
            .completer(self.shell.name())
            .ok_or_else(cannot)?
            .write_registration("COMPLETE", "pdkeys", "pdkeys", "pdkeys", &mut script)
            .map_err(|_| cannot())?;
        render::line(&context.terminal, String::from_utf8_lossy(&script).trim_end())?;
        Ok(Exit::Done)
    }
}

/// Write the manual pages, one for each command
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The directory to write them to
    #[arg(value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("{}: {error}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(failed)?;
        context.terminal.done("Wrote", &format!("the manual pages to {}", self.directory.display()));
        Ok(Exit::Done)
    }
}
