//! One try at one peer over HTTP/1: connect, send the request, read the response.
//!
//! This is the seam to the upstream. Sending and reading go on side by side, so that a peer may
//! answer before it has read everything. Nothing here is a task, a channel or a timer of its own:
//! an [`Exchange`] is polled by the request that it serves, and dropping it closes the connection.

mod connection;
mod memcached;
mod raw;
mod receiving;
mod sending;
mod transport;

pub(super) use connection::Connection;
pub(super) use memcached::Asked;
pub(super) use receiving::Broken;
pub(super) use sending::{Rest, Sending};
pub(super) use transport::{Secured, Transport, Unreachable};

use super::pool::{History, Pool};
use crate::http::h1::response_head::{HeadError, HeadReader, ReceivedHead};
use crate::log::Level;
use crate::snapshot::conf::ProxyConf;
use crate::sys::errno::{Errno, fails_at_once, is_grave};
use crate::upstream::PeerAddr;
use crate::upstream::retry::Fault;
use crate::upstream::{Group, Keepalive, Peer};
use receiving::Framing;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long steps may take: the location's, or what a balancer script said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    pub connect: Duration,
    pub send: Duration,
    pub read: Duration,
}

impl Timeouts {
    /// The location's.
    pub fn of(proxy: &ProxyConf) -> Self {
        Self {
            connect: Duration::from_millis(proxy.connect_timeout_ms),
            send: Duration::from_millis(proxy.send_timeout_ms),
            read: Duration::from_millis(proxy.read_timeout_ms),
        }
    }
}

/// Why a try failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub fault: Fault,
    /// Bytes of the request may have reached the peer.
    pub sent: bool,
    /// The connection had been kept alive, and ended before a byte of the response came.
    pub stale: bool,
    /// For the log, in nginx's words.
    pub reason: String,
    /// How grave that is.
    pub level: Level,
}

/// What is being done, as nginx's log has it.
const CONNECTING: &str = "while connecting to upstream";
const SHAKING_HANDS: &str = "while SSL handshaking to upstream";
const SENDING: &str = "while sending request to upstream";
const READING_HEAD: &str = "while reading response header from upstream";

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";
const CLOSED: &str = "upstream prematurely closed connection";

/// Answers before the answer (1xx) that a peer may send.
const MOST_INTERIM: u32 = 10_000;

/// A request to a peer and the response to it. It lives as long as its connection: kept alive, it
/// waits for the next request.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Connection,
    history: History,
    group: u64,
    keepalive: Keepalive,
    sending: Sending,
    timeouts: Timeouts,
    /// The connection had been kept alive.
    reused: bool,
    /// Bytes read, and how many of them were heads.
    received: u64,
    heads: u64,
    reader: HeadReader,
    interim: u32,
    framing: Framing,
    was_chunked: bool,
    /// The connection may serve another request.
    keeps: bool,
    /// The peer may switch protocols.
    switches: bool,
    /// It is a memcached, and was asked this.
    memcached: Option<Box<Asked>>,
}

/// A connection to a peer, ready for a request.
#[derive(Debug)]
pub(super) struct Line(Box<Exchange>);

impl Line {
    /// A connection that has served no request yet.
    pub fn new(connection: Connection, history: History) -> Self {
        Self(Box::new(Exchange {
            connection,
            history,
            group: 0,
            keepalive: Keepalive::default(),
            sending: Sending::default(),
            timeouts: Timeouts::default(),
            reused: false,
            received: 0,
            heads: 0,
            reader: HeadReader::default(),
            interim: 0,
            framing: Framing::Nothing,
            was_chunked: false,
            keeps: false,
            switches: false,
            memcached: None,
        }))
    }

    /// A kept connection to `peer`, if there is one.
    pub fn kept(
        pool: &Pool,
        group: &Group,
        peer: &Peer,
        secured: Option<&Secured>,
    ) -> Option<Self> {
        pool.take(group.id(), &peer.address, secured)
    }

    /// A new connection to `peer`.
    ///
    /// # Errors
    /// The peer cannot be reached.
    pub async fn fresh(
        peer: &Peer,
        timeouts: Timeouts,
        secured: Option<&Secured>,
        local: Option<SocketAddr>,
    ) -> Result<Self, Failed> {
        let transport = Transport::connect(peer, timeouts, secured, local).await;
        let transport = transport.map_err(|it| it.failed(peer))?;
        let history = History::new(peer.address.clone(), secured);
        Ok(Self::new(Connection::new(transport), history))
    }

    /// Begins to send a request.
    pub fn send(self, group: &Group, sending: Sending, timeouts: Timeouts) -> Box<Exchange> {
        let mut exchange = self.0;
        exchange.group = group.id();
        exchange.keepalive = group.keepalive;
        exchange.sending = sending;
        exchange.timeouts = timeouts;
        exchange
    }

    /// What is known of the connection.
    pub fn history(&mut self) -> &mut History {
        &mut self.0.history
    }

    /// Whether there is nothing to read from it: neither its end nor bytes that nobody asked for.
    pub fn stands(&mut self) -> bool {
        self.0.connection.stands()
    }
}

