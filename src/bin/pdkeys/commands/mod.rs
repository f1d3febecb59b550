//! The commands. Each group has a file, with the arguments of a command above the function that runs it.

mod account;
mod apps;
mod args;
mod audit;
mod backup;
mod batch;
mod deferred;
mod doctor;
mod export;
mod generate;
mod import;
mod init;
mod integrations;
mod keys;
mod resource;
mod revoke;
mod scan;
#[cfg(feature = "serve")]
mod serve;
mod services;
mod tokens;
mod usage;
mod users;
mod verify;

use clap::Subcommand;
use pdkeys::manage::DestinationKind;

use deferred::Deferred;

use crate::failure::{Exit, Failure};
use crate::output::Format;
use crate::session::Context;

pub(crate) use deferred::deferring;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(Deferred<init::Init>),
    Whoami(Deferred<account::Whoami>),
    Create(Deferred<keys::Create>),
    List(Deferred<keys::List>),
    Show(Deferred<keys::Show>),
    Edit(Deferred<keys::Edit>),
    Disable(Deferred<keys::Disable>),
    Enable(Deferred<keys::Enable>),
    Rotate(Deferred<keys::Rotate>),
    Remove(Deferred<keys::Remove>),
    Verify(Deferred<verify::Verify>),
    Explain(Deferred<verify::Explain>),
    Revoke(Deferred<revoke::Revoke>),
    Usage(Deferred<usage::Usage>),
    Import(Deferred<import::Import>),
    Export(Deferred<export::Export>),
    #[cfg(feature = "serve")]
    Serve(Deferred<serve::Serve>),
    /// Manage user tokens: your own, bounded by your role
    #[command(subcommand)]
    Token(Deferred<tokens::Token>),
    /// Manage services, which events are routed to
    #[command(subcommand)]
    Service(Deferred<services::Service>),
    /// Manage orchestrations, which route events to services
    #[command(subcommand)]
    Orchestration(Deferred<services::Service>),
    /// Manage integrations and their keys, for the Events API
    #[command(subcommand)]
    Integration(Deferred<integrations::Integration>),
    /// Manage registered apps and their one-day tokens
    #[command(subcommand)]
    App(Deferred<apps::App>),
    /// Manage the account's users
    #[command(subcommand)]
    User(Deferred<users::User>),
    /// See and change the account
    #[command(subcommand)]
    Account(Deferred<account::Account>),
    /// Read and verify the audit trail
    #[command(subcommand)]
    Audit(Deferred<audit::Audit>),
    Doctor(Deferred<doctor::Doctor>),
    Scan(Deferred<scan::Scan>),
    Backup(Deferred<backup::Backup>),
    Restore(Deferred<backup::Restore>),
    Completions(Deferred<generate::Completions>),
    Man(Deferred<generate::Man>),
}

impl Command {
    /// Runs the command. `parser` builds the definition of all commands, from which manual pages are made.
    pub(crate) fn run(self, context: &Context, parser: fn() -> clap::Command) -> Result<Exit, Failure> {
        if context.output == Format::Sarif && !matches!(self, Self::Scan(_)) {
            return Err(Failure::usage("only pdkeys scan prints SARIF"));
        }
        let is_csv = match context.output {
            Format::Csv => true,
            Format::Table => matches!(self, Self::Export(_)),
            Format::Json | Format::Jsonl | Format::Sarif => false,
        };
        if context.terminal.raw_csv() && !is_csv {
            return Err(Failure::usage("--raw says how CSV is printed, and something else is")
                .with_hint("give it with -o csv; JSON has every text as it is"));
        }
        match self {
            Self::Init(command) => command.0.run(context),
            Self::Whoami(command) => command.0.run(context),
            Self::Create(command) => command.0.run(context),
            Self::List(command) => command.0.run(context),
            Self::Show(command) => command.0.run(context),
            Self::Edit(command) => command.0.run(context),
            Self::Disable(command) => command.0.run(context),
            Self::Enable(command) => command.0.run(context),
            Self::Rotate(command) => command.0.run(context),
            Self::Remove(command) => command.0.run(context),
            Self::Verify(command) => command.0.run(context),
            Self::Explain(command) => command.0.run(context),
            Self::Revoke(command) => command.0.run(context),
            Self::Usage(command) => command.0.run(context),
            Self::Import(command) => command.0.run(context),
            Self::Export(command) => command.0.run(context),
            #[cfg(feature = "serve")]
            Self::Serve(command) => command.0.run(context),
            Self::Token(command) => command.0.run(context),
            Self::Service(command) => command.0.run(context, DestinationKind::Service),
            Self::Orchestration(command) => command.0.run(context, DestinationKind::Orchestration),
            Self::Integration(command) => command.0.run(context),
            Self::App(command) => command.0.run(context),
            Self::User(command) => command.0.run(context),
            Self::Account(command) => command.0.run(context),
            Self::Audit(command) => command.0.run(context),
            Self::Doctor(command) => command.0.run(context),
            Self::Scan(command) => command.0.run(context),
            Self::Backup(command) => command.0.run(context),
            Self::Restore(command) => command.0.run(context),
            Self::Completions(command) => command.0.run(context),
            Self::Man(command) => command.0.run(context, parser),
        }
    }
}
