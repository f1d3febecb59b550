//! The commands of `pdkeys user`.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::manage::{Session, UserSpec};
use pdkeys::model::{Id, Label, Name, Noun, RateLimit, Role, User as Person, UserEdit};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use super::args::{self, LimitEdit, Reason, or_none};
use super::import::ImportUsers;
use super::resource::{self, Removable, Resource};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::os_user::uid_of;
use crate::output::times;
use crate::output::{self, CellStyle, Record};
use crate::session::{Context, FirstUse};

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

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        let status = match (self.left_at, &self.left_reason) {
            (None, _) => self.status.to_owned(),
            (Some(at), None) => format!("left {}", style.time(at)),
            (Some(at), Some(reason)) => format!("left {} ({reason})", style.time(at)),
        };
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.role.to_string(),
            self.email.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            self.os_uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            style.time(self.created_at),
            status,
        ]
    }
}

impl Resource for Person {
    type Record = UserRecord;
    const NOUN: Noun = Noun::User;

    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.user(reference)
    }

    fn short_name(&self) -> String {
        self.name.to_string()
    }

    fn describe(&self) -> String {
        format!("user {} ({}, {})", self.name, self.id, self.role)
    }

    fn into_record(self, _: Timestamp) -> UserRecord {
        self.into()
    }
}

impl Removable for Person {
    const CONSEQUENCE: &'static str = "These leave the account, and their tokens stop working for good:";

    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.preview_remove_users(references, reason)
    }

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.remove_users(references, reason)
    }
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
    /// The name of the user
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

    /// The user's id in the API, for the paths below /users
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,

    /// How often the user's tokens may be used together, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,
}

/// Returns the roles that a user can be given.
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
            resource::report(context, "Added", [user], session.at())
        })
    }
}

/// List users
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Include users who have left
    #[arg(long)]
    all: bool,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            output::list(&context.terminal, context.output, session.at(), |emit| {
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
        resource::show::<Person>(context, &self.user)
    }
}

/// Change a user
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// The user's name or id
    #[arg(add = ArgValueCompleter::new(complete::user_names))]
    user: String,

    /// A new name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// A new role
    #[arg(long, group = "change", add = ArgValueCandidates::new(complete::roles))]
    role: Option<Role>,

    /// A new e-mail address, or `none`
    #[arg(long, group = "change")]
    email: Option<String>,

    /// A new operating-system user, by login name or number, or `none`
    #[arg(long, value_name = "LOGIN", group = "change")]
    os_user: Option<String>,

    /// A new id in the API, or `none`
    #[arg(long, value_name = "ID", group = "change")]
    external_id: Option<String>,

    /// How often the user's tokens may be used together: `100/min`, `none` for no limit, `default` for the
    /// documented one
    #[arg(long, value_name = "LIMIT", group = "change", value_parser = args::parse_limit_edit)]
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
            resource::report(context, "Changed", [user], session.at())
        })
    }
}

/// Mark users as left
///
/// Their tokens stop working and do not come back. What they made for the account stays.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The users' names or ids
    #[arg(required = true, value_name = "USER", add = ArgValueCompleter::new(complete::user_names))]
    users: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::remove::<Person>(context, &self.users, &self.reason)
    }
}
