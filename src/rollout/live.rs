//! A rollout that lives: its state, its journal, what workers read and what they count.
//!
//! It outlives configurations. One thread drives it; what workers share with it are atomics. What
//! gives a canary traffic is on the disk before it takes effect, and where that fails it does not
//! happen. What takes traffic off a canary takes effect at once and is written behind that, as soon
//! as the disk allows: a look is in two halves, so that nobody's retreat waits for another's disk.

mod look;

pub use look::{Begun, Looked, NotDone, Source};

use super::analysis::{Counts, Interval};
use super::assign::Shares;
use super::controller::{self, Command, Event, Input, Kind};
use super::evidence::{Evidence, Totals};
use super::hash::BUCKETS;
use super::journal::{self, Record, Recovered};
use super::layout::STABLE;
use super::plan::Plan;
use super::state::{Last, Seen, State};
use super::writer::Writer;
use crate::clock;
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
    journal: Option<Writer>,
    shares: Arc<Shares>,
    evidence: Arc<Evidence>,
    /// Totals of all variants at the last look.
    known: Vec<Totals>,
    /// What came since the look before it.
    news: Vec<Totals>,
    looked: Tick,
    written: Tick,
    /// Evidence came since then.
    has_news: bool,
    /// Something took effect that is not yet written.
    is_owed: bool,
    /// What the canaries may have at most until that is.
    cap: Option<Vec<u16>>,
}

/// What a rollout shares with workers.
#[derive(Clone, Debug)]
pub struct Seam {
    /// What picks obey.
    pub shares: Arc<Shares>,
    /// What requests are counted with.
    pub evidence: Arc<Evidence>,
}

impl Seam {
    /// For `canaries` canaries and a latency limit in milliseconds; 0 is none.
    pub fn new(canaries: usize, slow_ms: u64) -> Self {
        let evidence = Arc::new(Evidence::new(canaries, slow_ms));
        Self { shares: Arc::default(), evidence }
    }
}

impl Live {
    /// A rollout that goes on from what its journal told, all of it at once in effect: where its
    /// first record cannot be written, no more than what was written before.
    pub fn start(
        plan: Plan,
        journal: Option<Writer>,
        recovered: &Recovered,
        seam: Seam,
        now: Now,
    ) -> (Self, Option<journal::Error>) {
        let state = recovered.state(&plan);
        let written = match recovered {
            Recovered::Record(record) | Recovered::TornRollback(Some(record)) => Some(record),
            Recovered::Nothing | Recovered::TornRollback(None) | Recovered::Unreadable(_) => None,
        };
        let labels = written.map(|it| labels_of(&it.state)).unwrap_or_default();
        let runs = written.map_or_else(Vec::new, |it| it.layout.clone());
        seam.shares.layout.restore(&renumbered(&runs, &labels, &labels_of(&state)));
        let mut live = Self {
            plan,
            state,
            journal,
            known: totals(&seam.evidence),
            news: vec![],
            shares: seam.shares,
            evidence: seam.evidence,
            looked: now.tick,
            written: now.tick,
            has_news: false,
            is_owed: false,
            cap: None,
        };
        let reason = match recovered {
            Recovered::Nothing => "it begins".to_owned(),
            Recovered::Record(_) => "it goes on".to_owned(),
            Recovered::TornRollback(_) => "a rollback was being written".to_owned(),
            Recovered::Unreadable(why) => format!("the journal cannot be read: {why}"),
        };
        let fault = live.take_effect(reason, now);
        (live, fault)
    }

    /// Takes another configuration over. Evidence goes on where `seam` is the one in use. Where
    /// that cannot be written down no canary gets more than it had, until it can be.
    pub fn reconfigure(&mut self, plan: Plan, seam: Seam, now: Now) -> Option<journal::Error> {
        let is_same_seam = Arc::ptr_eq(&seam.shares, &self.shares);
        if plan == self.plan && is_same_seam {
            return None;
        }
        let before = labels_of(&self.state);
        self.state = self.state.clone().reconciled(&plan);
        self.plan = plan;
        if !is_same_seam {
            let runs = renumbered(&self.shares.layout.runs(), &before, &labels_of(&self.state));
            seam.shares.layout.restore(&runs);
            self.known = totals(&seam.evidence);
            (self.shares, self.evidence) = (seam.shares, seam.evidence);
        }
        self.take_effect("the configuration changed".to_owned(), now)
    }

