//! Timers of a VM: how many wait and run, and the word that the worker is leaving.

use std::cell::Cell;
use tokio::sync::Notify;

/// The timers of one VM.
#[derive(Debug)]
pub struct Timers {
    max_pending: usize,
    max_running: usize,
    pending: Cell<usize>,
    running: Cell<usize>,
    exiting: Cell<bool>,
    exit: Notify,
    ended: Notify,
}

impl Timers {
    /// With the limits of `lua_max_pending_timers` and `lua_max_running_timers`.
    pub fn new(max_pending: usize, max_running: usize) -> Self {
        Self {
            max_pending,
            max_running,
            pending: Cell::new(0),
            running: Cell::new(0),
            exiting: Cell::new(false),
            exit: Notify::new(),
            ended: Notify::new(),
        }
    }

    /// Timers that wait (`ngx.timer.pending_count()`).
    pub fn pending(&self) -> usize {
        self.pending.get()
    }

    /// Callbacks that run (`ngx.timer.running_count()`).
    pub fn running(&self) -> usize {
        self.running.get()
    }

    /// `lua_max_running_timers`.
    pub fn max_running(&self) -> usize {
        self.max_running
    }

    /// Whether no more may wait.
    pub fn is_full(&self) -> bool {
        self.pending.get() >= self.max_pending
    }

    /// One more waits.
    pub fn begin_wait(&self) {
        self.pending.set(self.pending.get() + 1);
    }

    /// One waits no more.
    pub fn end_wait(&self) {
        self.pending.set(self.pending.get() - 1);
        self.ended.notify_waiters();
    }

    /// One more runs; `false` when there are too many.
    pub fn begin_run(&self) -> bool {
        let admitted = self.running.get() < self.max_running;
        self.running.set(self.running.get() + usize::from(admitted));
        admitted
    }

    /// One runs no more.
    pub fn end_run(&self) {
        self.running.set(self.running.get() - 1);
        self.ended.notify_waiters();
    }

    /// Whether the worker is leaving (`ngx.worker.exiting()`).
    pub fn is_exiting(&self) -> bool {
        self.exiting.get()
    }

    /// The worker leaves, or a reload replaces the VM: waiting timers fire now, with `premature`.
    pub fn exit(&self) {
        self.exiting.set(true);
        self.exit.notify_waiters();
    }

    /// Waits until `exit` is called; at once if it was.
    pub async fn exited(&self) {
        loop {
            let notified = self.exit.notified();
            if self.exiting.get() {
                return;
            }
            notified.await;
        }
    }

    /// Waits until no timer waits or runs.
    pub async fn idle(&self) {
        loop {
            let notified = self.ended.notified();
            if self.pending.get() == 0 && self.running.get() == 0 {
                return;
            }
            notified.await;
        }
    }
}
