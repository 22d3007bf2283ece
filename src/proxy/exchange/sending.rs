//! The request on its way to a peer.

use super::connection::Connection;
use crate::http::h1::chunked;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite};

/// A body up to this size leaves in one buffer with its head, at the price of a copy.
const SMALL: usize = 4 << 10;

/// Bytes of a body file that are read at a time.
const CHUNK: usize = 64 << 10;

/// A request that is being sent.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Sending {
    /// Bytes to send first, of which `at` are sent: the head, or a piece of the body.
    out: Vec<u8>,
    at: usize,
    rest: Rest,
    /// What ends a body from a file.
    end: &'static [u8],
    sent: u64,
    /// Why no more can be sent.
    error: Option<io::Error>,
}

/// What follows the bytes at hand.
#[derive(Debug, Default)]
pub(in crate::proxy) enum Rest {
    /// Nothing.
    #[default]
    Nothing,
    /// These bytes.
    Memory(Bytes),
    /// So many bytes of a file.
    File(Box<File>, u64),
    /// What the client is still to send: so many bytes, or where that is not known, a body in
    /// chunks of our own.
    Client(Option<u64>),
}

impl Sending {
    /// A request whose head is `head`.
    pub fn new(mut head: Vec<u8>, rest: Rest) -> Self {
        let rest = match rest {
            Rest::Memory(bytes) if bytes.len() <= SMALL => {
                head.extend_from_slice(&bytes);
                Rest::Nothing
            }
            rest => rest,
        };
        Self { out: head, at: 0, rest, end: b"", sent: 0, error: None }
    }

    /// A request whose body `end` follows.
    pub fn with_end(head: Vec<u8>, rest: Rest, end: &'static [u8]) -> Self {
        let rest = match rest {
            Rest::Memory(bytes) => Rest::Memory([&bytes, end].concat().into()),
            rest => rest,
        };
        Self { end, ..Self::new(head, rest) }
    }

    /// Bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that do not belong to the request were sent: those of another protocol.
    pub(super) fn note_sent(&mut self, count: usize) {
        self.sent += count as u64;
    }

    /// Whether the peer has been sent everything.
    pub fn is_whole(&self) -> bool {
        self.at == self.out.len() && matches!(self.rest, Rest::Nothing)
    }

    /// Whether sending goes on: it is neither whole nor broken.
    pub fn is_open(&self) -> bool {
        self.error.is_none() && !self.is_whole()
    }

    /// Why the request cannot be sent to its end.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Whether the client's body has not been taken to its end.
    pub fn streams(&self) -> bool {
        self.error.is_none() && matches!(self.rest, Rest::Client(_))
    }

    /// Whether the next chunk of the client's body is wanted: all before it is sent.
    pub fn wants_chunk(&self) -> bool {
        self.streams() && self.at == self.out.len()
    }

    /// Takes a chunk of the client's body, or its end.
    pub fn push(&mut self, chunk: Option<&[u8]>) {
        let Rest::Client(left) = &mut self.rest else { return };
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
        }
        match (chunk, left) {
            (Some(bytes), None) => chunked::append_chunk(&mut self.out, bytes),
            (Some(bytes), Some(left)) => {
                self.out.extend_from_slice(bytes);
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
            }
            (None, None) => {
                self.out.extend_from_slice(chunked::LAST_CHUNK);
                self.rest = Rest::Nothing;
            }
            (None, Some(_)) => self.error = Some(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The buffer for another request, once nothing of it is left to be sent.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.is_whole() && self.out.capacity() > 0).then(|| {
            self.at = 0;
            std::mem::take(&mut self.out)
        })
    }

    /// Sends what can be sent now. An error is kept: what the peer has to say may still be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) {
        while self.is_open() {
            match self.step(cx, connection) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.error = Some(error),
            }
        }
    }

    /// One write, or one read of what is to be written.
    fn step(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<io::Result<()>> {
        if self.at == self.out.len() && !matches!(self.rest, Rest::Memory(_)) {
            return self.refill(cx);
        }
        let transport = Pin::new(&mut connection.transport);
        let head = &self.out[self.at..];
        let count = match &self.rest {
            Rest::Memory(body) if head.is_empty() => ready!(transport.poll_write(cx, body))?,
            Rest::Memory(body) => {
                let slices = [IoSlice::new(head), IoSlice::new(body)];
                ready!(transport.poll_write_vectored(cx, &slices))?
            }
            _ => ready!(transport.poll_write(cx, head))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        connection.note_progress();
        self.sent += count as u64;
        let of_head = count.min(head.len());
        self.at += of_head;
        if let Rest::Memory(body) = &mut self.rest {
            let _ = body.split_to(count - of_head);
            if body.is_empty() {
                self.rest = Rest::Nothing;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Everything at hand is sent: gets more of a file. The client's chunks are pushed.
    fn refill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Rest::File(file, left) = &mut self.rest else { return Poll::Pending };
        if *left == 0 {
            self.rest = match std::mem::take(&mut self.end) {
                b"" => Rest::Nothing,
                end => Rest::Memory(Bytes::from_static(end)),
            };
            return Poll::Ready(Ok(()));
        }
        self.out.clear();
        self.at = 0;
        self.out.reserve(CHUNK);
        let mut part = file.take(*left);
        let count = ready!(pin!(part.read_buf(&mut self.out)).poll(cx))?;
        if count == 0 {
            let text = "a request body's file is shorter than it was";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        *left -= count as u64;
        Poll::Ready(Ok(()))
    }
}
