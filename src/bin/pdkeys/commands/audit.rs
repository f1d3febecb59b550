//! `pdkeys audit`.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use pdkeys::model::{AuditAction, AuditRecord, FieldChange, Head, past_moment};
use pdkeys::store::{AuditFilter, Chain};

use crate::complete;
use crate::context::{Context, FirstUse};
use crate::failure::{Exit, Failure};
use crate::render::{self, Eyes, Record};

impl Record for AuditRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "execution_time",
        "execution_context",
        "actors",
        "method",
        "root_resource",
        "action",
        "details",
    ];
    const HEADINGS: &'static [&'static str] =
        &["NUMBER", "TIME", "ACTOR", "ACTION", "TARGET", "CALLED", "CHANGES"];

    fn cells(&self, eyes: &Eyes) -> Vec<String> {
        let actors: Vec<_> = self.actors.iter().map(|actor| actor.summary.as_str()).collect();
        let mut actor = actors.join(" by ");
        if let Some(token) = &self.method.truncated_token {
            actor = format!("{actor} (token ...{token})");
        }
        let changes = match self.action {
            AuditAction::Delete => describe_removed(&self.details.fields),
            AuditAction::Create | AuditAction::Update => self.details.fields.iter().map(describe).collect(),
        };
        vec![
            self.id.to_string(),
            eyes.moment(self.execution_time),
            actor,
            self.action.as_str().to_owned(),
            format!("{} {}", self.root_resource.kind, self.root_resource.id),
            self.root_resource.summary.clone(),
            changes.join(", "),
        ]
    }
}

/// Why it went, and then what it was. What was not the case is left out: everything had an end.
fn describe_removed(fields: &[FieldChange]) -> Vec<String> {
    let why = fields.iter().filter(|field| field.before_value.is_none()).map(describe);
    let was = fields.iter().filter_map(|field| {
        let before = field.before_value.as_ref().filter(|before| *before != "false")?;
        Some(format!("{}: {before}", field.name))
    });
    why.chain(was).collect()
}

fn describe(field: &FieldChange) -> String {
    match (&field.before_value, &field.value) {
        (None, Some(value)) => format!("{}: {value}", field.name),
        (Some(before), None) => format!("{}: {before} -> none", field.name),
        (Some(before), Some(value)) => format!("{}: {before} -> {value}", field.name),
        (None, None) => field.name.clone(),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    List(List),
    Verify(Verify),
    Head(HeadOfChain),
}

impl Audit {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List(command) => command.run(context),
            Self::Verify(command) => command.run(context),
            Self::Head(command) => command.run(context),
        }
    }
}

/// List what was changed, newest first
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only from then on: `7d` ago, `2027-01-31`, or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Only before then
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,

    /// Only what this user did, by name or id
    #[arg(long, value_name = "USER", add = ArgValueCompleter::new(complete::user_names))]
    actor: Option<String>,

    /// Only this: `create`, `update` or `delete`
    #[arg(long)]
    action: Option<AuditAction>,

    /// Only what was done to the thing with this id
    #[arg(long, value_name = "ID")]
    target: Option<String>,

    /// Only what was done to things of this type, such as `general_key`
    #[arg(long = "type", value_name = "TYPE")]
    target_type: Option<String>,

    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let moment =
                |what, text: Option<String>| text.map(|text| past_moment(what, &text, now)).transpose();
            let filter = AuditFilter {
                since: moment("since", self.since)?,
                until: moment("until", self.until)?,
                actor: self
                    .actor
                    .map(|user| session.user(&user))
                    .transpose()?
                    .map(|user| user.id.to_string()),
                action: self.action,
                target: self.target.map(|id| id.to_uppercase()),
                target_type: self.target_type,
            };
            let mut left = self.limit.unwrap_or(usize::MAX);
            render::list(&context.terminal, context.globals.output, now, |emit| {
                Ok(session.list_audit(&filter, &mut |record| {
                    if left == 0 {
                        return Ok(ControlFlow::Break(()));
                    }
                    left -= 1;
                    emit(record)?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }
}

/// Check that no record was altered, inserted or left out
///
/// Records cut off at the end are seen only with `--head`. Exits with 3 if the trail is not what was written.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// What `pdkeys audit head` printed earlier, kept elsewhere
    #[arg(long)]
    head: Option<Head>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| match session.verify_audit(self.head)? {
            Chain::Intact(head) => {
                context.terminal.done("Verified", &format!("{} records, none altered", head.number));
                render::line(&context.terminal, &head.to_string())?;
                Ok(Exit::Done)
            }
            Chain::BrokenAt(number) => {
                context.terminal.warning(&format!("the audit trail is broken at record {number}"));
                Ok(Exit::No)
            }
        })
    }
}

/// Print the end of the audit trail, to be kept elsewhere
#[derive(Args, Debug)]
pub(crate) struct HeadOfChain {}

impl HeadOfChain {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self {} = self;
        context.with_session(FirstUse::NeedsStore, |session| {
            render::line(&context.terminal, &session.audit_head()?.to_string())?;
            Ok(Exit::Done)
        })
    }
}
