//! Upstreams: groups of peers, the choice of one, and what is known of their health.

pub mod balance;
pub mod check;
mod expect;
#[cfg(test)]
mod fixture;
pub mod group;
pub mod health;
pub mod peer;
mod queue;
pub mod refresh;
pub mod registry;
pub mod retry;
mod ring;
mod scrape;
pub mod status;

pub use balance::{NoPeer, Picker, Tried};
pub use check::CheckTls;
pub use group::{Algorithm, Group, Keepalive, PeerSet};
pub use peer::{ActiveGuard, Outcome, Peer, PeerAddr, PeerState, Standing};
pub use queue::Place;
pub use registry::{Addresses, Groups, Implicit, Registry};
