//! What others may know of the process: the admin listener's door to control.

use super::candidate::Candidate;
use crate::clock;
use crate::clock::Tick;
use crate::config::diagnostic::{Diagnostics, Severity};
use crate::log::ring;
use crate::metrics;
use crate::proxy::scrape;
use crate::rollout;
use crate::snapshot::Snapshot;
use crate::upstream::Registry;
use crate::upstream::status::GroupStatus;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;

/// A look at the process; cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    started: Tick,
    registry: Arc<Registry>,
    rollouts: Arc<rollout::Registry>,
    known: Mutex<Known>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

#[derive(Default)]
struct Known {
    workers: usize,
    listeners: Vec<String>,
    draining: bool,
    last_reload: Option<LastReload>,
}

/// What came of the last reload, or of the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastReload {
    /// Whether its configuration serves.
    pub success: bool,
    /// When, in local time with its offset.
    pub at: String,
    /// Faults, warnings and notices, each `file:line: message`.
    pub diagnostics: Vec<Said>,
}

/// One diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `fault`, `warning` or `notice`.
    pub severity: &'static str,
    /// `file:line: message`.
    pub text: String,
}

/// The process as `/status` shows it.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Moongate's version.
    pub version: &'static str,
    /// The process id.
    pub pid: u32,
    /// The number of the configuration that serves.
    pub generation: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Worker threads that serve.
    pub workers: usize,
    /// Whether the process is on its way out.
    pub draining: bool,
    /// Addresses listened on.
    pub listeners: Vec<String>,
    /// Open client connections.
    pub connections: i64,
    /// Requests under way.
    pub requests: i64,
    /// Groups of peers and their health.
    pub upstreams: Vec<GroupStatus>,
    /// Rollouts and where they stand.
    pub rollouts: Vec<rollout::status::Status>,
    /// What came of the last reload.
    pub last_reload: Option<LastReload>,
    /// The last lines of level `warn` or graver.
    pub recent_errors: Vec<String>,
}

impl Handle {
    /// A handle for a process that is going to serve `candidate`.
    pub fn of(candidate: &Candidate) -> Self {
        let registry = Arc::clone(&candidate.registry);
        let (known, rollouts) = (Mutex::default(), Arc::clone(&candidate.rollouts));
        let snapshot = watch::Sender::new(Arc::clone(&candidate.snapshot));
        let started = clock::monotonic();
        Self(Arc::new(Shared { started, registry, rollouts, known, snapshot }))
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let now = clock::monotonic();
        let known = self.0.known.lock();
        let metrics = metrics::catalog();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            generation: self.0.snapshot.borrow().generation,
            uptime_seconds: now.ms_since(self.0.started) / 1000,
            workers: known.workers,
            draining: known.draining,
            listeners: known.listeners.clone(),
            connections: metrics.connections_active.get(),
            requests: metrics.requests_in_flight.get(),
            upstreams: self.0.registry.status(now.as_ms()),
            rollouts: self.0.rollouts.live().iter().map(|it| (*it.status()).clone()).collect(),
            last_reload: known.last_reload.clone(),
            recent_errors: ring::recent(),
        }
    }

    /// The rollouts.
    pub fn rollouts(&self) -> &rollout::Registry {
        &self.0.rollouts
    }

    /// All metrics in Prometheus's text format.
    pub fn metrics(&self) -> String {
        scrape(&self.0.registry)
    }

    /// The configuration that serves, and each that follows.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.snapshot.subscribe()
    }

    /// Whether the process is on its way out.
    pub fn is_draining(&self) -> bool {
        self.0.known.lock().draining
    }

    pub(super) fn serves(&self, snapshot: Arc<Snapshot>, workers: usize, listeners: Vec<String>) {
        let mut known = self.0.known.lock();
        known.workers = workers;
        known.listeners = listeners;
        drop(known);
        self.0.snapshot.send_replace(snapshot);
    }

    pub(super) fn drains(&self) {
        self.0.known.lock().draining = true;
    }

    pub(super) fn reloaded(&self, success: bool, diagnostics: &Diagnostics) {
        let at = String::from_utf8_lossy(&clock::time_iso8601()).into_owned();
        let diagnostics = diagnostics.0.iter().map(|it| {
            let severity = match it.severity {
                Severity::Fault => "fault",
                Severity::Alert => "alert",
                Severity::Warning => "warning",
                Severity::Notice => "notice",
            };
            Said { severity, text: it.to_string() }
        });
        let last = LastReload { success, at, diagnostics: diagnostics.collect() };
        self.0.known.lock().last_reload = Some(last);
    }
}
