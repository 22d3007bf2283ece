//! Rollouts: which variant a request gets, how a new version is judged, and how its share moves.
//!
//! Most of it is without I/O: [`assign`] picks, [`evidence`] counts, [`analysis`] judges,
//! [`controller`] decides as a pure step. [`journal`] remembers
//! ([`writer`] waits for the disk), [`live`] brings these together,
//! [`fleet`] drives all rollouts from a thread of control's, [`registry`] has what workers share
//! with them. [`webhook`] tells of transitions ([`outbox`] keeps what is not told yet),
//! [`prometheus`] brings evidence from elsewhere.

pub mod account;
pub mod analysis;
pub mod assign;
mod compile;
pub mod controller;
pub mod evidence;
pub mod exchange;
pub mod fleet;
pub mod hash;
pub mod journal;
pub mod layout;
pub mod live;
pub mod news;
pub mod outbox;
pub mod outside;
pub mod plan;
pub mod prometheus;
pub mod registry;
pub mod signature;
pub mod simulation;
pub mod state;
pub mod status;
mod trust;
pub mod webhook;
pub mod writer;

pub use assign::{Assign, Client, Pick, REASONS, Reason, Shares};
pub use compile::Needs;
pub use evidence::{Ending, Evidence, InFlight};
pub use journal::Recovered;
pub use registry::{Entry, Registry, Rollouts};
