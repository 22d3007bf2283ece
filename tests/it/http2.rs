//! HTTP/2 with clients, over TLS and by prior knowledge.

use crate::harness::client::{Client, get};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use crate::harness::tls::{Identity, connector};
use crate::harness::{PATIENCE, eventually, settles};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use moongate::tls::TlsStream;
use std::future::poll_fn;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Where requests of a connection are sent.
pub type Requests = SendRequest<Bytes>;

/// An answer, its body whole.
pub struct Answered {
    head: http::response::Parts,
    body: Vec<u8>,
}

impl Answered {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop")
}

/// Runs a test's future within the time that any test may take.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(async { timeout(PATIENCE, future).await.expect("it ends in time") })
}

async fn tcp(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("it listens")
}

/// A connection by prior knowledge, and what drives it.
pub async fn plain(port: u16) -> (Requests, JoinHandle<Result<(), h2::Error>>) {
    let (requests, connection) = h2::client::handshake(tcp(port).await).await.expect("a preface");
    (requests, tokio::spawn(connection))
}

/// A connection over TLS; what was agreed upon by ALPN comes first.
async fn secure(port: u16) -> (Vec<u8>, TlsStream<TcpStream>) {
    let mut builder = connector();
    builder.set_alpn_protos(b"\x02h2\x08http/1.1").expect("protocols");
    let settings = builder.build().configure().expect("settings").verify_hostname(false);
    let mut ssl = settings.into_ssl("a.test").expect("a connection");
    ssl.set_connect_state();
    let mut stream =
        TlsStream::new(ssl, tcp(port).await, Default::default(), 1 << 14).expect("memory");
    poll_fn(|cx| stream.poll_handshake(cx)).await.expect("a handshake");
    let agreed = stream.ssl().selected_alpn_protocol().unwrap_or_default().to_vec();
    (agreed, stream)
}

/// A request without its body.
pub fn request(method: Method, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://a.test{uri}"))
}

/// Sends a request with its body.
///
/// # Errors
/// The stream was reset, or the connection ended.
pub async fn send(
    requests: &Requests,
    request: Request<()>,
    body: &[u8],
) -> Result<Answered, h2::Error> {
    let mut requests = requests.clone().ready().await?;
    let (response, mut stream) = requests.send_request(request, body.is_empty())?;
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.expect("a stream")?;
        let chunk = rest.split_to(room.min(rest.len()));
        stream.send_data(chunk, rest.is_empty())?;
    }
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { head, body })
}

async fn fetch(requests: &Requests, uri: &str) -> Answered {
    let request = request(Method::GET, uri).body(()).expect("a request");
    send(requests, request, b"").await.expect("an answer")
}

