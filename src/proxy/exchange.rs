//! One try at one peer: connect, send the request, read the response's head.
//!
//! This is the seam to the upstream: connections, pools and HTTP framing are pingora's
//! (`pingora_core::connectors`); phases, retries and the client's side know nothing of them.

use super::pool::History;
use super::upstream_request;
use super::worker::WorkerState;
use crate::clock;
use crate::http::headers::Headers;
use crate::request::{Body, Request};
use crate::snapshot::conf::ProxyConf;
use crate::upstream::retry::Fault;
use crate::upstream::{Group, Keepalive, Peer, PeerAddr};
use bytes::Bytes;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::upstreams::peer::HttpPeer;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Bytes of a body file that are sent at a time.
const CHUNK: usize = 64 << 10;

/// A response whose head was read.
pub(super) struct Response {
    pub status: u16,
    pub reason: Option<Bytes>,
    pub headers: Headers,
    pub connection: Upstream,
}

/// A connection to a peer, with a response to be read from it.
pub(super) struct Upstream {
    session: HttpSession,
    history: History,
    upstream: Arc<str>,
    keepalive: Keepalive,
    read_timeout: Duration,
    /// The peer got the whole request.
    whole: bool,
    /// Bytes of the response's head.
    pub head_length: u64,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub fault: Fault,
    /// Bytes of the request may have reached the peer.
    pub sent: bool,
    /// The connection had been kept alive.
    pub reused: bool,
    /// For the log.
    pub reason: String,
}

/// How long steps may take: the location's, or what a balancer script said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub connect: Duration,
    pub send: Duration,
    pub read: Duration,
}

impl Timeouts {
    /// The location's.
    pub fn of(proxy: &ProxyConf) -> Self {
        Self {
            connect: Duration::from_millis(proxy.connect_timeout_ms),
            send: Duration::from_millis(proxy.send_timeout_ms),
            read: Duration::from_millis(proxy.read_timeout_ms),
        }
    }
}

/// Sends the request to `peer` and waits for the head of its response.
pub(super) async fn attempt(
    worker: &WorkerState,
    request: &Request,
    group: &Group,
    peer: &Peer,
    timeouts: Timeouts,
    head: RequestHeader,
) -> Result<Response, Failed> {
    let target = address(peer, timeouts).map_err(|error| connecting(&error))?;
    let kept = worker.pool.take(&group.name, &peer.address);
    let reused = kept.is_some();
    let (stream, history) = match kept {
        Some(kept) => kept,
        None => {
            let stream = worker.connector.new_stream(&target).await;
            (stream.map_err(|error| connecting(&error))?, History::new(peer.address.clone()))
        }
    };
    let mut session = HttpSession::H1(Http1Session::new_with_options(stream, &target));
    note(request, |it, ms| it.connect_ms = Some(ms));
    session.set_read_timeout(Some(timeouts.read));
    session.set_write_timeout(Some(timeouts.send));
    let failed = |error: &pingora::Error, doing: &str| Failed {
        fault: fault_of(error),
        sent: true,
        reused,
        reason: describe(error, doing),
    };
    let sent = send(&mut session, request, head).await;
    let whole = sent.is_ok();
    if let Err(error) = sent {
        if !has_answered(&mut session, &error).await {
            return Err(failed(&error, "while sending request to upstream"));
        }
        session.set_read_timeout(Some(timeouts.read));
    } else {
        let doing = "while reading response header from upstream";
        session.read_response_header().await.map_err(|it| failed(&it, doing))?;
    }
    let (status, reason, headers) = final_head(&mut session, &failed).await?;
    let head_length = head_length_of(&session);
    note(request, |it, ms| {
        it.header_ms = Some(ms);
        it.bytes_received = head_length;
    });
    Ok(Response {
        status,
        reason,
        headers,
        connection: Upstream {
            head_length,
            session,
            history,
            upstream: group.name.clone(),
            keepalive: group.keepalive,
            read_timeout: timeouts.read,
            whole,
        },
    })
}

