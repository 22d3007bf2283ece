//! Upstreams by HTTP/2 (`proxy_http_version 2`, `grpc_pass`): one connection for many requests,
//! when a request is sent again and when not, and peers that break the rules.

use crate::harness::client::{Client, get, request};
use crate::harness::frames::{self, DATA, HEADERS, STATUS_200, field, frame, goaway};
use crate::harness::h2_origin::H2Origin;
use crate::harness::raw_origin::{RawOrigin, reset};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::tls::Identity;
use crate::harness::{eventually, settles};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A gateway to an origin by HTTP/2; `upstream` stands in its block, `settings` in the server.
fn gateway(port: u16, upstream: &str, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{port}")).start(&format!(
        "http {{ upstream pool {{ server $ORIGIN max_fails=0; {upstream} }}\n\
         log_format s '$status $upstream_status $upstream_bytes_received \
         $upstream_response_length $upstream_trailer_x_end'; access_log logs/access.log s;\n\
         server {{ listen 127.0.0.1:$PORT; client_max_body_size 50m;\n\
         proxy_http_version 2; {settings}\n\
         location / {{ proxy_pass http://pool; }} }} }}"
    ))
}

#[track_caller]
fn logged(server: &Server, lines: &str) {
    settles("access.log", lines.to_owned(), || server.read("logs/access.log"));
}

#[test]
fn requests_and_answers_pass() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "keepalive 2;", "");
    let mut client = Client::connect(server.port()).expect("it listens");
    let answer = client.get("/a%20b?x={1}").expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "fine"));
    assert_eq!(answer.header("x-origin"), Some("0"));
    let head = client.request("HEAD", "/", "").expect("an answer");
    assert_eq!((head.status(), head.text().as_str()), (200, ""));
    let long = "y".repeat(300_000);
    client
        .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{long}"))
        .expect("it is read");
    assert_eq!(client.response("POST").expect("an answer").text(), long);
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .expect("it is read");
    assert_eq!(client.response("POST").expect("an answer").text(), "abc");
    assert_eq!(client.get("/status/404").expect("an answer").status(), 404);
    assert_eq!(client.get("/size/10000000").expect("an answer").text().len(), 10_000_000);
    assert_eq!(origin.connections(), 1, "one serves all");
    let seen = origin.seen();
    assert_eq!(seen[0].line, "GET http://pool/a%20b?x={1}");
    assert!(!seen[0].fields.contains_key("connection"), "{:?}", seen[0].fields);
    assert_eq!(seen[2].fields["content-length"], "300000");
    let is_counted = || server.read("logs/access.log").contains("200 200 10000").then_some(());
    eventually("the body is counted", is_counted);
}

#[test]
fn many_requests_share_a_connection_up_to_what_the_peer_allows() {
    let origin = H2Origin::start(4);
    let server = gateway(origin.port, "keepalive 8;", "");
    let port = server.port();
    // The peer's SETTINGS are known from here on.
    assert_eq!(get(port, "/").text(), "fine");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(port).expect("it listens");
                let mut small = 0;
                for _ in 0..20 {
                    small += usize::from(
                        client.get("/size/70000").is_ok_and(|it| it.text().len() == 70_000),
                    );
                }
                small
            })
        })
        .collect();
    let right: usize = clients.into_iter().map(|it| it.join().expect("it ends")).sum();
    assert_eq!(right, 160);
    assert!(origin.connections() <= 3, "{} connections for 8 clients", origin.connections());
}

#[test]
fn connections_are_kept_as_the_upstream_says() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "", "");
    assert_eq!(get(server.port(), "/").text(), "fine");
    settles("without keepalive it is closed", 0, || origin.open());
    let server = gateway(origin.port, "keepalive 1; keepalive_requests 2;", "");
    for _ in 0..4 {
        assert_eq!(get(server.port(), "/").text(), "fine");
    }
    assert_eq!(origin.connections(), 3, "two requests each");
    let server = gateway(origin.port, "keepalive 1; keepalive_timeout 100ms;", "");
    assert_eq!(get(server.port(), "/").text(), "fine");
    settles("it times out", 0, || origin.open());
    drop(server);
}

