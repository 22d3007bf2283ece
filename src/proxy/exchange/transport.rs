//! What carries the bytes of an exchange with a peer.

use super::Timeouts;
use crate::tls::{Client, RECORD_BYTES, TlsStream};
use crate::upstream::{Peer, PeerAddr};
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

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
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over one of these.
    Tls(Box<TlsStream<Transport>>),
}

impl Transport {
    /// Connects within `proxy_connect_timeout`, and shakes hands within it once more.
    ///
    /// # Errors
    /// The peer refuses, is too slow, or is not who it should be.
    pub async fn connect(
        peer: &Peer,
        timeouts: Timeouts,
        secured: Option<&Secured>,
    ) -> Result<Self, Unreachable> {
        let plain = Self::plain(&peer.address, timeouts).await.map_err(Unreachable::Connect)?;
        let Some(secured) = secured else { return Ok(plain) };
        let handshake = plain.secure(&peer.address_text, secured);
        match tokio::time::timeout(timeouts.connect, handshake).await {
            Ok(shaken) => shaken.map_err(Unreachable::Handshake),
            Err(_) => Err(Unreachable::HandshakeTimedOut),
        }
    }

    async fn secure(self, address: &str, secured: &Secured) -> Result<Self, String> {
        let Secured { client, name, sends_name } = secured;
        let short = |it: openssl::error::ErrorStack| format!("SSL_new() failed: {it}");
        let whom = crate::tls::Peer { address, name, sends_name: *sends_name };
        let ssl = client.connect(whom).map_err(short)?;
        let stream = TlsStream::new(ssl, self, BytesMut::new(), RECORD_BYTES);
        let mut stream = stream.map_err(short)?;
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        client.check(stream.ssl(), name)?;
        Ok(Self::Tls(Box::new(stream)))
    }

    async fn plain(peer: &PeerAddr, timeouts: Timeouts) -> io::Result<Self> {
        let connect = async {
            Ok(match peer {
                PeerAddr::Tcp(address) => {
                    let tcp = TcpStream::connect(address).await?;
                    tcp.set_nodelay(true)?;
                    Self::Tcp(tcp)
                }
                PeerAddr::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
            })
        };
        match tokio::time::timeout(timeouts.connect, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
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
            Self::Tcp(it) => Pin::new(it).poll_read(cx, buffer),
            Self::Unix(it) => Pin::new(it).poll_read(cx, buffer),
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
            Self::Tcp(it) => Pin::new(it).poll_write(cx, bytes),
            Self::Unix(it) => Pin::new(it).poll_write(cx, bytes),
            Self::Tls(it) => Pin::new(it).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_write_vectored(cx, slices),
            Self::Unix(it) => Pin::new(it).poll_write_vectored(cx, slices),
            Self::Tls(it) => Pin::new(it).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_shutdown(cx),
            Self::Unix(it) => Pin::new(it).poll_shutdown(cx),
            Self::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
