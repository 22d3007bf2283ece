//! A group of peers under one name, as a snapshot sees it.

use super::check::{Check, CheckState, CheckStatus, CheckTls};
use super::peer::{Peer, PeerAddr, PeerState, Standing};
use super::queue::{Place, Queue};
use super::ring::Ring;
use crate::config::model;
use arc_swap::ArcSwap;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a group chooses a peer; the hash key itself is evaluated by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin,
    /// `least_conn`.
    LeastConn,
    /// `ip_hash`.
    IpHash,
    /// `hash KEY`.
    Hash,
    /// `hash KEY consistent`.
    Consistent,
    /// `random [two [least_conn]]`.
    Random {
        /// Two are drawn.
        two: bool,
    },
}

impl Algorithm {
    /// What the model says.
    pub fn of(balance: &model::Balance) -> Self {
        match balance {
            model::Balance::RoundRobin => Self::RoundRobin,
            model::Balance::LeastConn => Self::LeastConn,
            model::Balance::IpHash => Self::IpHash,
            model::Balance::Hash { consistent: false, .. } => Self::Hash,
            model::Balance::Hash { consistent: true, .. } => Self::Consistent,
            model::Balance::Random { two } => Self::Random { two: *two },
        }
    }

    /// Whether `server … backup` may stand in such a group, as nginx has it.
    pub fn allows_backup(self) -> bool {
        matches!(self, Self::RoundRobin | Self::LeastConn)
    }
}

/// `keepalive*`: how idle connections to the group's peers are kept, with nginx's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Keepalive {
    /// Idle connections kept a worker; 0 keeps none.
    pub connections: usize,
    /// How long an idle one is kept, milliseconds.
    pub timeout_ms: u64,
    /// Requests over one connection.
    pub requests: u64,
    /// Age after which a connection is not kept, milliseconds.
    pub time_ms: u64,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { connections: 0, timeout_ms: 60_000, requests: 1000, time_ms: 3_600_000 }
    }
}

impl Keepalive {
    fn of(upstream: &model::Upstream) -> Self {
        let default = Self::default();
        Self {
            connections: upstream.keepalive.unwrap_or(default.connections),
            timeout_ms: upstream.keepalive_timeout_ms.unwrap_or(default.timeout_ms),
            requests: upstream.keepalive_requests.unwrap_or(default.requests),
            time_ms: upstream.keepalive_time_ms.unwrap_or(default.time_ms),
        }
    }
}

/// Who a group is over reloads: groups of one name share it.
#[derive(Debug)]
pub(super) struct Identity {
    /// Unlike any other's in this process; 0 for groups that exist for one request.
    pub(super) id: u64,
    /// Requests that wait for a peer.
    pub(super) queue: Arc<Queue>,
}

static NEXT_GROUP: AtomicU64 = AtomicU64::new(1);
static NEXT_SET: AtomicU64 = AtomicU64::new(1);

impl Identity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { id: NEXT_GROUP.fetch_add(1, Relaxed), queue: Arc::default() })
    }

    pub(super) fn is_transient(&self) -> bool {
        self.id == 0
    }
}

/// A named group of peers: an `upstream` block, or the implicit one of a `proxy_pass` to a host.
#[derive(Debug)]
pub struct Group {
    /// The upstream's name, or the host and port of `proxy_pass`.
    pub name: Arc<str>,
    /// Its peers now; swapped when names resolve to other addresses.
    pub peers: ArcSwap<PeerSet>,
    /// How one is chosen.
    pub algorithm: Algorithm,
    /// How connections are kept.
    pub keepalive: Keepalive,
    /// Whether it was written as an `upstream` block.
    pub explicit: bool,
    pub(super) identity: Arc<Identity>,
    /// The model that it was built from: to build it again when names resolve anew, and to probe.
    pub(super) upstream: model::Upstream,
    pub(super) checks: Vec<Arc<Check>>,
}

impl Group {
    pub(super) fn new(
        upstream: model::Upstream,
        explicit: bool,
        identity: Arc<Identity>,
        peers: PeerSet,
        checks: Vec<Arc<Check>>,
    ) -> Self {
        Self {
            name: Arc::from(upstream.name.as_str()),
            peers: ArcSwap::from_pointee(peers),
            algorithm: Algorithm::of(&upstream.balance),
            keepalive: Keepalive::of(&upstream),
            explicit,
            identity,
            upstream,
            checks,
        }
    }

    /// The group of one request whose `proxy_pass` named `addresses` at run time: it has no state
    /// and is in no status, as in nginx.
    pub fn transient(name: &str, addresses: &[PeerAddr]) -> Self {
        let single = addresses.len() == 1;
        let peers = addresses.iter().map(|address| {
            let text: Arc<str> = Arc::from(address.to_string());
            Arc::new(Peer {
                name: Arc::clone(&text),
                address: address.clone(),
                address_text: text,
                weight: 1,
                max_fails: u32::from(!single),
                fail_timeout_ms: 10_000,
                max_conns: 0,
                backup: false,
                down: false,
                state: Arc::new(PeerState::new()),
                queue: None,
            })
        });
        let set = PeerSet::new(peers.collect(), Algorithm::RoundRobin);
        let upstream = model::Upstream::new(Default::default(), name, Vec::new());
        let identity = Arc::new(Identity { id: 0, queue: Arc::default() });
        Self::new(upstream, false, identity, set, Vec::new())
    }

    /// Unlike any other group's in this process, and the same over reloads; 0 for a group of one
    /// request.
    pub fn id(&self) -> u64 {
        self.identity.id
    }

