//! A tiny DNS server on loopback for tests.

use super::Resolver;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket as Socket;

/// A DNS server whose answers follow from the name's first label: `a-1-2` has the addresses
/// 10.0.0.1 and 10.0.0.2, `code-N` is answered with that code, `silent` not at all, `none` without
/// records; `turn-N` is good the first time and answered with code N later; `grow` has one more
/// address each time.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: String,
    /// Queries so far.
    pub(crate) asked: Arc<AtomicU64>,
}

/// Starts one whose records live `ttl_s`.
pub(crate) async fn server(ttl_s: u32) -> Server {
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut packet = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            let query = &packet[..length];
            let turn = count.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = reply(query, ttl_s, turn) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    Server { address, asked }
}

fn reply(query: &[u8], ttl_s: u32, turn: u64) -> Option<Vec<u8>> {
    let label = std::str::from_utf8(&query[13..13 + usize::from(query[12])]).unwrap();
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let is_a = query[name_end..name_end + 2] == [0, 1];
    let (word, numbers) = label.split_once('-').unwrap_or((label, ""));
    let numbers: Vec<u8> = numbers.split('-').filter_map(|it| it.parse().ok()).collect();
    let (code, hosts) = match word {
        "silent" => return None,
        "a" if is_a => (0, numbers),
        "grow" => (0, (1..=turn as u8 + 1).collect()),
        "turn" if turn == 0 => (0, vec![9]),
        "code" | "turn" => (numbers[0], Vec::new()),
        _ => (0, Vec::new()),
    };
    let mut answer = query[..name_end + 4].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, hosts.len() as u8, 0, 0, 0, 0]);
    for host in hosts {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl_s.to_be_bytes());
        answer.extend([0, 4, 10, 0, 0, host]);
    }
    Some(answer)
}

/// A resolver that asks `server` for IPv4 addresses.
pub(crate) fn resolver(server: &Server, valid_ms: Option<u64>, timeout_ms: u64) -> Resolver {
    let settings = crate::config::model::Resolver {
        servers: vec![server.address.clone()],
        valid_ms,
        ipv4: true,
        ..crate::config::model::Resolver::default()
    };
    Resolver::new(&settings, timeout_ms).unwrap()
}
