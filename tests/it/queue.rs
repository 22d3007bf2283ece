//! Upstreams that are asked for more than they can do: `max_conns` and `queue`.

use crate::harness::client::{Client, get};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{LONG_PATIENCE, eventually, eventually_within, settles};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What lets a peer answer: how many more it may.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicU32>);

impl Gate {
    /// All are answered from now on.
    fn open(&self) {
        self.0.store(u32::MAX, Ordering::SeqCst);
    }

    /// One more is answered.
    fn let_one_through(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn wait(&self) {
        eventually_within(LONG_PATIENCE, "the gate opens", || {
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).ok()
        });
    }
}

/// Two workers before a pool with one peer, which answers when the gate is open.
fn gated(pool: &str) -> (Origin, Server, Gate) {
    let gate = Gate::default();
    let its = gate.clone();
    let (origin, server) = gateway(pool, move || {
        its.wait();
        Answer::ok("served")
    });
    (origin, server, gate)
}

fn gateway(pool: &str, answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Origin, Server) {
    let origin = Origin::start(move |_| answer());
    let server = Setup::new(Kind::Moongate)
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
        .start(&format!(
            "worker_processes 2; http {{ upstream pool {{ {pool} }} log_format l \
                 \"$uri $status $upstream_addr $upstream_status\"; access_log logs/access.log l;\n\
                 server {{ listen 127.0.0.1:$PORT; location / {{ proxy_pass http://pool; }}\n\
                 location /fast {{ return 200 fast; }} location /metrics {{ metrics; }} }} }}"
        ));
    (origin, server)
}

fn ask(server: &Server, uri: &str) -> Client {
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send(format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n")).expect("it reads");
    client
}

/// Waits until `count` requests stand in the queue.
fn waiting(server: &Server, count: usize) {
    let line =
        |count: usize| format!("moongate_upstream_queue_requests{{upstream=\"pool\"}} {count}\n");
    eventually("the queue is that long", || {
        get(server.port(), "/metrics").text().contains(&line(count)).then_some(())
    });
}

#[test]
fn a_request_waits_its_turn_and_one_too_many_is_told_to_come_again() {
    let (origin, server, gate) = gated("server $ORIGIN max_conns=2; queue 3;");
    let mut served: Vec<Client> = (0..2).map(|_| ask(&server, "/first")).collect();
    settles("both are served", 2, || origin.received().len());
    for count in 1..=3 {
        served.push(ask(&server, &format!("/{count}")));
        waiting(&server, count);
    }
    let refused = get(server.port(), "/refused");
    assert_eq!((refused.status(), refused.header("retry-after")), (503, Some("1")));
    assert_eq!(get(server.port(), "/fast").text(), "fast");
    assert_eq!(origin.received().len(), 2, "nobody has been served in between");
    // Two that have their turn at once are two workers', either of which may be the faster.
    for turn in 1..=3 {
        gate.let_one_through();
        settles("the next is served", 2 + turn, || origin.received().len());
    }
    gate.open();
    for client in &mut served {
        assert_eq!(client.response("GET").expect("an answer").text(), "served");
    }
    let order: Vec<_> = origin.received().iter().map(|it| it.target().to_owned()).collect();
    assert_eq!(order, ["/first", "/first", "/1", "/2", "/3"]);
    server.expect_logged("upstream queue is full while connecting to upstream");
    let line = "/refused 503 pool 503";
    eventually("it is logged", || server.read("logs/access.log").contains(line).then_some(()));
    let metrics = get(server.port(), "/metrics").text();
    let counted = r#"moongate_upstream_queue_refused_total{reason="full",upstream="pool"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    waiting(&server, 0);
}

#[test]
fn who_waits_in_vain_or_leaves_makes_room() {
    let (origin, server, gate) = gated("server $ORIGIN max_conns=1; queue 1 timeout=300ms;");
    let mut first = ask(&server, "/");
    settles("it is served", 1, || origin.received().len());
    let left = ask(&server, "/left");
    waiting(&server, 1);
    drop(left);
    waiting(&server, 0);
    let began = Instant::now();
    let late = get(server.port(), "/late");
    assert_eq!((late.status(), late.header("retry-after")), (503, Some("1")));
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    server.expect_logged("while waiting in the queue of upstream \"pool\"");
    gate.open();
    assert_eq!(first.response("GET").expect("an answer").text(), "served");
    assert_eq!(origin.received().len(), 1, "neither has reached it");
}

#[test]
fn ten_times_what_it_can_do_is_served_in_part_and_refused_at_once_in_part() {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let its_most = Arc::clone(&most);
    let answer = move || {
        its_most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::ok("served")
    };
    let (origin, server) = gateway("server $ORIGIN max_conns=4; queue 8; keepalive 4;", answer);
    let mut clients: Vec<Client> = (0..40).map(|_| ask(&server, "/")).collect();
    let statuses: Vec<u16> =
        clients.iter_mut().map(|it| it.response("GET").expect("an answer").status()).collect();
    let served = statuses.iter().filter(|it| **it == 200).count();
    assert!(served >= 12, "{statuses:?}");
    assert!(statuses.iter().all(|it| [200, 503].contains(it)), "{statuses:?}");
    assert_eq!(origin.received().len(), served);
    assert_eq!(most.load(Ordering::SeqCst), 4, "at once");
    waiting(&server, 0);
    assert_eq!(get(server.port(), "/").status(), 200);
}

#[test]
fn without_a_queue_there_is_none_to_ask() {
    let (origin, server, gate) = gated("server $ORIGIN max_conns=1;");
    let mut first = ask(&server, "/");
    settles("it is served", 1, || origin.received().len());
    assert_eq!(get(server.port(), "/").status(), 502);
    server.expect_logged("no live upstreams while connecting to upstream");
    gate.open();
    assert_eq!(first.response("GET").expect("an answer").text(), "served");
}

#[test]
fn a_queue_outlives_a_reload_and_a_peer_more_serves_it() {
    let (origin, mut server, gate) = gated("server $ORIGIN max_conns=1; queue 5;");
    let other = Origin::saying("other");
    let mut first = ask(&server, "/");
    settles("it is served", 1, || origin.received().len());
    let mut second = ask(&server, "/");
    waiting(&server, 1);
    let conf = format!(
        "worker_processes 2; http {{ upstream pool {{ server 127.0.0.1:{} max_conns=1; queue 5; \
         server 127.0.0.1:{}; }} server {{ listen 127.0.0.1:$PORT; location / {{ proxy_pass \
         http://pool; }} location /metrics {{ metrics; }} }} }}",
        origin.port, other.port
    );
    server.rewrite_conf(&conf);
    server.signal(libc::SIGHUP);
    server.expect_logged("serves configuration 2");
    gate.open();
    // One that comes now stands behind it; what it waits for is the new configuration's.
    eventually("the new peer serves", || (get(server.port(), "/").text() == "other").then_some(()));
    for client in [&mut first, &mut second] {
        assert_eq!(client.response("GET").expect("an answer").text(), "served");
    }
}
