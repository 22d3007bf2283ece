//! Pools of idle connections of one VM, by name; with a backlog, a limit on all connections of the
//! pool and a queue of those who wait for one.

use crate::cosocket::stream::Stream;
use crate::log::Level;
use crate::log::main_log;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::rc::Weak;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// A day, for a wait that has no end.
const FOREVER: Duration = Duration::from_secs(86_400);

/// All pools of a VM.
#[derive(Debug, Default)]
pub struct Pools {
    by_key: RefCell<HashMap<Box<[u8]>, Rc<Pool>>>,
    /// Of the task that closes idle connections; `None` while there is no such task.
    janitor: RefCell<Option<Waker>>,
    has_janitor: Cell<bool>,
    /// When the janitor looks next.
    next_look: Cell<Option<Instant>>,
}

/// Connections of one name.
#[derive(Debug)]
pub struct Pool {
    key: Box<[u8]>,
    /// Idle connections at most.
    size: usize,
    /// How many may wait for a connection; `None`: connections are not limited.
    backlog: Option<usize>,
    /// Connections in use, idle ones, and those who wait.
    count: Cell<usize>,
    idle: RefCell<VecDeque<Idle>>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
    pools: Weak<Pools>,
}

/// A connection that waits to be used again, the last one used first.
#[derive(Debug)]
struct Idle {
    stream: Stream,
    reused: u64,
    until: Option<Instant>,
}

/// A place in the queue of a pool.
#[derive(Debug, Default)]
struct Ticket {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One of a pool's connections is counted while this lives.
#[derive(Debug)]
pub struct Lease {
    pool: Option<Rc<Pool>>,
}

/// How a connection of a pool begins.
#[derive(Debug)]
pub enum Begin {
    /// An idle one, and how often it was used again.
    Reused(Stream, u64, Lease),
    /// Connect.
    Connect(Lease),
    /// Wait for `Queued::called`, then look again.
    Wait(Queued),
    /// Too many wait.
    Full,
}

/// A turn that is waited for.
#[derive(Debug)]
pub struct Queued {
    ticket: Rc<Ticket>,
    lease: Option<Lease>,
}

impl Pools {
    /// The pool of `key`, if there is one.
    pub fn find(&self, key: &[u8]) -> Option<Rc<Pool>> {
        self.by_key.borrow().get(key).map(Rc::clone)
    }

    /// The pool of `key`, made now if there is none.
    pub fn open(self: &Rc<Self>, key: &[u8], size: usize, backlog: Option<usize>) -> Rc<Pool> {
        if let Some(pool) = self.find(key) {
            return pool;
        }
        let pool = Rc::new(Pool {
            key: key.into(),
            size,
            backlog,
            count: Cell::new(0),
            idle: RefCell::default(),
            waiting: RefCell::default(),
            pools: Rc::downgrade(self),
        });
        self.by_key.borrow_mut().insert(key.into(), Rc::clone(&pool));
        pool
    }

    /// Keeps `stream` in `pool` for the next one, `keep_ms` at most (0: for ever). `lease` is what
    /// it was counted by, if it was. The oldest goes when there are too many.
    ///
    /// # Errors
    /// What it had to say, as `Stream::poll_idle` has it: then it is not fit to be kept.
    pub fn put(
        self: &Rc<Self>,
        pool: &Rc<Pool>,
        mut stream: Stream,
        reused: u64,
        lease: Option<Lease>,
        keep_ms: u64,
    ) -> Result<(), bool> {
        let janitor = self.janitor.borrow().clone();
        let waker = janitor.as_ref().unwrap_or(Waker::noop());
        if let Poll::Ready(said) = stream.poll_idle(&mut Context::from_waker(waker)) {
            return Err(said);
        }
        let until = (keep_ms > 0).then(|| Instant::now() + Duration::from_millis(keep_ms));
        let lease = lease.unwrap_or_else(|| pool.lease());
        let oldest = {
            let mut idle = pool.idle.borrow_mut();
            let oldest = if idle.len() >= pool.size { idle.pop_back() } else { None };
            idle.push_front(Idle { stream, reused, until });
            oldest
        };
        lease.stay();
        if oldest.is_some() {
            drop(oldest);
            drop(pool.counted());
        }
        pool.call_next(true);
        if !self.has_janitor.replace(true) {
            tokio::task::spawn_local(keep_clean(Rc::downgrade(self)));
        } else if let (Some(until), Some(janitor)) = (until, janitor)
            && self.next_look.get().is_none_or(|next| until < next)
        {
            janitor.wake();
        }
        Ok(())
    }

    /// Closes what is over; whether anything is left, and when to look again.
    fn sweep(&self, cx: &mut Context<'_>) -> Option<Option<Instant>> {
        let now = Instant::now();
        let pools: Vec<Rc<Pool>> = self.by_key.borrow().values().map(Rc::clone).collect();
        let mut next = None;
        let mut is_empty = true;
        for pool in pools {
            let mut over = Vec::new();
            let mut idle = pool.idle.borrow_mut();
            let mut index = 0;
            while let Some(entry) = idle.get_mut(index) {
                let is_late = entry.until.is_some_and(|it| it <= now);
                if is_late || entry.stream.poll_idle(cx).is_ready() {
                    trace(if is_late { TOO_LATE } else { CLOSED }, &pool.key);
                    over.extend(idle.remove(index));
                    continue;
                }
                is_empty = false;
                next = next.into_iter().chain(entry.until).min();
                index += 1;
            }
            drop(idle);
            for entry in over {
                drop(entry);
                drop(pool.counted());
            }
        }
        (!is_empty).then_some(next)
    }

