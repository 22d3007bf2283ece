//! What `/status` says of the upstreams in force: numbers from live state only.

use super::check::CheckStatus;
use super::group::{Algorithm, Group, Keepalive};
use super::peer::{Peer, Standing};
use super::registry::Registry;
use serde::Serialize;

/// One group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// The upstream's name.
    pub name: String,
    /// False for the group behind a `proxy_pass` to a host.
    pub explicit: bool,
    /// How a peer is chosen.
    pub algorithm: Algorithm,
    /// How connections are kept.
    pub keepalive: Keepalive,
    /// Its peers, backups last.
    pub peers: Vec<PeerStatus>,
}

/// One peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// As written.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// `weight=`.
    pub weight: u32,
    /// `backup`.
    pub backup: bool,
    /// Whether it takes requests, and if not, why.
    pub standing: Standing,
    /// Whether an operator set it down.
    pub set_down: bool,
    /// Connections in use by requests now.
    pub active: u32,
    /// `max_conns=`; 0 is no limit.
    pub max_conns: u32,
    /// Failed tries that count now.
    pub fails: u32,
    /// `max_fails=`; 0 never counts.
    pub max_fails: u32,
    /// Tries since the peer became known.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Its active checks, in the order of the `health_check` lines.
    pub checks: Vec<CheckStatus>,
}

impl Registry {
    /// All groups in force by name, as of `now_ms` (monotonic).
    pub fn status(&self, now_ms: u64) -> Vec<GroupStatus> {
        let groups = self.current();
        let mut all: Vec<_> = groups.iter().map(|group| group_status(group, now_ms)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn group_status(group: &Group, now_ms: u64) -> GroupStatus {
    let set = group.peers.load();
    GroupStatus {
        name: group.name.to_string(),
        explicit: group.explicit,
        algorithm: group.algorithm,
        keepalive: group.keepalive,
        peers: set.iter().map(|peer| peer_status(group, peer, now_ms)).collect(),
    }
}

fn peer_status(group: &Group, peer: &Peer, now_ms: u64) -> PeerStatus {
    let (requests, failures) = peer.state.totals();
    PeerStatus {
        name: peer.name.to_string(),
        address: peer.address_text.to_string(),
        weight: peer.weight,
        backup: peer.backup,
        standing: peer.standing(now_ms),
        set_down: peer.state.is_set_down(),
        active: peer.state.active(),
        max_conns: peer.max_conns,
        fails: peer.state.fails(),
        max_fails: peer.max_fails,
        requests,
        failures,
        checks: group.check_status(peer),
    }
}
