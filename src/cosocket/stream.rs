//! One connection: TCP or a unix socket, plain or TLS. Everything here is polled and never blocks.

use crate::cosocket::error::Error;
use crate::cosocket::pipe::Pipe;
use crate::cosocket::tls;
use crate::sys::raw_stream::RawStream;
use crate::sys::socket::Address;
use openssl::ssl::ShutdownState;
use openssl::ssl::SslStream;
use std::fmt;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A unix socket.
    Unix(PathBuf),
    /// An address.
    Address(SocketAddr),
    /// A name to be resolved, and the port.
    Name(String, u16),
}

impl Target {
    /// What a script means by `host` and `port`: `unix:/path`, an address, a name.
    ///
    /// # Errors
    /// `failed to parse host name "…": …`, nginx's words.
    pub fn parse(host: &[u8], port: u16) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(host).into_owned();
        let fault = |what| Error::Text(format!("failed to parse host name \"{text}\": {what}"));
        if let Some(path) = strip_unix(&text) {
            return match path.len() {
                0 => Err(fault("no path in the unix domain socket")),
                1..=107 => Ok(Self::Unix(path.into())),
                _ => Err(fault("too long path in the unix domain socket")),
            };
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or_else(|| fault("invalid host"))?;
            let port = port_after(after, port).ok_or_else(|| fault("invalid port"))?;
            let address = inside.parse().map_err(|_| fault("invalid IPv6 address"))?;
            return Ok(Self::Address(SocketAddr::new(IpAddr::V6(address), port)));
        }
        let end = text.find(':').unwrap_or(text.len());
        let (name, after) = text.split_at(end);
        let port = port_after(after, port).ok_or_else(|| fault("invalid port"))?;
        if name.is_empty() {
            return Err(fault("no host"));
        }
        Ok(match name.parse() {
            Ok(address) => Self::Address(SocketAddr::new(IpAddr::V4(address), port)),
            Err(_) => Self::Name(name.to_owned(), port),
        })
    }
}

/// The path of `unix:/path`, whose first word may be written in any case.
pub fn strip_unix(host: &str) -> Option<&str> {
    let scheme = host.get(..5)?;
    if scheme.eq_ignore_ascii_case("unix:") { host.get(5..) } else { None }
}

/// The port of `:80`, or the one given beside; `None` is none.
fn port_after(text: &str, given: u16) -> Option<u16> {
    if text.is_empty() {
        return Some(given);
    }
    text.strip_prefix(':')?.parse().ok().filter(|it| *it != 0)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(RawStream),
    /// Within TLS.
    Tls(Box<Secured>),
    /// The client's own.
    Client(Rc<Pipe>),
}

/// A connection within TLS.
#[derive(Debug)]
pub struct Secured(pub SslStream<RawStream>);

impl Drop for Secured {
    fn drop(&mut self) {
        // Nothing is sent, as nginx does it; a session whose connection is not shut down at all
        // could not be resumed.
        self.0.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
    }
}

impl Stream {
    /// Connects to `target`, which is no name, from `local` if that is given.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn connect(target: &Target, local: Option<IpAddr>) -> io::Result<Self> {
        let address = match target {
            Target::Unix(path) => Address::Unix(path.clone()),
            Target::Address(address) => Address::Tcp(*address),
            Target::Name(..) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let local = local.map(|it| SocketAddr::new(it, 0));
        Ok(Self::Plain(RawStream::connect(&address, local).await?))
    }

    /// The bare socket; that of a client belongs to somebody else.
    pub fn raw(&self) -> Option<&RawStream> {
        match self {
            Self::Plain(raw) => Some(raw),
            Self::Tls(stream) => Some(stream.0.get_ref()),
            Self::Client(_) => None,
        }
    }

    /// Reads what has come; 0 bytes are the end.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self {
                // After a short read this does not ask the system again before it has said more.
                Self::Plain(raw) => {
                    let mut room = ReadBuf::new(room);
                    ready!(Pin::new(raw).poll_read(cx, &mut room))?;
                    return Poll::Ready(Ok(room.filled().len()));
                }
                Self::Tls(stream) => {
                    let need = match stream.0.ssl_read(room).map_err(tls::need) {
                        Ok(count) => return Poll::Ready(Ok(count)),
                        Err(tls::Need::Nothing(end)) => return Poll::Ready(end.map(|()| 0)),
                        Err(need) => need,
                    };
                    ready!(poll_need(stream.0.get_ref(), need, cx))?;
                }
                Self::Client(pipe) => return pipe.poll_read(cx, room),
            }
        }
    }

    /// Writes some of `bytes`.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self {
                Self::Plain(raw) => match raw.write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(raw.poll_writable(cx))?;
                    }
                    result => return Poll::Ready(result),
                },
                Self::Tls(stream) => {
                    let need = match stream.0.ssl_write(bytes).map_err(tls::need) {
                        Ok(count) => return Poll::Ready(Ok(count)),
                        Err(tls::Need::Nothing(end)) => {
                            let gone = io::ErrorKind::BrokenPipe.into();
                            return Poll::Ready(end.and(Err(gone)));
                        }
                        Err(need) => need,
                    };
                    ready!(poll_need(stream.0.get_ref(), need, cx))?;
                }
                Self::Client(pipe) => return pipe.poll_write(cx, bytes),
            }
        }
    }

    /// What an idle connection has to say: pending while it is silent, `false` for its end or an
    /// error, `true` for bytes that nobody asked for (they are lost).
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut byte = [0];
        self.poll_read(cx, &mut byte).map(|it| matches!(it, Ok(1)))
    }
}

/// Waits for what TLS needs of the socket.
pub fn poll_need(raw: &RawStream, need: tls::Need, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match need {
        tls::Need::Read => raw.poll_readable(cx),
        tls::Need::Write => raw.poll_writable(cx),
        tls::Need::Nothing(result) => Poll::Ready(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_nginx_reads_them() {
        let parse = |host: &str| match Target::parse(host.as_bytes(), 80) {
            Ok(target) => target.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(parse("127.0.0.1"), "127.0.0.1:80");
        assert_eq!(parse("127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(parse("[::1]"), "[::1]:80");
        assert_eq!(parse("example.org"), "example.org:80");
        assert_eq!(parse("unix:/tmp/x.sock"), "unix:/tmp/x.sock");
        assert_eq!(parse("UNIX:/x"), "unix:/x");
        assert_eq!(parse(""), "failed to parse host name \"\": no host");
        assert_eq!(parse("a:b"), "failed to parse host name \"a:b\": invalid port");
        assert_eq!(parse("[::1"), "failed to parse host name \"[::1\": invalid host");
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(parse(&long).ends_with("too long path in the unix domain socket"));
    }
}
