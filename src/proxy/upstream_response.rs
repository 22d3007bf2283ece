//! An upstream's response on its way to the client: which fields pass, redirects, the body.

use super::error::Result;
use super::exchange::{Response, Upstream};
use super::filters;
use super::head;
use super::phases::{Flow, Serving, cut};
use super::retry::{end_attempt, gone, watch};
use crate::http::uri;
use crate::log::Level;
use crate::request::{Request, ResponseHead, decimal};
use crate::snapshot::conf::ProxyConf;
use bytes::Bytes;
use std::task::Poll;

/// Fields of one connection, which nginx reads itself.
const HOP_BY_HOP: [&[u8]; 3] = [b"connection", b"keep-alive", b"transfer-encoding"];

/// Fields that `X-Accel-Redirect` carries over to what answers in its place.
const ACCEL_KEPT: [&[u8]; 6] = [
    b"content-type",
    b"content-disposition",
    b"set-cookie",
    b"cache-control",
    b"expires",
    b"accept-ranges",
];

/// Passes a response on to the client.
///
/// # Errors
/// The client's connection is gone, or the peer broke off after the head went out.
pub(super) async fn pass(serving: &mut Serving<'_>, response: Response) -> Result<Flow> {
    let request = serving.request.clone();
    let proxy = request.conf().proxy.clone();
    let intercepted = proxy.intercept_errors
        && response.status >= 300
        && request.conf().error_page.iter().any(|it| it.statuses.contains(&response.status));
    let Response { status, reason, headers, connection } = response;
    let target = headers.get(b"x-accel-redirect").cloned();
    *request.upstream_headers.borrow_mut() = headers;
    if intercepted {
        end_attempt(&request, None);
        keep(&request, |it| status == 401 && it.eq_ignore_ascii_case(b"www-authenticate"));
        return Ok(Flow::Status(status));
    }
    if let Some(target) = target {
        end_attempt(&request, None);
        keep(&request, |it| ACCEL_KEPT.iter().any(|kept| it.eq_ignore_ascii_case(kept)));
        return Ok(accel_redirect(&request, &target));
    }
    fill(&request, &proxy, status, reason);
    if serving.send_head().is_err() {
        end_attempt(&request, None);
        return Ok(Flow::Done);
    }
    let sent = stream(serving, connection).await;
    end_attempt(&request, None);
    sent
}

/// Fields of the upstream's that stay on the response when something else makes the rest of it.
fn keep(request: &Request, is_kept: impl Fn(&[u8]) -> bool) {
    let headers = request.upstream_headers.borrow();
    let mut head = request.response.borrow_mut();
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        if name.eq_ignore_ascii_case(b"content-type") {
            head.content_type = Some(value.clone());
        } else {
            head.headers.append(name.clone(), value.clone());
        }
    }
}

/// The client's head, from the upstream's.
fn fill(request: &Request, proxy: &ProxyConf, status: u16, reason: Option<Bytes>) {
    // `proxy_redirect` may hold variables of the response: nothing is borrowed for writing.
    let mut head = ResponseHead {
        closes: request.response.borrow().closes,
        status,
        reason: reason.filter(|it| !it.is_empty()),
        ..ResponseHead::default()
    };
    let headers = request.upstream_headers.borrow();
    let is_chunked = headers.contains(b"transfer-encoding");
    for (name, value) in headers.iter() {
        let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
        if is(b"content-type") {
            head.content_type = Some(value.clone());
        } else if is(b"content-length") {
            // A chunked response says its length by its chunks; the client must not see both.
            head.content_length = decimal(value).filter(|_| !is_chunked);
        } else if is(b"location") || is(b"refresh") {
            match redirected(request, proxy, is(b"location"), value) {
                // nginx makes absolute what it has rewritten, and nothing else.
                Some(to) if is(b"location") && is_relative(request, &to) => {
                    head.location = Some(to);
                }
                Some(to) => head.headers.append(name.clone(), to),
                None => head.headers.append(name.clone(), value.clone()),
            }
        } else if !HOP_BY_HOP.iter().any(|it| is(it)) && !proxy.hide_header.iter().any(|it| is(it))
        {
            head.headers.append(name.clone(), value.clone());
        }
    }
    *request.response.borrow_mut() = head;
}

