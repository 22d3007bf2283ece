//! The body of a request, taken out of its framing.

use super::wire::Wire;
use crate::clock;
use crate::http::h1::chunked::{ChunkError, Decoder, Policy};
use crate::http::h1::request_head::RequestHead;
use bytes::{Buf, Bytes};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use thiserror::Error;

/// How the end of a body is known.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// It comes in chunks.
    Chunked(Box<Decoder>),
    /// There is none, or it was read.
    Over,
}

impl Framing {
    /// The framing that `head` announces.
    pub fn of(head: &RequestHead) -> Self {
        match head.content_length {
            _ if head.chunked => Self::Chunked(Box::new(Decoder::new(Policy::Strict))),
            Some(length) if length > 0 => Self::Length(length),
            _ => Self::Over,
        }
    }
}

/// Why a body does not come to its end.
#[derive(Debug, Error)]
pub enum BodyFault {
    /// Nothing came for `client_body_timeout`.
    #[error("client timed out (110: Connection timed out)")]
    TimedOut,
    /// A chunk is none.
    #[error("client sent invalid chunked body: {0}")]
    Chunk(#[from] ChunkError),
    /// The client went away.
    #[error("client prematurely closed connection: {0}")]
    Left(#[from] io::Error),
}

impl Wire {
    /// Whether nothing of the request's body is left to be read.
    pub fn is_body_over(&self) -> bool {
        matches!(self.framing, Framing::Over)
    }

    /// Bytes of the body that were read, framing included: what nginx counts into
    /// `$request_length`.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next part of the request's body, `None` at its end. May be polled between writes.
    ///
    /// # Errors
    /// The body cannot be read to its end; nor can a request behind it.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        timeout_ms: u64,
    ) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            match self.buffered_body()? {
                Some(chunk) if chunk.is_empty() => return Poll::Ready(Ok(None)),
                Some(chunk) => return Poll::Ready(Ok(Some(chunk))),
                None => {}
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    let left = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(left.into()));
                }
                Poll::Ready(read) => {
                    self.body_until = None;
                    read?;
                }
                Poll::Pending => {
                    let from = clock::monotonic();
                    let until = *self.body_until.get_or_insert_with(|| from.plus_ms(timeout_ms));
                    ready!(self.poll_until(cx, until));
                    return Poll::Ready(Err(BodyFault::TimedOut));
                }
            }
        }
    }

    /// Throws the rest of the body away, for `time_ms` in all and `timeout_ms` between two reads.
    ///
    /// # Errors
    /// Its end was not seen.
    pub async fn discard(&mut self, time_ms: u64, timeout_ms: u64) -> Result<(), BodyFault> {
        let end = clock::monotonic().plus_ms(time_ms);
        let mut poll = |cx: &mut Context<'_>| match self.poll_body(cx, timeout_ms) {
            Poll::Pending => self.poll_until(cx, end).map(|()| Err(BodyFault::TimedOut)),
            done => done,
        };
        while poll_fn(&mut poll).await?.is_some() {}
        Ok(())
    }

    /// What of the body is there already: an empty part is its end, `None` that more is needed.
    fn buffered_body(&mut self) -> Result<Option<Bytes>, ChunkError> {
        loop {
            match &mut self.framing {
                Framing::Over => return Ok(Some(Bytes::new())),
                _ if self.input.is_empty() => return Ok(None),
                Framing::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.framing = Framing::Over;
                    }
                    self.received += here as u64;
                    return Ok(Some(self.take(here)));
                }
                Framing::Chunked(decoder) => {
                    let found = decoder.decode(&self.input)?;
                    self.received += (found.framing + found.data) as u64;
                    self.input.advance(found.framing);
                    if found.end {
                        self.framing = Framing::Over;
                    }
                    if found.data > 0 {
                        return Ok(Some(self.take(found.data)));
                    }
                }
            }
        }
    }
}
