//! Upstreams that break off, say nonsense, say too much, or nothing: what the client sees of it,
//! and that the next client sees none of it.

use crate::harness::client::{Client, Response, get, request};
use crate::harness::raw_origin::{RawOrigin, read_head, reset};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::settles;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A gateway that keeps connections to `origin` and talks HTTP/1.1 to it.
fn kept(origin: &RawOrigin, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ upstream pool {{ server $ORIGIN max_fails=0; keepalive 8; }}\n\
         log_format s '$status $upstream_status $upstream_bytes_received \
         $upstream_response_length'; access_log logs/access.log s;\n\
         server {{ listen 127.0.0.1:$PORT; client_max_body_size 50m;\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; {settings}\n\
         location / {{ proxy_pass http://pool; }} }} }}"
    ))
}

fn fine(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").expect("it is read");
}

/// Answers `/fine` on any connection, and everything else with `bytes` and, where `ends`, nothing
/// more.
fn saying(bytes: impl Into<Vec<u8>>, ends: bool) -> RawOrigin {
    let bytes = bytes.into();
    RawOrigin::start(move |_, stream| {
        while let Some(head) = read_head(stream) {
            if head.starts_with("GET /fine ") {
                fine(stream);
                continue;
            }
            // The gateway may have seen enough.
            let _ = stream.write_all(&bytes);
            if ends {
                return;
            }
        }
    })
}

/// What a client sees of `bytes`: the status, or how its answer broke.
fn seen(bytes: &str, ends: bool) -> (Result<Response, ErrorKind>, Server, RawOrigin) {
    let origin = saying(bytes, ends);
    let server = kept(&origin, "");
    let mut client = Client::connect(server.port()).expect("it listens");
    let answer = client.get("/").map_err(|it| it.kind());
    assert_eq!(get(server.port(), "/fine").text(), "fine", "the next client is unharmed");
    (answer, server, origin)
}

#[track_caller]
fn refused(bytes: &str, logged: &str) {
    let (answer, server, origin) = seen(bytes, false);
    assert_eq!(answer.map(|it| it.status()), Ok(502), "{bytes:.80}");
    server.expect_logged(logged);
    assert_eq!(origin.connections(), 2, "the connection is not used again: {bytes:.80}");
}

#[test]
fn heads_that_are_none_are_a_502() {
    refused("garbage\r\n\r\n", "upstream sent no valid HTTP/1.0 header while reading response");
    refused("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "upstream sent invalid header while reading");
    refused(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "upstream sent duplicate header line",
    );
    refused(
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "upstream sent invalid \"Content-Length\" header",
    );
    refused(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "at the same time",
    );
    refused(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
        "upstream switches protocols unasked",
    );
}

#[test]
fn a_head_has_a_limit() {
    let big = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "x".repeat(300_000));
    refused(&big, "upstream sent too big header while reading response header from upstream");
    let origin = saying(&*big, false);
    let server = kept(&origin, "proxy_buffer_size 301k;");
    assert_eq!(get(server.port(), "/").header("x").map(str::len), Some(300_000));
}

#[test]
fn two_thousand_interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n".repeat(1000);
    let bytes = interim + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (answer, _server, origin) = seen(&bytes, false);
    let answer = answer.expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!((answer.interim.len(), answer.header("link")), (0, None));
    assert_eq!(origin.connections(), 1);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_001);
    refused(&endless, "upstream sent too many interim responses");
}

#[test]
fn bytes_behind_a_response_are_not_taken_for_the_next_one() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let rows = [
        ("Content-Length: 2\r\n\r\nok", "more data than specified in \"Content-Length\" header"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "data after final chunk"),
    ];
    for (response, logged) in rows {
        let bytes = format!("HTTP/1.1 200 OK\r\n{response}{second}");
        let (answer, server, origin) = seen(&bytes, false);
        assert_eq!(answer.expect("an answer").text(), "ok");
        server.expect_logged(logged);
        assert_eq!(origin.connections(), 2);
    }
}

#[test]
fn a_body_that_breaks_off_is_seen_to_break_off() {
    let rows = [
        ("Content-Length: 50\r\n\r\nhello", "upstream prematurely closed connection", "44 5"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "upstream prematurely closed connection",
            "57 10",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            "upstream sent invalid chunked response",
            "61 14",
        ),
    ];
    for (response, logged, counted) in rows {
        let (answer, server, _origin) = seen(&format!("HTTP/1.1 200 OK\r\n{response}"), true);
        let error = answer.expect_err("it is cut");
        let is_cut = matches!(error, ErrorKind::UnexpectedEof | ErrorKind::InvalidData);
        assert!(is_cut, "{response}: {error}");
        server.expect_logged(&format!("{logged} while reading upstream"));
        let line = format!("200 200 {counted}");
        settles("it is logged", Some(line), || {
            server.read("logs/access.log").lines().next().map(str::to_owned)
        });
    }
}

