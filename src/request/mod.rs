//! One request: what the client sent, how it was routed, its variables, its response head, and the
//! [`Decision`] that logs and metrics read.
//!
//! A request belongs to one worker and is shared within it as `Rc<Request>`: by the proxy's phases,
//! by running Lua, and by suspended operations. All state that changes is in cells; no borrow of
//! one is held while Lua runs.

pub mod attempt;
pub mod body;
pub mod connection;
pub mod decision;
pub mod echo;
mod evaluate;
pub mod explain;
mod fields;
mod geo;
pub mod limits;
mod log_line;
mod parametric;
pub mod place;
pub mod response;
pub mod rollout;
mod security;
pub mod subrequest;
pub mod trace;

pub use attempt::{Attempt, Attempts};
pub use body::Body;
pub use connection::Connection;
pub use decision::Decision;
pub use response::ResponseHead;
pub use rollout::Charge;
pub use trace::Trace;

use crate::clock::Tick;
use crate::cosocket::Pipe;
use crate::http::h1::response_head::ReceivedHead;
use crate::http::headers::Headers;
use crate::snapshot::LocationId;
use crate::snapshot::ServerId;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use smallvec::SmallVec;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// HTTP's version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/0.9: what a request without a version has, and a timer's.
    Http09,
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// One request's whole state.
pub struct Request {
    /// The configuration it began with, and ends with.
    pub snapshot: Arc<Snapshot>,
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// When its first byte was read.
    pub started: Tick,
    /// The same as unix time, milliseconds.
    pub started_unix_ms: u64,
    /// HTTP's version.
    pub version: Version,
    /// The request line as it came: `$request`.
    pub line: Bytes,
    /// The request target as it came (of the absolute form, from the path on): `/a%20b?x=1`.
    pub target: Bytes,
    /// The method as it came: `$request` shows it whatever a script sets.
    pub original_method: Bytes,
    /// The method now.
    pub method: RefCell<Bytes>,
    /// The normalised path now: `$uri`.
    pub uri: RefCell<Bytes>,
    /// The arguments now, without `?`; `None` where there is no `?`.
    pub args: RefCell<Option<Bytes>>,
    /// `target` still says what `uri` and `args` say: nothing has rewritten the URI.
    pub uri_unchanged: Cell<bool>,
    /// Host of the request line or of `Host`, lower case, without port; empty when there was none.
    /// Setting `Host` changes it.
    pub host: RefCell<Bytes>,
    /// The request's header fields.
    pub headers: RefCell<Headers>,
    /// Bytes of request line and headers as they were read.
    pub head_length: Cell<u64>,
    /// The head as it was read, where whoever read it kept it (`ngx.req.raw_header`).
    pub raw_head: RefCell<Option<Bytes>>,
    /// The request's body.
    pub body: RefCell<Body>,
    /// A script has asked for the body, which is [`Body::Unread`] until it is complete.
    pub is_body_awaited: Cell<bool>,
    /// Bytes of the body that were read from the client, chunks with their framing; not those that
    /// nobody wanted.
    pub body_bytes_read: Cell<u64>,
    /// Declared length of the body: the request's own `Content-Length`.
    pub content_length: Cell<Option<u64>>,
    /// The server that serves it.
    pub server: Cell<ServerId>,
    /// The location that serves it now; an `if` block once its condition held.
    pub location: Cell<LocationId>,
    /// The rewrite module changed the URI within its location (`rewrite … break`): it no longer
    /// begins with the location's prefix as nginx sees it.
    pub broke_out: Cell<bool>,
    /// `try_files` has found the URI below an `alias` that stands for the whole of it.
    pub adds_uri_to_alias: Cell<bool>,
    /// Reached by an internal redirect, an error page or `ngx.exec`.
    pub internal: Cell<bool>,
    /// Internal redirects left before it is called a cycle.
    pub redirects_left: Cell<u8>,
    /// The response as far as it is known.
    pub response: RefCell<ResponseHead>,
    /// The response head was handed to the client's side: status and headers are settled.
    pub headers_sent: Cell<bool>,
    /// The last byte of the response was produced (`ngx.eof`, or the end of content).
    pub finished: Cell<bool>,
    /// The status that an error page answers for (`$status` while it is made), else 0.
    pub error_status: Cell<u16>,
    /// An error page is being made: it gets none of its own.
    pub in_error_page: Cell<bool>,
    /// A filter ended the response with this status (500 for an error), else 0.
    pub filter_status: Cell<u16>,
    /// Its header filter has failed: it is not run again for the page that tells so.
    pub header_filter_failed: Cell<bool>,
    /// Body bytes that went to the client.
    pub body_bytes_sent: Cell<u64>,
    /// All bytes that went to the client.
    pub bytes_sent: Cell<u64>,
    /// Response bytes produced by a handler and not yet written; the proxy writes them.
    pub output: RefCell<Output>,
    /// Peers that were tried.
    pub attempts: RefCell<Attempts>,
    /// The head of the last upstream response, for `$upstream_http_*`.
    pub upstream_headers: RefCell<ReceivedHead>,
    /// Its trailers, for `$upstream_trailer_*`.
    pub upstream_trailers: RefCell<Headers>,
    /// `$proxy_host` and `$proxy_port`.
    pub proxy_host: RefCell<(Bytes, Bytes)>,
    /// The upstream is talked to by TLS.
    pub upstream_is_tls: Cell<bool>,
    /// Captures of the last regex.
    pub captures: RefCell<Captures>,
    /// Values of `set` variables and of computed ones that are remembered, by slot.
    pub slots: RefCell<Vec<Option<Bytes>>>,
    /// How many computed variables deeper evaluation may go before it is called a cycle.
    pub(in crate::request) depth_left: Cell<u8>,
    /// What the echo module keeps; made when it is first needed.
    pub echo: RefCell<Option<Box<echo::State>>>,
    /// A subrequest whose answer, be it an error page, stands in the answer of its parent.
    pub is_inlined: Cell<bool>,
    /// What was decided, and why.
    pub decision: RefCell<Decision>,
    /// The variant whose doing the response is, while it is being made.
    pub charge: RefCell<Option<Charge>>,
    /// What is noted for a request that is to be explained.
    pub trace: RefCell<Option<Box<Trace>>>,
    /// Whether there is a trace: asked wherever something may be noted.
    pub(in crate::request) is_traced: Cell<bool>,
    /// What limits have said of it, and how fast its answer may leave.
    pub limits: limits::Limits,
    /// `$request_id`, made when it is first asked for.
    pub request_id: RefCell<Option<Bytes>>,
    /// What Lua keeps for the request (its `ngx.ctx`, its VM); dropped by whoever owns the type.
    pub lua: RefCell<Option<Box<dyn Any>>>,
    /// A request made by a timer or a handshake: there is no client.
    pub is_fake: bool,
    /// What a request without a client runs for, in logs.
    pub context: Cell<&'static str>,
    /// The client's connection, or the body alone, while a script has it as a socket.
    pub client_pipe: RefCell<Option<Rc<Pipe>>>,
    /// The request that has made this one; unset for a client's own.
    pub(in crate::request) parent: OnceCell<Rc<Request>>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Response bytes on their way to the client.
#[derive(Debug, Default)]
pub struct Output {
    /// The head is complete and waits to be written before `chunks`.
    pub head_ready: bool,
    /// Body chunks in order.
    pub chunks: SmallVec<[Bytes; 1]>,
    /// Bytes in `chunks`.
    pub pending_bytes: usize,
    /// No chunk follows.
    pub last: bool,
}

impl Output {
    /// Whether there is something to write.
    pub fn is_pending(&self) -> bool {
        self.head_ready || !self.chunks.is_empty() || self.last
    }

