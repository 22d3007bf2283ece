//! What an operator wants of a rollout, with its defaults: the controller's unchanging half.

use super::analysis::Limit;
use super::hash::BUCKETS;
use crate::config::model::{self, OnBreach, Step};

/// `max_duration` by default.
const MAX_DURATION_MS: u64 = 2 * 60 * 60 * 1000;
/// The default limits: `5xx_rate > 0.5%` and `p99 > 2s`.
const FAILURES: u16 = 50;
const SLOW: u16 = 100;
const SLOW_MS: u64 = 2000;

/// A rollout as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Labels of the canaries, and the weights of those behind the first.
    pub canaries: Vec<(String, u16)>,
    /// The first canary's weight where nothing moved it yet, basis points.
    pub weight: Option<u16>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// The limit of failures.
    pub failures: Option<Limit>,
    /// The limit of slow requests.
    pub slow: Option<Limit>,
    /// From here a request is slow, milliseconds; 0 where there is no such limit.
    pub slow_ms: u64,
    /// The first canary's requests by weight that a step needs.
    pub min_requests: u64,
    /// How long a step waits for them, milliseconds.
    pub max_duration_ms: u64,
    /// What a breach does.
    pub on_breach: OnBreach,
}

impl Plan {
    /// The plan of a rollout that has passed the configuration's checks.
    pub fn new(rollout: &model::Rollout) -> Self {
        let failures = rollout.failures.as_ref().map_or(Some(FAILURES), |it| it.share);
        let latency = rollout.latency.as_ref();
        let slow = latency.map_or(Some(SLOW), |it| it.share);
        let slow_ms = slow.map_or(0, |_| latency.map_or(SLOW_MS, |it| it.over_ms));
        let share = |points: u16| f64::from(points) / f64::from(BUCKETS);
        let count = u8::try_from(rollout.canaries.len()).unwrap_or(u8::MAX);
        let (failing, slow_limit) = Limit::both(failures.map(share), slow.map(share), count);
        let finest = [failures, slow].into_iter().flatten().min();
        // Three bad requests are expected where a canary is exactly at its limit.
        let needed = finest.map_or(1, |it| 3 * u64::from(BUCKETS) / u64::from(it.max(1)));
        let weight_of = |it: &model::Variant| (it.version.clone(), it.weight.unwrap_or(0));
        Self {
            name: rollout.name.clone(),
            canaries: rollout.canaries.iter().map(weight_of).collect(),
            weight: rollout.weight,
            steps: rollout.steps.clone(),
            failures: failing,
            slow: slow_limit,
            slow_ms,
            min_requests: rollout.min_requests.unwrap_or(needed),
            max_duration_ms: rollout.max_duration_ms.unwrap_or(MAX_DURATION_MS),
            on_breach: rollout.on_breach.unwrap_or_default(),
        }
    }
}
