//! Upstreams for tests, written as the words of their `server` lines.

use super::{Addresses, Group, Groups, Registry};
use crate::config::diagnostic::Diagnostics;
use crate::config::model::{
    Balance, HealthCheck, HealthKind, HealthMatch, Peer, PeerAddress, Upstream,
};
use std::sync::Arc;

/// An `upstream` block: `server("127.0.0.1:80 weight=5 backup")` lines.
pub(super) fn upstream(name: &str, balance: Balance, servers: &[&str]) -> Upstream {
    let mut upstream = Upstream::new(Default::default(), name, Vec::new());
    upstream.balance = balance;
    upstream.peers = servers.iter().map(|line| server(line)).collect();
    upstream
}

fn server(line: &str) -> Peer {
    let mut words = line.split(' ');
    let address = words.next().unwrap();
    let address = match address.strip_prefix("unix:") {
        Some(path) => PeerAddress::Unix(path.to_owned()),
        None => {
            let (host, port) = address.rsplit_once(':').unwrap();
            let host = host.trim_matches(['[', ']']).to_owned();
            PeerAddress::Host { host, port: port.parse().unwrap() }
        }
    };
    let mut peer = Peer::new(Default::default(), address);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("weight", value) => peer.weight = value.parse().unwrap(),
            ("max_fails", value) => peer.max_fails = value.parse().unwrap(),
            ("fail_timeout_ms", value) => peer.fail_timeout_ms = value.parse().unwrap(),
            ("max_conns", value) => peer.max_conns = value.parse().unwrap(),
            ("backup", _) => peer.backup = true,
            ("down", _) => peer.down = true,
            other => panic!("{other:?}"),
        }
    }
    peer
}

/// Builds and commits `upstreams`.
pub(super) fn load(registry: &Registry, upstreams: &[Upstream]) -> Arc<Groups> {
    let mut diagnostics = Diagnostics::default();
    let localhost: Arc<[std::net::IpAddr]> = Arc::new(["127.0.0.1".parse().unwrap()]);
    let addresses = Addresses::from([("localhost".to_owned(), localhost)]);
    let groups = registry.build(upstreams, &[], &addresses, &mut diagnostics);
    assert_eq!(diagnostics.to_string(), "");
    let groups = Arc::new(groups);
    registry.commit(Arc::clone(&groups));
    groups
}

/// One group called `x` in a registry of its own.
pub(super) fn group(balance: Balance, servers: &[&str]) -> Arc<Group> {
    let groups = load(&Registry::new(), &[upstream("x", balance, servers)]);
    Arc::clone(groups.get("x").unwrap())
}

/// An HTTP check of `/health` with these headers.
pub(super) fn http_check(headers: &[(&str, &str)], expect: HealthMatch) -> HealthCheck {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let uri = "/health".to_owned();
    check(HealthKind::Http { uri, headers: headers.collect(), expect })
}

/// A check that asks `kind` with short patience.
pub(super) fn check(kind: HealthKind) -> HealthCheck {
    HealthCheck {
        at: Default::default(),
        kind,
        interval_ms: 1,
        jitter_ms: 0,
        timeout_ms: 2000,
        fails: 1,
        passes: 1,
        port: None,
        mandatory: false,
    }
}
