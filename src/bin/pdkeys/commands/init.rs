//! The command `pdkeys init`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use pdkeys::manage::Founding;
use pdkeys::model::{Name, Noun, Policy};
use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::sqlite::SqliteStore;

use crate::complete;
use crate::failure::{Exit, Failure};
use crate::os_user::{login_name, os_user, uid_of};
use crate::session::Context;

/// Make a new store
///
/// The operating-system user who runs this, or is named with --os-user, acts as the Account Owner from then on. Behind
/// sudo no store is made. The store key is made beside the store: without it the store is worthless, so keep a copy
/// elsewhere.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The name of the account; `default` if not given
    account: Option<String>,

    /// The name of the Account Owner; the login name if not given
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    /// The operating-system user who acts as the Account Owner, by login name or number; you, if not given
    #[arg(long, value_name = "LOGIN")]
    os_user: Option<String>,

    /// How requests are judged: `pagerduty` or `convention`
    #[arg(long, value_name = "POLICY", default_value_t, add = ArgValueCandidates::new(complete::policies))]
    policy: Policy,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.rights.refuse_founding()?;
        context.refuse_token()?;
        let (place, _) = context.place()?;
        let os_uid = match &self.os_user {
            Some(login) => uid_of(login)?,
            None => os_user(place.directory())?,
        };
        let check = |text: &str| Name::parse(Noun::Account, text).map(drop);
        let account = context.required(self.account, "Account name", Some("default"), check)?;
        let owner = match self.owner {
            Some(owner) => Name::parse(Noun::User, &owner)?,
            None => login_name(os_uid)?,
        };
        let founding =
            Founding { account: Name::parse(Noun::Account, &account)?, policy: self.policy, owner, os_uid };
        founding.make_store::<SqliteStore>(&place, &SystemClock, &mut SystemEntropy)?;
        context.made_store(&place, &founding.owner);
        Ok(Exit::Done)
    }
}
