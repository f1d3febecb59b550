//! The context of a use case that changes the store: permits, ids, changes, and handing over secrets.

use std::io;

use jiff::{SignedDuration, Timestamp};

use crate::authz::{Acting, Action, Permit, Target, authorize, require};
use crate::error::{Conflict, Error, ErrorKind, Result};
use crate::model::{
    App, Audited, Change, GeneralKey, Hint, Id, Label, Noun, Secret, SecretChange, UserToken,
};
use crate::ports::Entropy;
use crate::store::{HasSecrets, ReadTx, Transaction, WriteTx};

/// A callback that receives a new secret, once, before the change is committed. If it fails, the change is not made.
pub type HandOver<'h, T> = &'h mut dyn FnMut(&T, &Secret) -> io::Result<()>;

/// A noun whose secret can be rotated.
pub(super) trait Rotated: HasSecrets {
    /// Returns the time until which the previous secret remains valid.
    fn overlap_end(&self) -> Option<Timestamp>;

    /// Sets the hint of a new secret, if any, and the end of the overlap with the previous one.
    fn rotated(&mut self, hint: Option<Hint>, overlap_ends_at: Option<Timestamp>);
}

macro_rules! rotated {
    ($($noun:ty: $hint:expr;)*) => {
        $(impl Rotated for $noun {
            fn overlap_end(&self) -> Option<Timestamp> {
                self.overlap_ends_at
            }

            fn rotated(&mut self, hint: Option<Hint>, overlap_ends_at: Option<Timestamp>) {
                if let Some(hint) = hint {
                    self.hint = $hint(hint);
                }
                self.overlap_ends_at = overlap_ends_at;
            }
        })*
    };
}

rotated! {
    GeneralKey: Some;
    UserToken: Some;
    App: std::convert::identity;
}

/// The context of one use case: its transaction, the acting user, and whether a secret was handed over.
pub(super) struct WriteContext<'w, T> {
    pub(super) tx: &'w mut Transaction<T>,
    pub(super) acting: &'w Acting,
    pub(super) entropy: &'w mut dyn Entropy,
    handed_over: bool,
}

impl<'w, T: WriteTx> WriteContext<'w, T> {
    pub(super) fn new(tx: &'w mut Transaction<T>, acting: &'w Acting, entropy: &'w mut dyn Entropy) -> Self {
        Self { tx, acting, entropy, handed_over: false }
    }

    /// Returns true if a secret was handed over.
    pub(super) fn has_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Returns the time of the session.
    pub(super) fn at(&self) -> Timestamp {
        self.acting.at()
    }

    /// Checks a permission and returns the permit that the change needs.
    pub(super) fn authorize(&self, action: Action, target: &Target) -> Result<Permit> {
        Ok(authorize(self.acting, action, target)?)
    }

    /// Checks a permission without returning a permit, before the target is looked up or created.
    pub(super) fn require(&self, action: Action, target: &Target) -> Result<()> {
        Ok(require(self.acting, action, target)?)
    }

    /// Generates an id that was never used.
    pub(super) fn fresh_id(&mut self, noun: Noun) -> Result<Id> {
        fresh_id(&**self.tx, noun, self.entropy)
    }

    /// Saves planned changes of credentials, each with a permit for `action` on the target that `target` returns. Returns
    /// what each became, or what was removed. A change that changes nothing leaves no record.
    pub(super) fn save_all<C: HasSecrets>(
        &mut self,
        action: Action,
        target: impl Fn(&C) -> Target,
        changes: Vec<Change<C>>,
    ) -> Result<Vec<C>> {
        let save = |change: Change<C>| match change {
            Change::Update { before, after } => {
                let permit = self.authorize(action, &target(&before))?;
                self.update(permit, before, after, SecretChange::Keep)
            }
            change => {
                let permit = self.authorize(action, &target(change.subject()))?;
                self.tx.save(permit, &change, SecretChange::Keep)?;
                Ok(change.subject().clone())
            }
        };
        changes.into_iter().map(save).collect()
    }

    /// Saves a change of a credential. If nothing changes, nothing is written or recorded.
    pub(super) fn update<C: HasSecrets>(
        &mut self,
        permit: Permit,
        before: C,
        after: C,
        secrets: SecretChange,
    ) -> Result<C> {
        if before == after && matches!(secrets, SecretChange::Keep) {
            return Ok(after);
        }
        self.tx.save(permit, &Change::Update { before, after: after.clone() }, secrets)?;
        Ok(after)
    }

    /// Replaces the secret of a credential or an app and passes the new one to `hand_over`.
    ///
    /// The current secret remains valid for the time of `overlap`, or becomes invalid immediately without one. A secret that
    /// an earlier overlap kept valid becomes invalid immediately in any case.
    pub(super) fn rotate<C: Rotated>(
        &mut self,
        permit: Permit,
        before: C,
        secret: &Secret,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, C>,
    ) -> Result<C> {
        let old_ends_at = overlap
            .map(|overlap| self.at().checked_add(overlap))
            .transpose()
            .map_err(|_| Error::invalid("overlap", "too long"))?;
        let new = self.tx.keyring().digest(&secret.fingerprint());
        let mut after = before.clone();
        after.rotated(Some(secret.hint()), old_ends_at);
        let rotated = self.update(permit, before, after, SecretChange::Rotate { new, old_ends_at })?;
        self.hand_over(|| hand_over(&rotated, secret))?;
        Ok(rotated)
    }

    /// Ends the overlap of a rotation: the previous secret becomes invalid.
    pub(super) fn end_overlap<C: Rotated>(&mut self, permit: Permit, before: C) -> Result<C> {
        if before.overlap_end().is_none_or(|end| end <= self.at()) {
            return Err(Conflict::NoOverlap { noun: before.noun(), id: before.audit_id() }.into());
        }
        let mut after = before.clone();
        after.rotated(None, None);
        self.update(permit, before, after, SecretChange::EndOverlap)
    }

    /// Hands over a secret, as the last step before the commit. If it fails, nothing is changed. If the commit fails
    /// afterwards, the error says that the secret is void.
    pub(super) fn hand_over(&mut self, hand_over: impl FnOnce() -> io::Result<()>) -> Result<()> {
        hand_over().map_err(ErrorKind::HandOver)?;
        self.handed_over = true;
        Ok(())
    }
}

/// Finds several things, each once, however often it is named.
pub(super) fn each_once<C: Audited>(
    references: &[String],
    mut find: impl FnMut(&str) -> Result<C>,
) -> Result<Vec<C>> {
    let mut found: Vec<C> = Vec::with_capacity(references.len());
    for reference in references {
        let thing = find(reference)?;
        if found.iter().all(|other| other.audit_id() != thing.audit_id()) {
            found.push(thing);
        }
    }
    Ok(found)
}

/// Returns the change that removes a thing.
pub(super) fn deletion<C>(before: C, reason: Option<&Label>) -> Change<C> {
    Change::Delete { before, reason: reason.cloned() }
}

/// Generates the request id that all audit records of one command share.
pub(super) fn request_id(entropy: &mut dyn Entropy) -> Result<String> {
    let mut random = [0; 8];
    entropy.fill(&mut random)?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}

/// Generates an id that was never used.
pub(super) fn fresh_id(tx: &impl ReadTx, noun: Noun, entropy: &mut dyn Entropy) -> Result<Id> {
    loop {
        let id = Id::generate(noun, entropy)?;
        if !tx.is_taken(id)? {
            return Ok(id);
        }
    }
}
