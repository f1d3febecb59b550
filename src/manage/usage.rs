//! Usage of credentials, for users who are permitted to see it.
//!
//! The usage of removed credentials is only included in the totals over all credentials, for users who may see all
//! usage: there is no credential left to list it under.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::session::Session;
use super::{resolve, tokens};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::Result;
use crate::model::{App, CredentialKind, GeneralKey, Id, Integration, Noun, UserToken};
use crate::store::{
    AppBy, AppQuery, HourlyUsage, IntegrationQuery, KeyQuery, ReadTx, Store, TokenQuery, UsageQuery, Visit,
};

/// How long hourly counts are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A credential and its usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The id of the credential, or of the app for all its tokens together.
    pub id: Id,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// The description, or the name of the integration or the app.
    pub description: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last checked while it was live.
    pub last_used_at: Option<Timestamp>,
    /// The counts of its checks.
    pub counts: Counts,
}

/// Counts of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of allowed checks.
    pub allowed: u64,
    /// The number of checks that were denied although the credential was live.
    pub denied: u64,
}

impl Counts {
    /// Returns the sum of both.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }

    fn add(&mut self, hour: &HourlyUsage) {
        self.allowed = self.allowed.saturating_add(hour.allowed);
        self.denied = self.denied.saturating_add(hour.denied);
    }
}

