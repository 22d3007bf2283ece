//! What HTTP/2 lets a peer say and HTTP forbids: a 502 or an answer that is seen to break off, and
//! nothing of it reaches the next client.

use crate::harness::client::{Client, get};
use crate::harness::frames::{self, DATA, HEADERS, STATUS_200, field, frame};
use crate::harness::raw_origin::RawOrigin;
use crate::harness::server::{Kind, Server, Setup};
use std::io::Write;
use std::net::TcpStream;

const CONTINUATION: u8 = 9;

/// A peer that says `bytes(stream)` to its first request and `fine` to all others, on whatever
/// connection they come.
fn saying(bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> (RawOrigin, Server) {
    let origin = RawOrigin::start(move |number, stream: &mut TcpStream| {
        if !frames::begin(stream) {
            return;
        }
        let mut is_first = number == 0;
        while let Some(id) = frames::next_request(stream) {
            if std::mem::take(&mut is_first) {
                let _ = stream.write_all(&bytes(id));
            } else {
                frames::answer(stream, id, "fine");
            }
        }
    });
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
            "http { upstream pool { server $ORIGIN max_fails=0; keepalive 4; }\n\
             server { listen 127.0.0.1:$PORT; proxy_http_version 2; proxy_next_upstream off;\n\
             location / { proxy_pass http://pool; } } }",
        );
    (origin, server)
}

/// Fields of a head, and whether it is all.
fn head(id: u32, fields: &[(&str, &str)], ends: bool) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, 4 | u8::from(ends), id, &fields)
}

fn data(id: u32, text: &str, ends: bool) -> Vec<u8> {
    frame(DATA, u8::from(ends), id, text.as_bytes())
}

#[test]
fn interim_answers_are_passed_over_and_are_not_endless() {
    let many = |count: usize| {
        move |id| {
            let interim = [("100", None), ("103", Some("</x>"))];
            let mut bytes: Vec<u8> = (0..count)
                .flat_map(|number| {
                    let (status, link) = interim[number % 2];
                    let mut fields = vec![(":status", status)];
                    fields.extend(link.map(|it| ("link", it)));
                    head(id, &fields, false)
                })
                .collect();
            bytes.extend(frame(HEADERS, 4, id, STATUS_200));
            bytes.extend(data(id, "ok", true));
            bytes
        }
    };
    let (_origin, server) = saying(many(2000));
    let answer = get(server.port(), "/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!((answer.interim.len(), answer.header("link")), (0, None));
}

#[test]
fn heads_that_are_none_are_a_502_and_harm_nobody_else() {
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("no status", &[("x-a", "b")]),
        ("a status of letters", &[(":status", "abc")]),
        ("two statuses", &[(":status", "200"), (":status", "404")]),
        ("a switch of protocols", &[(":status", "101"), ("upgrade", "x")]),
        ("two lengths", &[(":status", "200"), ("content-length", "2"), ("content-length", "3")]),
        ("a length that is none", &[(":status", "200"), ("content-length", "+2")]),
    ];
    for (what, fields) in cases {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (_origin, server) = saying(move |id| {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            [head(id, &fields, false), data(id, "ok", true)].concat()
        });
        assert_eq!(get(server.port(), "/").status(), 502, "{what}");
        assert_eq!(get(server.port(), "/").text(), "fine", "the next client: {what}");
        server.expect_logged("[error]");
        let log = server.error_log();
        assert!(log.contains("upstream"), "{what}: {log}");
    }
}

#[test]
fn a_head_of_300_kilobytes_is_a_502() {
    let (_origin, server) = saying(|id| {
        let many: Vec<u8> = (0..3000).flat_map(|_| field("x-a", &"a".repeat(100))).collect();
        let mut bytes = frame(HEADERS, 0, id, STATUS_200);
        for part in many.chunks(16_000) {
            bytes.extend(frame(CONTINUATION, 0, id, part));
        }
        bytes.extend(frame(CONTINUATION, 4, id, &[]));
        bytes.extend(data(id, "ok", true));
        bytes
    });
    assert_eq!(get(server.port(), "/").status(), 502);
    assert_eq!(get(server.port(), "/").text(), "fine");
}

#[test]
fn a_body_that_is_not_as_long_as_its_head_says_is_seen_to_be_wrong() {
    for (length, text) in [("10", "short"), ("3", "longer")] {
        let (_origin, server) = saying(move |id| {
            let fields = [(":status", "200"), ("content-length", length)];
            [head(id, &fields, false), data(id, text, true)].concat()
        });
        let mut client = Client::connect(server.port()).expect("it listens");
        let answer = client.get("/");
        let is_told = answer.as_ref().map_or(true, |it| it.status() == 502);
        assert!(is_told, "{length} of {text}: {answer:?}");
        assert_eq!(get(server.port(), "/").text(), "fine");
    }
}

#[test]
fn what_comes_behind_the_end_of_a_stream_reaches_nobody() {
    let (_origin, server) = saying(|id| {
        let answer = [frame(HEADERS, 4, id, STATUS_200), data(id, "ok", true)].concat();
        let behind = [data(id, "poison", false), frame(HEADERS, 5, id, STATUS_200)].concat();
        [answer, behind].concat()
    });
    assert_eq!(get(server.port(), "/").text(), "ok");
    for _ in 0..3 {
        assert_eq!(get(server.port(), "/").text(), "fine");
    }
}

#[test]
fn a_body_before_its_head_is_none() {
    let (_origin, server) = saying(|id| data(id, "body", true));
    assert_eq!(get(server.port(), "/").status(), 502);
    assert_eq!(get(server.port(), "/").text(), "fine");
}
