//! One request on a connection, and the response to it.

use super::fault::{self, Interrupted};
use super::link::Held;
use super::outgoing::Outgoing;
use crate::clock::{self, Tick};
use crate::downstream::Alarm;
use crate::http::h1::response_head::{HeadError, ReceivedHead};
use crate::http::headers::Headers;
use crate::log::Level;
use crate::proxy::exchange::{Broken, Failed, Rest, Timeouts};
use crate::upstream::retry::Fault;
use ::h2::RecvStream;
use ::h2::client::ResponseFuture;
use bytes::Bytes;
use http::{HeaderMap, Request};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";

/// A request to a peer and the response to it.
#[derive(Debug)]
pub(in crate::proxy) struct Stream {
    held: Held,
    outgoing: Outgoing,
    incoming: Incoming,
    timeouts: Timeouts,
    /// The connection had served others before.
    reused: bool,
    alarm: Alarm,
    /// Since when nothing has moved.
    waits_since: Option<Tick>,
    /// Bytes of the head and of the body that were read.
    head_bytes: u64,
    body_bytes: u64,
    /// What followed the body.
    trailers: Headers,
}

/// What of the response is waited for.
#[derive(Debug)]
enum Incoming {
    Head(ResponseFuture),
    Body(RecvStream),
    /// The data has ended, and trailers may follow.
    Trailers(RecvStream),
    Over,
}

impl Stream {
    /// Begins `request`, whose body is `rest`, on the connection that is `held`.
    ///
    /// # Errors
    /// The connection takes no more: nothing was sent.
    pub fn new(
        held: Held,
        request: Request<()>,
        rest: Rest,
        timeouts: Timeouts,
        reused: bool,
    ) -> Result<Self, Failed> {
        let has_body = !matches!(rest, Rest::Nothing);
        let mut sender = held.sender();
        let begun = sender.send_request(request, !has_body);
        let (response, stream) = begun.map_err(|error| {
            held.retire();
            Failed { stale: reused, ..fault::lost(&error, false) }
        })?;
        Ok(Self {
            held,
            outgoing: Outgoing::new(stream, rest),
            incoming: Incoming::Head(response),
            timeouts,
            reused,
            alarm: Alarm::default(),
            waits_since: None,
            head_bytes: 0,
            body_bytes: 0,
            trailers: Headers::new(),
        })
    }

    /// The body on its way to the peer.
    pub fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Bytes read from the peer, unpacked.
    pub fn received(&self) -> u64 {
        self.head_bytes + self.body_bytes
    }

    /// Bytes of the response's body.
    pub fn body_received(&self) -> u64 {
        self.body_bytes
    }

