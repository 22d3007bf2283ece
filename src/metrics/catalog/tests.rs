//! The rows, what they show, and what is forgotten.

use super::*;

#[test]
fn names_follow_prometheus_s_rules() {
    for Metric { name, kind, labels, help } in METRICS {
        let is_snake = |it: &str| it.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(is_snake(name) && labels.iter().all(|it| is_snake(it)), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(help.ends_with('.') && !help.contains('|'), "{name}");
    }
}

#[test]
fn the_reference_has_a_row_a_metric() {
    let text = reference();
    assert_eq!(text.lines().count(), METRICS.len() + 2);
    let row = "| `moongate_lua_errors_total` | counter | `phase` | Lua handlers that ended";
    assert!(text.contains(row));
}

#[test]
fn metrics_without_labels_are_there_from_the_start() {
    let catalog = Catalog::new();
    catalog.connections_accepted.inc();
    let text = catalog.text();
    for metric in METRICS.iter().filter(|it| it.labels.is_empty()) {
        let line = format!("\n{} ", metric.name);
        assert!(text.contains(&line), "{}", metric.name);
    }
    assert!(text.contains("# TYPE moongate_connections_accepted_total counter\n"));
    assert!(text.contains("\nmoongate_connections_accepted_total 1\n"));
    assert!(text.contains("\nmoongate_build_info{version=\""));
}

#[test]
fn label_values_are_escaped() {
    let catalog = Catalog::new();
    catalog.peer("a\"b\\", "c\nd").up.set(1);
    let line = r#"moongate_upstream_peer_up{peer="c\nd",upstream="a\"b\\"} 1"#;
    assert!(catalog.text().contains(line), "{}", catalog.text());
}

#[test]
fn a_peer_can_be_forgotten() {
    let catalog = Catalog::new();
    let peer = catalog.peer("backend", "127.0.0.1:80");
    raise_to(&peer.requests, 5);
    raise_to(&peer.requests, 3);
    assert_eq!(peer.requests.get(), 5);
    assert!(catalog.text().contains("127.0.0.1:80"));
    catalog.forget_peer("backend", "127.0.0.1:80");
    assert!(!catalog.text().contains("127.0.0.1:80"));
}

#[test]
fn reloads_leave_their_result() {
    clock::testing::freeze(1_795_435_200_500);
    let catalog = Catalog::new();
    catalog.reloaded(Some(7));
    catalog.reloaded(None);
    let text = catalog.text();
    for line in [
        "moongate_config_generation 7",
        "moongate_config_last_reload_successful 0",
        "moongate_config_last_reload_success_timestamp_seconds 1795435200.5",
        "moongate_config_reloads_total{result=\"failure\"} 1",
        "moongate_config_reloads_total{result=\"success\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in\n{text}");
    }
}
