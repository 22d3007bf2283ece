//! Clients that misbehave, leave early, or send a lot.

use crate::harness::client::{Client, get};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use crate::harness::{eventually, settles};
use std::time::{Duration, Instant};

fn proxied(origin: &Origin, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ {settings} server {{ listen 127.0.0.1:$PORT;\n\
         location / {{ proxy_pass http://$ORIGIN; }} location /fine {{ return 200 fine; }} }} }}"
    ))
}

#[test]
fn a_head_that_does_not_end_is_cut_in_its_time() {
    let server = gateway(
        "http { client_header_timeout 400ms; server { listen 127.0.0.1:$PORT; return 200 x; } }",
    );
    let began = Instant::now();
    let mut client = Client::connect(server.port()).expect("it listens");
    // A byte now and then does not prolong the time: it is for the whole head.
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(3) && client.send("G").is_ok() {
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(sent < 40, "{sent} bytes were taken");
    assert_eq!(get(server.port(), "/").status(), 200);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = gateway("http { server { listen 127.0.0.1:$PORT; return 200 fine; } }");
    let mut client = Client::connect(server.port()).expect("it listens");
    let _ =
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "x".repeat(70_000)));
    let status = client.response("GET").map_or(0, |it| it.status());
    assert!(matches!(status, 0 | 400 | 431), "{status}");
    assert_eq!(get(server.port(), "/").text(), "fine");
}

#[test]
fn requests_are_not_smuggled() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let origin = Origin::saying("fine");
        let server = proxied(&origin, "");
        let mut client = Client::connect(server.port()).expect("it listens");
        client.send(request).expect("it reads");
        match client.response("POST") {
            Ok(answer) => assert!(matches!(answer.status(), 400 | 501), "{}", answer.head.start),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{request:?}")
            }
        }
        assert!(client.ends(), "{request:?} left the connection open");
        let complete = origin.received().into_iter().find(|it| it.body.is_empty());
        assert!(complete.is_none(), "{request:?} reached the origin: {complete:?}");
    }
}

#[test]
fn a_client_that_leaves_frees_its_upstream_connection() {
    let origin = Origin::start(|_| Answer::Hang);
    let server = proxied(&origin, "log_format s $status; access_log logs/access.log s;");
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    eventually("the origin has the request", || (!origin.received().is_empty()).then_some(()));
    drop(client);
    settles("it is logged as a client's abort", "499\n".to_owned(), || {
        server.read("logs/access.log")
    });
    assert_eq!(get(server.port(), "/fine").text(), "fine");
}

#[test]
fn large_bodies_pass_whole_both_ways() {
    let origin = Origin::start(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Answer::new("200 OK", "Content-Type: text/plain\r\n", &body)
    });
    let server = proxied(&origin, "client_max_body_size 20m;");
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20, 10 << 20] {
        let body: String = (0..size).map(|it| char::from(b'a' + (it % 23) as u8)).collect();
        for is_chunked in [false, true] {
            let mut client = Client::connect(server.port()).expect("it listens");
            let (framing, sent) = if is_chunked {
                let chunks = body.as_bytes().chunks(50_000);
                let chunks = chunks
                    .map(|it| format!("{:x}\r\n{}\r\n", it.len(), String::from_utf8_lossy(it)));
                ("Transfer-Encoding: chunked".into(), chunks.collect::<String>() + "0\r\n\r\n")
            } else {
                (format!("Content-Length: {size}"), body.clone())
            };
            client
                .send(format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{sent}"))
                .expect("it reads");
            let answer = client.response("POST").unwrap_or_else(|it| panic!("{size}: {it}"));
            assert_eq!(answer.status(), 200, "{size} chunked {is_chunked}");
            assert!(answer.text() == body, "{size} chunked {is_chunked}: {}", answer.body.len());
        }
    }
}

#[test]
fn a_body_read_by_lua_reaches_the_upstream_whole() {
    let origin =
        Origin::start(|request| Answer::ok(if request.body.is_empty() { "0" } else { "1" }));
    let server = Setup::new(Kind::Moongate)
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
        .start(
            "http { client_max_body_size 20m; server { listen 127.0.0.1:$PORT;\n\
             location / { access_by_lua_block { ngx.req.read_body() } proxy_pass http://$ORIGIN; } } }",
        );
    for size in [1, 16_384, 65_535, 65_537, 3 << 20] {
        let body = "b".repeat(size);
        let mut client = Client::connect(server.port()).expect("it listens");
        client
            .send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n{body}"))
            .expect("it reads");
        assert_eq!(client.response("POST").map(|it| it.status()).ok(), Some(200), "{size}");
        let received = origin.take_received();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].body.len(), size);
    }
}

#[test]
fn informational_answers_of_an_upstream_are_no_answer() {
    let text = "HTTP/1.1 100 Continue\r\n\r\n".repeat(50)
        + "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let origin = Origin::start(move |_| Answer::bytes(text.clone()));
    let server = proxied(&origin, "");
    for _ in 0..3 {
        let answer = get(server.port(), "/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "fine"));
    }
}

#[test]
fn many_idle_connections_do_not_disturb() {
    let server = gateway("http { server { listen 127.0.0.1:$PORT; return 200 fine; } }");
    let idle: Vec<Client> =
        (0..300).map(|_| Client::connect(server.port()).expect("it listens")).collect();
    assert_eq!(get(server.port(), "/").text(), "fine");
    drop(idle);
    assert_eq!(get(server.port(), "/").text(), "fine");
}
