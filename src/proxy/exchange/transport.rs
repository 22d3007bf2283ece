//! What carries the bytes of an exchange with a peer.

use super::Timeouts;
use crate::sys::raw_stream::RawStream;
use crate::tls::{self, Client, TlsStream};
use crate::upstream::Peer;
use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// With whom TLS is spoken.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Secured {
    /// How.
    pub client: Arc<Client>,
    /// `proxy_ssl_name`
    pub name: Box<str>,
    /// The name is sent.
    pub sends_name: bool,
}

/// Why a peer cannot be talked to.
#[derive(Debug)]
pub(in crate::proxy) enum Unreachable {
    /// connect(2) says so.
    Connect(io::Error),
    /// There was no handshake in time.
    HandshakeTimedOut,
    /// What is wrong with the handshake, or with the peer's certificate.
    Handshake(String),
}

/// A connection to a peer as the kernel gives it, or TLS.
#[derive(Debug)]
pub(in crate::proxy) enum Transport {
    /// In the clear.
    Plain(RawStream),
    /// TLS.
    Tls(Box<TlsStream<RawStream>>),
}

impl Transport {
    /// Connects within `proxy_connect_timeout`, from `local` if that is given, and shakes hands
    /// within it once more.
    ///
    /// # Errors
    /// The peer refuses, is too slow, or is not who it should be.
    pub async fn connect(
        peer: &Peer,
        timeouts: Timeouts,
        secured: Option<&Secured>,
        local: Option<SocketAddr>,
    ) -> Result<Self, Unreachable> {
        let connect = RawStream::connect(&peer.address, local);
        let stream = match timeout(timeouts.connect, connect).await {
            Ok(connected) => connected.map_err(Unreachable::Connect)?,
            Err(_) => return Err(Unreachable::Connect(io::ErrorKind::TimedOut.into())),
        };
        let Some(Secured { client, name, sends_name }) = secured else {
            return Ok(Self::Plain(stream));
        };
        let whom = tls::Peer { address: &peer.address_text, name, sends_name: *sends_name };
        match timeout(timeouts.connect, client.secure(stream, whom)).await {
            Ok(Ok(shaken)) => Ok(Self::Tls(Box::new(shaken))),
            Ok(Err(why)) => Err(Unreachable::Handshake(why)),
            Err(_) => Err(Unreachable::HandshakeTimedOut),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_read(cx, buffer),
            Self::Tls(it) => Pin::new(it).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_write(cx, bytes),
            Self::Tls(it) => Pin::new(it).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_write_vectored(cx, slices),
            Self::Tls(it) => Pin::new(it).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(it) => it.is_write_vectored(),
            Self::Tls(it) => it.is_write_vectored(),
        }
    }

    /// Nothing is kept back: what a write over TLS has taken is sent before it is done.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Self::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