fn proxied(origin: &Origin, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ log_format s $status; access_log logs/access.log s; {settings}\n\
         server {{ listen 127.0.0.1:$PORT http2;\n\
         location / {{ proxy_pass http://$ORIGIN; proxy_http_version 1.1; }} }} }}"
    ))
}

#[test]
fn alpn_agrees_on_http2_where_it_is_on() {
    let own = Identity::new("a.test");
    let setup = Setup::new(Kind::Moongate)
        .file("conf/a.pem", &own.pem())
        .file("conf/a.key", &own.key_pem());
    let server = setup.start(
        "http { ssl_certificate a.pem; ssl_certificate_key a.key;\n\
         server { listen 127.0.0.1:$PORT ssl; http2 on;\n\
         return 200 \"$server_protocol $http2 $scheme $host $request $ssl_alpn_protocol\"; }\n\
         server { listen 127.0.0.1:$PORT2 ssl; return 200 x; } }",
    );
    run(async {
        let (agreed, stream) = secure(server.port()).await;
        assert_eq!(agreed, b"h2");
        let (requests, connection) = h2::client::handshake(stream).await.expect("a preface");
        tokio::spawn(connection);
        let answer = fetch(&requests, "/a?b").await;
        assert_eq!(answer.text(), "HTTP/2.0 h2 https a.test GET /a?b HTTP/2.0 h2");
        assert_eq!(secure(server.named_port("PORT2")).await.0, b"http/1.1");
    });
}

#[test]
fn one_port_speaks_both_without_tls() {
    let server = gateway(
        "http { server { listen 127.0.0.1:$PORT; http2 on;\n\
         return 200 \"$server_protocol $http2 $scheme\"; } }",
    );
    run(async {
        let (requests, _) = plain(server.port()).await;
        assert_eq!(fetch(&requests, "/").await.text(), "HTTP/2.0 h2c http");
    });
    assert_eq!(get(server.port(), "/").text(), "HTTP/1.1  http");
    let mut old = Client::connect(server.port()).expect("it listens");
    old.send("GET / HTTP/1.0\r\n\r\n").expect("it reads");
    assert_eq!(old.response("GET").expect("an answer").text(), "HTTP/1.0  http");
    // What begins like the preface and then does not is a bad request of HTTP/1.
    let mut odd = Client::connect(server.port()).expect("it listens");
    odd.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").expect("it reads");
    assert!(odd.rest().is_ok_and(|it| !it.starts_with(b"HTTP/1.1 200")));
}

#[test]
fn who_says_nothing_or_half_a_preface_is_cut_in_time() {
    let server = gateway(
        "http { client_header_timeout 300ms;\n\
         server { listen 127.0.0.1:$PORT http2; return 200 x; } }",
    );
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for begun in [&b""[..], &preface[..3], &preface[..23], preface, b"GET / HT"] {
        let began = Instant::now();
        let mut client = Client::connect(server.port()).expect("it listens");
        client.send(begun).expect("it reads");
        let _ = client.rest();
        let took = began.elapsed();
        assert!(took < PATIENCE / 2, "{} took {took:?}", begun.escape_ascii());
    }
}

/// Drives a connection; tells how many streams the server allows once it has said so.
async fn drive(
    mut connection: h2::client::Connection<TcpStream>,
    known: tokio::sync::oneshot::Sender<usize>,
) {
    let mut known = Some(known);
    let driven = poll_fn(|cx| {
        let polled = std::pin::Pin::new(&mut connection).poll(cx);
        let streams = connection.max_concurrent_send_streams();
        if streams < 1000
            && let Some(known) = known.take()
        {
            // A test that does not ask lets go of the other end.
            let _ = known.send(streams);
        }
        polled
    });
    // How it ends is seen by its requests.
    let _ = driven.await;
}

#[test]
fn requests_share_a_connection_as_many_as_allowed() {
    let origin = Origin::start(|it| Answer::ok(it.target()).after(Duration::from_millis(50)));
    let server = proxied(&origin, "http2_max_concurrent_streams 7;");
    run(async {
        let tcp = tcp(server.port()).await;
        let (requests, connection) = h2::client::handshake(tcp).await.expect("a preface");
        let (known, settings) = tokio::sync::oneshot::channel();
        tokio::spawn(drive(connection, known));
        assert_eq!(fetch(&requests, "/first").await.text(), "/first");
        assert_eq!(settings.await, Ok(7));
        let began = Instant::now();
        let asked: Vec<_> = (0..21)
            .map(|it| {
                let requests = requests.clone();
                tokio::spawn(async move { fetch(&requests, &format!("/{it}")).await.text() })
            })
            .collect();
        for (number, answer) in asked.into_iter().enumerate() {
            assert_eq!(answer.await.expect("no panic"), format!("/{number}"));
        }
        assert!(began.elapsed() < Duration::from_millis(21 * 50), "one after the other");
    });
    assert_eq!(origin.received().len(), 22);
}

#[test]
fn what_reaches_the_upstream_is_clean_http1() {
    let origin = Origin::start(|it| Answer::ok(&it.body.len().to_string()));
    let server = proxied(&origin, "");
    run(async {
        let (requests, _) = plain(server.port()).await;
        let post = request(Method::POST, "/p?q")
            .header("te", "trailers")
            .header("x-own", "1")
            .header("x_under", "2")
            .header("x-odd!", "3")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .expect("a request");
        let body = vec![7; 300_000];
        assert_eq!(send(&requests, post, &body).await.expect("an answer").text(), "300000");
        let get = fetch(&requests, "/").await;
        assert_eq!(get.text(), "0");
        assert_eq!(get.head.headers.get("content-length").expect("it is known"), "1");
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(!get.head.headers.contains_key(name), "{name}");
        }
    });
    let received = origin.received();
    let post = &received[0];
    assert_eq!((post.method(), post.target()), ("POST", "/p?q"));
    assert_eq!(post.header("content-length"), Some("300000"));
    assert_eq!(post.header("x-own"), Some("1"));
    assert_eq!(post.header("cookie"), Some("a=1; b=2"));
    assert_eq!((post.header("te"), post.header("transfer-encoding")), (None, None));
    assert_eq!((post.header("x_under"), post.header("x-odd!")), (None, None));
    assert!(post.head.fields.iter().all(|(name, _)| !name.starts_with(':')));
}

#[test]
fn limit_rate_holds_for_each_stream() {
    let origin = Origin::start(|_| Answer::ok(&"x".repeat(30_000)));
    let server = proxied(&origin, "limit_rate 10k;");
    run(async {
        let (requests, _) = plain(server.port()).await;
        let began = std::time::Instant::now();
        let (a, b) = tokio::join!(fetch(&requests, "/a"), fetch(&requests, "/b"));
        let took = began.elapsed().as_millis();
        assert_eq!((a.body.len(), b.body.len()), (30_000, 30_000));
        // A second's bytes may come at once; one stream does not wait for the other's.
        assert!((1_800..4_500).contains(&took), "{took} ms");
    });
}

#[test]
fn large_responses_come_whole_and_a_short_one_is_cut() {
    let origin = Origin::start(|it| match it.target() {
        "/short" => Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        _ => Answer::ok(&"x".repeat(10_000_000)),
    });
    let server = proxied(&origin, "");
    run(async {
        let (requests, _) = plain(server.port()).await;
        assert_eq!(fetch(&requests, "/").await.body.len(), 10_000_000);
        let short = request(Method::GET, "/short").body(()).expect("a request");
        assert!(send(&requests, short, b"").await.is_err(), "its end must not look right");
        assert_eq!(fetch(&requests, "/").await.body.len(), 10_000_000);
    });
}

#[test]
fn a_reset_ends_the_exchange_and_is_logged_as_499() {
    let origin = Origin::start(|_| Answer::Hang);
    let server = proxied(&origin, "");
    run(async {
        let (mut requests, _driver) = plain(server.port()).await;
        let get = request(Method::GET, "/").body(()).expect("a request");
        let (response, mut stream) = requests.send_request(get, true).expect("a stream");
        while origin.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        while server.read("logs/access.log") != "499\n" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_connection_ends_when_it_was_used_enough_or_idle_for_too_long() {
    let server = gateway(
        "http { server { listen 127.0.0.1:$PORT http2; keepalive_requests 2; return 200 x; }\n\
         server { listen 127.0.0.1:$PORT2 http2; keepalive_timeout 200ms; return 200 x; } }",
    );
    run(async {
        let (requests, driver) = plain(server.port()).await;
        for _ in 0..2 {
            assert_eq!(fetch(&requests, "/").await.text(), "x");
        }
        driver.await.expect("no panic").expect("an end in order");
        let (requests, driver) = plain(server.named_port("PORT2")).await;
        assert_eq!(fetch(&requests, "/").await.text(), "x");
        driver.await.expect("no panic").expect("an end in order");
    });
}

#[test]
fn a_drain_lets_requests_end() {
    let origin = Origin::start(|_| Answer::ok("late").after(Duration::from_millis(400)));
    let server = proxied(&origin, "");
    run(async {
        let (requests, driver) = plain(server.port()).await;
        let asked = tokio::spawn(async move { fetch(&requests, "/").await.text() });
        while origin.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.signal(libc::SIGQUIT);
        assert_eq!(asked.await.expect("no panic"), "late");
        driver.await.expect("no panic").expect("an end in order");
    });
    let mut server = server;
    assert!(server.wait().success());
}

#[test]
fn heads_that_are_too_large_do_no_harm() {
    let server = gateway("http { server { listen 127.0.0.1:$PORT http2; return 200 fine; } }");
    run(async {
        let (requests, _) = plain(server.port()).await;
        let big = (0..100).fold(request(Method::GET, "/"), |it, number| {
            it.header(format!("x-{number}"), "y".repeat(1000))
        });
        let refused = send(&requests, big.body(()).expect("a request"), b"").await;
        let status = refused.map_or(0, |it| it.head.status.as_u16());
        assert!(matches!(status, 0 | 400 | 431), "{status}");
        let (requests, _) = plain(server.port()).await;
        assert_eq!(fetch(&requests, "/").await.text(), "fine");
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let origin = Origin::start(|_| Answer::ok(&"x".repeat(5_000_000)));
    let server = proxied(&origin, "send_timeout 300ms;");
    run(async {
        let (requests, _) = plain(server.port()).await;
        let get = request(Method::GET, "/").body(()).expect("a request");
        let mut ready = requests.clone().ready().await.expect("a connection");
        let (response, _) = ready.send_request(get, true).expect("a stream");
        let mut body = response.await.expect("a head").into_body();
        // The window is never given back.
        let mut taken = 0;
        let cut = loop {
            match body.data().await {
                Some(Ok(chunk)) => taken += chunk.len(),
                Some(Err(error)) => break error.is_reset() || error.is_io(),
                None => break false,
            }
        };
        assert!(cut && taken < 5_000_000, "{taken}");
        // That connection's window is used up; another's is not.
        let (requests, _) = plain(server.port()).await;
        assert_eq!(fetch(&requests, "/").await.body.len(), 5_000_000);
    });
}

#[test]
fn an_idle_connection_of_http2_counts_once() {
    let server = gateway("http { server { listen 127.0.0.1:$PORT http2; return 200 x; } }");
    run(async {
        let (requests, driver) = plain(server.port()).await;
        fetch(&requests, "/").await;
        drop(requests);
        driver.await.expect("no panic").expect("an end in order");
    });
    settles("no connection is left", true, || {
        let text = get(server.named_port("ADMIN"), "/metrics").text();
        text.contains("moongate_connections_active 0\n")
    });
    eventually("the server lives", || (get(server.port(), "/").status() == 200).then_some(()));
}