/// Whether the peer answered before it had read the whole request. What takes no more bytes has
/// said already what it has to say, or is given no more time.
async fn has_answered(session: &mut HttpSession, error: &pingora::Error) -> bool {
    match error.etype() {
        ErrorType::WriteError | ErrorType::ConnectionClosed => {
            session.read_response_header().await.is_ok()
        }
        ErrorType::WriteTimedout => {
            session.set_read_timeout(Some(Duration::ZERO));
            session.read_response_header().await.is_ok()
        }
        _ => false,
    }
}

fn head_length_of(session: &HttpSession) -> u64 {
    session.as_http1().map_or(0, |it| it.get_headers_raw_bytes().len() as u64)
}

/// Answers before the answer (1xx) that a peer may send.
const MOST_INTERIM: u32 = 10_000;

/// Skips 1xx and takes the head apart.
async fn final_head(
    session: &mut HttpSession,
    failed: &impl Fn(&pingora::Error, &str) -> Failed,
) -> Result<(u16, Option<Bytes>, Headers), Failed> {
    let mut interim = 0;
    loop {
        let status = session.response_header().map_or(0, |it| it.status.as_u16());
        if status >= 200 {
            break;
        }
        let error = pingora::Error::new(ErrorType::InvalidHTTPHeader);
        if status == 101 {
            return Err(failed(&error, "switching protocols, which is not supported"));
        }
        interim += 1;
        if interim > MOST_INTERIM {
            return Err(failed(&error, "too many interim responses"));
        }
        let doing = "while reading response header from upstream";
        session.read_response_header().await.map_err(|it| failed(&it, doing))?;
    }
    let parsed = session.response_header();
    let status = parsed.map_or(502, |it| it.status.as_u16());
    let raw = session.as_http1().map(|it| it.get_headers_raw_bytes());
    let (reason, headers) = match (raw, parsed) {
        (Some(raw), _) => from_raw(&raw).ok_or_else(|| {
            let error = pingora::Error::new(ErrorType::InvalidHTTPHeader);
            failed(&error, "while reading response header from upstream")
        })?,
        (None, Some(parsed)) => (None, from_fields(parsed)),
        (None, None) => (None, Headers::new()),
    };
    Ok((status, reason, headers))
}

/// Order and spelling as the peer sent them; `None` for a folded line, which nginx refuses.
fn from_raw(raw: &Bytes) -> Option<(Option<Bytes>, Headers)> {
    let mut lines =
        raw.split(|it| *it == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let reason = first.splitn(3, |it| *it == b' ').nth(2).map(Bytes::copy_from_slice);
    let mut headers = Headers::with_capacity(16);
    for line in lines.take_while(|it| !it.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return None;
        }
        if let Some(colon) = line.iter().position(|it| *it == b':') {
            let value = Bytes::copy_from_slice(line[colon + 1..].trim_ascii());
            headers.append(raw.slice_ref(&line[..colon]), value);
        }
    }
    Some((reason, headers))
}

fn from_fields(parsed: &pingora::http::ResponseHeader) -> Headers {
    let mut headers = Headers::with_capacity(parsed.headers.len());
    for (name, value) in &parsed.headers {
        let name = Bytes::copy_from_slice(name.as_str().as_bytes());
        headers.append(name, Bytes::copy_from_slice(value.as_bytes()));
    }
    headers
}

/// Sends head and body.
async fn send(
    session: &mut HttpSession,
    request: &Request,
    head: RequestHeader,
) -> pingora::Result<()> {
    let length = wire_length(&head);
    session.write_request_header(Box::new(head)).await?;
    note(request, |it, _| it.bytes_sent += length);
    if !request.conf().proxy.pass_request_body {
        return session.finish_request_body().await;
    }
    if let Some(body) = upstream_request::body_in_memory(request) {
        let length = body.len() as u64;
        session.write_request_body(body, true).await?;
        note(request, |it, _| it.bytes_sent += length);
        return session.finish_request_body().await;
    }
    let path = match &*request.body.borrow() {
        Body::File(file) => Some(file.path.clone()),
        _ => None,
    };
    if let Some(path) = path {
        send_file(session, request, &path).await?;
    }
    session.finish_request_body().await
}

