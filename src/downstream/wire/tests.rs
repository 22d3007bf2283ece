//! The connection over real sockets, on one thread.

use super::*;
use crate::downstream::{BodyFault, fixture};
use crate::http::h1::request_head::Policy;
use crate::sys::raw_stream::RawStream;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const POLICY: Policy =
    Policy { bare_lf: false, underscores: false, line_bytes: 8192, head_bytes: 32768 };

/// A connection with a head due within `timeout_ms`, and its client.
async fn pair(timeout_ms: u64) -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let wait = HeadWait::new(fixture::connection(clock::monotonic()), timeout_ms);
    (Wire::new(Transport::Plain(RawStream::Tcp(accepted)), Rc::new(wait)), client)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Reads a head, as the proxy does, and begins its request.
async fn begin(wire: &mut Wire) -> Result<Bytes, HeadEnd> {
    wire.head_begins().await?;
    let mut parser = Parser::new(POLICY);
    wire.head(&mut parser).await?;
    let head = parser.into_head();
    let requests = &wire.connection().requests;
    requests.set(requests.get() + 1);
    wire.begin(Framing::of(&head));
    Ok(wire.take(head.end))
}

async fn body(wire: &mut Wire, timeout_ms: u64) -> Result<Vec<u8>, BodyFault> {
    let mut whole = Vec::new();
    while let Some(chunk) = poll_fn(|cx| wire.poll_body(cx, timeout_ms)).await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

#[test]
fn requests_in_one_packet_are_taken_one_after_the_other() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        let first = "POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        let second = "POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = "2\r\nde\r\n1;x\r\nf\r\n0\r\nX: y\r\n\r\n";
        let third = "GET /3 HTTP/1.1\r\n\r\n";
        let all = format!("{first}abc{second}{chunks}{third}");
        client.write_all(all.as_bytes()).await.unwrap();
        assert_eq!(begin(&mut wire).await.unwrap(), first);
        assert_eq!((body(&mut wire, 1000).await.unwrap(), wire.received()), (b"abc".to_vec(), 3));
        wire.rest(1000);
        assert_eq!(begin(&mut wire).await.unwrap(), second);
        assert_eq!(body(&mut wire, 1000).await.unwrap(), b"def");
        assert_eq!(wire.received(), chunks.len() as u64);
        wire.rest(1000);
        assert_eq!(begin(&mut wire).await.unwrap(), third);
        assert!(wire.is_body_over() && wire.unused().is_empty());
    });
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    run(async {
        let (mut wire, mut client) = pair(20).await;
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(begin(&mut wire).await.unwrap_err(), HeadEnd::TimedOut);
        let (mut wire, client) = pair(60_000).await;
        drop(client);
        assert_eq!(begin(&mut wire).await.unwrap_err(), HeadEnd::Closed);
        let (mut wire, mut client) = pair(60_000).await;
        client.write_all(b"GET / HT").await.unwrap();
        drop(client);
        assert_eq!(begin(&mut wire).await.unwrap_err(), HeadEnd::Left);
    });
}

#[test]
fn an_idle_connection_closes_in_its_time_and_holds_little() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n").await.unwrap();
        begin(&mut wire).await.unwrap();
        let send = async { client.write_all(&[b'x'; 90_000]).await.unwrap() };
        let (read, ()) = tokio::join!(body(&mut wire, 1000), send);
        assert_eq!(read.unwrap().len(), 90_000);
        wire.push(Bytes::from(vec![b'y'; 3000]), true);
        poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
        wire.rest(20);
        assert_eq!(wire.head_begins().await, Err(HeadEnd::Closed));
        assert!(wire.input.capacity() <= KEPT_BYTES, "{}", wire.input.capacity());
    });
}

#[test]
fn drained_an_idle_connection_ends() {
    run(async {
        let (mut wire, _client) = pair(60_000).await;
        let wait = Rc::clone(&wire.wait);
        let drain = async {
            tokio::task::yield_now().await;
            wait.drain();
        };
        let (came, ()) = tokio::join!(wire.head_begins(), drain);
        assert_eq!(came, Err(HeadEnd::Closed));
        assert!(wire.connection().closing.get());
    });
}

#[test]
fn a_body_has_its_timeout_and_its_faults() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
        begin(&mut wire).await.unwrap();
        assert!(matches!(body(&mut wire, 20).await, Err(BodyFault::TimedOut)));
        drop(client);
        wire.begin(Framing::Length(6));
        assert!(matches!(body(&mut wire, 10_000).await, Err(BodyFault::Left(_))));
        let (mut wire, mut client) = pair(60_000).await;
        let text = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        client.write_all(text).await.unwrap();
        begin(&mut wire).await.unwrap();
        assert!(matches!(body(&mut wire, 1000).await, Err(BodyFault::Chunk(_))));
    });
}

#[test]
fn a_client_that_takes_nothing_is_given_up_and_one_that_leaves_is_noticed() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        wire.connection().send_timeout_ms.set(20);
        let sent = loop {
            wire.push(Bytes::from(vec![b'y'; 1 << 20]), false);
            if let Err(error) = poll_fn(|cx| wire.poll_flush(cx)).await {
                break error;
            }
        };
        assert_eq!(sent.kind(), io::ErrorKind::TimedOut);
        client.write_all(b"GET /next HTTP/1.1\r\n").await.unwrap();
        let stays =
            tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| wire.poll_gone(cx)));
        assert!(stays.await.is_err());
        drop(client);
        poll_fn(|cx| wire.poll_gone(cx)).await;
        assert!(wire.unused().starts_with(b"GET /next"));
    });
}

#[test]
fn what_a_client_still_sends_is_read_before_its_connection_closes() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        wire.end().extend_from_slice(b"HTTP/1.1 413 No\r\n\r\n");
        poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
        let peer = async {
            let mut answer = Vec::new();
            client.write_all(&[b'x'; 300_000]).await.unwrap();
            client.read_to_end(&mut answer).await.unwrap();
            drop(client);
            answer
        };
        let ((), answer) = tokio::join!(wire.linger(5000, 5000), peer);
        assert_eq!(answer, b"HTTP/1.1 413 No\r\n\r\n");
        assert!(wire.is_over);
    });
}

#[test]
fn a_body_nobody_wants_is_thrown_away_within_its_time() {
    run(async {
        let (mut wire, mut client) = pair(60_000).await;
        let text = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcdeGET";
        client.write_all(text).await.unwrap();
        begin(&mut wire).await.unwrap();
        wire.discard(1000, 1000).await.unwrap();
        assert_eq!((wire.unused(), wire.received()), (&b"GET"[..], 5));
        wire.begin(Framing::Length(10));
        assert!(matches!(wire.discard(20, 1000).await, Err(BodyFault::TimedOut)));
    });
}
