//! The commands: one file a group, the arguments above the function that runs them.

mod account;
mod apps;
mod audit;
mod backup;
mod doctor;
mod export;
mod generate;
mod import;
mod init;
mod integrations;
mod keys;
mod revoke;
mod rotation;
pub(crate) mod scan;
#[cfg(feature = "serve")]
mod serve;
mod services;
mod tokens;
mod usage;
mod users;
mod verify;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};
use pdkeys::manage::DestinationKind;

use crate::context::{Context, Globals};
use crate::failure::{Exit, Failure};
use crate::render::Format;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// API keys for any HTTP API: make, list, disable, rotate, audit and check them
///
/// The keys live in one SQLite file, with a store key beside it. Standard output is data and nothing else; notices,
/// questions and errors go to standard error.
#[derive(Debug, Parser)]
#[command(name = "pdkeys", version, styles = STYLES, max_term_width = 100, propagate_version = true)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command ends with.
pub(crate) const EXIT_CODES: &str = "\
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
  NO_COLOR               no colour";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    Whoami(account::Whoami),
    Create(keys::Create),
    List(keys::List),
    Show(keys::Show),
    Edit(keys::Edit),
    Disable(keys::Disable),
    Enable(keys::Enable),
    Rotate(keys::Rotate),
    Remove(keys::Remove),
    Verify(verify::Verify),
    Explain(verify::Explain),
    Revoke(revoke::Revoke),
    Usage(usage::Usage),
    Import(import::Import),
    Export(export::Export),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    /// Manage user tokens: your own, bounded by your role
    #[command(subcommand)]
    Token(tokens::Token),
    /// Manage services, which events are routed to
    #[command(subcommand)]
    Service(services::Service),
    /// Manage orchestrations, which route events to services
    #[command(subcommand)]
    Orchestration(services::Service),
    /// Manage integrations and their keys, for the Events API
    #[command(subcommand)]
    Integration(integrations::Integration),
    /// Manage registered apps and their one-day tokens
    #[command(subcommand)]
    App(apps::App),
    /// Manage the account's users
    #[command(subcommand)]
    User(users::User),
    /// See and change the account
    #[command(subcommand)]
    Account(account::Account),
    /// Read and verify the audit trail
    #[command(subcommand)]
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    Scan(scan::Scan),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Completions(generate::Completions),
    Man(generate::Man),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if context.globals.output == Format::Sarif && !matches!(self, Self::Scan(_)) {
            return Err(Failure::usage("only pdkeys scan prints SARIF"));
        }
        match self {
            Self::Init(command) => command.run(context),
            Self::Whoami(command) => command.run(context),
            Self::Create(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Edit(command) => command.run(context),
            Self::Disable(command) => command.run(context),
            Self::Enable(command) => command.run(context),
            Self::Rotate(command) => command.run(context),
            Self::Remove(command) => command.run(context),
            Self::Verify(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Revoke(command) => command.run(context),
            Self::Usage(command) => command.run(context),
            Self::Import(command) => command.run(context),
            Self::Export(command) => command.run(context),
            #[cfg(feature = "serve")]
            Self::Serve(command) => command.run(context),
            Self::Token(command) => command.run(context),
            Self::Service(command) => command.run(context, DestinationKind::Service),
            Self::Orchestration(command) => command.run(context, DestinationKind::Orchestration),
            Self::Integration(command) => command.run(context),
            Self::App(command) => command.run(context),
            Self::User(command) => command.run(context),
            Self::Account(command) => command.run(context),
            Self::Audit(command) => command.run(context),
            Self::Doctor(command) => command.run(context),
            Self::Scan(command) => command.run(context),
            Self::Backup(command) => command.run(context),
            Self::Restore(command) => command.run(context),
            Self::Completions(command) => command.run(context),
            Self::Man(command) => command.run(context),
        }
    }
}

/// A new value, or `none`.
#[expect(clippy::option_option, reason = "an edit's own type: leave it, take it away, or set it")]
fn or_none<T, E>(
    text: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<Option<T>>, E> {
    text.map(|text| if text == "none" { Ok(None) } else { parse(&text).map(Some) }).transpose()
}
