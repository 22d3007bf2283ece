//! Reading a request's body: into memory, or into a file once it is larger than
//! `client_body_buffer_size`.

use super::error::{Error, Result};
use super::session::{CONTINUE, Side};
use crate::clock;
use crate::clock::Tick;
use crate::config::model::BodyInFile;
use crate::downstream::{Alarm, BodyFault};
use crate::log::Level;
use crate::request::body::{BUFFERED, Body, BodyFile};
use crate::request::{Request, Version};
use bytes::{Bytes, BytesMut};
use pingora::ErrorType;
use pingora::proxy::Session;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Write};
use std::pin::pin;
use std::task::{Context, Poll, ready};

/// How reading a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It is in [`Request::body`].
    Done,
    /// It may not go on: 400, 413, 408, 500 (no file can be written).
    Refused(u16),
}

/// What comes next of a body that is passed on as it comes.
#[derive(Debug)]
pub(super) enum Streamed {
    /// A piece of it.
    Chunk(Bytes),
    /// Its end.
    End,
    /// It may not go on: 400, 413, 408.
    Refused(u16),
}

/// What has come of a body when passing it on begins.
#[derive(Debug)]
pub(super) enum Begun {
    /// All of it: it is in [`Request::body`].
    Whole,
    /// These bytes; more follow.
    Part(Bytes),
    /// It may not go on: 400, 413, 408.
    Refused(u16),
}

/// Knows what has been read from the client.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Bytes that were passed on.
    streamed: u64,
    /// The client was told to go on.
    pub(super) continued: bool,
    over: bool,
    /// When pingora's client has been silent for too long, and what wakes us then.
    until: Option<Tick>,
    alarm: Alarm,
}

impl Reader {
    /// Reads the body, unless somebody has read, set or discarded it.
    pub async fn read(&mut self, side: &mut Side<'_>, request: &Request) -> Result<Read> {
        if request.body.borrow().is_read() {
            return Ok(Read::Done);
        }
        if side.is_body_over() {
            self.over = true;
            *request.body.borrow_mut() = Body::Memory(Bytes::new());
            return Ok(Read::Done);
        }
        let conf = request.conf().clone();
        let limit = conf.client_max_body_size.unwrap_or(u64::MAX);
        if request.content_length.get().is_some_and(|it| it > limit) {
            note_too_large(request);
            return Ok(Read::Refused(413));
        }
        poll_fn(|cx| self.poll_continue(cx, side, request)).await?;
        let mut sink = match Sink::new(request) {
            Ok(sink) => sink,
            Err(error) => return Ok(not_kept(request, &error)),
        };
        let mut length = 0u64;
        loop {
            let chunk = match poll_fn(|cx| self.poll_chunk(cx, side, request)).await {
                Ok(chunk) => chunk,
                Err(error) => return refused(request, error),
            };
            let Some(chunk) = chunk else { break };
            length += chunk.len() as u64;
            if length > limit {
                note_too_large(request);
                return Ok(Read::Refused(413));
            }
            if let Err(error) = sink.push(&chunk, request) {
                return Ok(not_kept(request, &error));
            }
        }
        *request.body.borrow_mut() = sink.finish(length, request);
        Ok(Read::Done)
    }

