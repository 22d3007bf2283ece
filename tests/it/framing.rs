//! Framing over HTTP/1: what a client sends byte by byte, what it is answered, whether its
//! connection lives on, and what reached the origin. No byte that belongs to one request is ever
//! taken for another.

use crate::harness::client::{Client, get};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use crate::harness::settles;
use End::{Closes, Keeps};
use std::fmt::Write as _;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Keeps,
    Closes,
}

/// What is sent, the statuses that answer it, what becomes of the connection, how many requests
/// reach the origin.
type Vector<'a> = (&'static str, &'a [u16], End, usize);

/// Heads, and bodies by their length. `H` stands for `Host: a` and a line end, `~` for CR LF.
const HEADS: &[Vector<'_>] = &[
    ("GET / HTTP/1.1~H~", &[200], Keeps, 1),
    ("~~GET / HTTP/1.1~H~", &[200], Keeps, 1),
    ("GET / HTTP/1.1~H~GET /2 HTTP/1.1~H~", &[200, 200], Keeps, 2),
    ("GET  /  HTTP/1.1 ~H~", &[200], Keeps, 1),
    ("PURGE / HTTP/1.1~H~", &[200], Keeps, 1),
    ("GET / HTTP/1.0~~", &[200], Closes, 1),
    ("GET / HTTP/1.0~Connection: keep-alive~~", &[200], Keeps, 1),
    ("GET / HTTP/1.1~HConnection: close~~", &[200], Closes, 1),
    ("GET / HTTP/1.1~HConnection: close~~GET /smuggled HTTP/1.1~H~", &[200], Closes, 1),
    ("GET / HTTP/1.1~HConnection: TE, keep-alive~TE: trailers~~", &[200], Keeps, 1),
    ("GET / HTTP/1.1~HX:\ta\tb~Y:~~", &[200], Keeps, 1),
    ("GET / HTTP/1.1~HContent_Length: 30~X@Y: 1~Transfer_Encoding: chunked~~", &[200], Keeps, 1),
    ("GET http://a/ HTTP/1.1~H~", &[200], Keeps, 1),
    ("GET http://a:80?x HTTP/1.1~Host: A:80~~", &[200], Keeps, 1),
    ("GET / HTTP/1.1~Host: [::1]:80~~", &[200], Keeps, 1),
    ("POST / HTTP/1.1~H~", &[200], Keeps, 1),
    ("POST / HTTP/1.1~HContent-Length: 0~~", &[200], Keeps, 1),
    ("POST / HTTP/1.1~HContent-Length: 3~~abc", &[200], Keeps, 1),
    ("POST / HTTP/1.1~HContent-Length:   003  ~~abc", &[200], Keeps, 1),
    ("GET / HTTP/1.1~HContent-Length: 3~~abcGET /2 HTTP/1.1~H~", &[200, 200], Keeps, 2),
    ("POST / HTTP/1.1~HExpect: 100-continue~Content-Length: 3~~abc", &[200], Keeps, 1),
    ("POST / HTTP/1.0~Connection: keep-alive~Content-Length: 3~~abc", &[200], Keeps, 1),
    // The request line.
    ("get / HTTP/1.1~H~", &[400], Closes, 0),
    (" GET / HTTP/1.1~H~", &[400], Closes, 0),
    ("GET\t/ HTTP/1.1~H~", &[400], Closes, 0),
    ("GET\0 / HTTP/1.1~H~", &[400], Closes, 0),
    ("GET~H~", &[400], Closes, 0),
    ("GET x HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /a b HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /\t HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /\0 HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /\x01 HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /\x7f HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /\rX HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /#f HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /%00 HTTP/1.1~H~", &[400], Closes, 0),
    ("GET /../x HTTP/1.1~H~", &[400], Closes, 0),
    ("GET / http/1.1~H~", &[400], Closes, 0),
    ("GET / HTTP/1.1x~H~", &[400], Closes, 0),
    ("GET / HTTP/1.1 x~H~", &[400], Closes, 0),
    ("GET / HTTP/0.9~H~", &[400], Closes, 0),
    ("GET / HTTP/1.2~H~", &[505], Closes, 0),
    ("GET / HTTP/2.0~H~", &[505], Closes, 0),
    ("PRI * HTTP/2.0~~SM~~", &[400], Closes, 0),
    ("OPTIONS * HTTP/1.1~H~", &[400], Closes, 0),
    ("CONNECT a:80 HTTP/1.1~H~", &[400], Closes, 0),
    ("CONNECT / HTTP/1.1~H~", &[405], Closes, 0),
    ("TRACE / HTTP/1.1~H~", &[405], Closes, 0),
    ("GET / HTTP/1.1\nHost: a\n\n", &[400], Closes, 0),
    // Fields.
    ("GET / HTTP/1.1~Host: a\n~", &[400], Closes, 0),
    ("GET / HTTP/1.1~H\n", &[400], Closes, 0),
    ("GET / HTTP/1.1~HNo colon~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~H: no name~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX : y~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~H X: y~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: y~ folded~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: y~\tfolded: z~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: a\rY: b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: a\r~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: a\0b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX\0Y: b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: a\x0bb~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HX: a\x7fb~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HH~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host: a,b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host: a/b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host: u@a~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host: a:8x~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host: a b~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~Host:~~", &[400], Closes, 0),
    ("GET http://b/ HTTP/1.1~H~", &[400], Closes, 0),
    ("GET http://a/ HTTP/1.1~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HConnection: close, host~~", &[400], Closes, 0),
    ("GET / HTTP/1.1~HConnection: Authorization~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HConnection: Content-Length~Content-Length: 3~~abc", &[400], Closes, 0),
    ("GET / HTTP/1.1~HAuthorization: a~Authorization: b~~", &[400], Closes, 0),
    // Lengths.
    ("POST / HTTP/1.1~HContent-Length: 1~Content-Length: 1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 0~Content-Length: 30~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 1, 1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: +1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: -1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 0x1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 1 1~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 1\t~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length:~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 9999999999999999999~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length: 18446744073709551617~~x", &[400], Closes, 0),
    ("POST / HTTP/1.1~HContent-Length : 40~~GET /smuggled HTTP/1.1~H~", &[400], Closes, 0),
    // Transfer codings.
    ("POST / HTTP/1.1~HContent-Length: 3~Transfer-Encoding: chunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: chunked~Content-Length: 3~~0~~", &[400], Closes, 0),
    (
        "POST / HTTP/1.1~HTransfer-Encoding: chunked~Transfer-Encoding: chunked~~0~~",
        &[400],
        Closes,
        0,
    ),
    (
        "POST / HTTP/1.1~HTransfer-Encoding: chunked~Transfer-Encoding: identity~~0~~",
        &[400],
        Closes,
        0,
    ),
    ("POST / HTTP/1.1~HTransfer-Encoding: chunked, chunked~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: gzip, chunked~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: identity~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: xchunked~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: ,chunked~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: chunked;q=1~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: \"chunked\"~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding:\tchunked~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding:~~0~~", &[501], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding: \x0bchunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding:~ chunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HTransfer-Encoding : chunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~H Transfer-Encoding: chunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.1~HX: y\nTransfer-Encoding: chunked~~0~~", &[400], Closes, 0),
    ("POST / HTTP/1.0~Transfer-Encoding: chunked~~0~~", &[400], Closes, 0),
];

/// Bodies in chunks, behind a head that says so; `$` stands for 0, CR LF, CR LF.
const CHUNKS: &[Vector<'_>] = &[
    ("$", &[200], Keeps, 1),
    ("3~abc~$", &[200], Keeps, 1),
    ("3~abc~$GET /2 HTTP/1.1~H~", &[200, 200], Keeps, 2),
    ("0000000000000003~abc~$", &[200], Keeps, 1),
    ("A~0123456789~000~~", &[200], Keeps, 1),
    ("3;a=\"b\"~abc~0;x~~", &[200], Keeps, 1),
    ("3~abc~0~X: y~Z: a~~", &[200], Keeps, 1),
    ("~abc~$", &[400], Closes, 0),
    ("-1~abc~$", &[400], Closes, 0),
    ("+3~abc~$", &[400], Closes, 0),
    ("0x3~abc~$", &[400], Closes, 0),
    (" 3~abc~$", &[400], Closes, 0),
    ("3 ~abc~$", &[400], Closes, 0),
    ("3\t;x~abc~$", &[400], Closes, 0),
    ("g~abc~$", &[400], Closes, 0),
    ("00000000000000003~abc~$", &[400], Closes, 0),
    ("ffffffffffffffff~abc~$", &[400], Closes, 0),
    ("10000000000000003~abc~$", &[400], Closes, 0),
    ("3\nabc~$", &[400], Closes, 0),
    ("3\rabc~$", &[400], Closes, 0),
    ("3;a\nb~abc~$", &[400], Closes, 0),
    ("3;a\rb~abc~$", &[400], Closes, 0),
    ("3;a\0b~abc~$", &[400], Closes, 0),
    ("3~abcd~$", &[400], Closes, 0),
    ("3~ab~$", &[400], Closes, 0),
    ("3~abc$", &[400], Closes, 0),
    ("3~abc\n$", &[400], Closes, 0),
    ("3~abc~0~no colon~~GET /smuggled HTTP/1.1~H~", &[400], Closes, 0),
    ("3~abc~0~: y~~", &[400], Closes, 0),
    ("3~abc~0~X : y~~", &[400], Closes, 0),
    ("3~abc~0~X: y~ folded~~", &[400], Closes, 0),
    ("3~abc~0~X: y\n~", &[400], Closes, 0),
    ("3~abc~0~X: a\0b~~", &[400], Closes, 0),
    ("3~abc~0~Content-Length: 30~~", &[400], Closes, 0),
    ("3~abc~0~transfer-encoding: chunked~~", &[400], Closes, 0),
    ("3~abc~0~Host: b~~", &[400], Closes, 0),
    ("3~abc~0~Authorization: b~~", &[400], Closes, 0),
    ("3~abc~0\n\nGET /smuggled HTTP/1.1~H~", &[400], Closes, 0),
];

fn server(origin: &Origin, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ log_format s '$status'; access_log logs/access.log s; {settings}\n\
         server {{ listen 127.0.0.1:$PORT; location / {{ proxy_pass http://$ORIGIN; }} }} }}"
    ))
}

fn bytes(text: &str) -> String {
    text.replace('H', "\u{1}")
        .replace("\u{1}TTP", "HTTP")
        .replace("\u{1}ost", "Host")
        .replace('\u{1}', "Host: a\r\n")
        .replace('~', "\r\n")
}

/// Plays a vector; what went wrong.
fn play(server: &Server, origin: &Origin, text: &str, vector: &Vector<'_>) -> String {
    let (_, want, end, reached) = *vector;
    let mut faults = String::new();
    let log = || server.read("logs/access.log").lines().count();
    let logged_before = log();
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send(text).expect("it reads");
    for status in want {
        match client.response(text.split(' ').next().unwrap_or_default()) {
            Ok(answer) if answer.status() == *status => {}
            other => {
                let _ = write!(faults, " {other:?} instead of {status};");
            }
        }
    }
    if end == Closes && !client.ends() {
        faults += " the connection is open;";
    }
    if end == Keeps && client.get("/after").map(|it| it.status()).ok() != Some(200) {
        faults += " the connection is of no use;";
    }
    let logged = logged_before + want.len() + usize::from(end == Keeps);
    settles(&format!("each request of {text:?} has its line in the access log"), logged, log);
    let received = origin.take_received();
    if received.iter().any(|it| it.text().contains("smuggled")) {
        faults += " it was smuggled;";
    }
    let count = received.iter().filter(|it| it.target() != "/after").count();
    if count != reached {
        let _ = write!(faults, " {count} requests reached the origin;");
    }
    faults
}

#[test]
fn every_vector_is_answered_as_it_should_be() {
    let origin = Origin::start(|_| Answer::ok("fine"));
    let server = server(&origin, "");
    let in_chunks = |body: &str| {
        let body = body.replace('$', "0~~");
        format!("POST / HTTP/1.1~HTransfer-Encoding: chunked~~{body}")
    };
    let heads = HEADS.iter().map(|it| (it.0.to_owned(), it));
    let chunks = CHUNKS.iter().map(|it| (in_chunks(it.0), it));
    let vectors: Vec<_> = heads.chain(chunks).collect();
    assert!(vectors.len() >= 140, "{}", vectors.len());
    let mut faults = Vec::new();
    for (text, vector) in vectors {
        let fault = play(&server, &origin, &bytes(&text), vector);
        if !fault.is_empty() {
            faults.push(format!("{text:?}:{fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn lines_may_end_with_lf_alone_where_the_configuration_says_so() {
    let origin = Origin::start(|_| Answer::ok("fine"));
    let server = server(&origin, "bare_lf_in_headers on;");
    for text in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n"] {
        assert_eq!(play(&server, &origin, text, &("", &[200], Keeps, 1)), "", "{text:?}");
    }
    let folded = "GET / HTTP/1.1\nHost: a\nX: y\n z\n\n";
    assert_eq!(play(&server, &origin, folded, &("", &[400], Closes, 0)), "");
}

#[test]
fn heads_have_the_limits_of_the_configuration() {
    let origin = Origin::start(|_| Answer::ok("fine"));
    let settings = "client_header_buffer_size 128; large_client_header_buffers 2 512;";
    let server = server(&origin, settings);
    let line = |length: usize| {
        let target = "x".repeat(length - "GET / HTTP/1.1~~".len());
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    let field = |length: usize| format!("X: {}\r\n", "y".repeat(length - 5));
    let fields = |fields: String| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let cases = [
        (line(510), 200),
        (line(513), 414),
        (fields(field(512)), 200),
        (fields(field(513)), 400),
        (fields(field(300).repeat(3)), 200),
        (fields(field(300).repeat(4)), 400),
        ("G".repeat(600), 414),
    ];
    for (text, status) in cases {
        let (end, reached) = if status == 200 { (Keeps, 1) } else { (Closes, 0) };
        assert_eq!(play(&server, &origin, &text, &("", &[status], end, reached)), "", "{text}");
    }
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    let row = "moongate_requests_refused_total{reason=\"size\"} 4";
    assert!(metrics.contains(row), "{metrics}");
    server.expect_logged("client sent too long URI while reading client request line");
    server.expect_logged("client sent too large request while reading client request headers");
}

#[test]
fn http_0_9_gets_a_body_and_no_head() {
    let server = gateway("http { server { listen 127.0.0.1:$PORT; return 200 fine; } }");
    for (text, start) in [("GET /\r\n", "fine"), ("POST /\r\n", "<html>")] {
        let mut client = Client::connect(server.port()).expect("it listens");
        client.send(text).expect("it reads");
        let answer = String::from_utf8_lossy(&client.rest().expect("an end")).into_owned();
        assert!(answer.starts_with(start), "{text:?}: {answer}");
    }
}

#[test]
fn a_client_that_is_still_sending_sees_why_it_was_refused() {
    let server = gateway(
        "http { client_max_body_size 1k; server { listen 127.0.0.1:$PORT;\n\
         location /read { content_by_lua_block {\n\
         ngx.req.read_body() } } } }",
    );
    for framing in ["Content-Length: 30000000", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect(server.port()).expect("it listens");
        let head = format!("POST /read HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        client.send(head).expect("it reads");
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        for _ in 0..80 {
            client.send(&chunk).expect("it reads on");
        }
        assert_eq!(client.response("POST").map(|it| it.status()).ok(), Some(413), "{framing}");
        assert!(client.ends());
    }
}
