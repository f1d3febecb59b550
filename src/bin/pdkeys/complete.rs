//! Answers the completion scripts of shells: with the ids and names that the acting user may list, and with fixed sets
//! of words.
//!
//! It is quick and silent: on any error, nothing is completed.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{ArgMatches, Command, ValueHint};
use clap_complete::ArgValueCompleter;
use clap_complete::engine::{self, CompletionCandidate};
use pdkeys::authz::{Action, Decision, Target, decide};
use pdkeys::manage::{DestinationKind, Session, Whose};
use pdkeys::model::{
    AccessKind, AuditAction, Id, IntegrationType, KeyState, Name, Noun, Policy, Role, escape, is_hazardous,
};
use pdkeys::store::KeyQuery;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::Api;

use crate::environment::variable;
use crate::rights::Rights;
use crate::session::Context;
use crate::shell::{Candidate, Line, Shell};
use crate::terminal::{Color, Terminal};

/// The variable in which a completion script names its shell. It counts only if the first argument is `--`, which begins
/// no command.
const ASKING_SHELL: &str = "_PDKEYS_COMPLETE";

/// The largest number of candidates in an answer.
const MAX_CANDIDATES: usize = 200;

/// How long to wait for a store that another process has locked, while the shell waits for the answer.
const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// The tags of the candidates that stand for all files and for all directories.
const FILES: &str = "files";
const DIRECTORIES: &str = "directories";

/// The parser of the command line. It is given to this file and not imported, since the parser's arguments name the
/// completers below.
#[derive(Clone, Copy)]
pub(crate) struct Parser {
    /// Builds the definition of all commands.
    pub(crate) command: fn() -> Command,
    /// Makes the context of a parsed line, or the default one.
    pub(crate) context: fn(Option<&ArgMatches>) -> Context,
}

/// The words of the line that is being completed, and the parser for them. clap passes a completer only the word that is
/// being typed.
static LINE: OnceLock<(Vec<OsString>, Parser)> = OnceLock::new();

/// Answers a completion script. Returns `None` if the arguments do not come from one.
///
/// The first line of the answer is `files` or `directories`, which the shell completes by itself, or `words`, and then the
/// words follow.
pub(crate) fn answer_the_shell(arguments: &[OsString], rights: Rights, parser: Parser) -> Option<ExitCode> {
    let [_, end_of_options, passed @ ..] = arguments else { return None };
    if end_of_options != "--" {
        return None;
    }
    let shell = Shell::named(&variable(ASKING_SHELL)?)?;
    if rights.are_a_deputys() {
        // A shell completes with the rights of the person who types.
        return Some(ExitCode::FAILURE);
    }
    let line = shell.read_line(passed)?;
    let mut answer = String::new();
    for line in answer_to(shell, &line, parser).unwrap_or_default() {
        answer.push_str(&line);
        answer.push('\n');
    }
    // Silent by contract: a shell has nowhere to show an error.
    let _ = Terminal::new(Color::Never, true).plain_data().write_all(answer.as_bytes());
    Some(ExitCode::SUCCESS)
}

fn answer_to(shell: Shell, line: &Line, parser: Parser) -> Option<Vec<String>> {
    if line.is_redirection {
        return Some(vec![FILES.to_owned()]);
    }
    let (words, _) = LINE.get_or_init(|| (line.words.clone(), parser));
    let mut command = with_files_marked((parser.command)());
    let found = engine::complete(&mut command, words.clone(), line.current, None).ok()?;
    let is_option = words.get(line.current)?.as_encoded_bytes().starts_with(b"-")
        && !words.get(line.current)?.as_encoded_bytes().contains(&b'=');
    let files = found
        .iter()
        .filter_map(|candidate| candidate.get_tag())
        .map(ToString::to_string)
        .find(|tag| tag == FILES || tag == DIRECTORIES);
    if let Some(files) = files.filter(|_| !is_option) {
        return Some(vec![files]);
    }
    let candidates: Vec<_> = found
        .iter()
        .filter_map(|candidate| {
            let value = candidate.get_value().to_str()?.to_owned();
            let help = candidate.get_help().map(ToString::to_string);
            let help = help.and_then(|help| help.lines().next().map(|line| escape(line).into_owned()));
            Some(Candidate { value, help })
        })
        .collect();
    let mut answer = vec!["words".to_owned()];
    answer.extend(shell.write(line, &candidates));
    Some(answer)
}

