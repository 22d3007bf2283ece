//! One peer: what the configuration says of it, and its live state, which outlives reloads.

use super::check::CheckState;
use super::queue::Queue;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Where a peer listens: an address and a port, or a unix socket. It shows as `$upstream_addr` has
/// it.
pub use crate::sys::socket::Address as PeerAddr;

/// How one try at a peer ended, as passive health sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer did its part (403 and 404 are its part too).
    Ok,
    /// `proxy_next_upstream` calls it a failure; see [`super::retry::Verdict::counts`].
    Failed,
    /// A kept connection had died meanwhile, which says nothing of the peer. (nginx counts it.)
    Stale,
}

/// One address of an upstream. The settings are of one generation; the state is shared by all.
#[derive(Debug)]
pub struct Peer {
    /// As written: `HOST:PORT`, `[V6]:PORT` or `unix:PATH`. Consistent hashing hashes it.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: PeerAddr,
    /// `address` as text, for logs and `$upstream_addr`.
    pub address_text: Arc<str>,
    /// `weight=`, at least 1.
    pub weight: u32,
    /// `max_fails=`; 0 never counts. Always 0 for the only peer of a group, which nginx never
    /// takes out.
    pub max_fails: u32,
    /// `fail_timeout=`, milliseconds.
    pub fail_timeout_ms: u64,
    /// `max_conns=`; 0 is no limit. Workers race by at most one connection each.
    pub max_conns: u32,
    /// `backup`.
    pub backup: bool,
    /// `down` in the configuration.
    pub down: bool,
    /// What is known of it now.
    pub state: Arc<PeerState>,
    /// Who is told when one of its connections ends: the group's queue, if it has one.
    pub queue: Option<Arc<Queue>>,
}

/// The live state of a peer: atomics that all workers share, kept over reloads.
#[derive(Debug)]
pub struct PeerState {
    /// Unlike any other's in this process; pickers know a peer by it.
    pub(super) uid: u64,
    fails: AtomicU32,
    accessed_ms: AtomicU64,
    checked_ms: AtomicU64,
    lost_weight: AtomicU32,
    active: AtomicU32,
    unhealthy: AtomicBool,
    set_down: AtomicBool,
    requests: AtomicU64,
    failures: AtomicU64,
    pub(super) checks: Mutex<Vec<CheckState>>,
}

/// What `/status` says of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Takes requests.
    Up,
    /// `down` in the configuration, or set down by an operator.
    Down,
    /// Passive health: `max_fails` reached and `fail_timeout` not over.
    Unavailable,
    /// Active health: a `health_check` failed.
    Unhealthy,
    /// Active health: `mandatory`, and no probe has passed yet.
    Checking,
    /// `max_conns` reached.
    Full,
}

static NEXT_UID: AtomicU64 = AtomicU64::new(1);

impl PeerState {
    /// A peer nothing is known of.
    pub(super) fn new() -> Self {
        Self {
            uid: NEXT_UID.fetch_add(1, Relaxed),
            fails: AtomicU32::new(0),
            accessed_ms: AtomicU64::new(0),
            checked_ms: AtomicU64::new(0),
            lost_weight: AtomicU32::new(0),
            active: AtomicU32::new(0),
            unhealthy: AtomicBool::new(false),
            set_down: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            checks: Mutex::new(Vec::new()),
        }
    }

    /// Takes the peer out of rotation, or back in, at once and over reloads (an operator's word).
    pub fn set_down(&self, down: bool) {
        self.set_down.store(down, Relaxed);
    }

    /// Whether an operator set it down.
    pub fn is_set_down(&self) -> bool {
        self.set_down.load(Relaxed)
    }

    /// The verdict of all active checks together.
    pub(super) fn set_unhealthy(&self, unhealthy: bool) {
        self.unhealthy.store(unhealthy, Relaxed);
    }

    /// Whether active checks keep it out.
    pub fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    /// Connections in use by requests now, all workers.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Failed tries counted towards `max_fails`.
    pub fn fails(&self) -> u32 {
        self.fails.load(Relaxed)
    }

    /// Tries since the peer became known, and how many of them failed.
    pub fn totals(&self) -> (u64, u64) {
        (self.requests.load(Relaxed), self.failures.load(Relaxed))
    }
}

