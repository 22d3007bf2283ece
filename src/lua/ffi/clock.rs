//! Stopping a script that runs too long: the watchdog's view of a worker thread, the signal that
//! it sends and the hook that the signal installs.
//!
//! `seq` is odd while Lua runs. The watchdog names the run that has to die and signals the worker;
//! the handler runs on the worker itself, so it can touch the VM without a race. The hook raises at
//! each instruction until Lua is left, so that no `pcall` escapes it; a run that yields before is
//! met by it at its next resume.

use crate::lua::ffi::heap::State;
use crate::lua::ffi::raw;
use crate::lua::ffi::raw::lua_Debug;
use crate::lua::ffi::raw::lua_State;
use parking_lot::Mutex;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::atomic::compiler_fence;

/// One thread that runs Lua. Lives for ever: there is one a worker.
#[derive(Debug)]
pub struct Clock {
    seq: AtomicU64,
    kill: AtomicU64,
    run: AtomicU64,
    limit_ms: AtomicU64,
    main: AtomicPtr<lua_State>,
    thread: libc::pthread_t,
    cpu: libc::clockid_t,
}

/// What the watchdog sees of a thread on which Lua runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Which run has it; `None` while no Lua runs.
    pub run: Option<u64>,
    /// The one that has it, or had it last.
    pub last_run: u64,
    /// How often Lua was entered.
    pub turns: u64,
    /// Milliseconds of CPU time that the run may take; 0 is no limit.
    pub limit_ms: u64,
    /// CPU time of the thread so far, in nanoseconds.
    pub cpu_ns: u64,
}

thread_local! {
    // Const and without a destructor: a signal handler may read it.
    static CLOCK: Cell<Option<&'static Clock>> = const { Cell::new(None) };
    static LISTED: Listed = Listed::new();
    static STOPPED: Cell<Stopped> = const { Cell::new(Stopped::NONE) };
}

static CLOCKS: Mutex<Vec<&'static Clock>> = Mutex::new(Vec::new());

/// This thread's clock among those that the watchdog looks at, until the thread ends.
struct Listed(&'static Clock);

impl Listed {
    fn new() -> Self {
        // SAFETY: asks for this thread's own handle and clock; plain values are written.
        let (thread, cpu) = unsafe {
            let thread = libc::pthread_self();
            let mut cpu = 0;
            if libc::pthread_getcpuclockid(thread, &mut cpu) != 0 {
                cpu = libc::CLOCK_MONOTONIC;
            }
            (thread, cpu)
        };
        let clock: &'static Clock = Box::leak(Box::new(Clock {
            seq: AtomicU64::new(0),
            kill: AtomicU64::new(0),
            run: AtomicU64::new(0),
            limit_ms: AtomicU64::new(0),
            main: AtomicPtr::new(std::ptr::null_mut()),
            thread,
            cpu,
        }));
        CLOCK.set(Some(clock));
        CLOCKS.lock().push(clock);
        Self(clock)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        CLOCK.set(None);
        CLOCKS.lock().retain(|clock| !std::ptr::eq(*clock, self.0));
    }
}

