//! The client behind pingora's session: HTTP/2.

use super::error::Result;
use super::head;
use crate::http::headers::Headers;
use crate::request::Request;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::ErrorType;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::Session;
use std::time::Duration;

/// Marks the failure that makes pingora flush.
const FLUSH: &str = "MoongateFlush";

/// Writes the response's head; `is_all` where nothing follows.
pub(super) async fn write_head(
    session: &mut Session,
    request: &Request,
    is_all: bool,
) -> Result<()> {
    // The socket may take everything while the client's window is shut.
    let timeout_ms = request.conf().send_timeout_ms;
    session.set_write_timeout((timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)));
    let wants_keepalive = session.downstream_session.get_keepalive().is_some();
    let (head, length) = head::build(request, wants_keepalive)?;
    request.bytes_sent.set(request.bytes_sent.get() + length);
    match &mut *session.downstream_session {
        ServerSession::H2(stream) => Ok(stream.write_response_header(Box::new(head), is_all)?),
        session => Ok(session.write_response_header(Box::new(head)).await?),
    }
}

/// Ends the response, with `trailers` if there are any.
pub(super) async fn write_end(session: &mut Session, trailers: &Headers) -> Result<()> {
    if trailers.is_empty() {
        return write_chunk(session, Bytes::new(), true).await;
    }
    let fields = trailers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name).ok()?;
        Some((name, HeaderValue::from_bytes(value).ok()?))
    });
    let mut map = HeaderMap::with_capacity(trailers.len());
    map.extend(fields.map(|(name, value)| (Some(name), value)));
    Ok(session.downstream_session.write_response_trailers(map).await?)
}

/// Writes a part of the body, `last` its end.
pub(super) async fn write_chunk(session: &mut Session, chunk: Bytes, last: bool) -> Result<()> {
    Ok(session.downstream_session.write_response_body(chunk, last).await?)
}

/// Pushes out what pingora has buffered: it does so by itself only at the end of a response whose
/// length is known.
pub(super) async fn flush(session: &mut Session) -> Result<()> {
    // pingora has no call for it; a failed task makes it flush and hands the failure back.
    let marker = pingora::Error::explain(ErrorType::Custom(FLUSH), "flush");
    let tasks = vec![HttpTask::Body(None, false), HttpTask::Failed(marker)];
    match session.downstream_session.response_duplex_vec(tasks).await {
        Err(error) if *error.etype() == ErrorType::Custom(FLUSH) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// Waits until the client has gone away; for ever if it stays.
pub(super) async fn gone(session: &mut Session) {
    if session.downstream_session.read_body_or_idle(true).await.is_ok() {
        std::future::pending().await
    }
}
