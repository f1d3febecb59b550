//! The commands `pdkeys completions` and `pdkeys man`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::paths::no_stream;
use crate::session::Context;
use crate::shell::Shell;

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
        output::line(&context.terminal, self.shell.script().trim_end())?;
        Ok(Exit::Done)
    }
}

/// Write the manual pages, one for each command
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The directory to write them to
    #[arg(value_hint = clap::ValueHint::DirPath, value_parser = no_stream("directory"))]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, context: &Context, parser: fn() -> Command) -> Result<Exit, Failure> {
        let failed = |error: io::Error| Failure::failed(format!("{}: {error}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let mut command = parser().disable_help_subcommand(true);
        command.build();
        write_pages(&self.directory, &command).map_err(failed)?;
        context.terminal.done("Wrote", &format!("the manual pages to {}", self.directory.display()));
        Ok(Exit::Done)
    }
}

/// Writes the pages of a command and its subcommands.
fn write_pages(directory: &Path, command: &Command) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(directory, below)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut bytes = Vec::new();
    page.render(&mut bytes)?;
    put_in_place(directory, &page.get_filename(), &bytes)
}

/// Writes a file under a temporary name and renames it, so that a link of the final name is replaced and not followed.
fn put_in_place(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = directory.join(format!(".{name}.{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&draft, directory.join(name)));
    if written.is_err() {
        // If this fails, the draft stays behind; the error that led here is reported already.
        let _ = fs::remove_file(&draft);
    }
    written
}
