//! A configuration that could take over: everything that can fail has been done.

use super::source::Source;
use crate::config::Loaded;
use crate::config::diagnostic::{At, Diagnostic, Diagnostics};
use crate::config::model::{Http, Model, WorkerProcesses};
use crate::limits;
use crate::log::ErrorLog;
use crate::resolver::Resolver;
use crate::rollout::Registry as Rollouts;
use crate::shdict::Dicts;
use crate::snapshot::Snapshot;
use crate::snapshot::build::{self, Inputs, implicit_upstreams};
use crate::upstream::{Addresses, Registry, refresh, registry};
use crate::worker::{Plan, Trial};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use tokio::sync::oneshot;

/// What outlives configurations.
#[derive(Clone, Debug)]
pub struct Known {
    /// The state of peers.
    pub registry: Arc<Registry>,
    /// The rollouts.
    pub rollouts: Arc<Rollouts>,
    /// The zones of limits.
    pub limits: Arc<limits::Registry>,
    /// The shared dictionaries in force.
    pub dicts: Arc<Dicts>,
    /// The number that the candidate gets.
    pub generation: u64,
}

impl Known {
    /// What a process knows before its first configuration.
    pub fn nothing() -> Self {
        Self {
            registry: Arc::default(),
            rollouts: Arc::default(),
            limits: Arc::default(),
            dicts: Arc::default(),
            generation: 1,
        }
    }
}

/// A configuration that could take over.
pub struct Candidate {
    /// The configuration, compiled.
    pub snapshot: Arc<Snapshot>,
    /// Its shared dictionaries.
    pub dicts: Arc<Dicts>,
    /// The state of peers that it was built with.
    pub registry: Arc<Registry>,
    /// The rollouts that it was built with.
    pub rollouts: Arc<Rollouts>,
    /// The zones of limits that it was built with.
    pub limits: Arc<limits::Registry>,
    /// Its main error log.
    pub error_log: ErrorLog,
    /// What upstreams' names are resolved by.
    pub resolver: Arc<Resolver>,
    /// Notices and warnings.
    pub diagnostics: Diagnostics,
    /// Every file that was read, for `-T`.
    pub files: Vec<(PathBuf, String)>,
}

impl Candidate {
    /// Loads and compiles what `source` says, and tries its Lua in a VM apart.
    ///
    /// # Errors
    /// All faults that were found.
    pub async fn build(source: &Source, known: Known) -> Result<Self, Diagnostics> {
        let from = source.clone();
        let loaded = on_a_thread("config loader", move || from.load()).await?;
        Self::compile(loaded, source.prefix.clone(), known).await
    }

    /// The same for a configuration that was loaded.
    ///
    /// # Errors
    /// All faults that were found.
    pub async fn compile(
        loaded: Loaded,
        prefix: PathBuf,
        known: Known,
    ) -> Result<Self, Diagnostics> {
        let resolver = resolver(&loaded.model)?;
        let addresses = resolve(&loaded.model, &resolver).await;
        let build = move || compile(loaded, &prefix, &known, &addresses, resolver);
        on_a_thread("config compiler", build).await
    }

    /// How many workers it wants.
    pub fn workers(&self) -> usize {
        workers(&self.snapshot.model)
    }

    /// What its workers build their VMs from.
    pub fn plan(&self) -> Plan {
        Plan {
            snapshot: Arc::clone(&self.snapshot),
            dicts: Arc::clone(&self.dicts),
            registry: Arc::clone(&self.registry),
            workers: self.workers(),
        }
    }
}

/// How many workers `worker_processes` means.
fn workers(model: &Model) -> usize {
    match model.main.worker_processes {
        Some(WorkerProcesses::Auto) => thread::available_parallelism().map_or(1, NonZero::get),
        Some(WorkerProcesses::Count(count)) => count.max(1),
        None => 1,
    }
}

