//! A request's head, as far as the admin listener needs it.

use std::net::SocketAddr;

/// Bytes that a head may have.
pub(super) const MAX_HEAD_BYTES: usize = 8192;
/// Header fields that a head may have.
const MAX_FIELDS: usize = 64;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// `GET`.
    pub method: String,
    /// The target without its query.
    pub path: String,
    /// The query, without its question mark.
    pub query: String,
    /// A browser sent it for a page: there is an `Origin`.
    pub has_origin: bool,
    /// `Host`, if there was one.
    pub host: Option<String>,
    /// `X-Canary-Version`, which `/healthz` gives back.
    pub canary_version: Option<Vec<u8>>,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Head {
    /// Reads the head at the beginning of `bytes`; `None` while it is not complete.
    ///
    /// # Errors
    /// When it cannot become one.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        }
        let target = request.path.ok_or(Malformed)?;
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let has_origin = all(request.headers, "origin").next().is_some();
        let mut hosts = all(request.headers, "host");
        let host = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Err(Malformed),
            (Some(host), None) => Some(String::from_utf8(host.to_vec()).map_err(|_| Malformed)?),
            (None, None) if request.version == Some(1) => return Err(Malformed),
            (None, None) => None,
        };
        let canary_version = all(request.headers, "x-canary-version").next().map(<[u8]>::to_vec);
        let method = request.method.ok_or(Malformed)?.to_owned();
        Ok(Some(Self { method, path, query, has_origin, host, canary_version }))
    }

    /// Whether `Host` names this listener, `bound`, and not a name that somebody let point here:
    /// a page of theirs could read the answers otherwise (DNS rebinding).
    pub fn is_for(&self, bound: SocketAddr) -> bool {
        let Some(host) = &self.host else { return true };
        let name = without_port(host);
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
        // An address cannot be rebound; of those that are not loopback only ours is meant.
        bare.parse().is_ok_and(|ip: std::net::IpAddr| {
            ip.is_loopback() || ip == bound.ip() || bound.ip().is_unspecified()
        })
    }
}

fn all<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    fields.iter().filter(move |it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let whole = "GET /status?x=1 HTTP/1.1\r\nHost: a\r\nX-Canary-Version: v2\r\n\r\n";
        let expected = Head {
            method: "GET".into(),
            path: "/status".into(),
            query: "x=1".into(),
            has_origin: false,
            host: Some("a".into()),
            canary_version: Some(b"v2".to_vec()),
        };
        assert_eq!(head(whole), expected);
        for end in 0..whole.len() {
            assert_eq!(Head::parse(&whole.as_bytes()[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_no_client_of_ours_sends_is_refused() {
        for text in [
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \u{fe}\r\nHo st: b\r\n\r\n",
        ] {
            assert_eq!(Head::parse(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n").host, None);
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let bound: SocketAddr = "10.0.0.7:9180".parse().unwrap();
        let is_for =
            |host: &str| head(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_for(bound);
        for host in ["localhost", "LOCALHOST:9180", "127.0.0.1:9180", "[::1]:80", "10.0.0.7"] {
            assert!(is_for(host), "{host}");
        }
        for host in ["evil.example", "10.0.0.8", "127.0.0.1.evil.example", "localhost.evil", ""] {
            assert!(!is_for(host), "{host}");
        }
    }
}
