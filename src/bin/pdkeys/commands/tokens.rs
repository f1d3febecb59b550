//! The commands of `pdkeys token`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use jiff::{SignedDuration, Timestamp};
use pdkeys::authz::Action;
use pdkeys::manage::{HandOver, Session, Whose};
use pdkeys::model::{
    API_VERSION, Access, AccessKind, CredentialKind, Hint, Id, KeyState, Label, Name, Noun, Scope, ScopeSet,
    TokenEdit, TokenSpec, UserToken, parse_expiry,
};
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::args::{Reason, parse_description, parse_end, warn_of_unknown_scopes};
use super::resource::{self, Removable, Resource, Rotatable, Rotation};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, CellStyle, Record};
use crate::session::{Context, FirstUse};

/// A user token as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct TokenRecord {
    id: Id,
    kind: CredentialKind,
    user: Name,
    description: Label,
    hint: Option<Hint>,
    access: AccessKind,
    scopes: Option<ScopeSet>,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    api_version: &'static str,
    status: KeyState,
    #[serde(serialize_with = "times::serialize")]
    disabled_at: Option<Timestamp>,
    disabled_reason: Option<&'static str>,
    #[serde(serialize_with = "times::serialize")]
    last_used_at: Option<Timestamp>,
    #[serde(serialize_with = "times::serialize")]
    expires_at: Option<Timestamp>,
    #[serde(serialize_with = "times::serialize")]
    overlap_ends_at: Option<Timestamp>,
}

impl TokenRecord {
    fn new(token: UserToken, now: Timestamp) -> Self {
        Self {
            id: token.id,
            kind: CredentialKind::UserToken,
            status: token.state(now),
            overlap_ends_at: token.overlap(now),
            disabled_at: token.user.left_at,
            disabled_reason: token.user.left_at.map(|_| UserToken::USER_LEFT),
            user: token.user.name,
            description: token.description,
            hint: token.hint,
            access: token.access.kind(),
            scopes: token.access.scopes().cloned(),
            created_at: token.created_at,
            api_version: API_VERSION,
            last_used_at: token.last_used_at,
            expires_at: token.expires_at,
        }
    }
}

impl Record for TokenRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "kind",
        "user",
        "description",
        "hint",
        "access",
        "scopes",
        "created_at",
        "api_version",
        "status",
        "disabled_at",
        "disabled_reason",
        "last_used_at",
        "expires_at",
        "overlap_ends_at",
    ];
    const HEADINGS: &'static [&'static str] =
        &["ID", "USER", "DESCRIPTION", "HINT", "ACCESS", "CREATED", "API", "STATUS", "LAST USED", "EXPIRES"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.user.to_string(),
            self.description.to_string(),
            self.hint.as_ref().map_or_else(|| "-".to_owned(), |hint| format!("...{hint}")),
            self.scopes.as_ref().map_or_else(|| self.access.to_string(), ToString::to_string),
            style.time(self.created_at),
            self.api_version.to_owned(),
            self.disabled_reason
                .map_or_else(|| self.status.to_string(), |why| format!("{}: {why}", self.status)),
            style.optional_time(self.last_used_at, "never"),
            style.optional_time(self.expires_at, "never"),
        ]
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    Create(Create),
    List(List),
    Show(Show),
    Edit(Edit),
    Rotate(Rotate),
    Remove(Remove),
}

impl Token {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Create(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Edit(command) => command.run(context),
            Self::Rotate(command) => command.run(context),
            Self::Remove(command) => command.run(context),
        }
    }
}

fn access(scopes: Vec<Scope>) -> Access {
    Access::Role((!scopes.is_empty()).then(|| scopes.into_iter().collect()))
}

/// Make a user token for yourself
///
/// Prints the token, alone on its line, on standard output, only this once. It may do what your role may at the time, or
/// with `--scope` only some of that.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What the token is for
    description: Option<String>,

    /// Limit it to this scope of your role, such as `incidents.read` (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// When it ends: `90d`, `2027-01-31`, a time, or `never`
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,

    /// The owner of the token; only you can be named
    #[arg(long, value_name = "USER", add = ArgValueCompleter::new(complete::user_names))]
    user: Option<String>,

    /// Write the token to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut sink = SecretSink::new(context, self.write_to);
        sink.ready()?;
        let check = |text: &str| Label::parse("description", text).map(drop);
        let description = context.required(self.description, "Description", None, check)?;
        let description = Label::parse("description", &description)?;
        // Checked before a store is opened or made.
        parse_end(self.expires.as_deref(), SystemClock.now())?;
        context.with_session(FirstUse::MakesStore, |session| {
            let now = session.at();
            let access = access(self.scopes);
            warn_of_unknown_scopes(context, session, access.scopes())?;
            let spec =
                TokenSpec { description, access, expires_at: parse_end(self.expires.as_deref(), now)? };
            let token = session.create_token(self.user.as_deref(), spec, &mut |token, secret| {
                sink.take(secret, &TokenRecord::new(token.clone(), now))
            })?;
            let told = sink.keep().unwrap_or_else(|| "its secret is shown only this once".to_owned());
            let ends = times::ends(token.expires_at);
            context.terminal.done("Created", &format!("{}{ends}; {told}", token.describe()));
            Ok(Exit::Done)
        })
    }
}

