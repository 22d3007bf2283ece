//! The state of the peers as metrics: copied into the catalog when somebody asks.

use super::peer::Standing;
use super::registry::Registry;
use crate::metrics::{Catalog, raise_to};
use std::collections::BTreeMap;

/// One peer's numbers; equal `server` lines of one upstream are added up.
#[derive(Debug, Default)]
struct Sums {
    up: bool,
    active: u32,
    requests: u64,
    failures: u64,
    passed_checks: u64,
    failed_checks: u64,
}

impl Registry {
    /// Makes `catalog` show the peers in force as of `now_ms` (monotonic), and no others.
    pub fn show_in(&self, catalog: &Catalog, now_ms: u64) {
        let mut sums: BTreeMap<(String, String), Sums> = BTreeMap::new();
        for group in self.status(now_ms) {
            for peer in group.peers {
                let sum = sums.entry((group.name.clone(), peer.address)).or_default();
                sum.up |= matches!(peer.standing, Standing::Up | Standing::Full);
                sum.active += peer.active;
                sum.requests += peer.requests;
                sum.failures += peer.failures;
                for check in peer.checks {
                    sum.passed_checks += check.probes - check.failures;
                    sum.failed_checks += check.failures;
                }
            }
        }
        for ((upstream, peer), sum) in &sums {
            let metrics = catalog.peer(upstream, peer);
            metrics.up.set(i64::from(sum.up));
            metrics.active.set(i64::from(sum.active));
            raise_to(&metrics.requests, sum.requests);
            raise_to(&metrics.fails, sum.failures);
            if sum.passed_checks + sum.failed_checks > 0 {
                for (result, count) in [("pass", sum.passed_checks), ("fail", sum.failed_checks)] {
                    let labels = [upstream.as_str(), peer.as_str(), result];
                    raise_to(&catalog.health_checks.with_label_values(&labels), count);
                }
            }
        }
        let mut shown = self.shown.lock();
        for peer in shown.iter().filter(|peer| !sums.contains_key(peer)) {
            catalog.forget_peer(&peer.0, &peer.1);
        }
        *shown = sums.into_keys().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Balance;
    use crate::upstream::{Outcome, fixture};

    fn peers(catalog: &Catalog) -> String {
        let text = catalog.text();
        let lines = text.lines().filter(|line| line.starts_with("moongate_upstream_peer_"));
        let short = lines.filter_map(|line| line.strip_prefix("moongate_upstream_peer_"));
        let mut short: Vec<_> = short.map(|line| line.replace("127.0.0.1:", "")).collect();
        short.sort();
        short.join("\n")
    }

    #[test]
    fn peers_show_what_they_did_and_vanish_with_the_configuration() {
        let registry = Registry::new();
        let catalog = Catalog::new();
        let load = |servers: &[&str]| {
            let upstream = fixture::upstream("x", Balance::RoundRobin, servers);
            fixture::load(&registry, &[upstream])
        };
        let groups = load(&["127.0.0.1:1", "127.0.0.1:2"]);
        let group = groups.get("x").unwrap();
        let first = group.peers.load().iter().next().unwrap().clone();
        first.report(Outcome::Ok, 5);
        first.report(Outcome::Failed, 5);
        let _guard = first.connect_guard();
        registry.show_in(&catalog, 6);
        let line = |name: &str, peer: u8, value: u8| {
            format!("{name}{{peer=\"{peer}\",upstream=\"x\"}} {value}")
        };
        let mut expected = Vec::new();
        for (name, one, two) in [
            ("active_connections", 1, 0),
            ("fails_total", 1, 0),
            ("requests_total", 2, 0),
            ("up", 0, 1),
        ] {
            expected.extend([line(name, 1, one), line(name, 2, two)]);
        }
        assert_eq!(peers(&catalog), expected.join("\n"));

        load(&["127.0.0.1:2"]);
        registry.show_in(&catalog, 7);
        assert!(!peers(&catalog).contains("peer=\"1\""), "{}", peers(&catalog));
        assert!(peers(&catalog).contains(&line("up", 2, 1)));
    }
}
