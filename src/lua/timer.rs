//! Timers: how many wait and run, and the word that the worker is leaving.

use std::cell::Cell;

/// The timers of one VM.
#[derive(Debug)]
pub struct Timers {
    max_pending: usize,
    max_running: usize,
    pending: Cell<usize>,
    running: Cell<usize>,
}

impl Timers {
    /// With the limits of `lua_max_pending_timers` and `lua_max_running_timers`.
    pub fn new(max_pending: usize, max_running: usize) -> Self {
        Self { max_pending, max_running, pending: Cell::new(0), running: Cell::new(0) }
    }

    /// Timers that wait (`ngx.timer.pending_count()`).
    pub fn pending(&self) -> usize {
        self.pending.get()
    }

    /// Callbacks that run (`ngx.timer.running_count()`).
    pub fn running(&self) -> usize {
        self.running.get()
    }
}
