//! `queue` of an upstream: a request whose peers are all busy (`max_conns`) waits for its turn.

use super::beside::watch;
use super::error::Result;
use super::phases::{Flow, Serving};
use super::retry::{Round, gone};
use super::stand_in;
use crate::clock;
use crate::log::Level;
use crate::metrics;
use crate::request::{Attempt, Request};
use crate::upstream::Place;
use prometheus::IntGauge;
use std::time::Duration;

/// The first of a queue looks as often by itself, for peers that come back without a call.
const LOOK: Duration = Duration::from_millis(250);

/// What a client that is turned away is told to wait, seconds.
const RETRY_AFTER: &str = "1";

/// How a wait ended.
enum Waited {
    /// There is a peer, or it is not for being busy that there is none.
    Turn(Place),
    /// There were too many already.
    Full,
    /// `timeout` is over.
    TimedOut,
    /// The client has gone.
    ClientGone,
}

/// Waits until a peer can be picked: then gives nothing. Or ends the request.
///
/// # Errors
/// The client's connection is gone.
pub(super) async fn turn(serving: &mut Serving<'_>, round: &mut Round) -> Result<Option<Flow>> {
    let request = serving.request.clone();
    loop {
        let reason = match wait(serving, round).await {
            Waited::Turn(place) => {
                round.destination.place = Some(place);
                return Ok(None);
            }
            Waited::ClientGone => return gone(&request, true).map(Some),
            Waited::Full => "full",
            Waited::TimedOut => "timeout",
        };
        note(&request, round, reason);
        if !stand_in::after_no_answer(&request, round) {
            request.response.borrow_mut().headers.set("Retry-After", RETRY_AFTER);
            return Ok(Some(Flow::Status(503)));
        }
        if !round.destination.is_to_wait() {
            return Ok(None);
        }
    }
}

async fn wait(serving: &mut Serving<'_>, round: &Round) -> Waited {
    let group = &round.destination.group;
    let Some(place) = group.join_queue() else { return Waited::Full };
    let waiting = metrics::catalog().upstream_queue.with_label_values(&[&*group.name]);
    let _counted = Counted::new(waiting);
    let timeout = tokio::time::sleep(Duration::from_millis(group.queue_timeout_ms()));
    let mut timeout = Box::pin(timeout);
    let mut left = Box::pin(watch(serving, round.begun.is_some()));
    loop {
        let is_first = place.is_first();
        if is_first && !group.is_busy(clock::monotonic().as_ms()) {
            break Waited::Turn(place);
        }
        tokio::select! {
            () = place.called() => {}
            () = tokio::time::sleep(LOOK), if is_first => {}
            () = &mut timeout => break Waited::TimedOut,
            () = &mut left => break Waited::ClientGone,
        }
        clock::update();
    }
}

/// One that waits, in the metrics.
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn note(request: &Request, round: &mut Round, reason: &str) {
    let name = &round.destination.group.name;
    match reason {
        "full" => request
            .log(Level::Error, format_args!("upstream queue is full while connecting to upstream")),
        _ => request.log(
            Level::Error,
            format_args!(
                "upstream timed out (110: Connection timed out) while waiting in the queue of \
                 upstream \"{name}\""
            ),
        ),
    }
    let mut attempt = Attempt::new(name.clone(), clock::monotonic(), round.starts_group);
    round.starts_group = false;
    attempt.status = 503;
    attempt.response_ms = Some(0);
    request.attempts.borrow_mut().0.push(attempt);
    metrics::catalog().upstream_queue_refused.with_label_values(&[&**name, reason]).inc();
}
