//! Probes over real sockets on loopback; servers tell what they were asked.

use super::*;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::{Balance, HealthMatch};
use crate::upstream::fixture::{self, http_check};
use crate::upstream::{Picker, Standing, Tried};
use ::http::Response;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

/// What `match` sees of a body.
const MAX_PART: usize = 256 * 1024;

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Answers each connection with the next of `answers` (the last one for ever) and passes on what
/// was asked.
fn serve(listener: TcpListener, answers: &[&str]) -> mpsc::UnboundedReceiver<String> {
    let (told, asked) = mpsc::unbounded_channel();
    let answers: Vec<String> = answers.iter().map(|it| (*it).to_owned()).collect();
    tokio::spawn(async move {
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(count) if count > 0 => request.extend_from_slice(&part[..count]),
                    _ => break,
                }
            }
            let answer = answers.get(turn).or(answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = told.send(String::from_utf8(request).unwrap());
        }
    });
    asked
}

/// The job of the only peer and check of an upstream called `backend`.
fn job(address: &str, check: model::HealthCheck) -> (Registry, Job) {
    let registry = Registry::new();
    let mut upstream = fixture::upstream("backend", Balance::RoundRobin, &[address]);
    upstream.health_checks.push(check);
    fixture::load(&registry, &[upstream]);
    let slots = Arc::new(Semaphore::new(1));
    let job = jobs(&registry, &slots).into_values().next().unwrap();
    (registry, job)
}

async fn ask_http(answer: &str, expect: HealthMatch) -> (Result<(), String>, String) {
    let (listener, address) = listen().await;
    let mut asked = serve(listener, &[answer]);
    let (_registry, job) = job(&address, http_check(&[], expect));
    (job.ask().await, asked.recv().await.unwrap())
}

async fn verdict(answer: &str) -> Result<(), String> {
    ask_http(answer, HealthMatch::default()).await.0
}

#[tokio::test]
async fn a_probe_carries_its_headers_in_order_and_case() {
    let (listener, address) = listen().await;
    let mut asked = serve(listener, &["HTTP/1.1 200 OK\r\n\r\n"]);
    let headers =
        [("X-Canary-Version", "v2"), ("x-env-TAG", "gray"), ("user-agent", "me"), ("X-A", "")];
    let (_registry, job) = job(&address, http_check(&headers, HealthMatch::default()));
    assert_eq!(job.ask().await, Ok(()));
    let expected = "GET /health HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\
        X-Canary-Version: v2\r\nx-env-TAG: gray\r\nuser-agent: me\r\nX-A: \r\n\r\n";
    assert_eq!(asked.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn by_default_2xx_and_3xx_are_good() {
    let (passed, request) =
        ask_http("HTTP/1.1 204 No Content\r\n\r\n", HealthMatch::default()).await;
    assert_eq!(passed, Ok(()));
    let expected = "GET /health HTTP/1.1\r\nHost: backend\r\nUser-Agent: moongate\r\n\
        Connection: close\r\n\r\n";
    assert_eq!(request, expected);
    assert_eq!(verdict("HTTP/1.0 302 Found\r\n\r\n").await, Ok(()));
    assert_eq!(verdict("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").await, Ok(()));
    assert_eq!(verdict("HTTP/1.1 404 Not Found\r\n\r\n").await, Err("404".to_owned()));
    assert_eq!(verdict("HTTP/1.1 503 \r\n\r\n").await, Err("503".to_owned()));
}

#[tokio::test]
async fn what_is_no_http_fails_with_the_reason() {
    let closed = "the connection was closed before the response's head";
    assert_eq!(verdict("").await, Err(closed.to_owned()));
    assert_eq!(verdict("HTTP/1.1 200 OK\r\nA: b\r\n").await, Err(closed.to_owned()));
    assert_eq!(
        verdict("SSH-2.0\r\n\r\n").await,
        Err("invalid response: invalid HTTP version".into())
    );
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(60_000));
    assert_eq!(verdict(&long).await, Err("the response's head is too long".to_owned()));
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9);
    assert_eq!(verdict(&interim).await, Err("too many interim responses".to_owned()));
}

#[tokio::test]
async fn match_judges_statuses_and_headers() {
    let rule = |name: &str, operator: &str, value: &str| {
        (name.to_owned(), operator.to_owned(), value.to_owned())
    };
    let answer = "HTTP/1.1 418 I\r\nX-Canary-Version: v2\r\nB: 1\r\n\r\n";
    let good = HealthMatch {
        statuses: vec![(200, 200), (400, 418)],
        headers: vec![
            rule("x-canary-version", "=", "v2"),
            rule("b", "", ""),
            rule("c", "!", ""),
            rule("b", "!=", "2"),
        ],
        ..HealthMatch::default()
    };
    assert_eq!(ask_http(answer, good.clone()).await.0, Ok(()));
    let negated = HealthMatch { statuses_negated: true, ..good.clone() };
    assert_eq!(ask_http(answer, negated).await.0, Err("418".to_owned()));
    let other = HealthMatch { headers: vec![rule("B", "=", "2")], ..good };
    let error = "418, header \"B\" does not match".to_owned();
    assert_eq!(ask_http(answer, other).await.0, Err(error));
}

