//! The command line: parse, open, run, one exit.

mod batch;
mod commands;
mod complete;
mod context;
mod credential;
mod failure;
mod handover;
mod lines;
mod moments;
mod prompt;
mod question;
mod render;
mod rows;
mod sarif;
#[cfg(feature = "serve")]
mod serve;
mod shell;
mod sources;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use commands::{Cli, deferring};
use context::Context;
use failure::Failure;
use terminal::Terminal;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = complete::answer_the_shell(&arguments) {
        return code;
    }
    // What the program was told, in which a secret may have been pasted: no message repeats it.
    let told: Vec<OsString> = arguments.iter().cloned().chain(context::settings()).collect();
    let cli = match deferring(&arguments, || Cli::try_parse_from(&arguments)) {
        Ok(cli) => cli,
        Err(error) => return failure::parse_error(&error, &told),
    };
    let terminal = Terminal::new(cli.globals.color, cli.globals.quiet).hiding(failure::secrets_amid(&told));
    let context = Context::new(cli.globals, terminal);
    match cli.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let failure = failure.without_secrets(&told);
            context.terminal.failure(&failure);
            Failure::code(&failure).into()
        }
    }
}
