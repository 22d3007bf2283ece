//! Tests of dates; the expected values are `ngx.parse_http_time`'s, `ngx.http_time`'s and
//! `ngx.cookie_time`'s on lua-nginx-module 0.10.23.

use super::*;
use proptest::prelude::*;

#[test]
fn parses_what_nginx_parses() {
    let cases = [
        ("Tue, 10 Nov 2002 23:50:13 GMT", Some(1_036_972_213)),
        ("Tuesday, 10-Dec-02 23:50:13 GMT", Some(1_039_564_213)),
        ("Tue Dec 10 23:50:13 2002", Some(1_039_564_213)),
        ("Tue Dec  1 23:50:13 2002", Some(1_038_786_613)),
        ("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800)),
        ("Thu, 29 Feb 2023 00:00:00 GMT", None),
        ("Thu, 30 Feb 2024 00:00:00 GMT", None),
        ("Thu, 31 Dec 1969 23:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Thu, 00 Jan 1971 00:00:00 GMT", Some(31_449_600)),
        ("01 Jan 1971 00:00:00", None),
        ("Thu, 01 Jan 1971 00:00:60 GMT", None),
        ("Thu, 01 Jan 1971 24:00:00 GMT", None),
        ("", None),
        ("x", None),
        ("Thu, 1 Jan 1971 00:00:00 GMT", None),
        ("Thu, 01 Jax 1971 00:00:00", Some(31_536_000)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
        ("Sunday, 06-Nov-69 08:49:37 GMT", Some(3_150_953_377)),
        ("Sunday, 06-Nov-70 08:49:37 GMT", Some(26_729_377)),
        ("Thu,01 Jan 1971 00:00:00", Some(31_536_000)),
        ("Thu, 01 Jan 1971 00:00:0", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
    ];
    for (text, want) in cases {
        assert_eq!(parse(text.as_bytes()), want, "{text}");
    }
}

#[test]
fn shows_what_nginx_shows() {
    let cases = [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01-Jan-70 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "Tue, 29-Feb-00 00:00:00 GMT"),
        (1_290_079_655, "Thu, 18 Nov 2010 11:27:35 GMT", "Thu, 18-Nov-10 11:27:35 GMT"),
        (2_145_916_799, "Thu, 31 Dec 2037 23:59:59 GMT", "Thu, 31-Dec-37 23:59:59 GMT"),
        (2_145_916_800, "Fri, 01 Jan 2038 00:00:00 GMT", "Fri, 01-Jan-2038 00:00:00 GMT"),
        (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT", "Thu, 31-Dec-2099 23:59:59 GMT"),
        (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31-Dec-9999 23:59:59 GMT"),
        (-5, "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01-Jan-70 00:00:00 GMT"),
        (94_694_400, "Mon, 01 Jan 1973 00:00:00 GMT", "Mon, 01-Jan-73 00:00:00 GMT"),
    ];
    for (unix, want_http, want_cookie) in cases {
        assert_eq!((http(unix).as_str(), cookie(unix).as_str()), (want_http, want_cookie));
    }
}

#[test]
fn local_forms() {
    let at = 784_111_777;
    assert_eq!(local(at, 3600), "06/Nov/1994:09:49:37 +0100");
    assert_eq!(local(at, -12600), "06/Nov/1994:05:19:37 -0330");
    assert_eq!(error_log(at, 0), "1994/11/06 08:49:37");
    assert_eq!(syslog(at, 0), "Nov  6 08:49:37");
    assert_eq!(
        (plain(at, -32400), today(at, -32400)),
        ("1994-11-05 23:49:37".into(), "1994-11-05".into())
    );
}

proptest! {
    #[test]
    fn every_second_comes_back(unix in 0..=LAST) {
        prop_assert_eq!(parse(http(unix).as_bytes()), Some(unix));
    }
}
