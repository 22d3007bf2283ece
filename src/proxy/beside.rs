//! A peer and the client side by side: while one is waited for, the other is listened to.

use super::body::Streamed;
use super::error::Result;
use super::phases::Serving;
use super::talk::Talk;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

/// Which of them had something to say.
pub(super) enum Said<T> {
    /// The peer.
    Peer(T),
    /// The client has gone away.
    ClientGone,
    /// The client's body may not go on: the status for it.
    Refused(u16),
}

/// What the client has to say.
enum Client {
    Body(Streamed),
    Gone,
}

enum Event<T> {
    Peer(T),
    Client(Result<Client>),
    /// All of the client's body that was there is sent: more is wanted.
    Changed,
}

/// Waits for what `poll` waits for. Meanwhile the client's body is passed on where it is
/// streamed; else the client's going away ends the wait, unless `proxy_ignore_client_abort` is
/// on.
///
/// # Errors
/// The client broke off within its body.
pub(super) async fn wait_for<T>(
    serving: &mut Serving<'_>,
    talk: &mut Talk,
    mut poll: impl FnMut(&mut Talk, &mut Context<'_>) -> Poll<T>,
) -> Result<Said<T>> {
    loop {
        let wants = talk.wants_chunk();
        let streams = talk.streams();
        let mut client = pin!(listen(serving, wants, streams));
        let event = poll_fn(|cx| {
            if let Poll::Ready(said) = poll(talk, cx) {
                return Poll::Ready(Event::Peer(said));
            }
            if wants != talk.wants_chunk() {
                return Poll::Ready(Event::Changed);
            }
            client.as_mut().poll(cx).map(Event::Client)
        });
        match event.await {
            Event::Peer(said) => return Ok(Said::Peer(said)),
            Event::Changed => {}
            Event::Client(said) => match said? {
                Client::Gone => return Ok(Said::ClientGone),
                Client::Body(Streamed::Refused(status)) => return Ok(Said::Refused(status)),
                Client::Body(Streamed::Chunk(chunk)) => talk.push(Some(chunk)),
                Client::Body(Streamed::End) => talk.push(None),
            },
        }
    }
}

async fn listen(serving: &mut Serving<'_>, wants: bool, streams: bool) -> Result<Client> {
    let request = serving.request.clone();
    if wants {
        return serving.client.stream_body(&request).await.map(Client::Body);
    }
    watch(serving, streams).await;
    Ok(Client::Gone)
}

/// Waits until the client goes away; for ever where that does not matter. Behind a body that is
/// `unread` it is seen a little later.
pub(super) async fn watch(serving: &mut Serving<'_>, unread: bool) {
    if serving.request.conf().proxy.ignore_client_abort {
        std::future::pending().await
    }
    if unread && !serving.client.tells_of_leaving() {
        // Rare, and a timer: it takes no room in every request's future.
        return Box::pin(serving.client.abandoned()).await;
    }
    serving.client.gone().await;
}
