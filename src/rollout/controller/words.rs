//! What operators say to a rollout, what it answers, and what happens to it.

use crate::rollout::state::Phase;
use crate::rollout::status::percent;
use serde::{Deserialize, Serialize};

/// What an operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Enter the next step now; behind the last one, everything.
    Promote,
    /// Stay at this weight.
    Pause,
    /// Go on; after a rollback or an abort, begin anew.
    Resume,
    /// All traffic to stable, until `Resume`.
    Abort,
    /// Give a canary this weight, and stay there.
    SetWeight {
        /// Its label; none is the first.
        canary: Option<String>,
        /// Basis points.
        weight: u16,
    },
}

impl Command {
    /// The word of it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::SetWeight { .. } => "set-weight",
        }
    }
}

/// What happened in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It began, or the configuration changed it.
    Configured,
    /// A step ended well: the next weight holds.
    Advanced,
    /// A canary is worse than stable and over its limit: its traffic went back.
    RolledBack,
    /// The same, with `on_breach hold`: the weight stays.
    Breached,
    /// A canary is over its limit, and not worse than stable as far as is known: the weight stays.
    OverLimit,
    /// That is over.
    WithinLimit,
    /// A step waits for `promote`.
    Waiting,
    /// A step had too little traffic for too long.
    Inconclusive,
    /// An operator's word: promote.
    Promoted,
    /// An operator's word: pause.
    Paused,
    /// An operator's word: resume.
    Resumed,
    /// An operator's word: abort.
    Aborted,
    /// An operator's word: set-weight.
    WeightSet,
    /// Nothing happened; the evidence so far is kept.
    Checkpoint,
}

impl Kind {
    /// The word for logs, metrics and webhooks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Advanced => "advanced",
            Self::RolledBack => "rolled_back",
            Self::Breached => "breached",
            Self::OverLimit => "over_limit",
            Self::WithinLimit => "within_limit",
            Self::Waiting => "waiting",
            Self::Inconclusive => "inconclusive",
            Self::Promoted => "promoted",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Aborted => "aborted",
            Self::WeightSet => "weight_set",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl Kind {
    /// Whether people are told of it.
    pub const fn is_transition(self) -> bool {
        !matches!(self, Self::Configured | Self::Checkpoint)
    }
}

/// An event, with the numbers that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To which canary.
    pub canary: String,
    /// Why, in words and numbers.
    pub reason: String,
    /// The canary's weight before, basis points.
    pub from: u16,
    /// And after.
    pub to: u16,
}

/// Why a command was not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A latch: only `resume` leads on.
    #[error("the rollout is {}; resume it first", .0.as_str())]
    Latched(Phase),
    /// This one canary was rolled back.
    #[error("\"{0}\" was rolled back; resume it first")]
    Closed(String),
    /// There is nothing to go on with.
    #[error("the rollout is {}; there is nothing to {}", .0.as_str(), .1)]
    Nothing(Phase, &'static str),
    /// No canary has this label; those that there are.
    #[error("no canary \"{0}\"; there is {1}")]
    Unknown(String, String),
    /// The weights would be more than the whole; what the other canaries have, basis points.
    #[error("that is more than 100%: the other canaries have {}", percent(*.0))]
    TooMuch(u16),
}
