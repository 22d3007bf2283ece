//! A rollout as people and scripts see it: where it stands, and the numbers that it rests on.

use super::analysis::{Counts, Test, Verdict};
use super::plan::Plan;
use super::state::{Canary, Last, Phase, State};
use crate::config::model::Step;
use serde::{Deserialize, Serialize};

/// Where a rollout stands; what `moongate rollout status` and the admin listener show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: Phase,
    /// The first canary's weight, basis points.
    pub weight: u16,
    /// What happened last, in words and numbers.
    pub reason: String,
    /// When that was, milliseconds since 1970; 0 before anything did.
    pub since_ms: u64,
    /// How many of the steps were entered.
    pub step: usize,
    /// The steps as they are written.
    pub steps: Vec<String>,
    /// How long the step is held, milliseconds.
    pub held_ms: u64,
    /// The first canary's requests by weight in this step.
    pub requests: u64,
    /// How many of them a step needs.
    pub min_requests: u64,
    /// The canaries in their order.
    pub canaries: Vec<CanaryStatus>,
    /// Where the evidence comes from: `local`, or the URL of a Prometheus.
    pub evidence: String,
    /// Why there is none now from elsewhere: the rollout holds.
    pub evidence_fault: Option<String>,
    /// Where the journal is.
    pub journal: String,
    /// Why it cannot be written: nothing advances.
    pub journal_fault: Option<String>,
}

/// Where a canary stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// Its label.
    pub version: String,
    /// Its weight, basis points.
    pub weight: u16,
    /// Rolled back or aborted: it gets nothing.
    pub closed: bool,
    /// What the last look said.
    pub verdict: Verdict,
    /// The limit of failures, where there is one.
    pub failures: Option<LimitStatus>,
    /// That of slow requests.
    pub slow: Option<LimitStatus>,
}

/// What is known of a canary against one limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// The share of requests that may be bad.
    pub limit: f64,
    /// From here a request is slow, milliseconds; none where failures are counted.
    pub over_ms: Option<u64>,
    /// E1: how strongly the canary is over the limit.
    pub e1: f64,
    /// E1 holds from here.
    pub e1_at: f64,
    /// E2: how strongly it is worse than stable.
    pub e2: f64,
    /// E2 rolls back from here.
    pub e2_at: f64,
    /// Its requests by weight.
    pub canary: Counts,
    /// Stable's.
    pub stable: Counts,
}

impl Status {
    /// A rollout that no configuration in force has yet.
    pub fn pending(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Phase::Steady,
            weight: 0,
            reason: String::new(),
            since_ms: 0,
            step: 0,
            steps: vec![],
            held_ms: 0,
            requests: 0,
            min_requests: 0,
            canaries: vec![],
            evidence: "local".to_owned(),
            evidence_fault: None,
            journal: String::new(),
            journal_fault: None,
        }
    }

    /// This with what `state` under `plan` says; the rest stays.
    #[must_use]
    pub fn updated(&self, plan: &Plan, state: &State) -> Self {
        Self {
            state: state.phase,
            weight: state.weight(),
            step: state.next,
            steps: plan.steps.iter().map(step_text).collect(),
            held_ms: state.held_ms,
            requests: state.requests,
            min_requests: plan.min_requests,
            canaries: state.canaries.iter().map(|it| canary(plan, it)).collect(),
            ..self.clone()
        }
    }

    /// This, and what happened last.
    #[must_use]
    pub fn behind(mut self, last: Option<&Last>) -> Self {
        if let Some(Last { at_ms, reason }) = last {
            (self.since_ms, self.reason) = (*at_ms, reason.clone());
        }
        self
    }

    /// The weight of a variant, basis points: stable's is what is left. 0 for what is not there.
    pub fn weight_of(&self, variant: u8) -> u16 {
        match usize::from(variant).checked_sub(1) {
            Some(index) => self.canaries.get(index).map_or(0, |it| it.weight),
            None => self.canaries.iter().fold(10_000, |left, it| left.saturating_sub(it.weight)),
        }
    }
}

fn canary(plan: &Plan, canary: &Canary) -> CanaryStatus {
    let limit = |test: &Test, limit: super::analysis::Limit, over_ms| LimitStatus {
        limit: limit.share,
        over_ms,
        e1: test.over(),
        e1_at: super::analysis::OVER_AT,
        e2: test.worse(),
        e2_at: limit.worse_at,
        canary: test.canary,
        stable: test.stable,
    };
    CanaryStatus {
        version: canary.label.clone(),
        weight: canary.weight,
        closed: canary.closed,
        verdict: canary.verdict,
        failures: plan.failures.map(|it| limit(&canary.failures.0, it, None)),
        slow: plan.slow.map(|it| limit(&canary.slow.0, it, Some(plan.slow_ms))),
    }
}

/// A step as it is written: `5% 10m`, `pause`, `100%`.
pub fn step_text(step: &Step) -> String {
    match step {
        Step::Hold { weight, for_ms } => format!("{} {}", percent(*weight), duration(*for_ms)),
        Step::End { weight } => percent(*weight),
        Step::Pause => "pause".to_owned(),
    }
}

/// Basis points as a percentage: `5%`, `0.25%`.
pub fn percent(weight: u16) -> String {
    match (weight / 100, weight % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}%", part / 10),
        (whole, part) => format!("{whole}.{part:02}%"),
    }
}

/// A duration in the greatest units that say it exactly: `1h30m`, `5m`, `1500ms`.
pub fn duration(ms: u64) -> String {
    if ms == 0 || !ms.is_multiple_of(1000) {
        return format!("{ms}ms");
    }
    let s = ms / 1000;
    let parts = [(s / 86_400, 'd'), (s / 3600 % 24, 'h'), (s / 60 % 60, 'm'), (s % 60, 's')];
    let said = parts.iter().filter(|(count, _)| *count > 0);
    said.map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_they_are_written() {
        let shares = [0, 1, 25, 50, 500, 1250, 10_000].map(percent);
        assert_eq!(shares, ["0%", "0.01%", "0.25%", "0.5%", "5%", "12.5%", "100%"]);
        let times = [0, 1500, 1000, 300_000, 5_400_000, 86_401_000].map(duration);
        assert_eq!(times, ["0ms", "1500ms", "1s", "5m", "1h30m", "1d1s"]);
    }

    #[test]
    fn stable_has_what_is_left() {
        let canary = |weight| CanaryStatus {
            version: String::new(),
            weight,
            closed: false,
            verdict: Verdict::Fine,
            failures: None,
            slow: None,
        };
        let status = Status { canaries: vec![canary(500), canary(1000)], ..Status::pending("api") };
        assert_eq!([0, 1, 2, 3].map(|it| status.weight_of(it)), [8500, 500, 1000, 0]);
    }
}
