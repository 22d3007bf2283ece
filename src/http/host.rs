//! The host of a request: what the `Host` field and the absolute form say, checked and normalised.

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

#[cfg(test)]
mod tests {
    use super::*;

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
