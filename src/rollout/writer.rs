//! The thread that writes a journal: a disk that hangs keeps no rollout from deciding.
//!
//! Whoever decides hands records over ([`Writer::begin`]), goes on with what must not wait, and
//! then waits for the disk, but not for ever ([`Writer::end`]). A disk that does not answer in time
//! is like one that refuses: what was to be written has not happened. Until it answers nothing more
//! is handed to it, so that what it writes late is at most one step's, and the state in force is
//! written behind that.

use super::journal::{Error, Identity, Journal, Record};
use crate::clock;
use crate::clock::Tick;
use crate::sys::errno::Failure;
use parking_lot::Mutex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

/// How long a decision waits for the disk.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What came of records.
type Written = Result<(), Error>;

/// What the thread is told.
enum Task {
    /// Append these.
    Write(Vec<Record>, Sender<Written>),
    /// Whatever a test wants.
    #[cfg(test)]
    Do(Box<dyn FnOnce(&mut Journal) + Send>),
}

/// A journal whose writes are another thread's.
pub struct Writer {
    path: PathBuf,
    /// Gone where the thread is to end.
    tasks: Option<Sender<Task>>,
    /// Disconnected once the journal is closed.
    closed: Receiver<()>,
    identity: Arc<Mutex<Identity>>,
    state: Writing,
}

/// What the disk is at.
enum Writing {
    /// Nothing.
    Nothing,
    /// What was handed over, and somebody is going to wait for.
    Begun(Receiver<Written>),
    /// What nobody waits for any more.
    Late(Receiver<Written>),
}

impl Writer {
    /// Gives `journal` to a thread.
    ///
    /// # Errors
    /// `pthread_create() failed …`.
    pub fn start(mut journal: Journal) -> Result<Self, Failure> {
        let (tasks, inbox) = mpsc::channel();
        let (close, closed) = mpsc::channel();
        let path = journal.path().to_owned();
        let identity = Arc::new(Mutex::new(journal.identity()));
        let shared = Arc::clone(&identity);
        let run = move || {
            let _close: Sender<()> = close;
            while let Ok(task) = inbox.recv() {
                obey(&mut journal, task);
                *shared.lock() = journal.identity();
            }
            drop(journal);
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(run)
            .map_err(|error| Failure::new("pthread_create()", error))?;
        Ok(Self { path, tasks: Some(tasks), closed, identity, state: Writing::Nothing })
    }

    /// Hands records over, which are written in order up to the first that fails. [`Self::end`]
    /// must follow.
    pub fn begin(&mut self, records: Vec<Record>) {
        if let Writing::Late(written) = &self.state
            && matches!(written.try_recv(), Err(TryRecvError::Empty))
        {
            return;
        }
        let (written, receiver) = mpsc::channel();
        self.send(Task::Write(records, written));
        self.state = Writing::Begun(receiver);
    }

    /// Waits until what was handed over is on the disk, [`PATIENCE`] from `since` at most.
    ///
    /// # Errors
    /// It is not, or not in time.
    pub fn end(&mut self, since: Tick) -> Written {
        let slow = || Err(Error::Slow(self.path.clone()));
        let written = match std::mem::replace(&mut self.state, Writing::Nothing) {
            Writing::Nothing => return Ok(()),
            Writing::Late(written) => {
                let result = slow();
                self.state = Writing::Late(written);
                return result;
            }
            Writing::Begun(written) => written,
        };
        let left = PATIENCE.saturating_sub(clock::precise() - since);
        match written.recv_timeout(left) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                let result = slow();
                self.state = Writing::Late(written);
                result
            }
            // The thread panicked, which it does not.
            Err(RecvTimeoutError::Disconnected) => slow(),
        }
    }

    /// Which file it is, under whatever name it was opened: another one now and then.
    pub fn identity(&self) -> Arc<Mutex<Identity>> {
        Arc::clone(&self.identity)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn send(&self, task: Task) {
        // A thread that is gone is noticed by whoever waits for it.
        let _ = self.tasks.as_ref().map(|it| it.send(task));
    }

    /// Lets a test do something to the journal, behind all that was handed over.
    #[cfg(test)]
    pub(super) fn touch(&self, touch: impl FnOnce(&mut Journal) + Send + 'static) {
        self.send(Task::Do(Box::new(touch)));
    }
}

fn obey(journal: &mut Journal, task: Task) {
    match task {
        Task::Write(records, written) => {
            // Nobody listens any more where the disk was late.
            let _ = written.send(records.iter().try_for_each(|it| journal.append(it)));
        }
        #[cfg(test)]
        Task::Do(touch) => touch(journal),
    }
}

impl Drop for Writer {
    /// The journal is closed when this returns, unless the disk hangs: the next may open it.
    fn drop(&mut self) {
        self.tasks = None;
        if !matches!(self.state, Writing::Late(_)) {
            // Disconnected is what is waited for.
            let _ = self.closed.recv_timeout(PATIENCE);
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
