//! The stream over real sockets, on one thread.

use super::*;
use crate::downstream::fixture;
use crate::sys::raw_stream::RawStream;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// A stream with a head due within `timeout_ms`, and its client.
async fn pair(timeout_ms: u64) -> (Stream, TcpStream, Rc<HeadWait>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let wait = Rc::new(HeadWait::new(fixture::connection(clock::monotonic()), timeout_ms));
    (Stream::new(Transport::Plain(RawStream::Tcp(accepted)), Rc::clone(&wait)), client, wait)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn small_writes_leave_together_and_large_ones_in_their_order() {
    run(async {
        let (mut stream, mut client, _) = pair(60_000).await;
        let large = vec![b'x'; 3 * WRITE_BUFFER_BYTES];
        stream.write_all(b"head ").await.unwrap();
        stream.write_all(b"body ").await.unwrap();
        assert_eq!(stream.unsent.len(), 10);
        // More than the kernel takes at once must not be needed for this.
        stream.write_all(&large).await.unwrap();
        stream.write_all(b" end").await.unwrap();
        stream.flush().await.unwrap();
        let mut got = vec![0; 14 + large.len()];
        client.read_exact(&mut got).await.unwrap();
        assert!(got.starts_with(b"head body x") && got.ends_with(b"x end"));
        assert!(stream.unsent.is_empty());
    });
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    run(async {
        let (mut stream, _client, _) = pair(20).await;
        let fault = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_body_may_take_its_time() {
    run(async {
        let (mut stream, mut client, wait) = pair(5).await;
        wait.connection.requests.set(1);
        let writer = async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            client.write_all(b"late").await.unwrap();
        };
        let mut buffer = [0; 16];
        let (read, ()) = tokio::join!(stream.read(&mut buffer), writer);
        assert_eq!(&buffer[..read.unwrap()], b"late");
    });
}

#[test]
fn drained_an_idle_connection_ends() {
    run(async {
        let (mut stream, _client, wait) = pair(60_000).await;
        let drain = async {
            tokio::task::yield_now().await;
            wait.drain();
        };
        let mut buffer = [0; 16];
        let (read, ()) = tokio::join!(stream.read(&mut buffer), drain);
        assert_eq!(read.unwrap(), 0);
        assert!(wait.connection.closing.get());
    });
}

#[test]
fn requests_find_their_connection_in_the_stream() {
    run(async {
        let (stream, client, wait) = pair(60_000).await;
        let digest = pingora::protocols::Digest {
            proxy_digest: stream.carried.clone(),
            ..pingora::protocols::Digest::default()
        };
        let found = crate::request::Connection::of(&digest).unwrap();
        assert!(Rc::ptr_eq(&found, &wait.connection));
        let peer = stream.ends.peer_addr().and_then(|it| it.as_inet()).copied();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
    });
}
