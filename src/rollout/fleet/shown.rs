//! Rollouts in the error log and in metrics.

use crate::log::{Level, main_log};
use crate::metrics;
use crate::rollout::controller::{Event, Kind};
use crate::rollout::state::Phase;
use crate::rollout::status::{Status, percent};

/// What happened, in the error log: what somebody should look at as a warning.
pub(super) fn log_event(rollout: &str, event: &Event) {
    let level = match event.kind {
        Kind::RolledBack
        | Kind::Breached
        | Kind::OverLimit
        | Kind::Inconclusive
        | Kind::Aborted => Level::Warn,
        Kind::Checkpoint => return,
        _ => Level::Notice,
    };
    let Event { kind, canary, reason, from, to } = event;
    let (kind, from, to) = (kind.as_str(), percent(*from), percent(*to));
    main_log().say(
        level,
        format_args!("rollout \"{rollout}\": {kind}, canary \"{canary}\" {from} -> {to}: {reason}"),
    );
}

/// What became of messages to webhooks.
const RESULTS: [&str; 3] = ["delivered", "failed", "dropped"];

/// Shows the counters of a rollout from its beginning: an alert sees a counter that rises, not one
/// that appears.
pub(super) fn begin_metrics(rollout: &str) {
    let catalog = metrics::catalog();
    catalog.rollout_journal_faults.with_label_values(&[rollout]);
    catalog.rollout_evidence_faults.with_label_values(&[rollout]);
    for result in RESULTS {
        catalog.rollout_webhooks.with_label_values(&[rollout, result]);
    }
}

/// Shows where a rollout stands.
pub(super) fn show_metrics(status: &Status) {
    let catalog = metrics::catalog();
    let name = status.name.as_str();
    for phase in Phase::ALL {
        let gauge = catalog.rollout_state.with_label_values(&[name, phase.as_str()]);
        gauge.set(i64::from(phase == status.state));
    }
    for canary in &status.canaries {
        let version = canary.version.as_str();
        let share = f64::from(canary.weight) / 10_000.0;
        catalog.rollout_weight.with_label_values(&[name, version]).set(share);
        for (limit, known) in [("5xx_rate", &canary.failures), ("latency", &canary.slow)] {
            let Some(known) = known else { continue };
            let labels = [name, version, limit];
            catalog.rollout_over_limit.with_label_values(&labels).set(known.e1);
            catalog.rollout_worse.with_label_values(&labels).set(known.e2);
        }
    }
}

/// Shows a rollout no longer that has left the configuration.
pub(super) fn forget_metrics(status: &Status) {
    let catalog = metrics::catalog();
    for phase in Phase::ALL {
        // One that was never shown is an error to the crate, not to us.
        let _ = catalog.rollout_state.remove_label_values(&[&status.name, phase.as_str()]);
    }
    let _ = catalog.rollout_journal_faults.remove_label_values(&[&status.name]);
    let _ = catalog.rollout_evidence_faults.remove_label_values(&[&status.name]);
    for result in RESULTS {
        let _ = catalog.rollout_webhooks.remove_label_values(&[&status.name, result]);
    }
    for canary in &status.canaries {
        catalog.forget_canary(&status.name, &canary.version);
    }
}
