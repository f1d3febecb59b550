//! Counts checks in memory: the windows of the rate limits, and usage until it is written to the store.
//!
//! Each process that checks keeps rate limits of its own. The usage of all processes is added up in one file.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::{Id, RateLimit};
use crate::store::{UsageCount, Window};
use crate::verify::RateState;

const SHARDS: usize = 16;
/// The number of credentials with unwritten usage at which a shard asks for a flush; 16 thousand in all shards.
const FLUSH_THRESHOLD: usize = 1_000;
const MILLISECONDS_PER_HOUR: i64 = 3_600_000;

/// The rate-limit windows of this process, and the usage that is not in the store yet.
#[derive(Debug, Default)]
pub(super) struct UsageBuffer {
    shards: [Mutex<Shard>; SHARDS],
    /// The shard to start with when taking usage. It advances each time, so that no shard is starved.
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    counted: HashMap<Id, Counted, BuildHasherDefault<IdHasher>>,
    /// The credentials with unwritten usage, those that have waited longest first.
    waiting: VecDeque<Id>,
    /// Usage of past hours that was not taken in time, and counts that do not fit. Empty most of the time.
    past: Past,
}

type Past = HashMap<(Id, i64), UsageCount>;

/// The counts of one id. Kept small, since there is one for each credential that was checked in the last minute. Times
/// are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    window_began_at: i64,
    window_count: u64,
    last_used_at: i64,
    allowed: u32,
    denied: u32,
}

impl Counted {
    fn window(&self) -> Option<Window> {
        let began_at = Timestamp::from_millisecond(self.window_began_at).ok()?;
        (self.window_count > 0).then_some(Window { began_at, count: self.window_count })
    }

    fn has_usage(&self) -> bool {
        self.allowed > 0 || self.denied > 0
    }

    fn take_usage(&mut self, id: Id) -> UsageCount {
        let at = Timestamp::from_millisecond(self.last_used_at).unwrap_or_default();
        let Self { allowed, denied, .. } = std::mem::replace(self, Self { allowed: 0, denied: 0, ..*self });
        UsageCount { id, at, allowed: allowed.into(), denied: denied.into() }
    }
}

/// A hasher for ids. Ids are random and not chosen by clients, so one multiplication distributes them well enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            let product = u64::from_ne_bytes(*first).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = product ^ (product >> 32);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn write_isize(&mut self, _noun: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Shard {
    fn add(&mut self, count: UsageCount) {
        let Self { counted, waiting, past } = self;
        Self::add_usage(counted.entry(count.id).or_default(), waiting, past, count);
    }

    fn add_usage(counted: &mut Counted, waiting: &mut VecDeque<Id>, past: &mut Past, count: UsageCount) {
        let at = count.at.as_millisecond();
        if !counted.has_usage() {
            waiting.push_back(count.id);
            counted.last_used_at = at;
        } else if hour(counted.last_used_at) < hour(at) {
            let before = counted.take_usage(count.id);
            Self::add_to(past, before);
            counted.last_used_at = at;
        } else if hour(counted.last_used_at) > hour(at) {
            Self::add_to(past, count);
            return;
        }
        let sum = |one: u32, other: u64| u32::try_from(u64::from(one).saturating_add(other));
        match (sum(counted.allowed, count.allowed), sum(counted.denied, count.denied)) {
            (Ok(allowed), Ok(denied)) => {
                (counted.allowed, counted.denied) = (allowed, denied);
                counted.last_used_at = counted.last_used_at.max(at);
            }
            _ => Self::add_to(past, count),
        }
    }

    fn add_to(past: &mut Past, count: UsageCount) {
        past.entry((count.id, hour(count.at.as_millisecond())))
            .and_modify(|sum| {
                sum.at = sum.at.max(count.at);
                sum.allowed += count.allowed;
                sum.denied += count.denied;
            })
            .or_insert(count);
    }
}

fn hour(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(MILLISECONDS_PER_HOUR)
}

impl UsageBuffer {
    fn shard(&self, id: Id) -> MutexGuard<'_, Shard> {
        Self::lock(&self.shards[id.spread() % SHARDS])
    }

    fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
        // No update of a shard can panic halfway, so a poisoned one is still consistent.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one check of the credential `id` in the window of `counted_as`, calls `decide` with that window to learn
    /// whether the check is allowed, and adds it to the usage of the credential. Returns true once, when the flush
    /// threshold is crossed.
    pub(super) fn count(
        &self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        decide: &mut dyn FnMut(Window) -> bool,
    ) -> bool {
        let mut shard = self.shard(counted_as);
        let Shard { counted, waiting, past } = &mut *shard;
        let counted = counted.entry(counted_as).or_default();
        let window = Window::with_one_more(counted.window(), at);
        (counted.window_began_at, counted.window_count) = (window.began_at.as_millisecond(), window.count);
        let allowed = decide(window);
        let count = UsageCount { id, at, allowed: u64::from(allowed), denied: u64::from(!allowed) };
        if id == counted_as {
            let before = waiting.len();
            Shard::add_usage(counted, waiting, past, count);
            return before < FLUSH_THRESHOLD && waiting.len() >= FLUSH_THRESHOLD;
        }
        drop(shard);
        let mut shard = self.shard(id);
        let before = shard.waiting.len();
        shard.add(count);
        before < FLUSH_THRESHOLD && shard.waiting.len() >= FLUSH_THRESHOLD
    }

    /// Returns the window without counting a check.
    pub(super) fn window(&self, counted_as: Id) -> Option<Window> {
        self.shard(counted_as).counted.get(&counted_as)?.window()
    }

    /// Removes and returns the usage to write to the store, at most `most` counts, ordered by id. Also drops some of the
    /// windows that have ended.
    pub(super) fn take(&self, most: usize, at: Timestamp) -> Vec<UsageCount> {
        let mut taken = Vec::new();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for number in 0..SHARDS {
            let mut shard = Self::lock(&self.shards[first.wrapping_add(number) % SHARDS]);
            let Shard { counted, waiting, past } = &mut *shard;
            let room = most.saturating_sub(taken.len());
            let over: Vec<_> = past.keys().take(room).copied().collect();
            taken.extend(over.iter().filter_map(|key| past.remove(key)));
            let room = most.saturating_sub(taken.len());
            taken.extend(waiting.drain(..waiting.len().min(room)).filter_map(|id| {
                let counted = counted.get_mut(&id)?;
                Some(counted.take_usage(id))
            }));
            // One shard per call is enough to visit every shard several times within the length of a window.
            if number == 0 {
                counted.retain(|_, counted| {
                    counted.has_usage() || counted.window().is_some_and(|window| window.is_open(at))
                });
            }
        }
        // Rows that are neighbours in the file are written one after the other.
        taken.sort_unstable_by_key(|count| count.id);
        taken
    }

    /// Puts back usage that could not be written.
    pub(super) fn put_back(&self, counts: Vec<UsageCount>) {
        for count in counts {
            self.shard(count.id).add(count);
        }
    }
}

