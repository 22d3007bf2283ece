//! Smooth weighted round robin: each peer gains its weight, the richest is taken and pays the sum.

use super::Turn;

/// The peer whose turn it is; `None` when none is available.
pub(super) fn pick(turn: &mut Turn<'_>) -> Option<usize> {
    richest(turn, |_, _| true)
}

/// Round robin among the peers that `admits` lets in (a set of peers of one rank).
pub(super) fn richest(
    turn: &mut Turn<'_>,
    admits: impl Fn(&Turn<'_>, usize) -> bool,
) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut total = 0;
    for index in 0..turn.tier.peers.len() {
        if !turn.is_open(index) || !admits(turn, index) {
            continue;
        }
        let gain = turn.tier.peers[index].take_effective_weight();
        total += gain;
        turn.purse[index].coins += gain;
        if best.is_none_or(|best| turn.purse[index].coins > turn.purse[best].coins) {
            best = Some(index);
        }
    }
    if let Some(best) = best {
        turn.purse[best].coins -= total;
    }
    best
}
