//! The names of upstreams: resolved when a configuration is loaded, and again when their TTL ends.

use super::group::Group;
use super::peer::PeerAddr;
use super::registry::{Addresses, Registry, unresolved};
use crate::clock;
use crate::log;
use crate::log::Level;
use crate::resolver::{Answer, Error, Resolver};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Names asked for at the same time.
const MAX_QUERIES: usize = 16;
/// How soon a name that could not be resolved is tried again, milliseconds.
const RETRY_MS: u64 = 5000;
/// The shortest and the longest time between two rounds, milliseconds.
const ROUND_MS: (u64, u64) = (1000, 86_400_000);

/// Resolves `names` for [`Registry::build`]. A name without an address is left out: `build` makes
/// it a fault with its place.
pub async fn resolve(resolver: &Arc<Resolver>, names: BTreeSet<String>) -> Addresses {
    let answers = ask_all(resolver, names).await;
    let found = answers.into_iter().filter_map(|(name, answer)| Some((name, answer.ok()?)));
    found.map(|(name, answer)| (name, answer.addresses)).collect()
}

/// Keeps the addresses of the groups in force up to date until `shutdown` says true. A name that
/// cannot be resolved keeps the addresses that it has; that is logged once.
pub async fn run(
    registry: Arc<Registry>,
    resolver: Arc<ArcSwap<Resolver>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut changes = registry.watch();
    let mut lost = BTreeSet::new();
    loop {
        let _ = *changes.borrow_and_update();
        let resolver = resolver.load_full();
        let wait_ms = tokio::select! {
            wait_ms = round(&registry, &resolver, &mut lost) => wait_ms,
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            changed = changes.changed() => if changed.is_err() { return },
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
    }
}

/// Asks for all names once, swaps what differs, and says in how many milliseconds to come back.
async fn round(registry: &Registry, resolver: &Arc<Resolver>, lost: &mut BTreeSet<String>) -> u64 {
    let groups = registry.current();
    let names: BTreeSet<String> = groups.iter().flat_map(|group| names_of(group)).collect();
    lost.retain(|name| names.contains(name));
    let answers = ask_all(resolver, names).await;
    let now_ms = clock::monotonic().as_ms();
    let mut wait_ms = ROUND_MS.1;
    for (name, answer) in &answers {
        let next_ms = match answer {
            Ok(answer) => {
                lost.remove(name);
                answer.until_ms.saturating_sub(now_ms)
            }
            Err(error) => {
                if lost.insert(name.clone()) {
                    let text = format_args!("{error}; its last addresses stay in use");
                    log::main_log().say(Level::Warn, text);
                }
                RETRY_MS
            }
        };
        wait_ms = wait_ms.min(next_ms);
    }
    for group in groups.iter() {
        let names = names_of(group);
        if names.is_empty() {
            continue;
        }
        let addresses = names.into_iter().map(|name| {
            let found = answers.get(&name).and_then(|it| it.as_ref().ok());
            let addresses = match found {
                Some(answer) => Arc::clone(&answer.addresses),
                None => addresses_now(group, &name),
            };
            (name, addresses)
        });
        if registry.readdress(group, &addresses.collect()) {
            let text = format_args!("upstream \"{}\" has new addresses", group.name);
            log::main_log().say(Level::Notice, text);
        }
    }
    wait_ms.clamp(ROUND_MS.0, ROUND_MS.1)
}

fn names_of(group: &Group) -> BTreeSet<String> {
    group.upstream.peers.iter().filter_map(|peer| unresolved(&peer.address)).collect()
}

/// The addresses that `group` uses for `host`.
fn addresses_now(group: &Group, host: &str) -> Arc<[IpAddr]> {
    let set = group.peers.load();
    let of_host =
        set.iter().filter(|peer| peer.name.rsplit_once(':').is_some_and(|(name, _)| name == host));
    let ips = of_host.filter_map(|peer| match &peer.address {
        PeerAddr::Tcp(address) => Some(address.ip()),
        PeerAddr::Unix(_) => None,
    });
    ips.collect()
}

type Answers = BTreeMap<String, Result<Answer, Error>>;

async fn ask_all(resolver: &Arc<Resolver>, names: BTreeSet<String>) -> Answers {
    let mut answers = Answers::new();
    let mut queries = JoinSet::new();
    for name in names {
        if queries.len() >= MAX_QUERIES
            && let Some(Ok((name, answer))) = queries.join_next().await
        {
            answers.insert(name, answer);
        }
        let resolver = Arc::clone(resolver);
        queries.spawn(async move {
            let answer = resolver.answer(&name).await;
            (name, answer)
        });
    }
    while let Some(joined) = queries.join_next().await {
        if let Ok((name, answer)) = joined {
            answers.insert(name, answer);
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::{At, Diagnostics};
    use crate::config::model::Balance;
    use crate::resolver::fake;
    use crate::upstream::{Groups, Picker, Tried, fixture, registry};

    fn peers(group: &Group) -> String {
        let set = group.peers.load();
        let addresses: Vec<_> = set.iter().map(|peer| peer.address_text.to_string()).collect();
        addresses.join(" ")
    }

    async fn load(server: &fake::Server, registry: &Registry, line: &str) -> (Groups, String) {
        let mut upstream = fixture::upstream("x", Balance::RoundRobin, &[line, "127.0.0.1:81"]);
        upstream.peers[0].at = At::new("nginx.conf", 12);
        let upstreams = [upstream];
        let resolver = Arc::new(fake::resolver(server, None, 5000));
        let addresses = resolve(&resolver, registry::names(&upstreams, &[])).await;
        let mut diagnostics = Diagnostics::default();
        let groups = registry.build(&upstreams, &[], &addresses, &mut diagnostics);
        (groups, diagnostics.to_string())
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_at_load_is_a_fault_at_its_line() {
        let server = fake::server(300).await;
        let (groups, faults) = load(&server, &Registry::new(), "code-3.example:80").await;
        let expected = "nginx.conf:12: host not found in upstream \"code-3.example\"\n";
        assert_eq!(faults, expected);
        assert!(groups.get("x").is_none());
    }

    #[tokio::test]
    async fn new_addresses_are_swapped_in_and_what_stays_keeps_its_state() {
        let server = fake::server(300).await;
        let registry = Registry::new();
        let (groups, faults) = load(&server, &registry, "grow.example:80").await;
        assert_eq!(faults, "");
        let groups = Arc::new(groups);
        registry.commit(Arc::clone(&groups));
        let group = groups.get("X").unwrap();
        assert_eq!(peers(group), "10.0.0.1:80 127.0.0.1:81");
        assert!(registry.set_down("x", "10.0.0.1:80", true));

        let lost = &mut BTreeSet::new();
        let anew = || Arc::new(fake::resolver(&server, None, 5000));
        let wait_ms = round(&registry, &anew(), lost).await;
        assert!((290_000..=300_000).contains(&wait_ms), "{wait_ms}");
        assert_eq!(peers(group), "10.0.0.1:80 10.0.0.2:80 127.0.0.1:81");
        let mut picker = Picker::new();
        let mut pick = || picker.pick(group, b"", None, &mut Tried::default(), 0).unwrap();
        let picked: Vec<_> = (0..4).map(|_| pick().address_text.to_string()).collect();
        assert_eq!(picked.join(" "), "10.0.0.2:80 127.0.0.1:81 10.0.0.2:80 127.0.0.1:81");
    }

    #[tokio::test]
    async fn a_name_that_is_lost_keeps_its_addresses() {
        let server = fake::server(300).await;
        let registry = Registry::new();
        let (groups, _) = load(&server, &registry, "turn-2.example:80").await;
        let groups = Arc::new(groups);
        registry.commit(Arc::clone(&groups));
        let lost = &mut BTreeSet::new();
        let anew = Arc::new(fake::resolver(&server, None, 5000));
        assert_eq!(round(&registry, &anew, lost).await, RETRY_MS);
        assert!(lost.contains("turn-2.example"));
        assert_eq!(peers(groups.get("x").unwrap()), "10.0.0.9:80 127.0.0.1:81");
    }

    #[tokio::test]
    async fn the_task_follows_reloads_and_ends_when_told() {
        let server = fake::server(300).await;
        let registry = Arc::new(Registry::new());
        let resolver = Arc::new(ArcSwap::from_pointee(fake::resolver(&server, None, 5000)));
        let (over, shutdown) = watch::channel(false);
        let task = tokio::spawn(run(Arc::clone(&registry), resolver, shutdown));
        let (groups, _) = load(&server, &registry, "grow.example:80").await;
        let mut changes = registry.watch();
        registry.commit(Arc::new(groups));
        changes.changed().await.unwrap();
        // The second change is the task's: it asked again and the answer has grown.
        changes.changed().await.unwrap();
        let groups = registry.current();
        let expected = "10.0.0.1:80 10.0.0.2:80 127.0.0.1:81";
        assert_eq!(peers(groups.get("x").unwrap()), expected);
        over.send(true).unwrap();
        task.await.unwrap();
    }
}
