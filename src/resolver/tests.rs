//! The resolver against a tiny DNS server on loopback.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket as Socket;

/// A DNS server whose answers follow from the name's first label: `a-1-2` has the addresses
/// 10.0.0.1 and 10.0.0.2, `code-N` is answered with that code, `silent` not at all, `none` without
/// records; `turn-N` is good the first time and answered with code N later.
struct Server {
    address: String,
    asked: Arc<AtomicU64>,
}

async fn server(ttl_s: u32) -> Server {
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

fn resolver(server: &Server, valid_ms: Option<u64>, timeout_ms: u64) -> Resolver {
    let settings = model::Resolver {
        servers: vec![server.address.clone()],
        valid_ms,
        ipv4: true,
        ..model::Resolver::default()
    };
    Resolver::new(&settings, timeout_ms).unwrap()
}

fn forget_freshness(resolver: &Resolver, name: &str) {
    resolver.entry(name).answer.lock().as_mut().unwrap().until_ms = 0;
}

#[tokio::test]
async fn answers_are_kept_for_their_ttl() {
    let server = server(300).await;
    let resolver = resolver(&server, None, 5000);
    let expected: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    for name in ["a-1-2.example", "A-1-2.Example."] {
        let answer = resolver.answer(name).await.unwrap();
        let mut addresses = answer.addresses.to_vec();
        addresses.sort();
        assert_eq!(addresses, expected);
        let left = answer.until_ms - clock::monotonic().as_ms();
        assert!((290_000..=300_000).contains(&left), "{left}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
    forget_freshness(&resolver, "a-1-2.example");
    resolver.resolve("a-1-2.example").await.unwrap();
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn valid_overrides_the_ttl_and_zero_is_a_second() {
    let server = server(0).await;
    let left = |answer: Answer| answer.until_ms - clock::monotonic().as_ms();
    let own = resolver(&server, Some(20_000), 5000).answer("a-1.example").await.unwrap();
    assert!((19_000..=20_000).contains(&left(own)));
    let zero = resolver(&server, None, 5000).answer("a-1.example").await.unwrap();
    assert!((500..=1000).contains(&left(zero)));
}

#[tokio::test]
async fn equal_questions_at_one_time_are_one_query() {
    let server = server(300).await;
    let resolver = resolver(&server, None, 5000);
    let ask = || resolver.resolve("a-7.example");
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    assert_eq!(first, second);
    assert_eq!(second, third);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn faults_read_as_nginxs() {
    let server = server(300).await;
    let resolver = resolver(&server, None, 5000);
    for (name, reason) in [
        ("code-3.example", "(3: Host not found)"),
        ("none.example", "(3: Host not found)"),
        ("code-2.example", "(2: Server failure)"),
        ("code-5.example", "(5: Operation refused)"),
    ] {
        let error = resolver.resolve(name).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{name} could not be resolved {reason}"));
    }
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    let server = server(300).await;
    let error = resolver(&server, None, 20).resolve("silent.example").await.unwrap_err();
    let expected = "silent.example could not be resolved (110: Operation timed out)";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn the_last_good_answer_outlives_a_broken_server_but_not_the_name() {
    let broken = server(300).await;
    let resolver_ = resolver(&broken, None, 5000);
    let good = resolver_.resolve("turn-2.example").await.unwrap();
    forget_freshness(&resolver_, "turn-2.example");
    let stale = resolver_.answer("turn-2.example").await.unwrap();
    assert_eq!(stale.addresses, good);
    assert!(stale.until_ms <= clock::monotonic().as_ms() + STALE_MS);

    let gone = server(300).await;
    let resolver_ = resolver(&gone, None, 5000);
    resolver_.resolve("turn-3.example").await.unwrap();
    forget_freshness(&resolver_, "turn-3.example");
    assert_eq!(resolver_.resolve("turn-3.example").await.unwrap_err().code, 3);
}

#[tokio::test]
async fn addresses_and_localhost_need_no_server() {
    let resolver = Resolver::system();
    assert_eq!(*resolver.resolve("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    let local = resolver.resolve("localhost").await.unwrap();
    assert!(local.iter().all(IpAddr::is_loopback), "{local:?}");
}

#[test]
fn server_addresses_are_ips() {
    let text = |server: &str| address_of(server).map(|it| it.to_string());
    assert_eq!(text("127.0.0.1").as_deref(), Some("127.0.0.1:53"));
    assert_eq!(text("127.0.0.1:5353").as_deref(), Some("127.0.0.1:5353"));
    assert_eq!(text("[::1]").as_deref(), Some("[::1]:53"));
    assert_eq!(text("[::1]:5353").as_deref(), Some("[::1]:5353"));
    let settings = model::Resolver { servers: vec!["dns".into()], ..Default::default() };
    let error = Resolver::new(&settings, 1).unwrap_err();
    assert_eq!(error.to_string(), "host not found in resolver \"dns\"");
}
