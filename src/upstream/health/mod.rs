//! Active health checks: one probing task a peer and check, all run from one place a process.
//!
//! [`run`] follows the registry: a reload starts the probes of new peers and stops those of peers
//! that are gone; a check that did not change keeps its state and its rhythm. Probes begin at once,
//! not with the first request.

mod grpc;
mod http;
mod stream;
#[cfg(test)]
mod tests;

use super::check::{Check, Transition};
use super::peer::{Peer, PeerAddr};
use super::registry::Registry;
use crate::clock;
use crate::config::model::HealthKind;
use crate::log::Level;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::task::JoinSet;

/// Probes under way at the same time, the whole process.
const MAX_PROBES: usize = 64;

/// The shortest time between two probes of one peer, milliseconds.
const MIN_INTERVAL_MS: u64 = 1;

/// One peer under one check.
#[derive(Clone)]
struct Job {
    upstream: Arc<str>,
    peer: Arc<Peer>,
    check: Arc<Check>,
    slots: Arc<Semaphore>,
}

/// Probes the peers of the groups in force until `shutdown` says true. Runs on any tokio runtime
/// with I/O and time; nothing in it blocks.
pub async fn run(registry: Arc<Registry>, mut shutdown: watch::Receiver<bool>) {
    let mut changes = registry.watch();
    let slots = Arc::new(Semaphore::new(MAX_PROBES));
    let mut tasks = JoinSet::new();
    let mut running: HashMap<(u64, u64), AbortHandle> = HashMap::new();
    loop {
        let _ = *changes.borrow_and_update();
        let wanted = jobs(&registry, &slots);
        running.retain(|key, task| {
            let stays = wanted.contains_key(key);
            if !stays {
                task.abort();
            }
            stays && !task.is_finished()
        });
        for (key, job) in wanted {
            running.entry(key).or_insert_with(|| tasks.spawn(job.repeat()));
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
    }
}

fn jobs(registry: &Registry, slots: &Arc<Semaphore>) -> HashMap<(u64, u64), Job> {
    let mut jobs = HashMap::new();
    for group in registry.current().iter() {
        let set = group.peers.load();
        for peer in set.iter().filter(|peer| !peer.down) {
            for check in &group.checks {
                let job = Job {
                    upstream: Arc::clone(&group.name),
                    peer: Arc::clone(peer),
                    check: Arc::clone(check),
                    slots: Arc::clone(slots),
                };
                jobs.insert((peer.state.uid, check.job_key()), job);
            }
        }
    }
    jobs
}

impl Job {
    /// Probes at the check's interval, for ever.
    async fn repeat(self) {
        let settings = &self.check.settings;
        wait(rand::random_range(0..=settings.jitter_ms)).await;
        loop {
            let started = clock::monotonic();
            self.probe_once().await;
            let jitter = rand::random_range(0..=settings.jitter_ms);
            let interval = settings.interval_ms.max(MIN_INTERVAL_MS).saturating_add(jitter);
            wait(interval.saturating_sub(clock::monotonic().ms_since(started)).max(1)).await;
        }
    }

    /// One probe and what follows from it.
    async fn probe_once(&self) {
        let Ok(_slot) = self.slots.acquire().await else { return };
        let started = clock::monotonic();
        let timeout_ms = self.check.settings.timeout_ms;
        let limit = Duration::from_millis(timeout_ms);
        let result = tokio::time::timeout(limit, self.ask())
            .await
            .unwrap_or_else(|_| Err(format!("no verdict within {timeout_ms} ms")));
        let now = clock::monotonic();
        if let Some(transition) = self.settle(result, now.as_ms(), now.ms_since(started)) {
            self.tell(&transition);
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let address = target(&self.peer.address, self.check.settings.port);
        let host = &self.upstream;
        match &self.check.settings.kind {
            HealthKind::Tcp => stream::connect(&address).await.map(drop),
            HealthKind::Http { uri, headers, .. } => {
                let stream = self.connect(&address).await?;
                http::probe(stream, host, uri, headers, &self.check.expect).await
            }
            HealthKind::Grpc { service, status, headers } => {
                let stream = self.connect(&address).await?;
                let scheme = if self.check.tls.get().is_some() { "https" } else { "http" };
                grpc::probe(stream, (scheme, host), service, *status, headers).await
            }
        }
    }

    async fn connect(&self, address: &PeerAddr) -> Result<Box<dyn stream::Io>, String> {
        let stream = stream::connect(address).await?;
        match self.check.tls.get() {
            Some(tls) => stream::secure(stream, &self.peer.address_text, tls).await,
            None => Ok(Box::new(stream)),
        }
    }

    /// Takes the result into the peer's state; a peer that is no longer checked so is left alone.
    fn settle(&self, result: Result<(), String>, now_ms: u64, took_ms: u64) -> Option<Transition> {
        let mut states = self.peer.state.checks.lock();
        let state = states.iter_mut().find(|state| state.key == self.check.key)?;
        let transition = state.step(result, self.check.thresholds(), now_ms, took_ms);
        self.peer.state.set_unhealthy(states.iter().any(|state| !state.is_healthy()));
        transition
    }

    fn tell(&self, transition: &Transition) {
        let (peer, upstream) = (&self.peer.address_text, &self.upstream);
        let log = crate::log::main_log();
        match transition {
            Transition::Healthy => log.say(
                Level::Notice,
                format_args!("peer {peer} in upstream \"{upstream}\" is healthy"),
            ),
            Transition::Unhealthy { error, failed, fails } => log.say(
                Level::Error,
                format_args!(
                    "peer {peer} in upstream \"{upstream}\" is unhealthy: {error}, \
                     {failed} of {fails}"
                ),
            ),
        }
    }
}

/// Where a peer is probed: its address, or another port of it.
fn target(address: &PeerAddr, port: Option<u16>) -> PeerAddr {
    match (address, port) {
        (PeerAddr::Tcp(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port);
            PeerAddr::Tcp(address)
        }
        _ => address.clone(),
    }
}

async fn wait(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
