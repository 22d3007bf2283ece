//! What became of the variants' requests: counted by the workers without locks, read by control.
//!
//! A request that is in flight longer than the latency limit is over it at once, not when it ends:
//! a canary that hangs must not look idle. So requests in flight are counted in slots by when they
//! began, and [`Evidence::sweep`] counts what is left in a slot that has become too old. Whoever
//! takes a request out of its slot, its end or the sweep, counts it: nobody counts it twice.

use super::analysis::Counts;
use crate::clock::Tick;
use crate::sys::thread;
use std::sync::atomic::{AtomicU64, Ordering};

/// Workers beyond this many share a shard, which costs time, not truth.
const SHARDS: usize = 16;
/// Slots of beginnings: they reach back four limits.
const SLOTS: usize = 32;
const SLOTS_A_LIMIT: u64 = 8;
/// Users whose last failure is remembered.
const USERS: usize = 1024;
/// A slot's word: the lower bits count, the upper say which slice of time it is.
const COUNT_BITS: u32 = 24;

/// How a request ended, as far as its variant is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The variant answered.
    Answered {
        /// Its status.
        status: u16,
        /// `grpc-status`, where it sent one.
        grpc: Option<u32>,
    },
    /// The gateway answered 502 or 504, and the variant is to blame.
    NoAnswer,
    /// The client left (499), or the gateway itself failed: no evidence.
    Unjudged,
}

impl Ending {
    /// Whether the variant failed: 5xx, no answer, or gRPC's UNKNOWN, DEADLINE_EXCEEDED,
    /// RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Answered { status, grpc } => {
                status >= 500 || matches!(grpc, Some(2 | 4 | 8 | 13 | 14 | 15))
            }
            Self::NoAnswer => true,
            Self::Unjudged => false,
        }
    }
}

/// Totals since the start for one variant and one way to get there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that ended, and those that failed.
    pub failures: Counts,
    /// Requests that ended or were over the limit, and those over it.
    pub slow: Counts,
}

impl Tally {
    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let failures = self.failures.since(earlier.failures);
        Self { failures, slow: self.slow.since(earlier.slow) }
    }
}

/// Totals of one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Of requests that came by weight: these can be compared.
    pub by_weight: Tally,
    /// Of those that asked for the variant by header, cookie or rule.
    pub chosen: Tally,
}

/// A request that began and has not ended. It must go back to [`Evidence::end`].
#[derive(Debug)]
#[must_use = "it is counted when it is given to `Evidence::end`"]
pub struct InFlight {
    shard: u8,
    variant: u8,
    by_weight: bool,
    /// Which user's failures count once a second; 0 is nobody's.
    user: u64,
    began: Tick,
    /// The slice of time in whose slot it is counted.
    slice: Option<u64>,
    /// How long it took is counted.
    is_timed: bool,
}

/// The counters of a rollout's variants.
#[derive(Debug)]
pub struct Evidence {
    shards: Box<[Shard]>,
    variants: usize,
    /// The latency limit in microseconds; 0 is none.
    limit_us: u64,
    /// Users and seconds of failures.
    failed: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Shard {
    /// Two a variant: by weight, and chosen.
    lanes: Box<[Lane]>,
    /// Users and seconds of beginnings: a user's parallel requests are in one slot once.
    begun: Box<[AtomicU64]>,
}

/// One variant's counters on one worker; no two workers share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    ended: AtomicU64,
    failed: AtomicU64,
    timed: AtomicU64,
    slow: AtomicU64,
    slots: [AtomicU64; SLOTS],
}

impl Evidence {
    /// Counters for stable and `canaries` canaries; `limit_ms` is the latency limit, 0 for none.
    pub fn new(canaries: usize, limit_ms: u64) -> Self {
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Box<[_]>>();
        let variants = canaries + 1;
        let shard = || Shard {
            lanes: (0..variants * 2).map(|_| Lane::default()).collect(),
            begun: words(USERS),
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            variants,
            limit_us: limit_ms.saturating_mul(1000),
            failed: words(USERS),
        }
    }

    /// A request begins on `variant`, by weight or chosen; `user` is the hash of who sent it (key
    /// or address), 0 where that is not known.
    pub fn begin(&self, variant: u8, by_weight: bool, user: u64, now: Tick) -> InFlight {
        let shard = thread::slot() % SHARDS;
        let mut request = InFlight {
            shard: u8::try_from(shard).unwrap_or(0),
            variant,
            by_weight,
            user,
            began: now,
            slice: None,
            is_timed: false,
        };
        let is_first = user == 0 || is_news(&self.shards[shard].begun, user, now);
        if self.limit_us > 0 && is_first {
            let slice = now.as_us() / self.slice_us();
            self.enter(self.lane(&request), slice);
            request.slice = Some(slice);
        }
        request
    }

    /// The variant has done its part in time or not: what follows waits for the client.
    pub fn stop_clock(&self, request: &mut InFlight, now: Tick) {
        if self.limit_us == 0 || std::mem::replace(&mut request.is_timed, true) {
            return;
        }
        let lane = self.lane(request);
        if !request.slice.take().is_none_or(|slice| lane.leave(slice)) {
            return;
        }
        let is_over = now.us_since(request.began) > self.limit_us;
        if !is_over || self.is_first_failure(request, now) {
            lane.timed.fetch_add(1, Ordering::Relaxed);
            lane.slow.fetch_add(is_over.into(), Ordering::Relaxed);
        }
    }

