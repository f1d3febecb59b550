//! General access keys: make, list, show, edit, disable, enable, rotate, remove.

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

/// A key that was to be switched on or off, and whether that changed it.
#[derive(Clone, Debug)]
pub struct Switched {
    /// The key as it is now.
    pub key: GeneralKey,
    /// Whether it was not so before.
    pub changed: bool,
}

impl<S: Store> Session<'_, S> {
    /// Makes a key, and hands its secret over.
    ///
    /// # Errors
    /// If the acting user may not, the account has REST keys switched off, or the secret cannot be handed over; no
    /// key is made then.
    pub fn create_key(&mut self, spec: KeySpec, hand_over: HandOver<'_, GeneralKey>) -> Result<GeneralKey> {
        self.write(|context| {
            // Asked before an id is drawn for it, so that there is nothing to name yet.
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
    /// If the acting user may not, and whatever `visit` returns.
    pub fn list_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::ListGeneralKeys, &Target::all(Noun::GeneralKey))?;
            tx.general_keys(query, visit)
        })
    }

    /// One key.
    ///
    /// # Errors
    /// If the acting user may not, or there is none.
    pub fn key(&mut self, id: &str) -> Result<GeneralKey> {
        self.read(|tx, acting| {
            require(acting, Action::ShowGeneralKey, &Target::all(Noun::GeneralKey))?;
            resolve::general_key(tx, id)
        })
    }

    /// Changes a key's description, end and limit, and narrows its access.
    ///
    /// # Errors
    /// If the acting user may not, there is no such key, or its access would widen.
    pub fn edit_key(&mut self, id: &str, edit: KeyEdit) -> Result<GeneralKey> {
        self.write(|context| {
            let before = context.key(id, Action::EditGeneralKey)?;
            let after = edit.apply(&before)?;
            context.update_key(Action::EditGeneralKey, before, after, SecretChange::Keep)
        })
    }

    /// Switches keys off, all or none.
    ///
    /// # Errors
    /// If the acting user may not, or there is no such key.
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

    /// Switches keys on again, all or none.
    ///
    /// # Errors
    /// If the acting user may not, or there is no such key.
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

    /// Gives a key a new secret, and hands it over. With an overlap the present one goes on for that long; without,
    /// it stops at once. One that an earlier overlap kept alive stops in any case.
    ///
    /// # Errors
    /// If the acting user may not, there is no such key, it is switched off or at its end, or the secret cannot be
    /// handed over; nothing is changed then.
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

    /// Stops the secret that an overlap keeps alive.
    ///
    /// # Errors
    /// If the acting user may not, there is no such key, or no overlap.
    pub fn end_overlap(&mut self, id: &str) -> Result<GeneralKey> {
        self.write(|context| {
            let before = context.key(id, Action::RotateGeneralKey)?;
            let permit = context.authorize(Action::RotateGeneralKey, &Target::of(&before))?;
            context.end_overlap(permit, before)
        })
    }

    /// Removes keys for good, all or none.
    ///
    /// # Errors
    /// If the acting user may not, or there is no such key.
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
    /// A key that the acting user may do this to. Whoever may not learns nothing of which keys there are.
    fn key(&self, id: &str, action: Action) -> Result<GeneralKey> {
        self.require(action, &Target::all(Noun::GeneralKey))?;
        resolve::general_key(&**self.tx, id)
    }

    /// Does the same to several keys, each once, however often it is named.
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
