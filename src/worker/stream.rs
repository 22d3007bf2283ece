//! A client's connection as pingora reads and writes it.
//!
//! Writes are collected until they fill the buffer or are flushed, so that a head and a small body
//! leave in one packet; reads keep the deadlines of [`HeadWait`].

use crate::clock;
use crate::clock::Tick;
use crate::downstream::{HeadWait, Transport, Verdict};
use crate::log::{Level, Line};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Shutdown, SocketDigest};
use send_wrapper::SendWrapper;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// Bytes collected before a write; a larger write goes straight to the socket.
const WRITE_BUFFER_BYTES: usize = 4096;

const READING_HEAD: &str = "reading client request headers";

/// A client's connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(in crate::worker) socket: Transport,
    unsent: BytesMut,
    wait: SendWrapper<Rc<HeadWait>>,
    /// Rings when the verdict of `wait` may have changed; made when first needed.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Rings when the client has taken nothing for `send_timeout`; there while a write waits.
    send_alarm: Option<Pin<Box<Sleep>>>,
    pub(in crate::worker) ends: Arc<SocketDigest>,
    pub(in crate::worker) carried: Option<Arc<ProxyDigest>>,
}

impl Stream {
    /// The stream over `socket`, which carries its connection for the proxy.
    pub fn new(socket: Transport, wait: Rc<HeadWait>) -> Self {
        let ends = Arc::new(SocketDigest::from_raw_fd(socket.as_raw_fd()));
        let carried = wait.connection.carried();
        let wait = SendWrapper::new(wait);
        let unsent = BytesMut::new();
        Self { socket, unsent, wait, alarm: None, send_alarm: None, ends, carried }
    }

    /// Sends what was collected.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.unsent);
            let count = ready!(self.poll_taken(cx, written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(count);
        }
        if self.unsent.capacity() > 2 * WRITE_BUFFER_BYTES {
            self.unsent = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// A write that the client does not take waits for `send_timeout` at most.
    fn poll_taken(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let timeout_ms = self.wait.connection.send_timeout_ms.get();
        if written.is_ready() || timeout_ms == 0 {
            self.send_alarm = None;
            return written;
        }
        let after = Duration::from_millis(timeout_ms);
        let alarm = self.send_alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(self.timed_out("sending to client")))
    }

    /// There is nothing to read: waits on, or ends the connection.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = clock::monotonic();
            match self.wait.verdict(now) {
                Verdict::NotWaiting => return Poll::Pending,
                Verdict::Close => return Poll::Ready(Ok(())),
                Verdict::TimedOut => return Poll::Ready(Err(self.timed_out(READING_HEAD))),
                Verdict::Wait(until) => {
                    self.wait.park(cx.waker());
                    let Some(until) = until else { return Poll::Pending };
                    ready!(self.poll_alarm(cx, until - now));
                }
            }
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        let due = tokio::time::Instant::now() + after;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.is_elapsed() || alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }

    fn timed_out(&self, doing: &str) -> io::Error {
        let connection = &self.wait.connection;
        let context = |line: &mut Line| {
            line.field("client", connection.client.host());
            line.field("server", connection.listener.as_bytes());
        };
        crate::log::main_log().write(
            Level::Info,
            Some(connection.serial),
            format_args!("client timed out (110: Connection timed out) while {doing}"),
            Some(&context),
        );
        io::ErrorKind::TimedOut.into()
    }

    fn note_arrival(&self, now: Tick) -> io::Result<()> {
        if self.wait.arrived(now) { Ok(()) } else { Err(self.timed_out(READING_HEAD)) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Pending => self.poll_patience(cx),
            Poll::Ready(Ok(())) if buffer.filled().len() > before && self.wait.is_waiting() => {
                Poll::Ready(self.note_arrival(clock::monotonic()))
            }
            done => done,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() + bytes.len() > WRITE_BUFFER_BYTES {
            ready!(self.poll_send(cx))?;
        }
        if bytes.len() >= WRITE_BUFFER_BYTES {
            let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
            return self.poll_taken(cx, written);
        }
        self.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Stream {
    async fn shutdown(&mut self) {
        // A client that is gone needs no goodbye.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

#[cfg(test)]
mod tests;