/// List user tokens: your own, unless you ask for others
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Those of this user; only the owner and admins may
    #[arg(long, value_name = "USER", conflicts_with = "all", add = ArgValueCompleter::new(complete::user_names))]
    user: Option<String>,

    /// Those of all users; only the owner and admins may
    #[arg(long)]
    all: bool,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let whose = match (self.user, self.all) {
            (Some(user), _) => Whose::User(user),
            (None, true) => Whose::All,
            (None, false) => Whose::Own,
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            output::list(&context.terminal, context.output, now, |emit| {
                Ok(session.list_tokens(&whose, &mut |token| {
                    emit(TokenRecord::new(token, now))?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }
}

/// Show one user token
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The token's id
    #[arg(add = ArgValueCompleter::new(complete::token_ids(Action::ShowUserToken)))]
    id: String,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::show::<UserToken>(context, &self.id)
    }
}

/// Change a token's description or expiry, or narrow its scopes
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// The token's id
    #[arg(add = ArgValueCompleter::new(complete::token_ids(Action::EditUserToken)))]
    id: String,

    /// What the token is for
    #[arg(long, group = "change")]
    description: Option<String>,

    /// Limit it to this scope from now on (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<Scope>,

    /// When it ends: `90d`, `2027-01-31`, a time, or `never`
    #[arg(long, value_name = "WHEN", group = "change")]
    expires: Option<String>,
}

impl Edit {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let edit = TokenEdit {
                description: parse_description(self.description)?,
                access: (!self.scopes.is_empty()).then(|| access(self.scopes)),
                expires_at: self.expires.map(|text| parse_expiry("expiry", &text, now)).transpose()?,
            };
            let token = session.edit_token(&self.id, edit)?;
            let ends = times::ends(token.expires_at);
            context.terminal.done("Changed", &format!("{}{ends}", token.describe()));
            resource::print_changed(context, std::iter::once(TokenRecord::new(token, now)), now)
        })
    }
}

/// Give a token a new secret; its id, description and scopes stay
///
/// Prints the new secret on standard output, this once. With `--overlap` the present one goes on for that long;
/// without, it stops at once.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The token's id
    #[arg(add = ArgValueCompleter::new(complete::token_ids(Action::RotateUserToken)))]
    id: String,

    #[command(flatten)]
    rotation: Rotation,
}

impl Rotate {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.rotation.run::<UserToken>(context, &self.id)
    }
}

impl Resource for UserToken {
    type Record = TokenRecord;
    const NOUN: Noun = Noun::UserToken;

    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.token(reference)
    }

    fn short_name(&self) -> String {
        self.id.to_string()
    }

    fn describe(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!(", ...{hint}")).unwrap_or_default();
        format!("token {} of {} ({}{hint})", self.id, self.user.name, self.description)
    }

    fn into_record(self, now: Timestamp) -> TokenRecord {
        TokenRecord::new(self, now)
    }
}

impl Removable for UserToken {
    const CONSEQUENCE: &'static str = "These go for good, and cannot come back:";

    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.preview_remove_tokens(references, reason)
    }

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.remove_tokens(references, reason)
    }
}

impl Rotatable for UserToken {
    fn preview_rotation(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
    ) -> Result<Self, pdkeys::Error> {
        session.preview_rotate_token(reference)
    }

    fn rotate(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, Self>,
    ) -> Result<Self, pdkeys::Error> {
        session.rotate_token(reference, overlap, hand_over)
    }

    fn end_overlap(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.end_token_overlap(reference)
    }

    fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        UserToken::overlap(self, now)
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

/// Remove tokens for good
///
/// You can remove your own; the owner and admins also those of other users, except of the owner and admins.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The tokens' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::token_ids(Action::RemoveUserToken)))]
    ids: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::remove::<UserToken>(context, &self.ids, &self.reason)
    }
}
