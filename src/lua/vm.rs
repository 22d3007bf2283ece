//! One Lua VM: of one worker and one generation of the configuration. It knows what runs in it
//! now (request, phase) and keeps what API functions need between calls.

use crate::config::model::ThreadPool;
use crate::lua::budget::Budget;
use crate::lua::chunk::Chunks;
use crate::lua::cjson::Instances;
use crate::lua::ffi::heap::State;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::thread::Thread;
use crate::lua::host::Host;
use crate::lua::ngx::state::PerVm;
use crate::lua::outcome::Op;
use crate::lua::outcome::Outcome;
use crate::lua::patterns::Patterns;
use crate::lua::phase::Phase;
use crate::lua::timer::Timers;
use crate::request::Request;
use crate::shdict::Dicts;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::rc::Weak;
use std::task::Waker;

/// Coroutines kept for reuse at most.
const MAX_POOLED: usize = 256;

/// What a VM is built from.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's prefix (`-p`), which relative script paths and `$prefix` start from.
    pub prefix: PathBuf,
    /// `lua_package_path`.
    pub package_path: Option<String>,
    /// `lua_package_cpath`.
    pub package_cpath: Option<String>,
    /// `lua_vm_memory_limit`, in bytes; 0 is no limit.
    pub memory_limit_bytes: usize,
    /// `lua_handler_timeout`, in milliseconds of CPU time; 0 is no limit.
    pub handler_timeout_ms: u64,
    /// The same for `init_by_lua*` and `init_worker_by_lua*`.
    pub init_timeout_ms: u64,
    /// The worker's number, from 0; `None` outside of workers (`ngx.worker.id()`).
    pub worker_id: Option<usize>,
    /// How many workers there are (`ngx.worker.count()`).
    pub worker_count: usize,
    /// `lua_max_pending_timers`.
    pub max_pending_timers: usize,
    /// `lua_max_running_timers`.
    pub max_running_timers: usize,
    /// `lua_capture_error_log`, in bytes; 0 captures nothing.
    pub capture_error_log_bytes: usize,
    /// `lua_regex_cache_max_entries`.
    pub regex_cache_max_entries: usize,
    /// `lua_regex_match_limit`; 0 is the engine's.
    pub regex_match_limit: u32,
    /// `thread_pool` lines, for `ngx.run_worker_thread`.
    pub thread_pools: Vec<ThreadPool>,
    /// `lua_worker_thread_vm_pool_size`.
    pub worker_thread_vms: usize,
    /// `lua_code_cache`: off rereads files for each request.
    pub code_cache: bool,
    /// The shared dictionaries (`ngx.shared`).
    pub dicts: Dicts,
    /// Seeds `math.random`, which OpenResty leaves alike in all workers.
    pub random_seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: PathBuf::from("/"),
            package_path: None,
            package_cpath: None,
            memory_limit_bytes: 256 << 20,
            handler_timeout_ms: 1000,
            init_timeout_ms: 10_000,
            worker_id: None,
            worker_count: 1,
            max_pending_timers: 1024,
            max_running_timers: 256,
            capture_error_log_bytes: 0,
            regex_cache_max_entries: 1024,
            regex_match_limit: 0,
            thread_pools: Vec::new(),
            worker_thread_vms: 100,
            code_cache: true,
            dicts: Dicts::default(),
            random_seed: rand::random(),
        }
    }
}

/// What runs now. Each resume has its own, and so has each synchronous call inside of one.
pub struct Frame {
    /// The request, if the code runs for one.
    pub request: Option<Rc<Request>>,
    /// The phase.
    pub phase: Phase,
    /// Who is to be woken when a wait is over; `None` where waiting is not possible.
    pub waker: Option<Waker>,
    /// The wait that the running coroutine asked for.
    pub op: Option<Op>,
    /// The decision that ends the run.
    pub outcome: Option<Outcome>,
    /// Call stacks of failed `coroutine.wrap`s whose error goes on outwards, innermost first.
    pub tracebacks: Vec<Vec<u8>>,
    /// The message of that error.
    pub failing: Vec<u8>,
}

impl Frame {
    /// A frame for `phase`.
    pub fn new(request: Option<Rc<Request>>, phase: Phase, waker: Option<Waker>) -> Self {
        Self {
            request,
            phase,
            waker,
            op: None,
            outcome: None,
            tracebacks: Vec::new(),
            failing: Vec::new(),
        }
    }
}

/// A Lua VM. API functions reach it through `call.vm()`.
pub struct Vm {
    state: State,
    this: Weak<Self>,
    options: Options,
    frame: RefCell<Frame>,
    pool: RefCell<Vec<Thread>>,
    chunks: Chunks,
    budget: Budget,
    timers: Timers,
    host: OnceCell<Rc<dyn Host>>,
    tostring: OnceCell<Anchor>,
    patterns: Patterns,
    cjson: Instances,
    api: PerVm,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

impl Vm {
    /// A VM over `state`; `open` fills it with libraries and API.
    pub(in crate::lua) fn new(state: State, options: Options, this: Weak<Self>) -> Self {
        Self {
            state,
            this,
            cjson: Instances::default(),
            patterns: Patterns::new(options.regex_cache_max_entries, options.regex_match_limit),
            timers: Timers::new(options.max_pending_timers, options.max_running_timers),
            options,
            frame: RefCell::new(Frame::new(None, Phase::Init, None)),
            pool: RefCell::default(),
            chunks: Chunks::default(),
            budget: Budget::of_this_thread(),
            host: OnceCell::new(),
            tostring: OnceCell::new(),
            api: PerVm::default(),
        }
    }

