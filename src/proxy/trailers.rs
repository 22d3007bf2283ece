//! What follows the body of an upstream's response, and gRPC's status, which stands there or,
//! where a response has nothing but a head, in that.

use crate::http::h1::response_head::ReceivedHead;
use crate::http::headers::Headers;
use crate::request::{Request, Version};
use bytes::Bytes;

/// gRPC's UNAVAILABLE: it may be tried again.
const UNAVAILABLE: &[u8] = b"14";

/// Takes the trailers of a response that was read to its end. Those of gRPC go on to the client; as
/// in nginx, others do not (`proxy_pass_trailers` is off).
pub(super) fn take(request: &Request, trailers: Headers) {
    if trailers.is_empty() {
        return;
    }
    note_status(request, trailers.get(b"grpc-status").map(|it| &it[..]));
    if request.conf().proxy.grpc {
        request.response.borrow_mut().trailers = trailers.clone();
    }
    *request.upstream_trailers.borrow_mut() = trailers;
}

/// Looks for gRPC's status in a head: it is there when there is neither body nor trailers.
pub(super) fn note_head(request: &Request, head: &ReceivedHead) {
    let status = head.all(b"grpc-status").next();
    note_status(request, status);
}

fn note_status(request: &Request, status: Option<&[u8]>) {
    let Some(status) = status else { return };
    // What is no number says that something is wrong: UNKNOWN.
    let number = crate::request::decimal(status).and_then(|it| u32::try_from(it).ok());
    let number = number.unwrap_or(2);
    request.note_grpc_status(number);
    if let Some(attempt) = request.attempts.borrow_mut().last_mut() {
        attempt.grpc_status = Some(number);
    }
}

/// Whether the client takes trailers (RFC 9110 section 10.1.4).
pub(super) fn takes_trailers(request: &Request) -> bool {
    let headers = request.headers.borrow();
    let mut words = headers.all(b"te").flat_map(|it| it.split(|byte| *byte == b','));
    words.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Ends a gRPC response whose upstream broke off with a status of ours, where the client can be
/// told: it would take the end of the stream for a fault of the protocol. Whether that is so.
pub(super) fn end_broken(request: &Request) -> bool {
    let is_grpc = request.conf().proxy.grpc
        && request.version == Version::Http2
        && request.response.borrow().content_type.as_ref().is_some_and(|it| is_grpc_type(it));
    if is_grpc {
        let mut trailers = Headers::with_capacity(2);
        trailers.append("grpc-status", UNAVAILABLE);
        trailers.append("grpc-message", Bytes::from_static(b"upstream broke off"));
        note_status(request, Some(UNAVAILABLE));
        request.response.borrow_mut().trailers = trailers;
    }
    is_grpc
}

fn is_grpc_type(kind: &[u8]) -> bool {
    kind.get(..16).is_some_and(|it| it.eq_ignore_ascii_case(b"application/grpc"))
}
