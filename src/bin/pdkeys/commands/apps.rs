//! The commands of `pdkeys app`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::{HandOver, Session};
use pdkeys::model::{
    App as Registered, AppEdit, AppSpec, AppToken, Hint, Id, Label, Name, Noun, RateLimit, Scope, ScopeSet,
};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::args::{self, LimitEdit, Reason, or_none, parse_description, warn_of_unknown_scopes};
use super::resource::{self, Removable, Resource, Rotatable, Rotation};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, CellStyle, Record};
use crate::session::{Context, FirstUse};

/// An app as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct AppRecord {
    id: Id,
    name: Name,
    description: Option<Label>,
    scopes: ScopeSet,
    client_id: Id,
    client_secret_hint: Hint,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    created_by: Name,
    #[serde(serialize_with = "times::serialize")]
    last_used_at: Option<Timestamp>,
    rate_limit: Option<RateLimit>,
    #[serde(serialize_with = "times::serialize")]
    overlap_ends_at: Option<Timestamp>,
    #[serde(serialize_with = "times::serialize")]
    tokens_revoked_at: Option<Timestamp>,
}

impl AppRecord {
    fn new(app: Registered, now: Timestamp) -> Self {
        Self {
            overlap_ends_at: app.overlap(now),
            id: app.id,
            name: app.name,
            description: app.description,
            scopes: app.scopes,
            client_id: app.id,
            client_secret_hint: app.hint,
            created_at: app.created_at,
            created_by: app.created_by.name,
            last_used_at: app.last_used_at,
            rate_limit: app.rate_limit,
            tokens_revoked_at: app.tokens_revoked_at,
        }
    }
}

impl Record for AppRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "description",
        "scopes",
        "client_id",
        "client_secret_hint",
        "created_at",
        "created_by",
        "last_used_at",
        "rate_limit",
        "overlap_ends_at",
        "tokens_revoked_at",
    ];
    const HEADINGS: &'static [&'static str] =
        &["CLIENT ID", "NAME", "SCOPES", "SECRET", "CREATED", "BY", "LAST USED"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.scopes.to_string(),
            format!("...{}", self.client_secret_hint),
            style.time(self.created_at),
            self.created_by.to_string(),
            style.optional_time(self.last_used_at, "never"),
        ]
    }
}

/// An app token as it is printed, with the terms of OAuth.
#[derive(Debug, Serialize)]
struct TokenRecord {
    client_id: Id,
    app: Name,
    scope: ScopeSet,
    hint: Hint,
    #[serde(serialize_with = "times::serialize")]
    issued_at: Timestamp,
    #[serde(serialize_with = "times::serialize")]
    expires_at: Timestamp,
}

