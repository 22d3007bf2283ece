//! Numbers that all workers change with every request: one shard a worker, summed at scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::sys::thread;

/// Shards a number has; workers beyond this many share one, which costs time, not truth.
pub const SHARDS: usize = 16;

/// The shard of the calling thread.
#[inline]
pub(super) fn own_shard() -> usize {
    thread::slot() % SHARDS
}

/// Aligned so that two workers' shards share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicI64);

#[derive(Debug)]
struct Number {
    desc: Desc,
    shards: [Shard; SHARDS],
}

impl Number {
    fn new(desc: Desc) -> Arc<Self> {
        Arc::new(Self { desc, shards: Default::default() })
    }

    fn add(&self, difference: i64) {
        self.shards[own_shard()].0.fetch_add(difference, Ordering::Relaxed);
    }

    fn sum(&self) -> i64 {
        self.shards.iter().map(|it| it.0.load(Ordering::Relaxed)).sum()
    }

    fn family(&self, kind: proto::MetricType, metric: proto::Metric) -> Vec<proto::MetricFamily> {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// A number that only rises.
#[derive(Clone, Debug)]
pub struct ShardedCounter(Arc<Number>);

impl ShardedCounter {
    pub(super) fn new(desc: Desc) -> Self {
        Self(Number::new(desc))
    }

    /// Counts one.
    #[inline]
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// The sum of all workers.
    pub fn get(&self) -> i64 {
        self.0.sum()
    }
}

/// A number of things that are there now. Those counted by one worker may go in another.
#[derive(Clone, Debug)]
pub struct ShardedGauge(Arc<Number>);

impl ShardedGauge {
    pub(super) fn new(desc: Desc) -> Self {
        Self(Number::new(desc))
    }

    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.0.add(-1);
    }

    /// One more as long as the guard lives.
    pub fn hold(&self) -> Held {
        self.inc();
        Held(self.clone())
    }

    /// The sum of all workers.
    pub fn get(&self) -> i64 {
        self.0.sum()
    }
}

/// Something that a [`ShardedGauge`] counts until this is dropped.
#[derive(Debug)]
pub struct Held(ShardedGauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn as_sample(sum: i64) -> f64 {
    sum as f64
}

impl Collector for ShardedCounter {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let (mut counter, mut metric) = (proto::Counter::default(), proto::Metric::default());
        counter.set_value(as_sample(self.get()));
        metric.set_counter(counter);
        self.0.family(proto::MetricType::COUNTER, metric)
    }
}

impl Collector for ShardedGauge {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(as_sample(self.get()));
        self.0.family(proto::MetricType::GAUGE, proto::Metric::from_gauge(gauge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn threads_add_up() {
        let desc = Desc::new("n".into(), "N.".into(), vec![], HashMap::new()).unwrap();
        let gauge = ShardedGauge::new(desc);
        let held = gauge.hold();
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let gauge = gauge.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| gauge.inc()))
            })
            .collect();
        threads.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(gauge.get(), 20_001);
        std::thread::spawn(move || drop(held)).join().unwrap();
        assert_eq!(gauge.get(), 20_000);
    }
}
