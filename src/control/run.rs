//! The process's main loop.

use super::candidate::Candidate;
use super::crew::Crew;
use super::event::{Backlog, Event};
use super::handle::Handle;
use super::rollouts::RolloutThread;
use super::signals;
use super::sockets::Sockets;
use super::source::Source;
use crate::clock;
use crate::clock::Tick;
use crate::config::diagnostic::Diagnostics;
use crate::limits;
use crate::log;
use crate::log::{Level, main_log};
use crate::metrics;
use crate::resolver::Resolver;
use crate::rollout;
use crate::rollout::webhook;
use crate::shdict::Dicts;
use crate::sys::errno::Failure;
use crate::upstream::{Registry, health, refresh};
use crate::worker::{End, Plan};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long workers have to end when they are told to, before the process ends without them.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Between two replacements of workers that died: one that dies at once must not keep a core busy.
const DEATH_PAUSE: Duration = Duration::from_secs(1);

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The operating system refused.
    #[error(transparent)]
    Os(#[from] Failure),
    /// The configuration cannot serve.
    #[error("{0}")]
    Refused(Diagnostics),
}

/// The control side of a process.
pub struct Control {
    serving: Serving,
    inbox: Inbox,
}

/// What serves, and what is needed to change it.
pub(super) struct Serving {
    pub(super) source: Source,
    pub(super) registry: Arc<Registry>,
    pub(super) rollouts: Arc<rollout::Registry>,
    pub(super) limits: Arc<limits::Registry>,
    pub(super) rollout_thread: RolloutThread,
    /// Who is told of their transitions; none once that is over.
    webhooks: Option<webhook::Teller>,
    /// The end of that.
    last_words: Option<JoinHandle<()>>,
    pub(super) resolver: Arc<ArcSwap<Resolver>>,
    pub(super) dicts: Arc<Dicts>,
    pub(super) plan: Plan,
    pub(super) generation: u64,
    pub(super) crew: Crew,
    pub(super) sockets: Sockets,
    pub(super) handle: Handle,
    /// When a worker died last.
    last_death: Option<Tick>,
    /// True ends health checks and the refresh of names.
    over: watch::Sender<bool>,
}

/// Events as they come.
struct Inbox {
    events: UnboundedReceiver<Event>,
    backlog: Backlog,
}

impl Inbox {
    /// The next event; `None` can only be when nobody could send one any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.backlog.push(event);
            }
            if let Some(event) = self.backlog.pop() {
                return Some(event);
            }
            let event = self.events.recv().await?;
            self.backlog.push(event);
        }
    }

    /// Until the process is to end now; other events wait.
    async fn stop(&mut self) {
        while !self.backlog.has_stop() {
            match self.events.recv().await {
                Some(event) => self.backlog.push(event),
                None => return std::future::pending().await,
            }
        }
    }
}

