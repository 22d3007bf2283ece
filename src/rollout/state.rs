//! Where a rollout stands: what the journal keeps and the controller steps on.

use super::analysis::{Interval, Test, Verdict};
use super::hash::BUCKETS;
use super::plan::Plan;
use crate::config::model::Step;
use serde::{Deserialize, Serialize};

/// What a rollout is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A step is held and judged; the next follows by itself.
    Running,
    /// A `pause` of the steps: `promote` goes on.
    Waiting,
    /// An operator stopped it, or a breach with `on_breach hold`; `resume` goes on.
    Paused,
    /// A step had too few requests for too long: an operator decides.
    Inconclusive,
    /// Nothing moves by itself: no steps, or the last one is reached.
    Steady,
    /// A breach sent all traffic back to stable. Only an operator resumes.
    RolledBack,
    /// An operator did so.
    Aborted,
    /// The journal could not be read: all traffic is stable's until an operator resumes.
    Unreadable,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Waiting,
        Self::Paused,
        Self::Inconclusive,
        Self::Steady,
        Self::RolledBack,
        Self::Aborted,
        Self::Unreadable,
    ];

    /// The word for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Inconclusive => "inconclusive",
            Self::Steady => "steady",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether nothing but `resume` leads out of it.
    pub const fn is_latched(self) -> bool {
        matches!(self, Self::RolledBack | Self::Aborted | Self::Unreadable)
    }
}

/// A rollout's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// How many steps were entered: the next one's index.
    pub next: usize,
    /// How long the step is held, milliseconds of a running process.
    pub held_ms: u64,
    /// The first canary's requests by weight in this step.
    pub requests: u64,
    /// The canaries in their order.
    pub canaries: Vec<Canary>,
    /// The first canary's weight and the steps that were configured, to notice when that changes.
    pub configured: (Option<u16>, Vec<Step>),
    /// What happened last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
}

/// What happened last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What and why, in words and numbers.
    pub reason: String,
}

/// A canary's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Its label.
    pub label: String,
    /// Its weight, basis points.
    pub weight: u16,
    /// What was configured for it, where it is not the first, to notice when that changes.
    pub configured: u16,
    /// Rolled back or aborted: it gets nothing, whoever asks.
    pub closed: bool,
    /// The evidence on failures, and the limit's share that it was judged by.
    pub failures: (Test, Option<f64>),
    /// The evidence on slow requests.
    pub slow: (Test, Option<f64>),
    /// What the last look said.
    pub verdict: Verdict,
}

/// What happened to one canary since the last look, for each limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests and failures.
    pub failures: Interval,
    /// Requests and slow ones.
    pub slow: Interval,
}

impl Canary {
    fn new(label: &str, weight: u16) -> Self {
        Self {
            label: label.to_owned(),
            weight,
            configured: weight,
            closed: false,
            failures: Default::default(),
            slow: Default::default(),
            verdict: Verdict::Fine,
        }
    }

    /// Judges what was seen by the plan's limits; the graver of both verdicts.
    pub(super) fn judge(&mut self, plan: &Plan, seen: &Seen) -> Verdict {
        let mut verdict = Verdict::Fine;
        let tests = [
            (&mut self.failures, plan.failures, &seen.failures),
            (&mut self.slow, plan.slow, &seen.slow),
        ];
        for ((test, judged_by), limit, interval) in tests {
            if *judged_by != limit.map(|it| it.share) {
                // Evidence against another limit says nothing about this one.
                (*test, *judged_by) = (Test::default(), limit.map(|it| it.share));
            }
            let Some(limit) = limit else { continue };
            verdict = match (verdict, test.step(&limit, interval)) {
                (Verdict::RollBack, _) | (_, Verdict::RollBack) => Verdict::RollBack,
                (Verdict::Fine, other) => other,
                (held, _) => held,
            };
        }
        verdict
    }

    /// The same under this configured weight, which counts where it is another than before.
    fn configured(self, weight: u16) -> Self {
        match self.closed || weight == self.configured {
            true => Self { configured: weight, ..self },
            false => Self { configured: weight, weight, ..self },
        }
    }

    /// Gives it nothing from now on.
    pub(super) fn close(&mut self) {
        self.weight = 0;
        self.closed = true;
    }

    /// Opens it with a weight, and forgets what spoke against it.
    pub(super) fn open(&mut self, weight: u16) {
        *self = Self::new(&self.label, weight);
    }
}

impl State {
    /// The beginning of a plan.
    pub fn begin(plan: &Plan) -> Self {
        let canary = |(label, weight): &(String, u16)| Canary::new(label, *weight);
        let mut state = Self {
            phase: Phase::Steady,
            next: 0,
            held_ms: 0,
            requests: 0,
            canaries: plan.canaries.iter().map(canary).collect(),
            configured: (plan.weight, plan.steps.clone()),
            last: None,
        };
        state.restart(plan);
        state
    }

    /// What a journal that cannot be read means.
    pub fn unreadable(plan: &Plan) -> Self {
        let mut state = Self::begin(plan);
        state.close_all(Phase::Unreadable);
        state
    }

