//! Rollouts in the error log and in metrics.

use crate::log::{Level, main_log};
use crate::metrics;
use crate::rollout::analysis::Counts;
use crate::rollout::controller::{Event, Kind};
use crate::rollout::evidence::{Tally, Totals};
use crate::rollout::plan::Plan;
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
pub(super) fn begin_metrics(rollout: &str, plan: &Plan) {
    let catalog = metrics::catalog();
    catalog.rollout_journal_faults.with_label_values(&[rollout]);
    catalog.rollout_evidence_faults.with_label_values(&[rollout]);
    for result in RESULTS {
        catalog.rollout_webhooks.with_label_values(&[rollout, result]);
    }
    count_evidence(rollout, plan, &vec![Totals::default(); plan.canaries.len() + 1]);
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

/// Counts what a look saw, `news` a variant, as it is judged: a Prometheus that has it of several
/// gateways can judge for all of them.
pub(super) fn count_evidence(rollout: &str, plan: &Plan, news: &[Totals]) {
    for (version, news) in versions(plan).zip(news) {
        for (by, Tally { failures, slow }) in [("weight", news.by_weight), ("choice", news.chosen)]
        {
            for (limit, Counts { requests, bad }) in [("5xx_rate", failures), ("latency", slow)] {
                let good = requests.saturating_sub(bad);
                for (result, count) in [("good", good), ("bad", bad)] {
                    let labels = [rollout, version, by, limit, result];
                    metrics::catalog().rollout_evidence.with_label_values(&labels).inc_by(count);
                }
            }
        }
    }
}

/// Labels of the variants, stable's first.
fn versions(plan: &Plan) -> impl Iterator<Item = &str> {
    let canaries = plan.canaries.iter().map(|it| it.0.as_str());
    std::iter::once(plan.stable.as_str()).chain(canaries)
}

/// Shows a rollout no longer that has left the configuration.
pub(super) fn forget_metrics(plan: &Plan, status: &Status) {
    let catalog = metrics::catalog();
    catalog.forget_evidence(&status.name, &plan.stable);
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
