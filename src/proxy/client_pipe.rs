//! The owner's side of a pipe (`ngx.req.socket`): brings what the client sends, and sends what the
//! script says.

use super::session::Client;
use crate::cosocket::Pipe;
use crate::cosocket::pipe::End;
use crate::downstream::{BodyFault, Wire};
use crate::request::Request;
use std::task::{Context, Poll};

/// The script's own timeouts end a read; there is no other limit.
const NEVER_MS: u64 = 1 << 40;

/// Serves `pipe`; whether the script can go on.
pub(super) fn poll(
    cx: &mut Context<'_>,
    client: &mut Client<'_>,
    request: &Request,
    pipe: &Pipe,
) -> bool {
    if pipe.wants() && !pipe.is_raw() {
        match client.poll_continue(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => pipe.end(End::Aborted),
            Poll::Pending => return false,
        }
    }
    let Some(wire) = client.raw() else {
        pipe.end(End::Aborted);
        return true;
    };
    let has_read = pipe.wants() && poll_read(cx, wire, request, pipe);
    if let Some(bytes) = pipe.take() {
        wire.push(bytes, false);
    }
    let mut has_sent = false;
    if pipe.is_sending()
        && let Poll::Ready(result) = wire.poll_flush(cx)
    {
        pipe.sent(result);
        has_sent = true;
        request.bytes_sent.set(wire.sent());
        request.body_bytes_sent.set(wire.sent());
    }
    has_read || has_sent
}

/// Reads for the script; whether that came to anything.
fn poll_read(cx: &mut Context<'_>, wire: &mut Wire, request: &Request, pipe: &Pipe) -> bool {
    if pipe.is_raw() {
        match wire.poll_read_raw(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => pipe.end(left(request)),
            Poll::Ready(Ok(bytes)) => pipe.give(bytes),
            Poll::Ready(Err(error)) => pipe.end(End::of(&error)),
        }
        return true;
    }
    let read = wire.poll_body(cx, NEVER_MS);
    request.body_bytes_read.set(wire.received());
    match read {
        Poll::Pending => return false,
        Poll::Ready(Ok(Some(bytes))) => pipe.give(bytes),
        Poll::Ready(Ok(None)) => pipe.end(End::Over),
        Poll::Ready(Err(BodyFault::Left(error))) => pipe.end(End::of(&error)),
        Poll::Ready(Err(BodyFault::TimedOut | BodyFault::Chunk(_))) => pipe.end(End::Aborted),
    }
    true
}

/// What a client that sends no more means.
fn left(request: &Request) -> End {
    if request.conf().lua.check_client_abort { End::Aborted } else { End::Over }
}
