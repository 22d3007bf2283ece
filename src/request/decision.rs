//! What was decided for a request, and why: logs, metrics and `explain` all read this record.

use crate::rollout::Pick;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// The Decision of one request.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The variant's label, as a script or a rollout gave it; empty when none was given.
    pub version: Bytes,
    /// Why, in the words of whoever decided; where nobody said, [`Decision::source`] tells.
    pub reason: Bytes,
    /// The directive and line that last assigned the variable which `proxy_pass` reads:
    /// `access_by_lua(nginx.conf:12)`, `set at nginx.conf:7`.
    pub source: Option<Arc<str>>,
    /// The upstream that was chosen.
    pub upstream: Option<Arc<str>>,
    /// A script gave the version.
    pub by_script: bool,
    /// What rollouts decided, in the order in which they were asked; each decides once.
    pub rollouts: SmallVec<[Picked; 1]>,
}

/// What one rollout decided for the request.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The rollout's number in the snapshot.
    pub rollout: u16,
    /// The variant, and why.
    pub pick: Pick,
    /// The variant that it would have been if that had a peer, or had not failed.
    pub wanted: u8,
    /// The first canary's share then, basis points.
    pub weight: u16,
}

impl Decision {
    /// The reason for people: what was given, else what assigned the upstream, else `static`.
    pub fn why(&self) -> &[u8] {
        match (&self.source, self.reason.is_empty()) {
            (_, false) => &self.reason,
            (Some(source), true) => source.as_bytes(),
            (None, true) if self.upstream.is_some() => b"static",
            (None, true) => b"",
        }
    }
}
