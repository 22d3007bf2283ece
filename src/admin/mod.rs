//! The admin listener: `/metrics`, `/healthz`, `/status`, `/rollouts`, on loopback unless told
//! otherwise.
//!
//! It runs beside control and reads what control publishes; requests of clients never meet it. It
//! answers one request a connection, with limits on everything.

mod head;
mod listener;
mod rollouts;
mod routes;

pub use listener::{Bound, bind, run};
