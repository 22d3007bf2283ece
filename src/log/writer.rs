//! The one thread that writes logs.
//!
//! It ticks while there is something to write and sleeps without a timer while there is not;
//! the first line after that wakes it.

use super::sink::{Left, Sink};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks at the queues while there is something in them: short enough for an error
/// to be in its file within 20 ms.
const TICK: Duration = Duration::from_millis(10);

/// Every sink in use, and those given up with lines still queued.
static SINKS: Mutex<Vec<Arc<Sink>>> = Mutex::new(Vec::new());
static THREAD: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
static RUNNING: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicBool = AtomicBool::new(false);
static IDLE: AtomicBool = AtomicBool::new(false);

/// Starts the writer, once the process has forked as often as it will: from now on no line is
/// written by the thread that logs it. Does nothing when it runs already.
///
/// # Errors
/// When the operating system gives no thread; logs then go on as before.
pub fn start() -> io::Result<()> {
    let mut thread = THREAD.lock();
    if thread.is_none() {
        RUNNING.store(true, Ordering::SeqCst);
        let spawned = thread::Builder::new().name("log writer".to_owned()).spawn(run);
        STARTED.store(true, Ordering::Relaxed);
        *thread = Some(spawned.inspect_err(|_| RUNNING.store(false, Ordering::SeqCst))?);
    }
    Ok(())
}

/// Ends the writer after everything queued is written, for the process's end.
pub fn stop() {
    let thread = THREAD.lock().take();
    RUNNING.store(false, Ordering::SeqCst);
    if let Some(thread) = thread {
        thread.thread().unpark();
        // A writer that panicked has nothing left to say; its queues are flushed below.
        drop(thread.join());
    }
    flush();
}

/// Writes everything queued so far, on this thread; what a place refuses stays queued.
pub fn flush() {
    for sink in all() {
        sink.drain(true);
    }
}

/// Whether lines are queued for the writer rather than written at once.
pub(super) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// Whether the server got as far as to start its writer, ever.
pub(super) fn has_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// Wakes the writer if it sleeps without a timer.
///
/// No wake is lost: the writer says that it is idle before it looks into the queues for the last
/// time, under the locks under which lines are put there.
pub(super) fn wake() {
    if IDLE.load(Ordering::SeqCst)
        && IDLE.swap(false, Ordering::SeqCst)
        && let Some(thread) = THREAD.lock().as_ref()
    {
        thread.thread().unpark();
    }
}

/// Makes the writer look at once, before its tick is over: a queue fills.
pub(super) fn hurry() {
    if let Some(thread) = THREAD.lock().as_ref() {
        thread.thread().unpark();
    }
}

/// Makes `sink` one of those that are written.
pub(super) fn register(sink: &Arc<Sink>) {
    SINKS.lock().push(sink.clone());
}

/// The sink for `wanted`, if there is one in use.
pub(super) fn known(wanted: impl Fn(&Sink) -> bool) -> Option<Arc<Sink>> {
    SINKS.lock().iter().find(|it| wanted(it)).cloned()
}

fn all() -> Vec<Arc<Sink>> {
    SINKS.lock().clone()
}

fn run() {
    while is_running() {
        if drain_all() == Left::Timed {
            thread::park_timeout(TICK);
            continue;
        }
        IDLE.store(true, Ordering::SeqCst);
        if drain_all() != Left::Timed && is_running() {
            thread::park();
        }
        IDLE.store(false, Ordering::SeqCst);
    }
}

fn drain_all() -> Left {
    let mut left = Left::Nothing;
    for sink in all() {
        // Held by `SINKS` and here: nobody logs to it any more.
        let given_up = Arc::strong_count(&sink) == 2;
        let sink_left = sink.drain(given_up);
        if given_up && sink_left == Left::Nothing {
            forget(sink);
        }
        left = left.max(sink_left);
    }
    left
}

/// Lets go of a sink that nobody uses, unless somebody found it in the meantime.
fn forget(sink: Arc<Sink>) {
    let mut sinks = SINKS.lock();
    if Arc::strong_count(&sink) == 2 {
        sinks.retain(|it| !Arc::ptr_eq(it, &sink));
    }
}
