//! A child from its start to its end, whoever looks at it.

use crate::sys::child::Child;
use crate::sys::child::Ended;
use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Between two looks, where the system cannot tell of a child's end.
const LOOK: Duration = Duration::from_millis(20);

/// A child that was started. Its end is noticed, and the child reaped, whether or not a script asks
/// for it.
#[derive(Debug)]
pub struct Life {
    child: RefCell<Child>,
    ended: Cell<Option<Ended>>,
    end: Notify,
}

impl Life {
    /// Of `child`.
    pub fn new(child: Child) -> Self {
        Self { child: RefCell::new(child), ended: Cell::new(None), end: Notify::new() }
    }

    /// How it has ended.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.get()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Ended {
        loop {
            let end = self.end.notified();
            if let Some(ended) = self.ended.get() {
                return ended;
            }
            end.await;
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `EINVAL` for what is no signal, `ESRCH` for a child that has ended.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.child.borrow().signal(number)
    }

    /// Notices its end. The task that polls it may go away before: then the child is killed.
    pub async fn watch(self: Rc<Self>) {
        let end = self.child.borrow().end();
        if let Ok(end) = end {
            // A failure is that of the event loop; the looks below do without it.
            let _ = end.readable().await;
        }
        let ended = loop {
            if let Some(ended) = self.child.borrow_mut().look() {
                break ended;
            }
            tokio::time::sleep(LOOK).await;
        };
        self.ended.set(Some(ended));
        self.end.notify_waiters();
    }
}
