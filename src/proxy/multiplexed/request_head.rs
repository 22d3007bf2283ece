//! The head of a request for an upstream by HTTP/2.

use crate::proxy::pick::UriPart;
use crate::proxy::trailers::takes_trailers;
use crate::proxy::upstream_request::{Written, body_length, write_uri};
use crate::request::Request;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// Fields of one connection, which HTTP/2 has not (RFC 9113 section 8.2.2); `te` has its own rule.
const OF_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// The head; `None` where `proxy_method` or a script gave a method that is none. The client's body
/// follows unread where it `streams`.
pub(in crate::proxy) fn request_head(
    request: &Request,
    part: &UriPart,
    streams: bool,
) -> Option<(http::Request<()>, Written)> {
    let proxy = &request.conf().proxy;
    let method = match &proxy.method {
        Some(method) => method.value(request),
        None => request.method.borrow().clone(),
    };
    let method = Method::from_bytes(&method).ok().filter(|it| *it != Method::CONNECT)?;
    let mut fields = Fields(HeaderMap::with_capacity(16));
    let label = request.label_field(proxy.grpc);
    let label =
        label.filter(|it| !proxy.set_header.iter().any(|set| set.0.eq_ignore_ascii_case(it.0)));
    if let Some((name, value)) = label {
        fields.append(name, value);
    }
    let is_label = |name: &[u8]| label.is_some_and(|it| name.eq_ignore_ascii_case(it.0));
    let mut authority = None;
    for (name, value) in &proxy.set_header {
        let value = value.value(request);
        if name.eq_ignore_ascii_case(b"host") {
            authority = Some(value);
        } else if !value.is_empty() {
            fields.append(name, &value);
        }
    }
    let length = if streams { request.content_length.get() } else { body_length(request) };
    if let Some(length) = length
        && !fields.0.contains_key(http::header::CONTENT_LENGTH)
    {
        fields.0.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if proxy.pass_request_headers {
        for (name, value) in request.headers.borrow().iter() {
            let is_replaced = proxy.replaced.iter().any(|it| name.eq_ignore_ascii_case(it));
            if !is_replaced && !is_label(name) {
                fields.append(name, value);
            }
        }
    }
    if takes_trailers(request) && !fields.0.contains_key(http::header::TE) {
        fields.append(b"te", b"trailers");
    }
    let mut path = Vec::with_capacity(request.target.len() + 1);
    write_uri(request, part, &mut path);
    let authority = authority.unwrap_or_default();
    let known = Authority::try_from(&*authority).ok();
    if known.is_none() && !authority.is_empty() {
        fields.append(b"host", &authority);
    }
    let uri = uri(request, path, known)?;
    let written = Written { headless: method == Method::HEAD, upgrades: false };
    let mut head = http::Request::new(());
    *head.method_mut() = method;
    *head.uri_mut() = uri;
    *head.version_mut() = http::Version::HTTP_2;
    *head.headers_mut() = fields.0;
    Some((head, written))
}

/// `:scheme`, `:authority` and `:path`.
fn uri(request: &Request, path: Vec<u8>, authority: Option<Authority>) -> Option<Uri> {
    let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(path.clone()))
        .or_else(|_| PathAndQuery::try_from(escaped(&path)))
        .ok()?;
    let scheme = if request.upstream_is_tls.get() { Scheme::HTTPS } else { Scheme::HTTP };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    // A URI has a scheme only beside an authority.
    parts.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

/// A path whose bytes HTTP/2's own rules allow, the others escaped.
fn escaped(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path {
        match byte {
            b'#' | b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                text.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The fields of a head.
struct Fields(HeaderMap);

impl Fields {
    /// Adds a field. What is none (a script or a variable made it) is left out, and so is what
    /// HTTP/2 cannot say.
    fn append(&mut self, name: &[u8], value: &[u8]) {
        let Ok(name) = HeaderName::from_bytes(name) else { return };
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        let is_te = name == http::header::TE;
        if OF_CONNECTION.contains(&name.as_str()) || (is_te && value != "trailers") {
            return;
        }
        self.0.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_path_may_hold_is_escaped() {
        assert_eq!(escaped(b"/a b#<\xc3\xa9?x={1}"), "/a%20b%23%3C%C3%A9?x=%7B1%7D");
    }

    #[test]
    fn fields_of_one_connection_are_left_out() {
        let mut fields = Fields(HeaderMap::new());
        for (name, value) in [
            (&b"Connection"[..], &b"x"[..]),
            (b"TE", b"gzip"),
            (b"te", b"trailers"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"bad name", b"1"),
            (b"x-b", b"a\nb"),
            (b"Upgrade", b"h2c"),
        ] {
            fields.append(name, value);
        }
        let all: Vec<_> =
            fields.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(all, ["te=\"trailers\"", "x-a=\"1\"", "x-a=\"2\""]);
    }
}