/// Returns the state of a limit, and whether it is exceeded. `window` already counts the present check.
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

    fn note(usage: &UsageBuffer, id: Id, at: Timestamp, allowed: bool) {
        usage.count(id, id, at, &mut |_| allowed);
    }

    #[test]
    fn a_window_of_60_seconds_begins_with_the_first_counted_check() {
        let usage = UsageBuffer::default();
        let id: Id = "K00000001".parse().unwrap();
        let count = |at| {
            let mut counted = None;
            usage.count(id, id, at, &mut |window| counted.replace(window).is_none());
            counted.unwrap()
        };
        assert_eq!(count(at(0)), Window { began_at: at(0), count: 1 });
        assert_eq!(count(at(59)), Window { began_at: at(0), count: 2 });
        assert_eq!(count(at(60)), Window { began_at: at(60), count: 1 });
        assert_eq!(count(at(30)), Window { began_at: at(30), count: 1 }, "the clock was set back");
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
        let usage = UsageBuffer::default();
        let id: Id = "K00000001".parse().unwrap();
        note(&usage, id, at(0), true);
        note(&usage, id, at(1), false);
        let taken = usage.take(10, at(2));
        assert_eq!((taken.len(), taken[0].allowed, taken[0].denied, taken[0].at), (1, 1, 1, at(1)));
        assert!(usage.take(10, at(2)).is_empty());
        usage.put_back(taken);
        note(&usage, id, at(3), true);
        assert_eq!(usage.take(10, at(4))[0].allowed, 2);
    }

    #[test]
    fn usage_of_two_hours_is_kept_apart() {
        let usage = UsageBuffer::default();
        let id: Id = "K00000001".parse().unwrap();
        note(&usage, id, at(0), true);
        note(&usage, id, at(3_600), false);
        let mut taken = usage.take(10, at(3_600));
        taken.sort_by_key(|count| count.at);
        let told: Vec<_> = taken.iter().map(|count| (count.at, count.allowed, count.denied)).collect();
        assert_eq!(told, [(at(0), 1, 0), (at(3_600), 0, 1)]);
    }

    #[test]
    fn windows_that_ended_are_dropped_unless_usage_is_unwritten() {
        let usage = UsageBuffer::default();
        let ids: Vec<Id> = (0..100).map(|number| format!("K{number:08}").parse().unwrap()).collect();
        for id in &ids {
            assert!(!usage.count(*id, *id, at(0), &mut |_| true));
        }
        assert_eq!(usage.take(100, at(0)).len(), 100);
        note(&usage, ids[7], at(0), true);
        for _ in 0..SHARDS {
            usage.take(0, at(60));
        }
        let left = || usage.shards.iter().map(|shard| UsageBuffer::lock(shard).counted.len()).sum::<usize>();
        assert_eq!(left(), 1);
        assert_eq!(usage.take(10, at(60)).len(), 1);
        for _ in 0..SHARDS {
            usage.take(0, at(60));
        }
        assert_eq!(left(), 0);
    }

    #[test]
    fn count_returns_true_once_when_the_flush_threshold_is_crossed() {
        let usage = UsageBuffer::default();
        let mut count = |number: usize| {
            let id = format!("K{number:08}").parse().unwrap();
            usage.count(id, id, at(0), &mut |_| true)
        };
        let enough = (0..2 * FLUSH_THRESHOLD * SHARDS).position(&mut count).unwrap();
        assert!((FLUSH_THRESHOLD..FLUSH_THRESHOLD * SHARDS).contains(&enough), "{enough}");
        assert!(!count(enough), "once");
        usage.take(usize::MAX, at(1));
        assert!((0..2 * FLUSH_THRESHOLD * SHARDS).any(count), "and again after a flush");
    }

    #[test]
    fn take_returns_at_most_the_requested_number_of_counts() {
        let usage = UsageBuffer::default();
        for number in 0..100 {
            note(&usage, format!("K{number:08}").parse().unwrap(), at(0), true);
        }
        let first = usage.take(30, at(1)).len();
        assert_eq!((first, first + usage.take(1_000, at(1)).len()), (30, 100));
    }
}
