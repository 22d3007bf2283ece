//! A connection to a peer: its transport, what was read from it ahead, and its timer.

use super::transport::Transport;
use crate::clock::{self, Tick};
use crate::downstream::Alarm;
use crate::sys::read_buffer;
use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// A connection to a peer.
#[derive(Debug)]
pub(in crate::proxy) struct Connection {
    pub(super) transport: Transport,
    /// Bytes that were read and not yet taken. No memory is held where there are none to come.
    pub(super) input: BytesMut,
    alarm: Alarm,
    /// Since when nothing has moved.
    waits_since: Option<Tick>,
}

impl Connection {
    /// A connection that was just made.
    pub fn new(transport: Transport) -> Self {
        Self { transport, input: BytesMut::new(), alarm: Alarm::default(), waits_since: None }
    }

    /// Reads more into `input`; 0 is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(read_buffer::poll_read(&mut self.transport, cx, &mut self.input))?;
        self.waits_since = None;
        Poll::Ready(Ok(count))
    }

    /// Bytes went out: what is waited for has `limit` anew.
    pub(super) fn note_progress(&mut self) {
        self.waits_since = None;
    }

    /// Ready when nothing has moved for `limit`, 0 being no time at all.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.waits_since.get_or_insert_with(clock::monotonic);
        self.alarm.poll_until(cx, since + limit)
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
        self.waits_since = None;
    }
}
