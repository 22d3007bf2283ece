//! TLS over any stream. OpenSSL reads from and writes to memory, so that what it says at once is
//! sent at once, and what has come is read with one call.

use super::endpoint::{answered, asked_of_hello, made};
use super::established::Established;
use super::handshake::{Handshake, Question, Wanted};
use super::words::{handshake_failure, queue};
use crate::sys::openssl as unwrapped;
use bytes::{Buf, BytesMut};
use openssl::error::ErrorStack;
use openssl::ssl;
use openssl::ssl::{ErrorCode, Ssl, SslRef, SslStream};
use std::fmt;
use std::io;
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes read at a time: a record of the largest size and its framing.
const READ_BYTES: usize = (16 << 10) + 512;
/// A larger buffer is not kept for the next write.
const KEPT_BYTES: usize = 1 << 10;

/// Bytes of the largest record.
pub const RECORD_BYTES: usize = 16 << 10;

/// What OpenSSL takes for the network.
#[derive(Debug, Default)]
struct Memory {
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Nothing more will come in.
    ended: bool,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.incoming.len().min(buffer.len());
        if count == 0 && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream with TLS on it.
pub struct TlsStream<S: AsyncRead + AsyncWrite + Unpin> {
    ssl: SslStream<Memory>,
    socket: S,
    /// Bytes of the caller's that are encrypted but not all sent: the write is not done.
    promised: usize,
    /// Bytes that are encrypted before they are sent.
    batch: usize,
    /// The handshake is done, and no farewell was said.
    open: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("open", &self.open).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// TLS on `socket`, of which `begun` was read already; [`Self::poll_handshake`] comes next. A
    /// write takes `batch` bytes at most; up to [`RECORD_BYTES`] are of no use to the peer until
    /// all are sent.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(ssl: Ssl, socket: S, begun: BytesMut, batch: usize) -> Result<Self, ErrorStack> {
        let memory = Memory { incoming: begun, ..Memory::default() };
        Ok(Self { ssl: SslStream::new(ssl, memory)?, socket, promised: 0, batch, open: false })
    }

    /// The stream below.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Whether something may be read without the stream below.
    #[cfg(test)]
    pub(super) fn is_loaded(&self) -> bool {
        self.ssl.ssl().pending() > 0 || !self.ssl.get_ref().incoming.is_empty()
    }

