//! One piece of work in a transaction: permits, changes, secrets handed over.

use std::io;

use jiff::{SignedDuration, Timestamp};

use crate::authz::{Acting, Action, Permit, Target, authorize, require};
use crate::error::{Conflict, Error, ErrorKind, Result};
use crate::model::{
    App, Audited, Change, GeneralKey, Hint, Id, Label, Noun, Secret, SecretChange, UserToken,
};
use crate::ports::Entropy;
use crate::store::{HasSecrets, ReadTx, Transaction, WriteTx};

/// Receives a secret, once, before the change that makes it is committed. If it fails, the change is not made.
pub type HandOver<'h, T> = &'h mut dyn FnMut(&T, &Secret) -> io::Result<()>;

/// A noun whose secret can be rotated.
pub(super) trait Rotated: HasSecrets {
    /// Until when the secret before the last rotation goes on.
    fn overlap_end(&self) -> Option<Timestamp>;

    /// Takes the hint of another secret, if there is one, and the end of the overlap with the one before.
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

/// One piece of work: its transaction, on whose behalf, and whether a secret has left the house.
pub(super) struct WriteContext<'c, T> {
    pub(super) tx: &'c mut Transaction<T>,
    pub(super) acting: &'c Acting,
    pub(super) entropy: &'c mut dyn Entropy,
    rehearses: bool,
    handed_over: bool,
}

impl<'c, T: WriteTx> WriteContext<'c, T> {
    pub(super) fn new(
        tx: &'c mut Transaction<T>,
        acting: &'c Acting,
        entropy: &'c mut dyn Entropy,
        rehearses: bool,
    ) -> Self {
        Self { tx, acting, entropy, rehearses, handed_over: false }
    }

    /// Whether a secret was handed over.
    pub(super) fn has_handed_over(&self) -> bool {
        self.handed_over
    }

    /// The moment of the work.
    pub(super) fn at(&self) -> Timestamp {
        self.acting.at()
    }

    /// Asks for the receipt that a change needs.
    pub(super) fn authorize(&self, action: Action, target: &Target) -> Result<Permit> {
        Ok(authorize(self.acting, action, target)?)
    }

    /// Asks without taking a receipt, before there is a thing to name, or before it is looked for.
    pub(super) fn require(&self, action: Action, target: &Target) -> Result<()> {
        Ok(require(self.acting, action, target)?)
    }

    /// Draws an id that was never used.
    pub(super) fn fresh_id(&mut self, noun: Noun) -> Result<Id> {
        fresh_id(&**self.tx, noun, self.entropy)
    }

    /// Finds several things, each once, however often it is named.
    pub(super) fn each_once<C: Audited>(
        &mut self,
        references: &[String],
        mut find: impl FnMut(&mut Self, &str) -> Result<C>,
    ) -> Result<Vec<C>> {
        let mut found: Vec<C> = Vec::with_capacity(references.len());
        for reference in references {
            let thing = find(self, reference)?;
            if found.iter().all(|other| other.audit_id() != thing.audit_id()) {
                found.push(thing);
            }
        }
        Ok(found)
    }

    /// Saves what a credential becomes; what changes nothing leaves no record.
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

    /// Removes a credential, and kills its secrets.
    pub(super) fn delete<C: HasSecrets>(
        &mut self,
        permit: Permit,
        before: C,
        reason: Option<&Label>,
    ) -> Result<C> {
        let change = Change::Delete { before: before.clone(), reason: reason.cloned() };
        self.tx.save(permit, &change, SecretChange::Keep)?;
        Ok(before)
    }

    /// Gives a thing another secret, and hands it over. With an overlap the present one goes on for that long;
    /// without, it stops at once. One that an earlier overlap kept alive stops in any case.
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

    /// Stops the secret that an overlap keeps alive.
    pub(super) fn end_overlap<C: Rotated>(&mut self, permit: Permit, before: C) -> Result<C> {
        if before.overlap_end().is_none_or(|end| end <= self.at()) {
            return Err(Conflict::NoOverlap { noun: before.noun(), id: before.audit_id() }.into());
        }
        let mut after = before.clone();
        after.rotated(None, None);
        self.update(permit, before, after, SecretChange::EndOverlap)
    }

    /// Hands a secret over, as the last step before the commit: if it fails, nothing was changed; if the commit
    /// fails afterwards, the error says that the secret is void.
    pub(super) fn hand_over(&mut self, hand_over: impl FnOnce() -> io::Result<()>) -> Result<()> {
        if self.rehearses {
            return Ok(());
        }
        hand_over().map_err(ErrorKind::HandOver)?;
        self.handed_over = true;
        Ok(())
    }
}

/// Draws what all records of one command have in common.
pub(super) fn request_id(entropy: &mut dyn Entropy) -> Result<String> {
    let mut random = [0; 8];
    entropy.fill(&mut random)?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}

/// Draws an id that was never used.
pub(super) fn fresh_id(tx: &impl ReadTx, noun: Noun, entropy: &mut dyn Entropy) -> Result<Id> {
    loop {
        let id = Id::generate(noun, entropy)?;
        if !tx.is_taken(id)? {
            return Ok(id);
        }
    }
}
