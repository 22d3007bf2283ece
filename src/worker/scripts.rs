//! The Lua side of a generation: its VM, the scripts that run once in it, the check beforehand.

use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::Model;
use crate::log::{Level, main_log};
use crate::lua::chunk::Handler;
use crate::lua::phase::Phase;
use crate::lua::self_test::runaway_scripts_can_be_stopped;
use crate::lua::vm::{Options, Vm};
use crate::proxy::{Generation, ProxyHost};
use crate::shdict::Dicts;
use crate::snapshot::{ChunkId, Snapshot};
use crate::upstream::Registry;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

/// CPU time of `init_by_lua*` and `init_worker_by_lua*`, milliseconds.
const INIT_TIMEOUT_MS: u64 = 5000;
/// How long premature timers may keep a worker from ending.
const LAST_TIMERS: Duration = Duration::from_millis(500);

/// Between two looks at whether a replaced generation is still in use.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// What all workers build their generation from.
#[derive(Clone)]
pub struct Plan {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Its shared dictionaries.
    pub dicts: Arc<Dicts>,
    /// The state of all peers.
    pub registry: Arc<Registry>,
    /// How many workers there will be.
    pub workers: usize,
}

/// What a VM for `model` is built from; `worker` is `None` outside of workers.
fn options(model: &Model, prefix: &Path, worker: Option<usize>, workers: usize) -> Options {
    let default = Options::default();
    let none = model::LuaHttp::default();
    let lua = model.http.as_ref().map_or(&none, |http| &http.lua);
    let cached = model.http.as_ref().and_then(|http| http.settings.lua_code_cache);
    Options {
        prefix: prefix.to_owned(),
        package_path: lua.package_path.clone(),
        package_cpath: lua.package_cpath.clone(),
        memory_limit_bytes: lua.vm_memory_limit_bytes.unwrap_or(default.memory_limit_bytes),
        handler_timeout_ms: lua.handler_timeout_ms.unwrap_or(default.handler_timeout_ms),
        init_timeout_ms: INIT_TIMEOUT_MS,
        worker_id: worker,
        worker_count: workers,
        max_pending_timers: lua.max_pending_timers.unwrap_or(default.max_pending_timers),
        max_running_timers: lua.max_running_timers.unwrap_or(default.max_running_timers),
        capture_error_log_bytes: lua.capture_error_log_bytes.unwrap_or(0),
        regex_cache_max_entries: lua
            .regex_cache_max_entries
            .unwrap_or(default.regex_cache_max_entries),
        regex_match_limit: lua.regex_match_limit.unwrap_or(default.regex_match_limit),
        thread_pools: model.main.thread_pools.clone(),
        worker_thread_vms: lua.worker_thread_vm_pool_size.unwrap_or(default.worker_thread_vms),
        code_cache: cached.unwrap_or(default.code_cache),
        ..default
    }
}

/// A VM of this thread that serves `snapshot`: every script is compiled, `init_by_lua*` has run.
///
/// # Errors
/// Why there is no such VM, as it should be logged.
pub(super) fn generation(plan: &Plan, worker: usize) -> Result<Generation, String> {
    let snapshot = &plan.snapshot;
    let mut options = options(&snapshot.model, &snapshot.prefix, Some(worker), plan.workers);
    options.dicts = Dicts::clone(&plan.dicts);
    let vm = Vm::open(options).map_err(|error| error.to_string())?;
    let host = Rc::new(ProxyHost::new(Arc::clone(snapshot)));
    vm.set_host(Rc::<ProxyHost>::clone(&host));
    for chunk in snapshot.chunks.iter().filter(|it| it.path.is_none()) {
        vm.numbered(chunk.id, &chunk.source, true)
            .map_err(|error| format!("{}: {error}", chunk.source.at))?;
    }
    if let Some(init) = snapshot.lua.init {
        run(&vm, snapshot, init, Phase::Init)?;
    }
    Ok(Generation::new(Arc::clone(snapshot), vm, host))
}

