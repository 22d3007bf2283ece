//! The host of a request: what the `Host` field and the absolute form say, checked and normalised.

use bytes::Bytes;
use std::borrow::Cow;

/// The name that `server_name` is compared with and `$host` shows (`ngx_http_validate_host`):
/// without the port and one trailing dot, in lower case. `None`, which means 400, for an empty
/// name, `..`, a slash, white space and control characters.
pub fn normalise(host: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_bad = |&it: &u8| it <= b' ' || it == b'/' || it == 0x7f;
    if host.iter().any(is_bad) || host.windows(2).any(|pair| pair == b"..") {
        return None;
    }
    let literal = if host.first() == Some(&b'[') { memchr::memchr(b']', host) } else { None };
    let end = match literal {
        Some(bracket) => bracket + 1,
        // In an unclosed literal no colon ends the name.
        None if host.first() == Some(&b'[') => host.len(),
        None => memchr::memchr(b':', host).unwrap_or(host.len()),
    };
    let name = &host[..end];
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    Some(if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// As [`normalise`], for a name that no two servers may read differently: `None` too for `,`, `@`,
/// and a port that is no number. Copies nothing that is in its normal form already.
pub fn strict(host: &Bytes) -> Option<Bytes> {
    let plain = plain_length(host);
    let rest = &host[plain..];
    if plain > 0 && is_port(rest) && host[plain - 1] != b'.' {
        return Some(host.slice(..plain));
    }
    let behind_literal = memchr::memchr(b']', host).map_or(0, |at| at + 1);
    let port = memchr::memchr(b':', &host[behind_literal..]);
    let port = port.map_or(&[][..], |at| &host[behind_literal + at..]);
    if host.iter().any(|it| matches!(it, b',' | b'@')) || !is_port(port) {
        return None;
    }
    Some(match normalise(host)? {
        Cow::Borrowed(name) => host.slice_ref(name),
        Cow::Owned(name) => name.into(),
    })
}

/// How many bytes `host` begins with that are a name as it should be.
fn plain_length(host: &[u8]) -> usize {
    let mut before = b'.';
    let end = host.iter().position(|&it| {
        let is_plain = matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-') || it == b'.' && before != it;
        before = it;
        !is_plain
    });
    end.unwrap_or(host.len())
}

/// Nothing, or a colon and digits; there may be none, as in nginx.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_servers_could_read_differently_is_no_host() {
        let cases = [
            ("example.org", Some("example.org")),
            ("Example.org:8080", Some("example.org")),
            ("example.org.", Some("example.org")),
            ("a_b!", Some("a_b!")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            (".a", Some(".a")),
            ("a:", Some("a")),
            ("a:b:c", None),
            ("a:80x", None),
            ("a:80:80", None),
            ("[::1]x:y", None),
            ("a,b", None),
            ("u@a", None),
            ("a..b", None),
            ("a/b", None),
            ("", None),
            (":80", None),
        ];
        for (host, want) in cases {
            let found = strict(&Bytes::from_static(host.as_bytes()));
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{host:?}");
        }
    }

    #[test]
    fn hosts_are_what_nginx_makes_of_them() {
        let cases = [
            ("Example.ORG", Some("example.org")),
            ("example.org:80", Some("example.org")),
            ("example.org.", Some("example.org")),
            ("example.org.:80", Some("example.org")),
            ("a..b", None),
            ("a_b!", Some("a_b!")),
            ("a:b:c", Some("a")),
            ("[::1]:80", Some("[::1]")),
            ("[::1", Some("[::1")),
            ("[::A]x", Some("[::a]")),
            ("a[b]:1", Some("a[b]")),
            (":80", None),
            ("", None),
            (".", None),
            ("a/b", None),
            ("a b", None),
            ("a\tb", None),
            ("a:..", None),
        ];
        for (host, want) in cases {
            let found = normalise(host.as_bytes());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{host:?}");
        }
    }
}
