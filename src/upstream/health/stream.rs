//! A probe's connection: TCP or a unix socket, and TLS over it.

use crate::sys::errno::Errno;
use crate::tls::{self, RECORD_BYTES, TlsStream};
use crate::upstream::check::CheckTls;
use crate::upstream::peer::PeerAddr;
use bytes::BytesMut;
use std::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// What a probe talks over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects; the error reads as nginx's: `connect() failed (111: Connection refused)`.
pub(super) async fn connect(address: &PeerAddr) -> Result<Box<dyn Io>, String> {
    let connected: std::io::Result<Box<dyn Io>> = match address {
        PeerAddr::Tcp(address) => TcpStream::connect(address).await.map(|it| Box::new(it) as _),
        PeerAddr::Unix(path) => UnixStream::connect(path).await.map(|it| Box::new(it) as _),
    };
    connected.map_err(|error| format!("connect() failed {}", Errno(&error)))
}

/// Shakes hands over `stream` with the peer at `address`.
///
/// # Errors
/// nginx's words: no handshake, or the peer is not who it should be.
pub(super) async fn secure(
    stream: Box<dyn Io>,
    address: &str,
    tls: &CheckTls,
) -> Result<Box<dyn Io>, String> {
    let CheckTls { client, name, sends_name } = tls;
    let short = |it: openssl::error::ErrorStack| format!("SSL_new() failed: {it}");
    let whom = tls::Peer { address, name, sends_name: *sends_name };
    let ssl = client.connect(whom).map_err(short)?;
    let mut stream = TlsStream::new(ssl, stream, BytesMut::new(), RECORD_BYTES).map_err(short)?;
    poll_fn(|cx| stream.poll_handshake(cx)).await?;
    client.check(stream.ssl(), name)?;
    Ok(Box::new(stream))
}
