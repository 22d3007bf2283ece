//! Tests of the escapes; the expected sets are what nginx 1.22.1 with lua-nginx-module 0.10.23
//! answered for every byte.

use super::*;

/// The printable ASCII bytes that `set` leaves alone.
fn kept(set: &Set) -> String {
    (0x20..0x7f).filter(|&it| !set.has(it)).map(char::from).collect()
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

#[test]
fn lua_sets_leave_what_openresty_leaves() {
    let cases = [
        (0, "!\"$&'()*+,-./:;<=>@[\\]^_`{|}~"),
        (1, "!\"$&'()*,-./:;<=>@[\\]^_`{|}~"),
        (2, "!'()*-._~"),
        (3, "!$&()*+,-./:;<=>?@[\\]^_`{|}~"),
        (4, "!#$%&()*+,-./:;<=>?@[\\]^_`{|}~"),
        (5, "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        (6, "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ];
    for (kind, punctuation) in cases {
        let set = lua_set(kind).unwrap();
        let kept: String = kept(set).chars().filter(|it| !it.is_alphanumeric()).collect();
        assert_eq!(kept, punctuation, "type {kind}");
        assert!(ALNUM.bytes().all(|it| !set.has(it)));
        assert!((0..0x20).all(|it| set.has(it)));
        assert!((0x7f..=0xff).all(|it| set.has(it) == (kind < 5)));
    }
    assert!(lua_set(7).is_none());
}

#[test]
fn nginx_sets() {
    assert!(URI.has(b'?') && !URI.has(b'+') && !URI.has(b'&') && URI.has(0xe4));
    assert!(ARGS.has(b'&') && ARGS.has(b'+') && ARGS.has(b';') && !ARGS.has(b'='));
    assert!(!HEADER_VALUE.has(b'\t') && HEADER_VALUE.has(b'\n') && !HEADER_VALUE.has(0x80));
    assert!(HEADER_NAME.has(b':') && !HEADER_NAME.has(b'-') && !HEADER_NAME.has(b'|'));
    assert_eq!(&*escape(b"a b\r\n", &RAW_ARGS), b"a%20b%0D%0A");
    assert!(matches!(escape(b"a=b", &RAW_ARGS), Cow::Borrowed(_)));
}

#[test]
fn log_and_json_escapes() {
    let mut out = Vec::new();
    log_into(&mut out, b"a\"b\\c\x01\x7f\xe4z");
    assert_eq!(
        out.escape_ascii().to_string(),
        br"a\x22b\x5Cc\x01\x7F\xE4z".escape_ascii().to_string()
    );
    out.clear();
    json_into(&mut out, b"\"\\/\n\r\t\x08\x0c\x1f\x7f\xe4");
    assert_eq!(out, b"\\\"\\\\/\\n\\r\\t\\b\\f\\u001F\x7f\xe4");
}

#[test]
fn nginx_unescape_loses_bad_escapes() {
    let cases: &[(&[u8], Extent, &[u8], usize)] = &[
        (b"a%20b+c", Extent::All, b"a b+c", 7),
        (b"a%zzb", Extent::All, b"azzb", 5),
        (b"a%2zb", Extent::All, b"ab", 5),
        (b"a%", Extent::All, b"a", 2),
        (b"a%2", Extent::All, b"a", 3),
        (b"a%3Fb?c%20", Extent::Path, b"a?", 4),
        (b"a%20?c%20", Extent::Path, b"a ?", 5),
        (b"%20%41%c3%25", Extent::Redirect, b"%20A%c3%25", 12),
        (b"a?%41", Extent::All, b"a?A", 5),
    ];
    for &(text, extent, want, covered) in cases {
        let mut out = Vec::new();
        assert_eq!(unescape_into(&mut out, text, extent), covered);
        assert_eq!(out, want, "{}", text.escape_ascii());
    }
}

#[test]
fn lua_unescape_keeps_bad_escapes() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"a%20b+c", b"a b c"),
        (b"a%zzb", b"a%zzb"),
        (b"a%2", b"a%2"),
        (b"%", b"%"),
        (b"%%41", b"%A"),
        (b"%00", b"\0"),
        (b"plain", b"plain"),
        (b"?%3f?", b"???"),
    ];
    for &(text, want) in cases {
        assert_eq!(&*unescape_plus(text), want, "{}", text.escape_ascii());
    }
}
