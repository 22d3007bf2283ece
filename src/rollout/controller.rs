//! The controller: a pure step from a state, what was seen and what operators said to the next
//! state and what happened. Whoever calls it journals before the new state takes effect.
//!
//! Guards come first and in every phase, pauses included. Evidence decides about advancing only
//! where there is enough; no data is neither success nor failure.

mod words;

pub use words::{Command, Event, Kind, Refused};

use super::analysis::Verdict;
use super::hash::BUCKETS;
use super::plan::Plan;
use super::state::{Canary, Phase, Seen, State};
use crate::config::model::{OnBreach, Step};

/// What happened since the last step.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// How much time went by, milliseconds.
    pub passed_ms: u64,
    /// What was seen of each canary, in their order.
    pub seen: Vec<Seen>,
    /// What operators said.
    pub commands: Vec<Command>,
    /// Nothing can be written down: guards watch, nothing else moves.
    pub is_frozen: bool,
}

/// What a step did.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// The next state.
    pub state: State,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// An answer to each command.
    pub answers: Vec<Result<(), Refused>>,
}

/// Takes one step.
pub fn step(plan: &Plan, state: &State, input: &Input) -> Stepped {
    let mut stepping = Stepping { plan, state: state.clone(), events: Vec::new() };
    stepping.guard(&input.seen);
    let answers = input.commands.iter().map(|it| stepping.obey(it)).collect();
    stepping.advance(input);
    let Stepping { state, events, .. } = stepping;
    Stepped { state, events, answers }
}

struct Stepping<'a> {
    plan: &'a Plan,
    state: State,
    events: Vec<Event>,
}

