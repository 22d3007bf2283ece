//! Peers by HTTP/2 that are away, come and go, or are slow: what it costs, and when they are back.

use crate::harness::client::get;
use crate::harness::frames;
use crate::harness::h2_origin::H2Origin;
use crate::harness::raw_origin::RawOrigin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{PATIENCE, ports, settles};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn gateway(bad: u16, good: u16, upstream: &str) -> Server {
    Setup::new(Kind::Moongate)
        .with("BAD", format!("127.0.0.1:{bad}"))
        .with("GOOD", format!("127.0.0.1:{good}"))
        .start(&format!(
            "http {{ upstream bad {{ server $BAD {upstream}; keepalive 2; }}\n\
             upstream good {{ server $GOOD; keepalive 2; }}\n\
             server {{ listen 127.0.0.1:$PORT; proxy_http_version 2; proxy_read_timeout 500ms;\n\
             location / {{ proxy_pass http://good; }}\n\
             location /bad {{ proxy_pass http://bad; }}\n\
             location /slow {{ proxy_pass http://bad/hang; }} }} }}"
        ))
}

#[test]
fn a_group_that_is_down_harms_no_other_and_its_first_success_puts_it_back() {
    let good = H2Origin::start(100);
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let bad = RawOrigin::start(move |_, stream| {
        if !up.load(Ordering::SeqCst) || !frames::begin(stream) {
            return;
        }
        while let Some(id) = frames::next_request(stream) {
            frames::answer(stream, id, "back");
        }
    });
    let server = gateway(bad.port, good.port, "max_fails=1 fail_timeout=1s");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(server.port(), "/bad").status(), 502);
        assert_eq!(get(server.port(), "/").text(), "fine");
    }
    assert!(began.elapsed() < PATIENCE / 2, "nobody waits for a peer that refuses");
    is_up.store(true, Ordering::SeqCst);
    settles("it is back", "back".to_owned(), || get(server.port(), "/bad").text());
}

#[test]
fn requests_that_hang_on_one_connection_let_those_on_others_go() {
    let (hanging, good) = (H2Origin::start(100), H2Origin::start(100));
    let server = gateway(hanging.port, good.port, "max_fails=0");
    let port = server.port();
    assert_eq!(get(port, "/bad").text(), "fine");
    let waiting: Vec<_> =
        (0..20).map(|_| thread::spawn(move || get(port, "/slow").status())).collect();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(port, "/").text(), "fine");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    for one in waiting {
        assert_eq!(one.join().expect("it ends"), 504);
    }
}

#[test]
fn all_that_wait_for_a_peer_that_is_away_are_told_at_once() {
    let nobody = ports::free();
    let good = H2Origin::start(100);
    let server = gateway(nobody, good.port, "max_fails=0");
    let port = server.port();
    let began = Instant::now();
    let waiting: Vec<_> =
        (0..30).map(|_| thread::spawn(move || get(port, "/bad").status())).collect();
    for one in waiting {
        assert_eq!(one.join().expect("it ends"), 502);
    }
    assert!(began.elapsed() < PATIENCE / 2);
    assert_eq!(get(port, "/").text(), "fine");
}
