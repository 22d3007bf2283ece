//! An upstream's response, read ahead of a client that takes it slowly (`proxy_buffering`), so that
//! the upstream's connection is free early.
//!
//! What is read ahead stays in memory, `proxy_buffers` at most; nothing goes to files. With
//! `proxy_buffering off` a piece is read when the one before was taken.

use super::beside::{Said, wait_for};
use super::error::Result;
use super::exchange::Broken;
use super::phases::Serving;
use super::pool::Pool;
use super::retry::end_attempt;
use super::talk::Talk;
use super::trailers;
use crate::log::Level;
use crate::request::Request;
use crate::upstream::ActiveGuard;
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// A response's body on its way from the upstream.
pub(super) struct Ahead {
    request: Rc<Request>,
    pool: Rc<Pool>,
    /// The talk and the guard of its peer, until the body was read to its end.
    talk: Option<(Talk, ActiveGuard)>,
    /// Pieces that were read, the first one apart: mostly there is no other. And their bytes.
    first: Option<Bytes>,
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes that may be read ahead.
    limit: usize,
    /// The body breaks off behind `chunks`.
    broken: Option<Broken>,
}

/// What came of waiting for the next piece.
pub(super) enum Next {
    /// There is one, or the end.
    Read,
    /// The body breaks off.
    Broken(Broken),
    /// The client has gone away.
    ClientGone,
    /// The client's own body may not go on.
    Refused,
}

impl Ahead {
    /// Reads the body of `talk`, by `limit` bytes ahead at most.
    pub fn new(serving: &Serving<'_>, talk: Talk, guard: ActiveGuard, limit: usize) -> Self {
        let mut ahead = Self {
            request: Rc::clone(&serving.request),
            pool: Rc::clone(&serving.worker.pool),
            talk: Some((talk, guard)),
            first: None,
            chunks: VecDeque::new(),
            bytes: 0,
            limit,
            broken: None,
        };
        ahead.let_go_if_over();
        ahead
    }

    /// Whether all was read and taken.
    pub fn is_over(&self) -> bool {
        self.talk.is_none() && self.first.is_none()
    }

    /// The next piece, if one was read.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.first.take()?;
        self.first = self.chunks.pop_front();
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// Waits for the next piece. While the upstream lets it wait, the client gets all that came
    /// before, and is watched.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn next(&mut self, serving: &mut Serving<'_>) -> Result<Next> {
        if let Some(broken) = self.broken.take() {
            return Ok(Next::Broken(broken));
        }
        let Some((talk, _)) = &mut self.talk else { return Ok(Next::Read) };
        let at_once = poll_fn(|cx| match talk.poll_chunk(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(read) = at_once.await {
            return Ok(self.took(read));
        }
        if self.limit == 0 {
            // The head does not wait for a body that may be long in coming.
            let request = Rc::clone(&self.request);
            serving.client.flush_output(&request).await?;
        }
        {
            let flushed = pin!(serving.client.flush_socket());
            self.read_during(flushed).await?;
        }
        if self.first.is_some() || self.broken.is_some() {
            return Ok(self.broken.take().map_or(Next::Read, Next::Broken));
        }
        let Some((talk, _)) = &mut self.talk else { return Ok(Next::Read) };
        let said = wait_for(serving, talk, |it, cx| it.poll_chunk(cx)).await?;
        Ok(match said {
            Said::Peer(read) => self.took(read),
            Said::ClientGone => Next::ClientGone,
            Said::Refused(_) => Next::Refused,
        })
    }

    fn took(&mut self, read: std::result::Result<Option<Bytes>, Broken>) -> Next {
        if let Some((talk, _)) = &mut self.talk {
            count(&self.request, talk);
        }
        match read {
            Ok(chunk) => {
                if let Some(chunk) = chunk {
                    self.bytes += chunk.len();
                    match self.first {
                        None => self.first = Some(chunk),
                        Some(_) => self.chunks.push_back(chunk),
                    }
                }
                self.let_go_if_over();
                Next::Read
            }
            Err(broken) => Next::Broken(broken),
        }
    }

    /// Reads ahead while the client is given what it can take.
    ///
    /// # Errors
    /// Those of `writing`.
    pub async fn read_during(
        &mut self,
        mut writing: Pin<&mut impl Future<Output = Result<()>>>,
    ) -> Result<()> {
        poll_fn(|cx| match writing.as_mut().poll(cx) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => {
                self.poll(cx);
                Poll::Pending
            }
        })
        .await
    }

    /// Reads what can be read now.
    fn poll(&mut self, cx: &mut Context<'_>) {
        while self.bytes < self.limit && self.broken.is_none() {
            let Some((talk, _)) = &mut self.talk else { return };
            let Poll::Ready(read) = talk.poll_chunk(cx) else { return };
            if let Next::Broken(broken) = self.took(read) {
                self.broken = Some(broken);
            }
        }
        if let Some((talk, _)) = &mut self.talk {
            if self.bytes >= self.limit {
                self.request.stop_charge_clock();
            }
            talk.pause(cx);
        }
    }

    /// Lets go of the upstream once its response was read to its end.
    fn let_go_if_over(&mut self) {
        let Some((mut talk, guard)) = self.talk.take_if(|(it, _)| it.is_over()) else { return };
        if let Some(surplus) = talk.surplus() {
            self.request.log(Level::Warn, format_args!("{surplus}"));
        }
        trailers::take(&self.request, talk.take_trailers());
        end_attempt(&self.request, None);
        self.request.end_charge();
        talk.finish(&self.pool);
        drop(guard);
    }
}

/// Notes how many bytes were taken.
pub(super) fn count(request: &Request, talk: &mut Talk) {
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        attempt.response_length = talk.body_received();
        attempt.bytes_received = talk.received();
        attempt.bytes_sent = talk.sent();
    }
}
