//! The leaky bucket of `limit_req`.
//!
//! A key's *excess* is how many requests it is ahead of its rate, in thousandths. It falls by the
//! rate with time and rises by 1000 with each request that is let in.

use crate::shdict::slab::{Page, Slab};
use crate::shdict::table::{Keyed, Place, Table};
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes that a key takes in a zone besides itself: its node in the tree and its counters.
const NODE: usize = 80;
/// A key not seen for so long, milliseconds, makes room for others once it has no excess.
const IDLE_MS: i64 = 60_000;
/// Times begin here, so that a key whose `last_ms` is 0 was last seen long ago.
const EPOCH_MS: u64 = 1 << 32;
/// What a request costs.
const ONE: i64 = 1000;

/// A `limit_req` line, as it weighs one request.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// What is counted where.
    pub zone: &'a Arc<Rates>,
    /// Whose request it is; `None` where the line does not apply (an empty key).
    pub key: Option<&'a [u8]>,
    /// Requests a second, in thousandths; not 0.
    pub rate: u64,
    /// Excess that is let in, thousandths.
    pub burst: u64,
    /// Excess that is let in at once, thousandths; `u64::MAX` for `nodelay`.
    pub delay: u64,
}

/// What becomes of a request. Rules are named by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule applies.
    Exempt,
    /// It goes on at once.
    Pass,
    /// It goes on after `ms` milliseconds.
    Delay {
        /// Milliseconds.
        ms: u64,
        /// Thousandths of a request.
        excess: u64,
        /// The rule that says so.
        rule: usize,
    },
    /// It is turned away.
    Reject {
        /// Thousandths of a request.
        excess: u64,
        /// The rule that says so.
        rule: usize,
    },
    /// It is turned away, for its key has no room in the zone.
    NoRoom {
        /// The rule of that zone.
        rule: usize,
    },
}

