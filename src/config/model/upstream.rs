//! `upstream` blocks: peers, how one is chosen, how their health is known.

use super::{Chunk, Text};
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// An `upstream` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// Its name.
    pub name: String,
    /// `server` lines.
    pub peers: Vec<Peer>,
    /// How a peer is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// `keepalive N`: idle connections kept a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<usize>,
    /// `keepalive_timeout`, milliseconds; default 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_timeout_ms: Option<u64>,
    /// `keepalive_requests`; default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_requests: Option<u64>,
    /// `keepalive_time`, milliseconds; default 1 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time_ms: Option<u64>,
    /// `balancer_by_lua*`: decides instead of `balance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<Chunk>,
    /// `health_check` lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    /// `queue N [timeout=TIME]` (NGINX Plus's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// `zone NAME [SIZE]`: accepted, peers are always shared by the workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Upstream {
    /// The group of `peers` that `name` stands for, with nothing but them written in it.
    pub fn new(at: At, name: &str, peers: Vec<Peer>) -> Self {
        Self {
            at,
            name: name.to_owned(),
            peers,
            balance: Balance::default(),
            keepalive: None,
            keepalive_timeout_ms: None,
            keepalive_requests: None,
            keepalive_time_ms: None,
            balancer: None,
            health_checks: Vec::new(),
            zone: None,
            queue: None,
        }
    }
}

/// Requests that may wait until a peer has a connection to spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// How many, of all workers.
    pub requests: usize,
    /// For how long, milliseconds; default 60 s.
    #[serde(default = "sixty_seconds")]
    pub timeout_ms: u64,
}

fn sixty_seconds() -> u64 {
    60_000
}

/// A `server` line of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its address.
    pub address: PeerAddress,
    /// `weight=`; default 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// `max_fails=`; default 1; 0 never counts.
    #[serde(default = "one")]
    pub max_fails: u32,
    /// `fail_timeout=`, milliseconds; default 10 s.
    #[serde(default = "ten_seconds")]
    pub fail_timeout_ms: u64,
    /// `max_conns=`; 0 is no limit.
    #[serde(default)]
    pub max_conns: u32,
    /// `backup`.
    #[serde(default)]
    pub backup: bool,
    /// `down`.
    #[serde(default)]
    pub down: bool,
}

impl Peer {
    /// The peer at `address`, without parameters.
    pub fn new(at: At, address: PeerAddress) -> Self {
        Self {
            at,
            address,
            weight: one(),
            max_fails: one(),
            fail_timeout_ms: ten_seconds(),
            max_conns: 0,
            backup: false,
            down: false,
        }
    }
}

fn one() -> u32 {
    1
}

fn ten_seconds() -> u64 {
    10_000
}

/// `HOST[:PORT]` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAddress {
    /// A name or address, and a port.
    Host {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// 80 when not written.
        port: u16,
    },
    /// A unix socket's path.
    Unix(String),
}

/// How an upstream chooses a peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`.
    LeastConn,
    /// `ip_hash`.
    IpHash,
    /// `hash KEY [consistent]`.
    Hash {
        /// What is hashed, with variables.
        key: Text,
        /// ketama.
        consistent: bool,
    },
    /// `random [two [least_conn]]`.
    Random {
        /// Two are drawn, the one with fewer connections is taken.
        two: bool,
    },
}

/// `health_check …` (NGINX Plus's, and `header`, `type`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// What is asked.
    pub kind: HealthKind,
    /// `interval=`, milliseconds; default 5 s.
    pub interval_ms: u64,
    /// `jitter=`, milliseconds; default 0.
    #[serde(default)]
    pub jitter_ms: u64,
    /// `timeout=`, milliseconds (ours); default 1 s, for the whole probe.
    pub timeout_ms: u64,
    /// `fails=`; default 1.
    pub fails: u32,
    /// `passes=`; default 1.
    pub passes: u32,
    /// `port=`: instead of the peer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `mandatory`: a peer is down until its first pass.
    #[serde(default)]
    pub mandatory: bool,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// A GET.
    Http {
        /// `uri=`; default `/`.
        uri: String,
        /// `header "Name: value"`, in order: the canary label travels here.
        headers: Vec<(String, String)>,
        /// What a good answer is.
        expect: HealthMatch,
    },
    /// A connection is enough: `type=tcp`.
    Tcp,
    /// grpc.health.v1 over HTTP/2: `type=grpc`.
    Grpc {
        /// `grpc_service=`; empty is the whole server.
        service: String,
        /// `grpc_status=`: a number that is good besides SERVING.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u32>,
        /// Metadata sent with the call.
        headers: Vec<(String, String)>,
    },
}

/// The `match` of an HTTP probe, written as a `match NAME { … }` block or by default 2xx and 3xx.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthMatch {
    /// Inclusive ranges of statuses; empty is 200-399.
    pub statuses: Vec<(u16, u16)>,
    /// `status ! …`: the ranges are those that are bad.
    pub statuses_negated: bool,
    /// `header NAME [OP VALUE]`: name, operator (`""` present, `!` absent, `=`, `!=`, `~`, `!~`),
    /// value.
    pub headers: Vec<(String, String, String)>,
    /// `body ~ REGEX`, or `body !~ REGEX`: then the first value, that it is negated, is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<(bool, String)>,
}