/// Bytes of a head on the wire.
fn wire_length(head: &RequestHeader) -> u64 {
    const LINE_AND_END: usize = "  HTTP/1.1\r\n\r\n".len();
    let line = head.method.as_str().len() + head.raw_path().len() + LINE_AND_END;
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    (line + fields.sum::<usize>()) as u64
}

async fn send_file(
    session: &mut HttpSession,
    request: &Request,
    path: &std::path::Path,
) -> pingora::Result<()> {
    let broken = |error: std::io::Error| {
        pingora::Error::because(ErrorType::InternalError, "reading a request body's file", error)
    };
    let mut file = tokio::fs::File::open(path).await.map_err(broken)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let count = (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await.map_err(broken)?;
        if count == 0 {
            return Ok(());
        }
        session.write_request_body(chunk.into(), false).await?;
        note(request, |it, _| it.bytes_sent += count as u64);
    }
}

impl Upstream {
    /// The next chunk of the response's body; `None` at its end.
    ///
    /// # Errors
    /// The peer broke off, or was silent for too long.
    pub async fn read(&mut self) -> pingora::Result<Option<Bytes>> {
        let read = self.session.read_response_body();
        match tokio::time::timeout(self.read_timeout, read).await {
            Ok(read) => read,
            Err(_) => pingora::Error::e_explain(ErrorType::ReadTimedout, "reading upstream"),
        }
    }

    /// The response was read to its end: keeps the connection where the group does so.
    pub async fn release(self, worker: &WorkerState) {
        if !self.whole {
            // The peer would take the next request for the rest of this one.
            return;
        }
        let HttpSession::H1(mut session) = self.session else { return };
        session.respect_keepalive();
        if let Some(stream) = session.reuse().await {
            worker.pool.put(&self.upstream, stream, self.history, &self.keepalive);
        }
    }
}

/// The peer as pingora's connector takes it.
fn address(peer: &Peer, timeouts: Timeouts) -> pingora::Result<HttpPeer> {
    let mut target = match &peer.address {
        PeerAddr::Tcp(address) => HttpPeer::new(address, false, String::new()),
        PeerAddr::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), false, String::new())?,
    };
    target.options.connection_timeout = Some(timeouts.connect);
    target.options.total_connection_timeout = Some(timeouts.connect);
    Ok(target)
}

fn connecting(error: &pingora::Error) -> Failed {
    Failed {
        fault: fault_of(error),
        sent: false,
        reused: false,
        reason: describe(error, "while connecting to upstream"),
    }
}

fn fault_of(error: &pingora::Error) -> Fault {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            Fault::Timeout
        }
        ErrorType::InvalidHTTPHeader => Fault::InvalidHeader,
        _ => Fault::Error,
    }
}

/// nginx's words for what happened.
fn describe(error: &pingora::Error, doing: &str) -> String {
    let what = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            "upstream timed out (110: Connection timed out)".to_owned()
        }
        ErrorType::ConnectRefused => "connect() failed (111: Connection refused)".to_owned(),
        ErrorType::ConnectionClosed => "upstream prematurely closed connection".to_owned(),
        ErrorType::InvalidHTTPHeader => "upstream sent invalid header".to_owned(),
        ErrorType::ReadError => "recv() failed (104: Connection reset by peer)".to_owned(),
        ErrorType::WriteError => "send() failed (32: Broken pipe)".to_owned(),
        _ => format!("upstream failed: {error}"),
    };
    format!("{what} {doing}")
}

/// Notes something of the current attempt, and how long it has taken.
fn note(request: &Request, set: impl FnOnce(&mut crate::request::Attempt, u64)) {
    let now = clock::monotonic();
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        let ms = now.ms_since(attempt.started);
        set(attempt, ms);
    }
}
