//! A look at a rollout: where its evidence comes from, its halves, what became of commands.

use super::Now;
use crate::rollout::controller::{Event, Input, Refused, Stepped};
use crate::rollout::journal;
use crate::rollout::state::Seen;

/// What a look did.
#[derive(Debug, Default)]
pub struct Looked {
    /// What happened.
    pub events: Vec<Event>,
    /// An answer to each command.
    pub answers: Vec<Result<(), NotDone>>,
    /// Why the journal could not be written.
    pub fault: Option<journal::Error>,
}

/// The first half of a look.
#[derive(Debug)]
#[must_use = "the look is over behind `Live::end_look`"]
pub struct Begun {
    pub(super) input: Input,
    pub(super) stepped: Stepped,
    pub(super) now: Now,
    /// Something was handed to the disk.
    pub(super) is_written: bool,
}

/// Where the evidence of a look comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What this process counted.
    Local,
    /// What another program counted since the last look, a canary each.
    Outside(Vec<Seen>),
    /// Another program, which does not say: nothing advances, nothing is rolled back.
    Silent,
}

/// Why a command was not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It makes no sense now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It could not be written down.
    #[error("nothing was changed, for {0}")]
    Unwritten(String),
    /// The rollout has left the configuration, or the process is ending.
    #[error("the rollout has ended")]
    Gone,
}
