//! A rollout that lives: its state, its journal, what workers read and what they count.
//!
//! It outlives configurations. One thread drives it; what workers share with it are atomics. What a
//! step decides is journaled first. When that fails, what takes traffic off a canary happens all
//! the same, and anything else does not.

use super::analysis::{Counts, Interval};
use super::assign::Shares;
use super::controller::{self, Command, Event, Input, Kind, Refused};
use super::evidence::{Evidence, Totals};
use super::journal::{self, Journal, Recovered};
use super::plan::Plan;
use super::state::{Seen, State};
use crate::clock::Tick;
use std::sync::Arc;

/// So often the evidence so far is written down, where there is any.
const CHECKPOINT_MS: u64 = 60_000;

/// The moment of a look.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For durations.
    pub tick: Tick,
    /// For the journal, milliseconds since 1970.
    pub unix_ms: u64,
}

/// A rollout and all that is known of it.
#[derive(Debug)]
pub struct Live {
    plan: Plan,
    state: State,
    /// None where a rollout is simulated.
    journal: Option<Journal>,
    shares: Arc<Shares>,
    evidence: Arc<Evidence>,
    /// Totals of all variants at the last look.
    known: Vec<Totals>,
    looked: Tick,
    written: Tick,
    /// Evidence came since then.
    has_news: bool,
    /// Something took effect that is not yet written.
    is_owed: bool,
}

/// What a look did.
#[derive(Debug, Default)]
pub struct Looked {
    /// What happened.
    pub events: Vec<Event>,
    /// An answer to each command.
    pub answers: Vec<Result<(), NotDone>>,
    /// Why the journal could not be written.
    pub fault: Option<journal::Error>,
}

/// Why a command was not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It makes no sense now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It could not be written down.
    #[error("nothing was changed, for {0}")]
    Unwritten(String),
}

impl Live {
    /// A rollout that goes on from what its journal told, all of it at once in effect.
    ///
    /// # Errors
    /// The first record cannot be written.
    pub fn start(
        plan: Plan,
        journal: Option<Journal>,
        recovered: &Recovered,
        now: Now,
    ) -> Result<Self, journal::Error> {
        let state = recovered.state(&plan);
        let shares = Arc::new(Shares::default());
        if let Recovered::Record(record) | Recovered::TornRollback(Some(record)) = recovered {
            shares.layout.restore(&record.layout);
        }
        let evidence = Arc::new(Evidence::new(plan.canaries.len(), plan.slow_ms));
        let known = vec![Totals::default(); evidence.variants()];
        let (looked, written) = (now.tick, now.tick);
        let mut live = Self {
            plan,
            state,
            journal,
            shares,
            evidence,
            known,
            looked,
            written,
            has_news: false,
            is_owed: false,
        };
        live.publish();
        let reason = match recovered {
            Recovered::Nothing => "it begins".to_owned(),
            Recovered::Record(_) => "it goes on".to_owned(),
            Recovered::TornRollback(_) => "a rollback was being written".to_owned(),
            Recovered::Unreadable(why) => format!("the journal cannot be read: {why}"),
        };
        live.write_configured(reason, now)?;
        Ok(live)
    }

    /// Takes another configuration over; evidence is kept where limits and canaries are the same.
    ///
    /// # Errors
    /// It cannot be written down; then everything is as before.
    pub fn reconfigure(&mut self, plan: Plan, now: Now) -> Result<(), journal::Error> {
        if plan == self.plan {
            return Ok(());
        }
        let state = self.state.clone().reconciled(&plan);
        let before = (std::mem::replace(&mut self.state, state), self.shares.layout.runs());
        let labels = |it: &Plan| it.canaries.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
        let is_counted_alike =
            plan.slow_ms == self.plan.slow_ms && labels(&plan) == labels(&self.plan);
        self.publish();
        if let Err(error) = self.write_configured("the configuration changed".to_owned(), now) {
            self.state = before.0;
            self.shares.layout.restore(&before.1);
            self.publish();
            return Err(error);
        }
        if !is_counted_alike {
            self.evidence = Arc::new(Evidence::new(plan.canaries.len(), plan.slow_ms));
            self.known = vec![Totals::default(); self.evidence.variants()];
        }
        self.plan = plan;
        Ok(())
    }

