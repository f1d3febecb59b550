//! General access keys: create, list, show, edit, disable, enable, rotate and remove.

use jiff::SignedDuration;

use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext, deletion, each_once};
use crate::authz::{Acting, Action, Target, require};
use crate::error::{Conflict, Result};
use crate::model::{
    Ability, Change, Disabled, GeneralKey, KeyEdit, KeySpec, KeyState, Label, Noun, Secret, SecretChange,
};
use crate::store::{KeyQuery, ReadTx, Store, Visit, WriteTx};

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
            let plan = plan_disable(context.tx.reading(), context.acting, ids, reason)?;
            context.switch_keys(Action::DisableGeneralKey, plan)
        })
    }

    /// Returns the keys that [`Session::disable_keys`] would disable, as they are now.
    ///
    /// # Errors
    /// As there.
    pub fn preview_disable_keys(
        &mut self,
        ids: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<GeneralKey>> {
        self.preview(|tx, acting| plan_disable(tx, acting, ids, reason))
    }

    /// Enables keys: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or a key does not exist.
    pub fn enable_keys(&mut self, ids: &[String]) -> Result<Vec<Switched>> {
        self.write(|context| {
            let action = Action::EnableGeneralKey;
            let keys = find_keys(context.tx.reading(), context.acting, ids, action)?;
            let enable = |before: GeneralKey| {
                let after = GeneralKey { disabled: None, ..before.clone() };
                Change::Update { before, after }
            };
            context.switch_keys(action, keys.into_iter().map(enable).collect())
        })
    }

    /// Replaces the secret of a key and passes the new one to `hand_over`.
    ///
    /// The current secret remains valid for the time of `overlap`, or becomes invalid immediately without one. A secret that
    /// an earlier overlap kept valid becomes invalid immediately in any case.
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
            let before = find_rotatable(context.tx.reading(), context.acting, id)?;
            let secret = Secret::general_key(context.entropy)?;
            let permit = context.authorize(Action::RotateGeneralKey, &Target::of(&before))?;
            context.rotate(permit, before, &secret, overlap, hand_over)
        })
    }

    /// Returns the key that [`Session::rotate_key`] would rotate.
    ///
    /// # Errors
    /// As there.
    pub fn preview_rotate_key(&mut self, id: &str) -> Result<GeneralKey> {
        self.keyring()?;
        self.read(|tx, acting| find_rotatable(tx, acting, id))
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
            let plan = plan_remove(context.tx.reading(), context.acting, ids, reason)?;
            context.save_all(Action::RemoveGeneralKey, Target::of, plan)
        })
    }

    /// Returns the keys that [`Session::remove_keys`] would remove.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_keys(&mut self, ids: &[String], reason: Option<&Label>) -> Result<Vec<GeneralKey>> {
        self.preview(|tx, acting| plan_remove(tx, acting, ids, reason))
    }
}

/// Finds a key on which the acting user may perform `action`. A user who may not learns nothing of which keys exist.
fn find_key(tx: &impl ReadTx, acting: &Acting, id: &str, action: Action) -> Result<GeneralKey> {
    require(acting, action, &Target::all(Noun::GeneralKey))?;
    let key = resolve::general_key(tx, id)?;
    require(acting, action, &Target::of(&key))?;
    Ok(key)
}

fn find_keys(tx: &impl ReadTx, acting: &Acting, ids: &[String], action: Action) -> Result<Vec<GeneralKey>> {
    each_once(ids, |id| find_key(tx, acting, id, action))
}

fn find_rotatable(tx: &impl ReadTx, acting: &Acting, id: &str) -> Result<GeneralKey> {
    let key = find_key(tx, acting, id, Action::RotateGeneralKey)?;
    match key.state(acting.at()) {
        KeyState::Active => Ok(key),
        state => Err(Conflict::NotActive { noun: Noun::GeneralKey, id: key.id, state }.into()),
    }
}

fn plan_disable(
    tx: &impl ReadTx,
    acting: &Acting,
    ids: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<GeneralKey>>> {
    let keys = find_keys(tx, acting, ids, Action::DisableGeneralKey)?;
    let disable = |before: GeneralKey| {
        let now = Disabled { at: acting.at(), by: Some(acting.into()), reason: reason.cloned() };
        let disabled = before.disabled.clone().or(Some(now));
        let after = GeneralKey { disabled, ..before.clone() };
        Change::Update { before, after }
    };
    Ok(keys.into_iter().map(disable).collect())
}

fn plan_remove(
    tx: &impl ReadTx,
    acting: &Acting,
    ids: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<GeneralKey>>> {
    let keys = find_keys(tx, acting, ids, Action::RemoveGeneralKey)?;
    Ok(keys.into_iter().map(|key| deletion(key, reason)).collect())
}

impl<T: WriteTx> WriteContext<'_, T> {
    fn key(&self, id: &str, action: Action) -> Result<GeneralKey> {
        find_key(&**self.tx, self.acting, id, action)
    }

    /// Saves keys that are switched on or off, and returns which of them were not in that state before.
    fn switch_keys(&mut self, action: Action, plan: Vec<Change<GeneralKey>>) -> Result<Vec<Switched>> {
        let changed: Vec<_> = plan.iter().map(|change| !change.fields().is_empty()).collect();
        let keys = self.save_all(action, Target::of, plan)?;
        Ok(keys.into_iter().zip(changed).map(|(key, changed)| Switched { key, changed }).collect())
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
