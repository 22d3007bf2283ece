//! Live state by name, outside any snapshot: a reload keeps what is known of the peers that stay.

use super::check::Check;
use super::group::{Algorithm, Group, Identity, PeerSet};
use super::peer::{Peer, PeerAddr, PeerState};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model;
use crate::config::model::PeerAddress;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// Names and what they resolve to; literal addresses need no entry.
pub type Addresses = HashMap<String, Arc<[IpAddr]>>;

/// The most that the weights of a `hash … consistent` may sum to: 160 points each.
const MAX_RING_WEIGHT: u64 = 65_536;

/// A `proxy_pass` to an address that no `upstream` block names.
#[derive(Clone, Debug)]
pub struct Implicit {
    /// Where the `proxy_pass` is written.
    pub at: At,
    /// The group's name: `HOST` or `HOST:PORT` as the URL has it, `unix:PATH`.
    pub name: String,
    /// Where it goes.
    pub address: PeerAddress,
}

/// The groups of one snapshot by name.
#[derive(Debug, Default)]
pub struct Groups {
    by_name: HashMap<String, Arc<Group>>,
}

impl Groups {
    /// The group called `name`, in any letter case.
    pub fn get(&self, name: &str) -> Option<&Arc<Group>> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_ascii_lowercase()))
    }

    /// All groups, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.by_name.values()
    }
}

/// Which peer it is, over reloads.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PeerKey {
    group: u64,
    name: Arc<str>,
    address: PeerAddr,
    /// Which of several equal lines.
    nth: usize,
}

#[derive(Debug, Default)]
struct Known {
    groups: HashMap<String, Weak<Identity>>,
    peers: HashMap<PeerKey, Weak<PeerState>>,
}

/// The state of all upstreams of the process.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<Known>,
    current: ArcSwap<Groups>,
    generation: watch::Sender<u64>,
    /// (upstream, peer) pairs that the metrics show.
    pub(super) shown: Mutex<BTreeSet<(String, String)>>,
}

impl Default for Registry {
    fn default() -> Self {
        let (generation, _) = watch::channel(0);
        let (known, shown) = (Mutex::default(), Mutex::default());
        Self { known, current: ArcSwap::default(), generation, shown }
    }
}

