//! The parser of the command line, and the options that every command takes.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser};
use clap_complete::ArgValueCompleter;

use crate::commands::{self, deferring};
use crate::complete;
use crate::failure::{Exit, Failure, hint_for_value};
use crate::output::Format;
use crate::paths::{self, no_stream};
use crate::redaction::{hide, possible_secrets};
use crate::rights::Rights;
use crate::session::Context;
use crate::terminal::{Color, Terminal, width_of_help};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// What completion needs to know of the parser, whose arguments name the completers.
pub(crate) const PARSER: complete::Parser =
    complete::Parser { command: Cli::command, context: context_for_completion };

/// API keys for any HTTP API: make, list, disable, rotate, audit and check them
///
/// The keys live in one SQLite file, with a store key beside it. Standard output is data and nothing else; notices,
/// questions and errors go to standard error.
#[derive(Debug, Parser)]
// Without `term_width`, clap would use `COLUMNS` even where help does not go to a terminal.
#[command(name = "pdkeys", version, styles = STYLES, term_width = width_of_help(), propagate_version = true)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,

    #[command(subcommand)]
    command: commands::Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or allowed
  1  it failed, or the store is missing or unusable
  2  called wrongly
  3  the answer is no
  4  not permitted
  5  no such thing in the store
  6  not confirmed, and not done

Environment:
  PDKEYS_STORE           the store's file
  PDKEYS_STORE_KEY_FILE  the store key's file, if it does not lie beside the store
  PDKEYS_TOKEN           a user token; its owner is the acting user
  PDKEYS_KEY             the credential that verify checks
  NO_COLOR               no colour
  TERM                   no colour and no progress if it is dumb
  COLUMNS                the width of a terminal that does not say it";

/// Options that every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Use the store in this file instead of the one at the default place
    ///
    /// `PDKEYS_STORE` does the same. The file must have been made with `pdkeys init`.
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("store"))]
    store: Option<PathBuf>,

    /// Act as the owner of the user token in this file
    ///
    /// `PDKEYS_TOKEN` does the same with the token itself. A token that is not accepted is an error; the
    /// operating-system user is never tried instead.
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("token file"))]
    token_file: Option<PathBuf>,

    /// Act as this user; only the Account Owner may
    #[arg(long = "as", global = true, value_name = "USER", add = ArgValueCompleter::new(complete::users_to_act_as))]
    on_behalf_of: Option<String>,

    /// Do it without asking
    #[arg(short, long, global = true)]
    yes: bool,

    /// Print no notices and hints
    #[arg(short, long, global = true)]
    quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,

    /// How to print data
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,

    /// Print cells of CSV as they are, without the quote before what a spreadsheet would compute
    #[arg(long, global = true)]
    raw: bool,
}

impl Globals {
    fn context(self, terminal: Terminal, rights: Rights) -> Context {
        let Self { store, token_file, on_behalf_of, yes, output, quiet: _, color: _, raw: _ } = self;
        Context { store, token_file, on_behalf_of, yes, output, terminal, rights }
    }
}

impl Cli {
    /// Returns the terminal that the options describe.
    pub(crate) fn terminal(&self) -> Terminal {
        Terminal::new(self.globals.color, self.globals.quiet).with_raw_csv(self.globals.raw)
    }

    /// Returns the command, and the context to run it in.
    pub(crate) fn into_parts(self, terminal: Terminal, rights: Rights) -> (commands::Command, Context) {
        (self.command, self.globals.context(terminal, rights))
    }

    /// Parses the command line. The second result says whether the process may use the files that it names.
    pub(crate) fn parse_from(
        arguments: &[OsString],
        rights: Rights,
    ) -> Result<(Self, Result<(), Failure>), clap::Error> {
        deferring(arguments, || {
            let mut command = Self::command();
            refuse_repeated(&mut command, arguments)?;
            let matches = command.try_get_matches_from_mut(arguments)?;
            let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
            let files = paths::refuse_unexpanded(&command, &matches);
            Ok((cli, files.and_then(|()| rights.refuse_files(&command, &matches))))
        })
    }
}

/// Returns the context of a line that is being completed. A line that cannot be parsed yet gets the defaults.
fn context_for_completion(matches: Option<&ArgMatches>) -> Context {
    let globals = matches.and_then(|matches| Globals::from_arg_matches(matches).ok()).unwrap_or_default();
    globals.context(Terminal::new(Color::Never, true), Rights::of_process())
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

/// Prints what clap reports, help included, and returns the exit code. An argument that looks like a secret is replaced
/// by its hint.
pub(crate) fn report(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let terminal = Terminal::new(Color::Auto, false);
    let secrets = possible_secrets(arguments);
    let rendered = error.render();
    let plain = if secrets.is_empty() { rendered.ansi().to_string() } else { rendered.to_string() };
    let shown = hide(&secrets, &plain);
    let written = if error.use_stderr() {
        write!(terminal.notices(), "{shown}").map_err(|_| ())
    } else {
        let mut out = terminal.data();
        write!(out, "{shown}").and_then(|()| out.flush()).map_err(|_| ())
    };
    if error.use_stderr()
        && let Some(hint) = hint_for_value(error)
    {
        let _ = writeln!(terminal.notices(), "\nhint: {hint}");
    }
    match (error.use_stderr(), written) {
        (true, _) => Exit::Usage.into(),
        (false, Ok(())) => Exit::Done.into(),
        (false, Err(())) => Exit::Failed.into(),
    }
}
