//! Requests counted and shown.

use super::*;
use crate::clock;
use crate::metrics::Catalog;
use std::hint::black_box;

fn labels<'a>(upstream: &'a str, canary_version: &'a str) -> RequestLabels<'a> {
    RequestLabels { server: "example.com", location: "/", upstream, canary_version }
}

fn shown(catalog: &Catalog, start: &str) -> Vec<String> {
    catalog.text().lines().filter(|it| it.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn requests_are_shown_with_their_labels() {
    let catalog = Catalog::new();
    let series = catalog.requests.series(labels("backend_v2", "v2"));
    series.observe(200, 2_000_000);
    series.observe(204, 2_000_001);
    series.observe(503, 800);
    let common = r#"server="example.com",location="/",upstream="backend_v2",canary_version="v2""#;
    let expected =
        ["200", "204", "503"].map(|it| format!("http_requests_total{{{common},code=\"{it}\"}} 1"));
    assert_eq!(shown(&catalog, "http_requests_total"), expected);
    let durations = shown(&catalog, "http_request_duration_seconds");
    let has = |metric: &str, class: &str, rest: &str| {
        let name = format!("http_request_duration_seconds{metric}");
        let wanted = format!("{name}{{{common},code_class=\"{class}\"{rest}");
        assert!(durations.contains(&wanted), "{wanted} is not in {durations:#?}");
    };
    has("_bucket", "2xx", ",le=\"1\"} 0");
    has("_bucket", "2xx", ",le=\"2\"} 1");
    has("_bucket", "2xx", ",le=\"5\"} 2");
    has("_bucket", "2xx", ",le=\"+Inf\"} 2");
    has("_sum", "2xx", "} 4.000001");
    has("_count", "2xx", "} 2");
    has("_bucket", "5xx", ",le=\"0.001\"} 1");
}

#[test]
fn one_series_for_the_same_labels() {
    let catalog = Catalog::new();
    let first = catalog.requests.series(labels("a", ""));
    assert!(Arc::ptr_eq(&first, &catalog.requests.series(labels("a", ""))));
    assert!(!Arc::ptr_eq(&first, &catalog.requests.series(labels("b", ""))));
}

#[test]
fn odd_and_many_codes_end_as_other() {
    let catalog = Catalog::new();
    let series = catalog.requests.series(labels("", ""));
    for code in (400..400 + 20).chain([0, 999, u16::MAX]) {
        series.observe(code, 1);
    }
    let totals = shown(&catalog, "http_requests_total");
    assert_eq!(totals.len(), CODES + 1);
    assert!(totals.iter().any(|it| it.ends_with("code=\"other\"} 7")), "{totals:#?}");
    let durations = shown(&catalog, "http_request_duration_seconds_count");
    assert!(durations[1].ends_with("code_class=\"other\"} 3"), "{durations:#?}");
}

#[test]
fn series_are_bounded() {
    let catalog = Catalog::new();
    let names: Vec<_> = (0..MOST_VALUES[3] + 5).map(|it| it.to_string()).collect();
    for name in &names {
        catalog.requests.series(labels("a", name)).observe(200, 1);
    }
    let totals = shown(&catalog, "http_requests_total");
    assert_eq!(totals.len(), MOST_VALUES[3] + 1);
    let other = r#"canary_version="other",code="200"} 5"#;
    assert!(totals.iter().any(|it| it.ends_with(other)));
}

#[test]
fn threads_add_up() {
    let catalog = Catalog::new();
    let series = catalog.requests.series(labels("", ""));
    let threads: Vec<_> = (0..SHARDS + 4)
        .map(|thread| {
            let series = series.clone();
            let code = 200 + (thread as u16 % 2);
            std::thread::spawn(move || (0..1000).for_each(|_| series.observe(code, 10)))
        })
        .collect();
    let count = threads.len();
    threads.into_iter().for_each(|it| it.join().unwrap());
    let totals = shown(&catalog, "http_requests_total");
    let each = count / 2 * 1000;
    assert!(totals.iter().all(|it| it.ends_with(&format!(" {each}"))), "{totals:?}");
    assert_eq!(totals.len(), 2);
}

#[test]
fn a_cache_resolves_once() {
    let catalog = Catalog::new();
    let mut cache = SeriesCache::default();
    let mut asked = 0;
    for _ in 0..3 {
        for upstream in 0..2 {
            let key = SeriesKey { location: 5, upstream, version: 0 };
            let name = ["a", "b"][upstream as usize];
            let resolve = || {
                asked += 1;
                catalog.requests.series(labels(name, ""))
            };
            assert_eq!(&*cache.series(key, resolve).labels[2], name);
        }
    }
    assert_eq!(asked, 2);
    for upstream in 0..1000 {
        let key = SeriesKey { location: 5, upstream, version: 0 };
        cache.series(key, || catalog.requests.series(labels("a", "")));
    }
    assert_eq!(cache.locations[5].len(), CACHED);
    cache.clear();
    assert!(cache.locations.is_empty());
}

/// Printed, not asserted: `cargo test --lib what_an_observation -- --nocapture`.
#[test]
fn what_an_observation_costs() {
    let catalog = Catalog::new();
    let mut cache = SeriesCache::default();
    let key = SeriesKey { location: 3, upstream: 1, version: 1 };
    let rounds = 200_000u32;
    let start = clock::monotonic();
    for us in 0..rounds {
        let series = cache.series(key, || catalog.requests.series(labels("a", "v2")));
        black_box(series).observe(black_box(200), u64::from(us));
    }
    let cost = (clock::monotonic() - start).as_nanos() / u128::from(rounds);
    println!("a request costs its metrics {cost} ns");
}
