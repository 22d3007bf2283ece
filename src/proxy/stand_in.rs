//! `retry_on_stable`: stable answers what a canary could not, within a budget; the failure is
//! charged to the canary.

use super::retry::{Round, count_retry, end_attempt, may_repeat};
use crate::clock;
use crate::http::h1::response_head::ReceivedHead;
use crate::request::{Request, decimal};
use crate::rollout::Ending;
use crate::upstream::retry::first_tries;

/// Notes a response of the variant that is tried; whether stable is tried in its place.
pub(super) fn after_answer(request: &Request, round: &mut Round, head: &ReceivedHead) -> bool {
    if request.charge.borrow().is_none() {
        return false;
    }
    let grpc = head.all(b"grpc-status").next().and_then(decimal);
    let grpc = grpc.and_then(|it| u32::try_from(it).ok());
    let ending = Ending::Answered { status: head.status, grpc };
    request.note_ending(ending);
    head.status >= 500 && turn(request, round, ending)
}

/// Notes that the variant which is tried gave no answer; whether stable is tried in its place.
pub(super) fn after_no_answer(request: &Request, round: &mut Round) -> bool {
    request.note_ending(Ending::NoAnswer);
    turn(request, round, Ending::NoAnswer)
}

/// Turns to stable, where the request may be repeated and the budget allows it.
fn turn(request: &Request, round: &mut Round, ending: Ending) -> bool {
    // Once the client's body streams, its beginning is gone.
    if round.begun.is_some() || !may_repeat(request) || !request.may_retry_on_stable() {
        return false;
    }
    let Some(name) = request.retry_on_stable(ending) else { return false };
    end_attempt(request, None);
    count_retry(round);
    if !round.destination.turn_to(request, &name) {
        return false;
    }
    let group = &round.destination.group;
    request.decision.borrow_mut().upstream = Some(group.name.clone());
    round.left = first_tries(group.tries(), request.conf().proxy.next_upstream_tries);
    round.began = clock::monotonic();
    round.starts_group = true;
    true
}
