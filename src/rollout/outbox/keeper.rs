//! The thread that keeps the outboxes: nobody who decides, and nobody who sends, waits for a disk.
//!
//! It is told of messages at the same time as who sends them, and of those that were taken. When a
//! rollout comes to life it hands over what waits from the process before, and what that had no
//! time to put in: transitions that the journal has and the outbox has not.

use super::{Dropped, Letter, MOST_KEPT, Outbox, beside_journal, is_held, removed};
use crate::clock;
use crate::clock::Tick;
use crate::log::{Level, main_log};
use crate::sys::errno::Failure;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Tasks that wait for the disk.
const MOST_TASKS: usize = 1024;
/// Between two tries to have an outbox that another process holds, and that the disk refuses.
const HELD_PAUSE: Duration = Duration::from_millis(200);
const FAULT_PAUSE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the disk.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// A rollout that comes to life, or goes on under another configuration.
#[derive(Debug)]
pub struct Beginning {
    /// Its name.
    pub rollout: String,
    /// Its journal: the outbox is beside it.
    pub journal: PathBuf,
    /// Who is told.
    pub urls: Arc<[String]>,
    /// Messages on the last transitions of the journal, by transition.
    pub recent: Vec<(u64, Vec<Letter>)>,
}

/// Messages of one transition.
#[derive(Debug)]
pub struct Kept {
    /// Whose.
    pub rollout: String,
    /// When it was.
    pub at_ms: u64,
    /// One for each receiver.
    pub letters: Vec<Letter>,
    /// True once they are on the disk.
    pub mark: Arc<AtomicBool>,
}

/// What the thread is told.
enum Task {
    Begin(Beginning),
    Keep(Kept),
    Take { rollout: String, id: String, url: String },
    Leave(String),
    End(oneshot::Sender<()>),
}

/// Who is given what waits from the process before: rollout and message, and that it is kept.
pub type Send = Box<dyn Fn(&str, Letter, Arc<AtomicBool>) + std::marker::Send>;

/// The thread's ear.
#[derive(Clone, Debug)]
pub struct Keeper(SyncSender<Task>);

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// `pthread_create() failed …`.
    pub fn start(send: Send) -> Result<Self, Failure> {
        let (tasks, inbox) = mpsc::sync_channel(MOST_TASKS);
        thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || Thread { send, rooms: HashMap::new() }.run(&inbox))
            .map_err(|error| Failure::new("pthread_create()", error))?;
        Ok(Self(tasks))
    }

    /// Opens the outbox of a rollout, or lets it follow the configuration.
    pub fn begin(&self, beginning: Beginning) {
        self.tell(Task::Begin(beginning));
    }

    /// Keeps messages.
    pub fn keep(&self, kept: Kept) {
        self.tell(Task::Keep(kept));
    }

    /// A message was taken by its receiver, or given up.
    pub fn take(&self, rollout: &str, id: &str, url: &str) {
        let (rollout, id, url) = (rollout.to_owned(), id.to_owned(), url.to_owned());
        self.tell(Task::Take { rollout, id, url });
    }

    /// A rollout has left the configuration.
    pub fn leave(&self, rollout: &str) {
        self.tell(Task::Leave(rollout.to_owned()));
    }

    /// Waits until all that was said is on the disk, a while at most, and lets the outboxes go.
    pub async fn end(&self) {
        let (done, ended) = oneshot::channel();
        self.tell(Task::End(done));
        if tokio::time::timeout(LAST_WRITE, ended).await.is_err() {
            main_log().say(Level::Error, format_args!("an outbox of webhooks is stuck"));
        }
    }

    /// Behind a disk that hangs tasks are lost: a message then is not kept, or comes twice.
    fn tell(&self, task: Task) {
        let _ = self.0.try_send(task);
    }
}

struct Thread {
    send: Send,
    rooms: HashMap<String, Room>,
}