/// `proxy_redirect` on `Location` and on the URL of `Refresh`.
fn redirected(
    request: &Request,
    proxy: &ProxyConf,
    is_location: bool,
    value: &Bytes,
) -> Option<Bytes> {
    let start = match is_location {
        true => 0,
        false => value.windows(4).position(|it| it.eq_ignore_ascii_case(b"url="))? + 4,
    };
    let url = &value[start..];
    for (from, to) in &proxy.redirect {
        let from = from.value(request);
        if let Some(rest) = url.strip_prefix(&*from) {
            let to = to.value(request);
            return Some([&value[..start], &to, rest].concat().into());
        }
    }
    None
}

fn is_relative(request: &Request, value: &[u8]) -> bool {
    request.conf().absolute_redirect && value.first() == Some(&b'/')
}

/// `X-Accel-Redirect`: an internal redirect, or a named location.
fn accel_redirect(request: &Request, target: &Bytes) -> Flow {
    if let Some(name) = target.strip_prefix(b"@") {
        return Flow::Named(Bytes::copy_from_slice(name));
    }
    match uri::parse_unsafe(target) {
        Some((path, args)) => {
            *request.method.borrow_mut() = if request.is_head() {
                Bytes::from_static(b"HEAD")
            } else {
                Bytes::from_static(b"GET")
            };
            Flow::Internal(path, args)
        }
        None => {
            request.log(Level::Error, format_args!("unsafe URI was detected in X-Accel-Redirect"));
            Flow::Status(404)
        }
    }
}

/// The body, chunk by chunk: the next one is read once the last one was taken.
async fn stream(serving: &mut Serving<'_>, mut upstream: Upstream) -> Result<Flow> {
    let request = serving.request.clone();
    let vm = serving.generation.vm.clone();
    let has_body = head::has_body(&request);
    let expected = request.response.borrow().content_length.filter(|_| has_body);
    let mut received = 0u64;
    let head_length = upstream.head_length;
    loop {
        let chunk = match next_chunk(serving, &mut upstream).await? {
            Next::Chunk(chunk) => chunk,
            Next::End => break,
            Next::BrokeOff(error) => return broke_off(serving, &request, &error).await,
            Next::ClientGone => return gone(&request, false),
        };
        received += chunk.len() as u64;
        if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
            attempt.response_length = received;
            attempt.bytes_received = head_length + received;
        }
        if filters::body(&vm, &request, chunk, false).is_err() {
            return Ok(Flow::Done);
        }
        serving.client.flush_output(&request).await?;
    }
    if expected.is_some_and(|it| received < it && request.conf().lua.body_filter.is_none()) {
        request.log(Level::Error, format_args!("upstream prematurely closed connection"));
        return cut("the upstream's response is incomplete");
    }
    if filters::body(&vm, &request, Bytes::new(), true).is_err() {
        return Ok(Flow::Done);
    }
    upstream.release(&serving.worker).await;
    Ok(Flow::Done)
}

/// What comes next of an upstream's body.
enum Next {
    Chunk(Bytes),
    End,
    BrokeOff(Box<pingora::Error>),
    ClientGone,
}

impl From<pingora::Result<Option<Bytes>>> for Next {
    fn from(read: pingora::Result<Option<Bytes>>) -> Self {
        match read {
            Ok(Some(chunk)) => Self::Chunk(chunk),
            Ok(None) => Self::End,
            Err(error) => Self::BrokeOff(error),
        }
    }
}

/// The next chunk; while the upstream lets it wait, the client gets all that came before, and is
/// watched.
async fn next_chunk(serving: &mut Serving<'_>, upstream: &mut Upstream) -> Result<Next> {
    let mut read = std::pin::pin!(upstream.read());
    let at_once = std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
        Poll::Ready(chunk) => Poll::Ready(Some(chunk)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(chunk) = at_once.await {
        return Ok(chunk.into());
    }
    serving.client.flush_socket().await?;
    let request = serving.request.clone();
    Ok(tokio::select! {
        biased;
        chunk = read => chunk.into(),
        () = watch(serving, &request) => Next::ClientGone,
    })
}

/// The client must see that the body is not whole: its connection is cut.
async fn broke_off(
    serving: &mut Serving<'_>,
    request: &Request,
    error: &pingora::Error,
) -> Result<Flow> {
    let what = match error.etype() {
        pingora::ErrorType::ReadTimedout => "upstream timed out (110: Connection timed out)",
        _ => "upstream prematurely closed connection",
    };
    request.log(Level::Error, format_args!("{what} while reading upstream"));
    serving.client.flush_output(request).await?;
    serving.client.flush_socket().await?;
    cut("the upstream broke off")
}
