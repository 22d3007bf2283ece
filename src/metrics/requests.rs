//! Requests by server, location, upstream and canary version: how many of each code, how long.
//!
//! A worker finds its [`RequestMetrics`] once in a [`SeriesCache`] and then adds to a shard of its
//! own; nothing is hashed, locked or allocated while a request ends.

use super::label::{BoundedLabel, OTHER};
use super::sharded::{SHARDS, own_shard};
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Upper edges of the duration's buckets in microseconds; a request of exactly an edge is below
/// it. 2 s is one, as a rollout's limit `p99 > 2s` asks.
const EDGES_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];
/// `code_class` by a code's hundreds; codes that are not HTTP's are the first.
const CLASSES: [&str; 6] = [OTHER, "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Codes that a shard tells apart.
const CODES: usize = 16;
/// A code stands above its count in one word.
const CODE_SHIFT: u32 = 48;

/// Distinct values of `server`, `location`, `upstream`, `canary_version`; of `location` there are
/// many in one server, of versions few anywhere.
const MOST_VALUES: [usize; 4] = [500, 2000, 1000, 100];
/// Distinct combinations of them.
const MOST_SERIES: usize = 10_000;

/// What a series is about; all are words of the configuration, never a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestLabels<'a> {
    /// The server's first name.
    pub server: &'a str,
    /// The location as the configuration writes it.
    pub location: &'a str,
    /// The upstream's name; empty when none was asked.
    pub upstream: &'a str,
    /// The decided variant's version; empty without a rollout.
    pub canary_version: &'a str,
}

/// The counters of one combination of labels.
#[derive(Debug)]
pub struct RequestMetrics {
    labels: [Box<str>; 4],
    /// A worker's own, there from its first request on.
    shards: [OnceLock<Box<Shard>>; SHARDS],
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    durations: [Durations; CLASSES.len()],
    /// `code << 48 | count`; 0 is free.
    codes: [AtomicU64; CODES],
    other_codes: AtomicU64,
}

#[derive(Debug, Default)]
struct Durations {
    /// One an edge, and one for what is longer.
    buckets: [AtomicU64; EDGES_US.len() + 1],
    sum_us: AtomicU64,
}

impl RequestMetrics {
    fn new(labels: [&str; 4]) -> Self {
        Self { labels: labels.map(Into::into), shards: Default::default() }
    }

    /// Counts a request that ended with status `code` after `us` microseconds.
    #[inline]
    pub fn observe(&self, code: u16, us: u64) {
        let shard = self.shards[own_shard()].get_or_init(Box::default);
        let durations = &shard.durations[class_of(code)];
        let bucket = EDGES_US.partition_point(|edge| *edge < us);
        durations.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        durations.sum_us.fetch_add(us, Ordering::Relaxed);
        shard.count(code);
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|it| it.get().map(Box::as_ref))
    }
}

