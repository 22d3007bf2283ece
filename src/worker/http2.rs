//! HTTP/2 with clients: the frames are h2's, the requests pingora's sessions, each served by a task
//! of its own on this worker.

use super::listener::Open;
use super::stream::Stream;
use crate::downstream::{HeadWait, Transport};
use bytes::Bytes;
use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession};
use pingora::protocols::{GetProxyDigest, GetSocketDigest};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::Sleep;

/// Bytes of a request's fields, names and values, as they are decoded; nginx's
/// `large_client_header_buffers`.
const HEADER_LIST_BYTES: u32 = 32 << 10;
/// Bytes of a response that wait for the client to take them.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Streams that a client has reset and that still count.
const RESET_STREAMS: usize = 20;
/// Malformed requests after which a connection is closed.
const MOST_REJECTED: usize = 32;

/// How long a client that was told to go may take for it once nothing is under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// What holds for the HTTP/2 connections of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// `http2_max_concurrent_streams`
    pub streams: u32,
    /// `keepalive_requests`
    pub requests: u64,
    /// `keepalive_timeout`; 0 closes a connection with its last response.
    pub idle_ms: u64,
}

/// The streams of a connection that are being served.
#[derive(Default)]
struct Active {
    count: Cell<usize>,
    idle: Notify,
}

/// One of them.
struct Held(Rc<Active>);

impl Active {
    fn hold(self: &Rc<Self>) -> Held {
        self.count.set(self.count.get() + 1);
        Held(Rc::clone(self))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.idle.notify_one();
        }
    }
}

fn options(limits: &Limits) -> H2Options {
    let mut options = H2Options::default();
    options
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(MOST_REJECTED));
    options
}

/// What came of waiting on a connection.
enum Event {
    /// A request.
    Asked(Box<HttpSession>),
    /// A request that was malformed, and has its answer.
    Rejected,
    /// Nothing more will come.
    Ended,
    /// Its listener drains.
    Closing,
    /// The last stream has ended.
    Idle,
    /// It was idle for as long as it may be.
    IdleTooLong,
}

type Connection = h2::server::Connection<pingora::protocols::Stream, Bytes>;

/// A connection that is served.
struct Served {
    connection: Connection,
    wait: Rc<HeadWait>,
    open: Rc<Open>,
    limits: Limits,
    active: Rc<Active>,
    /// The client was told to go.
    ending: bool,
    asked: u64,
    rejected: usize,
    /// Rings when it was idle for as long as it may be.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Serves a connection until the client closes it, the listener drains, or it has been idle or
/// used for long enough; then it takes no more requests, and ends with its last response.
pub(super) async fn http2(transport: Transport, wait: Rc<HeadWait>, open: Open, limits: Limits) {
    let mut closing = open.listener().closing();
    let stream = Stream::new(transport, Rc::clone(&wait));
    let digest = Arc::new(Digest {
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
        ..Digest::default()
    });
    let handshake = server::handshake(Box::new(stream), Some(options(&limits)));
    // A client that went away, was too slow, or spoke something else.
    let Ok(connection) = handshake.await else { return };
    let mut served = Served {
        connection,
        wait,
        open: Rc::new(open),
        limits,
        active: Rc::default(),
        ending: false,
        asked: 0,
        rejected: 0,
        alarm: None,
    };
    if *closing.borrow_and_update() {
        served.end();
    }
    loop {
        let event = tokio::select! {
            biased;
            _ = closing.changed(), if !served.ending => Event::Closing,
            it = HttpSession::from_h2_conn(&mut served.connection, Arc::clone(&digest)) => {
                match it {
                    Ok(Some(H2Accept::Session(session))) => Event::Asked(Box::new(session)),
                    Ok(Some(H2Accept::Rejected)) => Event::Rejected,
                    Ok(None) | Err(_) => Event::Ended,
                }
            }
            () = served.active.idle.notified() => Event::Idle,
            () = rung(&mut served.alarm), if served.alarm.is_some() => Event::IdleTooLong,
        };
        if served.follow(event).is_break() {
            return;
        }
    }
}

impl Served {
    fn follow(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Asked(session) => {
                self.alarm = None;
                self.asked += 1;
                spawn_local(serve_stream(*session, Rc::clone(&self.open), self.active.hold()));
                if self.asked >= self.limits.requests {
                    self.end();
                }
            }
            Event::Rejected => {
                self.rejected += 1;
                if self.rejected > MOST_REJECTED {
                    self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
            }
            Event::Ended => return ControlFlow::Break(()),
            Event::IdleTooLong if self.ending => return ControlFlow::Break(()),
            Event::Idle if self.active.count.get() > 0 => {}
            Event::Idle if self.limits.idle_ms > 0 && !self.ending => {
                self.wait.begin_between_streams();
                self.open.listener().notice_idle();
                self.ring_after(Duration::from_millis(self.limits.idle_ms));
            }
            Event::Closing | Event::Idle | Event::IdleTooLong => {
                self.end();
                if self.active.count.get() == 0 {
                    self.ring_after(FAREWELL);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells the client that no more requests are taken.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ending, true) {
            self.connection.graceful_shutdown();
        }
    }

    fn ring_after(&mut self, time: Duration) {
        self.alarm = Some(Box::pin(tokio::time::sleep(time)));
    }
}

async fn rung(alarm: &mut Option<Pin<Box<Sleep>>>) {
    match alarm {
        Some(alarm) => alarm.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Serves one request; the connection counts until its last one has ended.
async fn serve_stream(session: HttpSession, open: Rc<Open>, _held: Held) {
    let gateway = Arc::clone(open.listener().http2());
    let closing = open.listener().closing();
    gateway.process_new_http(ServerSession::new_http2(session), &closing).await;
}
