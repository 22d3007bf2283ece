//! A connection to a peer by HTTP/2, and who uses it.

use crate::clock::{self, Tick};
use crate::proxy::exchange::Transport;
use crate::upstream::Keepalive;
use ::h2::client::{self, SendRequest};
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Requests that one connection carries at a time, if the peer allows as many.
const MOST_STREAMS: usize = 128;
/// Bytes of one response that a peer may send before they are taken: what one slow client costs.
const STREAM_WINDOW: u32 = 128 << 10;
/// The same of a connection: slow clients of all its streams do not stop the others.
const LINK_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS as u32;
/// The longest head or trailers, unpacked, bytes; `proxy_buffer_size` may allow a head less.
const MOST_HEAD: u32 = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(in crate::proxy) struct Link {
    sender: SendRequest<Bytes>,
    /// The connection has ended.
    ended: Rc<Cell<bool>>,
    /// No request begins on it any more.
    retired: Cell<bool>,
    /// Requests on it now.
    active: Cell<usize>,
    /// Requests that it has had.
    requests: Cell<u64>,
    born: Tick,
    /// Since when nobody uses it.
    pub(super) idle_since: Cell<Tick>,
}

impl Link {
    /// Begins to speak HTTP/2 over `transport`.
    ///
    /// # Errors
    /// The connection has failed already.
    pub async fn open(transport: Transport) -> Result<Rc<Self>, ::h2::Error> {
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINK_WINDOW)
            .max_header_list_size(MOST_HEAD)
            .max_send_buffer_size(STREAM_WINDOW as usize);
        let (sender, connection) = builder.handshake(transport).await?;
        let ended = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ended);
        tokio::task::spawn_local(async move {
            // Requests in flight tell of an error themselves.
            let _ = connection.await;
            flag.set(true);
        });
        let now = clock::monotonic();
        Ok(Rc::new(Self {
            sender,
            ended,
            retired: Cell::new(false),
            active: Cell::new(0),
            requests: Cell::new(0),
            born: now,
            idle_since: Cell::new(now),
        }))
    }

    /// Whether a request may begin on it.
    pub fn takes_more(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.is_alive()
            && self.active.get() < self.sender.current_max_send_streams().min(MOST_STREAMS)
            // A peer that is going away says so (GOAWAY).
            && matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Whether it is worth keeping.
    pub fn is_alive(&self) -> bool {
        !self.ended.get() && !self.retired.get()
    }

    /// Whether nobody uses it.
    pub fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// A hold on it for one request.
    pub fn hold(self: &Rc<Self>, keep: &Keepalive) -> Held {
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get() + 1);
        let is_old = clock::monotonic().ms_since(self.born) >= keep.time_ms;
        if self.requests.get() >= keep.requests || is_old {
            self.retired.set(true);
        }
        Held { link: Rc::clone(self), keeps: keep.connections > 0 }
    }
}

/// One request's hold on a connection.
#[derive(Debug)]
pub(in crate::proxy) struct Held {
    link: Rc<Link>,
    /// The upstream keeps idle connections.
    keeps: bool,
}

impl Held {
    /// What a request is sent by.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.link.sender.clone()
    }

    /// No request begins on it any more: something is wrong with it.
    pub fn retire(&self) {
        self.link.retired.set(true);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let link = &self.link;
        link.active.set(link.active.get() - 1);
        if link.is_idle() {
            link.idle_since.set(clock::monotonic());
            if !self.keeps {
                link.retired.set(true);
            }
        }
    }
}
