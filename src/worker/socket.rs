//! Sockets of either kind: those that listen, and those of clients.

use crate::request::connection::Address;
use crate::sys::socket::Listener;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A client's socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// The client's end and ours.
    ///
    /// # Errors
    /// When the client is gone already.
    pub fn ends(&self) -> io::Result<(Address, Address)> {
        Ok(match self {
            Self::Tcp(it) => (Address::Inet(it.peer_addr()?), Address::Inet(it.local_addr()?)),
            Self::Unix(_) => (Address::Unix, Address::Unix),
        })
    }

    /// Sends small writes at once, and asks a silent client now and then whether it is there.
    ///
    /// # Errors
    /// When the client is gone already.
    pub fn set_options(&self, keepalive: bool) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        tcp.set_nodelay(true)?;
        if keepalive { socket2::SockRef::from(tcp).set_keepalive(true) } else { Ok(()) }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(it) => it.as_raw_fd(),
            Self::Unix(it) => it.as_raw_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_read(cx, buffer),
            Self::Unix(it) => Pin::new(it).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_write(cx, bytes),
            Self::Unix(it) => Pin::new(it).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_flush(cx),
            Self::Unix(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_shutdown(cx),
            Self::Unix(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}

/// A listening socket on this worker's event loop.
#[derive(Debug)]
pub(super) enum Queue {
    /// For TCP.
    Tcp(TcpListener),
    /// For a unix socket.
    Unix(UnixListener),
}

impl Queue {
    /// Puts `listener` on the event loop of this thread.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(it) => Self::Tcp(TcpListener::from_std(it)?),
            Listener::Unix(it) => Self::Unix(UnixListener::from_std(it)?),
        })
    }

    /// The next client.
    ///
    /// # Errors
    /// As accept(2) has them.
    pub async fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(it) => Socket::Tcp(it.accept().await?.0),
            Self::Unix(it) => Socket::Unix(it.accept().await?.0),
        })
    }

    /// Stops listening; gives those who had connected already. The event loop may not have heard
    /// of them yet, so the socket itself is asked.
    ///
    /// # Errors
    /// When the socket cannot be taken off the event loop.
    pub fn close(self) -> io::Result<Vec<Socket>> {
        let mut waiting = Vec::new();
        match self {
            Self::Tcp(it) => {
                let listener = it.into_std()?;
                while let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(true)?;
                    waiting.push(Socket::Tcp(TcpStream::from_std(client)?));
                }
            }
            Self::Unix(it) => {
                let listener = it.into_std()?;
                while let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(true)?;
                    waiting.push(Socket::Unix(UnixStream::from_std(client)?));
                }
            }
        }
        Ok(waiting)
    }
}
