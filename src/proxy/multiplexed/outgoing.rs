//! The body of a request on its way to a peer, as fast as the peer takes it.

use crate::proxy::exchange::Rest;
use ::h2::SendStream;
use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;

/// Bytes that are offered to a stream, or read from a body's file, at a time.
const PIECE: usize = 64 << 10;

/// A body that is being sent.
#[derive(Debug)]
pub(in crate::proxy) struct Outgoing {
    /// `None` once all is sent, or nothing more can be.
    stream: Option<SendStream<Bytes>>,
    chunk: Bytes,
    rest: Rest,
    sent: u64,
    /// Chunks of the client's that nobody could give a second time.
    taken: bool,
    broken: bool,
}

impl Outgoing {
    /// `rest`, by `stream`.
    pub fn new(stream: SendStream<Bytes>, rest: Rest) -> Self {
        let stream = Some(stream).filter(|_| !matches!(rest, Rest::Nothing));
        Self { stream, chunk: Bytes::new(), rest, sent: 0, taken: false, broken: false }
    }

    /// Bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether sending goes on.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether parts of the client's body are gone that came after the first.
    pub fn is_spent(&self) -> bool {
        self.taken
    }

    /// Whether the client's body has not been taken to its end.
    pub fn streams(&self) -> bool {
        self.is_open() && matches!(self.rest, Rest::Client(_))
    }

    /// Whether the next chunk of the client's body is wanted.
    pub fn wants_chunk(&self) -> bool {
        self.streams() && self.chunk.is_empty()
    }

    /// What was there of the client's body when it began to be passed on.
    pub fn begin(&mut self, chunk: Bytes) {
        self.push(Some(chunk));
        self.taken = false;
    }

    /// Takes a chunk of the client's body, or its end.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        let Rest::Client(left) = &mut self.rest else { return };
        self.taken = true;
        match (chunk, left) {
            (Some(chunk), left) => {
                if let Some(left) = left {
                    *left = left.saturating_sub(chunk.len() as u64);
                    if *left == 0 {
                        self.rest = Rest::Nothing;
                    }
                }
                self.chunk = chunk;
            }
            (None, None) => self.rest = Rest::Nothing,
            (None, Some(_)) => self.give_up(),
        }
    }

    /// Nothing more can be sent; what the peer has to say may still be read.
    fn give_up(&mut self) {
        self.broken = true;
        self.stream = None;
    }

    /// Sends what can be sent now; whether anything was.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.sent;
        while self.is_open() {
            match self.step(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.give_up(),
            }
        }
        self.sent > before
    }

    /// One frame, or one read of what it is to hold.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.chunk.is_empty() {
            return self.refill(cx);
        }
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        if stream.capacity() == 0 {
            stream.reserve_capacity(self.chunk.len().min(PIECE));
            if stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(0)) => return Poll::Ready(Ok(())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    }
                }
            }
        }
        let part = self.chunk.split_to(self.chunk.len().min(stream.capacity()));
        let length = part.len() as u64;
        let is_last = self.chunk.is_empty() && matches!(self.rest, Rest::Nothing);
        stream.send_data(part, is_last).map_err(io::Error::other)?;
        self.sent += length;
        if is_last {
            self.stream = None;
        }
        Poll::Ready(Ok(()))
    }

    /// The chunk at hand is sent: gets the next, or ends the body. The client's are pushed.
    fn refill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.rest {
            Rest::Client(_) => return Poll::Pending,
            Rest::Memory(_) => {
                let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
                if let Rest::Memory(bytes) = rest {
                    self.chunk = bytes;
                }
            }
            Rest::File(_, 0) | Rest::Nothing => {
                if let Some(mut stream) = self.stream.take() {
                    stream.send_data(Bytes::new(), true).map_err(io::Error::other)?;
                }
            }
            Rest::File(file, left) => {
                let mut buffer = BytesMut::with_capacity(PIECE);
                let mut part = file.take(*left);
                let count = ready!(pin!(part.read_buf(&mut buffer)).poll(cx))?;
                if count == 0 {
                    let text = "a request body's file is shorter than it was";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
                }
                *left -= count as u64;
                self.chunk = buffer.freeze();
            }
        }
        Poll::Ready(Ok(()))
    }
}