    /// Itself, to be kept; `None` while it is being built.
    pub fn shared(&self) -> Option<Rc<Self>> {
        self.this.upgrade()
    }

    /// Lets go of what `anchor` kept alive.
    pub(in crate::lua) fn release(&self, anchor: Anchor) {
        crate::lua::ffi::thread::main_stack(&self.state).release(anchor);
    }

    /// Where the function that `anchor` keeps is defined: its chunk's whole name and the line.
    pub(in crate::lua) fn definition(&self, anchor: &Anchor) -> Option<(String, i32)> {
        let stack = crate::lua::ffi::thread::main_stack(&self.state);
        let base = stack.top();
        stack.push_anchored(anchor);
        let found = crate::lua::ffi::function::definition(&stack, base + 1);
        crate::lua::ffi::thread::trim_main(&self.state, base);
        found
    }

    /// The Lua state.
    pub(in crate::lua) fn state(&self) -> &State {
        &self.state
    }

    /// What it was built from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The scripts loaded so far.
    pub(in crate::lua) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The CPU time that handlers may take.
    pub(in crate::lua) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Its timers.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// What API functions keep between calls.
    pub(in crate::lua) fn api(&self) -> &PerVm {
        &self.api
    }

    /// The instances of `cjson`.
    pub(in crate::lua) fn cjson(&self) -> &Instances {
        &self.cjson
    }

    /// The compiled patterns of `ngx.re`.
    pub(in crate::lua) fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Bytes that Lua holds.
    pub fn used_bytes(&self) -> usize {
        self.state.heap().used_bytes()
    }

    /// Whether a script ever ran into the memory limit; such a VM is best replaced.
    pub fn is_exhausted(&self) -> bool {
        self.state.heap().is_exhausted()
    }

    /// The door to the proxy.
    pub fn host(&self) -> Option<&Rc<dyn Host>> {
        self.host.get()
    }

    /// Names the proxy; the first one stays.
    pub fn set_host(&self, host: Rc<dyn Host>) {
        let _ = self.host.set(host);
    }

    /// Lua's own `tostring`, anchored when the VM was built.
    pub(in crate::lua) fn tostring(&self) -> &Anchor {
        self.tostring.get().expect("set when the VM is built")
    }

    pub(in crate::lua) fn set_tostring(&self, anchor: Anchor) {
        let _ = self.tostring.set(anchor);
    }

    /// The request that the running code serves.
    pub fn request(&self) -> Option<Rc<Request>> {
        self.frame.borrow().request.clone()
    }

    /// Calls `look` with the request that the running code serves.
    pub fn with_request<T>(&self, look: impl FnOnce(Option<&Request>) -> T) -> T {
        look(self.frame.borrow().request.as_deref())
    }

    /// The phase that runs.
    pub fn phase(&self) -> Phase {
        self.frame.borrow().phase
    }

    pub(in crate::lua) fn waker(&self) -> Option<Waker> {
        self.frame.borrow().waker.clone()
    }

    pub(in crate::lua) fn set_op(&self, op: Op) {
        self.frame.borrow_mut().op = Some(op);
    }

    /// Decides how the run ends, without ending it now: for phases that do not wait.
    pub fn set_outcome(&self, outcome: Outcome) {
        self.frame.borrow_mut().outcome = Some(outcome);
    }

    /// Notes the call stack of a coroutine whose error `message` goes on outwards.
    pub(in crate::lua) fn note_traceback(&self, message: Vec<u8>, traceback: Vec<u8>) {
        const MOST: usize = 16;
        let mut frame = self.frame.borrow_mut();
        if frame.failing != message {
            // An earlier error, which was caught.
            frame.tracebacks.clear();
            frame.failing = message;
        }
        if frame.tracebacks.len() < MOST {
            frame.tracebacks.push(traceback);
        }
    }

    /// Runs `body` with `frame` as what runs now, nested in whatever ran; gives the frame back.
    pub(in crate::lua) fn within<T>(&self, frame: Frame, body: impl FnOnce() -> T) -> (T, Frame) {
        let outer = self.frame.replace(frame);
        let result = body();
        (result, self.frame.replace(outer))
    }

    /// A coroutine with an empty stack, used before if possible.
    pub(in crate::lua) fn take_thread(&self) -> Thread {
        let pooled = self.pool.borrow_mut().pop();
        pooled.unwrap_or_else(|| Thread::new(&self.state))
    }

    /// Takes back a coroutine whose function has returned.
    pub(in crate::lua) fn recycle(&self, thread: Thread) {
        thread.clear(&self.state);
        let mut pool = self.pool.borrow_mut();
        if pool.len() < MAX_POOLED {
            pool.push(thread);
        } else {
            drop(pool);
            thread.discard(&self.state);
        }
    }

    /// Coroutines waiting for reuse.
    #[cfg(test)]
    pub fn pooled_threads(&self) -> usize {
        self.pool.borrow().len()
    }

    /// Collects all garbage now.
    pub fn collect_garbage(&self) {
        crate::lua::ffi::thread::collect_garbage(&self.state);
        self.state.heap().collected();
    }

    /// Collects garbage where the memory limit is near, so that what a script has wasted costs no
    /// other; not within a call.
    pub(in crate::lua) fn relieve(&self) {
        if self.state.heap().wants_collection() && !self.budget().is_running() {
            self.collect_garbage();
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Finalizers may call our API: everything else here must still be alive.
        self.state.close();
    }
}
