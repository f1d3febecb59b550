//! The command line: parse, open, run, one exit.

mod ask;
mod check_json;
mod cli;
mod commands;
mod complete;
mod environment;
mod failure;
mod formula;
mod input;
mod os_user;
mod output;
mod paths;
mod prompt;
mod redaction;
mod rights;
#[cfg(feature = "serve")]
mod serve;
mod session;
mod shell;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::Cli;
use rights::Rights;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let rights = Rights::of_process();
    if let Some(code) = complete::answer_the_shell(&arguments, rights, cli::PARSER) {
        return code;
    }
    // A secret may have been pasted into any of these, and no message repeats it.
    let given: Vec<OsString> = arguments.iter().cloned().chain(environment::settings()).collect();
    let (cli, files) = match Cli::parse_from(&arguments, rights) {
        Ok(parsed) => parsed,
        Err(error) => return cli::report(&error, &given),
    };
    let terminal = cli.terminal().hiding(redaction::certain_secrets(&given));
    let (command, context) = cli.into_parts(terminal, rights);
    match files.and_then(|()| command.run(&context, cli::PARSER.command)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let failure = failure.without_secrets(&given);
            context.terminal.failure(&failure);
            failure.code().into()
        }
    }
}
