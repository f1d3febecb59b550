//! Counting in memory: the windows of the rate limits, and usage until it is added to the store.
//!
//! Limits are kept by whatever process checks, each for itself; usage of all of them ends in one file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::{Id, RateLimit};
use crate::store::{UsageCount, Window};
use crate::verify::RateState;

const SHARDS: usize = 16;
const MILLISECONDS_AN_HOUR: i64 = 3_600_000;

/// What was counted in this process.
#[derive(Debug, Default)]
pub(super) struct Tally {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    windows: HashMap<Id, Window>,
    usage: HashMap<(Id, i64), UsageCount>,
}

impl Tally {
    fn shard(&self, id: Id) -> MutexGuard<'_, Shard> {
        // A panic elsewhere leaves whole numbers behind: there is nothing half-done to fear.
        self.shards[id.spread() % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one check in its window.
    pub(super) fn count(&self, counted_as: Id, at: Timestamp) -> Window {
        let mut shard = self.shard(counted_as);
        let window = Window::with_one_more(shard.windows.get(&counted_as).copied(), at);
        shard.windows.insert(counted_as, window);
        window
    }

    /// The window as it was last counted.
    pub(super) fn window(&self, counted_as: Id) -> Option<Window> {
        self.shard(counted_as).windows.get(&counted_as).copied()
    }

    /// Notes the use of a credential, for the store.
    pub(super) fn note(&self, id: Id, at: Timestamp, allowed: bool) {
        self.add(UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) });
    }

    fn add(&self, count: UsageCount) {
        let hour = count.at.as_millisecond().div_euclid(MILLISECONDS_AN_HOUR);
        self.shard(count.id)
            .usage
            .entry((count.id, hour))
            .and_modify(|sum| {
                sum.at = sum.at.max(count.at);
                sum.allowed += count.allowed;
                sum.denied += count.denied;
            })
            .or_insert(count);
    }

    /// Takes out what is to be added to the store, so many credentials at most; and forgets the windows that are
    /// over.
    pub(super) fn take(&self, most: usize, at: Timestamp) -> Vec<UsageCount> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.windows.retain(|_, window| window.is_open(at));
            let room = most.saturating_sub(taken.len());
            if shard.usage.len() <= room {
                taken.extend(shard.usage.drain().map(|(_, count)| count));
            } else {
                let some: Vec<_> = shard.usage.keys().take(room).copied().collect();
                taken.extend(some.iter().filter_map(|key| shard.usage.remove(key)));
            }
        }
        taken
    }

    /// Puts back what could not be added.
    pub(super) fn put_back(&self, counts: Vec<UsageCount>) {
        for count in counts {
            self.add(count);
        }
    }
}

/// Where a limit stands, and whether it is exceeded, once the check at hand is counted in the window.
pub(super) fn measure(limit: RateLimit, window: Window, at: Timestamp) -> (Option<RateState>, bool) {
    let RateLimit::PerMinute(limit) = limit else { return (None, false) };
    let length = i64::try_from(Window::LENGTH.as_millis()).unwrap_or(i64::MAX);
    let left = window.began_at.as_millisecond() + length - at.as_millisecond();
    let reset = u64::try_from(left.clamp(0, length)).unwrap_or(0).div_ceil(1_000);
    let remaining = u64::from(limit).saturating_sub(window.count);
    (Some(RateState { limit, remaining, reset }), window.count > u64::from(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_window_of_60_seconds_begins_with_the_first_counted_check() {
        let tally = Tally::default();
        let id: Id = "K00000001".parse().unwrap();
        assert_eq!(tally.count(id, at(0)), Window { began_at: at(0), count: 1 });
        assert_eq!(tally.count(id, at(59)), Window { began_at: at(0), count: 2 });
        assert_eq!(tally.count(id, at(60)), Window { began_at: at(60), count: 1 });
        assert_eq!(tally.count(id, at(30)), Window { began_at: at(30), count: 1 }, "the clock was set back");
    }

    #[test]
    fn the_limit_is_the_last_number_that_is_allowed() {
        let window = |count| Window { began_at: at(0), count };
        let state = |remaining| Some(RateState { limit: 3, remaining, reset: 50 });
        assert_eq!(measure(RateLimit::PerMinute(3), window(2), at(10)), (state(1), false));
        assert_eq!(measure(RateLimit::PerMinute(3), window(3), at(10)), (state(0), false));
        assert_eq!(measure(RateLimit::PerMinute(3), window(4), at(10)), (state(0), true));
        assert_eq!(measure(RateLimit::Unlimited, window(4_000), at(10)), (None, false));
    }

    #[test]
    fn usage_is_taken_once_and_can_be_put_back() {
        let tally = Tally::default();
        let id: Id = "K00000001".parse().unwrap();
        tally.note(id, at(0), true);
        tally.note(id, at(1), false);
        let taken = tally.take(10, at(2));
        assert_eq!((taken.len(), taken[0].allowed, taken[0].denied, taken[0].at), (1, 1, 1, at(1)));
        assert!(tally.take(10, at(2)).is_empty());
        tally.put_back(taken);
        tally.note(id, at(3), true);
        assert_eq!(tally.take(10, at(4))[0].allowed, 2);
    }

    #[test]
    fn no_more_is_taken_than_was_asked_for() {
        let tally = Tally::default();
        for number in 0..100 {
            tally.note(format!("K{number:08}").parse().unwrap(), at(0), true);
        }
        let first = tally.take(30, at(1)).len();
        assert_eq!((first, first + tally.take(1_000, at(1)).len()), (30, 100));
    }
}
