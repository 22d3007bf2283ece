//! Balancing against what nginx chose.
//!
//! The lists of choices were recorded from Debian's nginx 1.22.1 (one worker) with these `server`
//! lines, on ports 18081 to 18085 and a closed 18099, by requests one after the other that printed
//! `$upstream_addr`: the last two digits of each port; `99,83` is a try that failed and the next.
//! `hash` and `hash … consistent` used `$arg_k`, `ip_hash` the realip module.

use super::*;
use crate::config::model::Balance;
use crate::upstream::fixture;
use crate::upstream::registry::Registry;
use crate::upstream::{Outcome, Standing};
use proptest::prelude::*;

const FIVE: &[&str] = &[
    "127.0.0.1:18081",
    "127.0.0.1:18082",
    "127.0.0.1:18083",
    "127.0.0.1:18084",
    "127.0.0.1:18085",
];
const WEIGHTED: &[&str] =
    &["127.0.0.1:18081 weight=5", "127.0.0.1:18082", "127.0.0.1:18083 weight=2"];
const DEAD: &[&str] =
    &["127.0.0.1:18081", "127.0.0.1:18099 fail_timeout_ms=100000", "127.0.0.1:18083 weight=3"];
const IPS: &[&str] = &[
    "10.0.0.1",
    "10.0.0.200",
    "10.0.1.1",
    "192.168.7.9",
    "8.8.8.8",
    "1.2.3.4",
    "203.0.113.77",
    "::1",
    "2001:db8::1",
    "2001:db8::2",
    "fe80::1",
];

fn hash(consistent: bool) -> Balance {
    Balance::Hash { key: "$arg_k".to_owned(), consistent }
}

fn keys() -> Vec<String> {
    let users = (0..24).map(|number| format!("user-{number}"));
    users.chain(["a", "", "0", "%E2%82%AC"].map(str::to_owned)).collect()
}

/// One request at second `now`: closed ports fail and are reported, as the proxy would.
fn ask(picker: &mut Picker, group: &Group, key: &str, ip: Option<&str>, now_ms: u64) -> String {
    let client = ip.map(|ip| ip.parse().unwrap());
    let mut tried = Tried::default();
    let mut seen = Vec::new();
    for _ in 0..group.tries() {
        let Ok(peer) = picker.pick(group, key.as_bytes(), client, &mut tried, now_ms) else {
            seen.push("none".to_owned());
            break;
        };
        let _guard = peer.connect_guard();
        seen.push(peer.name[peer.name.len() - 2..].to_owned());
        let is_closed = peer.name.contains(":1809");
        peer.report(if is_closed { Outcome::Failed } else { Outcome::Ok }, now_ms);
        if !is_closed {
            break;
        }
    }
    seen.join(",")
}

#[track_caller]
fn same(balance: Balance, servers: &[&str], asked: &[(&str, Option<&str>)], expected: &str) {
    let group = fixture::group(balance, servers);
    let mut picker = Picker::with_seed(1);
    let seen: Vec<String> =
        asked.iter().map(|(key, ip)| ask(&mut picker, &group, key, *ip, 1000)).collect();
    assert_eq!(seen.join(" "), expected);
}

#[track_caller]
fn same_times(balance: Balance, servers: &[&str], expected: &str) {
    let asked = vec![("", None); expected.split(' ').count()];
    same(balance, servers, &asked, expected);
}

#[track_caller]
fn same_keys(consistent: bool, servers: &[&str], expected: &str) {
    let keys = keys();
    let asked: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
    same(hash(consistent), servers, &asked, expected);
}

#[track_caller]
fn same_ips(servers: &[&str], expected: &str) {
    let asked: Vec<_> = IPS.iter().map(|ip| ("", Some(*ip))).collect();
    same(Balance::IpHash, servers, &asked, expected);
}

#[test]
fn round_robin_is_nginxs() {
    same_times(Balance::RoundRobin, FIVE, "81 82 83 84 85 81 82 83 84 85 81 82");
    let weighted = "81 83 81 81 82 81 83 81 81 83 81 81 82 81 83 81 81";
    same_times(Balance::RoundRobin, WEIGHTED, weighted);
    let dead = "83 81 83 99,83 83 83 81 83 83 83 81 83 83 83 81";
    same_times(Balance::RoundRobin, DEAD, dead);
}

