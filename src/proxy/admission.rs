//! The client's head becomes a [`Request`], or a refusal: nginx's rules for the request line, for
//! header fields and for `Host`.

use super::security;
use crate::clock;
use crate::http::h1::fault::Fault;
use crate::http::h1::request_head::{self, RequestHead, Span};
use crate::http::headers::Headers;
use crate::http::host;
use crate::http::method;
use crate::http::uri;
use crate::log::Level;
use crate::metrics;
use crate::request::{Connection, Parts, Request, Version};
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
    host: Option<Bytes>,
    length: u64,
    raw: Option<Bytes>,
    fault: Option<Fault>,
}

/// Makes a request of what the client sent over HTTP/2.
pub(super) fn admit(
    session: &Session,
    snapshot: &Arc<Snapshot>,
    connection: Rc<Connection>,
) -> Admitted {
    let server = snapshot.listener(&connection.listener).map_or(0, |it| it.names.default);
    let underscores = snapshot.server(server).conf.heads.underscores;
    accept(from_fields(session.req_header(), underscores), snapshot, connection)
}

/// Makes a request of a head of HTTP/1: `parsed` are places in `raw`. A head that was refused as it
/// was read becomes a request too, for the log and for an error page, as far as it was understood.
pub(super) fn admit_h1(
    parsed: &RequestHead,
    raw: &Bytes,
    fault: Option<Fault>,
    snapshot: &Arc<Snapshot>,
    connection: Rc<Connection>,
) -> Admitted {
    accept(from_spans(parsed, raw, fault), snapshot, connection)
}

fn accept(mut head: Head, snapshot: &Arc<Snapshot>, connection: Rc<Connection>) -> Admitted {
    let listener = snapshot.listener(&connection.listener);
    let server = listener.map_or(0, |it| it.names.default);
    let merges = snapshot.server(server).conf.merge_slashes;
    let is_line_bad = head.fault.is_some_and(Fault::is_of_line);
    let target = if is_line_bad { None } else { uri::parse(&head.target, merges).ok() };
    let never_came = head.fault.is_some_and(Fault::is_end);
    if target.is_none() && !is_line_bad && !never_came {
        head.fault = Some(Fault::Request);
    }
    if head.fault.is_some_and(Fault::is_of_line) {
        // nginx had not read on.
        head.length = 0;
        head.headers.clear();
        head.host = None;
    }
    let of_target = target.as_ref().and_then(|it| it.host.clone());
    let host = named_host(&head, of_target).unwrap_or_else(|fault| {
        head.fault.get_or_insert(fault);
        Bytes::new()
    });
    let (server, captures) = route(listener, server, &host);
    let (uri, args, unparsed) = match target {
        Some(it) => (it.path, it.args, it.unparsed),
        None => (Bytes::new(), None, head.target.clone()),
    };
    let fault = head.fault;
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
        headers: head.headers,
        head_length: head.length,
        server,
        is_fake: false,
    });
    *request.raw_head.borrow_mut() = head.raw;
    if let Some(regex) = captures {
        request.match_regex(regex, host);
    }
    let refusal = fault.map(|fault| {
        metrics::catalog().requests_refused.with_label_values(&[fault.label()]).inc();
        request.log(Level::Info, format_args!("{fault}"));
        fault.status()
    });
    let refusal = refusal.or_else(|| security::refuse(&request));
    let refusal = refusal.or_else(|| not_allowed(&request));
    Admitted { refusal, request }
}

/// Methods that nginx answers with 405 wherever they are sent to.
fn not_allowed(request: &Request) -> Option<u16> {
    let name = match &*request.original_method {
        b"TRACE" => "TRACE",
        b"CONNECT" => "CONNECT",
        _ => return None,
    };
    request.log(Level::Info, format_args!("client sent {name} method"));
    Some(405)
}

fn route<'a>(
    listener: Option<&'a Listener>,
    default: u32,
    host: &[u8],
) -> (u32, Option<&'a crate::snapshot::program::CapturingRegex>) {
    listener.map_or((default, None), |it| it.names.find(host))
}

/// HTTP/1: slices of the bytes that were read, so that order and spelling stay what they were.
fn from_spans(parsed: &RequestHead, raw: &Bytes, fault: Option<Fault>) -> Head {
    let slice = |span: Span| if span.is_empty() { Bytes::new() } else { raw.slice(span.range()) };
    let mut headers = Headers::with_capacity(parsed.fields.len());
    for field in &parsed.fields {
        headers.append(slice(field.name), slice(field.value));
    }
    Head {
        line: slice(parsed.line),
        method: slice(parsed.method),
        target: slice(parsed.target),
        version: match parsed.version {
            request_head::Version::V09 => Version::Http09,
            request_head::Version::V10 => Version::Http10,
            request_head::Version::V11 => Version::Http11,
        },
        headers,
        host: parsed.host.map(slice),
        length: (parsed.end - parsed.start.min(parsed.end)) as u64,
        raw: Some(raw.slice(parsed.start.min(parsed.end)..parsed.end)),
        fault,
    }
}

