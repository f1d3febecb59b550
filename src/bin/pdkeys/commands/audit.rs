//! `pdkeys audit`.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use pdkeys::model::{AuditAction, AuditRecord, FieldChange, Head, Id, Noun, past_moment};
use pdkeys::store::{AuditFilter, Chain};
use serde::Serialize;

use crate::complete;
use crate::context::{Context, FirstUse};
use crate::failure::{Exit, Failure};
use crate::render::{self, Eyes, Format, Record};

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

/// The end of the trail as it is printed: `head` is what `--head` takes.
#[derive(Debug, Serialize)]
struct HeadRecord {
    number: u64,
    head: String,
}

impl From<Head> for HeadRecord {
    fn from(head: Head) -> Self {
        Self { number: head.number, head: head.to_string() }
    }
}

/// What verifying found, as it is printed. Of a broken trail there is no end to be kept.
#[derive(Debug, Serialize)]
struct VerifiedRecord {
    intact: bool,
    number: Option<u64>,
    head: Option<String>,
    broken_at: Option<u64>,
}

impl From<Chain> for VerifiedRecord {
    fn from(chain: Chain) -> Self {
        match chain {
            Chain::Intact(head) => {
                let HeadRecord { number, head } = head.into();
                Self { intact: true, number: Some(number), head: Some(head), broken_at: None }
            }
            Chain::BrokenAt(number) => {
                Self { intact: false, number: None, head: None, broken_at: Some(number) }
            }
        }
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
    #[arg(long, add = ArgValueCandidates::new(complete::audit_actions))]
    action: Option<AuditAction>,

    /// Only what was done to the thing with this id, or to the `account`
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(complete::ids))]
    target: Option<String>,

    /// Only what was done to things of this type, such as `general_key`
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type, add = ArgValueCandidates::new(complete::resource_types))]
    target_type: Option<Noun>,

    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// A type as records have it.
fn parse_type(text: &str) -> Result<Noun, String> {
    Noun::ALL.into_iter().find(|noun| noun.resource_type() == text).ok_or_else(|| {
        let known: Vec<_> = Noun::ALL.iter().map(|noun| noun.resource_type()).collect();
        format!("type: must be one of {}", known.join(", "))
    })
}

/// What records name a thing by: names change, and are not looked for.
fn parse_target(text: &str) -> Result<String, Failure> {
    let account = Noun::Account.resource_type();
    if text.eq_ignore_ascii_case(account) {
        return Ok(account.to_owned());
    }
    text.parse::<Id>().map(|id| id.to_string()).map_err(|_| {
        Failure::usage(format!("target: {text} is neither an id nor the word {account}"))
            .with_hint("list and show print the ids of things; audit list prints those of what is gone")
    })
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let target = self.target.as_deref().map(parse_target).transpose()?;
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
                target,
                target_type: self.target_type.map(|noun| noun.resource_type().to_owned()),
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
        context.with_session(FirstUse::NeedsStore, |session| {
            let chain = session.verify_audit(self.head)?;
            let exit = match &chain {
                Chain::Intact(head) => {
                    context.terminal.done("Verified", &format!("{} records, none altered", head.number));
                    Exit::Done
                }
                Chain::BrokenAt(number) => {
                    context.terminal.warning(&format!("the audit trail is broken at record {number}"));
                    Exit::No
                }
            };
            match (context.globals.output, &chain) {
                (Format::Table, Chain::Intact(head)) => render::line(&context.terminal, &head.to_string())?,
                // The warning says it, and there is no line that could be taken for a head.
                (Format::Table, Chain::BrokenAt(_)) => {}
                (format, _) => {
                    render::show(&context.terminal, format, session.at(), &VerifiedRecord::from(chain))?;
                }
            }
            Ok(exit)
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
            let head = session.audit_head()?;
            match context.globals.output {
                Format::Table => render::line(&context.terminal, &head.to_string())?,
                format => render::show(&context.terminal, format, session.at(), &HeadRecord::from(head))?,
            }
            Ok(Exit::Done)
        })
    }
}
