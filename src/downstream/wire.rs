//! HTTP/1's bytes: a connection's buffers, and its deadlines in both directions.

use super::alarm::Alarm;
use super::body::Framing;
use super::head_wait::{HeadWait, Verdict};
use super::transport::Transport;
use super::unsent::Unsent;
use crate::clock;
use crate::clock::Tick;
use crate::http::h1::fault::Fault;
use crate::http::h1::request_head::Parser;
use crate::http::headers::Headers;
use crate::request::Connection;
use crate::sys::hang_up::{OtherEnd, other_end};
use crate::sys::read_buffer;
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes that are read while nobody waits for them, to see whether the client is still there.
const READ_AHEAD_BYTES: usize = 8 << 10;

/// An idle connection keeps no larger buffer.
const KEPT_BYTES: usize = 1024;

/// Why no (further) head came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEnd {
    /// Between two requests: there is nothing to be said.
    Closed,
    /// The client left within a head.
    Left,
    /// The client was too slow.
    TimedOut,
    /// The head is refused.
    Refused(Fault),
}

/// A connection that speaks HTTP/1, in both directions at once if need be: reading and writing are
/// polled apart from each other.
#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    wait: Rc<HeadWait>,
    alarm: Alarm,
    /// Read, and not used yet.
    pub(super) input: BytesMut,
    unsent: Unsent,
    /// When a write that waits has waited long enough.
    send_until: Option<Tick>,
    /// The same of a read of the body.
    pub(super) body_until: Option<Tick>,
    pub(super) framing: Framing,
    /// Bytes of the current body that were used, framing included.
    pub(super) received: u64,
    sent: u64,
    /// The client will send no more.
    pub(super) is_over: bool,
}

impl Wire {
    /// The connection of `wait` over `transport`; nothing was read from it.
    pub fn new(transport: Transport, wait: Rc<HeadWait>) -> Self {
        Self {
            transport,
            wait,
            alarm: Alarm::default(),
            input: BytesMut::new(),
            unsent: Unsent::default(),
            send_until: None,
            body_until: None,
            framing: Framing::Over,
            received: 0,
            sent: 0,
            is_over: false,
        }
    }

