//! Rollouts as people read them.

use crate::app::rollouts::Way;
use crate::clock;
use crate::rollout::analysis::{Counts, Verdict};
use crate::rollout::state::Phase;
use crate::rollout::status::{CanaryStatus, LimitStatus, Status, duration, percent};

/// Rows in columns, two blanks apart, each behind `indent`.
fn columns(rows: &[Vec<String>], indent: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{indent}{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|it| (*it).to_owned()).collect()
}

/// A line a rollout.
pub(super) fn table(rollouts: &[Status]) -> String {
    if rollouts.is_empty() {
        return "the configuration has no rollout\n".to_owned();
    }
    let mut rows = vec![row(["NAME", "STATE", "WEIGHT", "STEP", "HELD", "REASON"])];
    rows.extend(rollouts.iter().map(|it| {
        let step = format!("{}/{}", it.step, it.steps.len());
        let step = if it.steps.is_empty() { "-" } else { &step };
        let held = seconds(it.held_ms);
        let reason = it.reason.split(';').next().unwrap_or_default();
        row([&it.name, it.state.as_str(), &percent(it.weight), step, &held, reason])
    }));
    columns(&rows, "")
}

/// What a command led to.
pub(super) fn changed(status: &Status) -> String {
    format!("{}{}", headline(status), advice(status))
}

/// Where a rollout stands, with its numbers.
pub(super) fn status(status: &Status) -> String {
    let mut facts = Vec::new();
    if !status.steps.is_empty() {
        let steps = status.steps.iter().enumerate().map(|(index, it)| {
            if index + 1 == status.step { format!("[{it}]") } else { it.clone() }
        });
        facts.push(row(["steps", &steps.collect::<Vec<_>>().join(", ")]));
        let held = seconds(status.held_ms);
        let (seen, needed) = (status.requests, status.min_requests);
        let text = format!("held {held}, {seen} requests by weight of {needed} needed");
        facts.push(row(["step", &text]));
    }
    if status.since_ms > 0 {
        facts.push(row(["since", &clock::http_date_of(status.since_ms / 1000)]));
    }
    facts.push(row(["reason", &status.reason]));
    facts.push(row(["evidence", &status.evidence]));
    if let Some(fault) = &status.evidence_fault {
        facts.push(row(["", &format!("MISSING, nothing advances: {fault}")]));
    }
    facts.push(row(["journal", &status.journal]));
    if let Some(fault) = &status.journal_fault {
        facts.push(row(["", &format!("NOT WRITTEN, nothing advances: {fault}")]));
    }
    let head = ["CANARY", "WEIGHT", "VERDICT", "LIMIT", "BAD", "STABLE BAD", "E1", "E2"];
    let mut rows = vec![row(head)];
    rows.extend(status.canaries.iter().flat_map(canary));
    let (facts, rows) = (columns(&facts, "  "), columns(&rows, "  "));
    format!("{}{facts}\n{rows}{}", headline(status), advice(status))
}

fn headline(status: &Status) -> String {
    let canaries: Vec<String> = status
        .canaries
        .iter()
        .map(|it| format!("{} to {}", percent(it.weight), it.version))
        .collect();
    format!("rollout {}: {}, {}\n", status.name, status.state.as_str(), canaries.join(", "))
}

/// What an operator may do now, where something waits for one.
fn advice(status: &Status) -> String {
    let name = &status.name;
    let text = match status.state {
        Phase::Waiting => format!("it waits: \"moongate rollout promote {name}\" goes on"),
        Phase::Paused => format!("it is held: \"moongate rollout resume {name}\" goes on"),
        Phase::Inconclusive => format!(
            "there is too little traffic to judge the step: \"promote {name}\" goes on without \
             evidence, \"resume {name}\" waits again, \"abort {name}\" ends it"
        ),
        Phase::RolledBack | Phase::Aborted | Phase::Unreadable => {
            format!("all traffic is stable's: \"moongate rollout resume {name}\" begins anew")
        }
        Phase::Running | Phase::Steady => return String::new(),
    };
    format!("{text}\n")
}

/// A row a limit; the first one names the canary.
fn canary(canary: &CanaryStatus) -> Vec<Vec<String>> {
    let limits = [&canary.failures, &canary.slow];
    let mut name = canary.version.clone();
    let mut weight = percent(canary.weight);
    let mut verdict = match canary.verdict {
        _ if canary.closed => "closed",
        Verdict::Fine => "fine",
        Verdict::OverLimit => "over limit",
        Verdict::RollBack => "worse than stable",
    };
    let mut rows = Vec::new();
    for limit in limits.into_iter().flatten() {
        let e1 = format!("{} of {}", short(limit.e1), short(limit.e1_at));
        let e2 = format!("{} of {}", short(limit.e2), short(limit.e2_at));
        let (bad, stable) = (share(limit.canary), share(limit.stable));
        rows.push(row([&name, &weight, verdict, &limit_text(limit), &bad, &stable, &e1, &e2]));
        (name, weight, verdict) = (String::new(), String::new(), "");
    }
    if rows.is_empty() {
        rows.push(row([&name, &weight, verdict, "none"]));
    }
    rows
}

fn limit_text(limit: &LimitStatus) -> String {
    match limit.over_ms {
        None => format!("5xx_rate > {}%", number(limit.limit * 100.0)),
        Some(ms) => format!("p{} > {}", number(100.0 - limit.limit * 100.0), duration(ms)),
    }
}

/// `10/1210 (0.83%)`.
fn share(counts: Counts) -> String {
    let Counts { requests, bad } = counts;
    if requests == 0 {
        return "0/0".to_owned();
    }
    // A hundredth of a percent is enough for people.
    let points = u128::from(bad) * 10_000 / u128::from(requests);
    format!("{bad}/{requests} ({})", percent(u16::try_from(points).unwrap_or(10_000)))
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As many digits as say something.
fn short(evidence: f64) -> String {
    if evidence < 1e6 { number(evidence) } else { format!("{evidence:.0e}") }
}

fn seconds(ms: u64) -> String {
    match ms / 1000 {
        0 => "0s".to_owned(),
        s => duration(s * 1000),
    }
}

/// A user's way through the steps.
pub(super) fn way(rollout: &str, key: &str, way: &Way) -> String {
    let mut text = format!("rollout {rollout}, key \"{key}\": bucket {}\n", way.bucket);
    if let Some(now) = &way.now {
        text.push_str(&format!("  now: {now}\n"));
    }
    let mut rows = vec![row(["STEP", "WEIGHT", "VARIANT"])];
    rows.extend(
        way.steps.iter().zip(1..).map(|((weight, variant), number)| {
            row([&number.to_string(), &percent(*weight), variant])
        }),
    );
    text + &columns(&rows, "  ") + "a header, a cookie or a rule may choose otherwise\n"
}

#[cfg(test)]
mod tests;