#[test]
fn least_conn_among_idle_peers_is_nginxs() {
    same_times(Balance::LeastConn, FIVE, "81 82 83 84 85 81 82");
    same_times(Balance::LeastConn, WEIGHTED, "81 83 81 81 82 81 83 81 81 83");
}

#[test]
fn hash_is_nginxs() {
    let five =
        "83 85 81 82 81 82 83 83 83 81 83 81 84 83 84 82 81 85 81 82 82 81 81 84 83 81 81 85";
    same_keys(false, FIVE, five);
    let weighted =
        "81 83 83 81 81 81 81 82 81 82 83 81 81 83 81 82 81 81 81 81 81 82 81 81 83 81 81 82";
    same_keys(false, WEIGHTED, weighted);
    let dead =
        "83 83 81 99,83 81 83 83 83 83 81 83 81 83 83 83 83 81 83 81 83 81 81 81 83 83 83 81 83";
    same_keys(false, DEAD, dead);
}

#[test]
fn consistent_hash_lands_on_nginxs_peers() {
    let five =
        "81 81 82 84 82 85 83 82 85 84 81 85 85 81 82 81 85 81 84 83 85 81 81 84 82 81 82 83";
    same_keys(true, FIVE, five);
    let weighted =
        "81 81 82 81 81 81 83 82 81 81 81 81 83 81 82 81 82 81 81 81 81 81 81 83 83 81 81 83";
    same_keys(true, WEIGHTED, weighted);
    let dead =
        "83 81 83 83 99,81 83 83 83 83 83 81 83 83 81 83 81 83 81 83 83 81 81 81 83 83 83 83 83";
    same_keys(true, DEAD, dead);
    let named = ["localhost:18081", "127.0.0.1:18082 weight=2", "127.0.0.2:18083"];
    let names =
        "82 82 82 82 82 81 82 82 83 82 82 82 82 81 82 82 82 81 83 83 81 81 82 82 82 82 82 81";
    same_keys(true, &named, names);
}

#[test]
fn ip_hash_is_nginxs() {
    same_ips(FIVE, "81 81 82 81 84 82 83 81 81 82 84");
    same_ips(WEIGHTED, "82 82 83 81 83 83 81 81 81 81 81");
    same_ips(DEAD, "81 81 99,83 81 83 81 83 81 81 83 83");
}

#[test]
fn when_all_are_dead_there_is_no_peer_and_no_quick_recovery() {
    let all = ["127.0.0.1:18097", "127.0.0.1:18098"];
    same_times(Balance::RoundRobin, &all, "97,98 none none none");
    assert_eq!(NoPeer.to_string(), "no live upstreams while connecting to upstream");
}

#[test]
fn backups_take_over_when_no_primary_is_left() {
    let servers = ["127.0.0.1:18097", "127.0.0.1:18081 backup", "127.0.0.1:18082 backup"];
    same_times(Balance::RoundRobin, &servers, "97,81 82 81 82 81");
    same_times(Balance::LeastConn, &servers, "97,81 82 81 82 81");
}

#[test]
fn a_single_peer_is_never_taken_out_by_failures() {
    same_times(Balance::RoundRobin, &["127.0.0.1:18097"], "97 97 97 97");
    let group = fixture::group(Balance::RoundRobin, &["127.0.0.1:18081 down"]);
    assert_eq!(ask(&mut Picker::new(), &group, "", None, 0), "none");
}

#[test]
fn least_conn_prefers_the_idle_for_its_weight() {
    let group =
        fixture::group(Balance::LeastConn, &["127.0.0.1:18081 weight=2", "127.0.0.1:18082"]);
    let mut picker = Picker::new();
    let mut guards = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let peer = picker.pick(&group, b"", None, &mut Tried::default(), 0).unwrap();
        seen.push(peer.name[14..].to_owned());
        guards.push(peer.connect_guard());
    }
    assert_eq!(seen.join(" "), "1 2 1 2 1 1");
    let counts = group.peers.load().iter().map(|peer| peer.state.active()).collect::<Vec<_>>();
    assert_eq!(counts, [4, 2]);
    drop(guards);
    assert!(group.peers.load().iter().all(|peer| peer.state.active() == 0));
}