    /// Adds a chunk; an empty one is nothing.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.pending_bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }
}

/// Captures of a regex: `$0` to `$9` and beyond.
#[derive(Debug, Default)]
pub struct Captures {
    /// What was matched against.
    pub subject: Bytes,
    /// Byte ranges of the groups; `None` for one that did not take part.
    pub groups: Vec<Option<(usize, usize)>>,
}

impl Captures {
    /// Group `number`, 0 being the whole match.
    pub fn group(&self, number: usize) -> Option<Bytes> {
        let (start, end) = (*self.groups.get(number)?)?;
        Some(self.subject.slice(start..end))
    }
}

/// What a request is made from.
pub struct Parts {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The connection.
    pub connection: Rc<Connection>,
    /// When its first byte was read.
    pub started: Tick,
    /// HTTP's version.
    pub version: Version,
    /// The method.
    pub method: Bytes,
    /// The request line as it came.
    pub line: Bytes,
    /// The target as it came.
    pub target: Bytes,
    /// The normalised path.
    pub uri: Bytes,
    /// The arguments.
    pub args: Option<Bytes>,
    /// The host, lower case.
    pub host: Bytes,
    /// The header fields.
    pub headers: Headers,
    /// Bytes of the head.
    pub head_length: u64,
    /// The server.
    pub server: ServerId,
    /// There is no client.
    pub is_fake: bool,
}

impl Request {
    /// A request that is about to be routed.
    pub fn new(parts: Parts) -> Rc<Self> {
        let location = parts.snapshot.servers.get(parts.server as usize).map_or(0, |it| it.root);
        let length = parts.headers.get(b"content-length").and_then(|it| decimal(it));
        let fresh = crate::clock::cached_ms();
        Rc::new(Self {
            location: Cell::new(location),
            server: Cell::new(parts.server),
            content_length: Cell::new(length),
            started_unix_ms: fresh,
            snapshot: parts.snapshot,
            connection: parts.connection,
            started: parts.started,
            version: parts.version,
            line: parts.line,
            target: parts.target,
            original_method: parts.method.clone(),
            method: RefCell::new(parts.method),
            uri: RefCell::new(parts.uri),
            args: RefCell::new(parts.args),
            uri_unchanged: Cell::new(true),
            host: RefCell::new(parts.host),
            headers: RefCell::new(parts.headers),
            head_length: Cell::new(parts.head_length),
            raw_head: RefCell::default(),
            body: RefCell::default(),
            is_body_awaited: Cell::new(false),
            body_bytes_read: Cell::new(0),
            broke_out: Cell::new(false),
            adds_uri_to_alias: Cell::new(false),
            internal: Cell::new(false),
            redirects_left: Cell::new(10),
            response: RefCell::default(),
            headers_sent: Cell::new(false),
            finished: Cell::new(false),
            error_status: Cell::new(0),
            in_error_page: Cell::new(false),
            filter_status: Cell::new(0),
            header_filter_failed: Cell::new(false),
            body_bytes_sent: Cell::new(0),
            bytes_sent: Cell::new(0),
            output: RefCell::default(),
            attempts: RefCell::default(),
            upstream_headers: RefCell::default(),
            upstream_trailers: RefCell::default(),
            proxy_host: RefCell::default(),
            upstream_is_tls: Cell::new(false),
            captures: RefCell::default(),
            slots: RefCell::default(),
            depth_left: Cell::new(evaluate::MOST_DEPTH),
            echo: RefCell::default(),
            is_inlined: Cell::new(false),
            decision: RefCell::default(),
            charge: RefCell::default(),
            trace: RefCell::default(),
            is_traced: Cell::new(false),
            limits: limits::Limits::default(),
            request_id: RefCell::default(),
            lua: RefCell::default(),
            is_fake: parts.is_fake,
            context: Cell::new("ngx.timer"),
            client_pipe: RefCell::default(),
            parent: OnceCell::new(),
        })
    }

