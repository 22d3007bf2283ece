//! A probe's connection: TCP or a unix socket.

use crate::sys::errno::Errno;
use crate::upstream::peer::PeerAddr;
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
