//! General access keys: create, list, show, edit, disable, enable, rotate and remove.

use jiff::SignedDuration;

use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext};
use crate::authz::{Action, Target, require};
use crate::error::{Conflict, Result};
use crate::model::{
    Ability, Change, Disabled, GeneralKey, KeyEdit, KeySpec, KeyState, Label, Noun, Secret, SecretChange,
};
use crate::store::{KeyQuery, ReadTx as _, Store, Visit, WriteTx};

/// The result of enabling or disabling a key.
#[derive(Clone, Debug)]
pub struct Switched {
    /// The key after the operation.
    pub key: GeneralKey,
    /// Whether the operation changed it.
    pub changed: bool,
}

impl<S: Store> Session<'_, S> {
    /// Creates a key and passes its secret to `hand_over`.
    ///
    /// # Errors
    /// If the acting user is not permitted, REST keys are switched off for the account, or `hand_over` fails. No key is
    /// created then.
    pub fn create_key(&mut self, spec: KeySpec, hand_over: HandOver<'_, GeneralKey>) -> Result<GeneralKey> {
        self.write(|context| {
            // Checked before an id is generated.
            context.require(Action::CreateGeneralKey, &Target::all(Noun::GeneralKey))?;
            if !context.tx.account()?.rest_api {
                return Err(Conflict::SwitchedOff(Ability::RestApi).into());
            }
            let secret = Secret::general_key(context.entropy)?;
            let key = GeneralKey {
                id: context.fresh_id(Noun::GeneralKey)?,
                description: spec.description,
                hint: Some(secret.hint()),
                access: spec.access,
                created_at: context.at(),
                created_by: context.acting.into(),
                disabled: None,
                expires_at: spec.expires_at,
                rate_limit: spec.rate_limit,
                overlap_ends_at: None,
                last_used_at: None,
            };
            let permit = context.authorize(Action::CreateGeneralKey, &Target::of(&key))?;
            let issue = SecretChange::Issue(context.tx.keyring().digest(&secret.fingerprint()));
            context.tx.save(permit, &Change::Create(key.clone()), issue)?;
            context.hand_over(|| hand_over(&key, &secret))?;
            Ok(key)
        })
    }

    /// Visits the keys that a query selects, in constant memory.
    ///
    /// # Errors
    /// If the acting user is not permitted, or `visit` returns an error.
    pub fn list_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::ListGeneralKeys, &Target::all(Noun::GeneralKey))?;
            tx.general_keys(query, visit)
        })
    }

    /// Returns a key by id.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the key does not exist.
    pub fn key(&mut self, id: &str) -> Result<GeneralKey> {
        self.read(|tx, acting| {
            require(acting, Action::ShowGeneralKey, &Target::all(Noun::GeneralKey))?;
            resolve::general_key(tx, id)
        })
    }

    /// Changes the description, expiry or rate limit of a key, or narrows its access.
    ///
    /// # Errors
    /// If the acting user is not permitted, the key does not exist, or its access would widen.
    pub fn edit_key(&mut self, id: &str, edit: KeyEdit) -> Result<GeneralKey> {
        self.write(|context| {
            let before = context.key(id, Action::EditGeneralKey)?;
            let after = edit.apply(&before)?;
            context.update_key(Action::EditGeneralKey, before, after, SecretChange::Keep)
        })
    }

    /// Disables keys: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or a key does not exist.
    pub fn disable_keys(&mut self, ids: &[String], reason: Option<&Label>) -> Result<Vec<Switched>> {
        self.write(|context| {
            context.each_key(ids, Action::DisableGeneralKey, |context, before| {
                if before.disabled.is_some() {
                    return Ok(Switched { key: before, changed: false });
                }
                let by = Some(context.acting.into());
                let disabled = Disabled { at: context.at(), by, reason: reason.cloned() };
                let after = GeneralKey { disabled: Some(disabled), ..before.clone() };
                let key = context.update_key(Action::DisableGeneralKey, before, after, SecretChange::Keep)?;
                Ok(Switched { key, changed: true })
            })
        })
    }

    /// Enables keys: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or a key does not exist.
    pub fn enable_keys(&mut self, ids: &[String]) -> Result<Vec<Switched>> {
        self.write(|context| {
            context.each_key(ids, Action::EnableGeneralKey, |context, before| {
                if before.disabled.is_none() {
                    return Ok(Switched { key: before, changed: false });
                }
                let after = GeneralKey { disabled: None, ..before.clone() };
                let key = context.update_key(Action::EnableGeneralKey, before, after, SecretChange::Keep)?;
                Ok(Switched { key, changed: true })
            })
        })
    }

    /// Replaces the secret of a key and passes the new one to `hand_over`.
    ///
    /// The current secret remains valid for the time of `overlap`, or becomes invalid immediately without one. A secret
    /// that an earlier overlap kept valid becomes invalid immediately in any case.
    ///
    /// # Errors
    /// If the acting user is not permitted, the key does not exist, is disabled or has expired, or `hand_over` fails.
    /// Nothing is changed then.
    pub fn rotate_key(
        &mut self,
        id: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, GeneralKey>,
    ) -> Result<GeneralKey> {
        self.write(|context| {
            let before = context.key(id, Action::RotateGeneralKey)?;
            match before.state(context.at()) {
                KeyState::Active => {}
                state => {
                    return Err(Conflict::NotActive { noun: Noun::GeneralKey, id: before.id, state }.into());
                }
            }
            let secret = Secret::general_key(context.entropy)?;
            let permit = context.authorize(Action::RotateGeneralKey, &Target::of(&before))?;
            context.rotate(permit, before, &secret, overlap, hand_over)
        })
    }

    /// Ends the overlap of a rotation: the previous secret becomes invalid.
    ///
    /// # Errors
    /// If the acting user is not permitted, the key does not exist, or it has no overlap.
    pub fn end_overlap(&mut self, id: &str) -> Result<GeneralKey> {
        self.write(|context| {
            let before = context.key(id, Action::RotateGeneralKey)?;
            let permit = context.authorize(Action::RotateGeneralKey, &Target::of(&before))?;
            context.end_overlap(permit, before)
        })
    }

    /// Removes keys permanently: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or a key does not exist.
    pub fn remove_keys(&mut self, ids: &[String], reason: Option<&Label>) -> Result<Vec<GeneralKey>> {
        self.write(|context| {
            context.each_key(ids, Action::RemoveGeneralKey, |context, before| {
                let permit = context.authorize(Action::RemoveGeneralKey, &Target::of(&before))?;
                context.delete(permit, before, reason)
            })
        })
    }
}

impl<T: WriteTx> WriteContext<'_, T> {
    /// Returns a key if the acting user is permitted to do `action` to general keys. The permission is checked first,
    /// so that other users do not learn which keys exist.
    fn key(&self, id: &str, action: Action) -> Result<GeneralKey> {
        self.require(action, &Target::all(Noun::GeneralKey))?;
        resolve::general_key(&**self.tx, id)
    }

    /// Calls `act` for each of several keys, once per key even if its id is repeated.
    fn each_key<R>(
        &mut self,
        ids: &[String],
        action: Action,
        mut act: impl FnMut(&mut Self, GeneralKey) -> Result<R>,
    ) -> Result<Vec<R>> {
        let keys = self.each_once(ids, |context, id| context.key(id, action))?;
        keys.into_iter().map(|key| act(self, key)).collect()
    }

    fn update_key(
        &mut self,
        action: Action,
        before: GeneralKey,
        after: GeneralKey,
        secrets: SecretChange,
    ) -> Result<GeneralKey> {
        let permit = self.authorize(action, &Target::of(&before))?;
        self.update(permit, before, after, secrets)
    }
}