#[test]
fn a_reset_within_a_body_is_seen_too() {
    for framing in ["Content-Length: 50\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"]
    {
        let origin = RawOrigin::start(move |_, stream| {
            read_head(stream);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}");
            sleep(Duration::from_millis(100));
            reset(stream);
        });
        let server = kept(&origin, "");
        let mut client = Client::connect(server.port()).expect("it listens");
        assert!(client.get("/").is_err(), "{framing}");
        server
            .expect_logged("recv() failed (104: Connection reset by peer) while reading upstream");
    }
}

#[test]
fn a_body_until_the_end_of_the_connection_is_whole() {
    let (answer, _server, origin) = seen("HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello", true);
    let answer = answer.expect("an answer");
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(origin.connections(), 2);
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    for (method, response) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let origin = saying(response, false);
        let server = kept(&origin, "");
        for _ in 0..3 {
            assert!(request(server.port(), method, "/", "").body.is_empty());
        }
        assert_eq!(get(server.port(), "/fine").text(), "fine");
        assert_eq!(origin.connections(), 1, "{method} {response}");
    }
}

#[test]
fn an_end_or_a_reset_before_the_head_is_a_502() {
    for resets in [false, true] {
        let origin = RawOrigin::start(move |_, stream| {
            read_head(stream);
            if resets {
                reset(stream);
            }
        });
        let server = kept(&origin, "");
        assert_eq!(get(server.port(), "/").status(), 502);
        server.expect_logged(match resets {
            true => "recv() failed (104: Connection reset by peer) while reading response header",
            false => "upstream prematurely closed connection while reading response header",
        });
    }
}

#[test]
fn a_slow_head_is_waited_for_and_a_silent_peer_is_a_504() {
    let origin = RawOrigin::start(|_, stream| {
        let head = read_head(stream).unwrap_or_default();
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let bytes = if head.starts_with("GET /slow ") { text } else { "HTTP/1.1 200" };
        for byte in bytes.as_bytes() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            sleep(Duration::from_millis(15));
        }
        // Until the gateway gives up.
        let _ = stream.read(&mut [0; 9]);
    });
    let server = kept(&origin, "proxy_read_timeout 500ms;");
    assert_eq!(get(server.port(), "/slow").text(), "ok", "no byte is late, though the whole is");
    let began = Instant::now();
    assert_eq!(get(server.port(), "/hangs").status(), 504);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
    let logged = "upstream timed out (110: Connection timed out) while reading response header";
    server.expect_logged(logged);
}

#[test]
fn a_body_that_stops_is_cut_at_its_time() {
    let origin = saying("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", false);
    let server = kept(&origin, "proxy_read_timeout 300ms;");
    let mut client = Client::connect(server.port()).expect("it listens");
    assert_eq!(client.get("/").expect_err("it is cut").kind(), ErrorKind::UnexpectedEof);
    server.expect_logged("upstream timed out (110: Connection timed out) while reading upstream");
}

#[test]
fn stale_connections_cost_no_request() {
    // A connection answers once and closes when it is used again.
    let origin = RawOrigin::start(|_, stream| {
        read_head(stream);
        fine(stream);
        read_head(stream);
    });
    let server = kept(&origin, "proxy_next_upstream off;");
    let mut client = Client::connect(server.port()).expect("it listens");
    for _ in 0..60 {
        assert_eq!(client.get("/").expect("an answer").text(), "fine");
    }
    let lines = server.read("logs/access.log");
    assert!(lines.lines().all(|it| it.starts_with("200 ")), "{lines}");
}

#[test]
fn a_post_on_a_stale_connection_is_not_repeated() {
    let origin = RawOrigin::start(|_, stream| {
        read_head(stream);
        fine(stream);
        // It takes the second request and dies of it.
        read_head(stream);
    });
    let server = kept(&origin, "");
    assert_eq!(get(server.port(), "/").text(), "fine");
    assert_eq!(request(server.port(), "POST", "/", "Content-Length: 0\r\n").status(), 502);
    assert_eq!(origin.connections(), 1);
}