/// HTTP/2: pseudo header fields make the line; `:authority` stands for `Host`.
fn from_fields(parsed: &pingora::http::RequestHeader, underscores: bool) -> Head {
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
        if name == http::header::COOKIE || !is_kept(name.as_str(), underscores) {
            continue;
        }
        let name = Bytes::copy_from_slice(name.as_str().as_bytes());
        headers.append(name, Bytes::copy_from_slice(value.as_bytes()));
    }
    let length = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    let length = (length + line.len() + 4) as u64;
    let host = headers.get(b"host").cloned();
    let fault = fault_of_fields(&method, &headers);
    let version = Version::Http2;
    Head { line, method, target, version, headers, host, length, raw: None, fault }
}

/// nginx drops names with other characters (`ignore_invalid_headers`), and `_` unless told.
fn is_kept(name: &str, underscores: bool) -> bool {
    let kept = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || (underscores && it == b'_');
    name.bytes().all(kept)
}

/// The framing is HTTP/2's own; what is said twice is refused as in HTTP/1.
fn fault_of_fields(method: &[u8], headers: &Headers) -> Option<Fault> {
    let is_twice = |name: &[u8]| headers.all(name).nth(1).is_some();
    if !method::is_valid(method) {
        return Some(Fault::Method);
    }
    if is_twice(b"host") {
        return Some(Fault::TwoHosts);
    }
    is_twice(b"content-length").then_some(Fault::Duplicate)
}

/// The host of the absolute form, else of `Host`; empty where HTTP/1.0 has none.
fn named_host(head: &Head, of_target: Option<Bytes>) -> Result<Bytes, Fault> {
    if head.host.is_none() && head.version >= Version::Http11 && head.fault.is_none() {
        return Err(Fault::NoHost);
    }
    let named = head.host.as_ref().map(|it| host::strict(it).ok_or(Fault::Host)).transpose()?;
    let Some(target) = of_target else { return Ok(named.unwrap_or_default()) };
    let target = host::strict(&target).ok_or(Fault::Host)?;
    match named {
        Some(named) if named != target => Err(Fault::OtherHost),
        _ => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::request_head::{Parser, Policy};

    const POLICY: Policy =
        Policy { bare_lf: false, underscores: false, line_bytes: 1024, head_bytes: 4096 };

    fn head(text: &str) -> Head {
        let mut parser = Parser::new(POLICY);
        let fault = parser.parse(text.as_bytes()).err();
        from_spans(&parser.into_head(), &Bytes::copy_from_slice(text.as_bytes()), fault)
    }

    #[test]
    fn a_head_keeps_order_and_spelling() {
        let head = head(
            "\r\nGET /a%20b?x HTTP/1.1\r\nhOst: A\r\nX-B:  1 \r\nbad@name: 2\r\n\
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
        assert!(head.raw.unwrap().starts_with(b"GET "));
    }

    #[test]
    fn a_refused_head_tells_what_came_before_the_fault() {
        let head = head("GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n");
        assert_eq!((head.fault, &*head.line), (Some(Fault::Field), &b"GET /x HTTP/1.1"[..]));
        assert_eq!((head.host.as_deref(), head.length), (Some(&b"a"[..]), 26));
    }

    #[test]
    fn hosts_agree_or_are_refused() {
        let host = |fields: &str, target: Option<&'static str>| {
            let head = head(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
            named_host(&head, target.map(|it| Bytes::from_static(it.as_bytes())))
                .map(|it| String::from_utf8_lossy(&it).into_owned())
        };
        assert_eq!(host("Host: A:80\r\n", None).as_deref(), Ok("a"));
        assert_eq!(host("Host: a\r\n", Some("A")).as_deref(), Ok("a"));
        assert_eq!(host("Host: a\r\n", Some("b")), Err(Fault::OtherHost));
        assert_eq!(host("", None), Err(Fault::NoHost));
        assert_eq!(host("", Some("a")), Err(Fault::NoHost));
        for bad in ["a,b", "u@a", "a/b", "a:x", "a:", "", "a b"] {
            let want = if bad == "a:" { Ok("a".to_owned()) } else { Err(Fault::Host) };
            assert_eq!(host(&format!("Host: {bad}\r\n"), None), want, "{bad:?}");
        }
    }
}
