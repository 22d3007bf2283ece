//! One try at one peer, by whichever HTTP: the seam behind which HTTP/1 and HTTP/2 differ.

use super::exchange::{self, Asked, Broken, Exchange, Failed, Rest, Sending};
use super::memcached;
use super::multiplexed::{self, Held, Stream, Wanted};
use super::pick::Destination;
use super::pool::Pool;
use super::retry::Round;
use super::upstream_request::{self, Written};
use super::worker::WorkerState;
use crate::http::h1::response_head::ReceivedHead;
use crate::http::headers::Headers;
use crate::request::Request;
use crate::upstream::Peer;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A connection to a peer that takes a request.
#[derive(Debug)]
pub(super) enum Line {
    H1(exchange::Line),
    H2 { held: Held, reused: bool },
}

impl Line {
    /// A connection to `peer` that there is already.
    pub fn kept(
        worker: &WorkerState,
        http2: bool,
        round: &Round,
        peer: &Arc<Peer>,
    ) -> Option<Self> {
        let Destination { group, secured, .. } = &round.destination;
        if http2 {
            let held = worker.links.take(&wanted(round, peer))?;
            return Some(Self::H2 { held, reused: true });
        }
        exchange::Line::kept(&worker.pool, group, peer, secured.as_ref()).map(Self::H1)
    }

    /// A new connection to `peer`, or by HTTP/2 one that others have made meanwhile.
    ///
    /// # Errors
    /// The peer cannot be reached.
    pub async fn fresh(
        worker: &WorkerState,
        http2: bool,
        round: &Round,
        peer: &Arc<Peer>,
    ) -> Result<Self, Failed> {
        if http2 {
            let held = worker.links.open(wanted(round, peer)).await?;
            return Ok(Self::H2 { held, reused: false });
        }
        let secured = round.destination.secured.as_ref();
        let local = round.destination.local;
        exchange::Line::fresh(peer, round.timeouts, secured, local).await.map(Self::H1)
    }
}

fn wanted<'a>(round: &'a Round, peer: &'a Arc<Peer>) -> Wanted<'a> {
    Wanted {
        group: &round.destination.group,
        peer,
        secured: round.destination.secured.as_ref(),
        timeouts: round.timeouts,
        local: round.destination.local,
    }
}

/// A request to a peer and the response to it.
#[derive(Debug)]
pub(super) enum Talk {
    H1(Box<Exchange>),
    H2(Box<Stream>),
}

/// Why a try does not begin.
pub(super) enum NotBegun {
    /// The method for the upstream is none.
    Method,
    /// The connection takes nothing.
    Failed(Failed),
}

impl Talk {
    /// Begins to send the request, with `rest` behind its head, by `line`.
    ///
    /// # Errors
    /// There is nothing that could be sent, or the connection does not take it.
    pub fn begin(
        worker: &WorkerState,
        request: &Request,
        round: &Round,
        line: Line,
        rest: Rest,
    ) -> Result<(Self, Written), NotBegun> {
        let streams = round.begun.is_some();
        let uri = &round.destination.uri;
        let (mut talk, written) = match line {
            Line::H1(line) if request.conf().proxy.memcached.is_some() => {
                return memcached::begin(worker, request, round, line, rest);
            }
            Line::H1(line) => {
                let mut head = worker.pool.buffer();
                let written = upstream_request::write_head(request, uri, streams, &mut head);
                let written = written.ok_or(NotBegun::Method)?;
                let sending = Sending::new(head, rest);
                let group = &round.destination.group;
                (Self::H1(line.send(group, sending, round.timeouts)), written)
            }
            Line::H2 { held, reused } => {
                let head = multiplexed::request_head(request, uri, streams);
                let (head, written) = head.ok_or(NotBegun::Method)?;
                let stream = Stream::new(held, head, rest, round.timeouts, reused);
                (Self::H2(Box::new(stream.map_err(NotBegun::Failed)?)), written)
            }
        };
        if let Some(begun) = &round.begun {
            match &mut talk {
                Self::H1(exchange) => exchange.sending().push(Some(begun)),
                Self::H2(stream) => stream.outgoing().begin(begun.clone()),
            }
        }
        Ok((talk, written))
    }

