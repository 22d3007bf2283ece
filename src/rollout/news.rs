//! What is told of rollouts to whoever wants to know: that one comes to life, moves, leaves.

use super::controller::Event;
use super::status::Status;
use std::path::PathBuf;
use std::sync::Arc;

/// A transition, for whoever wants to be told.
#[derive(Clone, Debug)]
pub struct Transition {
    /// What happened.
    pub event: Event,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Which one of those of that moment, from 1.
    pub number: usize,
    /// Where the rollout stands behind it.
    pub status: Arc<Status>,
    /// Whom the configuration wants to be told.
    pub webhooks: Arc<[String]>,
}

/// What is told, in its order.
#[derive(Clone, Debug)]
pub enum News {
    /// A rollout comes to life, or goes on under a configuration.
    Begins {
        /// Its name.
        rollout: String,
        /// Its journal.
        journal: PathBuf,
        /// Whom the configuration wants to be told.
        webhooks: Arc<[String]>,
        /// The last transitions that its journal has, which may have been told or not.
        recent: Vec<Transition>,
    },
    /// Something happened.
    Transition(Transition),
    /// A rollout has left the configuration.
    Leaves(String),
}

/// Who is told; must not wait.
pub type Tell = Box<dyn Fn(News) + Send>;