    /// The next piece of a body that nobody keeps. May be given up at any time.
    ///
    /// # Errors
    /// The client broke off.
    pub fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        side: &mut Side<'_>,
        request: &Request,
    ) -> Poll<Result<Streamed>> {
        ready!(self.poll_continue(cx, side, request))?;
        let chunk = match ready!(self.poll_chunk(cx, side, request)) {
            Ok(chunk) => chunk,
            Err(error) => {
                return Poll::Ready(refused(request, error).map(|read| match read {
                    Read::Refused(status) => Streamed::Refused(status),
                    Read::Done => Streamed::End,
                }));
            }
        };
        let Some(chunk) = chunk else {
            *request.body.borrow_mut() = Body::Discarded;
            return Poll::Ready(Ok(Streamed::End));
        };
        self.streamed += chunk.len() as u64;
        if self.streamed > request.conf().client_max_body_size.unwrap_or(u64::MAX) {
            note_too_large(request);
            return Poll::Ready(Ok(Streamed::Refused(413)));
        }
        Poll::Ready(Ok(Streamed::Chunk(chunk)))
    }

    /// Takes what has come of a body that is to be passed on as it comes. Where that is all of it,
    /// it is kept like any other, as nginx does.
    ///
    /// # Errors
    /// The client broke off.
    pub async fn begin(&mut self, side: &mut Side<'_>, request: &Request) -> Result<Begun> {
        let room = request.conf().client_body_buffer_size;
        let mut taken = BytesMut::new();
        while taken.len() <= room {
            let next = poll_fn(|cx| Poll::Ready(self.poll_stream(cx, side, request)));
            match next.await {
                Poll::Pending => break,
                Poll::Ready(next) => match next? {
                    Streamed::Chunk(chunk) => taken.extend_from_slice(&chunk),
                    Streamed::Refused(status) => return Ok(Begun::Refused(status)),
                    Streamed::End => {
                        *request.body.borrow_mut() = Body::Memory(taken.freeze());
                        return Ok(Begun::Whole);
                    }
                },
            }
        }
        Ok(Begun::Part(taken.freeze()))
    }

    /// Reads and drops what is left.
    pub async fn discard(&mut self, side: &mut Side<'_>, request: &Request) -> Result<()> {
        // nginx does not count what it throws away.
        let counted = request.body_bytes_read.get();
        while !self.over {
            poll_fn(|cx| self.poll_chunk(cx, side, request)).await?;
        }
        request.body_bytes_read.set(counted);
        *request.body.borrow_mut() = Body::Discarded;
        Ok(())
    }

    /// The next part of the body, `None` at its end.
    pub fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        side: &mut Side<'_>,
        request: &Request,
    ) -> Poll<Result<Option<Bytes>>> {
        if self.over {
            return Poll::Ready(Ok(None));
        }
        let timeout_ms = request.conf().client_body_timeout_ms;
        let chunk = match side {
            Side::H1 { wire, .. } => {
                let chunk = ready!(wire.poll_body(cx, timeout_ms));
                request.body_bytes_read.set(wire.received());
                chunk?
            }
            Side::Pingora(session) => {
                let chunk = ready!(self.poll_pingora(cx, session, timeout_ms))?;
                let count = chunk.as_ref().map_or(0, Bytes::len) as u64;
                request.body_bytes_read.set(request.body_bytes_read.get() + count);
                chunk
            }
            // It was given its body when it was made.
            Side::Captured(_) => None,
        };
        self.over = chunk.is_none();
        Poll::Ready(Ok(chunk))
    }

    fn poll_pingora(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session,
        timeout_ms: u64,
    ) -> Poll<Result<Option<Bytes>>> {
        // What it has read of a frame stays in its session when the future is dropped.
        let read = pin!(session.downstream_session.read_request_body()).poll(cx);
        if read.is_pending() {
            let now = clock::monotonic();
            let until = *self.until.get_or_insert_with(|| now.plus_ms(timeout_ms));
            ready!(self.alarm.poll_until(cx, until));
            return Poll::Ready(Err(Error::BodyTimedOut));
        }
        self.until = None;
        read.map_err(|error| match error.etype() {
            ErrorType::Custom(INVALID_CHUNK) => Error::BodyInvalid,
            _ => error.into(),
        })
    }

    /// Whether the client waits to be told that its body is wanted. HTTP/1.0 knows no interim
    /// answers.
    pub fn expects_continue(&self, request: &Request) -> bool {
        !self.continued
            && request.version >= Version::Http11
            && request
                .headers
                .borrow()
                .get(b"expect")
                .is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Tells the client to go on, if it waits for that.
    pub fn poll_continue(
        &mut self,
        cx: &mut Context<'_>,
        side: &mut Side<'_>,
        request: &Request,
    ) -> Poll<Result<()>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        if self.expects_continue(request) {
            match side {
                Side::H1 { wire, .. } => wire.end().extend_from_slice(CONTINUE),
                Side::Pingora(session) => {
                    ready!(pin!(session.downstream_session.write_continue_response()).poll(cx))?;
                }
                Side::Captured(_) => {}
            }
            self.continued = true;
        }
        match side {
            Side::H1 { wire, .. } if self.continued => wire.poll_flush(cx).map_err(Error::from),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Side<'_> {
    fn is_body_over(&mut self) -> bool {
        match self {
            Self::H1 { wire, .. } => wire.is_body_over(),
            Self::Pingora(session) => session.downstream_session.is_body_empty(),
            Self::Captured(_) => true,
        }
    }
}

impl From<BodyFault> for Error {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TimedOut => Self::BodyTimedOut,
            BodyFault::Chunk(_) => Self::BodyInvalid,
            BodyFault::Left(error) => Self::Io(error),
        }
    }
}

