//! The response head as nginx writes it: its order, its framing, its decision to keep the
//! connection.

use super::error::Result;
use crate::clock;
use crate::http::h1::octets;
use crate::http::number;
use crate::http::status;
use crate::request::{Request, ResponseHead, Version};
use bytes::Bytes;
use pingora::http::ResponseHeader as PingoraHead;

/// Whether a body follows the head.
pub(super) fn has_body(request: &Request) -> bool {
    let status = request.response.borrow().status;
    !request.is_head() && !matches!(status, 101 | 204 | 304)
}

/// Decides what the wire needs to know and was not said: framing and keep-alive.
pub(super) fn settle(request: &Request, wants_keepalive: bool) {
    let conf = request.conf();
    let location = request.response.borrow().location.as_ref().map(|it| absolute(request, it));
    let mut head = request.response.borrow_mut();
    head.location = location;
    if head.status == 204 {
        head.content_type = None;
    }
    if !matches!(head.status, 200 | 206 | 304) {
        head.last_modified = None;
    }
    let bodyless = matches!(head.status, 101 | 204 | 304) || request.is_head();
    if matches!(head.status, 101 | 204 | 304) {
        head.content_length = None;
    }
    let may_chunk = request.version == Version::Http11 && conf.chunked;
    if head.expects_trailers && !bodyless && may_chunk {
        head.content_length = None;
    }
    let framed = head.content_length.is_some() || bodyless;
    head.chunked = !framed && may_chunk;
    let unframed = !framed && !head.chunked && request.version < Version::Http2;
    let spent = request.connection.requests.get() >= conf.keepalive_requests;
    let closes = !wants_keepalive
        || request.connection.closing.get()
        || conf.keepalive_timeout_ms == 0
        || spent
        || unframed
        || head.closes == Some(true);
    head.closes = Some(closes);
}

/// Marks the response as one that ends its connection where nginx does so.
pub(super) fn close_after(request: &Request, code: u16) {
    if status::closes(code) {
        request.response.borrow_mut().closes = Some(true);
    }
}

/// Appends the head of an HTTP/1 response, its fields in nginx's order. HTTP/0.9 has no head.
pub(super) fn write(request: &Request, wants_keepalive: bool, out: &mut Vec<u8>) {
    settle(request, wants_keepalive);
    if request.version == Version::Http09 {
        return;
    }
    let response = request.response.borrow();
    status_line(&response, out);
    fields(request, &response, |name, value, is_ours| {
        if is_ours || is_field(name, value) {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    });
    out.extend_from_slice(b"\r\n");
}

/// nginx answers every version with this one.
fn status_line(response: &ResponseHead, out: &mut Vec<u8>) {
    if response.status == 200 && response.reason.is_none() {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    number::three_digits_into(out, response.status);
    out.push(b' ');
    match &response.reason {
        Some(reason) if !octets::has_control(reason, true) => out.extend_from_slice(reason),
        _ => out.extend_from_slice(status::reason(response.status).as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// Names come from nginx's rules, from a script or from an upstream; what is no header field cannot
/// be sent, and is dropped as nginx drops it from an upstream.
fn is_field(name: &[u8], value: &[u8]) -> bool {
    !octets::has_control(value, true) && !name.is_empty() && octets::is_token(name)
}

/// The head for pingora's session, and its length in bytes, were it HTTP/1's.
pub(super) fn build(request: &Request, wants_keepalive: bool) -> Result<(PingoraHead, u64)> {
    settle(request, wants_keepalive);
    let response = request.response.borrow();
    let mut head = PingoraHead::build(response.status, Some(response.headers.len() + 8))?;
    let mut length = "HTTP/2.0 200 \r\n\r\n".len();
    fields(request, &response, |name, value, _| {
        let value = http::HeaderValue::from_bytes(value);
        let name = http::HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, value) {
            length += name.as_str().len() + value.len() + 4;
            // A head has room for more fields than anybody sends.
            let _ = head.append_header(name, value);
        }
    });
    Ok((head, length as u64))
}

/// Hands each field of the response to `add`, in nginx's order; the last value says that the field
/// was made here and needs no look.
fn fields(request: &Request, response: &ResponseHead, mut add: impl FnMut(&[u8], &[u8], bool)) {
    let conf = request.conf();
    let length = response.content_length.map(number::Decimal::new);
    if !response.hides_server && !response.headers.contains(b"server") {
        add(b"Server", &conf.server_header, true);
    }
    if !response.hides_date && !response.headers.contains(b"date") {
        add(b"Date", &clock::http_date(), true);
    }
    if let Some(kind) = response.content_type.as_ref().filter(|it| !it.is_empty()) {
        add(b"Content-Type", kind, false);
    }
    if let Some(length) = length.filter(|_| response.content_length_place.is_none()) {
        add(b"Content-Length", length.as_bytes(), true);
    }
    if let Some(modified) = response.last_modified {
        add(b"Last-Modified", clock::http_date_of(modified).as_bytes(), true);
    }
    if let Some(location) = &response.location {
        add(b"Location", location, false);
    }
    if response.chunked {
        add(b"Transfer-Encoding", b"chunked", true);
    }
    if request.version < Version::Http2 {
        let closes = response.closes == Some(true);
        let connection: &[u8] = match (response.status, closes) {
            (101, _) => b"upgrade",
            (_, true) => b"close",
            (_, false) => b"keep-alive",
        };
        add(b"Connection", connection, true);
        if let Some(header) = conf.keepalive_header_s.filter(|_| !closes) {
            add(b"Keep-Alive", format!("timeout={header}").as_bytes(), true);
        }
    }
    let placed = response.content_length_place.as_ref().zip(length);
    let at = placed.map_or(usize::MAX, |((place, _), _)| (*place).min(response.headers.len()));
    for (index, (name, value)) in response.headers.iter().enumerate() {
        if let (Some(((_, name), length)), true) = (placed, at == index) {
            add(name, length.as_bytes(), false);
        }
        add(name, value, false);
    }
    if let (Some(((_, name), length)), true) = (placed, at == response.headers.len()) {
        add(name, length.as_bytes(), false);
    }
}

/// A relative redirect with scheme, host and port in front.
fn absolute(request: &Request, location: &Bytes) -> Bytes {
    let conf = request.conf();
    let scheme = if request.connection.is_tls() { "https" } else { "http" };
    let server = &request.snapshot.server(request.server.get()).name;
    let host = if conf.server_name_in_redirect {
        server.to_string()
    } else if request.host.borrow().is_empty() {
        request.connection.server.host()
    } else {
        String::from_utf8_lossy(&request.host.borrow()).into_owned()
    };
    let default = if request.connection.is_tls() { 443 } else { 80 };
    let port = request.connection.server.port().filter(|it| *it != default);
    let port = port.filter(|_| conf.port_in_redirect).map(|it| format!(":{it}"));
    let mut text = format!("{scheme}://{host}{}", port.unwrap_or_default()).into_bytes();
    text.extend_from_slice(location);
    text.into()
}
