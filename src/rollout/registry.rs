//! The rollouts of the process: what outlives configurations, and what workers share with it.
//!
//! An [`Entry`] is one rollout as a worker needs it. The build of a snapshot asks
//! [`Registry::build`] for those of its configuration and keeps them: a rollout that goes on has
//! the entry that it had, with its shares, its evidence and its secret. Where the list of canaries
//! or the latency limit changes, numbers of variants or counts mean something else, so that it gets
//! another entry, and requests in flight end on the old one. Nothing in an entry is ever exchanged:
//! a worker may keep references to its parts for as long as it has the snapshot.
//!
//! Nothing that [`Registry::build`] does can be noticed: journals are only looked at, entries that
//! nobody takes over are forgotten. What brings a rollout to life is control
//! ([`super::fleet::Fleet`]), when a configuration takes over.

use super::assign::Shares;
use super::controller::Command;
use super::evidence::Evidence;
use super::journal::{self, Journal};
use super::live::{NotDone, Seam};
use super::outbox;
use super::plan::Plan;
use super::signature::{Secret, hex};
use super::status::Status;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// Commands to one rollout that may wait; a script that sends more is told so.
const MOST_WAITING: usize = 64;

/// An answer to a command: the status behind it.
pub type Answer = Result<Arc<Status>, NotDone>;

/// What control is told from elsewhere.
#[derive(Debug)]
pub enum Order {
    /// Somebody's command to a rollout.
    Command {
        /// To which.
        entry: Arc<Entry>,
        /// What.
        command: Command,
        /// Who wants to know what became of it.
        answer: Option<oneshot::Sender<Answer>>,
    },
    /// Look again now: something else is to be done.
    Wake,
}

/// One rollout as workers need it.
#[derive(Debug)]
pub struct Entry {
    name: Box<str>,
    seam: Seam,
    /// What the journal keeps, 64 hexadecimal digits.
    secret: String,
    /// What that is from, where the journal is new.
    fresh: [u8; 32],
    status: ArcSwap<Status>,
    waiting: AtomicUsize,
    orders: Sender<Order>,
}

/// Too many commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many commands wait")]
pub struct Busy;

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What picks obey. All are stable's until control has read the journal, which is before the
    /// first request.
    pub fn shares(&self) -> &Arc<Shares> {
        &self.seam.shares
    }

    /// What requests are counted with.
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.seam.evidence
    }

    /// What cookies are signed with where no `secret_file` says otherwise: the same for as long as
    /// the journal is kept.
    pub fn own_secret(&self) -> Secret {
        Secret::new(self.secret.as_bytes()).expect("64 digits are enough for a secret")
    }

    /// Where it stands: as of the last look, a quarter of a second ago at most.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Sends a command and does not wait: for scripts. It is followed within milliseconds, or
    /// refused, which the log says.
    ///
    /// # Errors
    /// Too many wait.
    pub fn send(self: &Arc<Self>, command: Command) -> Result<(), Busy> {
        self.order(command, None)
    }

    /// Sends a command whose answer will come: for operators. The receiver fails where the process
    /// is ending.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask(self: &Arc<Self>, command: Command) -> Result<oneshot::Receiver<Answer>, Busy> {
        let (answer, receiver) = oneshot::channel();
        self.order(command, Some(answer)).map(|()| receiver)
    }

    fn order(
        self: &Arc<Self>,
        command: Command,
        answer: Option<oneshot::Sender<Answer>>,
    ) -> Result<(), Busy> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.taken();
            return Err(Busy);
        }
        // Nobody listens when the process is ending.
        let _ = self.orders.send(Order::Command { entry: Arc::clone(self), command, answer });
        Ok(())
    }

    /// Both together.
    pub fn seam(&self) -> &Seam {
        &self.seam
    }

    /// What a new journal's secret is made from.
    pub fn fresh_secret(&self) -> &[u8; 32] {
        &self.fresh
    }

    /// Whether a journal keeps the same secret.
    pub fn has_secret(&self, secret: &str) -> bool {
        self.secret == secret
    }

    /// Shows another status from now on.
    pub fn tell(&self, status: Arc<Status>) {
        self.status.store(status);
    }

    /// A command has been taken from the queue.
    pub fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A rollout that a configuration wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where its block begins.
    pub at: At,
    /// Its entry: that of the rollout in force, or one that control is yet to bring to life.
    pub entry: Arc<Entry>,
    /// What the operator wants of it.
    pub plan: Arc<Plan>,
    /// Its journal, absolute.
    pub journal: PathBuf,
    /// The Prometheus that has the evidence; none where this process counts.
    pub prometheus: Option<model::Prometheus>,
    /// Who is told of transitions.
    pub webhooks: Vec<String>,
}

/// The rollouts of one snapshot, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Rollouts(Vec<Wanted>);

impl Rollouts {
    /// The one called `name`; names are compared letter by letter.
    pub fn get(&self, name: &str) -> Option<&Wanted> {
        self.0.iter().find(|it| it.entry.name() == name)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Wanted> {
        self.0.iter()
    }

    /// The files that they keep: journals, and outboxes beside them.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().flat_map(|it| [it.journal.clone(), outbox::beside_journal(&it.journal)])
    }
}

