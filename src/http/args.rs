//! Query arguments: `$arg_name`, and the pairs that `ngx.decode_args` and `ngx.encode_args` speak.

use crate::http::escape;
use std::borrow::Cow;

/// nginx's `$arg_<name>`: the undecoded value of the first `name=` without regard to case; `None`
/// where there is no such argument or it has no `=`.
pub fn find<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    args.split(|&it| it == b'&').find_map(|pair| {
        let (key, value) = pair.split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// One argument: its decoded key, and its decoded value unless it has no `=` (`true` in Lua).
pub type Pair<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// The arguments of a query string or of a form body, decoded as `ngx.decode_args` does.
///
/// Yields `Some(pair)` for a pair, `None` for one whose key is empty: those are left out of the
/// table yet count against OpenResty's limit of arguments.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: Option<&'a [u8]>,
}

impl Pairs<'_> {
    /// Whether the pair yielded last had no `&` behind it. `ngx.decode_args` and
    /// `ngx.req.get_post_args` say `"truncated"` when it had one and was the last allowed.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_none()
    }
}

/// How many arguments `ngx.req.get_uri_args` takes `args` to have: one more than it has `&`, none
/// in no text. It says `"truncated"` when these are more than its limit.
pub fn count(args: &[u8]) -> usize {
    if args.is_empty() { 0 } else { memchr::memchr_iter(b'&', args).count() + 1 }
}

/// The pairs of `args` in order.
pub fn decode(args: &[u8]) -> Pairs<'_> {
    Pairs { rest: Some(args) }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Option<Pair<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if rest.is_empty() {
            return None;
        }
        let pair = match memchr::memchr(b'&', rest) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], Some(escape::unescape_plus(&pair[at + 1..]))),
            None => (pair, None),
        };
        Some((!key.is_empty()).then(|| (escape::unescape_plus(key), value)))
    }
}

/// Builds a query string as `ngx.encode_args` does: both sides escaped, `&` between the pairs.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    text: Vec<u8>,
    pairs: usize,
}

impl Encoder {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { text: Vec::new(), pairs: 0 }
    }

    /// Adds `key=value`, or `key` alone for `None` (`true` in Lua; leave `false` out).
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.pairs > 0 {
            self.text.push(b'&');
        }
        self.pairs += 1;
        escape::escape_into(&mut self.text, key, &escape::LUA_URI_COMPONENT);
        if let Some(value) = value {
            self.text.push(b'=');
            escape::escape_into(&mut self.text, value, &escape::LUA_URI_COMPONENT);
        }
    }

    /// The query string, without `?`.
    pub fn finish(self) -> Vec<u8> {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(args: &str) -> Vec<String> {
        let show = |pair: Option<Pair<'_>>| match pair {
            None => "-".to_owned(),
            Some((key, None)) => format!("{}", key.escape_ascii()),
            Some((key, Some(value))) => {
                format!("{}={}", key.escape_ascii(), value.escape_ascii())
            }
        };
        decode(args.as_bytes()).map(show).collect()
    }

    #[test]
    fn arg_variables_are_found_as_nginx_finds_them() {
        let cases = [
            ("a=1&b=2", "b", Some("2")),
            ("A=1", "a", Some("1")),
            ("a", "a", None),
            ("a=", "a", Some("")),
            ("a&a=2", "a", Some("2")),
            ("xa=1&a=2", "a", Some("2")),
            ("a=1&a=2", "a", Some("1")),
            ("a==b", "a", Some("=b")),
            ("a%20b=1", "a%20b", Some("1")),
            ("&&a=1", "a", Some("1")),
            ("ab=1", "a", None),
            ("", "a", None),
            ("a=x%20y", "a", Some("x%20y")),
        ];
        for (args, name, want) in cases {
            let found = find(args.as_bytes(), name.as_bytes());
            assert_eq!(found, want.map(str::as_bytes), "{name} in {args:?}");
        }
    }

    #[test]
    fn pairs_are_decoded_as_openresty_does() {
        let cases: &[(&str, &[&str])] = &[
            ("a=1&b&a=2", &["a=1", "b", "a=2"]),
            ("a=&b==&=c&=&&d", &["a=", "b==", "-", "-", "-", "d"]),
            ("a%20b=c+d%2", &["a b=c d%2"]),
            ("a=b&", &["a=b"]),
            ("%3D=%26", &["==&"]),
            ("", &[]),
            ("=", &["-"]),
        ];
        for (args, want) in cases {
            assert_eq!(&decoded(args), want, "{args:?}");
        }
    }

    #[test]
    fn a_limit_can_tell_whether_it_cut_anything() {
        let mut pairs = decode(b"a=1&b=2");
        assert!(pairs.next().is_some() && !pairs.is_at_end());
        assert!(pairs.next().is_some() && pairs.is_at_end());
        let mut pairs = decode(b"a=1&");
        assert!(pairs.next().is_some() && !pairs.is_at_end());
        assert!(pairs.next().is_none() && pairs.is_at_end());
        assert_eq!([b"".as_slice(), b"a", b"a&", b"&a&"].map(count), [0, 1, 2, 3]);
    }

    #[test]
    fn encodes_keys_values_and_flags() {
        let mut args = Encoder::new();
        args.push(b"a b", Some(b"c&d=\xe4"));
        args.push(b"flag", None);
        args.push(b"e", Some(b""));
        assert_eq!(args.finish().escape_ascii().to_string(), "a%20b=c%26d%3D%E4&flag&e=");
        assert_eq!(Encoder::new().finish(), b"");
    }
}
