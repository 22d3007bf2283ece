//! What one active check knows of one peer: thresholds and the last result. Pure.

use serde::Serialize;

/// One `health_check` of one peer.
#[derive(Clone, Debug)]
pub struct CheckState {
    /// Which check this is: what it was configured with.
    pub(super) key: u64,
    status: CheckStatus,
    good: u32,
    bad: u32,
    healthy: bool,
}

/// What `/status` says of one check of one peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckStatus {
    /// Probes sent.
    pub probes: u64,
    /// Probes that failed.
    pub failures: u64,
    /// Times that the peer became unhealthy.
    pub unhealthy: u64,
    /// Whether the last probe passed; none before the first.
    pub last_passed: Option<bool>,
    /// Why the last failed probe failed.
    pub last_error: Option<String>,
    /// When the last probe ended, monotonic milliseconds.
    pub last_at_ms: Option<u64>,
    /// How long the last probe took, milliseconds.
    pub last_took_ms: Option<u64>,
}

/// A peer's change of health, to be logged once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Probes pass again, or for the first time where that was required.
    Healthy,
    /// Enough probes failed in a row.
    Unhealthy {
        /// Why the last one failed.
        error: String,
        /// How many failed in a row.
        failed: u32,
        /// How many it takes.
        fails: u32,
    },
}

/// `fails=` and `passes=`: probes in a row that change the verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) fails: u32,
    pub(super) passes: u32,
}

impl CheckState {
    /// A check that has not run: healthy until proven otherwise, unless it is `mandatory`.
    pub(super) fn new(key: u64, mandatory: bool) -> Self {
        let status = CheckStatus::default();
        Self { key, status, good: 0, bad: 0, healthy: !mandatory }
    }

    /// Whether the peer waits for the first probe of a `mandatory` check.
    pub(super) fn is_waiting(&self) -> bool {
        !self.healthy && self.status.unhealthy == 0
    }

    /// This check's verdict.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// For `/status`.
    pub(super) fn status(&self) -> &CheckStatus {
        &self.status
    }

    /// Takes in a probe's result, which ended at `now_ms` after `took_ms`.
    pub(super) fn step(
        &mut self,
        result: Result<(), String>,
        thresholds: Thresholds,
        now_ms: u64,
        took_ms: u64,
    ) -> Option<Transition> {
        let status = &mut self.status;
        status.probes += 1;
        status.last_passed = Some(result.is_ok());
        status.last_at_ms = Some(now_ms);
        status.last_took_ms = Some(took_ms);
        match result {
            Ok(()) => {
                self.bad = 0;
                self.good = self.good.saturating_add(1);
                // A peer that only waited for its first probe needs one pass, as in NGINX Plus.
                let waits = !self.healthy && self.status.unhealthy == 0;
                if self.healthy || !(waits || self.good >= thresholds.passes) {
                    return None;
                }
                self.healthy = true;
                Some(Transition::Healthy)
            }
            Err(error) => {
                status.failures += 1;
                status.last_error = Some(error.clone());
                self.good = 0;
                self.bad = self.bad.saturating_add(1);
                let waits = !self.healthy && status.unhealthy == 0;
                if !(self.healthy || waits) || self.bad < thresholds.fails {
                    return None;
                }
                self.healthy = false;
                status.unhealthy += 1;
                let (failed, fails) = (self.bad, thresholds.fails);
                Some(Transition::Unhealthy { error, failed, fails })
            }
        }
    }
}
