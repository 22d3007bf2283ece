//! A worker's thread, and the handle that its commands go through.

use super::command::{Command, End};
use super::core::Core;
use super::listener::WorkerListener;
use super::scripts;
use super::scripts::Plan;
use crate::clock;
use crate::clock::Tick;
use crate::log::{Level, main_log};
use crate::metrics;
use crate::proxy::{Generation, WorkerState};
use crate::sys::errno::Failure;
use crate::sys::socket::Listener;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, LocalSet};

/// Threads of a worker for files and the like, where the kernel makes one wait.
const BLOCKING_THREADS: usize = 4;

/// What requests have to end in when their connections were cut.
const FAREWELL: Duration = Duration::from_millis(500);

/// A worker that runs. Dropping it ends the worker at once.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub id: usize,
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a worker, which has no listener yet; `on_end` is called on its thread when it ends.
    /// It serves once the second value says so, or says why its VM could not be built.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        id: usize,
        plan: Plan,
        on_end: impl FnOnce(End) + Send + 'static,
    ) -> io::Result<(Self, oneshot::Receiver<Result<(), String>>)> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("worker {id}")).spawn(move || {
            let mut last_word = LastWord(Some(on_end), End::Died);
            run(id, plan, inbox, ready);
            last_word.1 = End::Told;
        })?;
        Ok((Self { id, commands, thread: Some(thread) }, is_ready))
    }

    /// Builds a VM for `plan` beside the one that serves.
    ///
    /// # Errors
    /// Why there is no VM; the worker serves on as before.
    pub async fn prepare(&self, plan: Plan) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Prepare { plan, reply });
        answer.await.unwrap_or_else(|_| Err(format!("worker {} is gone", self.id)))
    }

    /// Serves new requests by what was prepared. Resolves when it does, or is gone.
    pub async fn commit(&self) {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Commit { reply });
        // A worker that died is told of by its last word.
        let _ = answer.await;
    }

    /// Forgets what was prepared.
    pub fn discard(&self) {
        self.tell(Command::Discard);
    }

    /// Accepts from `socket` too, which is the `number`th of the listener `address`.
    pub fn open(&self, address: &Arc<str>, number: usize, socket: Listener) {
        self.tell(Command::Open { address: Arc::clone(address), number, socket });
    }

    /// Accepts no more from a socket from which another worker does.
    pub fn leave(&self, address: &Arc<str>, number: usize) {
        self.tell(Command::Leave { address: Arc::clone(address), number });
    }

    /// Closes the listener `address`: serves who has connected, then nobody.
    pub fn close(&self, address: &Arc<str>) {
        self.tell(Command::Close { address: Arc::clone(address) });
    }

    /// Closes all listeners and ends when the last connection has, at the latest after
    /// `timeout_ms`.
    pub fn drain(&self, timeout_ms: Option<u64>) {
        self.tell(Command::Drain { timeout_ms });
    }

    /// Ends now.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Waits for the thread's end, which it must have been told.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // How it ended is told by its last word.
            let _ = thread.join();
        }
    }

    fn tell(&self, command: Command) {
        // A worker that died is told of by its last word.
        let _ = self.commands.send(command);
    }
}

/// Says how the thread ended, however it did.
struct LastWord<F: FnOnce(End)>(Option<F>, End);

impl<F: FnOnce(End)> Drop for LastWord<F> {
    fn drop(&mut self) {
        if let Some(on_end) = self.0.take() {
            on_end(self.1);
        }
    }
}

fn run(
    id: usize,
    plan: Plan,
    inbox: mpsc::UnboundedReceiver<Command>,
    ready: oneshot::Sender<Result<(), String>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new("epoll_create1()", error);
            let _ = ready.send(Err(failure.to_string()));
            return;
        }
    };
    let tasks = LocalSet::new();
    // A task of its own: this future, which is polled at each turn, only reads the time.
    let served = tasks.spawn_local(serve(id, plan, inbox, ready));
    let ended = tasks.block_on(&runtime, with_clock(served));
    if let Err(panic) = ended.map_err(JoinError::into_panic) {
        std::panic::resume_unwind(panic);
    }
    // Tasks that are left end here, within the runtime that they belong to.
    runtime.block_on(async move { drop(tasks) });
}

/// Reads the time once a turn of the event loop, which polls this future each time.
async fn with_clock<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        clock::update();
        future.as_mut().poll(cx)
    })
    .await
}

