//! What all of one worker shares: its state for requests, its count of connections.

use crate::clock;
use crate::clock::Tick;
use crate::downstream::HeadWait;
use crate::log::{Level, main_log};
use crate::proxy::WorkerState;
use crate::snapshot::Snapshot;
use crate::sys::hang_up;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
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
    /// Open connections by their number.
    open: RefCell<BTreeMap<u64, (Rc<HeadWait>, RawFd)>>,
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
            open: RefCell::default(),
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
        self.open.borrow().len()
    }

    /// A connection was opened. One more than there may be takes the place of the one that has
    /// been idle longest, as nginx has it.
    pub fn enter(&self, wait: &Rc<HeadWait>, socket: RawFd) {
        self.open.borrow_mut().insert(wait.connection.serial, (Rc::clone(wait), socket));
        if self.connections() <= self.most.get() {
            return;
        }
        self.complain("reusing connections");
        if let Some(idle) = self.longest_idle() {
            idle.evict();
        }
    }

    /// Ends all connections, as if their clients had gone: requests on them end, and are logged.
    pub fn hang_up(&self) {
        for (_, socket) in self.open.borrow().values() {
            // One that has ended already needs none.
            let _ = hang_up::hang_up(*socket);
        }
    }

    /// The connection with this number has ended.
    pub fn exit(&self, serial: u64) {
        self.open.borrow_mut().remove(&serial);
        self.freed.notify_waiters();
        self.notice_end();
    }

    fn longest_idle(&self) -> Option<Rc<HeadWait>> {
        let open = self.open.borrow();
        let idle = open.values().filter_map(|(it, _)| Some((it.idle_since()?, it)));
        idle.min_by_key(|(since, _)| *since).map(|(_, it)| Rc::clone(it))
    }

    /// Whether one more client finds a place, its own or that of an idle one.
    fn has_room(&self) -> bool {
        self.connections() < self.most.get() || self.longest_idle().is_some()
    }

    /// A connection became idle: who waits for a place may have its.
    pub fn notice_idle(&self) {
        if self.connections() >= self.most.get() {
            self.freed.notify_waiters();
        }
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
            if self.has_room() {
                return;
            }
            self.complain("clients wait until one has gone");
            freed.await;
        }
    }

    fn complain(&self, what_follows: &str) {
        if self.may_complain() {
            let most = self.most.get();
            main_log().say(
                Level::Alert,
                format_args!("{most} worker_connections are not enough; {what_follows}"),
            );
        }
    }

    /// Whether it is time to say again what goes wrong with every client; true once a second.
    pub fn may_complain(&self) -> bool {
        let now = clock::monotonic();
        let is_time = self.complained.get().is_none_or(|it| now.ms_since(it) >= COMPLAINT_PAUSE_MS);
        if is_time {
            self.complained.set(Some(now));
        }
        is_time
    }
}
