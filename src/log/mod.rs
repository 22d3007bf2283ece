//! Logs: lines in nginx's format that never make a worker wait.
//!
//! A line goes into a bounded queue of its sink; one thread a process writes the queues to files,
//! stderr and syslog ([`start`]). Before that thread runs, and after [`stop`], lines are written
//! at once. What finds no room is dropped, counted ([`dropped_lines`]) and reported.

pub mod access_log;
pub mod bridge;
pub mod capture;
pub mod error_log;
mod file;
pub mod level;
pub mod line;
pub mod ring;
mod sink;
mod syslog;
pub mod target;
mod writer;

pub use access_log::{AccessSink, Buffering};
pub use error_log::{ErrorLog, install, main_log};
pub use file::{paths, reopen_all};
pub use level::Level;
pub use line::Line;
pub use sink::dropped_lines;
pub use target::{Error, Target};
pub use writer::{flush, start, stop};