impl Control {
    /// Starts sockets, workers and health checks for `candidate`; `settle` is called
    /// between, to give up the privileges that only sockets need. Within a
    /// tokio runtime.
    ///
    /// # Errors
    /// Why nothing is served.
    pub async fn start(
        source: Source,
        candidate: Candidate,
        settle: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Self, Fault> {
        let (sender, events) = mpsc::unbounded_channel();
        signals::listen(&sender)?;
        let registry = Arc::clone(&candidate.registry);
        let handle = Handle::of(&candidate);
        let resolver = Arc::new(ArcSwap::new(Arc::clone(&candidate.resolver)));
        let (tell, queue) = webhook::queue()?;
        let webhooks = Some(webhook::Teller::start(queue, Arc::clone(&resolver)));
        let rollout_thread =
            RolloutThread::start(&candidate.rollouts, Arc::clone(&resolver), tell)?;
        let mut serving = Serving {
            source,
            rollout_thread,
            webhooks,
            last_words: None,
            resolver,
            rollouts: Arc::clone(&candidate.rollouts),
            limits: Arc::clone(&candidate.limits),
            dicts: Arc::clone(&candidate.dicts),
            plan: candidate.plan(),
            generation: 0,
            crew: Crew::new(sender),
            sockets: Sockets::default(),
            handle,
            last_death: None,
            over: watch::Sender::new(false),
            registry,
        };
        serving.listen(&candidate).map_err(Fault::Refused)?;
        settle()?;
        let diagnostics = serving.take_over(candidate).await.map_err(Fault::Refused)?;
        metrics::catalog().reloaded(Some(serving.generation));
        serving.handle.reloaded(true, &diagnostics);
        serving.announce();
        let (registry, over) = (&serving.registry, &serving.over);
        tokio::spawn(health::run(Arc::clone(registry), over.subscribe()));
        let resolver = Arc::clone(&serving.resolver);
        tokio::spawn(refresh::run(Arc::clone(registry), resolver, over.subscribe()));
        Ok(Self { serving, inbox: Inbox { events, backlog: Backlog::default() } })
    }

    /// A look at the process for others.
    pub fn handle(&self) -> Handle {
        self.serving.handle.clone()
    }

    /// Reacts to events until the process is to end.
    pub async fn run(mut self) {
        let Self { serving, inbox } = &mut self;
        while let Some(event) = inbox.next().await {
            match event {
                Event::Reload => tokio::select! {
                    () = serving.reload() => {}
                    () = inbox.stop() => {}
                },
                Event::Reopen => reopen(),
                Event::Upgrade => say_no_upgrade(),
                Event::WorkerEnded { id, serial, end } => {
                    serving.worker_ended(id, serial, end).await;
                }
                Event::Quit => return serving.quit(inbox).await,
                Event::Stop => return serving.stop(inbox).await,
            }
        }
    }
}

impl Serving {
    /// One that was told to end has; one that died is replaced.
    async fn worker_ended(&mut self, id: usize, serial: u64, end: End) {
        let served = self.crew.forget(id, serial);
        if end == End::Told || !served {
            return;
        }
        main_log().say(
            Level::Alert,
            format_args!("worker {id} died; its connections are lost, another takes its place"),
        );
        let now = clock::monotonic();
        if self.last_death.is_some_and(|it| now - it < DEATH_PAUSE) {
            tokio::time::sleep(DEATH_PAUSE).await;
        }
        self.last_death = Some(now);
        self.sockets.orphan(id);
        if let Err(text) = self.crew.start(id, self.plan.clone()).await {
            main_log().say(Level::Alert, format_args!("worker {id} cannot be replaced: {text}"));
        }
        self.crew.assign(&mut self.sockets, self.plan.workers);
    }

    /// Lets every worker finish what it is at; SIGTERM ends that.
    async fn quit(&mut self, inbox: &mut Inbox) {
        main_log().say(Level::Notice, format_args!("gracefully shutting down"));
        self.handle.drains();
        self.rollout_thread.end().await;
        // The workers' own descriptors are the last ones now.
        self.sockets.clear();
        self.crew.remove(0, self.plan.snapshot.model.main.worker_shutdown_timeout_ms);
        // Nothing happens to rollouts any more, and the next process waits for the outboxes.
        self.begin_last_words();
        while self.crew.threads() > 0 {
            match inbox.next().await {
                Some(Event::WorkerEnded { id, serial, .. }) => drop(self.crew.forget(id, serial)),
                Some(Event::Reopen) => reopen(),
                Some(Event::Stop) | None => return self.stop(inbox).await,
                Some(Event::Reload | Event::Quit | Event::Upgrade) => {}
            }
        }
        self.over.send_replace(true);
        self.tell_last().await;
    }

    /// Gives webhooks that wait a last while.
    fn begin_last_words(&mut self) {
        if let Some(webhooks) = self.webhooks.take() {
            self.last_words = Some(tokio::spawn(webhooks.end()));
        }
    }

    /// Waits for the end of that.
    async fn tell_last(&mut self) {
        self.begin_last_words();
        if let Some(last_words) = self.last_words.take() {
            // It does not panic.
            let _ = last_words.await;
        }
    }

    /// Ends the workers; a second SIGTERM, or their being stuck, ends the process without them.
    async fn stop(&mut self, inbox: &mut Inbox) {
        main_log().say(Level::Notice, format_args!("exiting"));
        self.handle.drains();
        self.over.send_replace(true);
        self.sockets.clear();
        self.crew.stop();
        self.rollout_thread.end().await;
        let ends = async {
            while self.crew.threads() > 0 {
                match inbox.next().await {
                    Some(Event::WorkerEnded { id, serial, .. }) => {
                        self.crew.forget(id, serial);
                    }
                    Some(Event::Stop) | None => return,
                    Some(_) => {}
                }
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, ends).await.is_err() {
            main_log().say(Level::Alert, format_args!("a worker is stuck; exiting without it"));
        }
        self.tell_last().await;
    }
}

fn reopen() {
    main_log().say(Level::Notice, format_args!("reopening logs"));
    for failure in log::reopen_all() {
        main_log().say(Level::Emerg, format_args!("{failure}"));
    }
}

fn say_no_upgrade() {
    main_log().say(
        Level::Warn,
        format_args!(
            "upgrading the binary while it runs is not there yet: \
             start the new one after the signal QUIT"
        ),
    );
}
