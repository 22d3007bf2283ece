//! What serves a connection that was accepted: the one place where that is decided.

use super::http2::http2;
use super::listener::{Open, WorkerListener};
use super::stream::Stream;
use crate::downstream;
use crate::downstream::{HeadWait, Transport};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use std::rc::Rc;

/// How long pingora waits for a head at most, seconds.
const LONGEST_WAIT_S: u64 = 3600;

/// Serves a connection to its end.
///
/// A handshake comes first where the listener wants one; then the protocol is known, by what was
/// agreed in it or by the first bytes.
pub(super) async fn serve(transport: Transport, wait: Rc<HeadWait>, open: Open) {
    let settings = open.listener().settings();
    let Some(opened) = downstream::open(transport, &wait, &settings.wanted).await else { return };
    if opened.http2 {
        http2(opened.transport, wait, open, settings.http2).await;
    } else {
        http1(opened.transport, wait, open.listener()).await;
    }
}

/// HTTP/1, request after request.
async fn http1(transport: Transport, wait: Rc<HeadWait>, listener: &Rc<WorkerListener>) {
    let gateway = listener.gateway();
    let closing = listener.closing();
    let stream = Stream::new(transport, Rc::clone(&wait));
    let mut session = ServerSession::new_http1(Box::new(stream));
    // What pingora waits at most; the deadlines are the stream's.
    session.set_keepalive(Some(LONGEST_WAIT_S));
    while let Some(reused) = gateway.process_new_http(session, &closing).await {
        wait.begin();
        listener.notice_idle();
        let (stream, settings) = reused.consume();
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
    }
}