    /// Idle connections of all pools.
    #[cfg(test)]
    pub fn idle_count(&self) -> usize {
        self.by_key.borrow().values().map(|it| it.idle.borrow().len()).sum()
    }
}

/// Closes idle connections whose time is up or which the other side has closed; ends with the
/// last of them.
async fn keep_clean(pools: Weak<Pools>) {
    let mut sleep = pin!(tokio::time::sleep(FOREVER));
    poll_fn(|cx| {
        let Some(pools) = pools.upgrade() else { return Poll::Ready(()) };
        loop {
            let Some(next) = pools.sweep(cx) else {
                pools.has_janitor.set(false);
                pools.janitor.take();
                return Poll::Ready(());
            };
            pools.next_look.set(next);
            pools.janitor.replace(Some(cx.waker().clone()));
            sleep.as_mut().reset(next.unwrap_or_else(|| Instant::now() + FOREVER));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Pool {
    /// A connection of this pool: an idle one first. `was_called`: the caller has waited, and is
    /// not to wait again.
    pub fn begin(self: &Rc<Self>, was_called: bool) -> Begin {
        let idle = self.idle.borrow_mut().pop_front();
        if let Some(Idle { stream, reused, .. }) = idle {
            return Begin::Reused(stream, reused + 1, self.counted());
        }
        let lease = self.lease();
        let count = self.count.get();
        match self.backlog {
            Some(backlog) if !was_called && count > self.size + backlog => Begin::Full,
            Some(_) if !was_called && count > self.size => {
                let ticket = Rc::new(Ticket::default());
                self.waiting.borrow_mut().push_back(Rc::clone(&ticket));
                Begin::Wait(Queued { ticket, lease: Some(lease) })
            }
            _ => Begin::Connect(lease),
        }
    }

    /// Counts one more.
    fn lease(self: &Rc<Self>) -> Lease {
        self.count.set(self.count.get() + 1);
        Lease { pool: Some(Rc::clone(self)) }
    }

    /// The lease of one that is counted already.
    fn counted(self: &Rc<Self>) -> Lease {
        Lease { pool: Some(Rc::clone(self)) }
    }

    /// Calls the first who waits, if there is a connection for it.
    fn call_next(&self, has_idle: bool) {
        let mut waiting = self.waiting.borrow_mut();
        let in_use = self.count.get() - waiting.len();
        if !has_idle && in_use >= self.size {
            return;
        }
        let Some(ticket) = waiting.pop_front() else { return };
        ticket.called.set(true);
        if let Some(waker) = ticket.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Why an idle connection is closed, in lua-nginx-module's words.
const TOO_LATE: &str = "lua tcp socket keepalive max idle timeout";
const CLOSED: &str = "lua tcp socket keepalive close handler: stale connection of pool";

/// A line of the debug level about the pool `key`.
fn trace(what: &str, key: &[u8]) {
    let log = main_log();
    if log.enabled(Level::Debug) {
        let shown = String::from_utf8_lossy(key);
        log.say(Level::Debug, format_args!("{what} \"{shown}\""));
    }
}

impl Lease {
    /// It is counted on: an idle one needs no lease.
    fn stay(mut self) {
        self.pool.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pool) = &self.pool else { return };
        pool.count.set(pool.count.get() - 1);
        if pool.count.get() > 0 {
            return pool.call_next(false);
        }
        // The last one: the next may open it with another size.
        if let Some(pools) = pool.pools.upgrade() {
            let mut by_key = pools.by_key.borrow_mut();
            if by_key.get(&pool.key).is_some_and(|it| Rc::ptr_eq(it, pool)) {
                trace("lua tcp socket keepalive: free connection pool for", &pool.key);
                let gone = by_key.remove(&pool.key);
                drop(by_key);
                drop(gone);
            }
        }
    }
}

impl Queued {
    /// Until it is this one's turn.
    pub async fn called(&self) {
        poll_fn(|cx| {
            if self.ticket.called.get() {
                return Poll::Ready(());
            }
            self.ticket.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Looks for a connection again, not to wait.
    pub fn begin(mut self) -> Option<Begin> {
        let lease = self.lease.take()?;
        let pool = Rc::clone(lease.pool.as_ref()?);
        // Another is counted before this one is not, so that the pool stays.
        let begin = pool.begin(true);
        drop(lease);
        Some(begin)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(pool) = self.lease.as_ref().and_then(|it| it.pool.as_ref()) {
            pool.waiting.borrow_mut().retain(|it| !Rc::ptr_eq(it, &self.ticket));
        }
    }
}

#[cfg(test)]
mod tests;