/// What makes two rollouts of one name the same to workers: the name, the labels of the canaries
/// and the latency limit in milliseconds.
type Shape = (String, Vec<String>, u64);

/// The rollouts of the process.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<HashMap<Shape, Weak<Entry>>>,
    /// Those of the configuration in force.
    live: ArcSwap<Vec<Arc<Entry>>>,
    orders: Sender<Order>,
    inbox: Mutex<Option<Receiver<Order>>>,
}

impl Default for Registry {
    fn default() -> Self {
        let (orders, inbox) = mpsc::channel();
        let inbox = Mutex::new(Some(inbox));
        Self { known: Mutex::default(), live: ArcSwap::default(), orders, inbox }
    }
}

impl Registry {
    /// The rollouts that a configuration wants; those already known share what they had. Nothing
    /// changes: journals below `prefix` are looked at, not opened. Faults go to `diagnostics`; a
    /// rollout with a fault is left out.
    pub fn build(
        &self,
        rollouts: &[model::Rollout],
        prefix: &Path,
        diagnostics: &mut Diagnostics,
    ) -> Rollouts {
        let mut journals = BTreeSet::new();
        let mut wanted = Vec::new();
        for rollout in rollouts {
            let journal = journal_of(rollout, prefix);
            if !journals.insert(journal.clone()) {
                let message = format!("the journal \"{}\" is another rollout's", journal.display());
                diagnostics.fault(&rollout.at, message);
                continue;
            }
            let plan = Plan::new(rollout);
            match self.entry(&plan, &journal) {
                Ok(entry) => wanted.push(Wanted {
                    at: rollout.at.clone(),
                    entry,
                    plan: Arc::new(plan),
                    journal,
                    prometheus: match &rollout.evidence {
                        Some(model::EvidenceSource::Prometheus(it)) => Some(it.clone()),
                        Some(model::EvidenceSource::Local) | None => None,
                    },
                    webhooks: rollout.webhooks.iter().map(|it| it.url.clone()).collect(),
                }),
                Err(why) => {
                    let message = format!("the journal of rollout \"{}\": {why}", rollout.name);
                    diagnostics.fault(&rollout.at, message);
                }
            }
        }
        Rollouts(wanted)
    }

    fn entry(&self, plan: &Plan, journal: &Path) -> Result<Arc<Entry>, String> {
        let labels = plan.canaries.iter().map(|it| it.0.clone()).collect();
        let shape = (plan.name.clone(), labels, plan.slow_ms);
        let mut known = self.known.lock();
        known.retain(|_, it| it.strong_count() > 0);
        if let Some(entry) = known.get(&shape).and_then(Weak::upgrade) {
            return Ok(entry);
        }
        let fresh: [u8; 32] = rand::random();
        let secret = match self.find(&plan.name) {
            Some(live) => live.secret.clone(),
            None => Journal::peek(journal, &plan.name)?.unwrap_or_else(|| hex(&fresh)),
        };
        let entry = Arc::new(Entry {
            name: plan.name.as_str().into(),
            seam: Seam::new(plan.canaries.len(), plan.slow_ms),
            secret,
            fresh,
            status: ArcSwap::from_pointee(Status::pending(&plan.name)),
            waiting: AtomicUsize::new(0),
            orders: self.orders.clone(),
        });
        known.insert(shape, Arc::downgrade(&entry));
        Ok(entry)
    }

    /// The rollouts in force.
    pub fn live(&self) -> Arc<Vec<Arc<Entry>>> {
        self.live.load_full()
    }

    /// The rollout in force that is called `name`.
    pub fn find(&self, name: &str) -> Option<Arc<Entry>> {
        self.live.load().iter().find(|it| it.name() == name).cloned()
    }

    /// Lets whoever drives the rollouts look at once.
    pub fn wake(&self) {
        // Nobody listens before the start and behind the end.
        let _ = self.orders.send(Order::Wake);
    }

    /// Where commands arrive; the first who asks drives the rollouts.
    pub fn inbox(&self) -> Option<Receiver<Order>> {
        self.inbox.lock().take()
    }

    #[cfg(test)]
    pub(super) fn put_back(&self, inbox: Receiver<Order>) {
        *self.inbox.lock() = Some(inbox);
    }

    /// Those of a configuration that takes over.
    pub fn set_live(&self, entries: Vec<Arc<Entry>>) {
        self.live.store(Arc::new(entries));
    }
}

/// Where the journal of `rollout` is: as it says, or `rollouts/NAME.journal`, below the prefix.
pub fn journal_of(rollout: &model::Rollout, prefix: &Path) -> PathBuf {
    let default = || format!("{}/{}.journal", journal::FOLDER, rollout.name);
    let path = prefix.join(rollout.journal.clone().unwrap_or_else(default));
    // `./a` and `a` are one file.
    path.components().collect()
}

#[cfg(test)]
mod tests;
