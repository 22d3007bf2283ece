//! How a connection begins: a handshake, and what tells HTTP/2 from HTTP/1. All of it keeps the
//! deadline of the first head.

use super::transport::{Begun, Transport};
use super::{HeadWait, Verdict};
use crate::clock;
use crate::log::{Level, Line, main_log};
use crate::metrics;
use crate::request::Connection;
use crate::sys::raw_stream::RawStream;
use crate::tls;
use crate::tls::{Endpoint, Handshake, Question, RECORD_BYTES, Shaken, TlsStream};
use bytes::BytesMut;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;
use tokio::time::Sleep;

/// What a client with prior knowledge of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read to see what a connection is.
const FIRST_BYTES: usize = 1024;
/// Bytes of responses that are encrypted before they are sent.
const WRITE_BYTES: usize = 4 * RECORD_BYTES;
/// The first byte of a handshake's record.
const HANDSHAKE: u8 = 0x16;
/// The highest bit of a hello of SSL 2, which OpenSSL refuses in its own words.
const OLD_HELLO: u8 = 0x80;

/// What a listener wants of its connections.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// TLS.
    pub tls: Option<Endpoint>,
    /// Without TLS: HTTP/2 for those who begin so.
    pub http2: bool,
    /// Who answers for scripts in handshakes; nobody lets them go on.
    pub scripts: Option<Rc<dyn Scripts>>,
}

/// What a script wants of a handshake, once it has ended; `None` ends the handshake too.
pub type Answering = Pin<Box<dyn Future<Output = Option<tls::Wanted>>>>;

/// Runs the scripts that handshakes wait for.
pub trait Scripts: fmt::Debug {
    /// Runs the script of `question` for a handshake on `connection`.
    fn answer(
        &self,
        question: Question,
        handshake: Handshake,
        connection: &Rc<Connection>,
    ) -> Answering;
}

/// A connection on which HTTP can be spoken.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes.
    pub transport: Transport,
    /// HTTP/2 rather than HTTP/1.
    pub http2: bool,
}

/// Why a connection ended before HTTP was spoken.
enum Ended {
    /// The client went away, or was too slow, or may not stay.
    Gone,
    /// It has to be said why.
    Failed(String),
}

/// Opens a connection as its listener wants it; `None` when it has ended, which was logged.
pub async fn open(stream: RawStream, wait: &HeadWait, wanted: &Wanted) -> Option<Opened> {
    let opened = match &wanted.tls {
        Some(endpoint) => secure(stream, wait, endpoint, wanted.scripts.as_ref()).await,
        None if wanted.http2 => sniff(stream, wait).await,
        None => Ok(Opened { transport: Transport::Plain(stream), http2: false }),
    };
    match opened {
        Ok(opened) => Some(opened),
        Err(Ended::Gone) => None,
        Err(Ended::Failed(why)) => {
            metrics::catalog().tls_handshakes.with_label_values(&["failed"]).inc();
            say(wait, &format!("{why} while SSL handshaking"));
            None
        }
    }
}

