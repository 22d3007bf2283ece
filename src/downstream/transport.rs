//! What carries a client's bytes.

use crate::sys::raw_stream::RawStream;
use crate::tls::TlsStream;
use bytes::BytesMut;
use std::io;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A client's connection as the kernel gives it, or TLS.
#[derive(Debug)]
pub enum Transport {
    /// In the clear.
    Plain(RawStream),
    /// TLS.
    Tls(Box<TlsStream<RawStream>>),
    /// In the clear, and some was read already.
    Begun(Box<Begun>),
}

/// A connection whose first bytes were looked at.
#[derive(Debug)]
pub struct Begun {
    /// What was read, and is to be read again.
    pub bytes: BytesMut,
    /// What follows.
    pub rest: RawStream,
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Plain(it) => it.as_raw_fd(),
            Self::Tls(it) => it.socket().as_raw_fd(),
            Self::Begun(it) => it.rest.as_raw_fd(),
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
            Self::Begun(it) if !it.bytes.is_empty() => {
                let count = it.bytes.len().min(buffer.remaining());
                buffer.put_slice(&it.bytes.split_to(count));
                Poll::Ready(Ok(()))
            }
            Self::Begun(it) => Pin::new(&mut it.rest).poll_read(cx, buffer),
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
            Self::Begun(it) => Pin::new(&mut it.rest).poll_write(cx, bytes),
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
            Self::Begun(it) => Pin::new(&mut it.rest).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(it) => it.is_write_vectored(),
            Self::Tls(it) => it.is_write_vectored(),
            Self::Begun(it) => it.rest.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_flush(cx),
            Self::Tls(it) => Pin::new(it).poll_flush(cx),
            Self::Begun(it) => Pin::new(&mut it.rest).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Self::Tls(it) => Pin::new(it).poll_shutdown(cx),
            Self::Begun(it) => Pin::new(&mut it.rest).poll_shutdown(cx),
        }
    }
}