    /// Sends on, and reads the response's head, of at most `limit` bytes. A request that is sent
    /// leaves its buffer to `pool` for the next, which may come while this one waits.
    ///
    /// # Errors
    /// The peer sent none, or too late.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        pool: &Pool,
    ) -> Poll<Result<ReceivedHead, Failed>> {
        match self {
            Self::H1(it) => {
                let polled = it.poll_head(cx, limit);
                if let Some(buffer) = it.sending().take_buffer() {
                    pool.give_buffer(buffer);
                }
                polled
            }
            Self::H2(it) => it.poll_head(cx, limit),
        }
    }

    /// Knows by the head how long the body is; `headless` where the request asked for a head only.
    pub fn expect_body(&mut self, head: &ReceivedHead, headless: bool) {
        match self {
            Self::H1(it) => it.expect_body(head, headless),
            Self::H2(it) if headless || matches!(head.status, 204 | 304) => it.expect_nothing(),
            Self::H2(_) => {}
        }
    }

    /// The next piece of the body; `None` at its end. Sends on, if the request is not whole yet.
    ///
    /// # Errors
    /// The body breaks off.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        match self {
            Self::H1(it) => it.poll_chunk(cx),
            Self::H2(it) => it.poll_chunk(cx),
        }
    }

    /// Sends on without reading the response: the client takes no more of it now.
    pub fn pause(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::H1(it) => it.pause(cx),
            Self::H2(it) => it.pause(cx),
        }
    }

    /// Whether the response was read to its end.
    pub fn is_over(&self) -> bool {
        match self {
            Self::H1(it) => it.is_over(),
            Self::H2(it) => it.is_over(),
        }
    }

    /// What is to be said of bytes that the peer sent behind its response.
    pub fn surplus(&self) -> Option<&'static str> {
        match self {
            Self::H1(it) => it.surplus(),
            Self::H2(_) => None,
        }
    }

    /// What a memcached was asked, if the peer is one.
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Self::H1(it) => it.asked(),
            Self::H2(_) => None,
        }
    }

    /// The trailers of a response that was read to its end.
    pub fn take_trailers(&mut self) -> Headers {
        match self {
            Self::H1(_) => Headers::new(),
            Self::H2(it) => it.take_trailers(),
        }
    }

    /// The response was read to its end: keeps the connection where that is possible.
    pub fn finish(self, pool: &Rc<Pool>) {
        match self {
            Self::H1(it) => it.finish(pool),
            Self::H2(_) => {}
        }
    }

    /// Bytes read from the peer.
    pub fn received(&self) -> u64 {
        match self {
            Self::H1(it) => it.received(),
            Self::H2(it) => it.received(),
        }
    }

    /// Bytes of the response's body, with its framing in HTTP/1.
    pub fn body_received(&self) -> u64 {
        match self {
            Self::H1(it) => it.body_received(),
            Self::H2(it) => it.body_received(),
        }
    }

    /// Bytes sent to the peer; by HTTP/2 those of the body.
    pub fn sent(&mut self) -> u64 {
        match self {
            Self::H1(it) => it.sending().sent(),
            Self::H2(it) => it.outgoing().sent(),
        }
    }

    /// Whether the client's body has not been taken to its end.
    pub fn streams(&mut self) -> bool {
        match self {
            Self::H1(it) => it.sending().streams(),
            Self::H2(it) => it.outgoing().streams(),
        }
    }

    /// Whether the next chunk of the client's body is wanted.
    pub fn wants_chunk(&mut self) -> bool {
        match self {
            Self::H1(it) => it.sending().wants_chunk(),
            Self::H2(it) => it.outgoing().wants_chunk(),
        }
    }

    /// Takes a chunk of the client's body, or its end.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        match self {
            Self::H1(it) => it.sending().push(chunk.as_deref()),
            Self::H2(it) => it.outgoing().push(chunk),
        }
    }
}