    /// The connection, as its requests see it.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.wait.connection
    }

    /// A response is complete: waits for the next head.
    pub fn rest(&self, keepalive_timeout_ms: u64) {
        self.wait.begin(Some(keepalive_timeout_ms));
    }

    /// Waits until a head begins. An idle connection holds no buffer worth mentioning.
    ///
    /// # Errors
    /// None will.
    pub async fn head_begins(&mut self) -> Result<(), HeadEnd> {
        poll_fn(|cx| self.poll_begin(cx)).await
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HeadEnd>> {
        while self.input.is_empty() {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(HeadEnd::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    self.shrink();
                    return self.poll_patience(cx).map(Err);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn shrink(&mut self) {
        if self.input.capacity() > KEPT_BYTES {
            self.input = BytesMut::new();
        }
        self.unsent.shrink();
    }

    /// Reads the rest of a head that has begun.
    ///
    /// # Errors
    /// It does not come to its end.
    pub async fn head(&mut self, parser: &mut Parser) -> Result<(), HeadEnd> {
        poll_fn(|cx| self.poll_head(cx, parser)).await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut Parser,
    ) -> Poll<Result<(), HeadEnd>> {
        loop {
            if !self.wait.arrived(clock::monotonic()) {
                return Poll::Ready(Err(HeadEnd::TimedOut));
            }
            match parser.parse(&self.input) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(fault) => return Poll::Ready(Err(HeadEnd::Refused(fault))),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(HeadEnd::Left)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.poll_patience(cx).map(Err),
            }
        }
    }

    /// There is nothing to read of a head: waits on, or ends the connection.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<HeadEnd> {
        loop {
            match self.wait.verdict(clock::monotonic()) {
                Verdict::NotWaiting => return Poll::Pending,
                Verdict::Close => return Poll::Ready(HeadEnd::Closed),
                Verdict::TimedOut => return Poll::Ready(HeadEnd::TimedOut),
                Verdict::Wait(until) => {
                    self.wait.park(cx.waker());
                    let Some(until) = until else { return Poll::Pending };
                    ready!(self.alarm.poll_until(cx, until));
                }
            }
        }
    }

    /// Whether a byte of the head that is waited for has come.
    pub fn has_begun(&self) -> bool {
        self.wait.has_begun()
    }

    /// Takes `count` bytes that were read.
    pub fn take(&mut self, count: usize) -> Bytes {
        self.input.split_to(count.min(self.input.len())).freeze()
    }

    /// What was read and is not used yet.
    pub fn unused(&self) -> &[u8] {
        &self.input
    }

    /// Reads once: how many bytes came, 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(read_buffer::poll_read(&mut self.transport, cx, &mut self.input))?;
        self.is_over |= count == 0;
        Poll::Ready(Ok(count))
    }

    /// Bytes of the upgraded protocol, first those that had been read with the request; an empty
    /// answer is the end.
    ///
    /// # Errors
    /// The client's connection failed.
    pub fn poll_read_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.input.is_empty() && ready!(self.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(Bytes::new()));
        }
        Poll::Ready(Ok(self.input.split().freeze()))
    }

    /// Ready once the client has gone, or has said that it sends no more (nginx takes both for
    /// one). What it sends meanwhile is kept for later; more than a little waits in the socket.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_over {
            if self.input.len() >= READ_AHEAD_BYTES {
                return Poll::Pending;
            }
            if ready!(self.poll_fill(cx)).is_err() {
                self.is_over = true;
            }
        }
        Poll::Ready(())
    }

    /// Whether the client has gone, or has ended its side within the body that nobody reads: what
    /// [`Self::poll_gone`] cannot see, for it would have to read all that comes before.
    pub fn has_abandoned(&self) -> bool {
        let missing = match self.framing {
            Framing::Length(left) => left.saturating_sub(self.input.len() as u64),
            Framing::Chunked(_) | Framing::Over => 0,
        };
        match other_end(self.transport.as_raw_fd()) {
            OtherEnd::Open => false,
            OtherEnd::Gone => true,
            // What TLS holds is not known here.
            OtherEnd::Ended(_) if matches!(self.transport, Transport::Tls(_)) => false,
            OtherEnd::Ended(unread) => (unread as u64) < missing,
        }
    }

    /// Where the head of a response is written; [`Self::poll_flush`] sends it.
    pub fn end(&mut self) -> &mut Vec<u8> {
        self.unsent.end()
    }

    /// Adds a part of a body that is not empty, framed as a chunk if need be.
    pub fn push(&mut self, chunk: Bytes, is_framed: bool) {
        self.unsent.push(chunk, is_framed);
    }

    /// Adds the end of a body in chunks, with `trailers` if there are any.
    pub fn push_end(&mut self, trailers: &Headers) {
        self.unsent.push_end(trailers);
    }

    /// Whether [`Self::poll_flush`] is due before more is added.
    pub fn is_enough(&self) -> bool {
        self.unsent.is_enough()
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// The client's connection failed, or the client took nothing for `send_timeout`.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut all = u64::MAX;
        self.poll_flush_some(cx, &mut all)
    }

    /// Sends what was added, `left` bytes of it at most, from which those that were sent are taken.
    ///
    /// # Errors
    /// As [`Self::poll_flush`].
    pub fn poll_flush_some(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() && *left > 0 {
            let slices = self.unsent.slices_of(*left);
            let written = if slices[1].is_empty() {
                Pin::new(&mut self.transport).poll_write(cx, &slices[0])
            } else {
                Pin::new(&mut self.transport).poll_write_vectored(cx, &slices)
            };
            let count = match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_taken(cx),
            };
            self.send_until = None;
            self.sent += count as u64;
            *left -= count as u64;
            self.unsent.advance(count);
        }
        // TLS keeps what it could not write; a socket has nothing to flush.
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    /// Whether all that was added is sent.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// A write that the client does not take waits for `send_timeout` at most.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timeout_ms = self.connection().send_timeout_ms.get();
        if timeout_ms == 0 {
            return Poll::Pending;
        }
        let now = clock::monotonic();
        let until = *self.send_until.get_or_insert_with(|| now.plus_ms(timeout_ms));
        ready!(self.alarm.poll_until(cx, until));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Bytes that were sent since the last head.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// A request begins: nothing of its answer is sent, nothing of its body read.
    pub fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.received = 0;
        self.sent = 0;
        self.body_until = None;
    }

    /// Waits until `due`, as reading or writing does beside it.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, due: Tick) -> Poll<()> {
        self.alarm.poll_until(cx, due)
    }

    /// Tells the client that no more comes, and reads what it is still sending, so that it sees
    /// the answer instead of a reset: for `time_ms` in all, `timeout_ms` between two reads
    /// (nginx's `lingering_time` and `lingering_timeout`).
    pub async fn linger(&mut self, time_ms: u64, timeout_ms: u64) {
        // A client that is gone needs no goodbye.
        if poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await.is_err() {
            return;
        }
        let end = clock::monotonic().plus_ms(time_ms);
        while !self.is_over {
            self.input.clear();
            let until = clock::monotonic().plus_ms(timeout_ms).min(end);
            let read = poll_fn(|cx| match self.poll_fill(cx) {
                Poll::Pending => self.alarm.poll_until(cx, until).map(|()| Ok(0)),
                done => done,
            });
            if !read.await.is_ok_and(|it| it > 0) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
