//! All rollouts that live, driven together: opened, taken over by configurations, looked at.
//!
//! One thread of control's looks several times a second. What gives a canary traffic is on the disk
//! before workers see it; what takes it away is seen at once. A turn lets every rollout decide
//! before it waits for any disk, and for all disks together no longer than for one, so that one
//! that hangs delays no other's retreat.

mod opening;
mod shown;

pub use opening::{Known, Opened};

use super::controller::Command;
use super::journal;
use super::journal::{Record, Recovered};
use super::live::{Begun, Live, Looked, NotDone, Now, Source};
use super::news::{News, Tell, Transition};
use super::outside::Outside;
use super::prometheus::Feed;
use super::registry::{Answer, Entry, Order, Registry, Rollouts, Wanted};
use super::state::Phase;
use super::status::{Status, percent};
use crate::clock;
use crate::clock::Tick;
use crate::log::{Level, main_log};
use crate::metrics;
use opening::Journaled;
use shown::{begin_metrics, count_evidence, forget_metrics, log_event, show_metrics};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A clock that goes back by less is slow.
const SET_BACK_MS: u64 = 1000;

/// A command, and who wants to know what became of it.
type Asked = (Command, Option<oneshot::Sender<Answer>>);

/// A rollout that lives.
struct Member {
    live: Live,
    /// Where the evidence is, if it is not local.
    outside: Option<Outside>,
    entry: Arc<Entry>,
    journal: PathBuf,
    webhooks: Arc<[String]>,
    status: Arc<Status>,
}

/// All rollouts that live.
pub struct Fleet {
    registry: Arc<Registry>,
    members: Vec<Member>,
    tell: Tell,
    /// The moment of the last turn, milliseconds since 1970.
    last_ms: u64,
}

impl Fleet {
    /// None yet.
    pub fn new(registry: Arc<Registry>, tell: Tell) -> Self {
        Self { registry, members: Vec::new(), tell, last_ms: 0 }
    }

    /// What somebody must run for the evidence of rollouts that is elsewhere.
    pub fn feeds(&self) -> Vec<Arc<Feed>> {
        let outside = self.members.iter().filter_map(|it| it.outside.as_ref());
        outside.map(|it| Arc::clone(it.feed())).collect()
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The journals that are open, for [`Known::open`].
    pub fn known(&self) -> Known {
        Known::of(self.members.iter().map(|it| (it.entry.name(), &*it.journal, it.live.journal())))
    }

    /// Lets a configuration take over: rollouts begin, go on or end. Nothing fails here; what
    /// cannot be written down gives no canary more than it had.
    pub fn commit(&mut self, rollouts: &Rollouts, mut opened: Opened, now: Now) {
        let mut before = std::mem::take(&mut self.members);
        for wanted in rollouts.iter() {
            let name = wanted.entry.name();
            let journal = opened.take(name);
            let known = before.iter().position(|it| it.entry.name() == name);
            let member = match known.map(|at| before.remove(at)) {
                Some(member) => {
                    let member = member.reconfigured(wanted, journal, now);
                    (self.tell)(member.begins(vec![]));
                    member
                }
                None => Member::begin(wanted, journal, now, &self.tell),
            };
            self.members.push(member);
        }
        for mut member in before {
            let (entry, status) = (Arc::clone(&member.entry), Arc::clone(&member.status));
            let plan = member.live.plan().clone();
            member.live.begin_checkpoint(now);
            member.end(now, clock::precise());
            main_log().say(
                Level::Notice,
                format_args!("rollout \"{}\" has left the configuration", entry.name()),
            );
            forget_metrics(&plan, &status);
            (self.tell)(News::Leaves(entry.name().to_owned()));
        }
        let entries = self.members.iter().map(|it| Arc::clone(&it.entry)).collect();
        self.registry.set_live(entries);
        self.registry.wake();
    }

    /// Looks at every rollout once, and follows `orders`.
    pub fn turn(&mut self, orders: Vec<Order>, now: Now) {
        let now = self.apart(now);
        let mut commands: HashMap<String, Vec<Asked>> = HashMap::new();
        for order in orders {
            let Order::Command { entry, command, answer } = order else { continue };
            entry.taken();
            commands.entry(entry.name().to_owned()).or_default().push((command, answer));
        }
        let mut begun = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (said, answers): (Vec<_>, Vec<_>) =
                commands.remove(member.entry.name()).unwrap_or_default().into_iter().unzip();
            begun.push((member.begin_look(said.clone(), now), said, answers));
        }
        let since = clock::precise();
        for (member, (begun, said, answers)) in self.members.iter_mut().zip(begun) {
            let looked = member.end_look(begun, now, since, &self.tell);
            for ((command, answer), result) in said.iter().zip(answers).zip(looked.answers) {
                member.answer(command, answer, result);
            }
        }
        for (_, answer) in commands.into_values().flatten() {
            // Who asked may have left.
            answer.map(|it| it.send(Err(NotDone::Gone)));
        }
    }

