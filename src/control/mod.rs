//! The control side: signals, reload, the workers and their listening sockets, health checks, the
//! refresh of names. The data plane never waits for it.
//!
//! [`Control::run`] is the process's main loop over one closed [`Event`]. A reload builds a
//! [`Candidate`] aside, which can fail without anybody noticing but the log and `/status`.

mod candidate;
mod crew;
mod event;
mod handle;
mod reload;
mod rollouts;
mod run;
mod signals;
mod sockets;
mod source;

pub use candidate::{Candidate, Known};
pub use event::Event;
pub use handle::{Handle, LastReload, Status};
pub use reload::report;
pub use run::{Control, Fault};
pub use source::{DEFAULT_PID_FILE, Origin, Source};