#[test]
fn tls_asks_for_http2_and_verifies() {
    let authority = Identity::new("our CA");
    let origin = H2Origin::secure(&authority.signs("origin.test", 5));
    let server = Setup::new(Kind::Moongate)
        .file("conf/ca.pem", &authority.pem())
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
        .start(
            "http { server { listen 127.0.0.1:$PORT;\n\
             grpc_ssl_verify on; grpc_ssl_trusted_certificate ca.pem; proxy_http_version 2;\n\
             location /a { grpc_pass grpcs://$ORIGIN; grpc_ssl_name origin.test; }\n\
             location /b { grpc_pass grpcs://$ORIGIN; grpc_ssl_name other.test; }\n\
             location /c { proxy_pass https://$ORIGIN; } } }",
        );
    assert_eq!(get(server.port(), "/a").text(), "fine");
    assert_eq!(get(server.port(), "/b").status(), 502);
    server.expect_logged("upstream SSL certificate does not match \"other.test\"");
    assert_eq!(get(server.port(), "/c").text(), "fine");
    assert!(origin.seen()[0].line.starts_with("GET https://127.0.0.1"), "{:?}", origin.seen());
}

#[test]
fn a_body_is_passed_on_as_it_comes_and_the_answer_may_be_there_before_its_end() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "", "proxy_request_buffering off; proxy_buffering off;");
    let mut client = Client::connect(server.port()).expect("it listens");
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        .expect("it is read");
    let mut seen = Vec::new();
    while !seen.ends_with(b"2\r\nab\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(client.stream(), &mut byte).expect("the head, and two bytes");
        seen.push(byte[0]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"), "before the request has ended");
    client.send("2\r\ncd\r\n0\r\n\r\n").expect("it is read");
    let rest = "2\r\ncd\r\n0\r\n\r\n";
    let mut behind = vec![0; rest.len()];
    std::io::Read::read_exact(client.stream(), &mut behind).expect("the rest");
    assert_eq!(String::from_utf8_lossy(&behind), rest);
}

#[test]
fn a_client_that_leaves_resets_the_stream_and_nobody_elses() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "keepalive 2;", "");
    assert_eq!(get(server.port(), "/").text(), "fine");
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is read");
    let port = server.port();
    settles("it is under way", 2, || {
        get(port, "/");
        origin.most_streams()
    });
    drop(client);
    let hung = eventually("the stream ends", || {
        origin.seen().into_iter().find(|it| it.line.ends_with("/hang"))
    });
    assert_eq!(hung.reset, Some(h2::Reason::CANCEL));
    assert_eq!(get(server.port(), "/").text(), "fine");
    assert_eq!(origin.connections(), 1);
    eventually("a line", || server.read("logs/access.log").contains("499 ").then_some(()));
}

#[test]
fn a_slow_client_stops_its_own_answer_only() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "keepalive 2;", "");
    let mut slow = Client::connect(server.port()).expect("it listens");
    slow.send("GET /size/50000000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is read");
    let mut byte = [0];
    std::io::Read::read_exact(slow.stream(), &mut byte).expect("it begins");
    for _ in 0..20 {
        assert_eq!(get(server.port(), "/size/200000").text().len(), 200_000);
    }
    assert_eq!(origin.connections(), 1, "over the same connection");
}

/// Serves `answer` to each request, and on connections whose number `is_bad` says so `script`.
fn origin(
    is_bad: impl Fn(usize) -> bool + Send + Sync + 'static,
    script: impl Fn(&mut TcpStream, u32) + Send + Sync + 'static,
) -> RawOrigin {
    RawOrigin::start(move |number, stream| {
        if !frames::begin(stream) {
            return;
        }
        while let Some(id) = frames::next_request(stream) {
            match is_bad(number) {
                true => return script(stream, id),
                false => frames::answer(stream, id, "fine"),
            }
        }
    })
}

