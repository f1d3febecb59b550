//! Verification of the audit chain, independent of the engine.

use std::ops::ControlFlow;

use super::{ReadTx, Replay, StoredLink, replay};
use crate::error::Result;
use crate::model::{AuditRecord, Head, Keyring};

/// The result of verifying the audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every record is as it was written. Holds the head of the chain.
    Intact(Head),
    /// The chain breaks at this record number: the record was altered, removed or renumbered.
    BrokenAt(u64),
}

/// Recomputes the audit chain and compares it with the stored one.
///
/// If `kept` is given, a head that was recorded outside the store, the chain must also contain that head.
///
/// # Errors
/// If the store cannot be read.
pub fn verify_audit(tx: &mut impl ReadTx, keyring: &Keyring, kept: Option<Head>) -> Result<Chain> {
    let mut head = Head::START;
    if kept.is_some_and(|kept| kept.number == head.number && kept != head) {
        return Ok(Chain::BrokenAt(1));
    }
    let mut broken_at = None;
    tx.audit_chain(&mut |StoredLink { number: stored_number, record, chain }| {
        let number = head.number + 1;
        let end = keyring.link(&head.end, record);
        // The number is in the record too, but nothing ties the column to it.
        let is_numbered =
            serde_json::from_slice::<AuditRecord>(record).is_ok_and(|record| record.id == number);
        let is_intact = u64::try_from(stored_number) == Ok(number) && is_numbered && chain == end;
        if !is_intact || kept.is_some_and(|kept| kept.number == number && kept.end != end) {
            broken_at = Some(number);
            return Ok(ControlFlow::Break(()));
        }
        head = Head { number, end };
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(number) = broken_at {
        return Ok(Chain::BrokenAt(number));
    }
    // Founding an account writes records, so an empty trail has been truncated.
    let least = kept.map_or(1, |kept| kept.number.max(1));
    if head.number < least { Ok(Chain::BrokenAt(head.number + 1)) } else { Ok(Chain::Intact(head)) }
}

/// Verifies the chain like [`verify_audit`], then compares what its records say with what the store holds.
///
/// Returns no [`Replay`] if the chain is broken, because its records cannot be trusted.
///
/// # Errors
/// If the store cannot be read.
pub fn verify_state(
    tx: &mut impl ReadTx,
    keyring: &Keyring,
    kept: Option<Head>,
) -> Result<(Chain, Option<Replay>)> {
    let chain = verify_audit(tx, keyring, kept)?;
    let replay = match chain {
        Chain::Intact(head) => Some(replay(tx, keyring, head)?),
        Chain::BrokenAt(_) => None,
    };
    Ok((chain, replay))
}