    /// Fits a state of the journal, or of the last configuration, to a plan. A canary with another
    /// label is another canary: it begins anew. A latch holds, whatever else changed.
    #[must_use]
    pub fn reconciled(mut self, plan: &Plan) -> Self {
        let fresh = Self::begin(plan);
        let is_new =
            self.canaries.first().map(|it| &it.label) != fresh.canaries.first().map(|it| &it.label);
        let mut known = std::mem::take(&mut self.canaries);
        for canary in &fresh.canaries {
            let same = known.iter().position(|it| it.label == canary.label);
            self.canaries.push(match same {
                Some(at) => known.remove(at).configured(canary.configured),
                None => canary.clone(),
            });
        }
        if is_new {
            let first = fresh.canaries.first().cloned();
            for (place, canary) in self.canaries.iter_mut().zip(first) {
                *place = canary;
            }
            self = Self { canaries: self.canaries, ..fresh };
            self.fit();
            return self;
        }
        if self.configured != fresh.configured {
            self.configured = fresh.configured;
            if !self.phase.is_latched() {
                self.follow(plan);
            }
        }
        self.fit();
        self
    }

    /// The first canary's weight, basis points.
    pub fn weight(&self) -> u16 {
        self.canaries.first().map_or(0, |it| it.weight)
    }

    /// All weights in the order of the canaries.
    pub fn weights(&self) -> Vec<u16> {
        self.canaries.iter().map(|it| it.weight).collect()
    }

    /// A bit for each closed variant; bit 0 is stable's.
    pub fn closed(&self) -> u32 {
        let bits = self.canaries.iter().zip(1..).filter(|(it, _)| it.closed);
        bits.fold(0, |mask, (_, number)| mask | 1 << number)
    }

    /// Whether something was rolled back or aborted that only an operator may open.
    pub fn is_latched(&self) -> bool {
        self.phase.is_latched() || self.canaries.iter().any(|it| it.closed)
    }

    /// What the first canary may have beside the others, basis points.
    pub(super) fn room(&self) -> u16 {
        let others: u16 = self.canaries.iter().skip(1).map(|it| it.weight).sum();
        BUCKETS.saturating_sub(others)
    }

    /// Sets the first canary's weight.
    pub(super) fn set_weight(&mut self, weight: u16) {
        if let Some(first) = self.canaries.first_mut() {
            first.weight = weight;
        }
    }

    /// Goes to where the plan begins.
    pub(super) fn restart(&mut self, plan: &Plan) {
        self.next = 0;
        match plan.weight {
            Some(weight) if plan.steps.is_empty() || weight == 0 => {
                self.set_weight(weight);
                self.phase = if plan.steps.is_empty() { Phase::Steady } else { Phase::Waiting };
            }
            Some(weight) => {
                let here = plan.steps.iter().position(|it| weight_of(it) == Some(weight));
                self.next = here.unwrap_or(0);
                self.enter(plan);
            }
            None if plan.steps.is_empty() => self.phase = Phase::Steady,
            None => self.enter(plan),
        }
    }

    /// Enters the next step; behind the last one the canary has all that is left.
    pub(super) fn enter(&mut self, plan: &Plan) {
        (self.held_ms, self.requests) = (0, 0);
        let step = plan.steps.get(self.next).copied();
        let room = self.room();
        self.next = (self.next + 1).min(plan.steps.len());
        match step {
            Some(Step::Hold { weight, .. }) => {
                self.set_weight(weight.min(room));
                self.phase = Phase::Running;
            }
            Some(Step::End { weight }) => {
                self.set_weight(weight.min(room));
                self.phase = Phase::Steady;
            }
            Some(Step::Pause) => self.phase = Phase::Waiting,
            None => {
                self.set_weight(room);
                self.phase = Phase::Steady;
            }
        }
    }

    /// The step that is held.
    pub(super) fn step<'a>(&self, plan: &'a Plan) -> Option<&'a Step> {
        plan.steps.get(self.next.checked_sub(1)?)
    }

    /// Gives all traffic to stable.
    pub(super) fn close_all(&mut self, phase: Phase) {
        self.phase = phase;
        self.canaries.iter_mut().for_each(Canary::close);
    }

    /// Counts the next step from the weight, after that was moved by hand or the steps changed.
    pub(super) fn locate(&mut self, plan: &Plan) {
        let weight = self.weight();
        let is_passed = |it: &Step| weight_of(it).is_some_and(|it| it <= weight);
        self.next = plan.steps.iter().rposition(is_passed).map_or(0, |it| it + 1);
        (self.held_ms, self.requests) = (0, 0);
    }

    /// Goes on under another weight or other steps: a configured weight is what the operator wants
    /// now; under steps the weight stays what it was, to go on from there.
    fn follow(&mut self, plan: &Plan) {
        if plan.steps.is_empty() {
            self.restart(plan);
        } else {
            self.locate(plan);
            let ended = self.next == plan.steps.len();
            if !matches!(self.phase, Phase::Paused) {
                self.phase = if ended { Phase::Steady } else { Phase::Running };
            }
        }
    }

    /// Weights that make more than the whole give back, the last canary first.
    pub(super) fn fit(&mut self) {
        let mut left = BUCKETS;
        for canary in &mut self.canaries {
            canary.weight = canary.weight.min(left);
            left -= canary.weight;
        }
    }
}

/// The weight of a step.
pub(super) fn weight_of(step: &Step) -> Option<u16> {
    match step {
        Step::Hold { weight, .. } | Step::End { weight } => Some(*weight),
        Step::Pause => None,
    }
}
