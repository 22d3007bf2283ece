//! `ip_hash`: clients of one /24 (IPv4) or one address (IPv6) go to one peer.

use super::{MAX_REHASH, Turn, round_robin};
use std::net::IpAddr;

/// The peer of `client` (a client on a unix socket counts as 0.0.0.0); another one by rehashing
/// while that is not available, by round robin after 20 times.
pub(super) fn pick(turn: &mut Turn<'_>, client: Option<IpAddr>) -> Option<usize> {
    if turn.tried.rehashed > MAX_REHASH || turn.tier.peers.len() < 2 {
        return round_robin::pick(turn);
    }
    if turn.tried.rehashed == 0 && turn.tried.hash == 0 {
        turn.tried.hash = 89;
    }
    let mut hash = turn.tried.hash;
    loop {
        hash = match client {
            Some(IpAddr::V4(address)) => mix(hash, &address.octets()[..3]),
            Some(IpAddr::V6(address)) => mix(hash, &address.octets()),
            None => mix(hash, &[0; 3]),
        };
        let index = turn.tier.at_weight(u64::from(hash));
        if turn.is_open(index) {
            turn.tried.hash = hash;
            return Some(index);
        }
        turn.tried.rehashed += 1;
        if turn.tried.rehashed > MAX_REHASH {
            return round_robin::pick(turn);
        }
    }
}

fn mix(hash: u32, octets: &[u8]) -> u32 {
    octets.iter().fold(hash, |hash, octet| (hash * 113 + u32::from(*octet)) % 6271)
}
