//! The commands `pdkeys account` and `pdkeys whoami`.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::Timestamp;
use pdkeys::model::{Account as Settings, AccountEdit, Id, Name, Noun, Policy, Role, Subdomain};
use serde::Serialize;

use crate::complete;
use crate::failure::{Exit, Failure};
use crate::output::times;
use crate::output::{self, Format};
use crate::session::{Context, FirstUse};

/// Show on whose behalf commands run
#[derive(Args, Debug)]
pub(crate) struct Whoami {}

#[derive(Debug, Serialize)]
struct ActingRecord {
    id: Id,
    name: Name,
    role: Role,
    title: &'static str,
    method: String,
    truncated_token: Option<String>,
    on_behalf_by: Option<Name>,
    account: Name,
    store: String,
}

impl Whoami {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self {} = self;
        let store = context.place()?.0.database().display().to_string();
        context.with_session(FirstUse::NeedsStore, |session| {
            let acting = session.whoami()?;
            let record = ActingRecord {
                id: acting.user().id,
                name: acting.user().name.clone(),
                role: acting.user().role,
                title: acting.user().role.title(),
                method: acting.method().kind.clone(),
                truncated_token: acting.method().truncated_token.clone(),
                on_behalf_by: acting.owner().map(|owner| owner.name.clone()),
                account: session.account()?.name,
                store,
            };
            output::show(&context.terminal, context.output, session.at(), &record)?;
            Ok(Exit::Done)
        })
    }
}

#[derive(Debug, Serialize)]
struct AccountRecord {
    name: Name,
    owner: Name,
    policy: Policy,
    subdomain: Option<Subdomain>,
    rest_api: bool,
    advanced_permissions: bool,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
}

impl From<Settings> for AccountRecord {
    fn from(account: Settings) -> Self {
        Self {
            name: account.name,
            owner: account.owner.name,
            policy: account.policy,
            subdomain: account.subdomain,
            rest_api: account.rest_api,
            advanced_permissions: account.advanced_permissions,
            created_at: account.created_at,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    Show(Show),
    Set(Set),
    Transfer(Transfer),
}

impl Account {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => command.run(context),
            Self::Set(command) => command.run(context),
            Self::Transfer(command) => command.run(context),
        }
    }
}

/// Show the account and its settings
#[derive(Args, Debug)]
pub(crate) struct Show {}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self {} = self;
        context.with_session(FirstUse::NeedsStore, |session| {
            let account = AccountRecord::from(session.account()?);
            output::show(&context.terminal, context.output, session.at(), &account)?;
            Ok(Exit::Done)
        })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        matches!(switch, Switch::On)
    }
}

/// Change the account's settings; only the Account Owner may
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct Set {
    /// A new name
    #[arg(long, group = "change")]
    name: Option<String>,

    /// Whether REST keys can be made and are accepted
    #[arg(long, value_enum, group = "change")]
    rest_api: Option<Switch>,

    /// Whether user tokens can be made and are accepted
    #[arg(long, value_enum, group = "change")]
    advanced_permissions: Option<Switch>,

    /// How requests are judged: `pagerduty` or `convention`
    #[arg(long, group = "change", add = ArgValueCandidates::new(complete::policies))]
    policy: Option<Policy>,

    /// The subdomain that app tokens name, or `none`
    #[arg(long, group = "change")]
    subdomain: Option<String>,
}

impl Set {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let subdomain = match self.subdomain.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(subdomain) => Some(Some(subdomain.parse()?)),
        };
        let edit = AccountEdit {
            name: self.name.map(|name| Name::parse(Noun::Account, &name)).transpose()?,
            policy: self.policy,
            subdomain,
            rest_api: self.rest_api.map(bool::from),
            advanced_permissions: self.advanced_permissions.map(bool::from),
        };
        context.with_session(FirstUse::NeedsStore, |session| {
            let account = session.edit_account(edit)?;
            changed(context, "Changed", account, session.at())
        })
    }
}

/// Make another user the Account Owner; the present one becomes an admin
#[derive(Args, Debug)]
pub(crate) struct Transfer {
    /// The new owner's name or id
    #[arg(add = ArgValueCompleter::new(complete::user_names))]
    user: String,
}

impl Transfer {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            if !context.yes {
                let (account, Settings { owner: heir, .. }) = session.preview_transfer_account(&self.user)?;
                let what = [format!(
                    "{} ({}) becomes Account Owner of {}; {} becomes an admin.",
                    heir.name, heir.id, account.name, account.owner.name
                )];
                context.confirm(&what, &format!("Transfer the account to {}?", heir.name))?;
            }
            let account = session.transfer_account(&self.user)?;
            changed(context, "Transferred", account, session.at())
        })
    }
}

fn changed(context: &Context, verb: &str, account: Settings, now: Timestamp) -> Result<Exit, Failure> {
    context
        .terminal
        .done(verb, &format!("account {}; {} is Account Owner", account.name, account.owner.name));
    if context.output != Format::Table {
        output::show(&context.terminal, context.output, now, &AccountRecord::from(account))?;
    }
    Ok(Exit::Done)
}
