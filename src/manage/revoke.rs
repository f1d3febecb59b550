//! Revoking what somebody holds: whoever has a secret may put an end to it.
//!
//! There is no acting user. Who has the secret could do with it whatever it is good for; that the finder of a leak can
//! stop it, at once and without knowing anybody, takes nothing away that was safe. The audit record says that its
//! holder did it.

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

/// Why a secret that its holder revokes is dead; the reason that other tools read.
const KEY_COMPROMISE: &str = "key-compromise";

/// What was revoked, as far as its holder is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The kind of credential.
    pub kind: CredentialKind,
    /// Its id; of an app token, the app's.
    pub id: Id,
    /// What it was for; not known of what was removed before.
    pub description: Option<String>,
    /// The last four characters of the secret.
    pub hint: Hint,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a credential whose secret was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The general key is disabled: whoever owns it decides what is to become of it.
    Disabled,
    /// The user token or the integration is gone for good.
    Removed,
    /// The app token is dead; others of the same app go on.
    Revoked,
    /// The secret was one that a rotation kept alive, and is dead. The one after it goes on.
    OverlapEnded,
    /// The secret opened nothing any more, and nothing was changed.
    AlreadyDead,
}

impl Outcome {
    /// The word for it.
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

/// Puts an end to a secret, on behalf of nobody but whoever holds it: a general key is disabled, a user token or an
/// integration removed, an app token revoked. A secret that a rotation keeps alive beside the present one ends alone.
/// What is dead already is left as it is. `None` if no credential has or had this secret.
///
/// # Errors
/// If it could not be found out or done.
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
    // Who has nothing to revoke does not wait for those who write.
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

/// A secret in somebody's hands.
struct Held {
    kind: CredentialKind,
    digest: Digest,
    hint: Hint,
    request_id: String,
    at: Timestamp,
}

/// What the store knows of a secret.
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
            // What is kept as another kind than its shape says opens nothing.
            Some(_) | None => return Ok(Found::Nothing),
        };
        let is_over = match self.kind {
            // Of a disabled key too: enabled again, it would open with a secret that an overlap keeps.
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

    /// By which noun's id the store knows a credential of this kind.
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
