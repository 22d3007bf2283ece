//! Connections for tests.

use crate::clock::Tick;
use crate::request::Connection;
use crate::request::connection::Address;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// A connection that was accepted at `accepted`.
pub fn connection(accepted: Tick) -> Rc<Connection> {
    let client = Address::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, 4711)));
    Rc::new(Connection {
        serial: 1,
        server: client.clone(),
        client,
        listener: "127.0.0.1:80".into(),
        accepted,
        ..Connection::without_client()
    })
}
