//! `balancer_by_lua`: a script names the peer.

use super::lua_phase;
use super::phases::Serving;
use super::retry::Round;
use crate::log::Level;
use crate::lua::ngx::balancer::{BalancerTurn, ChosenPeer, PeerFailure};
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::snapshot::ChunkId;
use crate::upstream::{Group, Peer, PeerAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a balancer script is told and has said, over the tries of one request.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tries: u32,
    last_failure: Option<(PeerFailure, u16)>,
}

impl Turns {
    /// How the try that just ended failed: what `get_last_failure` tells the next turn.
    pub fn note(&mut self, failure: PeerFailure, status: u16) {
        self.last_failure = Some((failure, status));
    }
}

/// Lets the script choose.
///
/// # Errors
/// The status for the client; why was logged.
pub(super) fn turn(
    serving: &Serving<'_>,
    id: ChunkId,
    round: &mut Round,
) -> Result<Arc<Peer>, u16> {
    let request = &serving.request;
    let vm = &serving.generation.vm;
    let chunk = &request.snapshot.chunks[id as usize];
    let handler = lua_phase::load(vm, chunk, request).map_err(|error| {
        request.log(Level::Error, format_args!("{error}"));
        500u16
    })?;
    round.turns.tries += 1;
    let mut turn = BalancerTurn {
        total_tries: round.turns.tries,
        tries_left: round.left,
        max_tries: request.conf().proxy.next_upstream_tries,
        last_failure: round.turns.last_failure,
        ..BalancerTurn::default()
    };
    let end = vm.balance(&handler, request, &mut turn).map_err(|failure| {
        lua_phase::count(Phase::Balancer, &failure);
        request.log_bytes(Level::Error, &failure.sync_text(Phase::Balancer.context()));
        500u16
    })?;
    match end.outcome {
        // nginx makes nothing else of it, whatever the code.
        Some(Outcome::Exit(code)) if code != 0 => return Err(500),
        _ => {}
    }
    request.decision.borrow_mut().source = Some(chunk.shown.clone());
    if request.is_traced() {
        request.note_ran(&chunk.shown, "chose".to_owned());
    }
    apply(round, &turn);
    match turn.peer {
        Some(peer) => chosen(&round.destination.group, peer).ok_or(502),
        None => round.destination.pick(&serving.worker, request).map_err(|error| {
            request.log(Level::Error, format_args!("{error}"));
            502
        }),
    }
}

/// Tries and timeouts that the script set.
fn apply(round: &mut Round, turn: &BalancerTurn) {
    round.left = round.left.saturating_add(turn.more_tries);
    let or = |ms: Option<u64>, own: Duration| ms.map_or(own, Duration::from_millis);
    round.timeouts.connect = or(turn.connect_timeout_ms, round.timeouts.connect);
    round.timeouts.send = or(turn.send_timeout_ms, round.timeouts.send);
    round.timeouts.read = or(turn.read_timeout_ms, round.timeouts.read);
}

/// A peer for the address that the script named; it has no state, as in nginx.
fn chosen(group: &Group, peer: ChosenPeer) -> Option<Arc<Peer>> {
    let address = match peer {
        ChosenPeer::Inet(address) => PeerAddr::Tcp(address),
        ChosenPeer::Unix(path) => PeerAddr::Unix(path),
    };
    let transient = Group::transient(&group.name, std::slice::from_ref(&address));
    transient.peers.load().at(&address).cloned()
}
