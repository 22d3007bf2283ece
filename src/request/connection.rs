//! A client's connection, as its requests see it.

use crate::clock::Tick;
use crate::http::number;
use crate::tls::Established;
use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::protocols::raw_connect::ProxyDigest;
use send_wrapper::SendWrapper;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket: nginx shows its clients as `unix:`.
    Unix,
}

impl Address {
    /// The address without port, as `$remote_addr` shows it.
    pub fn host(&self) -> String {
        match self {
            Self::Inet(address) => address.ip().to_canonical().to_string(),
            Self::Unix => "unix:".into(),
        }
    }

    /// Appends what [`Address::host`] says.
    pub fn host_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inet(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    for (index, octet) in ip.octets().into_iter().enumerate() {
                        if index > 0 {
                            out.push(b'.');
                        }
                        number::decimal_into(out, u64::from(octet));
                    }
                }
                ip @ IpAddr::V6(_) => out.extend_from_slice(ip.to_string().as_bytes()),
            },
            Self::Unix => out.extend_from_slice(b"unix:"),
        }
    }

    /// The port; `None` for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix => None,
        }
    }

    /// The address in 4 or 16 bytes; `unix:` itself for a unix socket.
    pub fn octets(&self) -> Vec<u8> {
        match self {
            Self::Inet(address) => match address.ip() {
                IpAddr::V4(it) => it.octets().to_vec(),
                IpAddr::V6(it) => it.octets().to_vec(),
            },
            Self::Unix => b"unix:".to_vec(),
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Its serial number in this process: `*7` in logs, `$connection`.
    pub serial: u64,
    /// The client's end.
    pub client: Address,
    /// Our end.
    pub server: Address,
    /// The listener's address as configured.
    pub listener: Arc<str>,
    /// When it was accepted.
    pub accepted: Tick,
    /// Requests so far, the current one included.
    pub requests: Cell<u64>,
    /// Its listener drains: the response that it is at is its last.
    pub closing: Cell<bool>,
    /// `send_timeout` of the location that answers, milliseconds; 0 is no limit.
    pub send_timeout_ms: Cell<u64>,
    /// The worker that serves it, from 0.
    pub worker: usize,
    /// What the handshake came to; empty without TLS.
    pub tls: OnceCell<Box<Established>>,
    /// The client speaks without TLS where it should not: it is told so.
    pub misses_tls: Cell<bool>,
}

impl Connection {
    /// Whether it is over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.get().is_some()
    }

    /// That of a request which no client has sent: a timer's.
    pub fn without_client() -> Self {
        Self {
            serial: 0,
            client: Address::Unix,
            server: Address::Unix,
            listener: "".into(),
            accepted: crate::clock::monotonic(),
            requests: Cell::new(0),
            closing: Cell::new(false),
            send_timeout_ms: Cell::new(0),
            worker: 0,
            tls: OnceCell::new(),
            misses_tls: Cell::new(false),
        }
    }

    /// What the accept loop's stream gives to pingora, so that the requests on it find their
    /// connection again by [`Connection::of`].
    pub fn carried(self: &Rc<Self>) -> Option<Arc<ProxyDigest>> {
        // pingora has one free place in its digest, meant for a CONNECT proxy's response.
        let unused = Box::new(ResponseHeader::build(200, None).ok()?);
        let carried = Box::new(SendWrapper::new(Rc::clone(self)));
        Some(Arc::new(ProxyDigest::new(unused, Some(carried))))
    }

    /// The connection that the stream of a request carries. On its own worker only.
    pub fn of(digest: &Digest) -> Option<Rc<Self>> {
        let carried = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
        let connection = carried.downcast_ref::<SendWrapper<Rc<Self>>>()?;
        Some(Rc::clone(connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_their_connection() {
        let connection = Rc::new(Connection::without_client());
        let digest = Digest { proxy_digest: connection.carried(), ..Digest::default() };
        Connection::of(&digest).unwrap().requests.set(1);
        assert_eq!(connection.requests.get(), 1);
        assert!(Connection::of(&Digest::default()).is_none());
    }
}