    /// The location that serves it now.
    pub fn location(&self) -> &crate::snapshot::location::Location {
        self.snapshot.location(self.location.get())
    }

    /// The settings in force now.
    pub fn conf(&self) -> &Arc<crate::snapshot::conf::Conf> {
        &self.location().conf
    }

    /// Whether the client sees a head only: HEAD.
    pub fn is_head(&self) -> bool {
        *self.original_method == *b"HEAD"
    }

    /// A slot's value.
    pub fn slot(&self, slot: u16) -> Option<Bytes> {
        self.slots.borrow().get(usize::from(slot)).cloned().flatten()
    }

    /// Sets or, with `None`, unsets a slot.
    pub fn set_slot(&self, slot: u16, value: Option<Bytes>) {
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= usize::from(slot) {
            slots.resize(self.snapshot.names.slots().max(usize::from(slot) + 1), None);
        }
        slots[usize::from(slot)] = value;
    }

    /// Changes path and, when given, arguments; the target no longer tells the URI.
    pub fn rewrite_uri(&self, uri: Bytes, args: Option<Option<Bytes>>) {
        *self.uri.borrow_mut() = uri;
        if let Some(args) = args {
            *self.args.borrow_mut() = args;
        }
        self.uri_unchanged.set(false);
    }
}

/// A decimal number of at most 19 digits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