/// Shakes hands; a client that speaks HTTP without TLS is to be told by a response.
async fn secure(
    stream: RawStream,
    wait: &HeadWait,
    endpoint: &Endpoint,
    scripts: Option<&Rc<dyn Scripts>>,
) -> Result<Opened, Ended> {
    let (stream, begun) = first(stream, wait, |it| !it.is_empty()).await?;
    if !begun.first().is_some_and(|it| *it == HANDSHAKE || it & OLD_HELLO != 0) {
        wait.connection.misses_tls.set(true);
        return Ok(again(stream, begun, false));
    }
    let short = |it: openssl::error::ErrorStack| Ended::Failed(format!("SSL_new() failed: {it}"));
    let ssl = endpoint.accept().map_err(short)?;
    let mut stream = TlsStream::new(ssl, stream, begun, WRITE_BYTES).map_err(short)?;
    let established = loop {
        let shaken = patiently(wait, "SSL handshaking", |cx| stream.poll_handshake(cx)).await?;
        // As soon as there is one, even if the client has left meanwhile.
        if let Some((scripts, handshake)) = scripts.zip(stream.new_session()) {
            let mut kept = scripts.answer(Question::Store, handshake, &wait.connection);
            patiently(wait, "SSL handshaking", |cx| kept.as_mut().poll(cx)).await?;
        }
        let question = match shaken.map_err(Ended::Failed)? {
            Shaken::Done(established) => break established,
            Shaken::Asked(question) => question,
        };
        let wanted = match scripts {
            None => Some(tls::Wanted::default()),
            Some(scripts) => {
                let handshake = stream.handshake(question);
                let mut answering = scripts.answer(question, handshake, &wait.connection);
                patiently(wait, "SSL handshaking", |cx| answering.as_mut().poll(cx)).await?
            }
        };
        stream.answer(question, wanted).map_err(Ended::Failed)?;
    };
    let result = if established.resumed { "resumed" } else { "full" };
    metrics::catalog().tls_handshakes.with_label_values(&[result]).inc();
    let http2 = established.is_http2();
    // Set here only, once a connection.
    let _ = wait.connection.tls.set(established);
    Ok(Opened { transport: Transport::Tls(Box::new(stream)), http2 })
}

/// Looks whether a connection begins as HTTP/2 does; as soon as it does not, it is HTTP/1.
async fn sniff(stream: RawStream, wait: &HeadWait) -> Result<Opened, Ended> {
    let is_known = |it: &[u8]| it.len() >= PREFACE.len() || !PREFACE.starts_with(it);
    let (stream, begun) = first(stream, wait, is_known).await?;
    let http2 = begun.starts_with(PREFACE);
    Ok(again(stream, begun, http2))
}

fn again(rest: RawStream, bytes: BytesMut, http2: bool) -> Opened {
    Opened { transport: Transport::Begun(Box::new(Begun { bytes, rest })), http2 }
}

/// Reads until `is_enough`; a client that ends before has gone.
async fn first(
    mut stream: RawStream,
    wait: &HeadWait,
    is_enough: impl Fn(&[u8]) -> bool,
) -> Result<(RawStream, BytesMut), Ended> {
    let mut begun = BytesMut::new();
    while begun.is_empty() || !is_enough(&begun) {
        let read = patiently(wait, "reading client request headers", |cx| {
            begun.reserve(FIRST_BYTES);
            pin!(stream.read_buf(&mut begun)).poll(cx)
        });
        match read.await? {
            Ok(0) | Err(_) => return Err(Ended::Gone),
            Ok(_) => wait.arrived(clock::monotonic()),
        };
    }
    Ok((stream, begun))
}

/// Polls until that is done, or the wait for a head is over.
async fn patiently<T>(
    wait: &HeadWait,
    doing: &str,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Ended> {
    let mut alarm = None;
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => Poll::Ready(Err(ready!(poll_end(wait, doing, &mut alarm, cx)))),
    })
    .await
}

fn poll_end(
    wait: &HeadWait,
    doing: &str,
    alarm: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    loop {
        let now = clock::monotonic();
        let until = match wait.verdict(now) {
            Verdict::NotWaiting => return Poll::Pending,
            Verdict::Close => return Poll::Ready(Ended::Gone),
            Verdict::TimedOut => {
                say(wait, &format!("client timed out (110: Connection timed out) while {doing}"));
                return Poll::Ready(Ended::Gone);
            }
            Verdict::Wait(until) => until,
        };
        wait.park(cx.waker());
        let Some(until) = until else { return Poll::Pending };
        let due = tokio::time::Instant::now() + (until - now);
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.is_elapsed() || alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        ready!(alarm.as_mut().poll(cx));
    }
}

/// Logs what a client did before there was a request.
fn say(wait: &HeadWait, what: &str) {
    let connection = &wait.connection;
    let context = |line: &mut Line| {
        line.field("client", connection.client.host());
        line.field("server", connection.listener.as_bytes());
    };
    main_log().write(Level::Info, Some(connection.serial), format_args!("{what}"), Some(&context));
}