#[test]
fn random_draws_by_weight_and_two_takes_the_idler() {
    let group = fixture::group(Balance::Random { two: false }, WEIGHTED);
    let mut picker = Picker::with_seed(7);
    let mut counts = [0_u32; 3];
    for _ in 0..8000 {
        let seen = ask(&mut picker, &group, "", None, 0);
        counts[seen.parse::<usize>().unwrap() - 81] += 1;
    }
    let near = |count: u32, share: u32| count.abs_diff(share * 1000) < 150;
    assert!(near(counts[0], 5) && near(counts[1], 1) && near(counts[2], 2), "{counts:?}");

    let group = fixture::group(Balance::Random { two: true }, &FIVE[..2]);
    let busy = Arc::clone(group.peers.load().iter().next().unwrap());
    let _guard = busy.connect_guard();
    assert!((0..50).all(|_| ask(&mut picker, &group, "", None, 0) == "82"));
}

#[test]
fn a_full_peer_is_passed_over() {
    let servers = ["127.0.0.1:18081 max_conns=1", "127.0.0.1:18082"];
    let group = fixture::group(Balance::RoundRobin, &servers);
    let mut picker = Picker::new();
    let first = picker.pick(&group, b"", None, &mut Tried::default(), 0).unwrap();
    let guard = first.connect_guard();
    assert_eq!(first.standing(0), Standing::Full);
    assert_eq!(ask(&mut picker, &group, "", None, 0), "82");
    assert_eq!(ask(&mut picker, &group, "", None, 0), "82");
    drop(guard);
    let next = ask(&mut picker, &group, "", None, 0) + &ask(&mut picker, &group, "", None, 0);
    assert!(next.contains("81"), "{next}");
}

#[test]
fn a_request_tries_each_of_many_peers_once() {
    let servers: Vec<String> =
        (0..150).map(|port| format!("127.0.0.1:{}", 20_000 + port)).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    for balance in [Balance::RoundRobin, hash(false), hash(true), Balance::Random { two: true }] {
        let group = fixture::group(balance, &servers);
        let (mut picker, mut tried) = (Picker::new(), Tried::default());
        let mut seen = std::collections::HashSet::new();
        while let Ok(peer) = picker.pick(&group, b"key", None, &mut tried, 0) {
            assert!(seen.insert(Arc::clone(&peer.name)), "{} twice", peer.name);
        }
        assert_eq!(seen.len(), 150);
    }
}

#[test]
fn after_fail_timeout_one_request_probes_and_success_brings_the_peer_back() {
    let group = fixture::group(Balance::RoundRobin, &FIVE[..2]);
    let mut workers = [Picker::new(), Picker::new(), Picker::new()];
    let bad = Arc::clone(group.peers.load().iter().next().unwrap());
    assert!(bad.report(Outcome::Failed, 1000));
    assert_eq!(bad.standing(11_000), Standing::Unavailable);
    assert!((0..6).all(|_| ask(&mut workers[0], &group, "", None, 11_000) == "82"));

    let pick = |picker: &mut Picker| {
        picker.pick(&group, b"", None, &mut Tried::default(), 11_001).unwrap()
    };
    let probes: Vec<_> = (0..12).map(|turn| pick(&mut workers[turn % 3])).collect();
    let probes = probes.iter().filter(|peer| peer.name == bad.name).count();
    assert_eq!(probes, 1);
    assert!(!bad.report(Outcome::Ok, 11_050));
    assert_eq!(bad.standing(11_051), Standing::Up);
    assert_eq!(bad.state.fails(), 0);
}

#[test]
fn a_peer_set_down_leaves_at_once_and_returns() {
    let registry = Registry::new();
    let upstream = fixture::upstream("x", Balance::RoundRobin, &FIVE[..2]);
    let groups = fixture::load(&registry, &[upstream]);
    let group = groups.get("x").unwrap();
    let mut picker = Picker::new();
    assert!(registry.set_down("x", "127.0.0.1:18081", true));
    assert!((0..4).all(|_| ask(&mut picker, group, "", None, 0) == "82"));
    assert!(registry.set_down("x", "127.0.0.1:18081", false));
    assert!((0..4).any(|_| ask(&mut picker, group, "", None, 0) == "81"));
    assert!(!registry.set_down("x", "127.0.0.1:1", true));
    assert!(!registry.set_down("y", "127.0.0.1:18081", true));
}

