//! The doctor: faults of the store, and keys that need attention.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{Id, KeyState, Noun};
use crate::store::{AuditQuery, ExamineStore, Fault, KeyQuery, ReadTx as _, TokenQuery};

/// How far in the future a recorded time may be before it is a finding.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// The thresholds for findings about keys.
#[derive(Clone, Copy, Debug)]
pub struct Checkup {
    /// Report keys that expire within this time.
    pub expiring_within: SignedDuration,
    /// Report keys that were not used for this long.
    pub unused_for: SignedDuration,
}

/// A finding of the doctor.
#[derive(Debug)]
pub enum Ailment {
    /// A fault in the files.
    Store(Fault),
    /// The latest recorded time, which is in the future: the clock is wrong, or was when it was recorded.
    Clock(Timestamp),
    /// Active keys and tokens that expire soon.
    Expiring(Vec<Id>),
    /// Active keys and tokens that have not been used for a long time.
    Unused(Vec<Id>),
    /// Active keys and tokens that never expire.
    NeverExpiring(Vec<Id>),
}

/// A scan of the keys and tokens, with the findings so far.
struct KeyScan {
    now: Timestamp,
    ends_by: Timestamp,
    used_since: Timestamp,
    expiring: Vec<Id>,
    unused: Vec<Id>,
    never_expiring: Vec<Id>,
    latest: Timestamp,
}

impl KeyScan {
    fn add(
        &mut self,
        id: Id,
        state: KeyState,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        last_used_at: Option<Timestamp>,
    ) {
        let last_active_at = last_used_at.unwrap_or(created_at);
        self.latest = self.latest.max(last_active_at);
        if state != KeyState::Active {
            return;
        }
        match expires_at {
            None => self.never_expiring.push(id),
            Some(end) if end <= self.ends_by => self.expiring.push(id),
            Some(_) => {}
        }
        if last_active_at < self.used_since {
            self.unused.push(id);
        }
    }
}

impl<S: ExamineStore> Session<'_, S> {
    /// Examines the store for faults, and for keys that need attention.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the store cannot be read.
    pub fn examine(&mut self, checkup: Checkup) -> Result<Vec<Ailment>> {
        self.read(|_, acting| Ok(require(acting, Action::RunDoctor, &Target::all(Noun::Account))?))?;
        let mut found: Vec<_> = self.store().0.examine()?.into_iter().map(Ailment::Store).collect();
        // The keys of a damaged store are not examined: they may not be what they seem.
        if found.iter().any(|ailment| matches!(ailment, Ailment::Store(Fault::Damaged(_)))) {
            return Ok(found);
        }
        let now = self.at();
        let mut scan = KeyScan {
            now,
            ends_by: now.checked_add(checkup.expiring_within).unwrap_or(Timestamp::MAX),
            used_since: now.checked_sub(checkup.unused_for).unwrap_or(Timestamp::MIN),
            expiring: Vec::new(),
            unused: Vec::new(),
            never_expiring: Vec::new(),
            latest: Timestamp::MIN,
        };
        self.read(|tx, _| {
            let go_on = || Ok(ControlFlow::Continue(()));
            tx.general_keys(&KeyQuery::all(now), &mut |key| {
                scan.add(key.id, key.state(now), key.created_at, key.expires_at, key.last_used_at);
                go_on()
            })?;
            tx.user_tokens(&TokenQuery::default(), &mut |token| {
                scan.add(token.id, token.state(now), token.created_at, token.expires_at, token.last_used_at);
                go_on()
            })?;
            tx.audit_records(&AuditQuery::default(), &mut |record| {
                scan.latest = scan.latest.max(record.execution_time);
                Ok(ControlFlow::Break(()))
            })
        })?;
        if scan.latest.duration_since(scan.now) > TOLERANCE {
            found.push(Ailment::Clock(scan.latest));
        }
        let classes = [
            (!scan.expiring.is_empty()).then_some(Ailment::Expiring(scan.expiring)),
            (!scan.unused.is_empty()).then_some(Ailment::Unused(scan.unused)),
            (!scan.never_expiring.is_empty()).then_some(Ailment::NeverExpiring(scan.never_expiring)),
        ];
        found.extend(classes.into_iter().flatten());
        Ok(found)
    }
}
