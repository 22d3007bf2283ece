//! A peer fails: the next one is asked, the failing one is left alone for a while.

use crate::harness::client::{get, request};
use crate::harness::origin::{Answer, Origin, Reply};
use crate::harness::ports::Refusing;
use crate::harness::server::{Kind, Setup};
use std::time::{Duration, Instant};

fn setup(origins: &[&Origin]) -> Setup {
    origins.iter().enumerate().fold(Setup::new(Kind::Moongate), |setup, (index, origin)| {
        setup.with(&format!("ORIGIN{}", index + 1), format!("127.0.0.1:{}", origin.port))
    })
}

#[test]
fn a_refusing_peer_is_left_out_after_its_first_failure() {
    let (dead, origin) = (Refusing::start(), Origin::saying("fine"));
    let server = setup(&[&origin]).with("DEAD", format!("127.0.0.1:{}", dead.port)).start(
        "http { upstream pool { server $DEAD; server $ORIGIN1; }\n\
         server { listen 127.0.0.1:$PORT; add_header X-Tried $upstream_addr;\n\
         location / { proxy_pass http://pool; } } }",
    );
    let tries: Vec<usize> = (0..6)
        .map(|_| {
            let answer = get(server.port(), "/");
            assert_eq!(answer.text(), "fine");
            answer.header("x-tried").unwrap_or_default().split(", ").count()
        })
        .collect();
    assert_eq!(tries.iter().filter(|it| **it == 2).count(), 1, "tries: {tries:?}");
    server.expect_logged("connect() failed (111: Connection refused)");
}

#[test]
fn a_peer_comes_back_after_its_fail_timeout() {
    let (dead, origin) = (Refusing::start(), Origin::saying("fine"));
    let server = setup(&[&origin]).with("DEAD", format!("127.0.0.1:{}", dead.port)).start(
        "http { upstream pool { server $DEAD fail_timeout=1s; server $ORIGIN1; }\n\
         server { listen 127.0.0.1:$PORT; add_header X-Tried $upstream_addr;\n\
         location / { proxy_pass http://pool; } } }",
    );
    let is_tried = || get(server.port(), "/").header("x-tried").is_some_and(|it| it.contains(", "));
    crate::harness::eventually("the dead peer is tried", || is_tried().then_some(()));
    assert!(!is_tried(), "it is out of the rotation");
    crate::harness::eventually("the dead peer is tried again", || is_tried().then_some(()));
}

#[test]
fn a_silent_peer_is_a_504_in_its_time() {
    let origin = Origin::start(|_| Answer::Hang);
    let server = setup(&[&origin]).start(
        "http { server { listen 127.0.0.1:$PORT;\n\
         location / { proxy_pass http://$ORIGIN1; proxy_read_timeout 300ms; } } }",
    );
    let began = Instant::now();
    assert_eq!(get(server.port(), "/").status(), 504);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_answer_is_never_asked_for_twice_once_it_began() {
    let cut = Reply {
        parts: vec![b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".to_vec()],
        close: true,
        ..Reply::default()
    };
    let first = Origin::start(move |_| Answer::Reply(cut.clone()));
    let second = Origin::saying("second");
    let server = setup(&[&first, &second]).start(
        "http { upstream pool { server $ORIGIN1 weight=1000; server $ORIGIN2; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }",
    );
    let mut client = crate::harness::client::Client::connect(server.port()).expect("it listens");
    let error = client.get("/").expect_err("the body is cut");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    assert_eq!(second.received().len(), 0);
}

/// The pooled connection is stale at once, or turns stale while the next request is on its way.
#[test]
fn a_kept_connection_that_the_peer_closed_costs_no_failure() {
    for pause in [0, 20] {
        let origin = Origin::start(move |_| {
            Answer::Reply(Reply {
                parts: vec![b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec(), vec![]],
                pause: Duration::from_millis(pause),
                close: true,
                ..Reply::default()
            })
        });
        let server = setup(&[&origin]).start(
            "http { upstream pool { server $ORIGIN1 max_fails=0; keepalive 4; }\n\
             server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; } } }",
        );
        for _ in 0..50 {
            let answer = get(server.port(), "/");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "fine"));
        }
    }
}

#[test]
fn a_post_is_not_sent_twice() {
    let first = Origin::start(|_| Answer::Close);
    let second = Origin::saying("second");
    let server = setup(&[&first, &second]).start(
        "http { upstream pool { server $ORIGIN1 weight=1000 max_fails=0; server $ORIGIN2; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }",
    );
    let answer = request(server.port(), "POST", "/", "Content-Length: 0\r\n");
    assert_eq!(answer.status(), 502);
    assert_eq!((first.received().len(), second.received().len()), (1, 0));
}

#[test]
fn all_peers_out_is_a_502_and_costs_no_connection() {
    let origin = Origin::start(|_| Answer::Close);
    let server = setup(&[&origin]).start(
        "http { upstream pool { server $ORIGIN1; server $ORIGIN1 down; server 127.0.0.1:1 down; }\n\
         upstream two { server $ORIGIN1; server 127.0.0.1:1; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://two; } } }",
    );
    assert_eq!(get(server.port(), "/").status(), 502);
    let connections = origin.connections();
    assert_eq!(get(server.port(), "/").status(), 502);
    assert_eq!(origin.connections(), connections);
    server.expect_logged("no live upstreams while connecting to upstream");
}
