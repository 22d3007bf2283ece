//! What a row of the catalog is, and which types of metric it can have.

use super::sharded::{ShardedCounter, ShardedGauge};
use prometheus::core::Desc;
use prometheus::{
    Counter, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use std::collections::HashMap;

/// What a metric's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, until the process ends.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As Prometheus says it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the catalog.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels' names.
    pub labels: &'static [&'static str],
    /// What it says, one sentence.
    pub help: &'static str,
}

impl Metric {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    /// As a collector of our own describes itself.
    pub(super) fn desc(&self) -> Desc {
        let labels = self.labels.iter().map(|it| (*it).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
            .expect("the catalog's names are valid")
    }
}

/// A type of metric that a row can have.
pub(super) trait Built: Sized {
    /// What its value means.
    const KIND: Kind;
    /// The metric of a row, which has counted nothing yet.
    fn build(metric: &Metric) -> Self;
}

macro_rules! built {
    ($($type:ty: $kind:ident, |$metric:ident| $made:expr;)*) => {$(
        impl Built for $type {
            const KIND: Kind = Kind::$kind;
            fn build($metric: &Metric) -> Self {
                $made
            }
        }
    )*};
}

const VALID: &str = "the catalog's names are valid";

built! {
    ShardedCounter: Counter, |it| ShardedCounter::new(it.desc());
    ShardedGauge: Gauge, |it| ShardedGauge::new(it.desc());
    IntCounter: Counter, |it| IntCounter::with_opts(it.opts()).expect(VALID);
    IntGauge: Gauge, |it| IntGauge::with_opts(it.opts()).expect(VALID);
    Counter: Counter, |it| Counter::with_opts(it.opts()).expect(VALID);
    Gauge: Gauge, |it| Gauge::with_opts(it.opts()).expect(VALID);
    GaugeVec: Gauge, |it| GaugeVec::new(it.opts(), it.labels).expect(VALID);
    IntCounterVec: Counter, |it| IntCounterVec::new(it.opts(), it.labels).expect(VALID);
    IntGaugeVec: Gauge, |it| IntGaugeVec::new(it.opts(), it.labels).expect(VALID);
}
