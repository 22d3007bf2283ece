//! What the requests of one worker share.

use super::host::ProxyHost;
use super::multiplexed::Links;
use super::pick::Targets;
use super::pool::Pool;
use crate::lua::vm::Vm;
use crate::metrics;
use crate::metrics::{RequestLabels, RequestMetrics, SeriesCache, SeriesKey};
use crate::snapshot::Snapshot;
use crate::upstream::Registry;
use crate::upstream::balance::Picker;
use foldhash::HashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// A configuration and the VM that runs its scripts; requests in flight keep theirs.
pub struct Generation {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Its VM on this worker.
    pub vm: Rc<Vm>,
    host: Rc<ProxyHost>,
    /// The URLs that its `proxy_pass`es have come to.
    pub(super) targets: Targets,
    _counted: Counted,
}

/// Counts a VM while its generation lives.
struct Counted;

impl Generation {
    /// `snapshot`, served with `vm`, whose door to the proxy is `host`.
    pub fn new(snapshot: Arc<Snapshot>, vm: Rc<Vm>, host: Rc<ProxyHost>) -> Self {
        metrics::catalog().lua_vms.inc();
        Self { snapshot, vm, host, targets: Targets::default(), _counted: Counted }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::catalog().lua_vms.dec();
    }
}

/// The metrics' series of one generation by numbers.
#[derive(Default)]
struct Series {
    generation: u64,
    cache: SeriesCache,
    numbers: HashMap<Box<str>, u32>,
}

impl Series {
    /// A number for a label value, the same for the life of the generation.
    fn number(&mut self, value: &str) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        // Beyond this many the catalog folds values anyway.
        let number = u32::try_from(self.numbers.len().min(MOST_VALUES)).unwrap_or(u32::MAX);
        if self.numbers.len() < MOST_VALUES {
            self.numbers.insert(value.into(), number);
        }
        number
    }
}

/// Label values that a worker tells apart; the rest share one series.
const MOST_VALUES: usize = 4096;

/// What the requests of one worker share.
pub struct WorkerState {
    /// The worker's number, from 0.
    pub id: usize,
    /// Idle connections to upstreams.
    pub(super) pool: Rc<Pool>,
    /// Connections to upstreams by HTTP/2.
    pub(super) links: Rc<Links>,
    /// Where round robin and the like stand.
    pub picker: RefCell<Picker>,
    /// The state of all peers.
    pub registry: Arc<Registry>,
    /// It only explains: no upstream is asked, and no content handler runs.
    pub(super) is_dry: bool,
    series: RefCell<Series>,
    current: RefCell<Rc<Generation>>,
}

impl WorkerState {
    /// A worker that serves `generation`; peers live in `registry`.
    pub fn new(id: usize, generation: Generation, registry: Arc<Registry>) -> Rc<Self> {
        Self::make(id, generation, registry, false)
    }

    /// One that only explains what it would do.
    pub fn dry(generation: Generation, registry: Arc<Registry>) -> Rc<Self> {
        Self::make(0, generation, registry, true)
    }

    fn make(id: usize, generation: Generation, registry: Arc<Registry>, is_dry: bool) -> Rc<Self> {
        let generation = Rc::new(generation);
        let made = Rc::new(Self {
            id,
            is_dry,
            pool: Rc::default(),
            links: Rc::default(),
            picker: RefCell::new(Picker::new()),
            registry,
            series: RefCell::default(),
            current: RefCell::new(Rc::clone(&generation)),
        });
        generation.host.belongs_to(&made, &generation);
        made
    }

    /// What new requests are served by.
    pub fn current(&self) -> Rc<Generation> {
        self.current.borrow().clone()
    }

    /// Counts a request under its labels.
    pub fn observe(&self, key: (u64, u32), labels: RequestLabels<'_>, code: u16, us: u64) {
        let (generation, location) = key;
        let mut series = self.series.borrow_mut();
        if series.generation != generation {
            *series = Series { generation, ..Series::default() };
        }
        let upstream = series.number(labels.upstream);
        let version = series.number(labels.canary_version);
        let key = SeriesKey { location, upstream, version };
        let resolve = || -> Arc<RequestMetrics> { metrics::catalog().requests.series(labels) };
        series.cache.series(key, resolve).observe(code, us);
    }

    /// Serves new requests by `generation`; returns the one before.
    pub fn swap(self: &Rc<Self>, generation: Generation) -> Rc<Generation> {
        let generation = Rc::new(generation);
        generation.host.belongs_to(self, &generation);
        self.current.replace(generation)
    }
}
