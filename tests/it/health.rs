//! Active health checks: what they carry, how fast they act, what outlives a reload.

use crate::harness::client::get;
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, settles};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An origin whose `/healthz` is as healthy as the switch says.
pub fn switched(body: &'static str) -> (Origin, Arc<AtomicBool>) {
    let is_healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_healthy);
    let origin = Origin::start(move |request| match request.target() {
        "/healthz" if !is_healthy.load(Ordering::SeqCst) => {
            Answer::new("503 Service Unavailable", "", "ill")
        }
        "/healthz" => Answer::ok("well"),
        _ => Answer::ok(body),
    });
    (origin, switch)
}

fn start(one: &Origin, two: &Origin, conf: &str) -> Server {
    Setup::new(Kind::Moongate)
        .with("ONE", format!("127.0.0.1:{}", one.port))
        .with("TWO", format!("127.0.0.1:{}", two.port))
        .start(conf)
}

const CHECKED: &str = "http { upstream pool { server $ONE; server $TWO;\n\
     health_check uri=/healthz interval=50ms fails=2 passes=2 header \"X-Canary-Version: v2\"; }\n\
     server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }";

/// The bodies of ten requests, sorted, each once.
fn answers(server: &Server) -> Vec<String> {
    let mut texts: Vec<String> = (0..10).map(|_| get(server.port(), "/").text()).collect();
    texts.sort();
    texts.dedup();
    texts
}

#[test]
fn probes_carry_the_canary_label() {
    let ((one, _), (two, _)) = (switched("one"), switched("two"));
    let _server = start(&one, &two, CHECKED);
    for origin in [&one, &two] {
        let probe = eventually("a probe", || {
            origin.received().into_iter().find(|it| it.target() == "/healthz")
        });
        assert_eq!(probe.method(), "GET");
        assert_eq!(probe.header("x-canary-version"), Some("v2"));
        assert!(probe.header("host").is_some());
    }
}

#[test]
fn probes_start_without_any_request_and_come_once_a_process() {
    let ((one, _), (two, _)) = (switched("one"), switched("two"));
    let conf = CHECKED.replace("interval=50ms", "interval=60s");
    let _server = start(&one, &two, &format!("worker_processes 3; {conf}"));
    eventually("a probe of each", || {
        (!one.received().is_empty() && !two.received().is_empty()).then_some(())
    });
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
}

#[test]
fn a_peer_leaves_when_its_checks_fail_and_comes_back_when_they_pass() {
    let ((one, switch), (two, _)) = (switched("one"), switched("two"));
    let server = start(&one, &two, CHECKED);
    settles("both serve", vec!["one".to_owned(), "two".to_owned()], || answers(&server));
    switch.store(false, Ordering::SeqCst);
    settles("only the healthy one serves", vec!["two".to_owned()], || answers(&server));
    switch.store(true, Ordering::SeqCst);
    settles("both serve again", vec!["one".to_owned(), "two".to_owned()], || answers(&server));
}

#[test]
fn health_outlives_a_reload() {
    let ((one, switch), (two, _)) = (switched("one"), switched("two"));
    let mut server = start(&one, &two, CHECKED);
    switch.store(false, Ordering::SeqCst);
    settles("only the healthy one serves", vec!["two".to_owned()], || answers(&server));
    let new = CHECKED.replace("location / {", "location = /new { return 200 new; } location / {");
    server.rewrite_conf(&new);
    server.signal(libc::SIGHUP);
    settles("the new configuration", "new".to_owned(), || get(server.port(), "/new").text());
    for _ in 0..20 {
        assert_eq!(answers(&server), ["two"]);
    }
}

#[test]
fn a_mandatory_peer_waits_for_its_first_pass() {
    let ((one, switch), (two, _)) = (switched("one"), switched("two"));
    switch.store(false, Ordering::SeqCst);
    let conf = CHECKED.replace("fails=2 passes=2", "mandatory");
    let server = start(&one, &two, &conf);
    settles("only the checked one serves", vec!["two".to_owned()], || answers(&server));
    switch.store(true, Ordering::SeqCst);
    settles("both serve", vec!["one".to_owned(), "two".to_owned()], || answers(&server));
}

#[test]
fn a_match_says_what_is_healthy() {
    let one = Origin::start(|_| Answer::new("200 OK", "X-Version: v1\r\n", "state: up"));
    let two = Origin::start(|_| Answer::new("200 OK", "X-Version: v2\r\n", "state: up"));
    let server = start(
        &one,
        &two,
        "http { match v2 { status 200-299; header X-Version = v2; body ~ \"state: up\"; }\n\
         upstream pool { server $ONE; server $TWO; health_check interval=50ms match=v2; }\n\
         server { listen 127.0.0.1:$PORT; add_header X-Addr $upstream_addr;\n\
         location / { proxy_pass http://pool; } } }",
    );
    let expected = Some(format!("127.0.0.1:{}", two.port));
    settles("only the matching one serves", vec![expected; 5], || {
        let addresses = (0..5).map(|_| get(server.port(), "/").header("x-addr").map(str::to_owned));
        addresses.collect()
    });
}

#[test]
fn a_tcp_check_needs_a_connection_only() {
    let ((one, _), (two, _)) = (switched("one"), switched("two"));
    let conf =
        CHECKED.replace("uri=/healthz", "type=tcp").replace(" header \"X-Canary-Version: v2\"", "");
    let server = start(&one, &two, &conf);
    drop(one);
    settles("only the listening one serves", vec!["two".to_owned()], || answers(&server));
    assert!(two.received().iter().all(|it| it.target() != "/healthz"));
}

#[test]
fn the_state_of_peers_is_told() {
    let ((one, switch), (two, _)) = (switched("one"), switched("two"));
    let server = start(&one, &two, CHECKED);
    switch.store(false, Ordering::SeqCst);
    let gauge =
        format!("moongate_upstream_peer_up{{peer=\"127.0.0.1:{}\",upstream=\"pool\"}} 0", one.port);
    settles("the metric of the peer", true, || {
        get(server.named_port("ADMIN"), "/metrics").text().contains(&gauge)
    });
    let status = get(server.named_port("ADMIN"), "/status").text();
    assert!(status.contains(&format!("127.0.0.1:{}", one.port)), "{status}");
    server.expect_logged("127.0.0.1:");
}
