//! Ports that nobody else uses.

use socket2::{Domain, Socket, Type};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the kernel's ephemeral range, so that no outgoing connection takes one of them, and five
/// digits each, so that texts with two different ports have the same length.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A port of 127.0.0.1 that is free now; given out once in this process.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<(HashSet<u16>, u16)>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (taken, next) = given.get_or_insert_with(|| (HashSet::new(), first()));
    for _ in RANGE {
        *next = if *next + 1 < RANGE.end { *next + 1 } else { RANGE.start };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *next));
        if !taken.contains(next) && TcpListener::bind(address).is_ok() {
            taken.insert(*next);
            return *next;
        }
    }
    panic!("no free port in {RANGE:?}");
}

/// Test processes that run at once begin at different places.
fn first() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.subsec_nanos());
    let seed = now.wrapping_mul(2_654_435_761) ^ std::process::id().wrapping_mul(40_503);
    RANGE.start + (seed % u32::from(RANGE.end - RANGE.start)) as u16
}

/// A port that refuses every connection for as long as this lives: it is bound and never listens.
pub struct Refusing {
    /// The port, of 127.0.0.1.
    pub port: u16,
    _socket: Socket,
}

impl Refusing {
    /// Takes a port.
    pub fn start() -> Self {
        loop {
            let port = free();
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if socket.bind(&address.into()).is_ok() {
                return Self { port, _socket: socket };
            }
        }
    }
}