impl From<AppToken> for TokenRecord {
    fn from(token: AppToken) -> Self {
        Self {
            client_id: token.app,
            app: token.app_name,
            scope: token.scopes,
            hint: token.hint,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum App {
    Register(Register),
    List(List),
    Show(Show),
    Edit(Edit),
    Rotate(Rotate),
    Remove(Remove),
    Token(Token),
}

impl App {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Register(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Edit(command) => command.run(context),
            Self::Rotate(command) => command.run(context),
            Self::Remove(command) => command.run(context),
            Self::Token(command) => command.run(context),
        }
    }
}

/// Register an app, with scopes that your role holds
///
/// Prints the client secret, alone on its line, on standard output, this once; the client id goes to standard error.
#[derive(Args, Debug)]
pub(crate) struct Register {
    /// The name of the app
    name: Option<String>,

    /// Give it this scope, such as `incidents.read` (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// What it is for
    #[arg(long)]
    description: Option<String>,

    /// How often its tokens may be used together, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,

    /// Write the client secret to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

/// Parses scopes that are separated by spaces, at least one.
fn parse_scopes(line: &str) -> pdkeys::model::Result<ScopeSet> {
    let scopes: ScopeSet = line.parse()?;
    if scopes.is_empty() {
        return Err(pdkeys::model::Error::Invalid { what: "scope", why: "must not be empty".to_owned() });
    }
    Ok(scopes)
}

impl Register {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut sink = SecretSink::new(context, self.write_to);
        sink.ready()?;
        let name_of_app = context.required_name(Noun::App, self.name)?;
        let scopes = (!self.scopes.is_empty()).then(|| self.scopes.into_iter().collect());
        let answers = "such as incidents.read services.read";
        let spec = AppSpec {
            name: name_of_app,
            description: parse_description(self.description)?,
            scopes: context.required_as(scopes, "Scope", answers, parse_scopes)?,
            rate_limit: self.rate_limit,
        };
        context.with_session(FirstUse::MakesStore, |session| {
            let now = session.at();
            warn_of_unknown_scopes(context, session, Some(&spec.scopes))?;
            let app = session.register_app(spec, &mut |app, secret| {
                sink.take(secret, &AppRecord::new(app.clone(), now))
            })?;
            let told = sink.keep().unwrap_or_else(|| "its secret is shown only this once".to_owned());
            context.terminal.done("Registered", &format!("{}; {told}", app.describe()));
            Ok(Exit::Done)
        })
    }
}

/// List apps
#[derive(Args, Debug)]
pub(crate) struct List {}

impl List {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self {} = self;
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            output::list(&context.terminal, context.output, now, |emit| {
                Ok(session.list_apps(&mut |app| {
                    emit(AppRecord::new(app, now))?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }
}

/// Show one app
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The app's name or client id
    #[arg(add = ArgValueCompleter::new(complete::app_names))]
    app: String,
}

impl Show {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::show::<Registered>(context, &self.app)
    }
}

/// Change an app, narrow its scopes, or stop its tokens
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// The app's name or client id
    #[arg(add = ArgValueCompleter::new(complete::app_names))]
    app: String,

    /// A new name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// A new description, or `none`
    #[arg(long, group = "change")]
    description: Option<String>,

    /// Keep this scope, and remove all others, from its present tokens too (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<Scope>,

    /// How often its tokens may be used together: `100/min`, `none` for no limit, `default` for the documented one
    #[arg(long, value_name = "LIMIT", group = "change", value_parser = args::parse_limit_edit)]
    rate_limit: Option<LimitEdit>,

    /// Stop every token that was issued to it
    #[arg(long, group = "change")]
    revoke_tokens: bool,
}

impl Edit {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let edit = AppEdit {
            name: self.name.map(|text| Name::parse(Noun::App, &text)).transpose()?,
            description: or_none(self.description, |text| Label::parse("description", text))?,
            scopes: (!self.scopes.is_empty()).then(|| self.scopes.into_iter().collect()),
            rate_limit: self.rate_limit.map(|LimitEdit(limit)| limit),
            revoke_tokens: self.revoke_tokens,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            if self.revoke_tokens && !context.yes {
                let app = session.preview_edit_app(&self.app, edit.clone())?;
                let consequence = "These tokens stop working at once:";
                resource::confirm(context, "Stop all tokens of", consequence, &[app])?;
            }
            let app = session.edit_app(&self.app, edit)?;
            resource::report(context, "Changed", [app], session.at())
        })
    }
}

/// Give an app a new client secret; its tokens go on
///
/// Prints the new client secret on standard output, this once. With `--overlap` the present one goes on for that
/// long; without, it stops at once.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The app's name or client id
    #[arg(add = ArgValueCompleter::new(complete::app_names))]
    app: String,

    #[command(flatten)]
    rotation: Rotation,
}

impl Rotate {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.rotation.run::<Registered>(context, &self.app)
    }
}

impl Resource for Registered {
    type Record = AppRecord;
    const NOUN: Noun = Noun::App;

    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.app(reference)
    }

    fn short_name(&self) -> String {
        self.name.to_string()
    }

    fn describe(&self) -> String {
        format!("app {} (client id {}, secret ...{})", self.name, self.id, self.hint)
    }

    fn into_record(self, now: Timestamp) -> AppRecord {
        AppRecord::new(self, now)
    }
}

impl Removable for Registered {
    const CONSEQUENCE: &'static str = "These go for good, and their tokens stop working at once:";

    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.preview_remove_apps(references, reason)
    }

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.remove_apps(references, reason)
    }
}

impl Rotatable for Registered {
    fn preview_rotation(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
    ) -> Result<Self, pdkeys::Error> {
        session.preview_rotate_app(reference)
    }

    fn rotate(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, Self>,
    ) -> Result<Self, pdkeys::Error> {
        session.rotate_app(reference, overlap, hand_over)
    }

    fn end_overlap(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.end_app_overlap(reference)
    }

    fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        Registered::overlap(self, now)
    }

    fn expiry(&self) -> Option<Timestamp> {
        None
    }
}

/// Remove apps for good, and their tokens with them
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The apps' names or client ids
    #[arg(required = true, value_name = "APP", add = ArgValueCompleter::new(complete::app_names))]
    apps: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::remove::<Registered>(context, &self.apps, &self.reason)
    }
}

/// Issue a token to an app, for a day
///
/// Prints the token, alone on its line, on standard output, this once. It is presented with `Bearer`.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// The app's name or client id
    #[arg(add = ArgValueCompleter::new(complete::app_names))]
    app: String,

    /// Limit the token to this scope of the app (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// Write the token to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Token {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut sink = SecretSink::new(context, self.write_to);
        sink.ready()?;
        context.with_session(FirstUse::NeedsStore, |session| {
            let scopes = (!self.scopes.is_empty()).then(|| self.scopes.into_iter().collect());
            let token = session.issue_app_token(&self.app, scopes, &mut |token, secret| {
                sink.take(secret, &TokenRecord::from(token.clone()))
            })?;
            let mut told = vec![format!(
                "a token to app {} (...{}), with {}, until {}",
                token.app_name,
                token.hint,
                token.scopes,
                times::exact(token.expires_at)
            )];
            told.extend(sink.keep());
            context.terminal.done("Issued", &told.join("; "));
            Ok(Exit::Done)
        })
    }
}