/// Adds a completer to every argument that takes a file, which returns one tagged candidate.
fn with_files_marked(command: Command) -> Command {
    fn marked(mark: &'static str) -> ArgValueCompleter {
        ArgValueCompleter::new(move |typed: &OsStr| {
            vec![CompletionCandidate::new(typed).tag(Some(mark.into()))]
        })
    }
    command
        .mut_args(|argument| match argument.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => {
                argument.add(marked(FILES))
            }
            ValueHint::DirPath => argument.add(marked(DIRECTORIES)),
            _ => argument,
        })
        .mut_subcommands(with_files_marked)
}

/// Completes ids of general keys.
pub(crate) fn key_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        let newest_first = KeyQuery { reverse: true, ..KeyQuery::all(session.at()) };
        session.list_keys(&newest_first, &mut |key| Ok(add(key.id.to_string(), key.description.to_string())))
    })
}

/// Completes ids of the tokens on which the acting user may perform `action`, including tokens of other users.
pub(crate) fn token_ids(action: Action) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> {
    move |typed| {
        candidates(typed, |session, add| {
            let acting = session.whoami()?;
            let may = |action, target: &Target| decide(acting.user(), action, target) == Decision::Allowed;
            let all = may(Action::ListUserTokens, &Target::all(Noun::UserToken));
            session.list_tokens(if all { &Whose::All } else { &Whose::Own }, &mut |token| {
                if !may(action, &Target::of(&token).belonging_to(&token.user)) {
                    return Ok(ControlFlow::Continue(()));
                }
                let help = if token.user.id == acting.user().id {
                    token.description.to_string()
                } else {
                    format!("{}: {}", token.user.name, token.description)
                };
                Ok(add(token.id.to_string(), help))
            })
        })
    }
}

/// Completes ids of keys, tokens and integrations.
pub(crate) fn ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    let tokens = token_ids(Action::ShowUserToken);
    [key_ids(typed), tokens(typed), integration_ids(typed)].into_iter().flatten().collect()
}

/// Completes ids of everything that has usage counts.
pub(crate) fn used_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    let apps = candidates(typed, |session, add| {
        session.list_apps(&mut |app| Ok(add(app.id.to_string(), app.name.to_string())))
    });
    [ids(typed), apps].into_iter().flatten().collect()
}

/// Completes ids of integrations.
pub(crate) fn integration_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_integrations(None, &mut |shown| {
            Ok(add(shown.integration.id.to_string(), shown.integration.name.to_string()))
        })
    })
}

/// Completes names of services, and their ids once something is typed.
pub(crate) fn service_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Service)
}

/// Completes names of orchestrations.
pub(crate) fn orchestration_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Orchestration)
}

/// Completes names of services or of orchestrations, whichever command the line has: both have the same arguments.
pub(crate) fn destination_names_of_the_line(typed: &OsStr) -> Vec<CompletionCandidate> {
    let matches = matches_of_the_line();
    match matches.as_ref().and_then(ArgMatches::subcommand_name) {
        Some("service") => service_names(typed),
        Some("orchestration") => orchestration_names(typed),
        _ => Vec::new(),
    }
}

fn destination_names(typed: &OsStr, kind: DestinationKind) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_destinations(kind, &mut |found| {
            Ok(add_named(typed, add, &found.name, found.id, found.id.to_string()))
        })
    })
}

/// Completes names of apps.
pub(crate) fn app_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_apps(&mut |app| Ok(add_named(typed, add, &app.name, app.id, app.id.to_string())))
    })
}

/// Completes names of users.
pub(crate) fn user_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| list_users(typed, session, add))
}

/// Completes names of users for `--as`, whose own unfinished value must not choose the acting user.
pub(crate) fn users_to_act_as(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(mut context) = context_of_the_line() else { return Vec::new() };
    context.on_behalf_of = None;
    candidates_in(&context, typed, |session, add| list_users(typed, session, add))
}

