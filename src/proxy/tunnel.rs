//! `101 Switching Protocols`: WebSocket and the like, relayed until either side ends.

use super::ahead::count;
use super::error::Result;
use super::exchange::Exchange;
use super::phases::{Flow, Serving};
use super::retry::end_attempt;
use super::talk::Talk;
use crate::downstream::Wire;
use crate::log::Level;
use crate::sys::errno::Errno;
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// How a tunnel ends.
enum End {
    /// One side has said all, and the other has got it.
    Over,
    /// The client's connection failed.
    Client,
    /// The peer's did.
    Peer(io::Error),
    /// Nothing moved for `proxy_read_timeout`.
    Idle,
}

/// What is on its way from the client, and who has ended.
#[derive(Default)]
struct Relay {
    up: Bytes,
    client_over: bool,
    peer_over: bool,
}

/// Sends the head, which is settled, and relays what follows it. Each side is read only as fast as
/// the other takes it. As with nginx, the end of either side is the end.
///
/// # Errors
/// The client's connection is gone before the head is sent.
pub(super) async fn run(serving: &mut Serving<'_>, mut exchange: Box<Exchange>) -> Result<Flow> {
    let request = serving.request.clone();
    serving.client.flush_output(&request).await?;
    serving.client.flush_socket().await?;
    let mut relay = Relay::default();
    let end = match serving.client.raw() {
        Some(wire) => poll_fn(|cx| relay.poll(cx, wire, &mut exchange)).await,
        None => End::Over,
    };
    const DOING: &str = "while proxying upgraded connection";
    match &end {
        End::Peer(error) => {
            request.log(Level::Error, format_args!("recv() failed {} {DOING}", Errno(error)));
        }
        End::Idle => request.log(
            Level::Error,
            format_args!("upstream timed out (110: Connection timed out) {DOING}"),
        ),
        End::Over | End::Client => {}
    }
    count(&request, &mut Talk::H1(exchange));
    end_attempt(&request, None);
    request.finished.set(true);
    // What was sent is counted with it; a client that failed is known.
    let _ = serving.client.flush_socket().await;
    Ok(Flow::Done)
}

impl Relay {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        exchange: &mut Exchange,
    ) -> Poll<End> {
        loop {
            let mut moved = false;
            if self.up.is_empty() && !self.client_over {
                match wire.poll_read_raw(cx) {
                    Poll::Ready(Ok(bytes)) => {
                        self.client_over = bytes.is_empty();
                        self.up = bytes;
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(End::Client),
                    Poll::Pending => {}
                }
            }
            if !self.up.is_empty() {
                match exchange.poll_say(cx, &mut self.up) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(End::Peer(error)),
                    Poll::Pending => {}
                }
            }
            let was_full = wire.is_enough();
            if !was_full && !self.peer_over {
                match exchange.poll_raw(cx) {
                    Poll::Ready(Ok(bytes)) if bytes.is_empty() => self.peer_over = true,
                    Poll::Ready(Ok(bytes)) => {
                        wire.push(bytes, false);
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(End::Peer(error)),
                    Poll::Pending => {}
                }
            }
            let flushed = match wire.poll_flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Client),
                Poll::Pending => false,
            };
            if (self.client_over && self.up.is_empty()) || (self.peer_over && flushed) {
                return Poll::Ready(End::Over);
            }
            let moved = moved || (was_full && flushed);
            if !moved {
                return exchange.poll_idle(cx).map(|()| End::Idle);
            }
            exchange.note_progress();
        }
    }
}
