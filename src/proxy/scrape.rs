//! The text of all metrics: what is counted elsewhere is copied into the catalog when asked for.

use crate::clock;
use crate::log;
use crate::log::{Level, ring};
use crate::metrics;
use crate::metrics::raise_to;
use crate::upstream::Registry;

/// All metrics in Prometheus's text format, with the peers of `registry` as they are now.
pub fn scrape(registry: &Registry) -> String {
    let catalog = metrics::catalog();
    registry.show_in(catalog, clock::monotonic().as_ms());
    let counts = ring::counts();
    for level in Level::ALL.into_iter().filter(|it| *it != Level::Stderr) {
        let lines = catalog.log_lines.with_label_values(&[level.name()]);
        raise_to(&lines, counts[level as usize]);
    }
    raise_to(&catalog.log_lines_dropped, log::dropped_lines());
    catalog.text()
}