#[test]
fn what_the_peer_has_not_begun_is_sent_again_even_a_post() {
    // A connection serves one request, then says that it looks at nothing behind it.
    let origin = RawOrigin::start(|_, stream| {
        if !frames::begin(stream) {
            return;
        }
        let Some(first) = frames::next_request(stream) else { return };
        frames::answer(stream, first, "fine");
        if frames::next_request(stream).is_some() {
            stream.write_all(&goaway(first, 0)).expect("it is read");
            while frames::read(stream).is_some() {}
        }
    });
    let server = gateway(origin.port, "keepalive 1;", "");
    for number in 0..3 {
        let mut client = Client::connect(server.port()).expect("it listens");
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .expect("it is read");
        assert_eq!(client.response("POST").expect("an answer").text(), "fine", "{number}");
    }
    server.expect_logged("upstream sent goaway with error 0");
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_refused_stream_goes_to_the_next_peer_and_another_reset_of_a_post_does_not() {
    let refusing = |code: u32| {
        origin(
            |_| true,
            move |stream, id| {
                let bytes = frame(frames::RST_STREAM, 0, id, &code.to_be_bytes());
                stream.write_all(&bytes).expect("it is read");
                while frames::read(stream).is_some() {}
            },
        )
    };
    let good = H2Origin::start(100);
    let post = |refusing: &RawOrigin| {
        let upstream = format!("server 127.0.0.1:{} max_fails=0;", refusing.port);
        let server = gateway(good.port, &upstream, "");
        (0..4)
            .map(|_| request(server.port(), "POST", "/", "Content-Length: 0\r\n").status())
            .collect::<Vec<_>>()
    };
    assert_eq!(post(&refusing(7)), [200; 4], "REFUSED_STREAM");
    let mut statuses = post(&refusing(2));
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502], "INTERNAL_ERROR");
}

#[test]
fn a_connection_that_ends_unused_costs_nothing() {
    let origin = RawOrigin::start(|_, stream| {
        if frames::begin(stream)
            && let Some(id) = frames::next_request(stream)
        {
            frames::answer(stream, id, "fine");
            // And it closes without a word.
        }
    });
    let server = gateway(origin.port, "keepalive 1;", "");
    for _ in 0..10 {
        assert_eq!(get(server.port(), "/").text(), "fine");
    }
    assert!(!server.read("logs/access.log").contains("502\n"));
}

#[test]
fn a_peer_that_says_nothing_is_a_504_and_its_connection_is_not_used_again() {
    let origin = origin(|number| number == 0, |stream, _| while frames::read(stream).is_some() {});
    let server = gateway(origin.port, "keepalive 4;", "proxy_read_timeout 300ms;");
    let began = Instant::now();
    assert_eq!(get(server.port(), "/").status(), 504);
    assert!(began.elapsed() >= Duration::from_millis(300));
    server.expect_logged(
        "upstream timed out (110: Connection timed out) while reading response header",
    );
    assert_eq!(get(server.port(), "/").text(), "fine");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_peer_that_takes_nothing_of_a_body_is_a_504() {
    let origin = origin(|_| true, |stream, _| while frames::read(stream).is_some() {});
    let server = gateway(origin.port, "", "proxy_send_timeout 300ms;");
    let mut client = Client::connect(server.port()).expect("it listens");
    let body = "x".repeat(1_000_000);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head + &body).expect("it is read");
    assert_eq!(client.response("POST").expect("an answer").status(), 504);
    server.expect_logged("(110: Connection timed out) while sending request to upstream");
}

/// What a client gets when a peer does `script`, and what is logged of it.
#[track_caller]
fn broken(script: impl Fn(&mut TcpStream, u32) + Send + Sync + 'static, words: &str) {
    let origin = origin(|number| number == 0, script);
    let server = gateway(origin.port, "keepalive 4;", "proxy_next_upstream off;");
    assert_eq!(get(server.port(), "/").status(), 502, "{words}");
    server.expect_logged(words);
    assert_eq!(get(server.port(), "/").text(), "fine", "the next client is unharmed: {words}");
}

