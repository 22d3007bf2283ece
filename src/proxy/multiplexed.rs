//! Upstreams by HTTP/2 (`grpc_pass`, `proxy_http_version 2`): many requests over one connection.
//!
//! A [`link::Link`] is a connection to a peer, of one worker; a task of its own moves its frames.
//! A [`Stream`] is one request on it, polled by the request that it serves; dropping it resets the
//! stream, and says so to the peer.

mod fault;
mod link;
mod links;
mod outgoing;
mod request_head;
mod stream;

pub(super) use fault::Interrupted;
pub(super) use link::Held;
pub(super) use links::{Links, Wanted};
pub(super) use request_head::request_head;
pub(super) use stream::Stream;