    /// Goes on in another journal, with the state as it is.
    pub fn move_journal(&mut self, journal: Writer, now: Now) -> Option<journal::Error> {
        self.journal = Some(journal);
        self.take_effect("the journal moved".to_owned(), now)
    }

    /// Writes the state down, then lets picks obey it; where it cannot be written, only as far as
    /// it takes from canaries.
    fn take_effect(&mut self, reason: String, now: Now) -> Option<journal::Error> {
        let fault = self.write_configured(reason, now).err();
        if fault.is_some() {
            self.is_owed = true;
            let count = |it: usize| self.shares.layout.count(u8::try_from(it).unwrap_or(u8::MAX));
            let counts = (1..=self.state.canaries.len()).map(count);
            self.cap = Some(counts.map(|it| u16::try_from(it).unwrap_or(BUCKETS)).collect());
        }
        self.publish();
        fault
    }

    /// Looks at the evidence, follows commands and lets time move the rollout.
    pub fn look(&mut self, commands: Vec<Command>, source: Source, now: Now) -> Looked {
        let begun = self.begin_look(commands, source, now);
        self.end_look(begun, clock::precise())
    }

    /// The first half of a look: what is decided is handed to the disk. What takes traffic off
    /// canaries is in effect behind this, whatever the disk does.
    pub fn begin_look(&mut self, commands: Vec<Command>, source: Source, now: Now) -> Begun {
        self.evidence.sweep(now.tick);
        let totals = totals(&self.evidence);
        self.news = since(&self.known, &totals);
        self.has_news |=
            totals != self.known || matches!(&source, Source::Outside(it) if !it.is_empty());
        let input = Input {
            passed_ms: now.tick.ms_since(self.looked),
            is_frozen: source == Source::Silent,
            seen: match source {
                Source::Local => seen(&self.news),
                Source::Outside(seen) => seen,
                Source::Silent => vec![],
            },
            commands,
        };
        (self.known, self.looked) = (totals, now.tick);
        let mut stepped = controller::step(&self.plan, &self.state, &input);
        remember(&mut stepped.state, &stepped.events, now);
        let is_due = self.has_news && now.tick.ms_since(self.written) >= CHECKPOINT_MS;
        let records = if !stepped.events.is_empty() {
            stepped.events.iter().map(|it| self.record(it, &stepped.state, now)).collect()
        } else if is_due || self.is_owed {
            vec![self.record(&journal::checkpoint(&stepped.state), &stepped.state, now)]
        } else {
            vec![]
        };
        let is_written = !records.is_empty();
        if is_written {
            self.hand_over(records);
        }
        if !stepped.events.is_empty() {
            self.retreat(&stepped.state);
        }
        Begun { input, stepped, now, is_written }
    }

    /// The second half: waits for the disk, a while from `since` at most, and lets everything else
    /// take effect, if it is written.
    pub fn end_look(&mut self, begun: Begun, since: Tick) -> Looked {
        let Begun { input, mut stepped, now, is_written } = begun;
        let fault = if is_written { self.written(since, now).err() } else { None };
        let mut answers: Vec<_> =
            stepped.answers.drain(..).map(|it| it.map_err(NotDone::from)).collect();
        if let Some(fault) = fault.as_ref().filter(|_| !stepped.events.is_empty()) {
            self.is_owed = true;
            if !is_retreat(&self.state, &stepped.state) {
                let unwritten = Err(NotDone::Unwritten(fault.to_string()));
                answers.iter_mut().filter(|it| it.is_ok()).for_each(|it| it.clone_from(&unwritten));
                let frozen = Input { commands: vec![], is_frozen: true, ..input };
                stepped = controller::step(&self.plan, &self.state, &frozen);
                remember(&mut stepped.state, &stepped.events, now);
            }
        }
        self.state = stepped.state;
        self.publish();
        Looked { events: stepped.events, answers, fault }
    }

