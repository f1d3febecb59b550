//! The commands for general access keys: `create`, `list`, `show`, `edit`, `disable`, `enable`, `rotate`, `remove`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::{HandOver, Session, Switched};
use pdkeys::model::{
    API_VERSION, Access, AccessKind, CredentialKind, GeneralKey, Hint, Id, KeyEdit, KeyFilter, KeyOrder,
    KeySpec, KeyState, Label, Name, Noun, RateLimit, Scope, ScopeSet, parse_duration, parse_expiry,
};
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{KeyQuery, Page};
use serde::Serialize;

use super::args::{self, LimitEdit, Reason, parse_description, parse_end, warn_of_unknown_scopes};
use super::resource::{self, Removable, Resource, Rotatable, Rotation};
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, CellStyle, Record};
use crate::session::{Context, FirstUse};

/// A general key as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct KeyRecord {
    id: Id,
    kind: CredentialKind,
    description: Label,
    hint: Option<Hint>,
    access: AccessKind,
    scopes: Option<ScopeSet>,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    created_by: Name,
    api_version: &'static str,
    status: KeyState,
    #[serde(serialize_with = "times::serialize")]
    disabled_at: Option<Timestamp>,
    disabled_by: Option<Name>,
    disabled_reason: Option<Label>,
    #[serde(serialize_with = "times::serialize")]
    last_used_at: Option<Timestamp>,
    #[serde(serialize_with = "times::serialize")]
    expires_at: Option<Timestamp>,
    rate_limit: Option<RateLimit>,
    #[serde(serialize_with = "times::serialize")]
    overlap_ends_at: Option<Timestamp>,
}

impl KeyRecord {
    pub(crate) fn new(key: GeneralKey, now: Timestamp) -> Self {
        let status = key.state(now);
        let overlap_ends_at = key.overlap(now);
        let (disabled_at, disabled_by, disabled_reason) = match key.disabled {
            Some(disabled) => (Some(disabled.at), disabled.by.map(|by| by.name), disabled.reason),
            None => (None, None, None),
        };
        Self {
            id: key.id,
            kind: CredentialKind::General,
            description: key.description,
            hint: key.hint,
            access: key.access.kind(),
            scopes: key.access.scopes().cloned(),
            created_at: key.created_at,
            created_by: key.created_by.name,
            api_version: API_VERSION,
            status,
            disabled_at,
            disabled_by,
            disabled_reason,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
            rate_limit: key.rate_limit,
            overlap_ends_at,
        }
    }
}

impl Record for KeyRecord {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "kind",
        "description",
        "hint",
        "access",
        "scopes",
        "created_at",
        "created_by",
        "api_version",
        "status",
        "disabled_at",
        "disabled_by",
        "disabled_reason",
        "last_used_at",
        "expires_at",
        "rate_limit",
        "overlap_ends_at",
    ];
    const HEADINGS: &'static [&'static str] =
        &["ID", "DESCRIPTION", "HINT", "ACCESS", "CREATED", "API", "STATUS", "LAST USED", "EXPIRES"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        let access = match &self.scopes {
            Some(scopes) => scopes.to_string(),
            None => self.access.to_string(),
        };
        let mut status = self.status.to_string();
        if let Some(at) = self.disabled_at {
            let by = self.disabled_by.as_ref().map_or("its holder", Name::as_str);
            status = format!("{status} by {by} {}", style.time(at));
        }
        if let Some(reason) = &self.disabled_reason {
            status = format!("{status}: {reason}");
        }
        vec![
            self.id.to_string(),
            self.description.to_string(),
            self.hint.as_ref().map_or_else(|| "-".to_owned(), |hint| format!("...{hint}")),
            access,
            style.time(self.created_at),
            self.api_version.to_owned(),
            status,
            style.optional_time(self.last_used_at, "never"),
            style.optional_time(self.expires_at, "never"),
        ]
    }
}