    /// A request ends. A second failure of a user within a second counts not at all: retries are
    /// no independent evidence.
    pub fn end(&self, request: InFlight, ending: Ending, now: Tick) {
        let lane = self.lane(&request);
        let is_over = self.limit_us > 0 && now.us_since(request.began) > self.limit_us;
        let mine = !request.is_timed && request.slice.is_none_or(|slice| lane.leave(slice));
        let failed = ending.is_failure();
        let bad = failed || (is_over && mine);
        if bad && !self.is_first_failure(&request, now) {
            return;
        }
        if ending != Ending::Unjudged {
            lane.ended.fetch_add(1, Ordering::Relaxed);
            lane.failed.fetch_add(failed.into(), Ordering::Relaxed);
        }
        if mine && self.limit_us > 0 && (is_over || ending != Ending::Unjudged) {
            lane.timed.fetch_add(1, Ordering::Relaxed);
            lane.slow.fetch_add(is_over.into(), Ordering::Relaxed);
        }
    }

    /// Whether its user's request is the first bad one within a second.
    fn is_first_failure(&self, request: &InFlight, now: Tick) -> bool {
        let user = request.user.rotate_left(u32::from(request.variant));
        request.user == 0 || is_news(&self.failed, user, now)
    }

    /// Counts the requests in flight that are over the latency limit by now.
    pub fn sweep(&self, now: Tick) {
        let Some(edge) = now.as_us().checked_sub(self.limit_us).filter(|_| self.limit_us > 0)
        else {
            return;
        };
        // A slice is too old once its last microsecond is.
        let too_old = edge / self.slice_us();
        for lane in self.shards.iter().flat_map(|it| &it.lanes) {
            for slot in &lane.slots {
                let word = slot.load(Ordering::Relaxed);
                if word >> COUNT_BITS < too_old && count(word) > 0 {
                    let gone = slot.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
                        (word >> COUNT_BITS < too_old).then_some(0)
                    });
                    lane.count_slow(gone.map_or(0, count));
                }
            }
        }
    }

    /// The totals of `variant`, which may be a few requests apart from one another.
    pub fn totals(&self, variant: u8) -> Totals {
        let tally = |by_weight| {
            let mut tally = Tally::default();
            for shard in &self.shards {
                shard.lanes[lane_index(variant, by_weight)].add_to(&mut tally);
            }
            tally
        };
        Totals { by_weight: tally(true), chosen: tally(false) }
    }

    /// How many variants are counted.
    pub fn variants(&self) -> usize {
        self.variants
    }

    fn slice_us(&self) -> u64 {
        (self.limit_us / SLOTS_A_LIMIT).max(1)
    }

    fn lane(&self, request: &InFlight) -> &Lane {
        let shard = &self.shards[usize::from(request.shard)];
        &shard.lanes[lane_index(request.variant, request.by_weight)]
    }

    /// Counts one into the slot of `slice`; what is left there from long ago is over the limit.
    fn enter(&self, lane: &Lane, slice: u64) {
        let fresh = slice << COUNT_BITS;
        let entered =
            slot_of(lane, slice).fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
                if word >> COUNT_BITS == slice { Some(word + 1) } else { Some(fresh + 1) }
            });
        let before = entered.unwrap_or(0);
        if before >> COUNT_BITS != slice {
            lane.count_slow(count(before));
        }
    }
}

impl Lane {
    /// Takes one out of the slot of `slice`; not where the sweep was faster.
    fn leave(&self, slice: u64) -> bool {
        slot_of(self, slice)
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
                (word >> COUNT_BITS == slice && count(word) > 0).then(|| word - 1)
            })
            .is_ok()
    }

    fn count_slow(&self, requests: u64) {
        self.timed.fetch_add(requests, Ordering::Relaxed);
        self.slow.fetch_add(requests, Ordering::Relaxed);
    }

    /// Reads what is bad before what it is part of, so that it is never more.
    fn add_to(&self, tally: &mut Tally) {
        let load = |it: &AtomicU64| it.load(Ordering::Acquire);
        let (bad, requests) = (load(&self.failed), load(&self.ended));
        tally.failures.add(Counts { requests, bad });
        let (bad, requests) = (load(&self.slow), load(&self.timed));
        tally.slow.add(Counts { requests, bad });
    }
}

fn lane_index(variant: u8, by_weight: bool) -> usize {
    usize::from(variant) * 2 + usize::from(!by_weight)
}

fn slot_of(lane: &Lane, slice: u64) -> &AtomicU64 {
    &lane.slots[usize::try_from(slice % SLOTS as u64).unwrap_or(0)]
}

fn count(word: u64) -> u64 {
    word & ((1 << COUNT_BITS) - 1)
}

/// Whether `table` has not seen `user` in this second; it has now. Two users may hide one another
/// for a moment: then both count.
fn is_news(table: &[AtomicU64], user: u64, now: Tick) -> bool {
    // The upper bit is always set: an empty place is nobody's.
    let second = (now.as_ms() / 1000) | 0x8000;
    let word = (user & !0xffff) | (second & 0xffff);
    let place = usize::try_from(user).unwrap_or(0) % table.len();
    table[place].swap(word, Ordering::Relaxed) != word
}

#[cfg(test)]
mod tests;
