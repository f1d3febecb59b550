//! Answers the shell's completion scripts: the ids and names of what the acting user may list, and words of which there
//! are but a few.
//!
//! Quick and silent: whatever goes wrong, the shell completes nothing.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, ValueHint};
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

use crate::commands::Cli;
use crate::rights::Rights;
use crate::session::{Context, Globals, variable};
use crate::shell::{Candidate, Line, Shell};
use crate::terminal::{Color, Terminal};

/// The variable in which a completion script says which shell asks. Only the scripts set it, and it counts only where no
/// command follows: arguments that begin with `--` are no command.
const ASKING_SHELL: &str = "_PDKEYS_COMPLETE";

/// The most candidates that a shell is shown.
const MOST: usize = 200;

/// How long a store that another process has locked is waited for. Whoever pressed the key waits as long.
const PATIENCE: Duration = Duration::from_millis(50);

/// What marks a candidate that stands for all files, and for all directories.
const FILES: &str = "files";
const DIRECTORIES: &str = "directories";

/// The words of the line that is being completed.
static LINE: OnceLock<Vec<OsString>> = OnceLock::new();

/// Answers if a completion script asks.
///
/// The first line of the answer says what goes there: `files` or `directories`, which the shell completes by itself, or
/// `words`, which follow.
pub(crate) fn answer_the_shell(arguments: &[OsString], rights: Rights) -> Option<ExitCode> {
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
    for line in answer_to(shell, &line).unwrap_or_default() {
        answer.push_str(&line);
        answer.push('\n');
    }
    // Silent by contract: a shell has nowhere to show an error.
    let _ = Terminal::new(Color::Never, true).plain_data().write_all(answer.as_bytes());
    Some(ExitCode::SUCCESS)
}

fn answer_to(shell: Shell, line: &Line) -> Option<Vec<String>> {
    if line.is_redirection {
        return Some(vec![FILES.to_owned()]);
    }
    let words = LINE.get_or_init(|| line.words.clone());
    let mut command = with_files_marked(Cli::command());
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

/// Has one candidate stand for all files where a file is taken.
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

/// Ids of general keys.
pub(crate) fn key_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        let newest_first = KeyQuery { reverse: true, ..KeyQuery::all(session.at()) };
        session.list_keys(&newest_first, &mut |key| Ok(add(key.id.to_string(), key.description.to_string())))
    })
}

/// Ids of the tokens that the acting user may do this to, others' tokens among them.
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

/// Ids of keys, tokens and integrations.
pub(crate) fn ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    let tokens = token_ids(Action::ShowUserToken);
    [key_ids(typed), tokens(typed), integration_ids(typed)].into_iter().flatten().collect()
}

/// Ids of all whose usage can be seen.
pub(crate) fn used_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    let apps = candidates(typed, |session, add| {
        session.list_apps(&mut |app| Ok(add(app.id.to_string(), app.name.to_string())))
    });
    [ids(typed), apps].into_iter().flatten().collect()
}

/// Ids of integrations.
pub(crate) fn integration_ids(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_integrations(None, &mut |shown| {
            Ok(add(shown.integration.id.to_string(), shown.integration.name.to_string()))
        })
    })
}

/// Names of services, or their ids where one is being typed. So it is with all that has a name.
pub(crate) fn service_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Service)
}

/// Names of orchestrations.
pub(crate) fn orchestration_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    destination_names(typed, DestinationKind::Orchestration)
}

/// Names of what the line is about: services and orchestrations have the same commands.
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

/// Names of apps.
pub(crate) fn app_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| {
        session.list_apps(&mut |app| Ok(add_named(typed, add, &app.name, app.id, app.id.to_string())))
    })
}

/// Names of users.
pub(crate) fn user_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(typed, |session, add| list_users(typed, session, add))
}

/// Names of users, for the option that says on whose behalf the line acts: that is not known yet.
pub(crate) fn users_to_act_as(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut context = context_of_the_line();
    context.globals.on_behalf_of = None;
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

/// Roles.
pub(crate) fn roles() -> Vec<CompletionCandidate> {
    Role::ALL
        .iter()
        .map(|role| CompletionCandidate::new(role.as_str()).help(Some(role.title().into())))
        .collect()
}

/// Types of integrations.
pub(crate) fn integration_types() -> Vec<CompletionCandidate> {
    words(IntegrationType::ALL)
}

/// Policies.
pub(crate) fn policies() -> Vec<CompletionCandidate> {
    words([Policy::PagerDuty, Policy::Convention])
}

/// What an audit record can say that was done.
pub(crate) fn audit_actions() -> Vec<CompletionCandidate> {
    words([AuditAction::Create, AuditAction::Update, AuditAction::Delete].map(AuditAction::as_str))
}

/// What an audit record can be about.
pub(crate) fn resource_types() -> Vec<CompletionCandidate> {
    words(Noun::ALL.map(Noun::resource_type))
}

/// Whether a key works.
pub(crate) fn key_states() -> Vec<CompletionCandidate> {
    words([KeyState::Active, KeyState::Disabled, KeyState::Expired])
}

/// What general keys may reach.
pub(crate) fn kinds_of_access() -> Vec<CompletionCandidate> {
    words([AccessKind::Full, AccessKind::ReadOnly, AccessKind::Scopes])
}

/// Interfaces.
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
    candidates_in(&context_of_the_line(), typed, list)
}

fn candidates_in(
    context: &Context,
    typed: &OsStr,
    list: impl FnOnce(&mut Session<'_, SqliteStore>, Add<'_>) -> Result<(), pdkeys::Error>,
) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_uppercase();
    let mut found = Vec::new();
    let mut add = |value: String, help: String| {
        // What begins with a hyphen would be read as an option, and what moves a cursor is not for a shell to show.
        let is_safe = !value.starts_with('-') && !value.contains(is_hazardous);
        if is_safe && value.to_uppercase().starts_with(&typed) {
            found.push(CompletionCandidate::new(value).help(Some(help.into())));
        }
        if found.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    // Silent by contract: a shell has nowhere to show an error.
    let _ = context.with_silent_session(PATIENCE, |session| Ok(list(session, &mut add)?));
    found
}

/// Adds what goes by name and by id: the name, and the id only where one may be what is being typed.
fn add_named(typed: &OsStr, add: Add<'_>, name: &Name, id: Id, help: String) -> ControlFlow<()> {
    add(name.to_string(), help)?;
    if typed.is_empty() { ControlFlow::Continue(()) } else { add(id.to_string(), name.to_string()) }
}

/// The options of the line being completed: they name the store, and on whose behalf the finished line would act.
fn context_of_the_line() -> Context {
    let globals = matches_of_the_line().and_then(|matches| Globals::from_arg_matches(&matches).ok());
    Context::new(globals.unwrap_or_default(), Terminal::new(Color::Never, true), Rights::of_process())
}

fn matches_of_the_line() -> Option<ArgMatches> {
    let words = LINE.get()?;
    // The line is not finished, so that it need not parse; then the defaults are what it would use.
    Cli::command().ignore_errors(true).try_get_matches_from(words).ok()
}
