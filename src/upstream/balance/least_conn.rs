//! `least_conn`: the fewest active connections for its weight; ties by smooth round robin.

use super::{Turn, round_robin};

/// The peer with the least to do; `None` when none is available.
pub(super) fn pick(turn: &mut Turn<'_>) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut tied = false;
    for index in 0..turn.tier.peers.len() {
        if !turn.is_open(index) {
            continue;
        }
        match best.map(|best| load_of(turn, index, best).cmp(&load_of(turn, best, index))) {
            None | Some(std::cmp::Ordering::Less) => {
                best = Some(index);
                tied = false;
            }
            Some(std::cmp::Ordering::Equal) => tied = true,
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    let best = best?;
    if !tied {
        return Some(best);
    }
    let is_equal =
        |turn: &Turn<'_>, index| load_of(turn, index, best) == load_of(turn, best, index);
    round_robin::richest(turn, is_equal).or(Some(best))
}

/// Connections of `index` times the weight of `other`: comparable without division.
fn load_of(turn: &Turn<'_>, index: usize, other: usize) -> u64 {
    let connections = u64::from(turn.tier.peers[index].state.active());
    connections * u64::from(turn.tier.peers[other].weight)
}
