//! Which peer takes a request: nginx's balancing algorithms over state that no lock guards.
//!
//! A [`Picker`] belongs to one worker, as nginx's rotation does without `zone`; what workers share
//! (failures, active connections, health) are atomics in the peers.

mod hash;
mod ip_hash;
mod least_conn;
mod random;
mod round_robin;
#[cfg(test)]
mod tests;

use super::group::{Algorithm, Group, Identity, PeerSet, Tier};
use super::peer::Peer;
use random::Dice;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

/// After so many draws or hashes that hit an unavailable peer, round robin decides (nginx's 20).
const MAX_REHASH: u32 = 20;

/// No peer of the group may be used: nginx's `no live upstreams`, a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no live upstreams while connecting to upstream")]
pub struct NoPeer;

/// What one request has tried of one group: pass a fresh one with each request, and the same one
/// with each retry.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    set: u64,
    bits: SmallVec<[u64; 1]>,
    last: usize,
    on_backup: bool,
    hash: u32,
    rounds: u32,
    rehashed: u32,
    point: usize,
}

impl Tried {
    /// Starts anew when the addresses were swapped between two tries.
    fn bind(&mut self, set: &PeerSet) {
        if self.set != set.id {
            *self = Self { set: set.id, ..Self::default() };
        }
    }

    /// Forgets which peers were tried: a kept connection that ended says nothing about its peer.
    pub fn forget(&mut self) {
        self.bits.clear();
    }

    fn mark(&mut self, index: usize) {
        let word = index / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (index % 64);
        self.last = index;
    }

    /// The peer that was picked last may be picked again: all that failed was a connection to it
    /// that had been kept.
    pub fn forget_last(&mut self) {
        if let Some(word) = self.bits.get_mut(self.last / 64) {
            *word &= !(1 << (self.last % 64));
        }
    }

    fn has(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn turn_to_backup(&mut self) {
        self.on_backup = true;
        self.bits.clear();
    }
}

/// A peer's current weight in one worker's rotation.
#[derive(Clone, Copy, Debug)]
struct Purse {
    uid: u64,
    coins: i64,
}

/// One worker's rotation through one group: for the primaries and for the backups.
#[derive(Debug)]
struct Rotation {
    set: u64,
    group: Weak<Identity>,
    purses: [Vec<Purse>; 2],
}

impl Rotation {
    fn new(group: &Group, set: &PeerSet) -> Self {
        let group = Arc::downgrade(&group.identity);
        let mut rotation = Self { set: 0, group, purses: [Vec::new(), Vec::new()] };
        rotation.follow(set);
        rotation
    }

    /// Adopts `set`; peers that stay keep their place in the rotation.
    fn follow(&mut self, set: &PeerSet) {
        if self.set == set.id {
            return;
        }
        let old: HashMap<u64, i64> =
            self.purses.iter().flatten().map(|purse| (purse.uid, purse.coins)).collect();
        self.purses = [&set.primary, &set.backup].map(|tier| {
            let uids = tier.peers.iter().map(|peer| peer.state.uid);
            uids.map(|uid| Purse { uid, coins: old.get(&uid).copied().unwrap_or(0) }).collect()
        });
        self.set = set.id;
    }
}

/// What an algorithm sees: the peers of one rank, their current weights, what was tried.
struct Turn<'a> {
    tier: &'a Tier,
    purse: &'a mut [Purse],
    tried: &'a mut Tried,
    now_ms: u64,
}

impl Turn<'_> {
    /// Whether the peer may be taken: not tried yet, and available.
    fn is_open(&self, index: usize) -> bool {
        !self.tried.has(index) && self.tier.peers[index].is_available(self.now_ms)
    }
}

/// One worker's choice of peers, kept over reloads so that no split starts anew.
#[derive(Debug)]
pub struct Picker {
    rotations: foldhash::HashMap<u64, Rotation>,
    dice: Dice,
}

impl Default for Picker {
    fn default() -> Self {
        Self::new()
    }
}

impl Picker {
    /// A picker with a random seed.
    pub fn new() -> Self {
        Self::with_seed(rand::random())
    }

    /// A picker whose `random` draws follow from `seed`.
    pub fn with_seed(seed: u64) -> Self {
        Self { rotations: foldhash::HashMap::default(), dice: Dice::new(seed) }
    }

    /// Chooses the peer for the next try. `key` is the value of `hash`'s key (empty for other
    /// balances); `client` the client's address for `ip_hash`; `now_ms` monotonic milliseconds.
    /// The caller counts the connection by [`Peer::connect_guard`] and its end by
    /// [`Peer::report`].
    pub fn pick(
        &mut self,
        group: &Group,
        key: &[u8],
        client: Option<IpAddr>,
        tried: &mut Tried,
        now_ms: u64,
    ) -> Result<Arc<Peer>, NoPeer> {
        let set = group.peers.load();
        tried.bind(&set);
        if group.identity.is_transient() {
            let rotation = &mut Rotation::new(group, &set);
            let dice = &mut self.dice;
            let choice =
                Choice { set: &set, algorithm: group.algorithm, key, client, dice, rotation };
            return choice.run(tried, now_ms);
        }
        if !self.rotations.contains_key(&group.identity.id) {
            self.rotations.retain(|_, rotation| rotation.group.strong_count() > 0);
        }
        let rotation =
            self.rotations.entry(group.identity.id).or_insert_with(|| Rotation::new(group, &set));
        rotation.follow(&set);
        let dice = &mut self.dice;
        let choice = Choice { set: &set, algorithm: group.algorithm, key, client, dice, rotation };
        choice.run(tried, now_ms)
    }
}

/// One choice to be made.
struct Choice<'a> {
    set: &'a PeerSet,
    algorithm: Algorithm,
    key: &'a [u8],
    client: Option<IpAddr>,
    dice: &'a mut Dice,
    rotation: &'a mut Rotation,
}

impl Choice<'_> {
    /// Primaries first, then backups; a lost race for a probe counts as tried, so this ends.
    fn run(self, tried: &mut Tried, now_ms: u64) -> Result<Arc<Peer>, NoPeer> {
        loop {
            let rank = usize::from(tried.on_backup);
            let tier = if tried.on_backup { &self.set.backup } else { &self.set.primary };
            let purse = &mut self.rotation.purses[rank][..];
            let mut turn = Turn { tier, purse, tried: &mut *tried, now_ms };
            let found = match self.algorithm {
                Algorithm::RoundRobin => round_robin::pick(&mut turn),
                Algorithm::LeastConn => least_conn::pick(&mut turn),
                Algorithm::IpHash => ip_hash::pick(&mut turn, self.client),
                Algorithm::Hash => hash::pick(&mut turn, self.key),
                Algorithm::Consistent => hash::pick_consistent(&mut turn, self.key),
                Algorithm::Random { two } => random::pick(&mut turn, self.dice, two),
            };
            match found {
                Some(index) => {
                    tried.mark(index);
                    let peer = &tier.peers[index];
                    if peer.claim(now_ms) {
                        return Ok(Arc::clone(peer));
                    }
                }
                None if !tried.on_backup && !self.set.backup.peers.is_empty() => {
                    tried.turn_to_backup();
                }
                None => return Err(NoPeer),
            }
        }
    }
}
