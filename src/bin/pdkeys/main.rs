//! The command line: parse, open, run, one exit.

mod check_json;
mod commands;
mod complete;
mod failure;
mod formula;
mod input;
mod output;
mod paths;
mod prompt;
mod rights;
#[cfg(feature = "serve")]
mod serve;
mod session;
mod shell;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, FromArgMatches as _};

use commands::{Cli, deferring};
use failure::Failure;
use rights::Rights;
use session::Context;
use terminal::Terminal;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let rights = Rights::of_process();
    if let Some(code) = complete::answer_the_shell(&arguments, rights) {
        return code;
    }
    // What the program was told, in which a secret may have been pasted: no message repeats it.
    let told: Vec<OsString> = arguments.iter().cloned().chain(session::settings()).collect();
    let (cli, files) = match deferring(&arguments, || parse(&arguments, rights)) {
        Ok(parsed) => parsed,
        Err(error) => return failure::parse_error(&error, &told),
    };
    let terminal = Terminal::new(cli.globals.color, cli.globals.quiet)
        .hiding(failure::secrets_amid(&told))
        .with_raw_csv(cli.globals.raw);
    let context = Context::new(cli.globals, terminal, rights);
    match files.and_then(|()| cli.command.run(&context)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let failure = failure.without_secrets(&told);
            context.terminal.failure(&failure);
            Failure::code(&failure).into()
        }
    }
}

/// Parses the command line, and tells whether the files that it names can be used.
fn parse(arguments: &[OsString], rights: Rights) -> Result<(Cli, Result<(), Failure>), clap::Error> {
    let mut command = Cli::command();
    refuse_repeated(&mut command, arguments)?;
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let files = paths::refuse_unexpanded(&command, &matches);
    Ok((cli, files.and_then(|()| rights.refuse_files(&command, &matches))))
}

/// Refuses a global option that says which store is meant or who acts, and is given both before and after the name of
/// the command. clap would take the second one, so that a script that begins with `pdkeys --store PATH "$@"` would not
/// hold its callers to that store.
fn refuse_repeated(command: &mut Command, arguments: &[OsString]) -> Result<(), clap::Error> {
    let is_given = |argument: &OsString, option: &str| {
        let after = argument.as_encoded_bytes().strip_prefix(option.as_bytes());
        after.is_some_and(|after| after.is_empty() || after.starts_with(b"="))
    };
    for option in ["--store", "--token-file", "--as"] {
        let options = arguments.iter().skip(1).take_while(|argument| *argument != "--");
        if options.filter(|argument| is_given(argument, option)).count() > 1 {
            let message = format!("the argument '{option}' cannot be used multiple times");
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(())
}