/// What is known of one rollout's outbox.
struct Room {
    path: PathBuf,
    urls: Arc<[String]>,
    /// None until it is opened.
    outbox: Option<Outbox>,
    /// What the journal knows, until then.
    recent: Vec<(u64, Vec<Letter>)>,
    /// What came until then.
    early: Vec<Kept>,
    /// When to try again.
    retry: Option<Tick>,
    fault: Option<String>,
    /// Its rollout has left: it is closed once it is empty.
    leaves: bool,
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Task>) {
        loop {
            let now = clock::precise();
            let next = self.rooms.values().filter_map(|it| it.retry).min();
            let task = match next {
                Some(at) => inbox.recv_timeout(at - now),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match task {
                Ok(Task::Begin(it)) => self.begin(it),
                Ok(Task::Keep(it)) => {
                    if let Some(room) = self.rooms.get_mut(&it.rollout) {
                        room.keep(it);
                    }
                }
                Ok(Task::Take { rollout, id, url }) => self.take(&rollout, &id, &url),
                Ok(Task::Leave(rollout)) => {
                    if let Some(room) = self.rooms.get_mut(&rollout) {
                        room.leaves = true;
                        self.forget_empty(&rollout);
                    }
                }
                Ok(Task::End(done)) => {
                    self.rooms.clear();
                    let _ = done.send(()); // who asked may be gone
                }
                Err(RecvTimeoutError::Timeout) => self.retry(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn begin(&mut self, beginning: Beginning) {
        let Beginning { rollout, journal, urls, recent } = beginning;
        let path = beside_journal(&journal);
        let before = self.rooms.remove(&rollout);
        if urls.is_empty() && before.is_none() {
            let why = "the configuration has it no more";
            log_dropped(&rollout, removed(&path).into_iter().map(|it| (it, why)).collect());
            return;
        }
        let mut room = match before {
            Some(room) if room.path == path => Room { urls, leaves: false, ..room },
            before => {
                let early = before.map(|it| it.moved_out(&rollout)).unwrap_or_default();
                Room {
                    path,
                    urls,
                    outbox: None,
                    recent,
                    early,
                    retry: None,
                    fault: None,
                    leaves: false,
                }
            }
        };
        room.open(&rollout, &self.send);
        self.rooms.insert(rollout, room);
    }

    fn take(&mut self, rollout: &str, id: &str, url: &str) {
        let Some(room) = self.rooms.get_mut(rollout) else { return };
        for kept in &mut room.early {
            kept.letters.retain(|it| it.id != id || it.url != url);
        }
        if let Some(outbox) = &mut room.outbox {
            let result = outbox.take(id, url);
            room.settled(rollout, result);
        }
        self.forget_empty(rollout);
    }

    fn forget_empty(&mut self, rollout: &str) {
        let is_over =
            |it: &Room| it.leaves && it.outbox.as_ref().is_none_or(|it| it.letters().is_empty());
        if self.rooms.get(rollout).is_some_and(is_over) {
            self.rooms.remove(rollout);
        }
    }

    fn retry(&mut self) {
        let now = clock::precise();
        for (rollout, room) in &mut self.rooms {
            if room.retry.is_none_or(|it| it > now) {
                continue;
            }
            match &mut room.outbox {
                Some(outbox) => {
                    let result = outbox.settle();
                    room.settled(rollout, result);
                }
                None => room.open(rollout, &self.send),
            }
        }
    }
}

impl Room {
    /// Opens the outbox unless it is open, and sends what was in it.
    fn open(&mut self, rollout: &str, send: &Send) {
        if self.outbox.is_some() {
            return;
        }
        let (outbox, dropped) = match Outbox::open(&self.path, &self.urls, clock::unix_ms()) {
            Ok(opened) => opened,
            Err(error) => {
                let pause = if is_held(&error) { HELD_PAUSE } else { FAULT_PAUSE };
                self.retry = Some(clock::precise() + pause);
                return self.complain(rollout, (!is_held(&error)).then(|| error.to_string()));
            }
        };
        log_dropped(rollout, dropped);
        let waiting: Vec<Letter> = outbox.letters().to_vec();
        let is_new = outbox.told_ms().is_none();
        let recent = std::mem::take(&mut self.recent);
        let last_ms = recent.last().map_or(0, |it| it.0);
        let missing = missing(recent, &outbox, &self.early);
        self.outbox = Some(outbox);
        self.settled(rollout, Ok(()));
        if is_new {
            let rollout = rollout.to_owned();
            self.keep(Kept { rollout, at_ms: last_ms, letters: vec![], mark: Arc::default() });
        }
        for letter in waiting {
            send(rollout, letter, Arc::new(AtomicBool::new(true)));
        }
        for (at_ms, letters) in missing {
            let mark = Arc::default();
            for letter in &letters {
                send(rollout, letter.clone(), Arc::clone(&mark));
            }
            self.keep(Kept { rollout: rollout.to_owned(), at_ms, letters, mark });
        }
        for kept in std::mem::take(&mut self.early) {
            self.keep(kept);
        }
    }

    fn keep(&mut self, kept: Kept) {
        let Some(outbox) = &mut self.outbox else {
            if self.early.len() == MOST_KEPT {
                self.early.remove(0);
            }
            return self.early.push(kept);
        };
        let Kept { rollout, at_ms, letters, mark } = kept;
        let (dropped, result) = outbox.keep(at_ms, letters);
        mark.store(result.is_ok(), Ordering::Relaxed);
        let count = dropped.len();
        if count > 0 {
            let path = self.path.display();
            main_log().say(
                Level::Warn,
                format_args!(
                    "rollout \"{rollout}\": {count} webhook(s) are kept no longer in \"{path}\", \
                     for {MOST_KEPT} wait"
                ),
            );
        }
        self.settled(&rollout, result);
    }

    /// What waits leaves for another outbox.
    fn moved_out(mut self, rollout: &str) -> Vec<Kept> {
        if let Some(outbox) = self.outbox.take() {
            let letters = outbox.letters().to_vec();
            let at_ms = outbox.told_ms().unwrap_or(0);
            // What stays is sent again should the journal ever come back.
            let _ = std::fs::remove_file(outbox.path());
            let mark = Arc::default();
            self.early.insert(0, Kept { rollout: rollout.to_owned(), at_ms, letters, mark });
        }
        self.early
    }

    fn settled(&mut self, rollout: &str, result: Result<(), crate::rollout::journal::Error>) {
        self.retry = result.as_ref().err().map(|_| clock::precise() + FAULT_PAUSE);
        self.complain(rollout, result.err().map(|it| it.to_string()));
    }

    /// Says why it is not written, once for each reason.
    fn complain(&mut self, rollout: &str, fault: Option<String>) {
        if let Some(why) = fault.as_ref().filter(|it| self.fault.as_ref() != Some(it)) {
            main_log().say(
                Level::Error,
                format_args!(
                    "rollout \"{rollout}\": webhooks that wait do not outlive this process: {why}"
                ),
            );
        }
        self.fault = fault;
    }
}

/// The messages that the process before had no time to put in: those on transitions behind the last
/// one of which it had. What came since is `early`.
fn missing(
    mut recent: Vec<(u64, Vec<Letter>)>,
    outbox: &Outbox,
    early: &[Kept],
) -> Vec<(u64, Vec<Letter>)> {
    // A new outbox is one of a rollout whose webhooks are new.
    let Some(told_ms) = outbox.told_ms() else { return vec![] };
    match recent.iter().rposition(|it| it.0 == told_ms) {
        Some(last) => drop(recent.drain(..=last)),
        None => recent.retain(|it| it.0 > told_ms),
    }
    recent.retain(|it| early.iter().all(|kept| kept.at_ms != it.0));
    recent
}

fn log_dropped(rollout: &str, dropped: Vec<Dropped>) {
    for (letter, why) in dropped {
        let Letter { id, url, .. } = letter;
        main_log().say(
            Level::Error,
            format_args!("rollout \"{rollout}\": the webhook {url} is not told of {id}: {why}"),
        );
    }
}

#[cfg(test)]
mod tests;
