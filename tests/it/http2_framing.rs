//! Heads and bodies that HTTP/2 can carry and HTTP/1 must not: what a client sends frame by frame
//! is refused, or reaches an HTTP/1 origin as one clean request. Nothing is smuggled.

use crate::harness::PATIENCE;
use crate::harness::frames::{self, DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, field, frame};
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Server, Setup};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// An answer with this status.
    Status(u16),
    /// The stream is reset, or the connection ends with GOAWAY: the frame is none of HTTP/2.
    Refused,
}

use Got::{Refused, Status};

type Fields = &'static [(&'static str, &'static str)];

/// The fields of a request, behind `:method`, `:scheme`, `:path` and `:authority` where they do not
/// begin with a colon themselves; the bytes of its body; what becomes of it.
const VECTORS: &[(Fields, &str, Got)] = &[
    (&[], "", Status(200)),
    (&[("x-a", "1"), ("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d")], "", Status(200)),
    (&[("content-length", "3")], "abc", Status(200)),
    (&[], "abc", Status(200)),
    // Two lengths, and lengths that are not that of the data.
    (&[("content-length", "3"), ("content-length", "3")], "abc", Status(400)),
    (&[("content-length", "3"), ("content-length", "4")], "abc", Refused),
    (&[("content-length", "4")], "abc", Refused),
    (&[("content-length", "2")], "abc", Refused),
    (&[("content-length", "0")], "abc", Refused),
    (&[("content-length", "3")], "", Refused),
    (&[("content-length", "+3")], "abc", Refused),
    (&[("content-length", "3, 3")], "abc", Refused),
    (&[("content-length", "")], "abc", Refused),
    (&[("content-length", "99999999999999999999")], "abc", Refused),
    // Fields of one connection.
    (&[("transfer-encoding", "chunked")], "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", Refused),
    (&[("connection", "close")], "", Refused),
    (&[("keep-alive", "1")], "", Refused),
    (&[("proxy-connection", "x")], "", Refused),
    (&[("upgrade", "h2c")], "", Refused),
    (&[("te", "gzip")], "", Refused),
    // Names and values that would be more lines of HTTP/1.
    (&[("X-Upper", "1")], "", Refused),
    (&[("x a", "1")], "", Refused),
    (&[("x:a", "1")], "", Refused),
    (&[("", "1")], "", Refused),
    (&[("x\r\ny", "1")], "", Refused),
    (&[("x-a", "1\r\nx-b: 2")], "", Refused),
    (&[("x-a", "1\nx-b: 2")], "", Refused),
    (&[("x-a", "1\0")], "", Refused),
    // Pseudo fields.
    (&[(":path", "/a b")], "", Refused),
    (&[(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled")], "", Refused),
    (&[(":path", "/\x01")], "", Refused),
    (&[(":path", "")], "", Refused),
    (&[(":path", "a")], "", Refused),
    (&[(":path", "/"), (":path", "/b")], "", Refused),
    (&[(":method", "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\nGET")], "", Refused),
    (&[(":method", "get")], "", Status(400)),
    (&[(":authority", "a, b")], "", Refused),
    (&[(":authority", "a\r\nx: y")], "", Refused),
    (&[(":authority", "u@a")], "", Status(400)),
    (&[(":unknown", "x")], "", Refused),
    (&[(":status", "200")], "", Refused),
    (&[("host", "a"), ("host", "b")], "", Status(400)),
    (&[("host", "a\tb")], "", Status(400)),
];

fn gateway(origin: &Origin) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
        "http { server { listen 127.0.0.1:$PORT http2; location / { proxy_pass http://$ORIGIN;\n\
         proxy_http_version 1.1; proxy_request_buffering off; } } }",
    )
}

/// The head of a request, and its body.
fn request(fields: Fields, body: &str) -> Vec<u8> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut head = Vec::new();
    for (name, value) in
        [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]
    {
        if !fields.iter().any(|it| it.0 == name) {
            head.extend(field(name, value));
        }
    }
    let (pseudo, other): (Vec<_>, Vec<_>) = fields.iter().partition(|it| it.0.starts_with(':'));
    for (name, value) in pseudo.into_iter().chain(other) {
        head.extend(field(name, value));
    }
    let ends = if body.is_empty() { 5 } else { 4 };
    let mut bytes = frame(HEADERS, ends, 1, &head);
    if !body.is_empty() {
        bytes.extend(frame(DATA, 1, 1, body.as_bytes()));
    }
    bytes
}

/// Sends `bytes` on a connection of their own; what comes of the first request.
fn ask(port: u16, bytes: &[u8]) -> Got {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..]].concat();
    stream.write_all(&[&preface, bytes].concat()).expect("it is read");
    loop {
        let Some(frame) = frames::read(&mut stream) else { return Refused };
        match frame.kind {
            RST_STREAM | GOAWAY => return Refused,
            HEADERS => {
                // HPACK's static table has the statuses, behind a change of the table's size.
                let first = frame.payload.iter().find(|it| **it & 0xe0 != 0x20).copied();
                return match first {
                    Some(0x88) => Status(200),
                    Some(0x8c) => Status(400),
                    other => panic!("{other:x?} is no status that is expected here"),
                };
            }
            _ => {}
        }
    }
}

#[test]
fn what_http1_could_not_carry_never_reaches_it() {
    let origin = Origin::saying("fine");
    let server = gateway(&origin);
    let mut wrong = Vec::new();
    for (fields, body, expected) in VECTORS {
        let got = ask(server.port(), &request(fields, body));
        let reached = origin.take_received();
        if got != *expected || reached.len() > usize::from(got == Status(200)) {
            wrong.push(format!("{fields:?} {body:?}: {got:?}, {} reached", reached.len()));
        }
        for it in reached {
            assert_eq!(it.target(), "/", "{fields:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_body_of_a_stream_is_one_body_whatever_it_holds() {
    let origin = Origin::saying("fine");
    let server = gateway(&origin);
    let body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ask(server.port(), &request(&[], body)), Status(200));
    let received = origin.take_received();
    assert_eq!(received.len(), 1);
    let whole = format!("Content-Length: {}\n\n{body}", body.len());
    assert!(received[0].text().ends_with(&whole), "{}", received[0].text());
}