    /// How many tries a request has before `proxy_next_upstream_tries`: one for each peer that is
    /// not `down`, backups included; one for a group of a single peer.
    pub fn tries(&self) -> u32 {
        self.peers.load().tries
    }

    /// Whether a request may go to any of its peers at `now_ms` (monotonic).
    pub fn has_peer(&self, now_ms: u64) -> bool {
        self.peers.load().iter().any(|it| it.is_available(now_ms))
    }

    /// Whether it has a `queue`.
    pub fn has_queue(&self) -> bool {
        self.upstream.queue.is_some()
    }

    /// Whether it has no peer at `now_ms` (monotonic) for a request, and would have one if some
    /// were not busy (`max_conns`).
    pub fn is_busy(&self, now_ms: u64) -> bool {
        let peers = self.peers.load();
        let mut is_busy = false;
        for peer in peers.iter() {
            match peer.standing(now_ms) {
                Standing::Up => return false,
                Standing::Full => is_busy = true,
                _ => {}
            }
        }
        is_busy
    }

    /// Whether a request has to wait at `now_ms`: its peers are busy, or others wait already.
    pub fn is_to_wait(&self, now_ms: u64) -> bool {
        self.has_queue() && (!self.identity.queue.is_empty() || self.is_busy(now_ms))
    }

    /// A place in its `queue`; `None` where that is full.
    pub fn join_queue(&self) -> Option<Place> {
        self.identity.queue.join(self.upstream.queue?.requests)
    }

    /// How long a request may wait there, milliseconds.
    pub fn queue_timeout_ms(&self) -> u64 {
        self.upstream.queue.map_or(0, |it| it.timeout_ms)
    }

    /// Lets the checks of gRPC, or those of HTTP, speak TLS, those of another port apart. The first
    /// call counts.
    pub fn secure_checks(&self, grpc: bool, tls: &CheckTls) {
        for check in self.checks.iter().filter(|it| it.settings.port.is_none()) {
            let fits = match check.settings.kind {
                model::HealthKind::Tcp => false,
                model::HealthKind::Http { .. } => !grpc,
                model::HealthKind::Grpc { .. } => grpc,
            };
            if fits {
                // Another location may have said so before.
                let _ = check.tls.set(tls.clone());
            }
        }
    }

    /// Gives the peers the states of this group's checks, and takes those of other checks away.
    pub(super) fn arrange_checks(&self) {
        for peer in self.peers.load().iter() {
            let mut states = peer.state.checks.lock();
            states.retain(|state| self.checks.iter().any(|check| check.key == state.key));
            for check in &self.checks {
                if !states.iter().any(|state| state.key == check.key) {
                    states.push(CheckState::new(check.key, check.settings.mandatory));
                }
            }
            peer.state.set_unhealthy(states.iter().any(|state| !state.is_healthy()));
        }
    }

    /// What is known of `peer` by each check, in the order of the checks.
    pub(super) fn check_status(&self, peer: &Peer) -> Vec<CheckStatus> {
        let states = peer.state.checks.lock();
        let of = |check: &Arc<Check>| {
            let state = states.iter().find(|state| state.key == check.key);
            state.map(|state| state.status().clone()).unwrap_or_default()
        };
        self.checks.iter().map(of).collect()
    }
}

/// The peers of a group at one time.
#[derive(Debug)]
pub struct PeerSet {
    pub(super) id: u64,
    pub(super) primary: Tier,
    pub(super) backup: Tier,
    tries: u32,
}

impl PeerSet {
    pub(super) fn new(peers: Vec<Arc<Peer>>, algorithm: Algorithm) -> Self {
        let single = peers.len() == 1;
        let open = peers.iter().filter(|peer| !peer.down).count();
        let tries = if single { 1 } else { u32::try_from(open).unwrap_or(u32::MAX) };
        let (backup, primary) = peers.into_iter().partition(|peer: &Arc<Peer>| peer.backup);
        let id = NEXT_SET.fetch_add(1, Relaxed);
        let (primary, backup) = (Tier::new(primary, algorithm), Tier::new(backup, algorithm));
        Self { id, primary, backup, tries }
    }

    /// All peers, backups last.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.primary.peers.iter().chain(&self.backup.peers)
    }

    /// The peer at `address`, for `balancer_by_lua`'s `set_current_peer`.
    pub fn at(&self, address: &PeerAddr) -> Option<&Arc<Peer>> {
        self.iter().find(|peer| peer.address == *address)
    }
}

/// The peers of one rank: primaries or backups.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) peers: Vec<Arc<Peer>>,
    /// For each peer the sum of the weights up to and including its own.
    bounds: Vec<u64>,
    pub(super) ring: Ring,
}

impl Tier {
    fn new(peers: Vec<Arc<Peer>>, algorithm: Algorithm) -> Self {
        let mut sum = 0;
        let bounds = peers.iter().map(|peer| {
            sum += u64::from(peer.weight);
            sum
        });
        let mut tier = Self { bounds: bounds.collect(), peers, ring: Ring::default() };
        if algorithm == Algorithm::Consistent {
            tier.ring = Ring::new(&tier.peers);
        }
        tier
    }

    /// The peer that owns `number` modulo the sum of all weights. The tier must not be empty.
    pub(super) fn at_weight(&self, number: u64) -> usize {
        let total = self.bounds.last().copied().unwrap_or(1).max(1);
        let place = number % total;
        self.bounds.partition_point(|bound| *bound <= place)
    }
}
