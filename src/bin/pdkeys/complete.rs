//! Answers the shell's completion scripts: the ids and names of what the acting user may list.
//!
//! Quick and silent: whatever goes wrong, the shell completes nothing.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use pdkeys::manage::{DestinationKind, Session, Whose};
use pdkeys::model::{KeyFilter, KeyOrder};
use pdkeys::store::sqlite::SqliteStore;

use crate::commands::Cli;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::{Color, Terminal};

/// The most candidates that a shell is shown.
const MOST: usize = 200;

/// Answers if a completion script asks.
pub(crate) fn answer_the_shell(arguments: &[OsString]) -> Option<ExitCode> {
    // Looked at first: building the whole command for every start would cost more than most commands do.
    crate::context::variable("COMPLETE")?;
    let directory = std::env::current_dir().ok();
    match CompleteEnv::with_factory(Cli::command)
        .try_complete(arguments.iter().cloned(), directory.as_deref())
    {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Ids of general keys.
pub(crate) fn key_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_keys(&KeyFilter::default(), KeyOrder::Created, true, &mut |key| {
            Ok(add(key.id.to_string(), key.description.to_string()))
        })
    })
}

/// Ids of the acting user's tokens.
pub(crate) fn token_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_tokens(&Whose::Own, &mut |token| {
            Ok(add(token.id.to_string(), token.description.to_string()))
        })
    })
}

/// Ids of all whose usage can be seen.
pub(crate) fn used_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    [key_ids(typed), token_ids(typed), integration_ids(typed)].into_iter().flatten().collect()
}

/// Ids of integrations.
pub(crate) fn integration_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_integrations(None, &mut |shown| {
            Ok(add(shown.integration.id.to_string(), shown.integration.name.to_string()))
        })
    })
}

/// Names of services.
pub(crate) fn service_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Service)
}

/// Names of orchestrations.
pub(crate) fn orchestration_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Orchestration)
}

fn destination_names(typed: &OsStr, kind: DestinationKind) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_destinations(kind, &mut |found| Ok(add(found.name.to_string(), found.id.to_string())))
    })
}

/// Names of apps.
pub(crate) fn app_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_apps(&mut |app| Ok(add(app.name.to_string(), app.id.to_string())))
    })
}

/// Names of users.
pub(crate) fn user_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_users(&mut |user| {
            if user.has_left() {
                return Ok(ControlFlow::Continue(()));
            }
            Ok(add(user.name.to_string(), user.role.title().to_owned()))
        })
    })
}

type Add<'a> = &'a mut dyn FnMut(String, String) -> ControlFlow<()>;

fn candidates(
    typed: &OsStr,
    list: impl FnOnce(&mut Session<'_, SqliteStore>, Add<'_>) -> Result<(), pdkeys::Error>,
) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_uppercase();
    let mut found = Vec::new();
    let mut add = |value: String, help: String| {
        if value.to_uppercase().starts_with(&typed) {
            found.push(CompletionCandidate::new(value).help(Some(help.into())));
        }
        if found.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    // Silent by contract: a shell has nowhere to show an error.
    let _ = with_store_of_the_line(|session| list(session, &mut add));
    found
}

/// Opens the store that the line being completed names, on behalf of whoever the finished line would act for.
fn with_store_of_the_line(
    work: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<(), pdkeys::Error>,
) -> Result<(), Failure> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    context_of(&words).with_silent_session(|session| Ok(work(session)?))
}

fn context_of(words: &[OsString]) -> Context {
    // The line is not finished, so that it need not parse; then the defaults are what it would use.
    let parsed = Cli::command().ignore_errors(true).try_get_matches_from(words);
    let globals = parsed.ok().and_then(|matches| crate::context::Globals::from_arg_matches(&matches).ok());
    Context::new(globals.unwrap_or_default(), Terminal::new(Color::Never, true))
}