fn resolver(model: &Model) -> Result<Arc<Resolver>, Diagnostics> {
    let settings = model.http.as_ref().map(|http| &http.settings);
    let Some(wanted) = settings.and_then(|it| it.resolver.as_ref()) else {
        return Ok(Arc::new(Resolver::system()));
    };
    let timeout_ms = settings.and_then(|it| it.resolver_timeout_ms);
    Resolver::new(wanted, timeout_ms.unwrap_or(crate::resolver::TIMEOUT_MS))
        .map(Arc::new)
        .map_err(|error| refusal(&wanted.at, error.to_string()))
}

async fn resolve(model: &Model, resolver: &Arc<Resolver>) -> Addresses {
    let none = Http::default();
    let http = model.http.as_ref().unwrap_or(&none);
    let names = registry::names(&http.upstreams, &implicit_upstreams(http));
    refresh::resolve(resolver, names).await
}

fn compile(
    loaded: Loaded,
    prefix: &Path,
    known: &Known,
    addresses: &Addresses,
    resolver: Arc<Resolver>,
) -> Result<Candidate, Diagnostics> {
    let Loaded { model, mut diagnostics, files } = loaded;
    let lines = model.main.error_log.as_deref().unwrap_or_default();
    let error_log =
        build::open_error_log(lines, prefix).map_err(|(at, text)| refusal(&at, text))?;
    let trial = Trial::new(&model, prefix, workers(&model))
        .map_err(|text| refusal(&At::default(), text))?;
    let base = files.first().and_then(|(path, _)| path.parent()).filter(|it| it.is_absolute());
    let base = base.unwrap_or(prefix).to_owned();
    let inputs = Inputs {
        model: Arc::new(model),
        prefix,
        base: &base,
        generation: known.generation,
        upstreams: &known.registry,
        rollouts: &known.rollouts,
        limits: &known.limits,
        addresses,
        error_log: error_log.clone(),
        compile: &|chunk| trial.compile(chunk),
    };
    let (snapshot, found) = build::build(&inputs)?;
    diagnostics.0.extend(found.0);
    warn_of_code_cache(&snapshot, &mut diagnostics);
    trial.init(&snapshot).map_err(|(at, text)| refusal(&at, text))?;
    let none = Http::default();
    let http = snapshot.model.http.as_ref().unwrap_or(&none);
    let wanted = http.lua.shared_dicts.iter().map(|it| (it.name.as_str(), it.size_bytes));
    let dicts = Arc::new(known.dicts.reloaded(wanted));
    let snapshot = Arc::new(snapshot);
    let registry = Arc::clone(&known.registry);
    let rollouts = Arc::clone(&known.rollouts);
    let limits = Arc::clone(&known.limits);
    Ok(Candidate {
        snapshot,
        dicts,
        registry,
        rollouts,
        limits,
        error_log,
        resolver,
        diagnostics,
        files,
    })
}

/// nginx says so with level alert; it is the most frequent reason of a slow OpenResty.
fn warn_of_code_cache(snapshot: &Snapshot, diagnostics: &mut Diagnostics) {
    if snapshot.locations.iter().any(|it| !it.conf.lua.code_cache) {
        let text = "lua_code_cache is off; this will hurt performance";
        diagnostics.push(Diagnostic::alert(&At::default(), text));
    }
}

fn refusal(at: &At, text: String) -> Diagnostics {
    Diagnostics(vec![Diagnostic::fault(at, text)])
}

/// Runs `work`, which may take its time, on a thread of its own.
async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, Diagnostics> + Send + 'static,
) -> Result<T, Diagnostics> {
    let (sender, result) = oneshot::channel();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits when the process is ending.
        let _ = sender.send(work());
    });
    if let Err(error) = spawned {
        return Err(refusal(&At::default(), format!("no thread for the {name}: {error}")));
    }
    // The panic itself has been logged.
    result.await.unwrap_or_else(|_| {
        Err(refusal(&At::default(), format!("the {name} panicked: a fault of this program")))
    })
}

#[cfg(test)]
mod tests;
