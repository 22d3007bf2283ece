//! Peers that come and go, over both ways to an upstream: what is known of them changes at its
//! thresholds and no sooner, and nobody storms them with connections.

use crate::harness::client::get;
use crate::harness::frames;
use crate::harness::raw_origin::{RawOrigin, read_head};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, settles};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What a peer has been asked.
#[derive(Default)]
struct Asked {
    probes: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A peer whose probe number N, from 0, passes where `passes` says so; each takes longer than the
/// time between two of them.
fn probed(passes: impl Fn(usize) -> bool + Send + Sync + 'static) -> (RawOrigin, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let counts = Arc::clone(&asked);
    let origin = RawOrigin::start(move |_, stream| {
        let now = counts.now.fetch_add(1, SeqCst) + 1;
        counts.most.fetch_max(now, SeqCst);
        if read_head(stream).is_some() {
            let number = counts.probes.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(30));
            let status = if passes(number) { 200 } else { 500 };
            let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        }
        counts.now.fetch_sub(1, SeqCst);
    });
    (origin, asked)
}

fn checked(origin: &RawOrigin) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
        "worker_processes 2; error_log logs/changes.log info; http { upstream pool { server $ORIGIN;\n\
         health_check interval=20ms fails=2 passes=2; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }",
    )
}

fn changes(server: &Server) -> (usize, usize) {
    let log = server.read("logs/changes.log");
    (log.matches("\" is unhealthy").count(), log.matches("\" is healthy").count())
}

#[test]
fn a_peer_that_fails_every_other_probe_changes_nothing() {
    let (origin, asked) = probed(|number| number % 2 == 0);
    let server = checked(&origin);
    eventually("it is probed", || (asked.probes.load(SeqCst) >= 30).then_some(()));
    assert_eq!(changes(&server), (0, 0));
    assert_eq!(asked.most.load(SeqCst), 1, "one connection at a time, of all workers");
}

#[test]
fn a_peer_that_flaps_changes_once_a_threshold() {
    // Three good ones, three bad ones, and so on; the last ones are good.
    let (origin, asked) = probed(|number| (number / 3) % 2 == 0 || number >= 33);
    let server = checked(&origin);
    eventually("it is probed", || (asked.probes.load(SeqCst) >= 40).then_some(()));
    settles("each threshold is crossed once", (5, 5), || changes(&server));
    assert_eq!(asked.most.load(SeqCst), 1);
}

/// A peer that is there as long as `is_up` says so, and how often it was asked while it was not.
fn flapping(http2: bool, is_up: &Arc<AtomicBool>) -> (RawOrigin, Arc<AtomicUsize>) {
    let (is_up, in_vain) = (Arc::clone(is_up), Arc::new(AtomicUsize::new(0)));
    let counts = Arc::clone(&in_vain);
    let origin = RawOrigin::start(move |_, stream| {
        if !is_up.load(SeqCst) {
            counts.fetch_add(1, SeqCst);
            return;
        }
        if !http2 {
            while read_head(stream).is_some() && is_up.load(SeqCst) {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback");
            }
        } else if frames::begin(stream) {
            while let Some(id) = frames::next_request(stream).filter(|_| is_up.load(SeqCst)) {
                frames::answer(stream, id, "back");
            }
        }
    });
    (origin, in_vain)
}

#[test]
fn requests_go_on_while_a_peer_comes_and_goes_and_seldom_ask_it() {
    for http2 in [false, true] {
        let is_up = Arc::new(AtomicBool::new(true));
        let (bad, in_vain) = flapping(http2, &is_up);
        let (good, _) = flapping(http2, &Arc::new(AtomicBool::new(true)));
        let server = Setup::new(Kind::Moongate)
            .with("BAD", format!("127.0.0.1:{}", bad.port))
            .with("GOOD", format!("127.0.0.1:{}", good.port))
            .with("VERSION", if http2 { "2" } else { "1.1" })
            .start(
                "worker_processes 2; http { upstream pool { server $BAD fail_timeout=1s; \
                 server $GOOD; keepalive 8; }\n\
                 server { listen 127.0.0.1:$PORT; proxy_http_version $VERSION;\n\
                 proxy_set_header Connection \"\"; location / { proxy_pass http://pool; } } }",
            );
        let (port, began) = (server.port(), Instant::now());
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    let mut answered = 0;
                    while !over.load(SeqCst) {
                        assert_eq!(get(port, "/").status(), 200, "the other peer serves");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(200));
            is_up.fetch_xor(true, SeqCst);
        }
        over.store(true, SeqCst);
        let answered: usize = clients.into_iter().map(|it| it.join().expect("all are 200")).sum();
        // Once each second somebody looks; before that each client may have been on its way.
        let looks = 4 + 4 * usize::try_from(began.elapsed().as_secs()).expect("few") + 4;
        let in_vain = in_vain.load(SeqCst);
        assert!((1..=looks).contains(&in_vain), "{in_vain} of {answered}, http2: {http2}");
        assert!(answered > 5 * looks, "{answered}");
    }
}

#[test]
fn a_queue_serves_http2_upstreams_as_well() {
    let origin = crate::harness::h2_origin::H2Origin::start(100);
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
            "http { upstream pool { server $ORIGIN max_conns=1; queue 1 timeout=5s; }\n\
             server { listen 127.0.0.1:$PORT; proxy_http_version 2; proxy_read_timeout 700ms;\n\
             location / { proxy_pass http://pool; } location /metrics { metrics; } } }",
        );
    let port = server.port();
    let hangs = thread::spawn(move || get(port, "/hang").status());
    settles("it hangs", 1, || origin.open());
    let waits = thread::spawn(move || get(port, "/").text());
    let line = "moongate_upstream_queue_requests{upstream=\"pool\"} 1\n";
    eventually("one waits", || get(port, "/metrics").text().contains(line).then_some(()));
    assert_eq!(get(port, "/").status(), 503);
    assert_eq!(hangs.join().expect("an answer"), 504);
    assert_eq!(waits.join().expect("an answer"), "fine");
}
