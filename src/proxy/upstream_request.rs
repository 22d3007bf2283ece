//! The request as the upstream gets it: nginx's request line, its order of header fields.

use super::pick::UriPart;
use crate::http::escape;
use crate::http::h1::octets;
use crate::http::number;
use crate::request::{Body, Request};

/// What a request that was written asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The method is HEAD: the response has no body.
    pub headless: bool,
    /// It asks for another protocol.
    pub upgrades: bool,
}

/// Appends the head for the upstream to `out`, which is empty; `None` where `proxy_method` or a
/// script gave a method that is none. The client's body follows unread where it `streams`.
pub(super) fn write_head(
    request: &Request,
    part: &UriPart,
    streams: bool,
    out: &mut Vec<u8>,
) -> Option<Written> {
    let proxy = &request.conf().proxy;
    match &proxy.method {
        Some(method) => method.append(request, out),
        None => out.extend_from_slice(&request.method.borrow()),
    }
    if !octets::is_name(out) {
        return None;
    }
    let headless = out.eq_ignore_ascii_case(b"HEAD");
    out.push(b' ');
    let target = out.len();
    write_uri(request, part, out);
    if !is_target(&out[target..]) {
        without_spaces(target, out);
    }
    out.extend_from_slice(if proxy.http11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
    let label = request.label_field(false);
    let label =
        label.filter(|it| !proxy.set_header.iter().any(|set| set.0.eq_ignore_ascii_case(it.0)));
    if let Some((name, value)) = label {
        begin_field(name, out);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let mut sets_length = false;
    let mut upgrades = false;
    for (name, value) in &proxy.set_header {
        sets_length |= name.eq_ignore_ascii_case(b"content-length");
        let start = out.len();
        begin_field(name, out);
        let value_start = out.len();
        value.append(request, out);
        end_field(start, name, value_start, false, out);
        upgrades |= name.eq_ignore_ascii_case(b"upgrade") && out.len() > start;
    }
    let length = if streams { request.content_length.get() } else { body_length(request) };
    if let Some(length) = length.filter(|_| !sets_length) {
        out.extend_from_slice(b"Content-Length: ");
        number::decimal_into(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if streams && length.is_none() {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if proxy.pass_request_headers {
        for (name, value) in request.headers.borrow().iter() {
            let is_label = label.is_some_and(|it| name.eq_ignore_ascii_case(it.0));
            if !is_label && !proxy.replaced.iter().any(|it| name.eq_ignore_ascii_case(it)) {
                let start = out.len();
                begin_field(name, out);
                let value_start = out.len();
                out.extend_from_slice(value);
                end_field(start, name, value_start, true, out);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(Written { headless, upgrades })
}

fn begin_field(name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
}

/// Ends the field that begins at `start`. What is none (a script or a variable made it) is left
/// out, as HTTP cannot say it; so is an empty one, unless the client sent it.
fn end_field(start: usize, name: &[u8], value_start: usize, may_be_empty: bool, out: &mut Vec<u8>) {
    let value = &out[value_start..];
    if (value.is_empty() && !may_be_empty)
        || !octets::is_name(name)
        || octets::has_control(value, true)
    {
        return out.truncate(start);
    }
    out.extend_from_slice(b"\r\n");
}

/// No byte that ends a request line or a word of it.
fn is_target(target: &[u8]) -> bool {
    !octets::has_control(target, false) && memchr::memchr(b' ', target).is_none()
}

/// The length of the body that is sent; `None` where nginx sends no `Content-Length`.
pub(super) fn body_length(request: &Request) -> Option<u64> {
    if !request.conf().proxy.pass_request_body {
        return None;
    }
    match (&*request.body.borrow(), request.content_length.get()) {
        (Body::Memory(body), None) if body.is_empty() => {
            request.headers.borrow().contains(b"transfer-encoding").then_some(0)
        }
        (Body::Discarded, declared) => declared.map(|_| 0),
        (body, _) => body.length(),
    }
}

/// The request target for the upstream (`ngx_http_proxy_create_request`).
pub(super) fn write_uri(request: &Request, part: &UriPart, out: &mut Vec<u8>) {
    let start = out.len();
    let path = request.uri.borrow();
    match part {
        UriPart::Same if request.uri_unchanged.get() => {
            out.extend_from_slice(&request.target);
            return with_slash(start, out);
        }
        UriPart::Whole(uri) => {
            out.extend_from_slice(uri);
            return with_slash(start, out);
        }
        UriPart::Same => append_path(request, &path, out),
        UriPart::Prefix(uri) => {
            out.extend_from_slice(uri);
            let prefix = &request.location().prefix;
            // A rewrite took the URI out of the location: it is appended whole.
            let rest = match path.strip_prefix(&**prefix) {
                Some(rest) if !request.broke_out.get() => rest,
                _ => &path,
            };
            append_path(request, rest, out);
        }
    }
    if let Some(args) = &*request.args.borrow()
        && !args.is_empty()
    {
        out.push(b'?');
        out.extend_from_slice(args);
    }
    with_slash(start, out);
}

/// Escapes where the URI had escapes, or does not come from the client.
fn append_path(request: &Request, path: &[u8], out: &mut Vec<u8>) {
    let quoted = request.target.contains(&b'%') || request.internal.get();
    if quoted || !request.uri_unchanged.get() {
        escape::escape_into(out, path, &escape::URI);
    } else {
        out.extend_from_slice(path);
    }
}

/// What a variable or a script gave is sent as it is, but for bytes that would end the request
/// line: these are escaped. (nginx sends them.)
fn without_spaces(start: usize, out: &mut Vec<u8>) {
    let target = out.split_off(start);
    for byte in target {
        if byte <= b' ' || byte == 0x7f {
            let digit = |it: u8| b"0123456789ABCDEF"[usize::from(it & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        } else {
            out.push(byte);
        }
    }
}

fn with_slash(start: usize, out: &mut Vec<u8>) {
    if out.get(start) != Some(&b'/') {
        out.insert(start, b'/');
    }
}
