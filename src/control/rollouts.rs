//! The rollouts' own thread, and control's hand on it.

use crate::clock;
use crate::config::diagnostic::{At, Diagnostic, Diagnostics};
use crate::log::{Level, main_log};
use crate::resolver::Resolver;
use crate::rollout::fleet::{Fleet, Opened};
use crate::rollout::live::Now;
use crate::rollout::news::Tell;
use crate::rollout::prometheus::Feed;
use crate::rollout::registry::Order;
use crate::rollout::{Registry, Rollouts};
use crate::sys::errno::Failure;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Between two looks at the evidence.
const LOOK: Duration = Duration::from_millis(250);
/// Between two where no rollout lives.
const IDLE: Duration = Duration::from_secs(60);
/// Commands that one look takes.
const MOST_ORDERS: usize = 256;
/// How long the end of the process waits for the disk.
const LAST_WRITE: Duration = Duration::from_secs(3);

/// The rollouts that live; a thread of their own looks at them.
#[derive(Clone)]
pub(super) struct RolloutThread {
    fleet: Arc<Mutex<Fleet>>,
    /// What names in URLs are resolved by.
    resolver: Arc<ArcSwap<Resolver>>,
    /// Who asks for evidence that is elsewhere.
    asking: Arc<Mutex<Vec<Asking>>>,
}

/// A query, and the task that asks it again and again.
type Asking = (Arc<Feed>, AbortHandle);

impl RolloutThread {
    /// Starts the thread; `tell` hears of transitions.
    ///
    /// # Errors
    /// `pthread_create() failed …`.
    pub fn start(
        registry: &Arc<Registry>,
        resolver: Arc<ArcSwap<Resolver>>,
        tell: Tell,
    ) -> Result<Self, Failure> {
        let fleet = Arc::new(Mutex::new(Fleet::new(Arc::clone(registry), tell)));
        if let Some(inbox) = registry.inbox() {
            let fleet = Arc::clone(&fleet);
            thread::Builder::new()
                .name("rollouts".to_owned())
                .spawn(move || run(&fleet, &inbox))
                .map_err(|error| Failure::new("pthread_create()", error))?;
        }
        Ok(Self { fleet, resolver, asking: Arc::default() })
    }

    /// Opens the journals that a configuration needs; nothing is written.
    ///
    /// # Errors
    /// Those that cannot be opened.
    pub async fn open(&self, rollouts: &Rollouts) -> Result<Opened, Diagnostics> {
        let (fleet, rollouts) = (Arc::clone(&self.fleet), rollouts.clone());
        let open = move || {
            let known = fleet.lock().known();
            known.open(&rollouts)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.unwrap_or_else(|error| {
            let text = format!("the journals could not be opened: {error}");
            Err(Diagnostics(vec![Diagnostic::fault(&At::default(), text)]))
        })
    }

    /// Lets a configuration take over. Nothing fails.
    pub async fn commit(&self, rollouts: &Rollouts, opened: Opened) {
        let (fleet, rollouts) = (Arc::clone(&self.fleet), rollouts.clone());
        let commit = move || {
            let mut fleet = fleet.lock();
            fleet.commit(&rollouts, opened, now());
            fleet.feeds()
        };
        match tokio::task::spawn_blocking(commit).await {
            Ok(feeds) => self.ask(feeds),
            Err(error) => {
                main_log().say(Level::Alert, format_args!("rollouts were not taken over: {error}"));
            }
        }
    }

    /// Lets `feeds` be asked, and no others.
    fn ask(&self, feeds: Vec<Arc<Feed>>) {
        let mut asking = self.asking.lock();
        asking.retain(|(feed, task)| {
            let stays = feeds.iter().any(|it| Arc::ptr_eq(it, feed));
            if !stays {
                task.abort();
            }
            stays
        });
        for feed in feeds {
            if !asking.iter().any(|(it, _)| Arc::ptr_eq(it, &feed)) {
                let task = tokio::spawn(Arc::clone(&feed).run(Arc::clone(&self.resolver)));
                asking.push((feed, task.abort_handle()));
            }
        }
    }

    /// Writes everything down and lets the journals go, so that the next process may have them.
    pub async fn end(&self) {
        let fleet = Arc::clone(&self.fleet);
        self.ask(Vec::new());
        let end = tokio::task::spawn_blocking(move || fleet.lock().end(now()));
        if tokio::time::timeout(LAST_WRITE, end).await.is_err() {
            main_log().say(Level::Alert, format_args!("a rollout's journal is stuck"));
        }
    }
}

fn now() -> Now {
    Now { tick: clock::precise(), unix_ms: clock::unix_ms() }
}

/// Looks again and again, at once where somebody commands something, until the process ends.
fn run(fleet: &Mutex<Fleet>, inbox: &Receiver<Order>) {
    let mut wait = IDLE;
    loop {
        let mut orders = match inbox.recv_timeout(wait) {
            Ok(order) => vec![order],
            Err(RecvTimeoutError::Timeout) => vec![],
            Err(RecvTimeoutError::Disconnected) => return,
        };
        orders.extend(inbox.try_iter().take(MOST_ORDERS));
        let mut fleet = fleet.lock();
        fleet.turn(orders, now());
        wait = if fleet.is_empty() { IDLE } else { LOOK };
    }
}
