//! The catalog: every metric once, with its name, kind, labels and meaning.

pub use super::metric::{Kind, Metric};

use super::metric::Built;
use super::requests::RequestFamilies;
use super::sharded::{ShardedCounter, ShardedGauge};
use crate::clock;
use crate::sys;
use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};
use std::fmt::Write as _;

/// The two metrics of [`RequestFamilies`].
const REQUESTS: [Metric; 2] = [
    Metric {
        name: "http_requests_total",
        kind: Kind::Counter,
        labels: &["server", "location", "upstream", "canary_version", "code"],
        help: "Requests answered, by status code.",
    },
    Metric {
        name: "http_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &["server", "location", "upstream", "canary_version", "code_class"],
        help: "Time from a request's first byte to the end of its response.",
    },
];

macro_rules! catalog {
    ($($field:ident: $type:ty = $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// All metrics, as handles to count with.
        #[derive(Clone, Debug)]
        pub struct Catalog {
            registry: Registry,
            /// Requests; see [`RequestFamilies::series`].
            pub requests: RequestFamilies,
            $(#[doc = $help] pub $field: $type,)*
        }

        impl Catalog {
            /// A catalog in which nothing is counted yet.
            pub fn new() -> Self {
                let [total, duration] = REQUESTS.map(|it| it.desc());
                let new = Self {
                    registry: Registry::new(),
                    requests: RequestFamilies::new(total, duration),
                    $($field: {
                        let labels: &[&str] = &[$($label),*];
                        let kind = <$type as Built>::KIND;
                        Built::build(&Metric { name: $name, kind, labels, help: $help })
                    },)*
                };
                new.register(&new.requests);
                $(new.register(&new.$field);)*
                new
            }
        }

        /// Every metric.
        pub const METRICS: &[Metric] = &[
            REQUESTS[0],
            REQUESTS[1],
            $(Metric {
                name: $name,
                kind: <$type as Built>::KIND,
                labels: &[$($label),*],
                help: $help,
            },)*
        ];
    };
}

catalog! {
    requests_refused: IntCounterVec = "moongate_requests_refused_total" ["reason"]
        "Requests whose head was refused, by what is wrong with it.";
    requests_in_flight: ShardedGauge = "moongate_requests_in_flight" []
        "Requests that are being served.";
    connections_accepted: ShardedCounter = "moongate_connections_accepted_total" []
        "Client connections accepted.";
    connections_active: ShardedGauge = "moongate_connections_active" []
        "Client connections that are open, idle ones included.";
    tls_handshakes: IntCounterVec = "moongate_tls_handshakes_total" ["result"]
        "TLS handshakes with clients by result: full, resumed or failed.";
    workers: IntGauge = "moongate_workers" []
        "Worker threads that accept connections.";
    peer_up: IntGaugeVec = "moongate_upstream_peer_up" ["upstream", "peer"]
        "1 while the peer is in the rotation, 0 while it is down.";
    peer_requests: IntCounterVec = "moongate_upstream_peer_requests_total" ["upstream", "peer"]
        "Requests sent to the peer, retries included.";
    peer_fails: IntCounterVec = "moongate_upstream_peer_fails_total" ["upstream", "peer"]
        "Attempts that count against the peer under max_fails.";
    peer_active: IntGaugeVec = "moongate_upstream_peer_active_connections" ["upstream", "peer"]
        "Requests that the peer is answering.";
    health_checks: IntCounterVec =
        "moongate_health_checks_total" ["upstream", "peer", "result"]
        "Active health checks by result: pass or fail.";
    upstream_retries: IntCounterVec = "moongate_upstream_retries_total" ["upstream"]
        "Requests passed on to another peer after a failed attempt.";
    upstream_queue: IntGaugeVec = "moongate_upstream_queue_requests" ["upstream"]
        "Requests that wait in the upstream's queue.";
    upstream_queue_refused: IntCounterVec =
        "moongate_upstream_queue_refused_total" ["upstream", "reason"]
        "Requests that the upstream's queue turned away: full or timeout.";
    limited_requests: IntCounterVec = "moongate_limited_requests_total" ["zone", "result"]
        "Requests that a zone of limit_req or limit_conn delayed or rejected.";
    rollout_decisions: IntCounterVec =
        "moongate_rollout_decisions_total" ["rollout", "canary_version", "reason"]
        "Requests that a rollout gave a variant, by reason.";
    rollout_evidence: IntCounterVec =
        "moongate_rollout_evidence_total" ["rollout", "canary_version", "by", "limit", "result"]
        "Requests as the rollout judges them, good or bad by each limit (`5xx_rate`, `latency`); \
         `by` is `weight`, or `choice` of a header, cookie, rule or script.";
    grpc_responses: IntCounterVec =
        "moongate_upstream_grpc_responses_total" ["upstream", "grpc_status"]
        "gRPC responses of upstreams by status, 14 for one that broke off.";
    lua_errors: IntCounterVec = "moongate_lua_errors_total" ["phase"]
        "Lua handlers that ended with an error, by phase.";
    lua_budget_kills: IntCounter = "moongate_lua_budget_kills_total" []
        "Lua handlers ended because they used up their CPU time.";
    lua_vms: IntGauge = "moongate_lua_vms" []
        "Lua VMs that are alive; after a reload the old ones stay until their last request ends.";
    log_lines: IntCounterVec = "moongate_log_lines_total" ["level"]
        "Lines of error logs, by level.";
    log_lines_dropped: IntCounter = "moongate_log_lines_dropped_total" []
        "Lines of all logs that were lost because their file or server did not take them.";
    config_generation: IntGauge = "moongate_config_generation" []
        "The number of the configuration that is served.";
    config_reloads: IntCounterVec = "moongate_config_reloads_total" ["result"]
        "Reloads by result: success or failure.";
    config_last_reload_successful: IntGauge = "moongate_config_last_reload_successful" []
        "1 if the last reload took, 0 if it was refused.";
    config_last_reload_success_time: Gauge =
        "moongate_config_last_reload_success_timestamp_seconds" []
        "When the configuration that is served was taken, in seconds since 1970.";
    rollout_state: IntGaugeVec = "moongate_rollout_state" ["rollout", "state"]
        "1 for what the rollout is doing, 0 for what it is not: running, rolled_back and so on.";
    rollout_weight: GaugeVec = "moongate_rollout_weight" ["rollout", "canary_version"]
        "The canary's share of the traffic that goes by weight, 0 to 1.";
    rollout_over_limit: GaugeVec =
        "moongate_rollout_over_limit" ["rollout", "canary_version", "limit"]
        "E1: the evidence that the canary is over its limit; from 5 on it is.";
    rollout_worse: GaugeVec =
        "moongate_rollout_worse_than_stable" ["rollout", "canary_version", "limit"]
        "E2: the evidence that the canary is worse than stable.";
    rollout_events: IntCounterVec =
        "moongate_rollout_events_total" ["rollout", "event"]
        "What happened to the rollout, by kind: advanced, rolled_back and so on.";
    rollout_journal_faults: IntCounterVec =
        "moongate_rollout_journal_faults_total" ["rollout"]
        "Looks at which the journal could not be written: nothing advances meanwhile.";
    rollout_webhooks: IntCounterVec = "moongate_rollout_webhooks_total" ["rollout", "result"]
        "Messages to webhooks by result: delivered, failed or dropped.";
    rollout_evidence_faults: IntCounterVec =
        "moongate_rollout_evidence_faults_total" ["rollout"]
        "Queries for evidence that gave none: nothing advances meanwhile.";
    build: IntGaugeVec = "moongate_build_info" ["version"]
        "Always 1; the version is its label.";
    process_cpu: Counter = "process_cpu_seconds_total" []
        "CPU time used, in user and system mode.";
    process_resident_memory: IntGauge = "process_resident_memory_bytes" []
        "Resident memory.";
    process_open_fds: IntGauge = "process_open_fds" []
        "Open file descriptors.";
    process_max_fds: IntGauge = "process_max_fds" []
        "Most file descriptors that may be open.";
    process_start_time: Gauge = "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

/// One peer's handles. What they say lives in the upstream's own state and is copied here when
/// somebody asks.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// Of `moongate_upstream_peer_up`.
    pub up: IntGauge,
    /// Of `moongate_upstream_peer_requests_total`; see [`raise_to`].
    pub requests: IntCounter,
    /// Of `moongate_upstream_peer_fails_total`; see [`raise_to`].
    pub fails: IntCounter,
    /// Of `moongate_upstream_peer_active_connections`.
    pub active: IntGauge,
}

impl Catalog {
    /// The handles of `peer` in `upstream`.
    pub fn peer(&self, upstream: &str, peer: &str) -> PeerMetrics {
        let labels = [upstream, peer];
        PeerMetrics {
            up: self.peer_up.with_label_values(&labels),
            requests: self.peer_requests.with_label_values(&labels),
            fails: self.peer_fails.with_label_values(&labels),
            active: self.peer_active.with_label_values(&labels),
        }
    }

    /// Shows a peer no longer that the configuration or the resolver took away.
    pub fn forget_peer(&self, upstream: &str, peer: &str) {
        // One that was never shown is an error to the crate, not to us.
        let labels = [upstream, peer];
        let _ = self.peer_up.remove_label_values(&labels);
        let _ = self.peer_requests.remove_label_values(&labels);
        let _ = self.peer_fails.remove_label_values(&labels);
        let _ = self.peer_active.remove_label_values(&labels);
        for result in ["pass", "fail"] {
            let _ = self.health_checks.remove_label_values(&[upstream, peer, result]);
        }
    }

    /// Shows a canary no longer that has left the configuration.
    pub fn forget_canary(&self, rollout: &str, version: &str) {
        self.forget_evidence(rollout, version);
        // One that was never shown is an error to the crate, not to us.
        let _ = self.rollout_weight.remove_label_values(&[rollout, version]);
        for limit in ["5xx_rate", "latency"] {
            let labels = [rollout, version, limit];
            let _ = self.rollout_over_limit.remove_label_values(&labels);
            let _ = self.rollout_worse.remove_label_values(&labels);
        }
    }

    /// Shows what a rollout counted of `version` no longer.
    pub fn forget_evidence(&self, rollout: &str, version: &str) {
        for by in ["weight", "choice"] {
            for limit in ["5xx_rate", "latency"] {
                for result in ["good", "bad"] {
                    let labels = [rollout, version, by, limit, result];
                    // One that was never shown is an error to the crate, not to us.
                    let _ = self.rollout_evidence.remove_label_values(&labels);
                }
            }
        }
    }

    /// Notes the end of a reload (or of the start) that gave `generation`; `None`: it was refused.
    pub fn reloaded(&self, generation: Option<u64>) {
        let result = if generation.is_some() { "success" } else { "failure" };
        self.config_reloads.with_label_values(&[result]).inc();
        self.config_last_reload_successful.set(i64::from(generation.is_some()));
        if let Some(generation) = generation {
            self.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
            self.config_last_reload_success_time.set(seconds(clock::unix_ms()));
        }
    }

    /// Prometheus's text format, version 0.0.4.
    pub fn text(&self) -> String {
        self.sample_usage();
        let mut text = String::new();
        // Writing to a string cannot fail, and every family has a metric.
        if let Err(fault) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            debug_assert!(false, "{fault}");
        }
        text
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: &C) {
        let registered = self.registry.register(Box::new(collector.clone()));
        registered.expect("no two rows of the catalog have one name");
    }

    fn sample_usage(&self) {
        self.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let used = sys::cpu::time_of_all_threads().as_secs_f64();
        self.process_cpu.inc_by((used - self.process_cpu.get()).max(0.0));
        let bytes = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        self.process_resident_memory.set(bytes(sys::cpu::resident_bytes()));
        self.process_open_fds.set(bytes(sys::cpu::open_fds()));
        let most = sys::limits::nofile().map_or(0, |it| it.soft);
        self.process_max_fds.set(bytes(most));
        self.process_start_time.set(seconds(sys::cpu::started_unix_ms()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus tells time in doubles")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Makes `counter` show `total`, a count that is kept elsewhere; it never goes back.
pub fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// The reference of all metrics as a Markdown table.
pub fn reference() -> String {
    let mut text = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in METRICS {
        let labels: Vec<_> = labels.iter().map(|it| format!("`{it}`")).collect();
        let (kind, labels) = (kind.name(), labels.join(", "));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
    text
}

#[cfg(test)]
mod tests;
