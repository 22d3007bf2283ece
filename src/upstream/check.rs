//! An active check as configured, and what it knows of one peer: thresholds and the last result.

use super::expect::Expect;

use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model;
use crate::config::model::HealthKind;
use crate::tls;
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// A `health_check` with what its probes need compiled.
#[derive(Debug)]
pub(super) struct Check {
    /// Equal for checks that ask the same in the same way, wherever they are written.
    pub(super) key: u64,
    pub(super) settings: model::HealthCheck,
    pub(super) expect: Expect,
    /// TLS, if it is spoken: known once the locations are.
    pub(super) tls: OnceLock<CheckTls>,
}

/// How a check speaks TLS.
#[derive(Clone, Debug)]
pub struct CheckTls {
    /// Certificates, versions, sessions.
    pub client: Arc<tls::Client>,
    /// `proxy_ssl_name`, by default the upstream's.
    pub name: Box<str>,
    /// The name is sent.
    pub sends_name: bool,
}

impl Check {
    /// Compiles `settings`; a pattern that does not compile is a fault.
    pub(super) fn new(settings: &model::HealthCheck, diagnostics: &mut Diagnostics) -> Self {
        let nowhere = model::HealthCheck { at: At::default(), ..settings.clone() };
        let mut hasher = DefaultHasher::new();
        format!("{nowhere:?}").hash(&mut hasher);
        let expect = match &settings.kind {
            HealthKind::Http { expect, .. } => Expect::new(expect).unwrap_or_else(|fault| {
                diagnostics.fault(&settings.at, fault);
                Expect::default()
            }),
            HealthKind::Tcp | HealthKind::Grpc { .. } => Expect::default(),
        };
        Self { key: hasher.finish(), settings: settings.clone(), expect, tls: OnceLock::new() }
    }

    /// What tells its probes apart from those of another configuration: by TLS a reload may bring
    /// other certificates under the same names.
    pub(super) fn job_key(&self) -> u64 {
        self.tls.get().map_or(self.key, |it| self.key ^ it.client.number.rotate_left(32))
    }

    /// How many probes in a row change the verdict.
    pub(super) fn thresholds(&self) -> Thresholds {
        Thresholds { fails: self.settings.fails.max(1), passes: self.settings.passes.max(1) }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Result<(), &str> = Err("503");

    fn run(state: &mut CheckState, results: &[Result<(), &str>]) -> String {
        let thresholds = Thresholds { fails: 3, passes: 2 };
        let mut seen = String::new();
        for (now, result) in results.iter().enumerate() {
            let result = result.map_err(str::to_owned);
            seen.push(match state.step(result, thresholds, now as u64, 1) {
                None => '.',
                Some(Transition::Healthy) => 'H',
                Some(Transition::Unhealthy { failed, fails, error }) => {
                    assert_eq!((failed, fails, error.as_str()), (3, 3, "503"));
                    'U'
                }
            });
        }
        seen
    }

    #[test]
    fn thresholds_count_results_in_a_row_and_each_change_is_told_once() {
        let mut state = CheckState::new(1, false);
        assert!(state.is_healthy());
        let flapping = [BAD, BAD, Ok(()), BAD, BAD, BAD, BAD, Ok(()), BAD, Ok(()), Ok(()), Ok(())];
        assert_eq!(run(&mut state, &flapping), ".....U....H.");
        let status = state.status();
        assert_eq!((status.probes, status.failures, status.unhealthy), (12, 7, 1));
        assert_eq!((status.last_passed, status.last_at_ms), (Some(true), Some(11)));
        assert_eq!(status.last_error.as_deref(), Some("503"));
    }

    #[test]
    fn a_mandatory_check_waits_for_one_pass() {
        let mut state = CheckState::new(1, true);
        assert!(state.is_waiting() && !state.is_healthy());
        assert_eq!(run(&mut state, &[Ok(())]), "H");
        assert!(!state.is_waiting() && state.is_healthy());

        let mut state = CheckState::new(1, true);
        assert_eq!(run(&mut state, &[BAD, BAD, BAD, Ok(()), Ok(())]), "..U.H");
    }
}