impl Peer {
    /// Whether a request may go to it at `now_ms` (monotonic), as nginx's balancers ask it.
    pub fn is_available(&self, now_ms: u64) -> bool {
        let state = &*self.state;
        let is_out = self.down || state.is_set_down() || state.is_unhealthy() || self.is_full();
        !is_out && (!self.has_failed() || self.is_due(now_ms))
    }

    /// What keeps it out, if anything does: the same question, answered for people.
    pub fn standing(&self, now_ms: u64) -> Standing {
        let state = &*self.state;
        if self.down || state.is_set_down() {
            return Standing::Down;
        }
        if state.is_unhealthy() {
            let waits = state.checks.lock().iter().any(CheckState::is_waiting);
            return if waits { Standing::Checking } else { Standing::Unhealthy };
        }
        if self.has_failed() && !self.is_due(now_ms) {
            return Standing::Unavailable;
        }
        if self.is_full() {
            return Standing::Full;
        }
        Standing::Up
    }

    fn is_full(&self) -> bool {
        self.max_conns != 0 && self.state.active() >= self.max_conns
    }

    fn has_failed(&self) -> bool {
        self.max_fails != 0 && self.state.fails() >= self.max_fails
    }

    /// Whether `fail_timeout` has passed since it was last looked at.
    fn is_due(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.state.checked_ms.load(Relaxed)) > self.fail_timeout_ms
    }

    /// Takes the right to send a request to it. False when it is to be probed by one request after
    /// `fail_timeout` and another worker was first.
    pub(super) fn claim(&self, now_ms: u64) -> bool {
        let checked = self.state.checked_ms.load(Relaxed);
        if now_ms.saturating_sub(checked) <= self.fail_timeout_ms {
            return !self.has_failed();
        }
        let won = self.state.checked_ms.compare_exchange(checked, now_ms, Relaxed, Relaxed).is_ok();
        won || !self.has_failed()
    }

    /// Weight minus what failures have taken, won back by one each time a balancer considers it.
    pub(super) fn take_effective_weight(&self) -> i64 {
        let lost = self.state.lost_weight.load(Relaxed);
        if lost == 0 {
            return i64::from(self.weight);
        }
        let regain = |lost: u32| lost.checked_sub(1);
        let _ = self.state.lost_weight.fetch_update(Relaxed, Relaxed, regain);
        i64::from(self.weight.saturating_sub(lost))
    }

    /// Counts how a try ended. True when this failure is the one that takes the peer out
    /// (`max_fails` within `fail_timeout`), for the caller's log line.
    pub fn report(&self, outcome: Outcome, now_ms: u64) -> bool {
        let state = &*self.state;
        if outcome != Outcome::Stale {
            state.requests.fetch_add(1, Relaxed);
        }
        match outcome {
            Outcome::Stale => false,
            Outcome::Ok => {
                if state.fails() != 0
                    && state.accessed_ms.load(Relaxed) < state.checked_ms.load(Relaxed)
                {
                    state.fails.store(0, Relaxed);
                }
                false
            }
            Outcome::Failed => {
                state.failures.fetch_add(1, Relaxed);
                if self.max_fails == 0 {
                    return false;
                }
                let more = |fails: u32| Some(fails.saturating_add(1));
                let before = state.fails.fetch_update(Relaxed, Relaxed, more).unwrap_or(0);
                state.accessed_ms.store(now_ms, Relaxed);
                state.checked_ms.store(now_ms, Relaxed);
                let toll = self.weight / self.max_fails;
                let pay = |lost: u32| Some(lost.saturating_add(toll).min(self.weight));
                let _ = state.lost_weight.fetch_update(Relaxed, Relaxed, pay);
                before.saturating_add(1) == self.max_fails
            }
        }
    }

    /// Counts a connection as active until the guard is dropped.
    pub fn connect_guard(self: &Arc<Self>) -> ActiveGuard {
        self.state.active.fetch_add(1, Relaxed);
        ActiveGuard { peer: Arc::clone(self) }
    }
}

/// One active connection of a peer.
#[derive(Debug)]
pub struct ActiveGuard {
    peer: Arc<Peer>,
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.peer.state.active.fetch_sub(1, Relaxed);
        if let Some(queue) = &self.peer.queue {
            queue.call();
        }
    }
}
