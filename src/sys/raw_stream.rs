//! A connected socket on this thread's event loop, over TCP or a unix socket: what carries the
//! bytes of clients, peers and cosockets alike.
//!
//! It is the same to read and write, whichever it is, and has no more between the caller and the
//! system than the socket itself.

use crate::sys::socket::Address;
use std::io;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// A connected socket that never blocks.
#[derive(Debug)]
pub enum RawStream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// `body` with the socket as `it`, whichever it is.
macro_rules! either {
    ($self:expr, $it:ident => $body:expr) => {
        match $self {
            RawStream::Tcp($it) => $body,
            RawStream::Unix($it) => $body,
        }
    };
}

impl RawStream {
    /// Connects to `address`, over TCP from `local` if that is given; small writes are sent at
    /// once.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2).
    pub async fn connect(address: &Address, local: Option<SocketAddr>) -> io::Result<Self> {
        let address = match address {
            Address::Unix(path) => return Ok(Self::Unix(UnixStream::connect(path).await?)),
            Address::Tcp(address) => *address,
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = local {
            socket.bind(local)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// The other end and ours; `None` for a unix socket, whose clients have no address.
    ///
    /// # Errors
    /// When the connection has ended already.
    pub fn ends(&self) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
        match self {
            Self::Tcp(it) => Ok(Some((it.peer_addr()?, it.local_addr()?))),
            Self::Unix(_) => Ok(None),
        }
    }

    /// Sends small writes at once, and asks a silent peer now and then whether it is there, if
    /// `keepalive` says so. A unix socket needs neither.
    ///
    /// # Errors
    /// When the connection has ended already.
    pub fn set_options(&self, keepalive: bool) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        tcp.set_nodelay(true)?;
        if keepalive { self.options().set_keepalive(true) } else { Ok(()) }
    }

    /// The socket, for its options.
    pub fn options(&self) -> socket2::SockRef<'_> {
        either!(self, it => it.into())
    }

    /// Waits until there may be something to read, or the other side has ended.
    ///
    /// # Errors
    /// When the event loop is gone.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, it => it.poll_read_ready(cx))
    }

    /// Waits until there may be room to write.
    ///
    /// # Errors
    /// When the event loop is gone.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, it => it.poll_write_ready(cx))
    }
}

/// For OpenSSL: what would have to wait is `WouldBlock`.
impl Read for RawStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        either!(self, it => it.try_read(room))
    }
}

/// As [`Read`] has it.
impl Write for RawStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, it => it.try_write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRawFd for RawStream {
    fn as_raw_fd(&self) -> RawFd {
        either!(self, it => it.as_raw_fd())
    }
}

impl AsyncRead for RawStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), it => Pin::new(it).poll_read(cx, buffer))
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), it => Pin::new(it).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), it => Pin::new(it).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sockets keep nothing back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), it => Pin::new(it).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    /// Says something in two slices, hears the answer, and sees the end.
    async fn talk(mut ours: RawStream, mut theirs: RawStream) {
        let slices = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
        assert_eq!(AsyncWriteExt::write_vectored(&mut ours, &slices).await.unwrap(), 5);
        let mut room = [0; 8];
        assert_eq!(AsyncReadExt::read(&mut theirs, &mut room).await.unwrap(), 5);
        assert_eq!(&room[..5], b"hello");
        let waits = Read::read(&mut ours, &mut room).unwrap_err();
        assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(Write::write(&mut theirs, b"you").unwrap(), 3);
        std::future::poll_fn(|cx| ours.poll_readable(cx)).await.unwrap();
        assert_eq!(Read::read(&mut ours, &mut room).unwrap(), 3);
        AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
        assert_eq!(AsyncReadExt::read(&mut ours, &mut room).await.unwrap(), 0);
    }

    #[test]
    fn tcp_connects_from_where_it_is_told_to() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let local = "127.0.0.7:0".parse().ok();
            let ours = RawStream::connect(&Address::Tcp(address), local).await.unwrap();
            let (accepted, from) = listener.accept().await.unwrap();
            let RawStream::Tcp(tcp) = &ours else { panic!("TCP") };
            assert!(tcp.nodelay().unwrap());
            assert_eq!(ours.ends().unwrap(), Some((address, from)));
            assert_eq!(from.ip().to_string(), "127.0.0.7");
            ours.set_options(true).unwrap();
            assert!(ours.options().keepalive().unwrap());
            talk(ours, RawStream::Tcp(accepted)).await;
        });
    }

    #[test]
    fn unix_sockets_are_talked_to_alike() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s");
            let listener = UnixListener::bind(&path).unwrap();
            let ours = RawStream::connect(&Address::Unix(path), None).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            assert_eq!(ours.ends().unwrap(), None);
            ours.set_options(true).unwrap();
            talk(ours, RawStream::Unix(accepted)).await;
        });
    }
}
