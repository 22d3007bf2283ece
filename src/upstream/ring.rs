//! The ring of `hash … consistent`: ketama's points, on which keys land as in nginx.

use super::peer::Peer;
use crc32fast::Hasher;
use std::sync::Arc;

/// Points of a peer on the ring, for each unit of weight.
const POINTS_PER_WEIGHT: u32 = 160;

/// One point of the ring.
#[derive(Clone, Copy, Debug)]
struct Point {
    hash: u32,
    server: u32,
}

/// The ring of `hash … consistent`: empty for other ways to balance.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: Vec<Point>,
    /// For each peer the number of its server: addresses of one name share its points.
    servers: Vec<u32>,
}

impl Ring {
    /// Lays out 160 points for each unit of weight, each point's hash seeding the next
    /// (Cache::Memcached::Fast's: `crc32(HOST \0 PORT PREVIOUS)`).
    pub(super) fn new(peers: &[Arc<Peer>]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut ring = Self::default();
        for peer in peers {
            let known = names.iter().position(|name| **name == *peer.name);
            let server = known.unwrap_or_else(|| {
                names.push(&peer.name);
                names.len() - 1
            });
            let server = u32::try_from(server).unwrap_or(u32::MAX);
            ring.servers.push(server);
            let base = base_of(&peer.name);
            let mut previous = 0_u32;
            for _ in 0..peer.weight.saturating_mul(POINTS_PER_WEIGHT) {
                let mut hasher = base.clone();
                hasher.update(&previous.to_le_bytes());
                previous = hasher.finalize();
                ring.points.push(Point { hash: previous, server });
            }
        }
        ring.points.sort_by_key(|point| point.hash);
        ring.points.dedup_by_key(|point| point.hash);
        ring
    }

    /// Whether there is no point at all.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The server of point `point`, counted round the ring, which must not be empty.
    pub(super) fn server_at(&self, point: usize) -> u32 {
        self.points[point % self.points.len()].server
    }

    /// The server that peer `index` belongs to.
    pub(super) fn server_of(&self, index: usize) -> u32 {
        self.servers[index]
    }

    /// The first point at or after `hash`; one past the last wraps to the first.
    pub(super) fn find(&self, hash: u32) -> usize {
        self.points.partition_point(|point| point.hash < hash)
    }
}

fn base_of(name: &str) -> Hasher {
    let is_unix = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("unix:"));
    let (host, port) = match name.rsplit_once(':') {
        _ if is_unix => (&name[5..], ""),
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => (host, port),
        _ => (name, ""),
    };
    let mut hasher = Hasher::new();
    hasher.update(host.as_bytes());
    hasher.update(b"\0");
    hasher.update(port.as_bytes());
    hasher
}
