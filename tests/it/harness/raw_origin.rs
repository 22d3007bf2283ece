//! An origin that a test writes byte by byte: each connection is given to a script as it is.

use super::PATIENCE;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A listener that hands its connections to a script; it lives as long as the test's process.
pub struct RawOrigin {
    /// Its port on 127.0.0.1.
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl RawOrigin {
    /// Runs `script` with the number of each connection, from 0, and the connection, which closes
    /// when it returns.
    pub fn start(script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, count) = (Arc::new(script), Arc::clone(&connections));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (number, script) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&script));
                stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
                stream.set_write_timeout(Some(PATIENCE)).expect("it is a socket");
                stream.set_nodelay(true).expect("it is a socket");
                thread::spawn(move || script(number, &mut stream));
            }
        });
        Self { port, connections }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a head, byte by byte so that nothing behind it is taken; `None` when there is none.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The connection ends with a reset rather than with an end when it is closed.
pub fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("it is a socket");
}