/// Calls `visit` for each listed clock; none goes away meanwhile.
pub fn each_clock(mut visit: impl FnMut(usize, &'static Clock)) {
    for clock in CLOCKS.lock().iter() {
        visit(std::ptr::from_ref::<Clock>(clock) as usize, clock);
    }
}

impl Clock {
    /// The clock of this thread, listed from now on.
    pub fn of_this_thread() -> &'static Self {
        LISTED.with(|listed| listed.0)
    }

    /// Lua begins to run for `run`. Nested calls belong to the outer run: gives `false` for them.
    pub fn enter(&self, state: &State, run: u64, limit_ms: u64) -> bool {
        let seq = self.seq.load(Ordering::Relaxed);
        if seq & 1 == 1 {
            return false;
        }
        self.run.store(run, Ordering::Relaxed);
        self.limit_ms.store(limit_ms, Ordering::Relaxed);
        self.main.store(state.raw(), Ordering::Relaxed);
        // Only this thread writes it.
        self.seq.store(seq + 1, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        if self.kill.load(Ordering::Relaxed) == run {
            // SAFETY: the state is live.
            unsafe { set_stop(state.raw()) };
        }
        true
    }

    /// Lua has returned from the call for which `enter` said `entered`. Gives whether it was
    /// killed.
    pub fn leave(&self, state: &State, entered: bool) -> bool {
        compiler_fence(Ordering::SeqCst);
        let run = self.run.load(Ordering::Relaxed);
        if !entered {
            return self.kill.load(Ordering::Relaxed) == run;
        }
        // First even, then asked: once it is even the signal handler installs no hook, so a hook
        // that is there belongs to a kill that is seen here.
        self.seq.store(self.seq.load(Ordering::Relaxed) + 1, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        let killed = self.kill.load(Ordering::Relaxed) == run;
        if killed {
            // SAFETY: the state is live.
            unsafe { raw::lua_sethook(state.raw(), None, 0, 0) };
        }
        killed
    }

    /// Whether what runs now has been told to die.
    pub fn is_killed(&self) -> bool {
        let seq = self.seq.load(Ordering::Relaxed);
        let run = self.run.load(Ordering::Relaxed);
        seq & 1 == 1 && self.kill.load(Ordering::Relaxed) == run
    }

    /// What runs now. For the watchdog's thread.
    pub fn sight(&self) -> Sight {
        let seq = self.seq.load(Ordering::Acquire);
        let running = seq & 1 == 1;
        let run = self.run.load(Ordering::Relaxed);
        let limit_ms = self.limit_ms.load(Ordering::Relaxed);
        let (last_run, turns) = (run, seq / 2);
        Sight { run: running.then_some(run), last_run, turns, limit_ms, cpu_ns: self.cpu_ns() }
    }

    fn cpu_ns(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock's id is of a listed, hence living, thread; `time` is written.
        unsafe { libc::clock_gettime(self.cpu, &mut time) };
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }

    /// Stops `run`; said again until it has ended, for a signal may come at the wrong moment.
    pub fn interrupt(&self, run: u64) {
        self.kill.store(run, Ordering::Release);
        // SAFETY: a listed thread has not ended: it takes itself off the list first, which waits
        // for the lock that `each_clock` holds.
        unsafe { libc::pthread_kill(self.thread, libc::SIGURG) };
    }
}

/// Makes SIGURG the signal that stops scripts. Once a process.
pub fn install_signal_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the action is zeroed, then given a handler that is async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut());
        }
    });
}

extern "C" fn on_signal(_: c_int) {
    let Some(clock) = CLOCK.get() else { return };
    if !clock.is_killed() {
        return;
    }
    // SAFETY: Lua runs on this very thread (`seq` is odd), so that `main` is live; LuaJIT allows
    // `lua_sethook` in a signal handler.
    unsafe { set_stop(clock.main.load(Ordering::Relaxed)) };
}

/// # Safety
/// `main` is a live state of this thread.
unsafe fn set_stop(main: *mut lua_State) {
    let mask = raw::LUA_MASKCALL | raw::LUA_MASKRET | raw::LUA_MASKCOUNT;
    // SAFETY: the caller's promise.
    unsafe { raw::lua_sethook(main, Some(stop), mask, 1) };
}

/// Where a run was first stopped: what it says of it, however often it catches that.
#[derive(Clone, Copy)]
struct Stopped {
    run: u64,
    length: usize,
    text: [u8; 200],
}

impl Stopped {
    const NONE: Self = Self { run: 0, length: 0, text: [0; 200] };
}

/// Raises where the script stands. Stays installed.
///
/// # Safety
/// Called by LuaJIT as a hook.
unsafe extern "C-unwind" fn stop(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: the state is live; no value with a destructor is alive here.
    unsafe {
        let run = CLOCK.get().map_or(0, |it| it.run.load(Ordering::Relaxed));
        let mut stopped = STOPPED.get();
        if stopped.run != run || stopped.length == 0 {
            raw::luaL_where(state, 0);
            let text = b"execution time limit exceeded";
            raw::pushlstring(state, text.as_ptr().cast(), text.len());
            mlua::ffi::lua_concat(state, 2);
            let mut length = 0;
            let text = raw::lua_tolstring(state, -1, &mut length).cast::<u8>();
            stopped.run = run;
            stopped.length = if length <= stopped.text.len() { length } else { 0 };
            std::ptr::copy_nonoverlapping(text, stopped.text.as_mut_ptr(), stopped.length);
            STOPPED.set(stopped);
        } else {
            raw::pushlstring(state, stopped.text.as_ptr().cast(), stopped.length);
        }
        raw::lua_error(state);
    }
}