impl Stepping<'_> {
    fn guard(&mut self, seen: &[Seen]) {
        let nothing = Seen::default();
        for index in 0..self.state.canaries.len() {
            let canary = &mut self.state.canaries[index];
            if canary.closed {
                continue;
            }
            let verdict = canary.judge(self.plan, seen.get(index).unwrap_or(&nothing));
            let before = std::mem::replace(&mut canary.verdict, verdict);
            match (before, verdict) {
                (_, Verdict::RollBack) if self.plan.on_breach == OnBreach::Rollback => {
                    self.roll_back(index);
                }
                (Verdict::RollBack, Verdict::RollBack) => {}
                (_, Verdict::RollBack) => self.breach(index),
                (Verdict::Fine, Verdict::OverLimit) => {
                    self.tell(
                        index,
                        Kind::OverLimit,
                        "over the limit, not worse than stable so far",
                    );
                }
                (Verdict::OverLimit, Verdict::Fine) => {
                    self.tell(index, Kind::WithinLimit, "no longer over the limit");
                }
                _ => {}
            }
        }
    }

    /// The first canary takes the rollout with it, another one only itself.
    fn roll_back(&mut self, index: usize) {
        let event = self.event(index, Kind::RolledBack, "worse than stable and over the limit");
        self.state.canaries[index].close();
        if index == 0 {
            self.state.phase = Phase::RolledBack;
        }
        self.events.push(Event { to: 0, ..event });
    }

    fn breach(&mut self, index: usize) {
        self.tell(index, Kind::Breached, "worse than stable and over the limit; on_breach hold");
        if !self.state.phase.is_latched() {
            self.state.phase = Phase::Paused;
        }
    }

    fn obey(&mut self, command: &Command) -> Result<(), Refused> {
        match command {
            Command::Promote => self.promote(),
            Command::Pause => self.pause(),
            Command::Resume => self.resume(),
            Command::Abort => self.abort(),
            Command::SetWeight { canary, weight } => self.set_weight(canary.as_deref(), *weight),
        }
    }

    fn promote(&mut self) -> Result<(), Refused> {
        let phase = self.unlatched()?;
        if phase == Phase::Steady && self.state.weight() >= self.state.room() {
            return Err(Refused::Nothing(phase, "promote"));
        }
        let from = self.state.weight();
        self.state.enter(self.plan);
        self.moved(Kind::Promoted, "an operator's word", from);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Refused> {
        match self.unlatched()? {
            Phase::Running | Phase::Waiting | Phase::Inconclusive => {
                self.state.phase = Phase::Paused;
                self.tell(0, Kind::Paused, "an operator's word");
                Ok(())
            }
            phase => Err(Refused::Nothing(phase, "pause")),
        }
    }

    fn resume(&mut self) -> Result<(), Refused> {
        let from = self.state.weight();
        let phase = self.state.phase;
        match phase {
            Phase::RolledBack | Phase::Aborted | Phase::Unreadable => {
                self.reopen();
                self.state.restart(self.plan);
            }
            _ if self.state.is_latched() => self.reopen(),
            Phase::Paused => {
                self.state.phase = match self.state.step(self.plan) {
                    _ if self.plan.steps.is_empty() => Phase::Steady,
                    Some(Step::Hold { .. }) | None => Phase::Running,
                    Some(Step::Pause) => Phase::Waiting,
                    Some(Step::End { .. }) => Phase::Steady,
                };
            }
            Phase::Inconclusive => {
                self.state.phase = Phase::Running;
                self.state.held_ms = 0;
            }
            Phase::Running | Phase::Waiting | Phase::Steady => {
                return Err(Refused::Nothing(phase, "resume"));
            }
        }
        self.state.fit();
        self.moved(Kind::Resumed, "an operator's word", from);
        Ok(())
    }

    /// Opens what is closed, with the weights of the plan; the first one's follows from the steps.
    fn reopen(&mut self) {
        let closed = self.state.canaries.iter_mut().zip(&self.plan.canaries);
        for (canary, (_, weight)) in closed.filter(|(it, _)| it.closed) {
            canary.open(*weight);
        }
    }

    fn abort(&mut self) -> Result<(), Refused> {
        if self.state.phase == Phase::Aborted {
            return Err(Refused::Nothing(Phase::Aborted, "abort"));
        }
        let event = self.event(0, Kind::Aborted, "an operator's word");
        self.state.close_all(Phase::Aborted);
        self.events.push(Event { to: 0, ..event });
        Ok(())
    }

    fn set_weight(&mut self, label: Option<&str>, weight: u16) -> Result<(), Refused> {
        self.unlatched()?;
        let mut canaries = self.state.canaries.iter();
        let index = match label {
            None => 0,
            Some(label) => {
                canaries.position(|it| it.label == label).ok_or_else(|| self.unknown(label))?
            }
        };
        let Canary { label, weight: from, closed, .. } = &self.state.canaries[index];
        if *closed {
            return Err(Refused::Closed(label.clone()));
        }
        let sum: u16 = self.state.canaries.iter().map(|it| it.weight).sum();
        let others = sum - from;
        if weight > BUCKETS - others {
            return Err(Refused::TooMuch(others));
        }
        let event = self.event(index, Kind::WeightSet, "an operator's word");
        self.state.canaries[index].weight = weight;
        if index == 0 {
            self.state.locate(self.plan);
            let steady = self.plan.steps.is_empty();
            self.state.phase = if steady { Phase::Steady } else { Phase::Paused };
        }
        self.events.push(Event { to: weight, ..event });
        Ok(())
    }

    fn unknown(&self, label: &str) -> Refused {
        let known: Vec<_> = self.state.canaries.iter().map(|it| it.label.as_str()).collect();
        Refused::Unknown(label.to_owned(), known.join(", "))
    }

    /// Lets time and evidence move the first canary, unless it is held or judged.
    fn advance(&mut self, input: &Input) {
        if self.state.phase != Phase::Running {
            return;
        }
        let by_weight = input.seen.first().map_or(0, |it| it.failures.canary.requests);
        self.state.held_ms = self.state.held_ms.saturating_add(input.passed_ms);
        self.state.requests = self.state.requests.saturating_add(by_weight);
        let held = self.state.held_ms;
        // After a set-weight below the first step there is none to hold: the next may follow.
        let hold = match self.state.step(self.plan) {
            Some(Step::Hold { for_ms, .. }) => *for_ms,
            _ => 0,
        };
        if input.is_frozen {
            return;
        }
        let is_enough = self.state.requests >= self.plan.min_requests;
        let is_fine = self.state.canaries.first().is_some_and(|it| it.verdict == Verdict::Fine);
        if is_enough && is_fine && held >= hold {
            let requests = self.state.requests;
            return self
                .next(&format!("{requests} requests in {} s, no limit passed", held / 1000));
        }
        if !is_enough && held >= self.plan.max_duration_ms.max(hold) {
            self.state.phase = Phase::Inconclusive;
            let (seen, needed) = (self.state.requests, self.plan.min_requests);
            let reason = format!("{seen} requests in {} s, {needed} are needed", held / 1000);
            self.tell(0, Kind::Inconclusive, &reason);
        }
    }

    fn next(&mut self, reason: &str) {
        let from = self.state.weight();
        if self.state.next >= self.plan.steps.len() {
            self.state.phase = Phase::Steady;
        } else {
            self.state.enter(self.plan);
        }
        let waits = self.state.phase == Phase::Waiting;
        self.moved(if waits { Kind::Waiting } else { Kind::Advanced }, reason, from);
    }

    fn unlatched(&self) -> Result<Phase, Refused> {
        let phase = self.state.phase;
        if phase.is_latched() { Err(Refused::Latched(phase)) } else { Ok(phase) }
    }

    fn moved(&mut self, kind: Kind, reason: &str, from: u16) {
        let event = self.event(0, kind, reason);
        self.events.push(Event { from, ..event });
    }

    fn tell(&mut self, index: usize, kind: Kind, reason: &str) {
        let event = self.event(index, kind, reason);
        self.events.push(event);
    }

    /// An event of a canary as it is now, with its numbers behind the reason.
    fn event(&self, index: usize, kind: Kind, reason: &str) -> Event {
        let Some(canary) = self.state.canaries.get(index) else {
            let (canary, reason) = (String::new(), reason.to_owned());
            return Event { kind, canary, reason, from: 0, to: 0 };
        };
        let weight = canary.weight;
        let reason = format!("{reason}; {}", numbers(canary));
        Event { kind, canary: canary.label.clone(), reason, from: weight, to: weight }
    }
}

/// As many digits as say something.
fn short(evidence: f64) -> String {
    if evidence < 1e6 { format!("{evidence:.3}") } else { format!("{evidence:.0e}") }
}

/// What is known against a canary: counts, E1 and E2 for each limit.
pub fn numbers(canary: &Canary) -> String {
    let test = |name: &str, (test, _): &(super::analysis::Test, Option<f64>)| {
        format!(
            "{name} {}/{} stable {}/{} E1 {} E2 {}",
            test.canary.bad,
            test.canary.requests,
            test.stable.bad,
            test.stable.requests,
            short(test.over()),
            short(test.worse())
        )
    };
    format!("{}, {}", test("failed", &canary.failures), test("slow", &canary.slow))
}

#[cfg(test)]
mod tests;