/// Make a general access key
///
/// Prints the key, alone on its line, on standard output. It is shown only this once: a lost key is replaced. If it cannot
/// be printed, it is not made. The first use makes a store at the default place.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What the key is for
    description: Option<String>,

    /// Allow only GET requests
    #[arg(long, conflicts_with = "scopes")]
    read_only: bool,

    /// Limit it to this scope, such as `incidents.read` (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// When it ends: `90d`, `2027-01-31`, a time, or `never`
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,

    /// How often it may be used, such as `100/min`, or `none` for no limit
    #[arg(long, value_name = "LIMIT")]
    rate_limit: Option<RateLimit>,

    /// Write the key to this new file, readable only by its owner, instead of standard output (`-`)
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
        let access = match (self.read_only, self.scopes.is_empty()) {
            (true, _) => Access::ReadOnly,
            (false, true) => Access::Full,
            (false, false) => Access::Scopes(self.scopes.into_iter().collect()),
        };
        // Checked before a store is opened or made.
        parse_end(self.expires.as_deref(), SystemClock.now())?;
        context.with_session(FirstUse::MakesStore, |session| {
            let now = session.at();
            warn_of_unknown_scopes(context, session, access.scopes())?;
            let spec = KeySpec {
                description,
                access,
                expires_at: parse_end(self.expires.as_deref(), now)?,
                rate_limit: self.rate_limit,
            };
            let key = session
                .create_key(spec, &mut |key, secret| sink.take(secret, &KeyRecord::new(key.clone(), now)))?;
            let told = sink.keep().unwrap_or_else(|| "its secret is shown only this once".to_owned());
            let ends = times::ends(key.expires_at);
            context.terminal.done("Created", &format!("{}{ends}; {told}", key.describe()));
            Ok(Exit::Done)
        })
    }
}

/// The order in which keys are listed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Sort {
    /// Oldest first
    #[default]
    Created,
    /// By description
    Description,
    /// Never and longest unused first
    LastUsed,
    /// Soonest to end first
    Expires,
}

/// List general access keys
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those of this status: `active`, `disabled` or `expired`
    #[arg(long, add = ArgValueCandidates::new(complete::key_states))]
    status: Option<KeyState>,

    /// Only those with this access: `full`, `read-only` or `scopes`
    #[arg(long, add = ArgValueCandidates::new(complete::kinds_of_access))]
    access: Option<AccessKind>,

    /// Only those made by this user
    #[arg(long, value_name = "USER", add = ArgValueCompleter::new(complete::user_names))]
    created_by: Option<String>,

    /// Only those with this in their description
    #[arg(long)]
    text: Option<String>,

    /// Only those not used for this long, such as `90d`
    #[arg(long, value_name = "LENGTH")]
    unused_for: Option<String>,

    /// Only those that work and end within this time, such as `14d`
    #[arg(long, value_name = "LENGTH")]
    expiring_within: Option<String>,

    /// Sort the keys
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,

    /// Reverse the order
    #[arg(long)]
    reverse: bool,

    /// Show at most this many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let filter = self.filter(session)?;
            let order = match self.sort {
                Sort::Created => KeyOrder::Created,
                Sort::Description => KeyOrder::Description,
                Sort::LastUsed => KeyOrder::LastUsed,
                Sort::Expires => KeyOrder::Expires,
            };
            let page = Page { limit: self.limit, after: None };
            let query = KeyQuery { filter, at: now, order, reverse: self.reverse, page };
            output::list(&context.terminal, context.output, now, |emit| {
                Ok(session.list_keys(&query, &mut |key| {
                    emit(KeyRecord::new(key, now))?;
                    Ok(ControlFlow::Continue(()))
                })?)
            })?;
            Ok(Exit::Done)
        })
    }

    fn filter(&self, session: &mut Session<'_, SqliteStore>) -> Result<KeyFilter, Failure> {
        let now = session.at();
        let unused_since = self
            .unused_for
            .as_deref()
            .map(|length| parse_duration("unused for", length, now))
            .transpose()?
            .map(|length| now.checked_sub(length).unwrap_or(Timestamp::MIN));
        Ok(KeyFilter {
            state: self.status,
            access: self.access,
            created_by: self
                .created_by
                .as_deref()
                .map(|user| session.user(user))
                .transpose()?
                .map(|user| user.id),
            text: self.text.clone(),
            unused_since,
            ends_by: self
                .expiring_within
                .as_deref()
                .map(|length| parse_duration("expiring within", length, now))
                .transpose()?
                .map(|length| now.checked_add(length).unwrap_or(Timestamp::MAX)),
        })
    }
}

/// Show one general access key
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The key's id
    #[arg(add = ArgValueCompleter::new(complete::key_ids))]
    id: String,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::show::<GeneralKey>(context, &self.id)
    }
}

/// Change a key's description, expiry or rate limit, or narrow its access
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Edit {
    /// The key's id
    #[arg(add = ArgValueCompleter::new(complete::key_ids))]
    id: String,

    /// What the key is for
    #[arg(long, group = "change")]
    description: Option<String>,

    /// Allow only GET requests from now on
    #[arg(long, group = "change", conflicts_with = "scopes")]
    read_only: bool,

    /// Limit it to this scope from now on (can be repeated)
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<Scope>,

    /// When it ends: `90d`, `2027-01-31`, a time, or `never`
    #[arg(long, value_name = "WHEN", group = "change")]
    expires: Option<String>,

    /// How often it may be used: `100/min`, `none` for no limit, `default` for the documented one
    #[arg(long, value_name = "LIMIT", group = "change", value_parser = args::parse_limit_edit)]
    rate_limit: Option<LimitEdit>,
}

