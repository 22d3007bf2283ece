//! The client's head becomes a [`Request`], or a refusal: nginx's rules for the request line, for
//! header fields and for `Host`.

use super::security;
use crate::clock;
use crate::http::headers::Headers;
use crate::http::host;
use crate::http::method;
use crate::http::uri;
use crate::log::Level;
use crate::request::{Connection, Parts, Request, Version, decimal};
use crate::snapshot::{Listener, Snapshot};
use bytes::Bytes;
use pingora::proxy::Session;
use std::rc::Rc;
use std::sync::Arc;

/// A request, and the status that refuses it if it may not go on.
pub(super) struct Admitted {
    pub request: Rc<Request>,
    pub refusal: Option<u16>,
}

/// The client's head as it was read.
struct Head {
    line: Bytes,
    method: Bytes,
    target: Bytes,
    version: Version,
    headers: Headers,
    length: u64,
    raw: Option<Bytes>,
}

/// Why a head is refused.
struct Refusal {
    status: u16,
    reason: &'static str,
}

/// Makes a request of what the client sent.
pub(super) fn admit(
    session: &Session,
    snapshot: &Arc<Snapshot>,
    connection: Rc<Connection>,
) -> Admitted {
    let listener = snapshot.listener(&connection.listener);
    let server = listener.map_or(0, |it| it.names.default);
    let conf = &snapshot.server(server).conf;
    let mut head = read_head(session, conf.underscores_in_headers);
    let mut refusal = check_framing(&head).err();
    let target = match uri::parse(&head.target, conf.merge_slashes) {
        Ok(target) => Some(target),
        Err(_) => {
            refusal = refusal.or(refuse(400, "client sent invalid request"));
            None
        }
    };
    let named = named_host(&head, target.as_ref().and_then(|it| it.host.clone()));
    let host = named.unwrap_or_else(|reason| {
        refusal = refusal.take().or(Some(reason));
        Bytes::new()
    });
    let (server, captures) = route(listener, server, &host);
    let (uri, args, unparsed) = match target {
        Some(it) => (it.path, it.args, it.unparsed),
        None => (Bytes::new(), None, head.target.clone()),
    };
    let request = Request::new(Parts {
        snapshot: snapshot.clone(),
        connection,
        started: clock::monotonic(),
        version: head.version,
        method: head.method,
        line: head.line,
        target: unparsed,
        uri,
        args,
        host: host.clone(),
        headers: std::mem::take(&mut head.headers),
        head_length: head.length,
        server,
        is_fake: false,
    });
    *request.raw_head.borrow_mut() = head.raw;
    if let Some(regex) = captures {
        request.match_regex(regex, host);
    }
    let refusal = refusal.map(|it| {
        request.log(Level::Info, format_args!("{}", it.reason));
        it.status
    });
    let refusal = refusal.or_else(|| security::refuse(&request));
    Admitted { request, refusal }
}

fn refuse(status: u16, reason: &'static str) -> Option<Refusal> {
    Some(Refusal { status, reason })
}

fn route<'a>(
    listener: Option<&'a Listener>,
    default: u32,
    host: &[u8],
) -> (u32, Option<&'a crate::snapshot::program::CapturingRegex>) {
    listener.map_or((default, None), |it| it.names.find(host))
}

fn read_head(session: &Session, underscores: bool) -> Head {
    let parsed = session.req_header();
    let version = match parsed.version {
        http::Version::HTTP_2 => Version::Http2,
        http::Version::HTTP_10 => Version::Http10,
        _ => Version::Http11,
    };
    match session.as_http1() {
        Some(h1) => from_raw(h1.get_headers_raw_bytes(), version, underscores),
        None => from_fields(parsed, version),
    }
}

/// HTTP/1: the bytes of the head, so that order and spelling stay what they were.
fn from_raw(raw: Bytes, version: Version, underscores: bool) -> Head {
    let length = raw.len() as u64;
    let start = raw.iter().position(|it| !matches!(it, b'\r' | b'\n')).unwrap_or(0);
    let mut lines = raw[start..].split(|it| *it == b'\n').map(strip_cr);
    let line = raw.slice_ref(lines.next().unwrap_or_default());
    let mut parts = line.splitn(2, |it| *it == b' ');
    let method = raw.slice_ref(parts.next().unwrap_or_default());
    let rest = parts.next().unwrap_or_default();
    let end = rest.iter().rposition(|it| *it == b' ').unwrap_or(rest.len());
    let target = raw.slice_ref(&rest[..end]);
    let mut headers = Headers::with_capacity(16);
    for field in lines.take_while(|it| !it.is_empty()) {
        let Some(colon) = field.iter().position(|it| *it == b':') else { continue };
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        if is_valid_name(name, underscores) {
            headers.append(raw.slice_ref(name), slice_of(&raw, value));
        }
    }
    Head { line, method, target, version, headers, length, raw: Some(raw.slice(start..)) }
}

/// An empty value may lie outside of the buffer.
fn slice_of(raw: &Bytes, value: &[u8]) -> Bytes {
    if value.is_empty() { Bytes::new() } else { raw.slice_ref(value) }
}

/// nginx drops names with other characters (`ignore_invalid_headers`), and `_` unless told.
fn is_valid_name(name: &[u8], underscores: bool) -> bool {
    let valid = |it: &u8| it.is_ascii_alphanumeric() || *it == b'-' || (underscores && *it == b'_');
    !name.is_empty() && name.iter().all(valid)
}

