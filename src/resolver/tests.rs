//! The resolver against a tiny DNS server on loopback.

use super::fake::{resolver, server};
use super::*;
use std::sync::atomic::Ordering;

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
