//! Revocation by the holder of a secret.
//!
//! There is no acting user: possession of the secret is sufficient. Its holder could use it for everything that it
//! permits, so letting the finder of a leaked secret revoke it, immediately and without an account, makes nothing less
//! safe. The audit record names the holder of the secret as the actor.

use jiff::Timestamp;

use super::write_context::{Rotated, request_id};
use crate::authz::{Action, Permit};
use crate::error::{Conflict, Result};
use crate::model::{
    AppToken, Audited, Change, CredentialKind, Digest, Disabled, GeneralKey, Hint, Id, Integration, Label,
    Noun, Secret, SecretChange,
};
use crate::ports::{Clock, Entropy};
use crate::store::{AppBy, Death, DigestOwner, HasSecrets, ReadTx, Store, Transaction, WriteTx};

/// The reason recorded for a revocation by the holder, in the term that other tools use.
const KEY_COMPROMISE: &str = "key-compromise";

/// The result of a revocation, as far as the holder of the secret is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The kind of credential.
    pub kind: CredentialKind,
    /// The id of the credential, or of the app for an app token.
    pub id: Id,
    /// The description, or `None` if the credential had been removed before.
    pub description: Option<String>,
    /// The last four characters of the secret.
    pub hint: Hint,
    /// What was done.
    pub outcome: Outcome,
}

/// The effect of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The general key was disabled. An admin decides what happens to it.
    Disabled,
    /// The user token or the integration was removed permanently.
    Removed,
    /// The app token was revoked. Other tokens of the same app remain valid.
    Revoked,
    /// The overlap that kept the secret valid after a rotation was ended. The current secret remains valid.
    OverlapEnded,
    /// The secret was already invalid, and nothing was changed.
    AlreadyDead,
}

impl Outcome {
    /// Returns the stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
            Self::OverlapEnded => "overlap-ended",
            Self::AlreadyDead => "already-dead",
        }
    }
}

/// Revokes a secret on behalf of its holder, and returns what was done, or `None` if no credential has or had the
/// secret.
///
/// A general key is disabled, a user token or an integration is removed, and an app token is revoked. If the secret is
/// only kept valid by an overlap, just the overlap is ended. A secret that is already invalid is left as it is.
///
/// # Errors
/// If the store cannot be read or written.
pub fn revoke<S: Store>(
    store: &mut S,
    clock: &dyn Clock,
    entropy: &mut dyn Entropy,
    secret: &Secret,
) -> Result<Option<Revoked>> {
    let Some(kind) = secret.kind() else { return Ok(None) };
    let digest = store.keyring()?.digest(&secret.fingerprint());
    let at = clock.now();
    let hint = secret.hint();
    let held = Held { kind, digest, hint, request_id: request_id(entropy)?, at };
    // Do not wait for the write lock if there is nothing to revoke.
    match held.look(&store.read()?)? {
        Found::Nothing => return Ok(None),
        Found::Dead(dead) => return Ok(Some(dead)),
        Found::Alive { .. } => {}
    }
    let mut tx = Transaction::begin(store)?;
    match held.look(&*tx)? {
        Found::Nothing => Ok(None),
        Found::Dead(dead) => Ok(Some(dead)),
        Found::Alive { id, in_overlap } => {
            let revoked = held.end(&mut tx, id, in_overlap)?;
            tx.commit()?;
            Ok(Some(revoked))
        }
    }
}

/// The presented secret.
struct Held {
    kind: CredentialKind,
    digest: Digest,
    hint: Hint,
    request_id: String,
    at: Timestamp,
}

/// The state of the presented secret in the store.
enum Found {
    Nothing,
    Dead(Revoked),
    Alive { id: Id, in_overlap: bool },
}

impl Held {
    fn look(&self, tx: &impl ReadTx) -> Result<Found> {
        let dead = |id, description| Found::Dead(self.revoked(id, description, Outcome::AlreadyDead));
        let (id, ends_at) = match tx.digest_owner(&self.digest)? {
            Some(DigestOwner::Live { id, ends_at }) if id.noun() == self.noun() => (id, ends_at),
            Some(DigestOwner::Dead(tombstone)) if tombstone.id.noun() == self.noun() => {
                let description = match tombstone.death {
                    Death::Rotated => self.description(tx, tombstone.id)?,
                    Death::Removed => None,
                };
                return Ok(dead(tombstone.id, description));
            }
            // A secret that is stored for another kind than that of its format is never accepted.
            Some(_) | None => return Ok(Found::Nothing),
        };
        let is_over = match self.kind {
            // A secret in an overlap is revoked even if the key is disabled: it would be valid again once the key is
            // enabled.
            CredentialKind::General if ends_at.is_none() => {
                tx.general_key(id)?.is_some_and(|key| key.disabled.is_some())
            }
            CredentialKind::AppToken => {
                tx.app_token(&self.digest)?.is_some_and(|token| token.expires_at <= self.at)
            }
            CredentialKind::General | CredentialKind::UserToken | CredentialKind::Integration => false,
        };
        if is_over || ends_at.is_some_and(|end| end <= self.at) {
            return Ok(dead(id, self.description(tx, id)?));
        }
        Ok(Found::Alive { id, in_overlap: ends_at.is_some() })
    }

