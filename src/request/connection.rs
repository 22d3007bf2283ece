//! A client's connection, as its requests see it.

use crate::clock::Tick;
use std::cell::Cell;
use std::net::SocketAddr;
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
                std::net::IpAddr::V4(it) => it.octets().to_vec(),
                std::net::IpAddr::V6(it) => it.octets().to_vec(),
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
    /// The worker that serves it, from 0.
    pub worker: usize,
    /// Over TLS.
    pub is_tls: bool,
}