    /// Sends on, and reads the response's head, of at most `limit` bytes.
    ///
    /// # Errors
    /// The peer sent none, or too late.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<ReceivedHead, Failed>> {
        self.send(cx);
        let Incoming::Head(response) = &mut self.incoming else { return Poll::Pending };
        let response = match Pin::new(response).poll(cx) {
            Poll::Pending => return self.poll_late(cx).map(Err),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
            Poll::Ready(Ok(response)) => response,
        };
        self.waits_since = None;
        let (head, body) = response.into_parts();
        let received = ReceivedHead::from_fields(head.status.as_u16(), fields(&head.headers));
        let received = received.map_err(|error| self.invalid(&error))?;
        self.head_bytes = received.wire_length() as u64;
        if received.wire_length() > limit {
            return Poll::Ready(Err(self.invalid(&HeadError::TooBig)));
        }
        self.incoming = match body.is_end_stream() {
            true => Incoming::Over,
            false => Incoming::Body(body),
        };
        Poll::Ready(Ok(received))
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        if self.outgoing.poll(cx) {
            self.waits_since = None;
        }
    }

    /// Ready when the peer has let the request wait for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        if self.outgoing.wants_chunk() {
            // It is the client that is waited for, which has its own deadline.
            self.waits_since = None;
            return Poll::Pending;
        }
        let (limit, doing) = match self.outgoing.is_open() {
            true => (self.timeouts.send, "while sending request to upstream"),
            false => (self.timeouts.read, "while reading response header from upstream"),
        };
        ready!(self.poll_timeout(cx, limit));
        // Who knows what has become of the connection: no other request goes the same way.
        self.held.retire();
        Poll::Ready(Failed {
            fault: Fault::Timeout,
            sent: true,
            stale: false,
            reason: format!("{TIMED_OUT} {doing}"),
            level: Level::Error,
        })
    }

    /// Ready when nothing has moved for `limit`.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.waits_since.get_or_insert_with(clock::monotonic);
        self.alarm.poll_until(cx, since + limit)
    }

    /// The stream ended before there was a head.
    fn failed(&self, error: &::h2::Error) -> Failed {
        let unprocessed = fault::is_unprocessed(error);
        if !error.is_reset() {
            self.held.retire();
        }
        Failed {
            // The connection ended just as it was used; it was not this request that did it.
            stale: self.reused && (error.is_io() || error.is_go_away() && unprocessed),
            ..fault::lost(error, !unprocessed || self.outgoing.is_spent())
        }
    }

    fn invalid(&self, error: &dyn fmt::Display) -> Failed {
        Failed {
            fault: Fault::InvalidHeader,
            sent: true,
            stale: false,
            reason: format!("{error} while reading response header from upstream"),
            level: Level::Error,
        }
    }

    /// The request asked for a head only.
    pub fn expect_nothing(&mut self) {
        self.incoming = Incoming::Over;
    }

    /// Whether the response was read to its end.
    pub fn is_over(&self) -> bool {
        matches!(self.incoming, Incoming::Over)
    }

    /// The next piece of the body; `None` at its end. Sends on, if the request is not whole yet.
    ///
    /// # Errors
    /// The body breaks off.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        self.send(cx);
        loop {
            let broken = match self.poll_frame(cx) {
                Poll::Ready(Ok(Some(chunk))) if chunk.is_empty() => continue,
                Poll::Ready(Ok(read)) => {
                    self.waits_since = None;
                    return Poll::Ready(Ok(read));
                }
                Poll::Ready(Err(error)) => Broken::Interrupted(Interrupted(error)),
                Poll::Pending => {
                    ready!(self.poll_timeout(cx, self.timeouts.read));
                    Broken::TimedOut
                }
            };
            return Poll::Ready(Err(broken));
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ::h2::Error>> {
        if let Incoming::Body(body) = &mut self.incoming {
            if let Some(data) = ready!(body.poll_data(cx)) {
                let data = data?;
                // The peer may send as much again: the client has taken what came before.
                let _ = body.flow_control().release_capacity(data.len());
                self.body_bytes += data.len() as u64;
                if body.is_end_stream() {
                    self.incoming = Incoming::Over;
                }
                return Poll::Ready(Ok(Some(data)));
            }
            let Incoming::Body(body) = std::mem::replace(&mut self.incoming, Incoming::Over) else {
                return Poll::Ready(Ok(None));
            };
            self.incoming = Incoming::Trailers(body);
        }
        if let Incoming::Trailers(body) = &mut self.incoming {
            let trailers = ready!(body.poll_trailers(cx))?;
            self.incoming = Incoming::Over;
            for (name, value) in trailers.iter().flat_map(|it| it.iter()) {
                let name = Bytes::copy_from_slice(name.as_str().as_bytes());
                self.trailers.append(name, Bytes::copy_from_slice(value.as_bytes()));
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Sends on without reading the response: the client takes no more of it now.
    pub fn pause(&mut self, cx: &mut Context<'_>) {
        self.send(cx);
        self.waits_since = None;
    }

    /// The trailers, once the response is over.
    pub fn take_trailers(&mut self) -> Headers {
        std::mem::take(&mut self.trailers)
    }
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}
