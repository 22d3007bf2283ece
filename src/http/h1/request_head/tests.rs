//! The parser on whole heads, on heads in pieces, and on any bytes.

use super::*;
use proptest::prelude::*;

const POLICY: Policy =
    Policy { bare_lf: false, underscores: false, line_bytes: 64, head_bytes: 256 };

fn parse(text: &[u8]) -> Result<Option<RequestHead>, Fault> {
    parse_with(POLICY, text)
}

fn parse_with(policy: Policy, text: &[u8]) -> Result<Option<RequestHead>, Fault> {
    let mut parser = Parser::new(policy);
    let complete = parser.parse(text)?;
    Ok(complete.then(|| parser.into_head()))
}

fn get(fields: &str) -> Result<Option<RequestHead>, Fault> {
    parse(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes())
}

#[test]
fn a_head_is_places_in_its_bytes() {
    let text = b"\r\nGET  /a?b  HTTP/1.1\r\nhOst: A\r\nX-B:  1  \r\na_b: 3\r\nb@d: 4\r\n\
                 Connection: Keep-Alive, x\r\nX-E:\r\nExpect: 100-Continue\r\n\r\nrest";
    let head = parse(text).unwrap().unwrap();
    let at = |span: Span| std::str::from_utf8(&text[span.range()]).unwrap();
    assert_eq!(at(head.line), "GET  /a?b  HTTP/1.1");
    assert_eq!((at(head.method), at(head.target)), ("GET", "/a?b"));
    let fields: Vec<_> =
        head.fields.iter().map(|it| format!("{}={}", at(it.name), at(it.value))).collect();
    let want = ["hOst=A", "X-B=1", "Connection=Keep-Alive, x", "X-E=", "Expect=100-Continue"];
    assert_eq!(fields, want);
    assert_eq!(head.host.map(at), Some("A"));
    assert_eq!((head.version, head.connection), (Version::V11, Some(Connection::KeepAlive)));
    assert!(head.expects_continue);
    assert_eq!((head.start, &text[head.end..]), (2, &b"rest"[..]));
}

#[test]
fn request_lines() {
    let version = |line: &str| {
        let head = parse(format!("{line}\r\nHost: a\r\n\r\n").as_bytes())?;
        Ok(head.expect("it is complete").version)
    };
    let cases = [
        ("GET / HTTP/1.1", Ok(Version::V11)),
        ("GET / HTTP/1.0", Ok(Version::V10)),
        ("GET / HTTP/1.1 ", Ok(Version::V11)),
        ("GET /", Ok(Version::V09)),
        ("GET / ", Ok(Version::V09)),
        ("M-SEARCH / HTTP/1.1", Ok(Version::V11)),
        ("OPTIONS * HTTP/2.0", Err(Fault::Request)),
        ("GET /\"<>^|\\{}`\u{e4} HTTP/1.1", Ok(Version::V11)),
        ("POST /", Err(Fault::Method09)),
        ("GET / HTTP/1.2", Err(Fault::Version)),
        ("GET / HTTP/1.10", Err(Fault::Version)),
        ("GET / HTTP/1.01", Err(Fault::Version)),
        ("GET / HTTP/2.0", Err(Fault::Version)),
        ("GET / HTTP/2", Err(Fault::Version)),
        ("GET / HTTP/0.9", Err(Fault::Request)),
        ("GET / HTTP/1.", Err(Fault::Request)),
        ("GET / HTTP/1", Err(Fault::Request)),
        ("GET / HTTP/1.x", Err(Fault::Request)),
        ("GET / HTTP/1.1 x", Err(Fault::Request)),
        ("GET / http/1.1", Err(Fault::Request)),
        ("GET / HTTPS/1.1", Err(Fault::Request)),
        ("GET /a b HTTP/1.1", Err(Fault::Request)),
        ("GET /#f HTTP/1.1", Err(Fault::Request)),
        ("GET /\t HTTP/1.1", Err(Fault::Request)),
        ("GET /\x7f HTTP/1.1", Err(Fault::Request)),
        ("GET /\r HTTP/1.1", Err(Fault::Request)),
        ("GET\t/ HTTP/1.1", Err(Fault::Method)),
        ("GET", Err(Fault::Method)),
        ("get / HTTP/1.1", Err(Fault::Method)),
        (" GET / HTTP/1.1", Err(Fault::Method)),
        ("GET  ", Err(Fault::Request)),
    ];
    for (line, want) in cases {
        assert_eq!(version(line), want, "{line:?}");
    }
}

#[test]
fn fields_that_are_refused() {
    let cases = [
        ("X: a\x01b\r\n", Fault::Field),
        ("X: a\0b\r\n", Fault::Field),
        ("X: a\x7fb\r\n", Fault::Field),
        ("X: a\rb\r\n", Fault::Field),
        ("X: a\r\r\n", Fault::Field),
        ("X\r\n", Fault::Field),
        ("X : y\r\n", Fault::Field),
        (" X: y\r\n", Fault::Field),
        ("X: y\r\n z\r\n", Fault::Field),
        ("X: y\r\n\tz: a\r\n", Fault::Field),
        (": y\r\n", Fault::Field),
        ("X: y\nZ: y\r\n", Fault::Field),
        ("Host: a\r\nhost: a\r\n", Fault::TwoHosts),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", Fault::Duplicate),
        ("Content-Length: 1, 1\r\n", Fault::Length),
        ("Content-Length: +1\r\n", Fault::Length),
        ("Content-Length: 0x1\r\n", Fault::Length),
        ("Content-Length: \r\n", Fault::Length),
        ("Content-Length: 1\t\r\n", Fault::Length),
        ("Content-Length: 9999999999999999999\r\n", Fault::Length),
        ("Content-Length: 10000000000000000000\r\n", Fault::Length),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Fault::TwoFramings),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Fault::Duplicate),
        ("Transfer-Encoding: chunked, chunked\r\n", Fault::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", Fault::Coding),
        ("Transfer-Encoding: identity\r\n", Fault::Coding),
        ("Transfer-Encoding:\tchunked\r\n", Fault::Coding),
        ("Transfer-Encoding: \x0bchunked\r\n", Fault::Field),
        ("Connection: close, Content-Length\r\n", Fault::Nominated),
        ("Connection: host\r\n", Fault::Nominated),
        ("If-None-Match: a\r\nif-none-match: a\r\n", Fault::Duplicate),
        ("If-Range: a\r\nif-range: a\r\n", Fault::Duplicate),
        ("If-Unmodified-Since: a\r\nif-unmodified-since: a\r\n", Fault::Duplicate),
        ("Expect: a\r\nExpect: a\r\n", Fault::Duplicate),
    ];
    for (fields, want) in cases {
        assert_eq!(get(fields).unwrap_err(), want, "{fields:?}");
    }
    let old = parse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.unwrap_err(), Fault::Coding10);
}

