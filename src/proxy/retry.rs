//! `proxy_pass`: peers in turn until one answers, as `proxy_next_upstream` says.

use super::balancer;
use super::beside::{Said, wait_for, watch};
use super::body::{Begun, Read};
use super::error::Result;
use super::exchange::{Failed, Rest, Timeouts};
use super::phases::{Flow, Serving, cut};
use super::pick::Destination;
use super::queue;
use super::stand_in;
use super::talk::{Line, NotBegun, Talk};
use super::upstream_response;
use crate::clock::{self, Tick};
use crate::http::h1::response_head::ReceivedHead;
use crate::log::Level;
use crate::lua::ngx::balancer::PeerFailure;
use crate::metrics;
use crate::request::{Attempt, Body, Request, Version};
use crate::rollout::Ending;
use crate::snapshot::proxy_target::ProxyTarget;
use crate::upstream::retry::{self, Fault, Tries, Verdict, first_tries, is_idempotent, judge};
use crate::upstream::{Outcome, Peer};
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// What is known between two tries.
pub(super) struct Round {
    pub destination: Destination,
    pub left: u32,
    pub began: Tick,
    pub starts_group: bool,
    pub timeouts: Timeouts,
    pub turns: balancer::Turns,
    /// The client's body is passed on as it comes, and this was there when that began.
    pub begun: Option<Bytes>,
}

/// Serves a request by an upstream.
///
/// # Errors
/// The client's connection is gone.
pub(super) async fn proxy(serving: &mut Serving<'_>, target: &ProxyTarget) -> Result<Flow> {
    let request = serving.request.clone();
    let flow = answer(serving, target).await;
    request.end_charge();
    flow
}

async fn answer(serving: &mut Serving<'_>, target: &ProxyTarget) -> Result<Flow> {
    let request = serving.request.clone();
    let destination = match Destination::find(serving, target).await {
        Ok(destination) => destination,
        Err(status) => return Ok(Flow::Status(status)),
    };
    request.decision.borrow_mut().upstream = Some(destination.group.name.clone());
    let begun = match body_begun(serving).await? {
        Ok(begun) => begun,
        Err(status) => return Ok(Flow::Status(status)),
    };
    let tries = first_tries(destination.group.tries(), request.conf().proxy.next_upstream_tries);
    let mut round = Round {
        destination,
        left: tries,
        began: clock::monotonic(),
        starts_group: !request.attempts.borrow().0.is_empty(),
        timeouts: Timeouts::of(&request.conf().proxy),
        turns: balancer::Turns::default(),
        begun,
    };
    request.begin_charge(&round.destination.group.name);
    loop {
        if round.destination.is_to_wait()
            && let Some(flow) = Box::pin(queue::turn(serving, &mut round)).await?
        {
            return Ok(flow);
        }
        let peer = match next_peer(serving, &mut round) {
            Ok(peer) => peer,
            Err(502) if stand_in::after_no_answer(&request, &mut round) => continue,
            Err(status) => return Ok(Flow::Status(status)),
        };
        if serving.worker.is_dry {
            return Ok(Flow::Done);
        }
        let guard = round.destination.connect(&peer);
        let failed = match attempt(serving, &mut round, &peer).await? {
            Tried::Ended(flow) => return Ok(flow),
            Tried::Failed(failed) => failed,
            Tried::Answered(head, _) if after_status(&request, &mut round, &peer, head.status) => {
                continue;
            }
            Tried::Answered(head, _) if stand_in::after_answer(&request, &mut round, &head) => {
                continue;
            }
            Tried::Answered(head, talk) => {
                return upstream_response::pass(serving, head, talk, guard).await;
            }
        };
        if let Some(flow) = after_failure(&request, &mut round, &peer, &failed)
            && !stand_in::after_no_answer(&request, &mut round)
        {
            return Ok(flow);
        }
    }
}

/// How a try at a peer ended.
enum Tried {
    /// With the head of a response.
    Answered(ReceivedHead, Talk),
    /// Without one.
    Failed(Failed),
    /// The request is over.
    Ended(Flow),
}

/// Tries a peer. A kept connection that the peer closes just as it is used costs nothing: the
/// request is sent once more to the same peer over a new connection, whatever `proxy_next_upstream`
/// says, if nothing of it was sent or it may be repeated (RFC 9110 section 9.2.2; of POST, LOCK and
/// PATCH nginx says that they may not).
async fn attempt(serving: &mut Serving<'_>, round: &mut Round, peer: &Arc<Peer>) -> Result<Tried> {
    let http2 = serving.request.conf().proxy.http2;
    let kept = Line::kept(&serving.worker, http2, round, peer);
    let line = match kept {
        Some(line) => line,
        None => match Box::pin(connect(serving, round, peer)).await {
            Ok(line) => line,
            Err(tried) => return tried,
        },
    };
    let failed = match exchange(serving, round, line).await? {
        Tried::Failed(failed) if failed.stale => failed,
        tried => return Ok(tried),
    };
    let request = serving.request.clone();
    if failed.sent && (round.begun.is_some() || !may_repeat(&request)) {
        return Ok(Tried::Failed(failed));
    }
    end_attempt(&request, Some(502));
    request.log(Level::Info, format_args!("{}", failed.reason));
    peer.report(Outcome::Stale, clock::monotonic().as_ms());
    count_retry(round);
    let again = Attempt::new(peer.address_text.clone(), clock::monotonic(), false);
    request.attempts.borrow_mut().0.push(again);
    match Box::pin(connect(serving, round, peer)).await {
        Ok(line) => Box::pin(exchange(serving, round, line)).await,
        Err(tried) => tried,
    }
}