impl Registry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the groups of a snapshot, sharing the state of peers already known by name and
    /// address. Nothing changes for the snapshot in force until [`Registry::commit`]. Faults go to
    /// `diagnostics`; a group with a fault is left out.
    pub fn build(
        &self,
        upstreams: &[model::Upstream],
        implicit: &[Implicit],
        addresses: &Addresses,
        diagnostics: &mut Diagnostics,
    ) -> Groups {
        let mut groups = Groups::default();
        for upstream in upstreams {
            if check(upstream, diagnostics) {
                self.add(&mut groups, upstream.clone(), true, addresses, diagnostics);
            }
        }
        for it in implicit {
            if groups.get(&it.name).is_some() {
                continue;
            }
            let peer = model::Peer::new(it.at.clone(), it.address.clone());
            let upstream = model::Upstream::new(Default::default(), &it.name, vec![peer]);
            self.add(&mut groups, upstream, false, addresses, diagnostics);
        }
        groups
    }

    fn add(
        &self,
        groups: &mut Groups,
        upstream: model::Upstream,
        explicit: bool,
        addresses: &Addresses,
        diagnostics: &mut Diagnostics,
    ) {
        let key = upstream.name.to_ascii_lowercase();
        let identity = self.known.lock().identity(&key);
        if let Some(set) = self.peer_set(&upstream, &identity, addresses, diagnostics) {
            let checks = upstream.health_checks.iter();
            let checks = checks.map(|it| Arc::new(Check::new(it, diagnostics))).collect();
            let group = Group::new(upstream, explicit, identity, set, checks);
            groups.by_name.insert(key, Arc::new(group));
        }
    }

    /// The peers that `upstream` means with names resolved to `addresses`; none on a fault.
    fn peer_set(
        &self,
        upstream: &model::Upstream,
        identity: &Identity,
        addresses: &Addresses,
        diagnostics: &mut Diagnostics,
    ) -> Option<PeerSet> {
        let mut found = Vec::new();
        let mut whole = true;
        for peer in &upstream.peers {
            let Some(places) = places_of(&peer.address, addresses) else {
                let PeerAddress::Host { host, .. } = &peer.address else { continue };
                diagnostics.fault(&peer.at, format!("host not found in upstream \"{host}\""));
                whole = false;
                continue;
            };
            let name = name_of(&peer.address);
            found.extend(places.into_iter().map(|place| (peer, Arc::clone(&name), place)));
        }
        if !whole {
            return None;
        }
        let single = found.len() == 1;
        let mut known = self.known.lock();
        let mut seen: HashMap<(Arc<str>, PeerAddr), usize> = HashMap::new();
        let peers = found.into_iter().map(|(peer, name, address)| {
            let count = seen.entry((Arc::clone(&name), address.clone())).or_default();
            let nth = std::mem::replace(count, *count + 1);
            let group = identity.id;
            let key = PeerKey { group, name: Arc::clone(&name), address: address.clone(), nth };
            let state = known.peer(key);
            Arc::new(Peer {
                name,
                address_text: Arc::from(address.to_string()),
                address,
                weight: peer.weight.max(1),
                max_fails: if single { 0 } else { peer.max_fails },
                fail_timeout_ms: peer.fail_timeout_ms,
                max_conns: peer.max_conns,
                backup: peer.backup,
                down: peer.down,
                state,
                queue: upstream.queue.map(|_| Arc::clone(&identity.queue)),
            })
        });
        Some(PeerSet::new(peers.collect(), Algorithm::of(&upstream.balance)))
    }

    /// Puts `groups` in force: status, probes and name refresh follow them from now on. State that
    /// no snapshot uses any more is forgotten.
    pub fn commit(&self, groups: Arc<Groups>) {
        for group in groups.iter() {
            group.arrange_checks();
        }
        self.current.store(groups);
        self.known.lock().forget_unused();
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// The groups in force.
    pub fn current(&self) -> Arc<Groups> {
        self.current.load_full()
    }

    /// Tells of each commit and each change of addresses.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Gives `group` the addresses that its names have now; true when they differ from before. A
    /// name that is missing from `addresses` changes nothing.
    pub fn readdress(&self, group: &Group, addresses: &Addresses) -> bool {
        let unheard = &mut Diagnostics::default();
        let Some(set) = self.peer_set(&group.upstream, &group.identity, addresses, unheard) else {
            return false;
        };
        let old = group.peers.load();
        let is_same = set.iter().map(|it| it.state.uid).eq(old.iter().map(|it| it.state.uid));
        if is_same {
            return false;
        }
        group.peers.store(Arc::new(set));
        group.arrange_checks();
        drop(old);
        self.known.lock().forget_unused();
        self.generation.send_modify(|generation| *generation += 1);
        true
    }

    /// Takes a peer of the groups in force out of rotation, or back in; false when no peer of
    /// `upstream` has that name or address.
    pub fn set_down(&self, upstream: &str, peer: &str, down: bool) -> bool {
        let groups = self.current.load();
        let Some(group) = groups.get(upstream) else { return false };
        let set = group.peers.load();
        let mut found = false;
        for it in set.iter().filter(|it| *it.name == *peer || *it.address_text == *peer) {
            it.state.set_down(down);
            found = true;
        }
        found
    }
}

impl Known {
    fn forget_unused(&mut self) {
        self.groups.retain(|_, identity| identity.strong_count() > 0);
        self.peers.retain(|_, state| state.strong_count() > 0);
    }

    fn identity(&mut self, name: &str) -> Arc<Identity> {
        if let Some(identity) = self.groups.get(name).and_then(Weak::upgrade) {
            return identity;
        }
        let identity = Identity::new();
        self.groups.insert(name.to_owned(), Arc::downgrade(&identity));
        identity
    }

    fn peer(&mut self, key: PeerKey) -> Arc<PeerState> {
        if let Some(state) = self.peers.get(&key).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::new(PeerState::new());
        self.peers.insert(key, Arc::downgrade(&state));
        state
    }
}

/// The names that must be resolved before [`Registry::build`], sorted.
pub fn names(upstreams: &[model::Upstream], implicit: &[Implicit]) -> BTreeSet<String> {
    let written = upstreams.iter().flat_map(|it| &it.peers).map(|peer| &peer.address);
    written.chain(implicit.iter().map(|it| &it.address)).filter_map(unresolved).collect()
}

