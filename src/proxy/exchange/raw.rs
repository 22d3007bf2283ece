//! An exchange that has switched protocols: bytes, in both directions.

use super::Exchange;
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

impl Exchange {
    /// A 101 may follow: the client has asked for it, and the request says so.
    pub fn allow_switch(&mut self) {
        self.switches = true;
    }

    /// What the peer says, first what came with the head; empty at the end.
    ///
    /// # Errors
    /// The connection failed.
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.connection.input.is_empty() {
            let count = ready!(self.connection.poll_fill(cx))?;
            self.received += count as u64;
        }
        Poll::Ready(Ok(self.connection.input.split().freeze()))
    }

    /// Says `bytes` to the peer, all of them.
    ///
    /// # Errors
    /// The connection failed.
    pub fn poll_say(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        while !bytes.is_empty() {
            let transport = Pin::new(&mut self.connection.transport);
            let count = ready!(transport.poll_write(cx, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sending.note_sent(count);
            bytes.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Something has moved, in whichever direction.
    pub fn note_progress(&mut self) {
        self.connection.note_progress();
    }

    /// Ready when nothing has moved for `proxy_read_timeout`.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_timeout(cx, self.timeouts.read)
    }
}
