//! `random` and `random two least_conn`: drawn by weight.

use super::{MAX_REHASH, Turn, round_robin};

/// A small generator, one a worker: balancing needs no secrecy.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The sequence that belongs to `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64's next number.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An available peer drawn by weight, or of `two` the one with fewer active connections for its
/// weight; round robin after 20 draws that could not be used.
pub(super) fn pick(turn: &mut Turn<'_>, dice: &mut Dice, two: bool) -> Option<usize> {
    let mut first: Option<usize> = None;
    while turn.tried.rehashed <= MAX_REHASH && turn.tier.peers.len() > 1 {
        let index = turn.tier.at_weight(dice.roll());
        if first == Some(index) || !turn.is_open(index) {
            turn.tried.rehashed += 1;
        } else if !two {
            return Some(index);
        } else if let Some(first) = first {
            return Some(less_busy(turn, index, first));
        } else {
            first = Some(index);
        }
    }
    round_robin::pick(turn)
}

/// `second`, unless it has more to do for its weight.
fn less_busy(turn: &Turn<'_>, second: usize, first: usize) -> usize {
    let (a, b) = (&turn.tier.peers[second], &turn.tier.peers[first]);
    let load_a = u64::from(a.state.active()) * u64::from(b.weight);
    let load_b = u64::from(b.state.active()) * u64::from(a.weight);
    if load_a > load_b { first } else { second }
}
