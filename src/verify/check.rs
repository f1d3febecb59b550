//! A check as plain functions, without any I/O: what to look up, and what follows from what was found.
//!
//! [`prepare`] says from the shape alone what to look up, if anything. Looking up is the caller's: a loop, a batch or an
//! event loop that waits for a database on another machine. [`conclude`] judges what was found. Counting is the caller's
//! too, since it may be a write: [`apply_rate_limit`] says from the counted window whether the check is one too many.

use std::sync::Arc;

use jiff::Timestamp;

use super::limit::measure;
use super::policy::is_method;
use crate::error::{ErrorKind, Result};
use crate::model::{Account, Credential, CredentialKind, Digest, InactiveReason, Keyring, RateLimit};
use crate::store::{CredentialLookup, Death, LookupResult, Window};
use crate::verify::{Api, Path, Presented, Reason, Request, Verdict, judge};

/// The next step of a check, determined by the shape of the presented credential.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing: the shape alone decides the verdict.
    Decided(Verdict),
    /// Look up this digest in the store, and call [`conclude`].
    Lookup(Digest),
}

/// A function that counts a check of an active credential. It may change the verdict to [`Reason::RateLimited`].
pub type Count<'c> = &'c mut dyn FnMut(&mut Verdict) -> Result<()>;

/// Returns what to look up for a request, or the verdict that needs no lookup.
#[must_use]
pub fn prepare(keyring: &Keyring, request: &Request<'_>) -> Prepared {
    let denied = |reason| Verdict::denied(reason, request.api);
    Prepared::Decided(match &request.presented {
        Presented::Missing => denied(Reason::Missing),
        Presented::Malformed { length, other_characters } => {
            Verdict { malformed: Some((*length, *other_characters)), ..denied(Reason::Malformed) }
        }
        Presented::Secret { kind, secret } if !request.api.takes(*kind) => {
            Verdict { malformed: Some(secret.measure()), ..denied(Reason::WrongApi) }
        }
        Presented::Secret { secret, .. } => return Prepared::Lookup(keyring.digest(&secret.fingerprint())),
    })
}

/// Judges a request by the result of the lookup. `count` is called if the credential is active.
///
/// # Errors
/// Those of `count`.
pub fn conclude(
    request: &Request<'_>,
    lookup: CredentialLookup,
    at: Timestamp,
    count: Count<'_>,
) -> Result<Verdict> {
    let api = request.api;
    let credential = match lookup.result {
        // The stored kind must be the kind of the shape, so that a key of one kind is never accepted as another.
        LookupResult::Known(credential) if request.presented.kind() == Some(credential.kind) => credential,
        LookupResult::Known(_) | LookupResult::Unknown => return Ok(Verdict::denied(Reason::Unknown, api)),
        LookupResult::Dead(tombstone) => {
            let reason = match tombstone.death {
                Death::Removed => Reason::Removed,
                Death::Rotated => Reason::Rotated,
            };
            return Ok(Verdict { tombstone: Some(tombstone), ..Verdict::denied(reason, api) });
        }
    };
    if let Some(reason) = inactive(&credential, at) {
        return Ok(Verdict { credential: Some(credential), ..Verdict::denied(reason, api) });
    }
    let mut verdict = judge_active(&lookup.account, credential, request);
    count(&mut verdict)?;
    Ok(verdict)
}

/// Records the rate-limit window in which a check was counted in its verdict, and denies the check if it exceeds the
/// limit. Returns whether the check is allowed.
pub fn apply_rate_limit(verdict: &mut Verdict, limit: RateLimit, window: Window, at: Timestamp) -> bool {
    let (state, exceeded) = measure(limit, window, at);
    verdict.rate_limit = state;
    if exceeded && verdict.reason == Reason::Allowed {
        verdict.reason = Reason::RateLimited;
    }
    verdict.reason == Reason::Allowed
}

/// Several checks that are looked up together.
#[derive(Debug)]
pub struct Batch {
    /// The verdict of each request whose shape alone decides.
    decided: Vec<Option<Verdict>>,
    digests: Vec<Digest>,
}

impl Batch {
    /// Prepares several checks, as [`prepare`] does one.
    #[must_use]
    pub fn prepare(keyring: &Keyring, requests: &[Request<'_>]) -> Self {
        let mut digests = Vec::with_capacity(requests.len());
        let decided = requests.iter().map(|request| match prepare(keyring, request) {
            Prepared::Decided(verdict) => Some(verdict),
            Prepared::Lookup(digest) => {
                digests.push(digest);
                None
            }
        });
        Self { decided: decided.collect(), digests }
    }

    /// Returns the digests to look up, which must be in one snapshot of the store.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Judges the requests by the results of the lookups. `lookups` are in the order of the digests; the verdicts are in
    /// the order of the requests.
    ///
    /// # Errors
    /// Those of `count`, and if there are fewer lookups than digests.
    pub fn conclude(
        self,
        requests: &[Request<'_>],
        lookups: Vec<CredentialLookup>,
        at: Timestamp,
        count: Count<'_>,
    ) -> Result<Vec<Verdict>> {
        let mut lookups = lookups.into_iter();
        let missing = || ErrorKind::Damaged("a lookup returned nothing".to_owned());
        let verdict = |(request, decided): (_, Option<Verdict>)| {
            if let Some(verdict) = decided {
                return Ok(verdict);
            }
            conclude(request, lookups.next().ok_or_else(missing)?, at, count)
        };
        requests.iter().zip(self.decided).map(verdict).collect()
    }
}

/// Returns why a credential is inactive at `at`; `None` if it is active.
fn inactive(credential: &Credential, at: Timestamp) -> Option<Reason> {
    credential.inactive_reason(at).map(|inactive| match inactive {
        InactiveReason::Rotated => Reason::Rotated,
        InactiveReason::Disabled => Reason::Disabled,
        InactiveReason::Expired => Reason::Expired,
        InactiveReason::UserLeft => Reason::UserLeft,
    })
}

/// Judges a request with an active credential, apart from its rate limit.
fn judge_active(account: &Account, credential: Arc<Credential>, request: &Request<'_>) -> Verdict {
    let api = request.api;
    let reason = |reason| Verdict { reason, ..Verdict::denied(reason, api) };
    let verdict = match api {
        Api::EventsV1 | Api::EventsV2 => reason(Reason::Allowed),
        Api::Rest if !has_ability(account, credential.kind) => reason(Reason::NoAbility),
        Api::Rest if !is_method(request.method) => reason(Reason::AmbiguousRequest),
        Api::Rest => match Path::parse(request.path) {
            None => reason(Reason::AmbiguousPath),
            Some(path)
                if request.via_gateway
                    && asks_who_the_user_is(request.method, &path)
                    && credential.owner.is_none() =>
            {
                reason(Reason::NoUser)
            }
            Some(path) => {
                let judged = judge(
                    account.policy,
                    &credential.access,
                    credential.owner.as_ref(),
                    request.method,
                    &path,
                );
                Verdict { needed: judged.needed, operation: judged.operation, ..reason(judged.reason) }
            }
        },
    };
    Verdict { credential: Some(credential), ..verdict }
}

fn has_ability(account: &Account, kind: CredentialKind) -> bool {
    match kind {
        CredentialKind::UserToken => account.has_user_tokens(),
        CredentialKind::General | CredentialKind::AppToken => account.rest_api,
        CredentialKind::Integration => true,
    }
}

fn asks_who_the_user_is(method: &str, path: &Path<'_>) -> bool {
    method == "GET" && path.segments().eq(["users", "me"])
}