    /// `now`, but no moment that a turn already had: what happens at a moment is told by its time.
    /// A clock that was set back far is believed.
    fn apart(&mut self, now: Now) -> Now {
        let is_soon = now.unix_ms <= self.last_ms && self.last_ms - now.unix_ms < SET_BACK_MS;
        self.last_ms = if is_soon { self.last_ms + 1 } else { now.unix_ms };
        Now { unix_ms: self.last_ms, ..now }
    }

    /// Writes everything down and lets the journals go: the process is on its way out.
    pub fn end(&mut self, now: Now) {
        let mut members = std::mem::take(&mut self.members);
        members.iter_mut().for_each(|it| it.live.begin_checkpoint(now));
        let since = clock::precise();
        for member in members {
            member.end(now, since);
        }
    }
}

impl Member {
    fn begin(wanted: &Wanted, journal: Option<Journaled>, now: Now, tell: &Tell) -> Self {
        let (journal, recovered, recent) = match journal {
            Some(it) => (Some(it.writer), it.recovered, it.recent),
            None => (None, Recovered::Nothing, vec![]),
        };
        let (plan, seam) = ((*wanted.plan).clone(), wanted.entry.seam().clone());
        let (live, fault) = Live::start(plan, journal, &recovered, seam, now);
        let outside = wanted.prometheus.as_ref();
        let outside = outside.and_then(|it| Outside::new(it, live.plan(), now.tick));
        let mut member = Self {
            live,
            outside,
            entry: Arc::clone(&wanted.entry),
            journal: wanted.journal.clone(),
            webhooks: wanted.webhooks.clone().into(),
            status: Arc::new(Status::pending(wanted.entry.name())),
        };
        let (name, state) = (member.entry.name(), member.live.state());
        let (phase, weight) = (state.phase.as_str(), percent(state.weight()));
        let level = if state.phase == Phase::Unreadable { Level::Alert } else { Level::Notice };
        let how = match &recovered {
            Recovered::Nothing => "begins".to_owned(),
            Recovered::Record(_) => "goes on from its journal".to_owned(),
            Recovered::TornRollback(_) => "was being rolled back".to_owned(),
            Recovered::Unreadable(why) => {
                format!("has a journal that cannot be read and is put aside ({why})")
            }
        };
        begin_metrics(name, member.live.plan());
        main_log()
            .say(level, format_args!("rollout \"{name}\" {how}: it is {phase}, canary {weight}"));
        member.publish(fault.as_ref());
        tell(member.begins(recent));
        member
    }

    /// What is told of it when it begins, or a configuration takes over; `recent` is what its
    /// journal had last.
    fn begins(&self, recent: Vec<Record>) -> News {
        let mut numbers = (0, 0);
        let of = |record: Record| {
            numbers = (record.at_ms, if numbers.0 == record.at_ms { numbers.1 + 1 } else { 1 });
            let status = self.status.updated(self.live.plan(), &record.state);
            Transition {
                event: record.event,
                at_ms: record.at_ms,
                number: numbers.1,
                status: Arc::new(status.behind(record.state.last.as_ref())),
                webhooks: Arc::clone(&self.webhooks),
            }
        };
        News::Begins {
            rollout: self.entry.name().to_owned(),
            journal: self.journal.clone(),
            webhooks: Arc::clone(&self.webhooks),
            recent: recent.into_iter().map(of).collect(),
        }
    }

    fn reconfigured(mut self, wanted: &Wanted, journal: Option<Journaled>, now: Now) -> Self {
        let (before, old) = (self.live.state().clone(), Arc::clone(&self.status));
        let (plan, seam) = ((*wanted.plan).clone(), wanted.entry.seam().clone());
        let is_same = plan == *self.live.plan();
        if plan.stable != self.live.plan().stable {
            let gone = &self.live.plan().stable;
            metrics::catalog().forget_evidence(self.entry.name(), gone);
        }
        let mut fault = self.live.reconfigure(plan, seam, now);
        self.outside = wanted.prometheus.as_ref().and_then(|it| match self.outside.take() {
            Some(outside) if is_same && outside.is_of(it) => Some(outside),
            _ => Outside::new(it, self.live.plan(), now.tick),
        });
        if let Some(journal) = journal {
            fault = self.live.move_journal(journal.writer, now).or(fault);
        }
        self.entry = Arc::clone(&wanted.entry);
        self.entry.tell(Arc::clone(&self.status));
        self.journal.clone_from(&wanted.journal);
        self.webhooks = wanted.webhooks.clone().into();
        let state = self.live.state();
        if *state != before {
            let (name, phase) = (self.entry.name(), state.phase.as_str());
            let (from, to) = (percent(before.weight()), percent(state.weight()));
            main_log().say(
                Level::Notice,
                format_args!("rollout \"{name}\" is reconfigured: it is {phase}, {from} -> {to}"),
            );
        }
        let gone = old
            .canaries
            .iter()
            .filter(|it| !state.canaries.iter().any(|canary| canary.label == it.version));
        gone.for_each(|it| metrics::catalog().forget_canary(self.entry.name(), &it.version));
        begin_metrics(self.entry.name(), self.live.plan());
        self.publish(fault.as_ref());
        self
    }

