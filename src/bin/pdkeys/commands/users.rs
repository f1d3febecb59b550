//! `pdkeys user`.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::manage::UserSpec;
use pdkeys::model::{Id, Label, Name, Noun, RateLimit, Role, User as Person, UserEdit};
use serde::Serialize;

use super::import::ImportUsers;
use super::keys::{LimitEdit, parse_limit_edit, parse_reason};
use super::or_none;
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::times;
use crate::output::{self, Eyes, Record};
use crate::session::{Context, FirstUse, uid_of};

/// A user as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct UserRecord {
    id: Id,
    name: Name,
    email: Option<Label>,
    role: Role,
    status: &'static str,
    os_uid: Option<u32>,
    external_id: Option<Label>,
    rate_limit: Option<RateLimit>,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    #[serde(serialize_with = "times::serialize")]
    left_at: Option<Timestamp>,
    left_reason: Option<Label>,
}

impl From<Person> for UserRecord {
    fn from(user: Person) -> Self {
        Self {
            status: if user.has_left() { "left" } else { "active" },
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
            os_uid: user.os_uid,
            external_id: user.external_id,
            rate_limit: user.rate_limit,
            created_at: user.created_at,
            left_at: user.left_at,
            left_reason: user.left_reason,
        }
    }
}

impl Record for UserRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "email",
        "role",
        "status",
        "os_uid",
        "external_id",
        "rate_limit",
        "created_at",
        "left_at",
        "left_reason",
    ];
    const HEADINGS: &'static [&'static str] = &["ID", "NAME", "ROLE", "EMAIL", "OS USER", "ADDED", "STATUS"];

    fn cells(&self, eyes: &Eyes) -> Vec<String> {
        let status = match (self.left_at, &self.left_reason) {
            (None, _) => self.status.to_owned(),
            (Some(at), None) => format!("left {}", eyes.moment(at)),
            (Some(at), Some(reason)) => format!("left {} ({reason})", eyes.moment(at)),
        };
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.role.to_string(),
            self.email.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            self.os_uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            eyes.moment(self.created_at),
            status,
        ]
    }
}

fn name(user: &Person) -> String {
    format!("user {} ({}, {})", user.name, user.id, user.role)
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    Add(Add),
    List(List),
    Show(Show),
    Edit(Edit),
    Remove(Remove),
    Import(ImportUsers),
}

impl User {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Add(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Edit(command) => command.run(context),
            Self::Remove(command) => command.run(context),
            Self::Import(command) => command.run(context),
        }
    }
}

/// Add a user
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// What to call the user
    name: Option<String>,

    /// The role: `admin`, `user`, `limited_user`, `observer`, `restricted_access`, `read_only_user` or
    /// `read_only_limited_user`
    #[arg(long, add = ArgValueCandidates::new(complete::roles))]
    role: Option<Role>,

    /// The e-mail address
    #[arg(long)]
    email: Option<String>,

    /// The operating-system user who acts as this user, by login name or number
    #[arg(long, value_name = "LOGIN")]
    os_user: Option<String>,

    /// The user's id in the API behind, for the paths below /users
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,

    /// How often all tokens of the user together may be used, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,
}

/// The roles that somebody can be given.
fn roles() -> String {
    let given = Role::ALL.into_iter().filter(|role| *role != Role::Owner);
    given.map(Role::as_str).collect::<Vec<_>>().join(", ")
}

impl Add {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let name = context.required_name(Noun::User, self.name)?;
        let spec = UserSpec {
            name,
            role: context.required_as(self.role, "Role", &roles(), str::parse)?,
            email: self.email.map(|email| Label::parse("email", &email)).transpose()?,
            os_uid: self.os_user.map(|login| uid_of(&login)).transpose()?,
            external_id: self.external_id.map(|id| Label::parse("external id", &id)).transpose()?,
            rate_limit: self.rate_limit,
        };
        context.with_session(FirstUse::MakesStore, |session| {
            let user = session.add_user(spec)?;
            changed(context, "Added", vec![user], session.at())
        })
    }
}

/// List users
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Those who have left too
    #[arg(long)]
    all: bool,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            output::list(&context.terminal, context.globals.output, session.at(), |emit| {
                Ok(session.list_users(&mut |user| {
                    if self.all || !user.has_left() {
                        emit(UserRecord::from(user))?;
                    }
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }
}

/// Show one user
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The user's name or id
    #[arg(add = ArgValueCompleter::new(complete::user_names))]
    user: String,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let user = session.user(&self.user)?;
            output::show(&context.terminal, context.globals.output, session.at(), &UserRecord::from(user))?;
            Ok(Exit::Done)
        })
    }
}

/// Change a user
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// The user's name or id
    #[arg(add = ArgValueCompleter::new(complete::user_names))]
    user: String,

    /// Another name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// Another role
    #[arg(long, group = "change", add = ArgValueCandidates::new(complete::roles))]
    role: Option<Role>,

    /// Another e-mail address, or `none`
    #[arg(long, group = "change")]
    email: Option<String>,

    /// Another operating-system user, by login name or number, or `none`
    #[arg(long, value_name = "LOGIN", group = "change")]
    os_user: Option<String>,

    /// Another id in the API behind, or `none`
    #[arg(long, value_name = "ID", group = "change")]
    external_id: Option<String>,

    /// How often all tokens of the user together may be used: `100/min`, `none` for no limit, `default` for the
    /// documented one
    #[arg(long, value_name = "LIMIT", group = "change", value_parser = parse_limit_edit)]
    rate_limit: Option<LimitEdit>,
}

impl Edit {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let edit = UserEdit {
            name: self.name.map(|name| Name::parse(Noun::User, &name)).transpose()?,
            role: self.role,
            email: or_none(self.email, |email| Label::parse("email", email))?,
            os_uid: or_none(self.os_user, uid_of)?,
            external_id: or_none(self.external_id, |id| Label::parse("external id", id))?,
            rate_limit: self.rate_limit.map(|LimitEdit(limit)| limit),
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let user = session.edit_user(&self.user, edit)?;
            changed(context, "Changed", vec![user], session.at())
        })
    }
}

/// Mark users as left
///
/// Their tokens stop working and do not come back. What they made for the account goes on.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The users' names or ids
    #[arg(required = true, value_name = "USER", add = ArgValueCompleter::new(complete::user_names))]
    users: Vec<String>,

    /// Why; `key-compromise` is the one that other tools read
    #[arg(long)]
    reason: Option<String>,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let reason = parse_reason(self.reason.as_deref())?;
        context.with_session(FirstUse::NeedsStore, |session| {
            context.rehearse(session, |session| session.remove_users(&self.users, reason.as_ref()))?;
            let users = self.users.iter().map(|user| session.user(user)).collect::<Result<Vec<_>, _>>()?;
            let consequence = "These leave the account, and their tokens stop working for good:";
            let things: Vec<_> = users.iter().map(|user| (user.name.to_string(), name(user))).collect();
            context.confirm_all("Remove", Noun::User, consequence, &things)?;
            let users = session.remove_users(&self.users, reason.as_ref())?;
            changed(context, "Removed", users, session.at())
        })
    }
}

fn changed(context: &Context, verb: &str, users: Vec<Person>, now: Timestamp) -> Result<Exit, Failure> {
    for user in &users {
        context.terminal.done(verb, &name(user));
    }
    output::changed(context, now, users.into_iter().map(UserRecord::from))
}
