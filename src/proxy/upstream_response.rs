//! An upstream's response on its way to the client: which fields pass, redirects, the body.

use super::ahead::{Ahead, Next};
use super::error::Result;
use super::exchange::Broken;
use super::filters;
use super::memcached;
use super::phases::{Flow, Serving, cut};
use super::ranges::Cutter;
use super::retry::{end_attempt, gone};
use super::talk::Talk;
use super::trailers;
use super::tunnel;
use crate::http::h1::response_head::{Meaning, ReceivedHead};
use crate::http::headers::Headers;
use crate::http::uri;
use crate::log::Level;
use crate::request::response::Ranges;
use crate::request::{Request, ResponseHead, decimal};
use crate::rollout::Ending;
use crate::snapshot::conf::ProxyConf;
use crate::upstream::ActiveGuard;
use bytes::Bytes;
use std::pin::pin;

/// Fields that `X-Accel-Redirect` carries over to what answers in its place.
const ACCEL_KEPT: [&[u8]; 6] = [
    b"content-type",
    b"content-disposition",
    b"set-cookie",
    b"cache-control",
    b"expires",
    b"accept-ranges",
];

/// Passes a response on to the client; `guard` counts the peer's connection.
///
/// # Errors
/// The client's connection is gone, or the peer broke off after the head went out.
pub(super) async fn pass(
    serving: &mut Serving<'_>,
    head: ReceivedHead,
    talk: Talk,
    guard: ActiveGuard,
) -> Result<Flow> {
    let request = serving.request.clone();
    let proxy = request.conf().proxy.clone();
    let status = head.status;
    let intercepted = proxy.intercept_errors
        && status >= 300
        && request.conf().error_page.iter().any(|it| it.statuses.contains(&status));
    let target = head.meant(Meaning::AccelRedirect).map(|it| it.value_bytes());
    let buffering = is_buffered(&proxy, &head);
    if let Some(rate) = head.meant(Meaning::AccelLimitRate).and_then(|it| decimal(it.value())) {
        request.limits.rate.set(Some(rate));
    }
    trailers::note_head(&request, &head);
    *request.upstream_headers.borrow_mut() = head;
    if proxy.memcached.is_some() && status == 404 {
        return memcached::not_found(serving, talk);
    }
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
    fill(&request, &proxy);
    if let (Some(conf), Some(asked)) = (&proxy.memcached, talk.asked()) {
        memcached::complete_head(&request, conf, asked);
    }
    if matches!(talk, Talk::H2(_)) && talk.is_over() && !request.is_head() {
        // By HTTP/2 a head may say that it is all.
        request.response.borrow_mut().content_length.get_or_insert(0);
    }
    if status == 101 {
        // What follows is not HTTP.
        request.response.borrow_mut().closes = Some(true);
    }
    if proxy.force_ranges {
        let mut response = request.response.borrow_mut();
        response.headers.remove(b"accept-ranges");
        response.ranges = Ranges::One;
    }
    if serving.send_head().is_err() {
        end_attempt(&request, None);
        return Ok(serving.refused());
    }
    let talk = match talk {
        Talk::H1(exchange) if status == 101 => {
            // What goes on in a tunnel, and for how long, is not the variant's doing.
            request.end_charge();
            // What is rare, and large, takes no room in every request's future.
            return Box::pin(tunnel::run(serving, exchange)).await;
        }
        talk => talk,
    };
    let limit = if buffering { proxy.buffers_bytes } else { 0 };
    let ahead = Ahead::new(serving, talk, guard, limit);
    let sent = stream(serving, ahead).await;
    end_attempt(&request, None);
    sent
}

/// `proxy_buffering`, unless the response's `X-Accel-Buffering` says otherwise.
fn is_buffered(proxy: &ProxyConf, head: &ReceivedHead) -> bool {
    match head.meant(Meaning::AccelBuffering) {
        Some(it) if it.value().eq_ignore_ascii_case(b"no") => false,
        Some(it) if it.value().eq_ignore_ascii_case(b"yes") => true,
        _ => proxy.buffering,
    }
}

