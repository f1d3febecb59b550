//! The commands of `pdkeys audit`.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use pdkeys::model::{AuditAction, AuditRecord, FieldChange, Head, Id, Noun, escape, parse_past_time};
use pdkeys::store::{AuditQuery, Chain, Difference, Replay};
use serde::Serialize;

use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::{self, CellStyle, Format, Record};
use crate::session::{Context, FirstUse};

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

    fn cells(&self, style: &CellStyle) -> Vec<String> {
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
            style.time(self.execution_time),
            actor,
            self.action.as_str().to_owned(),
            format!("{} {}", self.root_resource.kind, self.root_resource.id),
            self.root_resource.summary.clone(),
            changes.join(", "),
        ]
    }
}

/// Describes a removal: the reason, and then what was removed, without the fields that were false.
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

/// The head of the trail as it is printed. `--head` accepts `head`.
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

/// The result of verifying as it is printed. A broken trail has no head.
#[derive(Debug, Serialize)]
struct VerifiedRecord {
    intact: bool,
    number: Option<u64>,
    head: Option<String>,
    broken_at: Option<u64>,
    state_matches: Option<bool>,
    differences: Option<Vec<DifferenceRecord>>,
    difference_count: Option<u64>,
    not_covered: Option<u64>,
}

impl VerifiedRecord {
    fn new(chain: Chain, replay: Option<&Replay>) -> Self {
        let (head, broken_at) = match chain {
            Chain::Intact(head) => (Some(HeadRecord::from(head)), None),
            Chain::BrokenAt(number) => (None, Some(number)),
        };
        Self {
            intact: broken_at.is_none(),
            number: head.as_ref().map(|head| head.number),
            head: head.map(|head| head.head),
            broken_at,
            state_matches: replay.map(|replay| replay.count == 0),
            differences: replay.map(|replay| replay.differences.iter().map(DifferenceRecord::from).collect()),
            difference_count: replay.map(|replay| replay.count),
            not_covered: replay.map(|replay| replay.not_covered),
        }
    }
}

/// A difference between the store and the trail, as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct DifferenceRecord {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    field: Option<String>,
    record: Option<String>,
    trail: Option<String>,
    state: Option<String>,
}

impl From<&Difference> for DifferenceRecord {
    fn from(difference: &Difference) -> Self {
        let Difference { noun, id, field, record, trail, state } = difference.clone();
        let record = record.map(|record| record.to_string());
        Self { id, kind: noun.resource_type(), field, record, trail, state }
    }
}

/// Describes a difference, without naming its subject.
pub(super) fn in_words(difference: &Difference) -> String {
    let Difference { field, record, trail, state, .. } = difference;
    let said = |value: &Option<String>| escape(value.as_deref().unwrap_or("none")).into_owned();
    let record = record.map(|record| format!(" (record {record})")).unwrap_or_default();
    match field {
        Some(field) => format!("{field} is {}; the trail says {}{record}", said(state), said(trail)),
        None if state.as_deref() == Some("gone") => format!("is missing; by the trail it is there{record}"),
        None if trail.is_none() => "is there; the trail does not know it".to_owned(),
        None => format!("is there; by the trail it was removed{record}"),
    }
}

/// Describes each difference that was found, and how many more there are.
pub(super) fn all_in_words(replay: &Replay) -> Vec<String> {
    let further = replay.count - replay.differences.len() as u64;
    let further = (further > 0).then(|| format!("{further} more differences from the audit trail"));
    let differences = replay.differences.iter().map(|difference| {
        let Difference { noun, id, .. } = difference;
        let kind = noun.resource_type();
        // The account has no id, and is named by its type.
        let what = if kind == id { id.clone() } else { format!("{kind} {id}") };
        format!("{what}: {}", in_words(difference))
    });
    differences.chain(further).collect()
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
    /// Only what happened at or after this time: `7d` ago, `2027-01-31`, or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Only what happened before this time
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

    /// Show at most this many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
}

/// Parses a resource type of records.
fn parse_type(text: &str) -> Result<Noun, String> {
    Noun::ALL.into_iter().find(|noun| noun.resource_type() == text).ok_or_else(|| {
        let known: Vec<_> = Noun::ALL.iter().map(|noun| noun.resource_type()).collect();
        format!("type: must be one of {}", known.join(", "))
    })
}

/// Parses the id by which records name a target. Names change, and are not searched for.
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
                |what, text: Option<String>| text.map(|text| parse_past_time(what, &text, now)).transpose();
            let query = AuditQuery {
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
                limit: self.limit,
                before: None,
            };
            output::list(&context.terminal, context.output, now, |emit| {
                Ok(session.list_audit(&query, &mut |record| {
                    emit(record)?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }
}

/// Check that no record was altered, inserted or removed, and that the store matches the records
///
/// Records that are missing at the end are detected only with `--head`. Exits with 3 if the trail was changed, or if the
/// store differs from it. Each difference is named.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// What `pdkeys audit head` printed earlier, kept elsewhere
    #[arg(long)]
    head: Option<Head>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let (chain, replay) = session.verify_state(self.head)?;
            let exit = match &chain {
                Chain::Intact(head) => {
                    context.terminal.done("Verified", &format!("{} records, none altered", head.number));
                    replay.as_ref().map_or(Exit::Done, |replay| told(context, replay))
                }
                Chain::BrokenAt(number) => {
                    context.terminal.warning(&format!("the audit trail is broken at record {number}"));
                    Exit::No
                }
            };
            match (context.output, &chain) {
                (Format::Table, Chain::Intact(head)) => output::line(&context.terminal, &head.to_string())?,
                // Nothing is printed that could be taken for a head.
                (Format::Table, Chain::BrokenAt(_)) => {}
                (format, _) => {
                    output::show(
                        &context.terminal,
                        format,
                        session.at(),
                        &VerifiedRecord::new(chain, replay.as_ref()),
                    )?;
                }
            }
            Ok(exit)
        })
    }
}

/// Reports how the store differs from the trail, and what the trail does not cover.
fn told(context: &Context, replay: &Replay) -> Exit {
    for difference in all_in_words(replay) {
        context.terminal.warning(&difference);
    }
    if replay.not_covered > 0 {
        context.terminal.hint(&format!(
            "of {} things, which 0.1 made, the trail does not cover the secret or the content; rotate covers a secret",
            replay.not_covered
        ));
    }
    if replay.count == 0 { Exit::Done } else { Exit::No }
}

/// Print the head of the audit trail, to keep elsewhere
#[derive(Args, Debug)]
pub(crate) struct HeadOfChain {}

impl HeadOfChain {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self {} = self;
        context.with_session(FirstUse::NeedsStore, |session| {
            let head = session.audit_head()?;
            match context.output {
                Format::Table => output::line(&context.terminal, &head.to_string())?,
                format => output::show(&context.terminal, format, session.at(), &HeadRecord::from(head))?,
            }
            Ok(Exit::Done)
        })
    }
}