impl Edit {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let access = match (self.read_only, self.scopes.is_empty()) {
                (true, _) => Some(Access::ReadOnly),
                (false, true) => None,
                (false, false) => Some(Access::Scopes(self.scopes.into_iter().collect())),
            };
            warn_of_unknown_scopes(context, session, access.as_ref().and_then(Access::scopes))?;
            let edit = KeyEdit {
                description: parse_description(self.description)?,
                access,
                expires_at: self.expires.map(|text| parse_expiry("expiry", &text, now)).transpose()?,
                rate_limit: self.rate_limit.map(|LimitEdit(limit)| limit),
            };
            let key = session.edit_key(&self.id, edit)?;
            let ends = times::ends(key.expires_at);
            context.terminal.done("Changed", &format!("{}{ends}", key.describe()));
            resource::print_changed(context, std::iter::once(KeyRecord::new(key, now)), now)
        })
    }
}

/// Switch keys off; they can be enabled again
#[derive(Args, Debug)]
pub(crate) struct Disable {
    /// The keys' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::key_ids))]
    ids: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Disable {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let reason = self.reason.parse()?;
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            if !context.yes {
                let keys = session.preview_disable_keys(&self.ids, reason.as_ref())?;
                resource::confirm(context, "Disable", "These stop working:", &keys)?;
            }
            let switched = session.disable_keys(&self.ids, reason.as_ref())?;
            report_switched(context, "disabled", "Disabled", switched, now)
        })
    }
}

/// Switch disabled keys on again
#[derive(Args, Debug)]
pub(crate) struct Enable {
    /// The keys' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::key_ids))]
    ids: Vec<String>,
}

impl Enable {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let switched = session.enable_keys(&self.ids)?;
            report_switched(context, "enabled", "Enabled", switched, session.at())
        })
    }
}

/// Reports which keys were switched on or off, and which were in that state already.
fn report_switched(
    context: &Context,
    state: &str,
    verb: &str,
    switched: Vec<Switched>,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let (changed, same): (Vec<_>, Vec<_>) = switched.into_iter().partition(|switched| switched.changed);
    for same in &same {
        let description = same.key.describe();
        context.terminal.done("Unchanged", &format!("{description} was {state} already"));
    }
    resource::report(context, verb, changed.into_iter().map(|switched| switched.key), now)
}

/// Give a key a new secret; its id, description and access stay
///
/// Prints the new secret on standard output, this once. With `--overlap` the present one goes on for that long;
/// without, it stops at once.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The key's id
    #[arg(add = ArgValueCompleter::new(complete::key_ids))]
    id: String,

    #[command(flatten)]
    rotation: Rotation,
}

impl Rotate {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.rotation.run::<GeneralKey>(context, &self.id)
    }
}

impl Resource for GeneralKey {
    type Record = KeyRecord;
    const NOUN: Noun = Noun::GeneralKey;

    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.key(reference)
    }

    fn short_name(&self) -> String {
        self.id.to_string()
    }

    fn describe(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!(", ...{hint}")).unwrap_or_default();
        format!("key {} ({}{hint})", self.id, self.description)
    }

    fn into_record(self, now: Timestamp) -> KeyRecord {
        KeyRecord::new(self, now)
    }
}

impl Removable for GeneralKey {
    const CONSEQUENCE: &'static str = "These go for good, and cannot come back:";

    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.preview_remove_keys(references, reason)
    }

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error> {
        session.remove_keys(references, reason)
    }
}

impl Rotatable for GeneralKey {
    fn preview_rotation(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
    ) -> Result<Self, pdkeys::Error> {
        session.preview_rotate_key(reference)
    }

    fn rotate(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, Self>,
    ) -> Result<Self, pdkeys::Error> {
        session.rotate_key(reference, overlap, hand_over)
    }

    fn end_overlap(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error> {
        session.end_overlap(reference)
    }

    fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        GeneralKey::overlap(self, now)
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

/// Remove keys for good
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The keys' ids
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::key_ids))]
    ids: Vec<String>,

    #[command(flatten)]
    reason: Reason,
}

impl Remove {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        resource::remove::<GeneralKey>(context, &self.ids, &self.reason)
    }
}