/// A client that takes nothing, or has gone, is told of where nginx does.
pub(super) fn note_write_fault(request: &Request, error: &io::Error) {
    if error.kind() == ErrorKind::TimedOut {
        let text = "client timed out (110: Connection timed out) while sending to client";
        request.log(Level::Info, format_args!("{text}"));
    }
}

fn note_too_large(request: &Request) {
    request.log(Level::Error, format_args!("client intended to send too large body"));
}

/// No file can be written.
fn not_kept(request: &Request, error: &io::Error) -> Read {
    let path = request.conf().client_body_temp_path.clone();
    let path = path.display();
    request.log(Level::Crit, format_args!("cannot keep the request body in \"{path}\": {error}"));
    Read::Refused(500)
}

/// What a body that does not come to its end makes of the request.
///
/// # Errors
/// The client is gone: of HTTP/1 nginx calls that a bad request, which only the log sees.
fn refused(request: &Request, error: Error) -> Result<Read> {
    match error {
        Error::BodyTimedOut => Ok(Read::Refused(408)),
        Error::BodyInvalid => {
            request.log(Level::Error, format_args!("{error}"));
            Ok(Read::Refused(400))
        }
        _ => {
            request.log(Level::Info, format_args!("client prematurely closed connection"));
            // Within HTTP/2 a reset is how a client leaves, and no mistake of it.
            let is_reset = request.version == Version::Http2;
            request.response.borrow_mut().status = if is_reset { 499 } else { 400 };
            Err(error)
        }
    }
}

/// pingora's name for a chunk that is none.
const INVALID_CHUNK: &str = "InvalidChunk";

/// Where a body is collected.
enum Sink {
    Memory(BytesMut),
    /// The file goes with it, should the body never come to its end.
    File(BodyFile, File),
}

impl Sink {
    /// What collects a body of `request`.
    fn new(request: &Request) -> io::Result<Self> {
        let conf = request.conf();
        if conf.client_body_in_file_only == BodyInFile::Off {
            return Ok(Self::Memory(BytesMut::new()));
        }
        let (kept, file) = BodyFile::create(&conf.client_body_temp_path)?;
        request.log(Level::Notice, format_args!("{BUFFERED} {}", kept.path.display()));
        Ok(Self::File(kept, file))
    }

    /// Takes the next part of a body, of which memory holds `client_body_buffer_size` bytes.
    fn push(&mut self, chunk: &[u8], request: &Request) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.write_all(chunk),
            Self::Memory(bytes)
                if bytes.len() + chunk.len() <= request.conf().client_body_buffer_size =>
            {
                bytes.extend_from_slice(chunk);
                Ok(())
            }
            Self::Memory(bytes) => {
                let (kept, mut file) = BodyFile::create(&request.conf().client_body_temp_path)?;
                request.log(Level::Warn, format_args!("{BUFFERED} {}", kept.path.display()));
                file.write_all(bytes)?;
                file.write_all(chunk)?;
                *self = Self::File(kept, file);
                Ok(())
            }
        }
    }

    fn finish(self, length: u64, request: &Request) -> Body {
        match self {
            Self::Memory(bytes) => Body::Memory(bytes.freeze()),
            Self::File(mut kept, _) => {
                kept.length = length;
                kept.temporary = request.conf().client_body_in_file_only != BodyInFile::On;
                Body::File(kept)
            }
        }
    }
}
