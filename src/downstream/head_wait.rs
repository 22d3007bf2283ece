//! How long a connection may keep its worker waiting for the head of a request.
//!
//! A first request has its whole head within `client_header_timeout` of being accepted, a later
//! one within that time of its first byte, however slowly the bytes drip; idle in between it is for
//! `keepalive_timeout` at most. While the listener drains, an idle connection is
//! given a moment in which a request already under way may still arrive, and is then closed.

use crate::clock;
use crate::clock::Tick;
use crate::request::Connection;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// How long an idle connection stays open once its listener drains, milliseconds: a client that
/// was about to use it learns from a response, not from a reset, that it closes.
const LINGER_MS: u64 = 1000;

/// A connection's wait for heads, shared by its stream, its task and its listener.
#[derive(Debug)]
pub struct HeadWait {
    /// The connection.
    pub connection: Rc<Connection>,
    /// `client_header_timeout` in milliseconds; 0 is no limit.
    timeout_ms: u64,
    state: Cell<State>,
    /// When the listener began to drain.
    draining: Cell<Option<Tick>>,
    /// Its place is needed for another client.
    evicted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The requests that the connection had when the wait began: one more, and the head is read.
    requests: u64,
    since: Tick,
    until: Option<Tick>,
    /// A byte of the head has come.
    begun: bool,
    /// What comes may be frames that are no head: they set no deadline.
    frames: bool,
}

/// What follows from the time it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A head is not what is waited for.
    NotWaiting,
    /// Wait on, at most until then.
    Wait(Option<Tick>),
    /// The client was too slow.
    TimedOut,
    /// Nothing more will come: close.
    Close,
}

