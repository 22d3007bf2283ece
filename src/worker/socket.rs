//! Sockets that listen, on a worker's event loop.

use crate::sys::raw_stream::RawStream;
use crate::sys::socket::Listener;
use std::io;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

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
    pub async fn accept(&self) -> io::Result<RawStream> {
        Ok(match self {
            Self::Tcp(it) => RawStream::Tcp(it.accept().await?.0),
            Self::Unix(it) => RawStream::Unix(it.accept().await?.0),
        })
    }

    /// Stops listening; gives those who had connected already. The event loop may not have heard
    /// of them yet, so the socket itself is asked.
    ///
    /// # Errors
    /// When the socket cannot be taken off the event loop.
    pub fn close(self) -> io::Result<Vec<RawStream>> {
        let mut waiting = Vec::new();
        match self {
            Self::Tcp(it) => {
                let listener = it.into_std()?;
                while let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(true)?;
                    waiting.push(RawStream::Tcp(TcpStream::from_std(client)?));
                }
            }
            Self::Unix(it) => {
                let listener = it.into_std()?;
                while let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(true)?;
                    waiting.push(RawStream::Unix(UnixStream::from_std(client)?));
                }
            }
        }
        Ok(waiting)
    }
}