#[tokio::test]
async fn match_reads_at_most_256_kib_of_the_body_however_it_is_framed() {
    let body = |pattern: &str, wanted: bool| HealthMatch {
        body: Some((!wanted, pattern.to_owned())),
        ..HealthMatch::default()
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nall\r\n5\r\n well\r\n0\r\n\r\n";
    assert_eq!(ask_http(chunked, body("^all well$", true)).await.0, Ok(()));
    let unmatched = Err("the body does not match".to_owned());
    assert_eq!(ask_http(chunked, body("well", false)).await.0, unmatched);
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall well";
    assert_eq!(ask_http(sized, body("^all$", true)).await.0, Ok(()));
    let open = format!("HTTP/1.0 200 OK\r\n\r\n{}end", "a".repeat(MAX_PART - 3));
    assert_eq!(ask_http(&open, body("end$", true)).await.0, Ok(()));
    let longer = format!("HTTP/1.0 200 OK\r\n\r\n{}end", "a".repeat(MAX_PART));
    assert_eq!(ask_http(&longer, body("end", true)).await.0, unmatched);
    let torn = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall";
    let cut = Err("the connection was closed before the body's end".to_owned());
    assert_eq!(ask_http(torn, body("all", true)).await.0, cut);
    let garbled = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nallx\r\n";
    assert_eq!(ask_http(garbled, body("all", true)).await.0, Err("invalid chunk".to_owned()));
}

#[test]
fn a_pattern_that_does_not_compile_is_a_fault_at_its_line() {
    let rules = HealthMatch { body: Some((true, "(".to_owned())), ..HealthMatch::default() };
    let mut upstream = fixture::upstream("x", Balance::RoundRobin, &["127.0.0.1:80"]);
    upstream.health_checks.push(http_check(&[], rules));
    upstream.health_checks[0].at = At::new("nginx.conf", 7);
    let mut diagnostics = crate::config::diagnostic::Diagnostics::default();
    Registry::new().build(&[upstream], &[], &Default::default(), &mut diagnostics);
    let text = diagnostics.to_string();
    assert!(text.starts_with("nginx.conf:7: pcre2_compile() failed: "), "{text}");
}

#[tokio::test]
async fn a_refused_connection_and_a_silent_server_fail() {
    let (listener, address) = listen().await;
    drop(listener);
    let (_registry, refused) = job(&address, fixture::check(HealthKind::Tcp));
    let error = "connect() failed (111: Connection refused)".to_owned();
    assert_eq!(refused.ask().await, Err(error));

    let (listener, address) = listen().await;
    let mut check = http_check(&[], HealthMatch::default());
    check.timeout_ms = 20;
    let (registry, silent) = job(&address, check);
    silent.probe_once().await;
    let status = &registry.status(0)[0].peers[0];
    assert_eq!(status.standing, Standing::Unhealthy);
    assert_eq!(status.checks[0].last_error.as_deref(), Some("no verdict within 20 ms"));
    drop(listener);
}

#[tokio::test]
async fn another_port_and_unix_sockets_are_probed() {
    let (listener, address) = listen().await;
    let mut check = fixture::check(HealthKind::Tcp);
    check.port = Some(listener.local_addr().unwrap().port());
    let (_registry, job_at) = job("127.0.0.1:1", check);
    assert_eq!(job_at.ask().await, Ok(()), "{address}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let name = format!("unix:{}", path.display());
    let (_registry, job_at) = job(&name, fixture::check(HealthKind::Tcp));
    assert_eq!(job_at.ask().await, Ok(()));
}

#[tokio::test]
async fn probes_run_from_the_start_and_take_peers_out_and_back() {
    let (listener, address) = listen().await;
    let (good, bad) = ("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 500 Oh\r\n\r\n");
    let mut asked = serve(listener, &[bad, bad, good, bad, good]);
    let registry = Arc::new(Registry::new());
    let mut upstream = fixture::upstream("x", Balance::RoundRobin, &[&address]);
    let mut check = http_check(&[], HealthMatch::default());
    check.fails = 2;
    check.mandatory = true;
    upstream.health_checks.push(check);
    let groups = fixture::load(&registry, &[upstream.clone()]);
    let group = Arc::clone(groups.get("x").unwrap());
    let standing = || group.peers.load().iter().next().unwrap().standing(0);
    assert_eq!(standing(), Standing::Checking);
    assert!(Picker::new().pick(&group, b"", None, &mut Tried::default(), 0).is_err());

    let (over, shutdown) = watch::channel(false);
    let probing = tokio::spawn(run(Arc::clone(&registry), shutdown));
    for _ in 0..6 {
        asked.recv().await.unwrap();
        // An unchanged reload must neither restart the rhythm nor forget the state.
        upstream.health_checks[0].at = At::new("x", 7);
        fixture::load(&registry, &[upstream.clone()]);
    }
    let status = &registry.status(0)[0].peers[0];
    assert_eq!((status.standing, status.checks[0].unhealthy), (Standing::Up, 1));
    assert!(status.checks[0].probes >= 5);
    assert!(Picker::new().pick(&group, b"", None, &mut Tried::default(), 0).is_ok());

    // Without the check nobody asks any more.
    upstream.health_checks.clear();
    fixture::load(&registry, &[upstream]);
    over.send(true).unwrap();
    probing.await.unwrap();
}

#[tokio::test]
async fn a_check_that_is_removed_takes_its_verdict_with_it() {
    let (listener, address) = listen().await;
    drop(listener);
    let (registry, job) = job(&address, fixture::check(HealthKind::Tcp));
    job.probe_once().await;
    assert_eq!(registry.status(0)[0].peers[0].standing, Standing::Unhealthy);
    let upstream = fixture::upstream("backend", Balance::RoundRobin, &[&address]);
    fixture::load(&registry, &[upstream]);
    assert_eq!(registry.status(0)[0].peers[0].standing, Standing::Up);
    job.probe_once().await;
    assert_eq!(registry.status(0)[0].peers[0].standing, Standing::Up);
}

/// Answers one gRPC call; the request's head and body come back.
async fn grpc_server(
    listener: TcpListener,
    body: Option<&'static [u8]>,
    grpc_status: &'static str,
) -> (::http::request::Parts, Vec<u8>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let (head, mut incoming) = request.into_parts();
    let driver = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut asked = Vec::new();
    while let Some(part) = incoming.data().await {
        asked.extend_from_slice(&part.unwrap());
    }
    let mut response = Response::builder().header("content-type", "application/grpc");
    if body.is_none() {
        response = response.header("grpc-status", grpc_status);
    }
    let response = response.body(()).unwrap();
    let mut sender = respond.send_response(response, body.is_none()).unwrap();
    if let Some(body) = body {
        sender.send_data(Bytes::from_static(body), false).unwrap();
        let mut trailers = ::http::HeaderMap::new();
        trailers.insert("grpc-status", grpc_status.parse().unwrap());
        sender.send_trailers(trailers).unwrap();
    }
    driver.await.unwrap();
    (head, asked)
}

async fn ask_grpc(
    accepted: Option<u32>,
    body: Option<&'static [u8]>,
    grpc_status: &'static str,
) -> Result<(), String> {
    let (listener, address) = listen().await;
    let headers = vec![("Canary-Version".to_owned(), "v2".to_owned())];
    let kind = HealthKind::Grpc { service: "api".to_owned(), status: accepted, headers };
    let (_registry, job) = job(&address, fixture::check(kind));
    let (result, (head, asked)) = tokio::join!(job.ask(), grpc_server(listener, body, grpc_status));
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/grpc.health.v1.Health/Check"));
    assert_eq!(head.headers["canary-version"], "v2");
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(asked, b"\0\0\0\0\x05\x0a\x03api");
    result
}

#[tokio::test]
async fn grpc_health_is_asked_with_metadata() {
    let serving: Option<&[u8]> = Some(b"\0\0\0\0\x02\x08\x01");
    assert_eq!(ask_grpc(None, serving, "0").await, Ok(()));
    let not_serving: Option<&[u8]> = Some(b"\0\0\0\0\x02\x08\x02");
    assert_eq!(ask_grpc(None, not_serving, "0").await, Err("serving status 2".to_owned()));
    let unknown: Option<&[u8]> = Some(b"\0\0\0\0\0");
    assert_eq!(ask_grpc(None, unknown, "0").await, Err("serving status 0".to_owned()));
    let torn: Option<&[u8]> = Some(b"\0\0\0\0\x09\x08");
    assert_eq!(ask_grpc(None, torn, "0").await, Err("invalid HealthCheckResponse".to_owned()));
    assert_eq!(ask_grpc(None, None, "12").await, Err("grpc-status 12".to_owned()));
    assert_eq!(ask_grpc(Some(12), None, "12").await, Ok(()));
    assert_eq!(ask_grpc(Some(12), serving, "0").await, Ok(()));
}

#[tokio::test]
async fn a_server_without_http2_fails_the_grpc_probe() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let kind = HealthKind::Grpc { service: String::new(), status: None, headers: Vec::new() };
    let (_registry, job) = job(&address, fixture::check(kind));
    let error = job.ask().await.unwrap_err();
    assert!(error.starts_with("HTTP/2: ") || error.starts_with("the connection"), "{error}");
}
