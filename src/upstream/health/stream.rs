//! A probe's connection: TCP or a unix socket, and TLS over it.

use crate::sys::errno::Errno;
use crate::sys::raw_stream::RawStream;
use crate::tls;
use crate::upstream::check::CheckTls;
use crate::upstream::peer::PeerAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a probe talks over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects.
///
/// # Errors
/// nginx's words: `connect() failed (111: Connection refused)`.
pub(super) async fn connect(address: &PeerAddr) -> Result<RawStream, String> {
    let connected = RawStream::connect(address, None).await;
    connected.map_err(|error| format!("connect() failed {}", Errno(&error)))
}

/// Shakes hands over `stream` with the peer at `address`.
///
/// # Errors
/// nginx's words: no handshake, or the peer is not who it should be.
pub(super) async fn secure(
    stream: RawStream,
    address: &str,
    tls: &CheckTls,
) -> Result<Box<dyn Io>, String> {
    let CheckTls { client, name, sends_name } = tls;
    let whom = tls::Peer { address, name, sends_name: *sends_name };
    Ok(Box::new(client.secure(stream, whom).await?))
}