/// Runs `init_worker_by_lua*`. What goes wrong in it is logged and changes nothing, as in
/// OpenResty.
pub(super) fn begin(generation: &Generation) {
    let Generation { snapshot, vm, .. } = generation;
    if let Some(chunk) = snapshot.lua.init_worker
        && let Err(text) = run(vm, snapshot, chunk, Phase::InitWorker)
    {
        main_log().say(Level::Error, format_args!("{text}"));
    }
}

/// The generation serves no new requests: timers that wait fire now, told that they are premature.
pub(super) fn end(generation: &Generation) {
    let timers = generation.vm.timers();
    let pending = timers.pending();
    if pending > 0 {
        main_log().say(Level::Debug, format_args!("lua abort pending timers"));
        main_log().say(Level::Debug, format_args!("lua found {pending} pending timers"));
    }
    timers.exit();
}

/// Until the timers of a generation that has ended are through, but not for long.
pub(super) async fn settled(generation: &Generation) {
    // A timer that goes on has been told that the worker leaves.
    let _ = tokio::time::timeout(LAST_TIMERS, generation.vm.timers().idle()).await;
}

/// Runs `exit_worker_by_lua*`: nothing of the generation is left to serve.
pub(super) fn leave(generation: &Generation) {
    let Generation { snapshot, vm, .. } = generation;
    if let Some(chunk) = snapshot.lua.exit_worker
        && let Err(text) = run(vm, snapshot, chunk, Phase::ExitWorker)
    {
        main_log().say(Level::Error, format_args!("{text}"));
    }
}

/// The same for a generation that a reload has replaced, once its last request has ended.
pub(super) async fn leave_unused(generation: Rc<Generation>) {
    if generation.snapshot.lua.exit_worker.is_none() {
        return;
    }
    while Rc::strong_count(&generation) > 1 {
        tokio::time::sleep(LAST_LOOK).await;
    }
    leave(&generation);
}

fn run(vm: &Rc<Vm>, snapshot: &Snapshot, chunk: ChunkId, phase: Phase) -> Result<(), String> {
    let source = &snapshot.chunks[chunk as usize].source;
    let handler = vm.handler(source).map_err(|error| error.to_string())?;
    match vm.call_sync(&handler, None, phase) {
        Ok(_) => Ok(()),
        Err(failure) => {
            let text = failure.sync_text(phase.context());
            Err(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

/// A VM apart, in which a configuration is tried before any worker sees it.
#[derive(Debug)]
pub struct Trial(Rc<Vm>);

impl Trial {
    /// A VM of this thread for `model`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new(model: &Model, prefix: &Path, workers: usize) -> Result<Self, String> {
        static PROVEN: OnceLock<Result<(), &str>> = OnceLock::new();
        (*PROVEN.get_or_init(runaway_scripts_can_be_stopped))?;
        let mut options = options(model, prefix, None, workers);
        // Dictionaries of its own: what it writes stays invisible.
        let dicts = model.http.iter().flat_map(|http| &http.lua.shared_dicts);
        let wanted = dicts.map(|it| (it.name.as_str(), it.size_bytes));
        options.dicts = Dicts::default().reloaded(wanted);
        let vm = Vm::open(options).map_err(|it| it.to_string())?;
        Ok(Self(vm))
    }

    /// Whether `chunk` is Lua.
    ///
    /// # Errors
    /// Its syntax error, or why its file cannot be read.
    pub fn compile(&self, chunk: &model::Chunk) -> Result<(), String> {
        self.0.handler(chunk).map(|_: Handler| ()).map_err(|error| error.to_string())
    }

    /// Runs `init_by_lua*`.
    ///
    /// # Errors
    /// Where and why it failed.
    pub fn init(&self, snapshot: &Snapshot) -> Result<(), (At, String)> {
        let Some(init) = snapshot.lua.init else { return Ok(()) };
        let failed = |text| (snapshot.chunks[init as usize].source.at.clone(), text);
        run(&self.0, snapshot, init, Phase::Init).map_err(failed)
    }
}