#[test]
fn peers_that_break_the_rules_are_a_502() {
    broken(
        |stream, _| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        "upstream sent invalid http2 frame",
    );
    broken(
        |stream, id| {
            // An index that HPACK's table has not.
            let _ = stream.write_all(&frame(HEADERS, 5, id, &[0xff, 0xff, 0x7f]));
            while frames::read(stream).is_some() {}
        },
        "upstream sent invalid http2 frame",
    );
    broken(
        |stream, id| {
            let many: Vec<_> = (0..60).flat_map(|_| field("x-a", &"a".repeat(100))).collect();
            let head = [STATUS_200, &many].concat();
            let _ = stream.write_all(&frame(HEADERS, 5, id, &head));
            // It is the stream that is bad, not the connection.
            while let Some(id) = frames::next_request(stream) {
                frames::answer(stream, id, "fine");
            }
        },
        "upstream sent too big header while reading response header from upstream",
    );
    broken(|stream, _| reset(stream), "while reading response header from upstream");
    broken(|_, _| {}, "upstream prematurely closed connection while reading response header");
    broken(
        |stream, id| {
            let _ = stream.write_all(&frame(frames::RST_STREAM, 0, id, &1u32.to_be_bytes()));
            while let Some(id) = frames::next_request(stream) {
                frames::answer(stream, id, "fine");
            }
        },
        "upstream rejected request with error 1 while reading response header from upstream",
    );
}

#[test]
fn an_answer_that_breaks_off_is_seen_to() {
    for (what, tail) in [
        ("the stream is reset", Some(frame(frames::RST_STREAM, 0, 1, &8u32.to_be_bytes()))),
        ("the connection ends", None),
    ] {
        let ends = tail.is_none();
        let origin = origin(
            |_| true,
            move |stream, id| {
                let head = frame(HEADERS, 4, id, STATUS_200);
                let body = frame(DATA, 0, id, b"half");
                let tail = tail.clone().unwrap_or_default();
                let _ = stream.write_all(&[head, body, tail].concat());
                if ends {
                    // Closing while something is unread would reset the connection, and what was
                    // said might be lost with it.
                    let _ = stream.shutdown(Shutdown::Write);
                }
                while frames::read(stream).is_some() {}
            },
        );
        let server = gateway(origin.port, "", "");
        let mut client = Client::connect(server.port()).expect("it listens");
        assert!(client.get("/").is_err(), "{what}: a chunked body without its end");
        logged(&server, "200 200 4 4 -\n");
        assert_eq!(origin.connections(), 1, "{what}: it is not sent again");
    }
}

#[test]
fn trailers_are_there_for_the_log_and_stay_behind_as_in_nginx() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "", "");
    let mut client = Client::connect(server.port()).expect("it listens");
    let answer = client.request("GET", "/", "TE: trailers\r\n").expect("an answer");
    assert_eq!(answer.text(), "fine");
    logged(&server, "200 200 13 4 yes\n");
}

#[test]
fn requests_that_come_while_a_connection_is_made_wait_for_it() {
    let origin = H2Origin::start(100);
    let server = gateway(origin.port, "keepalive 4;", "");
    let port = server.port();
    let clients: Vec<_> = (0..20).map(|_| thread::spawn(move || get(port, "/").text())).collect();
    for client in clients {
        assert_eq!(client.join().expect("it ends"), "fine");
    }
    assert!(origin.connections() <= 2, "{} connections", origin.connections());
    let nobody = crate::harness::ports::free();
    let server = gateway(nobody, "keepalive 4;", "");
    let port = server.port();
    let clients: Vec<_> = (0..20).map(|_| thread::spawn(move || get(port, "/").status())).collect();
    for client in clients {
        assert_eq!(client.join().expect("it ends"), 502);
    }
}