/// The host of `address` when it is a name.
pub(super) fn unresolved(address: &PeerAddress) -> Option<String> {
    match address {
        PeerAddress::Host { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
        _ => None,
    }
}

fn places_of(address: &PeerAddress, addresses: &Addresses) -> Option<Vec<PeerAddr>> {
    let (host, port) = match address {
        PeerAddress::Unix(path) => return Some(vec![PeerAddr::Unix(path.into())]),
        PeerAddress::Host { host, port } => (host, *port),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(vec![PeerAddr::Tcp(SocketAddr::new(ip, port))]);
    }
    let ips = addresses.get(host).filter(|ips| !ips.is_empty())?;
    let mut ips: Vec<IpAddr> = ips.to_vec();
    ips.sort_unstable();
    ips.dedup();
    Some(ips.into_iter().map(|ip| PeerAddr::Tcp(SocketAddr::new(ip, port))).collect())
}

fn name_of(address: &PeerAddress) -> Arc<str> {
    match address {
        PeerAddress::Unix(path) => Arc::from(format!("unix:{path}")),
        PeerAddress::Host { host, port } if host.contains(':') => {
            Arc::from(format!("[{host}]:{port}"))
        }
        PeerAddress::Host { host, port } => Arc::from(format!("{host}:{port}")),
    }
}

/// Says what nginx refuses in an `upstream` block as a whole; true when there is nothing.
fn check(upstream: &model::Upstream, diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.0.len();
    if upstream.peers.iter().all(|peer| peer.backup) {
        let message = if upstream.peers.is_empty() {
            "no servers are inside upstream".to_owned()
        } else {
            format!("no servers in upstream \"{}\"", upstream.name)
        };
        diagnostics.fault(&upstream.at, message);
    }
    let algorithm = Algorithm::of(&upstream.balance);
    if !algorithm.allows_backup() {
        for peer in upstream.peers.iter().filter(|peer| peer.backup) {
            let message = "balancing method does not support parameter \"backup\"";
            diagnostics.fault(&peer.at, message);
        }
    }
    let weight: u64 = upstream.peers.iter().map(|peer| u64::from(peer.weight)).sum();
    if algorithm == Algorithm::Consistent && weight > MAX_RING_WEIGHT {
        let message = format!(
            "the weights of upstream \"{}\" sum to {weight}, consistent hashing takes at most \
             {MAX_RING_WEIGHT}",
            upstream.name
        );
        diagnostics.fault(&upstream.at, message);
    }
    diagnostics.0.len() == before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Balance;
    use crate::upstream::fixture::upstream;

    fn faults(upstream: model::Upstream) -> String {
        let mut diagnostics = Diagnostics::default();
        Registry::new().build(&[upstream], &[], &Addresses::new(), &mut diagnostics);
        diagnostics.to_string().replace(":0: ", "")
    }

    #[test]
    fn what_nginx_refuses_is_a_fault_in_its_words() {
        let rr = Balance::RoundRobin;
        assert_eq!(faults(upstream("x", rr.clone(), &[])), "no servers are inside upstream\n");
        let backups = upstream("x", rr.clone(), &["127.0.0.1:80 backup"]);
        assert_eq!(faults(backups), "no servers in upstream \"x\"\n");
        let hashed = upstream("x", Balance::IpHash, &["127.0.0.1:80", "127.0.0.1:81 backup"]);
        assert_eq!(faults(hashed), "balancing method does not support parameter \"backup\"\n");
        let ring = Balance::Hash { key: "k".into(), consistent: true };
        let heavy = faults(upstream("x", ring, &["127.0.0.1:80 weight=65537"]));
        assert!(heavy.contains("sum to 65537"), "{heavy}");
        let named = faults(upstream("x", rr, &["a.example:80", "b.example:80"]));
        assert_eq!(named.lines().count(), 2);
    }

    #[test]
    fn a_proxy_pass_to_an_address_has_a_group_unless_a_block_has_its_name() {
        let at = At::default();
        let to = |name: &str, host: &str| Implicit {
            at: at.clone(),
            name: name.to_owned(),
            address: PeerAddress::Host { host: host.to_owned(), port: 8080 },
        };
        let implicit =
            [to("127.0.0.1:8080", "127.0.0.1"), to("x", "x"), to("d.example:8080", "d.example")];
        let upstreams = [upstream("x", Balance::RoundRobin, &["127.0.0.1:80"])];
        let wanted: Vec<_> = names(&upstreams, &implicit).into_iter().collect();
        assert_eq!(wanted, ["d.example", "x"]);

        let two: Arc<[IpAddr]> = Arc::new(["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        let addresses = Addresses::from([("d.example".to_owned(), two)]);
        let mut diagnostics = Diagnostics::default();
        let groups = Registry::new().build(&upstreams, &implicit, &addresses, &mut diagnostics);
        assert_eq!(diagnostics.to_string(), "");
        let single = groups.get("127.0.0.1:8080").unwrap();
        assert_eq!((single.explicit, single.tries()), (false, 1));
        assert_eq!(single.peers.load().iter().next().unwrap().max_fails, 0);
        let double = groups.get("D.Example:8080").unwrap();
        let shown: Vec<_> = double.peers.load().iter().map(|it| it.address_text.clone()).collect();
        assert_eq!(shown.join(" "), "127.0.0.1:8080 [::1]:8080");
        assert!(double.peers.load().iter().all(|it| it.max_fails == 1));
        assert!(groups.get("x").unwrap().explicit);
        assert_eq!(groups.iter().count(), 3);
    }
}
