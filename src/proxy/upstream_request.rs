//! The request as the upstream gets it: nginx's request line, its order of header fields.

use super::error::Result;
use super::pick::UriPart;
use crate::http::escape;
use crate::request::{Body, Request};
use bytes::Bytes;
use pingora::http::RequestHeader;

/// The head for the upstream.
///
/// # Errors
/// A method that HTTP does not allow.
pub(super) fn build(request: &Request, part: &UriPart) -> Result<RequestHeader> {
    let proxy = request.conf().proxy.clone();
    let method = match &proxy.method {
        Some(method) => method.value(request),
        None => request.method.borrow().clone(),
    };
    let uri = uri(request, part);
    let size = request.headers.borrow().len() + proxy.set_header.len() + 1;
    let mut head = RequestHeader::build(&*method, &uri, Some(size))?;
    head.set_version(if proxy.http11 { http::Version::HTTP_11 } else { http::Version::HTTP_10 });
    let mut sets_length = false;
    for (name, value) in &proxy.set_header {
        let value = value.value(request);
        sets_length |= name.eq_ignore_ascii_case(b"content-length");
        if !value.is_empty() {
            add(&mut head, name, value);
        }
    }
    if !sets_length && let Some(length) = body_length(request) {
        let length = Bytes::from(length.to_string());
        add(&mut head, &Bytes::from_static(b"Content-Length"), length);
    }
    if proxy.pass_request_headers {
        for (name, value) in request.headers.borrow().iter() {
            if !proxy.replaced.iter().any(|it| name.eq_ignore_ascii_case(it)) {
                add(&mut head, name, value.clone());
            }
        }
    }
    Ok(head)
}

/// The length of the body that is sent; `None` where nginx sends no `Content-Length`.
fn body_length(request: &Request) -> Option<u64> {
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

/// Adds a field; what is none (a script or a variable made it) is left out, as HTTP cannot say it.
fn add(head: &mut RequestHeader, name: &Bytes, value: Bytes) {
    if let Ok(value) = http::HeaderValue::from_maybe_shared(value) {
        let _ = head.append_header(name.clone(), value);
    }
}

/// The request target for the upstream (`ngx_http_proxy_create_request`).
fn uri(request: &Request, part: &UriPart) -> Vec<u8> {
    let path = request.uri.borrow().clone();
    let unchanged = request.uri_unchanged.get();
    let mut out = Vec::with_capacity(path.len() + 32);
    match part {
        UriPart::Same if unchanged => return with_slash(request.target.to_vec()),
        UriPart::Whole(uri) => return with_slash(without_spaces(uri)),
        UriPart::Same => append_path(request, &path, &mut out),
        UriPart::Prefix(uri) => {
            out.extend_from_slice(uri);
            let prefix = &request.location().prefix;
            // A rewrite took the URI out of the location: it is appended whole.
            let rest = match path.strip_prefix(&**prefix) {
                Some(rest) if !request.broke_out.get() => rest,
                _ => &path,
            };
            append_path(request, rest, &mut out);
        }
    }
    if let Some(args) = &*request.args.borrow()
        && !args.is_empty()
    {
        out.push(b'?');
        out.extend_from_slice(args);
    }
    with_slash(out)
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

/// What a variable gave is sent as it is, but for bytes that would end the request line: these are
/// escaped. (nginx sends them.)
fn without_spaces(uri: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len());
    for byte in uri {
        if *byte <= b' ' || *byte == 0x7f {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn with_slash(uri: Vec<u8>) -> Vec<u8> {
    if uri.first() == Some(&b'/') { uri } else { [b"/", &uri[..]].concat() }
}

/// The body to send, in memory; `None` where it is in a file or there is none.
pub(super) fn body_in_memory(request: &Request) -> Option<Bytes> {
    match &*request.body.borrow() {
        Body::Memory(body) if !body.is_empty() => Some(body.clone()),
        _ => None,
    }
}