    fn end<T: WriteTx>(&self, tx: &mut Transaction<T>, id: Id, in_overlap: bool) -> Result<Revoked> {
        let reason = Label::parse("reason", KEY_COMPROMISE)?;
        let (description, outcome) = match self.kind {
            CredentialKind::General => {
                let key = found(tx.general_key(id)?, id)?;
                let description = key.description.to_string();
                if in_overlap {
                    (description, self.end_overlap(tx, Action::RotateGeneralKey, key)?)
                } else {
                    let disabled = Disabled { at: self.at, by: None, reason: Some(reason) };
                    let after = GeneralKey { disabled: Some(disabled), ..key.clone() };
                    let permit = self.permit(Action::DisableGeneralKey, &key);
                    let change = Change::Update { before: key, after };
                    tx.save(permit, &change, SecretChange::Keep)?;
                    (description, Outcome::Disabled)
                }
            }
            CredentialKind::UserToken => {
                let token = found(tx.user_token(id)?, id)?;
                let description = token.description.to_string();
                if in_overlap {
                    (description, self.end_overlap(tx, Action::RotateUserToken, token)?)
                } else {
                    (description, self.remove(tx, Action::RemoveUserToken, token, reason)?)
                }
            }
            CredentialKind::Integration => {
                let integration: Integration = found(tx.integration(id)?, id)?;
                let description = integration.name.to_string();
                (description, self.remove(tx, Action::RemoveIntegration, integration, reason)?)
            }
            CredentialKind::AppToken => {
                let token: AppToken = found(tx.app_token(&self.digest)?, id)?;
                let permit = self.permit(Action::RevokeAppToken, &token);
                tx.revoke_app_token(permit, &token, &self.digest, &reason)?;
                (token.app_name.to_string(), Outcome::Revoked)
            }
        };
        Ok(self.revoked(id, Some(description), outcome))
    }

    fn end_overlap<C: Rotated>(
        &self,
        tx: &mut Transaction<impl WriteTx>,
        action: Action,
        before: C,
    ) -> Result<Outcome> {
        let mut after = before.clone();
        after.rotated(None, None);
        let permit = self.permit(action, &before);
        tx.save(permit, &Change::Update { before, after }, SecretChange::EndOverlap)?;
        Ok(Outcome::OverlapEnded)
    }

    fn remove<C: HasSecrets>(
        &self,
        tx: &mut Transaction<impl WriteTx>,
        action: Action,
        before: C,
        reason: Label,
    ) -> Result<Outcome> {
        let permit = self.permit(action, &before);
        tx.save(permit, &Change::Delete { before, reason: Some(reason) }, SecretChange::Keep)?;
        Ok(Outcome::Removed)
    }

    fn permit<T: Audited>(&self, action: Action, held: &T) -> Permit {
        Permit::holder(action, held, &self.hint, &self.request_id, self.at)
    }

    fn revoked(&self, id: Id, description: Option<String>, outcome: Outcome) -> Revoked {
        Revoked { kind: self.kind, id, description, hint: self.hint.clone(), outcome }
    }

    /// Returns the noun whose id the store has for a credential of this kind.
    fn noun(&self) -> Noun {
        match self.kind {
            CredentialKind::General => Noun::GeneralKey,
            CredentialKind::UserToken => Noun::UserToken,
            CredentialKind::AppToken => Noun::App,
            CredentialKind::Integration => Noun::Integration,
        }
    }

    fn description(&self, tx: &impl ReadTx, id: Id) -> Result<Option<String>> {
        Ok(match self.kind {
            CredentialKind::General => tx.general_key(id)?.map(|key| key.description.to_string()),
            CredentialKind::UserToken => tx.user_token(id)?.map(|token| token.description.to_string()),
            CredentialKind::AppToken => tx.app(AppBy::Id(id))?.map(|app| app.name.to_string()),
            CredentialKind::Integration => tx.integration(id)?.map(|found| found.name.to_string()),
        })
    }
}

fn found<T>(thing: Option<T>, id: Id) -> Result<T> {
    thing.ok_or_else(|| Conflict::Gone(id).into())
}