/// Fields of the upstream's that stay on the response when something else makes the rest of it.
fn keep(request: &Request, is_kept: impl Fn(&[u8]) -> bool) {
    let headers = request.upstream_headers.borrow();
    let mut head = request.response.borrow_mut();
    for field in headers.fields().filter(|it| is_kept(it.name())) {
        if field.meaning() == Meaning::ContentType {
            head.content_type = Some(field.value_bytes());
        } else {
            head.headers.append(field.name_bytes(), field.value_bytes());
        }
    }
}

/// The client's head, from the upstream's.
fn fill(request: &Request, proxy: &ProxyConf) {
    // `proxy_redirect` may hold variables of the response: nothing is borrowed for writing.
    let received = request.upstream_headers.borrow();
    let reason = received.reason();
    let mut head = ResponseHead {
        closes: request.response.borrow().closes,
        status: received.status,
        reason: Some(reason).filter(|it| !it.is_empty()),
        content_length: received.content_length,
        headers: Headers::with_capacity(received.fields().len()),
        ..ResponseHead::default()
    };
    for field in received.fields() {
        let is_location = match field.meaning() {
            Meaning::ContentType => {
                head.content_type = Some(field.value_bytes());
                continue;
            }
            Meaning::ContentLength | Meaning::HopByHop => continue,
            Meaning::Location => Some(true),
            Meaning::Refresh => Some(false),
            _ => None,
        };
        let name = field.name();
        if let Some(is_location) = is_location {
            match redirected(request, proxy, is_location, &field.value_bytes()) {
                // nginx makes absolute what it has rewritten, and nothing else.
                Some(to) if is_location && is_relative(request, &to) => head.location = Some(to),
                Some(to) => head.headers.append(field.name_bytes(), to),
                None => head.headers.append(field.name_bytes(), field.value_bytes()),
            }
        } else if !proxy.hide_header.iter().any(|it| name.eq_ignore_ascii_case(it)) {
            head.headers.append(field.name_bytes(), field.value_bytes());
        }
    }
    drop(received);
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

/// The body, chunk by chunk.
async fn stream(serving: &mut Serving<'_>, mut ahead: Ahead) -> Result<Flow> {
    let request = serving.request.clone();
    let vm = serving.generation.vm.clone();
    // nginx's filters see the end of a body by itself.
    let filtered = request.conf().lua.body_filter.is_some();
    let mut cutter = Cutter::of(&request);
    while !ahead.is_over() {
        let Some(chunk) = ahead.pop() else {
            match ahead.next(serving).await? {
                Next::Read => continue,
                Next::Broken(broken) => {
                    return Box::pin(broke_off(serving, &request, &broken)).await;
                }
                Next::ClientGone => return gone(&request, false),
                Next::Refused => return cut("the client's body broke off"),
            }
        };
        let (chunk, is_over) = match &mut cutter {
            Some(cutter) => (cutter.cut(chunk), cutter.is_over()),
            None => (chunk, false),
        };
        if is_over {
            let _ = filters::body(&vm, &request, chunk, !filtered);
            break;
        }
        let last = ahead.is_over() && !filtered;
        if filters::body(&vm, &request, chunk, last).is_err() || last {
            return Ok(Flow::Done);
        }
        let flush = pin!(serving.client.flush_output(&request));
        ahead.read_during(flush).await?;
    }
    // An error was logged, and is the response's end.
    let _ = filters::body(&vm, &request, Bytes::new(), true);
    Ok(Flow::Done)
}

/// The client must see that the body is not whole: its connection is cut.
async fn broke_off(serving: &mut Serving<'_>, request: &Request, broken: &Broken) -> Result<Flow> {
    request.log(Level::Error, format_args!("{broken}"));
    request.note_ending(Ending::NoAnswer);
    if trailers::end_broken(request) {
        return Ok(Flow::Done);
    }
    serving.client.flush_output(request).await?;
    serving.client.flush_socket().await?;
    cut("the upstream broke off")
}
