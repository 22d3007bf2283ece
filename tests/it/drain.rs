//! How it ends: SIGQUIT lets requests finish, SIGTERM does not wait.

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use std::time::{Duration, Instant};

fn slow(delay: Duration) -> (Origin, Server) {
    let origin = Origin::start(move |_| Answer::ok("slow").after(delay));
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
            "http { server { listen 127.0.0.1:$PORT; location / { proxy_pass http://$ORIGIN; } } }",
        );
    (origin, server)
}

/// A request that has reached the origin.
fn in_flight(origin: &Origin, server: &Server) -> Client {
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    eventually("the origin has the request", || (!origin.received().is_empty()).then_some(()));
    client
}

#[test]
fn a_quiet_stop_finishes_what_is_in_flight() {
    let (origin, mut server) = slow(Duration::from_millis(700));
    let mut client = in_flight(&origin, &server);
    server.signal(libc::SIGQUIT);
    eventually("new connections are refused", || Client::connect(server.port()).err());
    let answer = client.response("GET").expect("the answer comes");
    assert_eq!(answer.text(), "slow");
    assert!(answer.closes(), "the connection is said to end");
    assert!(server.wait().success());
}

#[test]
fn a_quiet_stop_does_not_wait_for_idle_connections() {
    let mut server = gateway("http { server { listen 127.0.0.1:$PORT; return 200 x; } }");
    let mut client = Client::connect(server.port()).expect("it listens");
    client.get("/").expect("an answer");
    let began = Instant::now();
    server.signal(libc::SIGQUIT);
    assert!(server.wait().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(client.ends());
}

#[test]
fn a_quiet_stop_has_its_limit() {
    let origin = Origin::start(|_| Answer::Hang);
    let mut server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
            "worker_shutdown_timeout 300ms; http { server { listen 127.0.0.1:$PORT;\n\
             location / { proxy_pass http://$ORIGIN; } } }",
        );
    let _client = in_flight(&origin, &server);
    let began = Instant::now();
    server.signal(libc::SIGQUIT);
    server.wait();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_stop_does_not_wait() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (origin, mut server) = slow(Duration::from_secs(15));
        let _client = in_flight(&origin, &server);
        let began = Instant::now();
        server.signal(signal);
        assert!(server.wait().success(), "signal {signal}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

const FAREWELLS: &str = r#"worker_processes 2; http {
    init_worker_by_lua_block { kept = 0 }
    exit_worker_by_lua_block { ngx.log(ngx.NOTICE, "bye of $TAG in ", ngx.get_phase(), ", ", kept, " served") }
    server {
        listen 127.0.0.1:$PORT;
        location / { content_by_lua_block { kept = kept + 1 ngx.print(kept) } }
    }
}"#;

#[test]
fn a_worker_says_farewell_by_script() {
    let mut server = Setup::new(Kind::Moongate).with("TAG", "one").start(FAREWELLS);
    let mut client = Client::connect(server.port()).expect("it listens");
    assert_eq!(client.get("/").expect("an answer").text(), "1");
    drop(client);
    server.rewrite_conf(&FAREWELLS.replace("$TAG", "two"));
    server.signal(libc::SIGHUP);
    server.expect_logged("bye of one in exit_worker, 1 served");
    assert!(!server.error_log().contains("bye of two"));
    server.signal(libc::SIGQUIT);
    assert!(server.wait().success());
    let log = server.error_log();
    assert_eq!(log.matches("bye of one").count(), 2, "{log}");
    assert_eq!(log.matches("bye of two in exit_worker, 0 served").count(), 2, "{log}");
}