/// Weighs a request by all `rules` at `now_ms`, milliseconds of a clock that never goes back. One
/// that is rejected counts nowhere, one that is let in counts in all zones.
pub fn weigh(rules: &[Rule<'_>], now_ms: u64) -> Verdict {
    let now_ms = now_ms.saturating_add(EPOCH_MS);
    // Keys that were found and are not accounted for yet.
    let mut open: smallvec::SmallVec<[(usize, Place); 4]> = smallvec::SmallVec::new();
    let mut settled = None;
    for (number, rule) in rules.iter().enumerate() {
        let Some(key) = rule.key else { continue };
        let is_last = number + 1 == rules.len();
        let refused = match rule.zone.store.lock().look(key, rule, is_last, now_ms) {
            Looked::Open(place) => {
                open.push((number, place));
                continue;
            }
            Looked::Settled(excess) => {
                settled = Some((number, excess));
                continue;
            }
            Looked::Busy(excess) => Verdict::Reject { excess, rule: number },
            Looked::NoRoom => Verdict::NoRoom { rule: number },
        };
        for (number, place) in open {
            rules[number].zone.store.lock().table.entry_mut(place).pinned -= 1;
        }
        return refused;
    }
    let mut verdict = match settled {
        Some((number, excess)) => delayed(&rules[number], excess, number),
        None if open.is_empty() => return Verdict::Exempt,
        None => Verdict::Pass,
    };
    for (number, place) in open.into_iter().rev() {
        let rule = &rules[number];
        let excess = rule.zone.store.lock().settle(place, rule.rate, now_ms);
        let next = delayed(rule, excess, number);
        if delay_of(next) > delay_of(verdict) {
            verdict = next;
        }
    }
    verdict
}

fn delayed(rule: &Rule<'_>, excess: u64, number: usize) -> Verdict {
    let ms = excess.saturating_sub(rule.delay).saturating_mul(1000) / rule.rate;
    if ms == 0 { Verdict::Pass } else { Verdict::Delay { ms, excess, rule: number } }
}

fn delay_of(verdict: Verdict) -> u64 {
    if let Verdict::Delay { ms, .. } = verdict { ms } else { 0 }
}

/// A `limit_req_zone`: the excess of each key.
#[derive(Debug)]
pub struct Rates {
    store: Mutex<Store>,
}

impl Rates {
    /// A zone called `name` of `bytes` bytes in which no key is known.
    pub fn new(name: &str, bytes: usize) -> Self {
        let store = Store { table: Table::new(), slab: Slab::new(name, bytes) };
        Self { store: Mutex::new(store) }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    key: Box<[u8]>,
    page: Page,
    excess: i64,
    last_ms: u64,
    /// Requests that other rules are being asked about.
    pinned: u32,
}

impl Keyed for Bucket {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Bucket {
    /// Milliseconds since it was last seen; a thread whose clock is read earlier is not early.
    fn age_ms(&self, now_ms: u64) -> i64 {
        i64::try_from(now_ms.saturating_sub(self.last_ms)).unwrap_or(i64::MAX)
    }

    /// The excess with one request more.
    fn raised(&self, rate: u64, now_ms: u64) -> i64 {
        (self.excess - leaked(rate, self.age_ms(now_ms)) + ONE).max(0)
    }

    fn take(&mut self, excess: i64, now_ms: u64) {
        self.excess = excess;
        self.last_ms = self.last_ms.max(now_ms);
    }
}

/// What `ms` milliseconds take from an excess.
fn leaked(rate: u64, ms: i64) -> i64 {
    i64::try_from(rate).unwrap_or(i64::MAX).saturating_mul(ms) / 1000
}

#[derive(Debug)]
struct Store {
    table: Table<Bucket>,
    slab: Slab,
}

/// What was found of a key.
enum Looked {
    /// It may come in; it is not accounted for yet.
    Open(Place),
    /// It came in with this excess.
    Settled(u64),
    /// It may not, with this excess.
    Busy(u64),
    /// There was no room for the key.
    NoRoom,
}

impl Store {
    fn look(&mut self, key: &[u8], rule: &Rule<'_>, is_last: bool, now_ms: u64) -> Looked {
        if let Some(place) = self.table.find(key) {
            self.table.touch(place);
            let bucket = self.table.entry_mut(place);
            let excess = bucket.raised(rule.rate, now_ms);
            let shown = excess.unsigned_abs();
            if shown > rule.burst {
                return Looked::Busy(shown);
            }
            if is_last {
                bucket.take(excess, now_ms);
                return Looked::Settled(shown);
            }
            bucket.pinned += 1;
            return Looked::Open(place);
        }
        self.expire(false, rule.rate, now_ms);
        let size = NODE + key.len();
        let mut room = self.slab.alloc(size);
        if room.is_none() {
            self.expire(true, rule.rate, now_ms);
            room = self.slab.alloc(size);
        }
        let Some(page) = room else { return Looked::NoRoom };
        let (last_ms, pinned) = if is_last { (now_ms, 0) } else { (0, 1) };
        let bucket = Bucket { key: key.into(), page, excess: 0, last_ms, pinned };
        let place = self.table.insert(bucket);
        if is_last { Looked::Settled(0) } else { Looked::Open(place) }
    }

    /// Accounts for a key that was found open: its excess now.
    fn settle(&mut self, place: Place, rate: u64, now_ms: u64) -> u64 {
        let bucket = self.table.entry_mut(place);
        let excess = bucket.raised(rate, now_ms);
        bucket.take(excess, now_ms);
        bucket.pinned -= 1;
        excess.unsigned_abs()
    }

    /// Forgets up to two keys, the oldest, that have no excess left; with `force` the very oldest
    /// goes first, whatever its excess.
    fn expire(&mut self, force: bool, rate: u64, now_ms: u64) {
        for round in usize::from(!force)..3 {
            let Some(place) = self.table.oldest() else { return };
            let bucket = self.table.entry(place);
            if bucket.pinned > 0 {
                return;
            }
            if round > 0 {
                let age_ms = bucket.age_ms(now_ms);
                if age_ms < IDLE_MS || bucket.excess > leaked(rate, age_ms) {
                    return;
                }
            }
            let gone = self.table.remove(place);
            self.slab.free(NODE + gone.key.len(), gone.page);
        }
    }
}

#[cfg(test)]
mod tests;
