//! What serves a connection that was accepted: the one place where that is decided.

use super::http2::http2;
use super::listener::Open;
use crate::downstream;
use crate::downstream::{HeadWait, Wire};
use crate::sys::raw_stream::RawStream;
use std::rc::Rc;

/// Serves a connection to its end.
///
/// A handshake comes first where the listener wants one; then the protocol is known, by what was
/// agreed in it or by the first bytes.
pub(super) async fn serve(stream: RawStream, wait: Rc<HeadWait>, open: Open) {
    let settings = open.listener().settings();
    let Some(opened) = downstream::open(stream, &wait, &settings.wanted).await else { return };
    if opened.http2 {
        // As large as it is, it would make room for itself in each connection of HTTP/1.
        Box::pin(http2(opened.transport, wait, open, settings.http2)).await;
    } else {
        let listener = open.listener();
        let wire = Box::new(Wire::new(opened.transport, wait));
        listener.http1().serve(wire, || listener.notice_idle()).await;
    }
}