    /// Looks at the evidence, follows commands and lets time move the rollout.
    pub fn look(&mut self, commands: Vec<Command>, now: Now) -> Looked {
        self.evidence.sweep(now.tick);
        let totals: Vec<Totals> =
            (0..self.evidence.variants()).map(|it| self.totals_of(it)).collect();
        let input = Input {
            passed_ms: now.tick.ms_since(self.looked),
            seen: seen(&self.known, &totals),
            commands,
            is_frozen: false,
        };
        let mut stepped = controller::step(&self.plan, &self.state, &input);
        let fault = self.write_events(&stepped.events, &stepped.state, now).err();
        let mut answers: Vec<_> =
            stepped.answers.drain(..).map(|it| it.map_err(NotDone::from)).collect();
        if let Some(fault) = &fault {
            self.is_owed = true;
            if !is_retreat(&self.state, &stepped.state) {
                let unwritten = Err(NotDone::Unwritten(fault.to_string()));
                answers.iter_mut().filter(|it| it.is_ok()).for_each(|it| it.clone_from(&unwritten));
                let frozen = Input { commands: vec![], is_frozen: true, ..input };
                stepped = controller::step(&self.plan, &self.state, &frozen);
            }
        }
        self.has_news |= totals != self.known;
        (self.known, self.looked) = (totals, now.tick);
        self.state = stepped.state;
        self.publish();
        let is_due = self.has_news && now.tick.ms_since(self.written) >= CHECKPOINT_MS;
        let is_owed = self.is_owed && fault.is_none();
        let fault = if is_due || is_owed { self.checkpoint(now).err() } else { fault };
        Looked { events: stepped.events, answers, fault }
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What picks obey.
    pub fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// What workers count with; another one after some configurations.
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// Writes the evidence so far, for whoever goes on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn checkpoint(&mut self, now: Now) -> Result<(), journal::Error> {
        let event = journal::checkpoint(&self.state);
        self.write(&event, &self.state.clone(), now)
    }

    fn write_events(
        &mut self,
        events: &[Event],
        state: &State,
        now: Now,
    ) -> Result<(), journal::Error> {
        events.iter().try_for_each(|it| self.write(it, state, now))
    }

    fn totals_of(&self, variant: usize) -> Totals {
        self.evidence.totals(u8::try_from(variant).unwrap_or(u8::MAX))
    }

    fn publish(&self) {
        self.shares.close(self.state.closed());
        self.shares.layout.set(&self.state.weights());
    }

    fn write_configured(&mut self, reason: String, now: Now) -> Result<(), journal::Error> {
        let event = Event { kind: Kind::Configured, reason, ..journal::checkpoint(&self.state) };
        self.write(&event, &self.state.clone(), now)
    }

    fn write(&mut self, event: &Event, state: &State, now: Now) -> Result<(), journal::Error> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let layout = self.shares.layout.clone();
        layout.set(&state.weights());
        journal.append(&journal::record(now.unix_ms, event.clone(), state, layout.runs()))?;
        (self.written, self.has_news, self.is_owed) = (now.tick, false, false);
        Ok(())
    }
}

/// Whether the way from `old` to `new` only takes traffic off canaries.
fn is_retreat(old: &State, new: &State) -> bool {
    let shrinks = old.weights().iter().zip(new.weights()).all(|(old, new)| new <= *old);
    shrinks && old.closed() & !new.closed() == 0 && old.canaries.len() == new.canaries.len()
}

/// What was seen of each canary between two totals; the first of each is stable's.
fn seen(before: &[Totals], after: &[Totals]) -> Vec<Seen> {
    let news: Vec<Totals> = before
        .iter()
        .zip(after)
        .map(|(before, after)| Totals {
            by_weight: after.by_weight.since(before.by_weight),
            chosen: after.chosen.since(before.chosen),
        })
        .collect();
    let Some((stable, canaries)) = news.split_first() else { return Vec::new() };
    let interval = |stable: Counts, canary: Counts, mut all: Counts| {
        all.add(canary);
        Interval { stable, canary, all }
    };
    let of = |it: &Totals| Seen {
        failures: interval(stable.by_weight.failures, it.by_weight.failures, it.chosen.failures),
        slow: interval(stable.by_weight.slow, it.by_weight.slow, it.chosen.slow),
    };
    canaries.iter().map(of).collect()
}

#[cfg(test)]
mod tests;