impl Unreachable {
    /// The same as a try that failed.
    pub fn failed(self, peer: &Peer) -> Failed {
        let level = Level::Error;
        let failed = |fault, reason| Failed { fault, sent: false, stale: false, reason, level };
        match self {
            Self::Connect(error) => {
                let is_unix = matches!(peer.address, PeerAddr::Unix(_));
                let call = if is_unix || fails_at_once(&error) {
                    format!("connect() to {}", peer.address_text)
                } else {
                    "connect()".to_owned()
                };
                let level = if is_grave(&error) { Level::Crit } else { Level::Error };
                let reason = describe(&call, &error, CONNECTING);
                Failed { level, ..failed(fault_of(&error), reason) }
            }
            Self::HandshakeTimedOut => {
                failed(Fault::Timeout, format!("{TIMED_OUT} {SHAKING_HANDS}"))
            }
            Self::Handshake(why) => failed(Fault::Error, format!("{why} {SHAKING_HANDS}")),
        }
    }
}

impl Exchange {
    /// What is known of the request that is being sent.
    pub fn sending(&mut self) -> &mut Sending {
        &mut self.sending
    }

    /// Bytes read from the peer.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the response's body with its framing, as far as they were read.
    pub fn body_received(&self) -> u64 {
        self.received - self.heads
    }

    /// Sends on, and reads the response's head, of at most `limit` bytes; the answers before the
    /// answer (1xx) are passed over.
    ///
    /// # Errors
    /// The peer sent none, or too late.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<ReceivedHead, Failed>> {
        loop {
            self.sending.poll(cx, &mut self.connection);
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.ended(None))),
                Poll::Ready(Ok(count)) => {
                    self.received += count as u64;
                    if let Some(head) = self.take_head(limit)? {
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.ended(Some(error)))),
                Poll::Pending => return self.poll_late(cx).map(Err),
            }
        }
    }

    /// Ready when the peer has let the request wait for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        let open = self.sending.is_open();
        if open && self.sending.wants_chunk() {
            // It is the client that is waited for, which has its own deadline.
            self.connection.note_progress();
            return Poll::Pending;
        }
        let (limit, doing) = match open {
            true => (self.timeouts.send, SENDING),
            false => (self.timeouts.read, READING_HEAD),
        };
        self.connection.poll_timeout(cx, limit).map(|()| Failed {
            fault: Fault::Timeout,
            sent: self.sending.sent() > 0,
            stale: false,
            reason: format!("{TIMED_OUT} {doing}"),
            level: Level::Error,
        })
    }

    /// The connection ended before there was a head.
    fn ended(&self, error: Option<io::Error>) -> Failed {
        let reason = match (self.sending.error(), &error) {
            (Some(error), _) => describe("send()", error, SENDING),
            (None, Some(error)) => describe("recv()", error, READING_HEAD),
            (None, None) => format!("{CLOSED} {READING_HEAD}"),
        };
        Failed {
            fault: Fault::Error,
            sent: self.sending.sent() > 0,
            stale: self.reused && self.received == 0,
            reason,
            level: Level::Error,
        }
    }

    /// Takes a final head from what was read.
    fn take_head(&mut self, limit: usize) -> Result<Option<ReceivedHead>, Failed> {
        if self.memcached.is_some() {
            return self.take_reply(limit);
        }
        loop {
            let read = self.reader.read(&mut self.connection.input, limit);
            let Some(head) = read.map_err(|error| self.invalid(&error))? else { return Ok(None) };
            self.heads += head.wire_length() as u64;
            match head.status {
                101 if self.switches => return Ok(Some(head)),
                101 => return Err(self.invalid(&"upstream switches protocols unasked")),
                100..=199 if self.interim == MOST_INTERIM => {
                    return Err(self.invalid(&"upstream sent too many interim responses"));
                }
                100..=199 => self.interim += 1,
                0..=99 => return Err(self.invalid(&HeadError::StatusLine)),
                _ => return Ok(Some(head)),
            }
        }
    }

    fn invalid(&self, error: &dyn fmt::Display) -> Failed {
        Failed {
            fault: Fault::InvalidHeader,
            sent: true,
            stale: false,
            reason: format!("{error} {READING_HEAD}"),
            level: Level::Error,
        }
    }

    /// Gives the connection to the pool where it may serve on.
    fn keep(mut self: Box<Self>, pool: &Rc<Pool>) {
        self.sending = Sending::default();
        self.connection.rest();
        self.reused = true;
        (self.received, self.heads, self.interim) = (0, 0, 0);
        self.reader = HeadReader::default();
        self.framing = Framing::Nothing;
        (self.was_chunked, self.keeps, self.switches) = (false, false, false);
        self.memcached = None;
        let (group, keepalive) = (self.group, self.keepalive);
        pool.put(group, Line(self), &keepalive);
    }
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::TimedOut => Fault::Timeout,
        _ => Fault::Error,
    }
}

/// nginx's words for what happened.
fn describe(call: &str, error: &io::Error, doing: &str) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => format!("{TIMED_OUT} {doing}"),
        _ => format!("{call} failed {} {doing}", Errno(error)),
    }
}