impl<S: Store> Session<'_, S> {
    /// Returns the credentials with the most checks since a given time, at most `most` of them, among those whose usage
    /// the acting user is permitted to see.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn most_used(&mut self, since: Timestamp, most: usize) -> Result<Vec<Used>> {
        let since = self.kept_since(since);
        self.read(|tx, acting| {
            let seen = Seen::by(tx, acting)?;
            let mut counts: HashMap<Id, Counts> = HashMap::new();
            tx.usage(&UsageQuery { of: None, since }, &mut |hour| {
                if seen.has(hour.id) {
                    counts.entry(hour.id).or_default().add(&hour);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            let mut order: Vec<_> = counts.into_iter().collect();
            order.sort_unstable_by_key(|(id, counts)| (std::cmp::Reverse(counts.total()), *id));
            let mut used = Vec::new();
            for (id, counts) in order {
                if used.len() == most {
                    break;
                }
                used.extend(credential(tx, id)?.map(|found| Used { counts, ..found }));
            }
            Ok(used)
        })
    }

    /// Visits the credentials that have not been used since a given time, among those whose usage the acting user is
    /// permitted to see: by kind, oldest first. A credential that was never used counts as used when it was created.
    ///
    /// # Errors
    /// If the store cannot be read, or `visit` returns an error.
    pub fn unused(&mut self, since: Timestamp, visit: Visit<'_, Used>) -> Result<()> {
        self.read(|tx, acting| {
            let mut flow = ControlFlow::Continue(());
            let mut consider = |used: Used| {
                if used.last_used_at.unwrap_or(used.created_at) < since {
                    flow = visit(used)?;
                }
                Ok(flow)
            };
            let sees_all = sees_all(acting);
            if sees_all {
                tx.general_keys(&KeyQuery::all(acting.at()), &mut |key| consider(key.into()))?;
            }
            let whose = (!sees_all).then_some(acting.user().id);
            tx.user_tokens(&TokenQuery { user: whose, ..TokenQuery::default() }, &mut |token| {
                consider(token.into())
            })?;
            if sees_integrations(acting) {
                tx.integrations(&IntegrationQuery::default(), &mut |integration| {
                    consider(integration.into())
                })?;
            }
            if sees_all {
                tx.apps(&AppQuery::default(), &mut |app| consider(app.into()))?;
            }
            Ok(())
        })
    }

    /// Returns a credential with its usage since a given time.
    ///
    /// # Errors
    /// If the acting user is not permitted to see it, or it does not exist.
    pub fn usage_of(&mut self, id: &str, since: Timestamp) -> Result<Used> {
        let since = self.kept_since(since);
        self.read(|tx, acting| {
            let mut used = seen_credential(tx, acting, id)?;
            tx.usage(&UsageQuery { of: Some(used.id), since }, &mut |hour| {
                used.counts.add(&hour);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(used)
        })
    }

    /// Returns hourly counts since a given time, by the start of the hour: those of one credential, or the totals of
    /// all credentials whose usage the acting user is permitted to see. Hours without checks are omitted.
    ///
    /// # Errors
    /// If the acting user is not permitted to see the credential, or it does not exist.
    pub fn usage_by_hour(
        &mut self,
        id: Option<&str>,
        since: Timestamp,
    ) -> Result<BTreeMap<Timestamp, Counts>> {
        let since = self.kept_since(since);
        self.read(|tx, acting| {
            let one = id.map(|id| seen_credential(tx, acting, id)).transpose()?.map(|used| used.id);
            let seen = if one.is_some() { Seen::All } else { Seen::by(tx, acting)? };
            let mut hours: BTreeMap<Timestamp, Counts> = BTreeMap::new();
            tx.usage(&UsageQuery { of: one, since }, &mut |hour| {
                if seen.has(hour.id) {
                    hours.entry(hour.began_at).or_default().add(&hour);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(hours)
        })
    }

    /// Returns `since`, but not earlier than the time from which counts are kept. Older counts may still be in the
    /// file, which is swept once a day.
    fn kept_since(&self, since: Timestamp) -> Timestamp {
        since.max(self.at().checked_sub(KEPT).unwrap_or(Timestamp::MIN))
    }
}

/// The credentials whose usage the acting user is permitted to see.
enum Seen {
    All,
    These(HashSet<Id>),
}

impl Seen {
    fn by(tx: &mut impl ReadTx, acting: &Acting) -> Result<Self> {
        if sees_all(acting) {
            return Ok(Self::All);
        }
        let mut seen = HashSet::new();
        let own = TokenQuery { user: Some(acting.user().id), ..TokenQuery::default() };
        tx.user_tokens(&own, &mut |token| {
            seen.insert(token.id);
            Ok(ControlFlow::Continue(()))
        })?;
        if sees_integrations(acting) {
            tx.integrations(&IntegrationQuery::default(), &mut |integration| {
                seen.insert(integration.id);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(Self::These(seen))
    }

    fn has(&self, id: Id) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains(&id),
        }
    }
}

fn sees_all(acting: &Acting) -> bool {
    decide(acting.user(), Action::SeeUsage, &Target::all(Noun::Account)) == Decision::Allowed
}

fn sees_integrations(acting: &Acting) -> bool {
    let all = Target::all(Noun::Integration);
    decide(acting.user(), Action::SeeIntegrationUsage, &all) == Decision::Allowed
}

/// Returns a credential if the acting user is permitted to see its usage. Other users do not learn whether it exists.
fn seen_credential(tx: &mut impl ReadTx, acting: &Acting, typed: &str) -> Result<Used> {
    let letter = typed.trim_start().chars().next().map(|letter| letter.to_ascii_uppercase());
    match letter {
        Some('T') => Ok(tokens::token(tx, acting, typed, Action::SeeUsage)?.into()),
        Some('I') => {
            require(acting, Action::SeeIntegrationUsage, &Target::all(Noun::Integration))?;
            Ok(resolve::integration(tx, typed)?.into())
        }
        Some('A') => {
            require(acting, Action::SeeUsage, &Target::all(Noun::App))?;
            Ok(resolve::app(tx, typed, |_| true)?.into())
        }
        _ => {
            require(acting, Action::SeeUsage, &Target::all(Noun::GeneralKey))?;
            Ok(resolve::general_key(tx, typed)?.into())
        }
    }
}

/// Returns a credential without its counts, or `None` if it does not exist.
fn credential(tx: &impl ReadTx, id: Id) -> Result<Option<Used>> {
    Ok(match id.noun() {
        Noun::GeneralKey => tx.general_key(id)?.map(Used::from),
        Noun::UserToken => tx.user_token(id)?.map(Used::from),
        Noun::Integration => tx.integration(id)?.map(Used::from),
        Noun::App => tx.app(AppBy::Id(id))?.map(Used::from),
        Noun::Account | Noun::User | Noun::Service | Noun::Orchestration | Noun::AppToken => None,
    })
}

macro_rules! used {
    ($($noun:ty: $kind:ident, $called:ident;)*) => {
        $(impl From<$noun> for Used {
            fn from(thing: $noun) -> Self {
                Self {
                    id: thing.id,
                    kind: CredentialKind::$kind,
                    description: thing.$called.as_str().to_owned(),
                    created_at: thing.created_at,
                    last_used_at: thing.last_used_at,
                    counts: Counts::default(),
                }
            }
        })*
    };
}

used! {
    GeneralKey: General, description;
    UserToken: UserToken, description;
    Integration: Integration, name;
    App: AppToken, name;
}