    /// Its journal.
    pub fn journal(&self) -> Option<&Writer> {
        self.journal.as_ref()
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

    /// What workers counted between the last two looks, stable's first.
    pub fn news(&self) -> &[Totals] {
        &self.news
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
        self.begin_checkpoint(now);
        self.end_checkpoint(now, clock::precise())
    }

    /// Hands the evidence so far to the disk.
    pub fn begin_checkpoint(&mut self, now: Now) {
        let record = self.record(&journal::checkpoint(&self.state), &self.state, now);
        self.hand_over(vec![record]);
    }

    /// Waits until it is written, a while from `since` at most.
    ///
    /// # Errors
    /// It is not.
    pub fn end_checkpoint(&mut self, now: Now, since: Tick) -> Result<(), journal::Error> {
        self.written(since, now)
    }

    fn publish(&self) {
        let mut weights = self.state.weights();
        for (weight, cap) in weights.iter_mut().zip(self.cap.iter().flatten()) {
            *weight = (*weight).min(*cap);
        }
        self.shares.close(self.state.closed());
        self.shares.layout.set(&weights);
    }

    /// Takes from canaries what they do not have in `next`; gives none of them more.
    fn retreat(&self, next: &State) {
        let has = |it: usize| self.shares.layout.share(u8::try_from(it).unwrap_or(u8::MAX));
        let fewer = |(weight, number): (u16, usize)| weight.min(has(number));
        let weights: Vec<u16> = next.weights().into_iter().zip(1..).map(fewer).collect();
        self.shares.close(self.state.closed() | next.closed());
        self.shares.layout.set(&weights);
    }

    fn write_configured(&mut self, reason: String, now: Now) -> Result<(), journal::Error> {
        let event = Event { kind: Kind::Configured, reason, ..journal::checkpoint(&self.state) };
        if self.state.last.is_none() {
            remember(&mut self.state, std::slice::from_ref(&event), now);
        }
        let record = self.record(&event, &self.state, now);
        self.hand_over(vec![record]);
        self.written(clock::precise(), now)
    }

    fn record(&self, event: &Event, state: &State, now: Now) -> Record {
        let layout = self.shares.layout.clone();
        layout.set(&state.weights());
        journal::record(now.unix_ms, event.clone(), state, layout.runs())
    }

    fn hand_over(&mut self, records: Vec<Record>) {
        if let Some(journal) = &mut self.journal {
            journal.begin(records);
        }
    }

    /// Waits for what was handed over.
    fn written(&mut self, since: Tick, now: Now) -> Result<(), journal::Error> {
        self.journal.as_mut().map_or(Ok(()), |it| it.end(since))?;
        (self.written, self.has_news, self.is_owed, self.cap) = (now.tick, false, false, None);
        Ok(())
    }
}

/// Keeps what happened last in the state.
fn remember(state: &mut State, events: &[Event], now: Now) {
    if let Some(Event { kind, reason, .. }) = events.last() {
        let reason = format!("{}: {reason}", kind.as_str());
        state.last = Some(Last { at_ms: now.unix_ms, reason });
    }
}

/// Labels of the canaries in their order.
fn labels_of(state: &State) -> Vec<String> {
    state.canaries.iter().map(|it| it.label.clone()).collect()
}

/// Runs of buckets whose owners are `before`'s numbers, with those of `after`; who is gone leaves
/// to stable.
fn renumbered(runs: &[(u8, u16)], before: &[String], after: &[String]) -> Vec<(u8, u16)> {
    let number = |owner: u8| {
        let label = before.get(usize::from(owner).checked_sub(1)?)?;
        let place = after.iter().position(|it| it == label)?;
        u8::try_from(place + 1).ok()
    };
    runs.iter().map(|(owner, length)| (number(*owner).unwrap_or(STABLE), *length)).collect()
}

/// What was counted so far, of each variant.
fn totals(evidence: &Evidence) -> Vec<Totals> {
    let of = |it: usize| evidence.totals(u8::try_from(it).unwrap_or(u8::MAX));
    (0..evidence.variants()).map(of).collect()
}

/// Whether the way from `old` to `new` only takes traffic off canaries.
fn is_retreat(old: &State, new: &State) -> bool {
    let shrinks = old.weights().iter().zip(new.weights()).all(|(old, new)| new <= *old);
    shrinks && old.closed() & !new.closed() == 0 && old.canaries.len() == new.canaries.len()
}

/// What came between two totals.
fn since(before: &[Totals], after: &[Totals]) -> Vec<Totals> {
    let between = |(before, after): (&Totals, &Totals)| Totals {
        by_weight: after.by_weight.since(before.by_weight),
        chosen: after.chosen.since(before.chosen),
    };
    before.iter().zip(after).map(between).collect()
}

/// What was seen of each canary; the first of `news` is stable's.
fn seen(news: &[Totals]) -> Vec<Seen> {
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
