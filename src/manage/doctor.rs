//! The doctor: what is wrong with the store, and what of its keys should be looked at.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::session::Session;
use crate::authz::{Action, Target, require};
use crate::error::Result;
use crate::model::{Id, KeyState, Noun};
use crate::store::{AuditQuery, ExamineStore, Fault, KeyQuery, ReadTx as _, TokenQuery};

/// How far the clock of whoever wrote something may be ahead before it is a finding.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// What the doctor is to look for among the keys.
#[derive(Clone, Copy, Debug)]
pub struct Checkup {
    /// Those that end within this time.
    pub expiring_within: SignedDuration,
    /// Those not used for this long.
    pub unused_for: SignedDuration,
}

/// Something that the doctor found.
#[derive(Debug)]
pub enum Ailment {
    /// Something is wrong with the files.
    Store(Fault),
    /// Something happened later than now: the clock is wrong, or was.
    Clock(Timestamp),
    /// Keys and tokens that end soon.
    Expiring(Vec<Id>),
    /// Keys and tokens that work, and were not used for long.
    Unused(Vec<Id>),
    /// Keys and tokens that work, and never end.
    NeverExpiring(Vec<Id>),
}

/// The keys and tokens that were looked at so far.
struct Ward {
    now: Timestamp,
    ends_by: Timestamp,
    used_since: Timestamp,
    expiring: Vec<Id>,
    unused: Vec<Id>,
    never_expiring: Vec<Id>,
    latest: Timestamp,
}

impl Ward {
    fn see(
        &mut self,
        id: Id,
        state: KeyState,
        made: Timestamp,
        ends: Option<Timestamp>,
        used: Option<Timestamp>,
    ) {
        self.latest = self.latest.max(used.unwrap_or(made));
        if state != KeyState::Active {
            return;
        }
        match ends {
            None => self.never_expiring.push(id),
            Some(end) if end <= self.ends_by => self.expiring.push(id),
            Some(_) => {}
        }
        if used.unwrap_or(made) < self.used_since {
            self.unused.push(id);
        }
    }
}

impl<S: ExamineStore> Session<'_, S> {
    /// Looks for what is wrong with the store, and for keys that somebody should look at.
    ///
    /// # Errors
    /// If the acting user may not, or the store cannot be read.
    pub fn examine(&mut self, checkup: Checkup) -> Result<Vec<Ailment>> {
        self.read(|_, acting| Ok(require(acting, Action::RunDoctor, &Target::all(Noun::Account))?))?;
        let mut found: Vec<_> = self.store().0.examine()?.into_iter().map(Ailment::Store).collect();
        // Of a damaged store, what its keys seem to be is nothing to go by.
        if found.iter().any(|ailment| matches!(ailment, Ailment::Store(Fault::Damaged(_)))) {
            return Ok(found);
        }
        let now = self.at();
        let mut ward = Ward {
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
                ward.see(key.id, key.state(now), key.created_at, key.expires_at, key.last_used_at);
                go_on()
            })?;
            tx.user_tokens(&TokenQuery::default(), &mut |token| {
                ward.see(token.id, token.state(now), token.created_at, token.expires_at, token.last_used_at);
                go_on()
            })?;
            tx.audit_records(&AuditQuery::default(), &mut |record| {
                ward.latest = ward.latest.max(record.execution_time);
                Ok(ControlFlow::Break(()))
            })
        })?;
        if ward.latest.duration_since(ward.now) > TOLERANCE {
            found.push(Ailment::Clock(ward.latest));
        }
        let classes = [
            (!ward.expiring.is_empty()).then_some(Ailment::Expiring(ward.expiring)),
            (!ward.unused.is_empty()).then_some(Ailment::Unused(ward.unused)),
            (!ward.never_expiring.is_empty()).then_some(Ailment::NeverExpiring(ward.never_expiring)),
        ];
        found.extend(classes.into_iter().flatten());
        Ok(found)
    }
}
