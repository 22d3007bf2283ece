//! The client's side of a request, behind one seam: HTTP/1 by our own code, HTTP/2 by pingora's.
//!
//! pingora's futures are boxed: they are large, and would be a part of each request's.

use super::body::{self, Reader};
use super::error::{Error, Result};
use super::head;
use super::pace::Pace;
use super::pingora_client;
use super::trailers::takes_trailers;
use crate::downstream::Wire;
use crate::http::headers::Headers;
use crate::log::Level;
use crate::request::Request;
use bytes::Bytes;
use pingora::proxy::Session;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The client of one request.
pub(super) struct Client<'a> {
    side: Side<'a>,
    request: Rc<Request>,
    reader: Reader,
    /// What the client may still get of a body whose length its head told.
    body_left: Option<u64>,
    /// The end of the response went with its last part.
    is_ended: bool,
}

/// What carries the request.
pub(super) enum Side<'a> {
    /// HTTP/1.
    H1 {
        /// The connection.
        wire: &'a mut Wire,
        /// The client would use the connection again.
        keeps: bool,
        /// Bytes of the response's head, once that was written.
        head_length: u64,
    },
    /// HTTP/2.
    Pingora(&'a mut Session),
    /// Nobody: a subrequest, whose body is kept for the request that has made it.
    Captured(Kept),
}

/// A body that is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// There was more than may be kept.
    is_cut: bool,
    /// Nothing is kept, and so much may be thrown away before it is cut.
    left: Option<usize>,
}

/// Bytes of a subrequest's body that are kept. nginx has no limit; ours leaves room for the string
/// that Lua makes of it within the memory of a VM.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// Bytes of a body that nobody wants which are read for the sake of the upstream's connection;
/// nginx reads none.
const MOST_DROPPED_BYTES: usize = 64 << 10;

impl<'a> Client<'a> {
    /// The client that sent `request` on `wire`; it would use the connection again if `keeps`.
    pub fn h1(wire: &'a mut Wire, keeps: bool, request: &Rc<Request>) -> Self {
        Self::new(Side::H1 { wire, keeps, head_length: 0 }, request)
    }

    /// The client that sent `request` by pingora's `session`.
    pub fn pingora(session: &'a mut Session, request: &Rc<Request>) -> Self {
        Self::new(Side::Pingora(session), request)
    }

    /// Nobody: what answers `request` is kept.
    pub fn capturing(request: &Rc<Request>) -> Self {
        Self::new(Side::Captured(Kept::default()), request)
    }

    /// Nobody: what answers `request` is thrown away, but for its head.
    pub fn of_head(request: &Rc<Request>) -> Self {
        Self::new(
            Side::Captured(Kept { left: Some(MOST_DROPPED_BYTES), ..Kept::default() }),
            request,
        )
    }

    /// What was kept, and whether that is all.
    pub fn into_kept(self) -> (Vec<u8>, bool) {
        match self.side {
            Side::Captured(kept) => (kept.bytes, !kept.is_cut),
            Side::H1 { .. } | Side::Pingora(_) => (Vec::new(), false),
        }
    }

    fn new(side: Side<'a>, request: &Rc<Request>) -> Self {
        let request = Rc::clone(request);
        Self { side, request, reader: Reader::default(), body_left: None, is_ended: false }
    }

