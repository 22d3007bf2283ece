//! What all of one worker shares: its state for requests, its count of connections.

use crate::clock;
use crate::clock::Tick;
use crate::log::{Level, main_log};
use crate::proxy::WorkerState;
use crate::snapshot::Snapshot;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// nginx's default of `worker_connections`.
const DEFAULT_CONNECTIONS: usize = 512;

/// How often a full worker says so at most.
const COMPLAINT_PAUSE_MS: u64 = 1000;

/// A worker's own.
pub(super) struct Core {
    state: Rc<WorkerState>,
    /// `worker_connections`.
    most: Cell<usize>,
    open: Cell<usize>,
    /// No client is accepted until then.
    resting_until: Cell<Option<Tick>>,
    complained: Cell<Option<Tick>>,
    freed: Notify,
    /// An accept loop or a connection ended.
    ended: Notify,
}

impl Core {
    /// For a worker that serves `state`.
    pub fn new(state: Rc<WorkerState>) -> Rc<Self> {
        let core = Self {
            most: Cell::new(DEFAULT_CONNECTIONS),
            open: Cell::new(0),
            resting_until: Cell::new(None),
            complained: Cell::new(None),
            freed: Notify::new(),
            ended: Notify::new(),
            state,
        };
        core.follow(&core.state.current().snapshot);
        Rc::new(core)
    }

    /// What requests share.
    pub fn state(&self) -> &Rc<WorkerState> {
        &self.state
    }

    /// Takes `worker_connections` from `snapshot`.
    pub fn follow(&self, snapshot: &Snapshot) {
        let events = snapshot.model.events.as_ref();
        let most = events.and_then(|it| it.worker_connections).unwrap_or(DEFAULT_CONNECTIONS);
        self.most.set(most.max(1));
        self.freed.notify_waiters();
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.open.get()
    }

    /// A connection was opened.
    pub fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// A connection has ended.
    pub fn exit(&self) {
        self.open.set(self.open.get() - 1);
        self.freed.notify_waiters();
        self.notice_end();
    }

    /// Wakes who waits for the worker to be done.
    pub fn notice_end(&self) {
        self.ended.notify_one();
    }

    /// Until a connection or an accept loop ends.
    pub async fn an_end(&self) {
        self.ended.notified().await;
    }

    /// Accepts nobody for `pause`.
    pub fn rest(&self, pause: Duration) {
        self.resting_until.set(Some(clock::monotonic() + pause));
    }

    /// Until one more client may be accepted.
    pub async fn room(&self) {
        loop {
            if let Some(until) = self.resting_until.get() {
                let left = until - clock::monotonic();
                if !left.is_zero() {
                    tokio::time::sleep(left).await;
                }
                self.resting_until.set(None);
            }
            let freed = self.freed.notified();
            if self.open.get() < self.most.get() {
                return;
            }
            self.complain();
            freed.await;
        }
    }

    fn complain(&self) {
        let now = clock::monotonic();
        if self.complained.get().is_some_and(|it| now.ms_since(it) < COMPLAINT_PAUSE_MS) {
            return;
        }
        self.complained.set(Some(now));
        let most = self.most.get();
        main_log().say(
            Level::Alert,
            format_args!(
                "{most} worker_connections are not enough; clients wait until one has gone"
            ),
        );
    }
}
