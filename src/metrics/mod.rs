//! Metrics: every one once in the [`mod@catalog`]'s table, counted without a lock or a shared cache
//! line on the way of a request.

pub mod catalog;
pub mod label;
mod metric;
pub mod requests;
pub mod sharded;
pub mod status;

pub use catalog::{Catalog, PeerMetrics, raise_to};
pub use prometheus::IntCounter;
pub use requests::{RequestLabels, RequestMetrics, SeriesCache, SeriesKey};
pub use sharded::{ShardedCounter, ShardedGauge};
pub use status::Connections;

use std::sync::LazyLock;

/// The metrics of this process. They outlive every reload.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::new);
    &CATALOG
}