    /// Bytes of memory that are held for what comes and goes.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        let memory = self.ssl.get_ref();
        memory.incoming.capacity() + memory.outgoing.capacity()
    }

    /// OpenSSL's side of it.
    pub fn ssl(&self) -> &SslRef {
        self.ssl.ssl()
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// nginx's words for why it failed.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<Shaken, String>> {
        let os = |error: io::Error| {
            let error = crate::sys::errno::Errno(&error);
            format!("SSL_do_handshake() failed {error}")
        };
        loop {
            let done = self.ssl.do_handshake();
            if let Some(question) = done.as_ref().err().and_then(|it| question(it, self.ssl.ssl()))
            {
                return Poll::Ready(Ok(Shaken::Asked(question)));
            }
            let wants_more = matches!(&done, Err(it) if it.code() == ErrorCode::WANT_READ);
            // An alert is sent as well.
            let sent = self.poll_send(cx);
            match done {
                Err(error) if !wants_more => {
                    return Poll::Ready(Err(handshake_failure(&error)));
                }
                Ok(()) => {
                    ready!(sent).map_err(os)?;
                    self.open = true;
                    self.release();
                    return Poll::Ready(Ok(Shaken::Done(Box::new(Established::of(
                        self.ssl.ssl(),
                    )))));
                }
                Err(_) => ready!(sent).map_err(os)?,
            }
            ready!(self.poll_fill(cx)).map_err(os)?;
        }
    }

    /// What a script may know of the handshake, which waits for an answer to `question`.
    pub fn handshake(&self, question: Question) -> Handshake {
        Handshake::of(self.ssl.ssl(), question)
    }

    /// What a script may know of a handshake that is done and has made a session which it is to
    /// keep; once.
    pub fn new_session(&mut self) -> Option<Handshake> {
        let session = made(unwrapped::ssl_of(&mut self.ssl))?;
        Some(Handshake::with(self.ssl.ssl(), &session))
    }

    /// A script has answered: [`Self::poll_handshake`] goes on as `wanted`, or fails where it is
    /// `None`.
    ///
    /// # Errors
    /// What OpenSSL does not take of it; the handshake fails then.
    pub fn answer(&mut self, question: Question, wanted: Option<Wanted>) -> Result<(), String> {
        let ssl = unwrapped::ssl_of(&mut self.ssl);
        let goes_on = wanted.is_some();
        let applied = wanted.map_or(Ok(()), |it| it.apply(ssl));
        answered(ssl, question, goes_on && applied.is_ok());
        applied
    }

    /// Reads from the stream below what is there.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let memory = self.ssl.get_mut();
        memory.incoming.reserve(READ_BYTES);
        let read = pin!(self.socket.read_buf(&mut memory.incoming)).poll(cx);
        match read {
            Poll::Ready(Ok(count)) => {
                memory.ended |= count == 0;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }

    /// Sends what OpenSSL has said.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let memory = self.ssl.get_mut();
        while !memory.outgoing.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &memory.outgoing);
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            memory.outgoing.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// An idle connection keeps no large buffers.
    fn release(&mut self) {
        let memory = self.ssl.get_mut();
        if memory.incoming.is_empty() {
            memory.incoming = BytesMut::new();
        }
        if memory.outgoing.is_empty() && memory.outgoing.capacity() > KEPT_BYTES {
            memory.outgoing = BytesMut::new();
        }
    }

    fn encrypt(&mut self, bytes: &[u8]) -> Result<usize, ssl::Error> {
        let most = bytes.len().min(self.batch);
        let mut done = 0;
        while done < most {
            done += self.ssl.ssl_write(&bytes[done..most])?;
        }
        Ok(done)
    }
}

/// How far a handshake has come.
#[derive(Debug)]
pub enum Shaken {
    /// To its end.
    Done(Box<Established>),
    /// A script is to be asked.
    Asked(Question),
}

/// The question that a handshake waits for, if it is that what it waits for.
fn question(error: &ssl::Error, ssl: &SslRef) -> Option<Question> {
    match error.code() {
        ErrorCode::WANT_CLIENT_HELLO_CB => Some(asked_of_hello(ssl)),
        code if code.as_raw() == unwrapped::WANT_CERTIFICATE => Some(Question::Certificate),
        _ => None,
    }
}

/// What breaks a connection that stood: `SSL_read() failed (SSL: …)`.
fn broken(call: &str, error: ssl::Error) -> io::Error {
    match error.ssl_error() {
        Some(errors) => io::Error::other(format!("{call} failed{}", queue(errors))),
        None => error.into_io_error().unwrap_or_else(|_| io::ErrorKind::UnexpectedEof.into()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buffer.remaining() > 0 {
            match unwrapped::read(&mut this.ssl, buffer) {
                Ok(_) => {
                    this.release();
                    break;
                }
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => {}
                    ErrorCode::ZERO_RETURN => break,
                    _ => return Poll::Ready(Err(broken("SSL_read()", error))),
                },
            }
            // What has come may want an answer; it need not be sent before more is read.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(this.poll_fill(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    /// Done when all that was taken of `bytes` is sent; until then it must be called again with
    /// the same.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.promised == 0 {
            this.promised = this.encrypt(bytes).map_err(|it| broken("SSL_write()", it))?;
        }
        ready!(this.poll_send(cx))?;
        this.release();
        Poll::Ready(Ok(std::mem::take(&mut this.promised).min(bytes.len())))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.open) {
            // The farewell is in the buffer; the peer's is not waited for.
            let _ = this.ssl.shutdown();
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for TlsStream<S> {
    fn drop(&mut self) {
        // In the middle of a write the peer must not take what it has for the whole.
        if self.open && self.promised == 0 {
            let _ = self.ssl.shutdown();
            // What the socket does not take at once is not worth waiting for.
            let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
        }
    }
}