fn list_users(
    typed: &OsStr,
    session: &mut Session<'_, SqliteStore>,
    add: Add<'_>,
) -> Result<(), pdkeys::Error> {
    session.list_users(&mut |user| {
        if user.has_left() {
            return Ok(ControlFlow::Continue(()));
        }
        Ok(add_named(typed, add, &user.name, user.id, user.role.title().to_owned()))
    })
}

/// Lists the roles.
pub(crate) fn roles() -> Vec<CompletionCandidate> {
    Role::ALL
        .iter()
        .map(|role| CompletionCandidate::new(role.as_str()).help(Some(role.title().into())))
        .collect()
}

/// Lists the types of integrations.
pub(crate) fn integration_types() -> Vec<CompletionCandidate> {
    words(IntegrationType::ALL)
}

/// Lists the policies.
pub(crate) fn policies() -> Vec<CompletionCandidate> {
    words([Policy::PagerDuty, Policy::Convention])
}

/// Lists the actions of audit records.
pub(crate) fn audit_actions() -> Vec<CompletionCandidate> {
    words([AuditAction::Create, AuditAction::Update, AuditAction::Delete].map(AuditAction::as_str))
}

/// Lists the resource types of audit records.
pub(crate) fn resource_types() -> Vec<CompletionCandidate> {
    words(Noun::ALL.map(Noun::resource_type))
}

/// Lists the states of keys.
pub(crate) fn key_states() -> Vec<CompletionCandidate> {
    words([KeyState::Active, KeyState::Disabled, KeyState::Expired])
}

/// Lists the kinds of access of general keys.
pub(crate) fn kinds_of_access() -> Vec<CompletionCandidate> {
    words([AccessKind::Full, AccessKind::ReadOnly, AccessKind::Scopes])
}

/// Lists the APIs.
pub(crate) fn interfaces() -> Vec<CompletionCandidate> {
    words([Api::Rest, Api::EventsV1, Api::EventsV2])
}

fn words(words: impl IntoIterator<Item = impl ToString>) -> Vec<CompletionCandidate> {
    words.into_iter().map(|word| CompletionCandidate::new(word.to_string())).collect()
}

type Add<'a> = &'a mut dyn FnMut(String, String) -> ControlFlow<()>;

fn candidates(
    typed: &OsStr,
    list: impl FnOnce(&mut Session<'_, SqliteStore>, Add<'_>) -> Result<(), pdkeys::Error>,
) -> Vec<CompletionCandidate> {
    context_of_the_line().map(|context| candidates_in(&context, typed, list)).unwrap_or_default()
}

fn candidates_in(
    context: &Context,
    typed: &OsStr,
    list: impl FnOnce(&mut Session<'_, SqliteStore>, Add<'_>) -> Result<(), pdkeys::Error>,
) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_uppercase();
    let mut found = Vec::new();
    let mut add = |value: String, help: String| {
        // A leading hyphen would be read as an option, and control characters would move the shell's cursor.
        let is_safe = !value.starts_with('-') && !value.contains(is_hazardous);
        if is_safe && value.to_uppercase().starts_with(&typed) {
            found.push(CompletionCandidate::new(value).help(Some(help.into())));
        }
        if found.len() < MAX_CANDIDATES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    // Silent by contract: a shell has nowhere to show an error.
    let _ = context.with_silent_session(LOCK_TIMEOUT, |session| Ok(list(session, &mut add)?));
    found
}

/// Adds the name of something, and its id if anything is typed yet.
fn add_named(typed: &OsStr, add: Add<'_>, name: &Name, id: Id, help: String) -> ControlFlow<()> {
    add(name.to_string(), help)?;
    if typed.is_empty() { ControlFlow::Continue(()) } else { add(id.to_string(), name.to_string()) }
}

/// Returns the context of the line that is being completed: its store, and the user on whose behalf it would act.
fn context_of_the_line() -> Option<Context> {
    let (_, parser) = LINE.get()?;
    Some((parser.context)(matches_of_the_line().as_ref()))
}

fn matches_of_the_line() -> Option<ArgMatches> {
    let (words, parser) = LINE.get()?;
    // The line is not finished, and need not parse.
    (parser.command)().ignore_errors(true).try_get_matches_from(words).ok()
}
