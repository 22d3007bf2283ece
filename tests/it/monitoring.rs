//! What ships for Prometheus and Grafana: it is well formed, and speaks of metrics that there are.

use moongate::metrics::catalog::METRICS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

/// Words of `text` that are names of metrics of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours = words.filter(|it| it.starts_with("moongate_") || it.starts_with("http_requests"));
    ours.chain(text.contains("duration").then_some("http_request_duration_seconds"))
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn all_are_there(text: &str, least: usize) {
    let names = named(text);
    assert!(names.len() >= least, "{names:?}");
    for name in names.iter().filter(|it| *it != "moongate_json") {
        assert!(METRICS.iter().any(|it| it.name == name), "no metric {name}");
    }
}

#[test]
fn alert_rules_are_prometheus_s_and_of_our_metrics() {
    let path = conf("alerts.yml");
    let output = Command::new("promtool").args(["check", "rules"]).arg(&path).output();
    let output = output.expect("Debian's prometheus is installed: sh tests/setup.sh tests");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("SUCCESS: "), "{said}");
    all_are_there(&fs::read_to_string(path).expect("it is text"), 10);
}

#[test]
fn the_dashboard_is_json_and_of_our_metrics() {
    let text = fs::read_to_string(conf("dashboard.json")).expect("it is text");
    let board: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = board["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10);
    let ids: BTreeSet<_> = panels.iter().filter_map(|it| it["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each has a number of its own");
    let exprs = panels.iter().flat_map(|it| it["targets"].as_array().into_iter().flatten());
    let exprs: Vec<_> = exprs.filter_map(|it| it["expr"].as_str()).collect();
    assert!(exprs.len() >= panels.len());
    all_are_there(&exprs.join("\n"), 10);
}
