//! `proxy_pass`: peers in turn until one answers, as `proxy_next_upstream` says.

use super::balancer;
use super::body::Read;
use super::error::Result;
use super::exchange::{self, Failed, Timeouts};
use super::phases::{Flow, Serving, cut};
use super::pick::Destination;
use super::upstream_request;
use super::upstream_response;
use crate::clock::{self, Tick};
use crate::log::Level;
use crate::lua::ngx::balancer::PeerFailure;
use crate::metrics;
use crate::request::{Attempt, Request};
use crate::snapshot::proxy_target::ProxyTarget;
use crate::upstream::retry::{Exchange, Fault, Tries, Verdict, first_tries, is_idempotent, judge};
use crate::upstream::{Outcome, Peer};

/// What is known between two tries.
pub(super) struct Round {
    pub destination: Destination,
    pub left: u32,
    began: Tick,
    starts_group: bool,
    pub timeouts: Timeouts,
    pub turns: balancer::Turns,
}

/// Serves a request by an upstream.
///
/// # Errors
/// The client's connection is gone.
pub(super) async fn proxy(serving: &mut Serving<'_>, target: &ProxyTarget) -> Result<Flow> {
    let request = serving.request.clone();
    let worker = serving.worker.clone();
    let destination = match Destination::find(serving, target).await {
        Ok(destination) => destination,
        Err(status) => return Ok(Flow::Status(status)),
    };
    request.decision.borrow_mut().upstream = Some(destination.group.name.clone());
    if let Read::Refused(status) = serving.client.read_body(&request).await? {
        return Ok(Flow::Status(status));
    }
    let tries = first_tries(destination.group.tries(), request.conf().proxy.next_upstream_tries);
    let starts_group = !request.attempts.borrow().0.is_empty();
    let timeouts = Timeouts::of(&request.conf().proxy);
    let mut round = Round {
        destination,
        left: tries,
        began: clock::monotonic(),
        starts_group,
        timeouts,
        turns: balancer::Turns::default(),
    };
    loop {
        let peer = match next_peer(serving, &mut round) {
            Ok(peer) => peer,
            Err(status) => return Ok(Flow::Status(status)),
        };
        let guard = peer.connect_guard();
        let head = upstream_request::build(&request, &round.destination.uri)?;
        let group = round.destination.group.clone();
        let attempt = exchange::attempt(&worker, &request, &group, &peer, round.timeouts, head);
        let tried = tokio::select! {
            biased;
            tried = attempt => tried,
            () = watch(serving, &request) => return gone(&request, true),
        };
        match tried {
            Err(failed) => {
                if let Some(flow) = after_failure(&request, &mut round, &peer, &failed) {
                    return Ok(flow);
                }
            }
            Ok(response) if after_status(&request, &mut round, &peer, response.status) => {}
            Ok(response) => {
                let flow = upstream_response::pass(serving, response).await;
                drop(guard);
                return flow;
            }
        }
    }
}

/// The client's going away ends the exchange, unless `proxy_ignore_client_abort` is on.
pub(super) async fn watch(serving: &mut Serving<'_>, request: &Request) {
    if request.conf().proxy.ignore_client_abort {
        std::future::pending().await
    }
    serving.client.gone().await;
}

/// Ends a request whose client has gone: 499 where `nothing_sent`.
pub(super) fn gone(request: &Request, nothing_sent: bool) -> Result<Flow> {
    end_attempt(request, None);
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
fn next_peer(
    serving: &Serving<'_>,
    round: &mut Round,
) -> std::result::Result<std::sync::Arc<Peer>, u16> {
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
    let verdict = verdict(request, round, failed.fault, failed.sent, failed.reused);
    end_attempt(request, verdict.status);
    request.log(Level::Error, format_args!("{}", failed.reason));
    peer.report(verdict.counts, clock::monotonic().as_ms());
    if verdict.counts == Outcome::Stale {
        round.destination.forget_last();
    }
    round.turns.note(PeerFailure::Failed, verdict.status.unwrap_or(502));
    round.left = verdict.left;
    if verdict.retry {
        if failed.reused {
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

fn verdict(request: &Request, round: &Round, fault: Fault, sent: bool, reused: bool) -> Verdict {
    let proxy = &request.conf().proxy;
    let method = request.method.borrow().clone();
    let exchange = Exchange {
        idempotent: is_idempotent(&String::from_utf8_lossy(&method)),
        request_sent: sent,
        can_resend: true,
        reused,
    };
    let tries = Tries {
        left: round.left,
        elapsed_ms: clock::monotonic().ms_since(round.began),
        limit_ms: proxy.next_upstream_timeout_ms,
    };
    judge(&proxy.next_upstream, fault, exchange, tries)
}

fn count_retry(round: &Round) {
    let name = &*round.destination.group.name;
    metrics::catalog().upstream_retries.with_label_values(&[name]).inc();
}

/// Closes the books of the current try.
pub(super) fn end_attempt(request: &Request, status: Option<u16>) {
    let now = clock::monotonic();
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        attempt.response_ms = Some(now.ms_since(attempt.started));
        if let Some(status) = status {
            attempt.status = status;
        }
    }
}
