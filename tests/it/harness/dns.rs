//! A name server on loopback whose answers the test decides.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a name is answered with.
#[derive(Clone, Debug)]
pub enum Records {
    /// These addresses; none is an empty answer.
    Addresses(Vec<Ipv4Addr>),
    /// A response code: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing at all.
    Silence,
}

/// A running name server; it stops when this goes.
pub struct Dns {
    /// Its port on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    names: Mutex<HashMap<String, Records>>,
    queries: Mutex<Vec<String>>,
    ttl_s: u32,
    stop: AtomicBool,
}

impl Dns {
    /// Starts one whose records live `ttl_s` seconds. What it was not told is NXDOMAIN.
    pub fn start(ttl_s: u32) -> Self {
        let port = super::ports::free();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let shared = Arc::new(Shared {
            names: Mutex::default(),
            queries: Mutex::default(),
            ttl_s,
            stop: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&socket)
        });
        Self { port, shared, thread: Some(thread) }
    }

    /// From now on `name` is answered so.
    pub fn set(&self, name: &str, records: Records) {
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), records);
    }

    /// How often `name` was asked for.
    pub fn queries(&self, name: &str) -> usize {
        let queries = self.shared.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.iter().filter(|it| *it == name).count()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut packet = [0; 1500];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
            if let Some(answer) = self.answer(&packet[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// RFC 1035: the question again, and A records that point to its name.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut at = 12;
        while *query.get(at)? > 0 {
            let label = query.get(at + 1..at + 1 + usize::from(query[at]))?;
            name.push(String::from_utf8_lossy(label).to_lowercase());
            at += label.len() + 1;
        }
        let question = query.get(..at + 5)?;
        let is_a = question[at + 1..at + 3] == [0, 1];
        let name = name.join(".");
        if is_a {
            self.queries.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        }
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, addresses) = match names.get(&name).cloned().unwrap_or(Records::Code(3)) {
            Records::Silence => return None,
            Records::Code(code) => (code, Vec::new()),
            Records::Addresses(addresses) if is_a => (0, addresses),
            Records::Addresses(_) => (0, Vec::new()),
        };
        let mut answer = question.to_vec();
        let count = u8::try_from(addresses.len()).ok()?;
        answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        for address in addresses {
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(self.ttl_s.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}
