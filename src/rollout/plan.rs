//! What an operator wants of a rollout, with its defaults: the controller's unchanging half.

use super::analysis::Limit;
use super::hash::BUCKETS;
use super::layout::Layout;
use super::state;
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
    /// Stable's label.
    pub stable: String,
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
            stable: rollout.stable.as_ref().map_or_else(String::new, |it| it.version.clone()),
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

    /// Which variant the users of `bucket` get at each weight of the steps, from the layout as it
    /// is: (the first canary's weight in basis points, variant).
    pub fn journey(&self, layout: &Layout, bucket: u16) -> Vec<(u16, u8)> {
        let layout = layout.clone();
        let count = |number: usize| layout.count(u8::try_from(number).unwrap_or(u8::MAX));
        let mut weights: Vec<u16> = (1..=self.canaries.len())
            .map(|number| u16::try_from(count(number)).unwrap_or(BUCKETS))
            .collect();
        let first = self.weight.filter(|_| self.steps.is_empty());
        let steps = self.steps.iter().filter_map(state::weight_of).chain(first);
        let mut journey = Vec::new();
        for weight in steps {
            if let Some(first) = weights.first_mut() {
                *first = weight;
            }
            layout.set(&weights);
            journey.push((weight, layout.owner(bucket)));
        }
        journey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn plan(lines: &str) -> Plan {
        let text = format!(
            "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
             rollout api {{ stable a; canary b version=v2; {lines} }} }} events {{ }}"
        );
        Plan::new(&config::load_text("conf", &text, None).unwrap().model.http.unwrap().rollouts[0])
    }

    #[test]
    fn defaults_are_5xx_and_p99() {
        let plan = plan("weight 5%;");
        let shares = (plan.failures.map(|it| it.share), plan.slow.map(|it| it.share));
        assert_eq!(shares, (Some(0.005), Some(0.01)));
        let waits = (plan.slow_ms, plan.min_requests, plan.max_duration_ms);
        assert_eq!(waits, (2000, 600, 7_200_000));
    }

    #[test]
    fn what_is_needed_follows_from_the_finest_limit() {
        assert_eq!(plan("limit 5xx_rate > 2%;").min_requests, 300);
        assert_eq!(plan("limit 5xx_rate > 2%; limit p99.9 > 1s;").min_requests, 3000);
        assert_eq!(plan("limit 5xx_rate > 2%; limit p99 off;").min_requests, 150);
        assert_eq!(plan("limit 5xx_rate off; limit p99 off;").min_requests, 1);
        assert_eq!(plan("limit p99 off;").slow_ms, 0);
        assert_eq!(plan("min_requests 7;").min_requests, 7);
    }

    #[test]
    fn a_user_s_journey_goes_to_the_canary_once() {
        let plan = plan("canary b version=v3 weight=10%; steps 1% 5m, 5% 5m, pause, 25% 5m;");
        let layout = Layout::default();
        layout.set(&[100, 1000]);
        let journey = |bucket| plan.journey(&layout, bucket);
        assert_eq!(journey(0), [(100, 1), (500, 1), (2500, 1)]);
        assert_eq!(journey(300), [(100, 0), (500, 1), (2500, 1)]);
        assert_eq!(journey(5000), [(100, 0), (500, 0), (2500, 0)]);
        assert_eq!(journey(9999), [(100, 2), (500, 2), (2500, 2)]);
        assert_eq!(layout.count(1), 100, "it is only asked");
    }
}