#[test]
fn framing_and_connection() {
    let head = |fields: &str| get(fields).unwrap().unwrap();
    assert_eq!(head("Content-Length: 007\r\n").content_length, Some(7));
    assert_eq!(
        head("Content-Length: 9223372036854775807\r\n").content_length,
        Some(i64::MAX as u64)
    );
    assert!(head("Transfer-Encoding: ChunKed\r\n").chunked);
    let connection = |fields: &str| head(fields).connection;
    assert_eq!(
        connection("Connection: keep-alive\r\nConnection: close\r\n"),
        Some(Connection::Close)
    );
    assert_eq!(connection("Connection: close\r\nConnection: Upgrade\r\n"), Some(Connection::Close));
    assert_eq!(connection("Connection: xCLOSEd\r\n"), Some(Connection::Close));
    assert_eq!(connection("Connection: upgrade\r\n"), None);
}

#[test]
fn lines_end_with_lf_alone_only_where_that_is_allowed() {
    let text = b"GET / HTTP/1.1\nHost: a\n\n";
    assert_eq!(parse(text).unwrap_err(), Fault::Request);
    assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\n\r\n").unwrap_err(), Fault::Field);
    let lenient = Policy { bare_lf: true, ..POLICY };
    assert_eq!(parse_with(lenient, text).unwrap().unwrap().fields.len(), 1);
    let kept = Policy { underscores: true, ..POLICY };
    let head = parse_with(kept, b"GET / HTTP/1.1\r\na_b: c\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.fields.len(), 1);
}

#[test]
fn lines_and_heads_have_their_limits() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "x".repeat(length - 16));
    assert_eq!(parse(line(64).as_bytes()).unwrap(), None);
    assert_eq!(parse(line(65).as_bytes()).unwrap_err(), Fault::LongLine);
    assert_eq!(parse(&[b'G'; 65]).unwrap_err(), Fault::LongLine);
    let field = |length: usize| format!("X: {}\r\n", "y".repeat(length - 5));
    assert!(get(&field(64)).unwrap().is_some());
    assert_eq!(get(&field(65)).unwrap_err(), Fault::LongField);
    assert_eq!(get(&field(64).repeat(4)).unwrap_err(), Fault::LongHead);
}

#[test]
fn what_is_no_method_is_refused_before_its_line_ends() {
    assert_eq!(parse(b"\x16\x03\x01\x02").unwrap_err(), Fault::Method);
    assert_eq!(parse(b"GE").unwrap(), None);
    assert_eq!(parse(b"\r\n\r\n").unwrap(), None);
}

/// Pieces of heads, good and bad.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("GET /x".to_owned()),
        Just("POST /a HTTP/1.0\r\n".to_owned()),
        Just("Host: a\r\n".to_owned()),
        Just("X-Y: z\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        "[ -~]{1,40}",
        "[A-Za-z:]{1,90}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut text: Vec<u8> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            if index == 0 && piece.starts_with('X') {
                text.extend_from_slice(b"GET / HTTP/1.1\r\n");
            }
            text.extend_from_slice(piece.as_bytes());
        }
        text
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same(text in heads(), cuts in prop::collection::vec(0usize..300, 0..6)) {
        let whole = parse(&text).map(|it| it.map(|head| format!("{head:?}")));
        let mut cuts: Vec<_> = cuts.into_iter().map(|it| it.min(text.len())).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let mut parser = Parser::new(POLICY);
        let mut found = Ok(None);
        for cut in cuts {
            match parser.parse(&text[..cut]) {
                Ok(false) => {}
                Ok(true) => {
                    found = Ok(Some(format!("{:?}", parser.clone().into_head())));
                    break;
                }
                Err(fault) => {
                    found = Err(fault);
                    break;
                }
            }
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut line = b"GET / HTTP/1.1\r\n".to_vec();
        line.extend_from_slice(&text);
        for text in [text, line] {
            let mut parser = Parser::new(POLICY);
            // What was read before a fault is shown in the log.
            let complete = parser.parse(&text);
            let head = parser.into_head();
            prop_assert!(head.end <= text.len() && head.start <= head.end);
            prop_assert!(head.line.range().end <= text.len());
            if complete.is_ok() {
                prop_assert!(head.line.range().end <= head.end);
            }
            let host = head.host.map(|it| FieldSpan { name: it, value: it });
            for field in head.fields.iter().chain(&host) {
                prop_assert!(field.name.range().end <= head.end);
                prop_assert!(field.value.range().end <= head.end);
            }
            if complete == Ok(true) {
                for field in &head.fields {
                    prop_assert!(!octets::has_control(&text[field.value.range()], true));
                }
            }
        }
    }
}