/// A new connection to `peer`, or how the try ended.
async fn connect(
    serving: &mut Serving<'_>,
    round: &Round,
    peer: &Arc<Peer>,
) -> std::result::Result<Line, Result<Tried>> {
    let (worker, http2) = (serving.worker.clone(), serving.request.conf().proxy.http2);
    let connected = {
        let mut connect = pin!(Line::fresh(&worker, http2, round, peer));
        let mut left = pin!(watch(serving, round.begun.is_some()));
        poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Ready(connected) => Poll::Ready(Some(connected)),
            Poll::Pending => left.as_mut().poll(cx).map(|()| None),
        })
        .await
    };
    match connected {
        None => Err(gone(&serving.request, true).map(Tried::Ended)),
        Some(Err(failed)) => Err(Ok(Tried::Failed(failed))),
        Some(Ok(line)) => Ok(line),
    }
}

/// Sends the request over `line` and waits for the head of the response.
async fn exchange(serving: &mut Serving<'_>, round: &mut Round, line: Line) -> Result<Tried> {
    let request = serving.request.clone();
    note(&request, |it, ms| it.connect_ms = Some(ms));
    let streams = round.begun.is_some();
    let rest = match body_of(&request, streams).await {
        Ok(rest) => rest,
        Err(error) => {
            request.log(Level::Crit, format_args!("the request body's file: {error}"));
            return Ok(Tried::Ended(Flow::Status(500)));
        }
    };
    let (mut talk, written) = match Talk::begin(&serving.worker, &request, round, line, rest) {
        Ok(begun) => begun,
        Err(NotBegun::Failed(failed)) => return Ok(Tried::Failed(failed)),
        Err(NotBegun::Method) => {
            request.log(Level::Error, format_args!("the method for the upstream is none"));
            return Ok(Tried::Ended(Flow::Status(500)));
        }
    };
    if let Talk::H1(exchange) = &mut talk
        && written.upgrades
        && may_switch(serving)
        && !streams
    {
        exchange.allow_switch();
    }
    let limit = request.conf().proxy.buffer_size;
    let worker = serving.worker.clone();
    let said = wait_for(serving, &mut talk, |it, cx| it.poll_head(cx, limit, &worker.pool)).await;
    note(&request, |it, ms| {
        it.header_ms = Some(ms).filter(|_| matches!(said, Ok(Said::Peer(Ok(_)))));
        it.bytes_received = talk.received();
        it.bytes_sent = talk.sent();
    });
    match said? {
        Said::Peer(Ok(head)) => {
            talk.expect_body(&head, written.headless);
            Ok(Tried::Answered(head, talk))
        }
        Said::Peer(Err(failed)) => Ok(Tried::Failed(failed)),
        Said::ClientGone => gone(&request, true).map(Tried::Ended),
        Said::Refused(status) => {
            end_attempt(&request, None);
            Ok(Tried::Ended(Flow::Status(status)))
        }
    }
}

/// Whether the client has asked for another protocol, and its connection could change to one.
fn may_switch(serving: &mut Serving<'_>) -> bool {
    let asks = serving.request.headers.borrow().contains(b"upgrade");
    asks && serving.request.version == Version::Http11 && serving.client.raw().is_some()
}

/// What of the request follows its head.
async fn body_of(request: &Request, streams: bool) -> std::io::Result<Rest> {
    if streams {
        return Ok(Rest::Client(request.content_length.get()));
    }
    if !request.conf().proxy.pass_request_body {
        return Ok(Rest::Nothing);
    }
    let (path, length) = match &*request.body.borrow() {
        Body::Memory(body) if !body.is_empty() => return Ok(Rest::Memory(body.clone())),
        Body::File(file) => (file.path.clone(), file.length),
        _ => return Ok(Rest::Nothing),
    };
    Ok(Rest::File(Box::new(tokio::fs::File::open(path).await?), length))
}

/// Reads the client's body, unless it is passed on as it comes: then gives what there is of it. Or
/// the status for the client.
async fn body_begun(serving: &mut Serving<'_>) -> Result<std::result::Result<Option<Bytes>, u16>> {
    let request = serving.request.clone();
    if streams_body(&request) {
        return Ok(match serving.client.begin_body(&request).await? {
            Begun::Part(bytes) => Ok(Some(bytes)),
            Begun::Whole => Ok(None),
            Begun::Refused(status) => Err(status),
        });
    }
    Ok(match serving.client.read_body(&request).await? {
        Read::Refused(status) => Err(status),
        Read::Done => Ok(None),
    })
}

