//! The commands `pdkeys verify` and `pdkeys explain`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use pdkeys::model::{Access, CredentialKind, Policy, secrets_within};
use pdkeys::ports::{Clock as _, SystemClock};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{ReadTx as _, Store as _};
use pdkeys::verify::{Api, Explanation, Reason, Request, UsageRecording, Verdict, Verifier, explain};
use serde::Serialize;

use super::batch;
use crate::complete;
use crate::failure::{Exit, Failure};
use crate::input::credential::Source;
use crate::output::{self, Format};
use crate::redaction::hide;
use crate::session::{Context, FirstUse};

/// Say what a presented key may do
///
/// The key comes from `--key-file`, else from `PDKEYS_KEY`, else from standard input: alone, or as the whole value of
/// an Authorization header. Exits with 0 if it is allowed and with 3 if not. If the verdict cannot be determined, that is
/// an error, and never allowed.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The method of the request, such as GET
    #[arg(long)]
    method: Option<String>,

    /// The path of the request, with its query if it has one
    #[arg(long)]
    path: Option<String>,

    /// The API of the request: `rest`, `events-v1` or `events-v2`
    #[arg(long, default_value_t, add = ArgValueCandidates::new(complete::interfaces))]
    api: Api,

    #[command(flatten)]
    source: Source,

    /// Do not count the check
    #[arg(long)]
    dry_run: bool,

    /// Read JSON lines from standard input, and write a verdict for each
    ///
    /// A line is {"key": "...", "method": "GET", "path": "/incidents", "api": "rest"}; further members come back under
    /// "request". Exits with 1 if a line could not be answered, else with 3 if one was denied.
    #[arg(long, conflicts_with_all = ["method", "path", "key_file"])]
    batch: bool,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.source
            .refuse_arguments("give it on standard input, in a file with --key-file, or in PDKEYS_KEY")?;
        if self.batch {
            let counting = if self.dry_run { UsageRecording::Nowhere } else { UsageRecording::InMemory };
            return batch::run(context, verifier(context, counting, SqliteStore::for_many_keys)?);
        }
        let (method, path) = self.what_is_asked()?;
        let presented = self.source.read(&context.terminal, Some("PDKEYS_KEY"))?;
        let counting = if self.dry_run { UsageRecording::Nowhere } else { UsageRecording::InStore };
        let verifier = verifier(context, counting, Ok)?;
        let request =
            Request { api: self.api, presented, method: &method, path: path.as_bytes(), via_gateway: false };
        let verdict = verifier.verify(&request)?;
        match context.output {
            Format::Table => {
                output::show(
                    &context.terminal,
                    Format::Table,
                    SystemClock.now(),
                    &VerdictView::new(&verdict),
                )?;
            }
            format => output::show(&context.terminal, format, SystemClock.now(), &verdict)?,
        }
        Ok(if verdict.is_allowed() { Exit::Done } else { Exit::No })
    }

    fn what_is_asked(&self) -> Result<(String, String), Failure> {
        if self.api.is_events() {
            return Ok((self.method.clone().unwrap_or_default(), self.path.clone().unwrap_or_default()));
        }
        match (&self.method, &self.path) {
            (Some(method), Some(path)) => Ok((method.clone(), path.clone())),
            _ => Err(Failure::usage("--method and --path are both required")
                .with_hint("for instance --method GET --path /incidents; events need neither")),
        }
    }
}

fn verifier(
    context: &Context,
    counting: UsageRecording,
    prepare: fn(SqliteStore) -> Result<SqliteStore, pdkeys::Error>,
) -> Result<Verifier<SqliteStore>, Failure> {
    let store = context.open(FirstUse::NeedsStore)?;
    let place = store.place().clone();
    Ok(Verifier::new(prepare(store)?, move || prepare(SqliteStore::open(&place)?), counting, SystemClock)?)
}

/// Returns the name of a kind of credential in sentences.
pub(super) const fn kind_in_words(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::General => "general key",
        CredentialKind::UserToken => "user token",
        CredentialKind::AppToken => "app token",
        CredentialKind::Integration => "integration key",
    }
}

/// A verdict as the table shows it.
#[derive(Debug, Serialize)]
struct VerdictView {
    verdict: String,
    status: u16,
    because: String,
    credential: Option<String>,
    owner: Option<String>,
    operation: Option<&'static str>,
    needed: Option<String>,
    has: Option<String>,
    rate_limit: Option<String>,
}

impl VerdictView {
    fn new(verdict: &Verdict) -> Self {
        let credential = verdict.credential.as_deref();
        Self {
            verdict: if verdict.is_allowed() {
                "allowed".to_owned()
            } else {
                format!("denied: {}", verdict.reason)
            },
            status: verdict.status(),
            because: verdict.message(),
            credential: credential.map(|found| {
                let hint = found.hint.as_ref().map(|hint| format!(", ...{hint}")).unwrap_or_default();
                format!("{} {} ({}{hint})", kind_in_words(found.kind), found.id, found.description)
            }),
            owner: credential.and_then(|found| {
                let owner = found.owner.as_ref()?;
                Some(format!("{} ({}, {})", owner.name, owner.id, owner.role))
            }),
            operation: verdict.operation,
            needed: join(&verdict.needed),
            has: credential.and_then(|found| match (&found.access, found.kind) {
                (_, CredentialKind::Integration) => None,
                (Access::Full | Access::ReadOnly | Access::Role(None), _) => {
                    Some(found.access.kind().to_string())
                }
                (Access::Scopes(scopes) | Access::Role(Some(scopes)), _) => Some(scopes.to_string()),
            }),
            rate_limit: verdict.rate_limit.map(|state| {
                format!("{} of {} left; a new window in {} s", state.remaining, state.limit, state.reset)
            }),
        }
    }
}

fn join(items: &[impl ToString]) -> Option<String> {
    (!items.is_empty()).then(|| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// Explain what an operation needs, and which roles may call it, without a key
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The method, such as GET
    method: String,

    /// The path, such as /incidents
    path: String,

    /// Use this policy instead of the account's
    #[arg(long, add = ArgValueCandidates::new(complete::policies))]
    policy: Option<Policy>,
}

#[derive(Debug, Serialize)]
struct Explained {
    method: String,
    path: String,
    #[serde(flatten)]
    explanation: Explanation,
}

impl Explain {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let policy = match self.policy {
            Some(policy) => policy,
            None => account_policy(context)?,
        };
        match explain(policy, &self.method, self.path.as_bytes()) {
            Ok(explanation) => {
                // The path of an event can hold its key, and a query can hold a token.
                let path = hide(&secrets_within(&self.path), &self.path).into_owned();
                let explained = Explained { method: self.method, path, explanation };
                output::show(&context.terminal, context.output, SystemClock.now(), &explained)?;
                Ok(Exit::Done)
            }
            Err(Reason::AmbiguousRequest) => Err(Failure::usage("no such method")
                .with_hint("it must be one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, in capitals")),
            Err(_) => Err(Failure::usage(
                "the path could be read in more than one way, and is never allowed",
            )
            .with_hint(
                "it must begin with / and have no empty segment, no segment of dots alone, no backslash, ;, #, space \
                 or anything but plain ASCII, and no encoded slash, dot or percent sign",
            )),
        }
    }
}

/// Returns the account's policy, or that of a new account if there is no store at the default place yet.
fn account_policy(context: &Context) -> Result<Policy, Failure> {
    let (place, is_default) = context.place()?;
    if is_default && !place.database().exists() {
        return Ok(Policy::default());
    }
    Ok(context.open(FirstUse::NeedsStore)?.read()?.account()?.policy)
}