    /// Writes what handlers have produced: the head once it is complete, chunks, the end.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn flush_output(&mut self, request: &Request) -> Result<()> {
        if !request.headers_sent.get() {
            return Ok(());
        }
        let (with_head, chunks, last) = {
            let mut output = request.output.borrow_mut();
            output.pending_bytes = 0;
            let head = std::mem::take(&mut output.head_ready);
            (head, std::mem::take(&mut output.chunks), std::mem::take(&mut output.last))
        };
        let has_trailers = !request.response.borrow().trailers.is_empty();
        if with_head {
            request.connection.send_timeout_ms.set(request.conf().send_timeout_ms);
            let is_all = last && chunks.is_empty() && !has_trailers;
            request.settle_pace();
            self.write_head(request, is_all).await?;
        }
        if head::has_body(request) {
            let count = chunks.len();
            for (index, chunk) in chunks.into_iter().enumerate() {
                self.write_chunk(request, chunk, last && index + 1 == count && !has_trailers)
                    .await?;
            }
        }
        if last { self.end(request).await } else { Ok(()) }
    }

    /// Writes the head; `is_all` where nothing follows.
    async fn write_head(&mut self, request: &Request, is_all: bool) -> Result<()> {
        match &mut self.side {
            Side::H1 { wire, keeps, head_length } => {
                let expects = self.reader.expects_continue(request) && !wire.is_body_over();
                if expects && request.response.borrow().status < 300 {
                    // nginx says so before it throws away a body that nobody asked for.
                    self.reader.continued = true;
                    wire.end().extend_from_slice(CONTINUE);
                }
                let before = wire.end().len();
                head::write(request, *keeps, wire.end());
                *head_length = (wire.end().len() - before) as u64;
            }
            Side::Captured(_) => return Ok(()),
            Side::Pingora(session) => {
                self.is_ended = is_all;
                Box::pin(pingora_client::write_head(session, request, is_all)).await?;
            }
        }
        let response = request.response.borrow();
        self.body_left = response.content_length.filter(|_| head::has_body(request));
        Ok(())
    }

    /// Writes a part of the body. What is more than the head has told never leaves: the client
    /// would take it for the next response.
    async fn write_chunk(&mut self, request: &Request, mut chunk: Bytes, last: bool) -> Result<()> {
        if let Some(left) = &mut self.body_left {
            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= chunk.len() as u64;
        }
        if chunk.is_empty() {
            return Ok(());
        }
        match &mut self.side {
            Side::H1 { wire, .. } => {
                wire.push(chunk, request.response.borrow().chunked);
                if wire.is_enough() { self.flush_socket().await } else { Ok(()) }
            }
            Side::Pingora(session) => {
                self.is_ended = last;
                Box::pin(write_paced(session, request, chunk, last)).await
            }
            Side::Captured(kept) => kept.push(&chunk, request),
        }
    }

    /// Ends the response.
    async fn end(&mut self, request: &Request) -> Result<()> {
        match &mut self.side {
            Side::H1 { wire, .. } => {
                if request.response.borrow().chunked && head::has_body(request) {
                    let response = request.response.borrow();
                    let none = Headers::new();
                    // A client that has not asked for them may not know what they are.
                    let takes = response.expects_trailers || takes_trailers(request);
                    wire.push_end(if takes { &response.trailers } else { &none });
                }
                self.flush_socket().await?;
            }
            Side::Pingora(_) if self.is_ended => {}
            Side::Pingora(session) => {
                let trailers = request.response.borrow().trailers.clone();
                Box::pin(pingora_client::write_end(session, &trailers)).await?;
            }
            Side::Captured(_) => {}
        }
        match self.body_left {
            Some(left) if left > 0 => Err(Error::Cut("the response is shorter than announced")),
            _ => Ok(()),
        }
    }

    /// Pushes what was written out to the socket, and waits until the client takes it.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn flush_socket(&mut self) -> Result<()> {
        let request = &*self.request;
        match &mut self.side {
            Side::H1 { wire, head_length, .. } => {
                let flushed = match Pace::of(request) {
                    None => poll_fn(|cx| wire.poll_flush(cx)).await,
                    Some(pace) => Box::pin(pace.flush(request, wire)).await,
                };
                request.bytes_sent.set(wire.sent());
                request.body_bytes_sent.set(wire.sent().saturating_sub(*head_length));
                flushed.inspect_err(|error| body::note_write_fault(request, error))?;
                Ok(())
            }
            Side::Pingora(session) => Box::pin(pingora_client::flush(session)).await,
            Side::Captured(_) => Ok(()),
        }
    }

    /// Reads the request's body to its end, unless that was done already.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn read_body(&mut self, request: &Request) -> Result<body::Read> {
        self.reader.read(&mut self.side, request).await
    }

    /// Takes what has come of a body that is to be passed on as it comes.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn begin_body(&mut self, request: &Request) -> Result<body::Begun> {
        self.reader.begin(&mut self.side, request).await
    }

    /// The next piece of a body that is passed on as it comes. May be given up at any time.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn stream_body(&mut self, request: &Request) -> Result<body::Streamed> {
        poll_fn(|cx| self.reader.poll_stream(cx, &mut self.side, request)).await
    }

    /// Throws the rest of the body away.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn discard_body(&mut self, request: &Request) -> Result<()> {
        self.reader.discard(&mut self.side, request).await
    }

    /// Whether the client's going away is seen behind a body that nobody reads: HTTP/2 has a frame
    /// for it.
    pub fn tells_of_leaving(&self) -> bool {
        matches!(self.side, Side::Pingora(_))
    }

    /// Waits until the client has gone away although part of its body is not read; for ever if it
    /// stays.
    pub async fn abandoned(&mut self) {
        while !matches!(&self.side, Side::H1 { wire, .. } if wire.has_abandoned()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the client has gone away; for ever if it stays.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// Ready once the client has gone away.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.side {
            Side::H1 { wire, .. } => wire.poll_gone(cx),
            Side::Pingora(session) => pin!(pingora_client::gone(session)).poll(cx),
            Side::Captured(_) => Poll::Pending,
        }
    }

    /// Tells the client to send its body, if it waits for that.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reader.poll_continue(cx, &mut self.side, &self.request)
    }

    /// The connection itself, for what follows a 101: HTTP/1 only. What was written is flushed
    /// first by the caller.
    pub fn raw(&mut self) -> Option<&mut Wire> {
        match &mut self.side {
            Side::H1 { wire, .. } => Some(wire),
            Side::Pingora(_) | Side::Captured(_) => None,
        }
    }
}