async fn serve(
    id: usize,
    plan: Plan,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    ready: oneshot::Sender<Result<(), String>>,
) {
    let generation = match scripts::generation(&plan, id) {
        Ok(generation) => generation,
        Err(text) => {
            let _ = ready.send(Err(text));
            return;
        }
    };
    let state = WorkerState::new(id, generation, plan.registry);
    scripts::begin(&state.current());
    metrics::catalog().workers.inc();
    // Nobody to tell means that the process is ending.
    let _ = ready.send(Ok(()));
    let mut seat =
        Seat { core: Core::new(state), listeners: HashMap::new(), prepared: None, draining: None };
    seat.follow(&mut inbox).await;
    metrics::catalog().workers.dec();
    let last = seat.core.state().current();
    scripts::end(&last);
    scripts::settled(&last).await;
    scripts::leave(&last);
}

/// A worker's place at its event loop.
struct Seat {
    core: Rc<Core>,
    listeners: HashMap<Arc<str>, Rc<WorkerListener>>,
    /// Built, and waiting for the others.
    prepared: Option<Generation>,
    draining: Option<Drain>,
}

/// A drain under way.
#[derive(Clone, Copy)]
struct Drain {
    until: Option<Tick>,
}

impl Seat {
    /// Does as it is told until it is to end.
    async fn follow(&mut self, inbox: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            let command = match self.draining {
                None => inbox.recv().await,
                Some(drain) => tokio::select! {
                    biased;
                    command = inbox.recv() => command,
                    () = self.done() => return,
                    () = reached(drain.until) => return self.give_up().await,
                },
            };
            match command {
                None | Some(Command::Stop) => return,
                Some(command) => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare { plan, reply } => {
                let id = self.core.state().id;
                let built = scripts::generation(&plan, id);
                let result = built.map(|generation| self.prepared = Some(generation));
                let _ = reply.send(result);
            }
            Command::Commit { reply } => {
                self.commit();
                let _ = reply.send(());
            }
            Command::Discard => self.prepared = None,
            Command::Open { address, number, socket } => self.open(&address, number, socket),
            Command::Leave { address, number } => {
                if let Some(listener) = self.listeners.get(&address) {
                    listener.leave(number);
                }
            }
            Command::Close { address } => {
                // Its connections hold it as long as they need it.
                if let Some(listener) = self.listeners.remove(&address) {
                    listener.close();
                }
            }
            Command::Drain { timeout_ms } => {
                self.listeners.values().for_each(|it| it.close());
                let until = timeout_ms.map(|ms| clock::monotonic().plus_ms(ms));
                self.draining = Some(Drain { until });
            }
            Command::Stop => {}
        }
    }

    fn commit(&mut self) {
        let Some(generation) = self.prepared.take() else { return };
        let snapshot = Arc::clone(&generation.snapshot);
        let before = self.core.state().swap(generation);
        scripts::end(&before);
        self.core.follow(&snapshot);
        self.listeners.values().for_each(|it| it.follow(&snapshot));
        scripts::begin(&self.core.state().current());
        tokio::task::spawn_local(scripts::leave_unused(before));
    }

    fn open(&mut self, address: &Arc<str>, number: usize, socket: Listener) {
        let core = &self.core;
        let listener = self
            .listeners
            .entry(Arc::clone(address))
            .or_insert_with(|| WorkerListener::new(core, Arc::clone(address)));
        if let Err(error) = listener.open(number, socket) {
            let failure = Failure::new(format!("epoll_ctl() for {address}"), error);
            main_log().say(Level::Emerg, format_args!("{failure}"));
        }
    }

    /// Until all accept loops and connections have ended.
    async fn done(&self) {
        while self.core.connections() > 0 || !self.listeners.values().all(|it| it.is_done()) {
            self.core.an_end().await;
        }
    }

    /// Cuts the connections that are left. Their requests end and are logged, but for those that
    /// would go on without their client.
    async fn give_up(&self) {
        let (id, left) = (self.core.state().id, self.core.connections());
        main_log().say(
            Level::Warn,
            format_args!("worker {id} closes {left} connections: worker_shutdown_timeout is over"),
        );
        self.core.hang_up();
        let _ = tokio::time::timeout(FAREWELL, self.done()).await;
    }
}

async fn reached(until: Option<Tick>) {
    match until {
        Some(until) => tokio::time::sleep(until - clock::monotonic()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