/// Whether the client's body is passed on as it comes: `proxy_request_buffering off`, nobody has
/// read it yet, and the upstream's HTTP has a framing for it.
fn streams_body(request: &Request) -> bool {
    let proxy = &request.conf().proxy;
    let has_body = match request.content_length.get() {
        Some(length) => length > 0,
        None if request.version == Version::Http2 => proxy.http11,
        None => proxy.http11 && request.headers.borrow().contains(b"transfer-encoding"),
    };
    has_body
        && !proxy.request_buffering
        && proxy.pass_request_body
        && !request.body.borrow().is_read()
}

/// Ends a request whose client has gone: 499 where `nothing_sent`.
pub(super) fn gone(request: &Request, nothing_sent: bool) -> Result<Flow> {
    end_attempt(request, None);
    request.note_ending(Ending::Unjudged);
    if nothing_sent {
        request.response.borrow_mut().status = 499;
    }
    request.log(
        Level::Info,
        format_args!("client prematurely closed connection, so upstream connection is closed too"),
    );
    cut("the client went away")
}

/// The next peer, or the status for the client when there is none.
fn next_peer(serving: &Serving<'_>, round: &mut Round) -> std::result::Result<Arc<Peer>, u16> {
    let request = &serving.request;
    let name = round.destination.group.name.clone();
    let picked = match round.destination.balancer {
        Some(id) => balancer::turn(serving, id, round),
        None => round.destination.pick(&serving.worker, request).map_err(|error| {
            request.log(Level::Error, format_args!("{error}"));
            502
        }),
    };
    let shown = picked.as_ref().map_or(&name, |peer| &peer.address_text);
    let mut attempt = Attempt::new(shown.clone(), clock::monotonic(), round.starts_group);
    round.starts_group = false;
    if let Err(status) = picked {
        attempt.status = status;
        attempt.response_ms = Some(0);
    }
    request.attempts.borrow_mut().0.push(attempt);
    picked
}

/// A try that brought no response: another one (`None`), or the end.
fn after_failure(
    request: &Request,
    round: &mut Round,
    peer: &Peer,
    failed: &Failed,
) -> Option<Flow> {
    let verdict = verdict(request, round, failed.fault, failed.sent, failed.stale);
    end_attempt(request, verdict.status);
    request.log(Level::Debug, format_args!("http next upstream, {:x}", failed.fault.mask()));
    request.log(failed.level, format_args!("{}", failed.reason));
    peer.report(verdict.counts, clock::monotonic().as_ms());
    if verdict.counts == Outcome::Stale {
        round.destination.forget_last();
    }
    round.turns.note(PeerFailure::Failed, verdict.status.unwrap_or(502));
    round.left = verdict.left;
    if verdict.retry {
        if failed.stale {
            round.destination.forget_tried();
        }
        count_retry(round);
        return None;
    }
    Some(Flow::Status(verdict.status.unwrap_or(502)))
}

/// Whether the response is dropped because its status sends the request to another peer.
fn after_status(request: &Request, round: &mut Round, peer: &Peer, status: u16) -> bool {
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        attempt.status = status;
    }
    let verdict = verdict(request, round, Fault::Status(status), true, false);
    peer.report(verdict.counts, clock::monotonic().as_ms());
    if verdict.retry {
        end_attempt(request, None);
        round.turns.note(PeerFailure::Next, status);
        round.left = verdict.left;
        count_retry(round);
    }
    verdict.retry
}

/// Whether the request may be sent twice.
pub(super) fn may_repeat(request: &Request) -> bool {
    is_idempotent(&String::from_utf8_lossy(&request.method.borrow()))
}

fn verdict(request: &Request, round: &Round, fault: Fault, sent: bool, reused: bool) -> Verdict {
    let proxy = &request.conf().proxy;
    let exchange = retry::Exchange {
        idempotent: may_repeat(request),
        request_sent: sent,
        can_resend: round.begun.is_none(),
        reused,
    };
    let tries = Tries {
        left: round.left,
        elapsed_ms: clock::monotonic().ms_since(round.began),
        limit_ms: proxy.next_upstream_timeout_ms,
    };
    judge(&proxy.next_upstream, fault, exchange, tries)
}

pub(super) fn count_retry(round: &Round) {
    let name = &*round.destination.group.name;
    metrics::catalog().upstream_retries.with_label_values(&[name]).inc();
}

/// Notes something of the current try, and how long it has taken.
fn note(request: &Request, set: impl FnOnce(&mut Attempt, u64)) {
    let now = clock::monotonic();
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        let ms = now.ms_since(attempt.started);
        set(attempt, ms);
    }
}

/// Closes the books of the current try.
pub(super) fn end_attempt(request: &Request, status: Option<u16>) {
    request.attempts.borrow_mut().end_last(status, clock::monotonic());
}