impl Shard {
    #[inline]
    fn count(&self, code: u16) {
        let tag = u64::from(code) << CODE_SHIFT;
        for step in 0..CODES {
            let slot = &self.codes[(usize::from(code) + step) % CODES];
            if code != 0 && claim(slot, tag) {
                slot.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        self.other_codes.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests of all codes.
    fn sum(&self) -> u64 {
        let counted =
            self.codes.iter().map(|it| it.load(Ordering::Relaxed) & ((1 << CODE_SHIFT) - 1));
        counted.sum::<u64>() + self.other_codes.load(Ordering::Relaxed)
    }
}

/// Whether `slot` counts the code of `tag`, of which a free one is made now.
#[inline]
fn claim(slot: &AtomicU64, tag: u64) -> bool {
    let found = match slot.load(Ordering::Relaxed) {
        // Another thread of this shard may be faster: then look at what it made of the slot.
        0 => match slot.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => tag,
            Err(taken) => taken,
        },
        taken => taken,
    };
    found >> CODE_SHIFT == tag >> CODE_SHIFT
}

#[inline]
fn class_of(code: u16) -> usize {
    let hundreds = usize::from(code / 100);
    if hundreds < CLASSES.len() { hundreds } else { 0 }
}

/// All series, and the two metrics made of them.
#[derive(Clone, Debug)]
pub struct RequestFamilies(Arc<Families>);

#[derive(Debug)]
struct Families {
    total: Desc,
    duration: Desc,
    series: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    bounds: [BoundedLabel; 4],
    known: HashMap<[Box<str>; 4], Arc<RequestMetrics>>,
}

impl RequestFamilies {
    pub(super) fn new(total: Desc, duration: Desc) -> Self {
        let bounds = MOST_VALUES.map(BoundedLabel::new);
        let series = Mutex::new(Table { bounds, known: HashMap::new() });
        Self(Arc::new(Families { total, duration, series }))
    }

    /// The series of `labels`, born when it is first asked for. Where there are too many, values
    /// become `other`. For building snapshots and filling caches: it locks and hashes.
    pub fn series(&self, labels: RequestLabels<'_>) -> Arc<RequestMetrics> {
        let RequestLabels { server, location, upstream, canary_version } = labels;
        let mut table = self.0.series.lock();
        let Table { bounds, known } = &mut *table;
        let mut values = [server, location, upstream, canary_version];
        for (value, bound) in values.iter_mut().zip(bounds) {
            *value = bound.fold(value);
        }
        let is_new = |it: &[&str; 4]| !known.contains_key(&it.map(Into::into));
        if known.len() >= MOST_SERIES && is_new(&values) {
            values = [OTHER; 4];
        }
        let key = values.map(Into::into);
        known.entry(key).or_insert_with(|| Arc::new(RequestMetrics::new(values))).clone()
    }

    /// All requests of all series.
    pub fn count(&self) -> u64 {
        let table = self.0.series.lock();
        let shards = table.known.values().flat_map(|it| it.shards());
        shards.map(Shard::sum).sum()
    }
}

impl Collector for RequestFamilies {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.total, &self.0.duration]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let series: Vec<_> = self.0.series.lock().known.values().cloned().collect();
        let totals: Vec<_> = series.iter().flat_map(|it| totals(it, &self.0.total)).collect();
        let durations: Vec<_> =
            series.iter().flat_map(|it| durations(it, &self.0.duration)).collect();
        let families = [
            (&self.0.total, proto::MetricType::COUNTER, totals),
            (&self.0.duration, proto::MetricType::HISTOGRAM, durations),
        ];
        let named = |(desc, kind, metrics): (&Desc, _, Vec<_>)| {
            let mut family = proto::MetricFamily::default();
            family.set_name(desc.fq_name.clone());
            family.set_help(desc.help.clone());
            family.set_field_type(kind);
            family.set_metric(metrics);
            family
        };
        // The registry takes no family without a metric.
        families.into_iter().filter(|it| !it.2.is_empty()).map(named).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn as_sample(count: u64) -> f64 {
    count as f64
}

fn labelled(series: &RequestMetrics, desc: &Desc, last: &str) -> proto::Metric {
    let values = series.labels.iter().map(AsRef::as_ref).chain([last]);
    let pairs = desc.variable_labels.iter().zip(values).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

fn totals(series: &RequestMetrics, desc: &Desc) -> Vec<proto::Metric> {
    let mut by_code = std::collections::BTreeMap::<u64, u64>::new();
    let mut others = 0;
    for shard in series.shards() {
        others += shard.other_codes.load(Ordering::Relaxed);
        for word in shard.codes.iter().map(|it| it.load(Ordering::Relaxed)) {
            *by_code.entry(word >> CODE_SHIFT).or_default() += word & ((1 << CODE_SHIFT) - 1);
        }
    }
    let coded = by_code.into_iter().map(|(code, count)| (format!("{code:03}"), count));
    let all = coded.chain([(OTHER.to_owned(), others)]);
    let metric = |(code, count): (String, u64)| {
        let (mut metric, mut counter) = (labelled(series, desc, &code), proto::Counter::default());
        counter.set_value(as_sample(count));
        metric.set_counter(counter);
        metric
    };
    all.filter(|(_, count)| *count > 0).map(metric).collect()
}

fn durations(series: &RequestMetrics, desc: &Desc) -> Vec<proto::Metric> {
    let mut found = Vec::new();
    for (class, name) in CLASSES.iter().enumerate() {
        let (mut buckets, mut sum_us) = ([0; EDGES_US.len() + 1], 0u64);
        for durations in series.shards().map(|it| &it.durations[class]) {
            for (sum, bucket) in buckets.iter_mut().zip(&durations.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            sum_us = sum_us.wrapping_add(durations.sum_us.load(Ordering::Relaxed));
        }
        if buckets.iter().any(|it| *it > 0) {
            let mut metric = labelled(series, desc, name);
            metric.set_histogram(histogram(&buckets, sum_us));
            found.push(metric);
        }
    }
    found
}

fn histogram(buckets: &[u64], sum_us: u64) -> proto::Histogram {
    let mut below = 0;
    let edges = EDGES_US.iter().zip(buckets).map(|(edge, count)| {
        below += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(as_sample(*edge) / 1e6);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(edges.collect());
    histogram.set_sample_count(buckets.iter().sum());
    histogram.set_sample_sum(as_sample(sum_us) / 1e6);
    histogram
}

/// Which series, by the numbers that a snapshot gives its locations, upstreams and versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    /// The location's number in its snapshot; small, as it is an index.
    pub location: u32,
    /// The upstream's number.
    pub upstream: u32,
    /// The version's number.
    pub version: u32,
}

/// Series a location may keep in a cache: its upstreams times their versions.
const CACHED: usize = 64;

/// The series of one location, by the numbers of upstream and version; most have one or two.
type OfLocation = SmallVec<[(u32, u32, Arc<RequestMetrics>); 2]>;

/// A worker's way from numbers to series. Numbers are a snapshot's: one cache a snapshot.
#[derive(Debug, Default)]
pub struct SeriesCache {
    locations: Vec<OfLocation>,
}

impl SeriesCache {
    /// The series of `key`; `resolve` finds it in the catalog the first time.
    pub fn series(
        &mut self,
        key: SeriesKey,
        resolve: impl FnOnce() -> Arc<RequestMetrics>,
    ) -> &RequestMetrics {
        let SeriesKey { location, upstream, version } = key;
        let index = location as usize;
        if index >= self.locations.len() {
            self.locations.resize_with(index + 1, SmallVec::new);
        }
        let known = &mut self.locations[index];
        let at = match known.iter().position(|it| (it.0, it.1) == (upstream, version)) {
            Some(at) => at,
            None => {
                known.truncate(CACHED - 1);
                known.push((upstream, version, resolve()));
                known.len() - 1
            }
        };
        &known[at].2
    }

    /// Forgets all, for another snapshot.
    pub fn clear(&mut self) {
        self.locations.clear();
    }
}

#[cfg(test)]
mod tests;