impl HeadWait {
    /// Waits for the first head of `connection`, which was accepted just now.
    pub fn new(connection: Rc<Connection>, timeout_ms: u64) -> Self {
        let since = connection.accepted;
        let until = (timeout_ms > 0).then(|| since.plus_ms(timeout_ms));
        let requests = connection.requests.get();
        let state = State { requests, since, until, begun: false, frames: false };
        Self {
            connection,
            timeout_ms,
            state: Cell::new(state),
            draining: Cell::new(None),
            evicted: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// A response is complete: waits for the next request, for `keepalive_timeout` at most where
    /// that is not somebody else's.
    pub fn begin(&self, keepalive_timeout_ms: Option<u64>) {
        let requests = self.connection.requests.get();
        let since = clock::monotonic();
        let until = keepalive_timeout_ms.map(|it| since.plus_ms(it));
        self.state.set(State { requests, since, until, begun: false, frames: false });
    }

    /// The last request of an HTTP/2 connection is complete: it is idle, whatever frames come, for
    /// as long as somebody else says.
    pub fn begin_between_streams(&self) {
        self.begin(None);
        self.state.set(State { frames: true, ..self.state.get() });
    }

    /// Whether a byte of the head has come.
    pub fn has_begun(&self) -> bool {
        self.state.get().begun
    }

    /// Whether what is read belongs to a head.
    pub fn is_waiting(&self) -> bool {
        self.connection.requests.get() == self.state.get().requests
    }

    /// Bytes of the head came; false when they came too late.
    pub fn arrived(&self, now: Tick) -> bool {
        let mut state = self.state.get();
        if !state.begun && !state.frames {
            state.begun = true;
            if state.requests > 0 {
                state.until = (self.timeout_ms > 0).then(|| now.plus_ms(self.timeout_ms));
            }
            self.state.set(state);
        }
        state.until.is_none_or(|until| now < until)
    }

    /// What to do at `now` when there is nothing to read.
    pub fn verdict(&self, now: Tick) -> Verdict {
        if !self.is_waiting() {
            return Verdict::NotWaiting;
        }
        let state = self.state.get();
        if self.evicted.get() && !state.begun {
            return Verdict::Close;
        }
        if state.until.is_some_and(|until| now >= until) {
            let is_idle = state.requests > 0 && !state.begun;
            return if is_idle { Verdict::Close } else { Verdict::TimedOut };
        }
        let Some(draining) = self.draining.get().filter(|_| !state.begun) else {
            return Verdict::Wait(state.until);
        };
        let close = draining.max(state.since).plus_ms(LINGER_MS);
        if now >= close {
            return Verdict::Close;
        }
        Verdict::Wait(Some(state.until.map_or(close, |until| until.min(close))))
    }

    /// Who is to be woken when the verdict changes.
    pub fn park(&self, waker: &Waker) {
        let mut parked = self.waker.borrow_mut();
        match &mut *parked {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// The listener drains: idle, the connection closes soon; busy, after its response.
    pub fn drain(&self) {
        self.connection.closing.set(true);
        self.draining.set(Some(clock::monotonic()));
        self.wake();
    }

    /// Since when it has been kept open without a request, if it has answered one.
    pub fn idle_since(&self) -> Option<Tick> {
        let state = self.state.get();
        let is_idle = self.is_waiting() && !state.begun && state.requests > 0;
        (is_idle && !self.evicted.get()).then_some(state.since)
    }

    /// Closes it, unless a head is on its way already.
    pub fn evict(&self) {
        self.connection.closing.set(true);
        self.evicted.set(true);
        self.wake();
    }

    fn wake(&self) {
        let parked = self.waker.borrow_mut().take();
        if let Some(waker) = parked {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::fixture;

    const fn ms(ms: u64) -> Tick {
        Tick::from_us(ms * 1000)
    }

    #[test]
    fn a_head_is_due_within_the_timeout_however_it_drips() {
        let wait = HeadWait::new(fixture::connection(ms(0)), 60_000);
        assert_eq!(wait.verdict(ms(1)), Verdict::Wait(Some(ms(60_000))));
        assert!(wait.arrived(ms(59_000)));
        assert_eq!(wait.verdict(ms(59_999)), Verdict::Wait(Some(ms(60_000))));
        assert_eq!(wait.verdict(ms(60_000)), Verdict::TimedOut);
        assert!(!wait.arrived(ms(60_000)));
    }

    #[test]
    fn a_later_head_is_due_from_its_first_byte() {
        let connection = fixture::connection(ms(0));
        let wait = HeadWait::new(connection.clone(), 1000);
        connection.requests.set(1);
        assert_eq!(wait.verdict(ms(5000)), Verdict::NotWaiting);
        wait.begin(None);
        assert_eq!(wait.verdict(ms(70_000)), Verdict::Wait(None));
        assert!(wait.arrived(ms(70_000)));
        assert_eq!(wait.verdict(ms(70_999)), Verdict::Wait(Some(ms(71_000))));
        assert_eq!(wait.verdict(ms(71_000)), Verdict::TimedOut);
    }

    #[test]
    fn an_idle_connection_closes_after_its_keepalive_timeout() {
        clock::testing::freeze(0);
        let now = clock::monotonic();
        let connection = fixture::connection(now);
        let wait = HeadWait::new(connection.clone(), 1000);
        connection.requests.set(1);
        wait.begin(Some(5000));
        assert_eq!(wait.verdict(now), Verdict::Wait(Some(now.plus_ms(5000))));
        assert_eq!(wait.verdict(now.plus_ms(5000)), Verdict::Close);
        assert!(wait.arrived(now.plus_ms(4999)));
        assert_eq!(wait.verdict(now.plus_ms(5998)), Verdict::Wait(Some(now.plus_ms(5999))));
        assert_eq!(wait.verdict(now.plus_ms(5999)), Verdict::TimedOut);
    }

    #[test]
    fn frames_between_streams_set_no_deadline() {
        let connection = fixture::connection(ms(0));
        let wait = HeadWait::new(connection.clone(), 1000);
        connection.requests.set(1);
        wait.begin_between_streams();
        assert!(wait.arrived(ms(5000)));
        assert_eq!(wait.verdict(ms(70_000)), Verdict::Wait(None));
        assert!(wait.idle_since().is_some(), "its place may be another's");
    }

    #[test]
    fn without_a_timeout_a_head_may_take_for_ever() {
        let wait = HeadWait::new(fixture::connection(ms(0)), 0);
        assert!(wait.arrived(ms(1)));
        assert_eq!(wait.verdict(ms(u64::from(u32::MAX))), Verdict::Wait(None));
    }

    #[test]
    fn only_who_was_answered_and_is_idle_makes_room() {
        let connection = fixture::connection(ms(0));
        let wait = HeadWait::new(connection.clone(), 1000);
        assert_eq!(wait.idle_since(), None, "it was never answered");
        connection.requests.set(1);
        assert_eq!(wait.idle_since(), None, "it is being answered");
        wait.begin(None);
        let since = wait.idle_since().unwrap();
        wait.evict();
        assert_eq!((wait.verdict(since), wait.idle_since()), (Verdict::Close, None));
        assert!(wait.arrived(since), "a request that was on its way is still served");
        assert!(matches!(wait.verdict(since), Verdict::Wait(_)));
    }

    #[test]
    fn drained_connections_linger_and_close_unless_a_head_is_on_its_way() {
        clock::testing::freeze(0);
        let now = clock::monotonic();
        let idle = HeadWait::new(fixture::connection(now), 60_000);
        let busy = HeadWait::new(fixture::connection(now), 60_000);
        assert!(busy.arrived(now));
        idle.drain();
        busy.drain();
        assert_eq!(idle.verdict(now), Verdict::Wait(Some(now.plus_ms(LINGER_MS))));
        assert_eq!(idle.verdict(now.plus_ms(LINGER_MS)), Verdict::Close);
        assert_eq!(busy.verdict(now.plus_ms(LINGER_MS)), Verdict::Wait(Some(now.plus_ms(60_000))));
    }
}