/// Writes a part of a body by HTTP/2, as fast as `limit_rate` lets it.
async fn write_paced(
    session: &mut Session,
    request: &Request,
    mut chunk: Bytes,
    last: bool,
) -> Result<()> {
    let pace = Pace::of(request);
    loop {
        let before = request.bytes_sent.get();
        let room = match pace {
            None => chunk.len(),
            Some(pace) => usize::try_from(pace.wait(request, before).await).unwrap_or(usize::MAX),
        };
        let part = chunk.split_to(room.min(chunk.len()));
        let count = part.len() as u64;
        request.body_bytes_sent.set(request.body_bytes_sent.get() + count);
        request.bytes_sent.set(before + count);
        pingora_client::write_chunk(session, part, last && chunk.is_empty()).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        if let Some(pace) = pace {
            pingora_client::flush(session).await?;
            pace.rest(before, before + count).await;
        }
    }
}

impl Kept {
    fn push(&mut self, chunk: &[u8], request: &Request) -> Result<()> {
        if let Some(left) = self.left {
            self.left = left.checked_sub(chunk.len());
            return match self.left {
                Some(_) => Ok(()),
                None => Err(Error::Cut("only the head of a subrequest's response is wanted")),
            };
        }
        if self.bytes.len() + chunk.len() > MOST_KEPT_BYTES {
            self.is_cut = true;
            request.log(
                Level::Error,
                format_args!("the response of a subrequest is larger than {MOST_KEPT_BYTES} bytes"),
            );
            return Err(Error::Cut("a subrequest's response is too large"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// How often it is looked after a client whose body nobody reads.
const LOOK: Duration = Duration::from_millis(500);

/// The interim answer that a client may wait for before it sends a body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
