//! The body of a peer's response.

use super::{CLOSED, Exchange, TIMED_OUT};
use crate::http::h1::chunked::{Decoder, Policy};
use crate::http::h1::response_head::ReceivedHead;
use crate::http::memcached::END_OF_VALUE;
use crate::proxy::multiplexed::Interrupted;
use crate::proxy::pool::Pool;
use crate::sys::errno::Errno;
use bytes::{Buf, Bytes};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How the end of a body is known (RFC 9112 section 6.3).
#[derive(Debug)]
pub(super) enum Framing {
    /// There is none, or it is over.
    Nothing,
    /// So many bytes are left.
    Length(u64),
    /// Its chunks say so; so many bytes of data are at the front of what was read.
    Chunked(Decoder, usize),
    /// Chunks were expected, and something else came.
    NoChunks,
    /// The connection ends with it.
    UntilClose,
    /// A value of memcached: so many bytes are left of it, and of what ends it.
    Value(u64, usize),
    /// Something else came behind a value.
    NoEnd,
}

/// Why a body breaks off.
#[derive(Debug)]
pub(in crate::proxy) enum Broken {
    /// The connection ended.
    Closed,
    /// The connection failed.
    Failed(io::Error),
    /// Nothing came for `proxy_read_timeout`.
    TimedOut,
    /// The chunks are none.
    Chunks,
    /// HTTP/2's stream, or its connection, ended too early.
    Interrupted(Interrupted),
}

impl fmt::Display for Broken {
    /// nginx's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Failed(error) => write!(f, "recv() failed {}", Errno(error)),
            Self::TimedOut => f.write_str(TIMED_OUT),
            Self::Chunks => f.write_str("upstream sent invalid chunked response"),
            Self::Interrupted(why) => why.fmt(f),
        }?;
        f.write_str(" while reading upstream")
    }
}

impl Exchange {
    /// Knows by the head how long the body is; `headless` where the request asked for a head only.
    pub fn expect_body(&mut self, head: &ReceivedHead, headless: bool) {
        if let Some(asked) = &self.memcached {
            self.keeps = true;
            let length = head.content_length.unwrap_or(0);
            self.framing = match asked.flags {
                Some(_) => Framing::Value(length, END_OF_VALUE.len()),
                None if length > 0 => Framing::Length(length),
                None => Framing::Nothing,
            };
            return self.skip_end();
        }
        self.keeps = !head.closes;
        self.was_chunked = head.chunked;
        self.framing = match (head.chunked, head.content_length) {
            _ if headless || matches!(head.status, 204 | 304) => Framing::Nothing,
            (true, _) => Framing::Chunked(Decoder::new(Policy::Lenient), 0),
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        if matches!(self.framing, Framing::Length(0)) {
            self.framing = Framing::Nothing;
        }
    }

    /// Whether the body was read to its end.
    pub fn is_over(&self) -> bool {
        matches!(self.framing, Framing::Nothing | Framing::NoEnd)
    }

    /// The next piece of the body; `None` at its end. Sends on, if the request is not whole yet.
    ///
    /// # Errors
    /// The body breaks off.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(chunk) = self.take_chunk()? {
                return Poll::Ready(Ok(Some(chunk)));
            }
            if self.is_over() {
                return Poll::Ready(Ok(None));
            }
            self.sending.poll(cx, &mut self.connection);
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(0)) => match self.framing {
                    Framing::UntilClose => {
                        self.keeps = false;
                        self.framing = Framing::Nothing;
                    }
                    _ => return Poll::Ready(Err(Broken::Closed)),
                },
                Poll::Ready(Ok(count)) => self.received += count as u64,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Failed(error))),
                Poll::Pending => {
                    let late = self.connection.poll_timeout(cx, self.timeouts.read);
                    return late.map(|()| Err(Broken::TimedOut));
                }
            }
        }
    }

    /// Sends on without reading the response: the client takes no more of it now.
    pub fn pause(&mut self, cx: &mut Context<'_>) {
        self.sending.poll(cx, &mut self.connection);
        self.connection.note_progress();
    }

    /// A piece of the body from what was read.
    fn take_chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        let input = &mut self.connection.input;
        match &mut self.framing {
            Framing::NoChunks => return Err(Broken::Chunks),
            _ if input.is_empty() => return Ok(None),
            Framing::Nothing | Framing::NoEnd => return Ok(None),
            Framing::Value(0, _) => {
                self.skip_end();
                return Ok(None);
            }
            Framing::Value(left, _) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                let chunk = input.split_to(here).freeze();
                self.skip_end();
                return Ok(Some(chunk));
            }
            Framing::UntilClose => return Ok(Some(input.split().freeze())),
            Framing::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                if *left == 0 {
                    self.framing = Framing::Nothing;
                }
                return Ok(Some(input.split_to(here).freeze()));
            }
            Framing::Chunked(..) => {}
        }
        let mut size = self.skip_framing();
        if size == 0 {
            return match self.framing {
                Framing::NoChunks => Err(Broken::Chunks),
                _ => Ok(None),
            };
        }
        let chunk = self.connection.input.split_to(size).freeze();
        // The end may be at hand already, right behind the last bytes.
        if let Framing::Chunked(_, ready) = &mut self.framing {
            *ready = 0;
            size = self.skip_framing();
        }
        if let Framing::Chunked(_, ready) = &mut self.framing {
            *ready = size;
        }
        Ok(Some(chunk))
    }

    /// Takes what ends a value of memcached, as far as it is there; something else ends it, too,
    /// and the connection.
    fn skip_end(&mut self) {
        let Framing::Value(0, left) = &mut self.framing else { return };
        let input = &mut self.connection.input;
        let wanted = &END_OF_VALUE[END_OF_VALUE.len() - *left..];
        let here = wanted.len().min(input.len());
        if wanted[..here] != input[..here] {
            self.framing = Framing::NoEnd;
            self.keeps = false;
            return;
        }
        input.advance(here);
        *left -= here;
        if *left == 0 {
            self.framing = Framing::Nothing;
        }
    }

    /// Drops the framing at the front of what was read: how many bytes of data are there now.
    fn skip_framing(&mut self) -> usize {
        let Framing::Chunked(decoder, ready) = &mut self.framing else { return 0 };
        if *ready > 0 {
            return *ready;
        }
        match decoder.decode(&self.connection.input) {
            Ok(found) => {
                self.connection.input.advance(found.framing);
                if found.end {
                    self.framing = Framing::Nothing;
                }
                found.data
            }
            Err(_) => {
                self.framing = Framing::NoChunks;
                0
            }
        }
    }

    /// What is to be said of bytes that the peer sent behind its response, in nginx's words.
    pub fn surplus(&self) -> Option<&'static str> {
        if matches!(self.framing, Framing::NoEnd) {
            return Some("memcached sent invalid trailer");
        }
        let surplus = self.is_over() && !self.connection.input.is_empty();
        surplus.then_some(match self.was_chunked {
            true => "upstream sent data after final chunk while reading upstream",
            false => {
                "upstream sent more data than specified in \"Content-Length\" header \
                 while reading upstream"
            }
        })
    }

    /// The response was read to its end: keeps the connection where that is possible.
    pub fn finish(self: Box<Self>, pool: &Rc<Pool>) {
        // A peer that was not sent the whole request would take the next one for the rest of it;
        // bytes behind a response would be taken for the next one's.
        let is_clean = self.sending.is_whole() && self.connection.input.is_empty();
        if self.is_over() && self.keeps && is_clean {
            self.keep(pool);
        }
    }
}
