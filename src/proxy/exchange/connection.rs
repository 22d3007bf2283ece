//! A connection to a peer: its transport, what was read from it ahead, and its timer.

use super::transport::Transport;
use crate::clock::{self, Tick};
use bytes::BytesMut;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes that are read at a time.
const READ: usize = 32 << 10;

/// A read goes into the room that is left if there is as much, else into new memory.
const LEAST_ROOM: usize = 4 << 10;

/// A connection to a peer.
#[derive(Debug)]
pub(in crate::proxy) struct Connection {
    pub(super) transport: Transport,
    /// Bytes that were read and not yet taken. No memory is held where there are none to come.
    pub(super) input: BytesMut,
    timer: Timer,
}

impl Connection {
    /// A connection that was just made.
    pub fn new(transport: Transport) -> Self {
        Self { transport, input: BytesMut::new(), timer: Timer::default() }
    }

    /// Reads more into `input`; 0 is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            ready!(self.transport.poll_readable(cx))?;
            self.input.reserve(READ);
        }
        let count = ready!(pin!(self.transport.read_buf(&mut self.input)).poll(cx))?;
        self.timer.waits_since = None;
        Poll::Ready(Ok(count))
    }

    /// Bytes went out: what is waited for has `limit` anew.
    pub(super) fn note_progress(&mut self) {
        self.timer.waits_since = None;
    }

    /// Ready when nothing has moved for `limit`, 0 being no time at all.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        self.timer.poll(cx, limit)
    }

    /// Whether there is nothing to read: neither the end of the stream nor bytes that nobody asked
    /// for. Costs a system call only where the event loop knows of something.
    pub fn stands(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.transport).poll_read(&mut cx, &mut buffer).is_pending()
    }

    /// Lets go of what only an exchange needs.
    pub fn rest(&mut self) {
        self.input = BytesMut::new();
        self.timer.waits_since = None;
    }
}

/// One timer for the life of a connection. It is set again only when it rings too early, not at
/// each of the waits that it guards.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When `sleep` rings.
    rings: Tick,
    /// Since when nothing has moved.
    waits_since: Option<Tick>,
}

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.waits_since.get_or_insert_with(clock::monotonic);
        let due = since + limit;
        loop {
            let Some(sleep) = self.sleep.as_mut().filter(|_| self.rings <= due) else {
                self.set(due);
                continue;
            };
            ready!(sleep.as_mut().poll(cx));
            if clock::monotonic() >= due {
                // It has rung: the next wait sets it anew.
                self.sleep = None;
                return Poll::Ready(());
            }
            self.set(due);
        }
    }

    fn set(&mut self, due: Tick) {
        let left = due - clock::monotonic();
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + left),
            none => *none = Some(Box::pin(tokio::time::sleep(left))),
        }
        self.rings = due;
    }
}
