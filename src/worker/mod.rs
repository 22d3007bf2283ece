//! Workers: one thread each, with its event loop, its listening sockets and its Lua VM.
//!
//! A worker accepts connections and serves them on its own thread from beginning to end. It is
//! told what to do by commands ([`Worker`]); its configuration is exchanged in two steps, so that
//! either all workers serve a new one or none does.

mod command;
mod core;
mod digest;
mod explain;
mod handshakes;
mod http2;
mod listener;
mod scripts;
mod serve;
mod socket;
mod stream;
mod thread;

pub use command::End;
pub use explain::explain;
pub use scripts::{Plan, Trial};
pub use thread::Worker;