#[test]
fn a_reload_keeps_the_rotation_and_what_is_down() {
    let registry = Registry::new();
    let load = |servers: &[&str]| {
        let upstream = fixture::upstream("x", Balance::RoundRobin, servers);
        Arc::clone(fixture::load(&registry, &[upstream]).get("x").unwrap())
    };
    let mut picker = Picker::new();
    let mut group = load(WEIGHTED);
    let mut seen = Vec::new();
    for _ in 0..17 {
        seen.push(ask(&mut picker, &group, "", None, 0));
        group = load(WEIGHTED);
    }
    assert_eq!(seen.join(" "), "81 83 81 81 82 81 83 81 81 83 81 81 82 81 83 81 81");

    let failed = group.peers.load().iter().next().unwrap().clone();
    failed.report(Outcome::Failed, 5);
    registry.set_down("x", "127.0.0.1:18082", true);
    group = load(&["127.0.0.1:18085", "127.0.0.1:18082", "127.0.0.1:18081 weight=5"]);
    assert!((0..9).all(|_| ask(&mut picker, &group, "", None, 6) == "85"));
    drop(failed);

    // An upstream that was away has no past.
    drop(group);
    fixture::load(&registry, &[]);
    let group = load(WEIGHTED);
    assert!((0..8).any(|_| ask(&mut picker, &group, "", None, 6) == "82"));
}

#[test]
fn a_group_of_one_request_keeps_nothing() {
    let addresses = ["127.0.0.1:18081", "127.0.0.1:18082"];
    let addresses = addresses.map(|it| crate::upstream::PeerAddr::Tcp(it.parse().unwrap()));
    let mut picker = Picker::new();
    for _ in 0..3 {
        let group = Group::transient("backend.example", &addresses);
        assert_eq!(group.tries(), 2);
        let mut tried = Tried::default();
        let mut pick = || picker.pick(&group, b"", None, &mut tried, 0).map(|it| it.name.clone());
        assert_eq!(pick().unwrap().as_ref(), "127.0.0.1:18081");
        assert_eq!(pick().unwrap().as_ref(), "127.0.0.1:18082");
        assert_eq!(pick(), Err(NoPeer));
    }
    assert!(picker.rotations.is_empty());
}

#[test]
fn reports_from_many_threads_are_all_counted() {
    let servers = ["127.0.0.1:18081 max_fails=1000000 weight=50", "127.0.0.1:18082"];
    let group = fixture::group(Balance::RoundRobin, &servers);
    let peer = Arc::clone(group.peers.load().iter().next().unwrap());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (peer, group) = (&peer, &group);
            scope.spawn(move || {
                let mut picker = Picker::with_seed(worker);
                for now in 0..5000 {
                    let picked = picker.pick(group, b"", None, &mut Tried::default(), now);
                    let _guard = picked.unwrap().connect_guard();
                    peer.report(Outcome::Failed, now);
                }
            });
        }
    });
    assert_eq!(peer.state.fails(), 20_000);
    assert_eq!(peer.state.totals(), (20_000, 20_000));
    assert!(group.peers.load().iter().all(|peer| peer.state.active() == 0));
}

proptest! {
    #[test]
    fn round_robin_serves_exactly_by_weight(weights in prop::collection::vec(1_u32..40, 1..9)) {
        let lines: Vec<String> = weights.iter().enumerate()
            .map(|(index, weight)| format!("127.0.0.1:{} weight={weight}", 30_000 + index))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let group = fixture::group(Balance::RoundRobin, &lines);
        let mut picker = Picker::new();
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..weights.iter().sum::<u32>() * 2 {
            let peer = picker.pick(&group, b"", None, &mut Tried::default(), 0).unwrap();
            counts[peer.name[10..].parse::<usize>().unwrap() - 30_000] += 1;
        }
        let expected: Vec<u32> = weights.iter().map(|weight| weight * 2).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn a_new_peer_on_the_ring_only_takes_keys(key in "[a-z]{1,12}") {
        let chosen = |servers: &[&str]| {
            let group = fixture::group(hash(true), servers);
            ask(&mut Picker::new(), &group, &key, None, 0)
        };
        let (before, after) = (chosen(&FIVE[..4]), chosen(FIVE));
        prop_assert!(before == after || after == "85", "{key}: {before} to {after}");
    }
}