fn strip_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// HTTP/2: pseudo header fields make the line; `:authority` stands for `Host`.
fn from_fields(parsed: &pingora::http::RequestHeader, version: Version) -> Head {
    let method = Bytes::copy_from_slice(parsed.method.as_str().as_bytes());
    let target = Bytes::copy_from_slice(parsed.raw_path());
    let line = Bytes::from([&method, &b" "[..], &target, b" ", b"HTTP/2.0"].concat());
    let mut headers = Headers::with_capacity(parsed.headers.len() + 1);
    if let Some(authority) = parsed.uri.authority()
        && !parsed.headers.contains_key(http::header::HOST)
    {
        headers.append("host", Bytes::copy_from_slice(authority.as_str().as_bytes()));
    }
    // A client may split its cookies (RFC 9113, section 8.2.3); HTTP/1 knows one field.
    let mut cookies = parsed.headers.get_all(http::header::COOKIE).iter().map(|it| it.as_bytes());
    if let Some(first) = cookies.next() {
        let joined = cookies.fold(first.to_vec(), |all, it| [&all, &b"; "[..], it].concat());
        headers.append("cookie", Bytes::from(joined));
    }
    for (name, value) in &parsed.headers {
        if name == http::header::COOKIE {
            continue;
        }
        let name = Bytes::copy_from_slice(name.as_str().as_bytes());
        headers.append(name, Bytes::copy_from_slice(value.as_bytes()));
    }
    let length = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    let length = (length + line.len() + 4) as u64;
    Head { line, method, target, version, headers, length, raw: None }
}

/// nginx's `large_client_header_buffers 4 8k`: no line longer than a buffer, all in four of them.
fn check_size(head: &Head) -> Result<(), Refusal> {
    const LINE: usize = 8 << 10;
    if head.line.len() + 2 > LINE {
        return Err(Refusal { status: 414, reason: "client sent too long URI" });
    }
    let too_long = |(name, value): (&Bytes, &Bytes)| name.len() + value.len() + 4 > LINE;
    if head.length > 4 * LINE as u64 || head.headers.iter().any(too_long) {
        return Err(Refusal { status: 494, reason: "client sent too long header line" });
    }
    Ok(())
}

/// The framing that nginx refuses, and both lengths at once, which it refuses too.
fn check_framing(head: &Head) -> Result<(), Refusal> {
    check_size(head)?;
    if !method::is_valid(&head.method) {
        return Err(Refusal { status: 400, reason: "client sent invalid method" });
    }
    let headers = &head.headers;
    if headers.all(b"content-length").count() > 1 {
        return Err(Refusal { status: 400, reason: "client sent duplicate header line" });
    }
    if let Some(length) = headers.get(b"content-length")
        && decimal(length).is_none()
    {
        let reason = "client sent invalid \"Content-Length\" header";
        return Err(Refusal { status: 400, reason });
    }
    let Some(coding) = headers.get(b"transfer-encoding") else { return Ok(()) };
    if head.version < Version::Http11 {
        let reason = "client sent HTTP/1.0 request with \"Transfer-Encoding\" header";
        return Err(Refusal { status: 400, reason });
    }
    if headers.contains(b"content-length") {
        let reason = "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the \
                      same time";
        return Err(Refusal { status: 400, reason });
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        let reason = "client sent unknown \"Transfer-Encoding\"";
        return Err(Refusal { status: 501, reason });
    }
    Ok(())
}

/// The host of the absolute form, else of `Host`; empty where HTTP/1.0 has none.
fn named_host(head: &Head, of_target: Option<Bytes>) -> Result<Bytes, Refusal> {
    let mut fields = head.headers.all(b"host");
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Refusal { status: 400, reason: "client sent duplicate host header" });
    }
    if first.is_none() && head.version >= Version::Http11 && of_target.is_none() {
        let reason = "client sent HTTP/1.1 request without \"Host\" header";
        return Err(Refusal { status: 400, reason });
    }
    let Some(named) = of_target.as_ref().or(first) else { return Ok(Bytes::new()) };
    match host::normalise(named) {
        Some(host) => Ok(Bytes::copy_from_slice(&host)),
        None => Err(Refusal { status: 400, reason: "client sent invalid host header" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        from_raw(Bytes::copy_from_slice(text.as_bytes()), Version::Http11, false)
    }

    fn refusal(text: &str) -> Option<u16> {
        let head = head(text);
        let of_host = named_host(&head, None).err();
        check_framing(&head).err().or(of_host).map(|it| it.status)
    }

    #[test]
    fn a_head_keeps_order_and_spelling() {
        let head = head(
            "\r\nGET /a%20b?x HTTP/1.1\r\nhOst: A\r\nX-B:  1 \r\nbad name: 2\r\n\
                         a_b: 3\r\nX-Empty:\r\n\r\n",
        );
        assert_eq!(&*head.line, b"GET /a%20b?x HTTP/1.1");
        assert_eq!((&*head.method, &*head.target), (&b"GET"[..], &b"/a%20b?x"[..]));
        let fields: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        assert_eq!(fields, ["hOst=A", "X-B=1", "X-Empty="]);
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        let post = |fields: &str| refusal(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(post("Content-Length: 3\r\n"), None);
        assert_eq!(post("Content-Length: 3\r\nContent-Length: 3\r\n"), Some(400));
        assert_eq!(post("Content-Length: +3\r\n"), Some(400));
        assert_eq!(post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), Some(400));
        assert_eq!(post("Transfer-Encoding: gzip\r\n"), Some(501));
        assert_eq!(post("Transfer-Encoding: Chunked\r\n"), None);
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Some(400));
        assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Some(400));
        assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), Some(400));
        assert_eq!(refusal("get / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(400));
    }
}
