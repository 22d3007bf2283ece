//! `hash KEY` (Cache::Memcached's distribution) and `hash KEY consistent` (ketama's).

use super::{MAX_REHASH, Turn, round_robin};
use crc32fast::Hasher;
use std::fmt::Write as _;

/// The peer of `key`: `((crc32([REHASH] KEY) >> 16) & 0x7fff) + PREVIOUS`, rehashed while that peer
/// is not available, by round robin after 20 times. An empty key is not hashed.
pub(super) fn pick(turn: &mut Turn<'_>, key: &[u8]) -> Option<usize> {
    while turn.tried.rehashed <= MAX_REHASH && turn.tier.peers.len() > 1 && !key.is_empty() {
        let mut hasher = Hasher::new();
        if turn.tried.rounds > 0 {
            let mut digits = String::new();
            let _ = write!(digits, "{}", turn.tried.rounds);
            hasher.update(digits.as_bytes());
        }
        hasher.update(key);
        turn.tried.hash = turn.tried.hash.wrapping_add((hasher.finalize() >> 16) & 0x7fff);
        turn.tried.rounds += 1;
        let index = turn.tier.at_weight(u64::from(turn.tried.hash));
        if turn.is_open(index) {
            return Some(index);
        }
        turn.tried.rehashed += 1;
    }
    round_robin::pick(turn)
}

/// The peer of `key` on the ring: the first point at or after its crc32; the next points while that
/// peer is not available, round robin after 20 of them. An empty key is not hashed.
pub(super) fn pick_consistent(turn: &mut Turn<'_>, key: &[u8]) -> Option<usize> {
    let ring = &turn.tier.ring;
    if turn.tier.peers.len() < 2 || key.is_empty() || ring.is_empty() {
        return round_robin::pick(turn);
    }
    if turn.tried.rounds == 0 {
        turn.tried.rounds = 1;
        turn.tried.point = ring.find(crc32fast::hash(key));
    }
    while turn.tried.rehashed <= MAX_REHASH {
        let server = ring.server_at(turn.tried.point);
        let of_server = |turn: &Turn<'_>, index: usize| turn.tier.ring.server_of(index) == server;
        if let Some(index) = round_robin::richest(turn, of_server) {
            return Some(index);
        }
        turn.tried.point += 1;
        turn.tried.rehashed += 1;
    }
    round_robin::pick(turn)
}
