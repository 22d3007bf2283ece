//! What control tells a worker, and how a worker's end is told.

use super::scripts::Plan;
use crate::sys::socket::Listener;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a worker is told to do. Commands are done one after the other.
pub(super) enum Command {
    /// Build a VM for this configuration, beside the one that serves.
    Prepare {
        /// The configuration.
        plan: Plan,
        /// What came of it: why there is no VM.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Serve new requests by what was prepared.
    Commit {
        /// Told when it does.
        reply: oneshot::Sender<()>,
    },
    /// Forget what was prepared.
    Discard,
    /// Accept from one more socket.
    Open {
        /// The listener's address.
        address: Arc<str>,
        /// Which of the sockets of that address it is.
        number: usize,
        /// The socket.
        socket: Listener,
    },
    /// Accept no more from a socket from which another worker does.
    Leave {
        /// The listener's address.
        address: Arc<str>,
        /// Which of its sockets.
        number: usize,
    },
    /// Close a listener: serve who has connected, then nobody.
    Close {
        /// Its address.
        address: Arc<str>,
    },
    /// Close all listeners, then end; at the latest after this many milliseconds.
    Drain {
        /// `worker_shutdown_timeout`; `None` is no limit.
        timeout_ms: Option<u64>,
    },
    /// End now.
    Stop,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told.
    Told,
    /// By a panic.
    Died,
}
