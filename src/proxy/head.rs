//! The response head as nginx writes it: its order, its framing, its decision to keep the
//! connection.

use super::error::Result;
use crate::clock;
use crate::http::status;
use crate::request::{Request, Version};
use bytes::Bytes;
use pingora::http::{IntoCaseHeaderName, ResponseHeader};
use pingora::proxy::Session;

/// Whether a body follows the head.
pub(super) fn has_body(request: &Request) -> bool {
    let status = request.response.borrow().status;
    !request.is_head() && status != 204 && status != 304
}

/// Decides what the wire needs to know and was not said: framing and keep-alive.
pub(super) fn settle(request: &Request, wants_keepalive: bool) {
    let conf = request.conf();
    let location = request.response.borrow().location.as_ref().map(|it| absolute(request, it));
    let mut head = request.response.borrow_mut();
    head.location = location;
    if head.status == 204 {
        head.content_type = None;
        head.last_modified = None;
    }
    let bodyless = head.status == 204 || head.status == 304 || request.is_head();
    if head.status == 204 || head.status == 304 {
        head.content_length = None;
    }
    let framed = head.content_length.is_some() || bodyless;
    head.chunked = !framed && request.version == Version::Http11;
    let unframed = !framed && request.version < Version::Http11;
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

/// The head for pingora's session, and its length in bytes.
pub(super) fn build(request: &Request, session: &mut Session) -> Result<(ResponseHeader, u64)> {
    let wants_keepalive = session.downstream_session.get_keepalive().is_some();
    settle(request, wants_keepalive);
    let conf = request.conf().clone();
    let response = request.response.borrow();
    let closes = response.closes == Some(true);
    let seconds = conf.keepalive_timeout_ms.div_ceil(1000).max(1);
    session.downstream_session.set_keepalive((!closes).then_some(seconds));
    let mut writer = Writer::new(response.status, response.headers.len() + 8)?;
    let reason = response.reason.clone().unwrap_or_else(|| reason_of(response.status));
    let reason = String::from_utf8_lossy(&reason);
    writer.head.set_reason_phrase(Some(&reason))?;
    writer.length += reason.len() as u64;
    if !response.headers.contains(b"server") {
        writer.add("Server", &conf.server_header);
    }
    if !response.headers.contains(b"date") {
        writer.add("Date", &clock::http_date());
    }
    if let Some(kind) = response.content_type.as_ref().filter(|it| !it.is_empty()) {
        writer.add("Content-Type", kind);
    }
    if let Some(length) = response.content_length
        && response.content_length_place.is_none()
    {
        writer.add("Content-Length", length.to_string().as_bytes());
    }
    if let Some(modified) = response.last_modified {
        writer.add("Last-Modified", clock::http_date_of(modified).as_bytes());
    }
    if let Some(location) = &response.location {
        writer.add("Location", location);
    }
    if response.chunked {
        writer.add("Transfer-Encoding", b"chunked");
    }
    if request.version < Version::Http2 {
        writer.add("Connection", if closes { b"close" } else { b"keep-alive" });
        if let Some(header) = conf.keepalive_header_s.filter(|_| !closes) {
            writer.add("Keep-Alive", format!("timeout={header}").as_bytes());
        }
    }
    let text = response.content_length.unwrap_or_default().to_string();
    let placed =
        response.content_length_place.as_ref().filter(|_| response.content_length.is_some());
    let at = placed.map(|(place, _)| (*place).min(response.headers.len()));
    let fields = response.headers.iter().map(Some).chain([None]);
    for (index, field) in fields.enumerate() {
        if let (Some((_, name)), true) = (placed, at == Some(index)) {
            writer.add(name.clone(), text.as_bytes());
        }
        if let Some((name, value)) = field {
            writer.add(name.clone(), value);
        }
    }
    let length = writer.length;
    Ok((writer.head, length))
}

fn reason_of(code: u16) -> Bytes {
    Bytes::from_static(status::reason(code).as_bytes())
}

/// `HTTP/1.1 200 `, the end of that line, and the empty line.
const EMPTY_HEAD: u64 = 13 + 2 + 2;

/// A head under construction, and how long it will be.
struct Writer {
    head: ResponseHeader,
    length: u64,
}

impl Writer {
    fn new(status: u16, size: usize) -> Result<Self> {
        Ok(Self { head: ResponseHeader::build(status, Some(size))?, length: EMPTY_HEAD })
    }

    fn add(&mut self, name: impl AsRef<[u8]> + IntoCaseHeaderName, value: &[u8]) {
        // Names come from nginx's rules, from a script or from an upstream; what is no header name
        // cannot be sent, and is dropped as nginx drops it from an upstream.
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            let length = (name.as_ref().len() + value.len() + 4) as u64;
            if self.head.append_header(name, value).is_ok() {
                self.length += length;
            }
        }
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