    fn begin_look(&mut self, commands: Vec<Command>, now: Now) -> Begun {
        let source = self.source(now);
        self.live.begin_look(commands, source, now)
    }

    fn end_look(&mut self, begun: Begun, now: Now, since: Tick, tell: &Tell) -> Looked {
        let looked = self.live.end_look(begun, since);
        count_evidence(self.entry.name(), self.live.plan(), self.live.news());
        self.publish(looked.fault.as_ref());
        for (event, number) in looked.events.iter().zip(1..) {
            log_event(self.entry.name(), event);
            let labels = [self.entry.name(), event.kind.as_str()];
            metrics::catalog().rollout_events.with_label_values(&labels).inc();
            tell(News::Transition(Transition {
                event: event.clone(),
                at_ms: now.unix_ms,
                number,
                status: Arc::clone(&self.status),
                webhooks: Arc::clone(&self.webhooks),
            }));
        }
        looked
    }

    fn source(&mut self, now: Now) -> Source {
        let Some(outside) = &mut self.outside else { return Source::Local };
        let name = self.entry.name();
        let before = outside.fault().is_some();
        let (source, has_failed) = outside.source(now.tick);
        if has_failed {
            metrics::catalog().rollout_evidence_faults.with_label_values(&[name]).inc();
        }
        match outside.fault() {
            Some(why)
                if !before
                    || (has_failed && self.status.evidence_fault.as_deref() != Some(why)) =>
            {
                main_log().say(
                    Level::Warn,
                    format_args!(
                        "rollout \"{name}\" holds, {} has no evidence: {why}",
                        outside.name()
                    ),
                );
            }
            None if before => main_log().say(
                Level::Notice,
                format_args!("rollout \"{name}\": {} has evidence", outside.name()),
            ),
            _ => {}
        }
        source
    }

    fn answer(
        &self,
        command: &Command,
        answer: Option<oneshot::Sender<Answer>>,
        result: Result<(), NotDone>,
    ) {
        let result = result.map(|()| Arc::clone(&self.status));
        match (answer, result) {
            // Who asked may have left.
            (Some(answer), result) => drop(answer.send(result)),
            (None, Err(why)) => main_log().say(
                Level::Warn,
                format_args!(
                    "rollout \"{}\": a script's \"{}\" is refused: {why}",
                    self.entry.name(),
                    command.as_str()
                ),
            ),
            (None, Ok(_)) => {}
        }
    }

    /// Shows where it stands to scripts, operators and metrics.
    fn publish(&mut self, fault: Option<&journal::Error>) {
        let mut status = self.status.updated(self.live.plan(), self.live.state());
        status.journal = self.journal.display().to_string();
        status.journal_fault = fault.map(ToString::to_string);
        let outside = self.outside.as_ref();
        status.evidence = outside.map_or("local", Outside::name).to_owned();
        status.evidence_fault = outside.and_then(Outside::fault).map(ToOwned::to_owned);
        let status = status.behind(self.live.state().last.as_ref());
        if let Some(fault) = fault {
            let name = self.entry.name();
            metrics::catalog().rollout_journal_faults.with_label_values(&[name]).inc();
            if status.journal_fault != self.status.journal_fault {
                main_log().say(
                    Level::Crit,
                    format_args!("rollout \"{name}\" holds, its journal is not written: {fault}"),
                );
            }
        }
        let status = Arc::new(status);
        if status != self.status {
            show_metrics(&status);
            self.entry.tell(Arc::clone(&status));
            self.status = status;
        }
    }

    fn end(mut self, now: Now, since: Tick) {
        if let Err(error) = self.live.end_checkpoint(now, since) {
            main_log().say(Level::Crit, format_args!("{error}"));
        }
    }
}

#[cfg(test)]
mod tests;
