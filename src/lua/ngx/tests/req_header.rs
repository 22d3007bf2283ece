//! Request headers.

use crate::lua::ngx::fixture::World;
use crate::lua::ngx::fixture::world;
use std::fmt::Write;

fn sample() -> World {
    let request = "POST /req HTTP/1.1\nHost: localhost:80\nX-Two: a\nx-two: b\nContent-Length: 15";
    world("location / { }", request)
}

fn check(cases: &[(&str, &str)]) {
    for (code, want) in cases {
        let code = format!("local R = ngx.req {code}");
        assert_eq!(sample().eval(&code), *want, "{code}");
    }
}

#[test]
fn headers_are_read_in_any_spelling() {
    check(&[
        ("return R.get_headers()", "{content-length=15;host=localhost:80;x-two={1=a;2=b}}"),
        ("return R.get_headers(2)", "{host=localhost:80;x-two=a} | truncated"),
        ("return R.get_headers(0, true)", "{Content-Length=15;Host=localhost:80;X-Two=a;x-two=b}"),
        ("return R.get_headers(-5, true)", "{Content-Length=15;Host=localhost:80;X-Two=a;x-two=b}"),
        ("local h = R.get_headers() return h.X_Two[1], h['x-TWO'][2], h.nosuch", "a | b | nil"),
        ("return getmetatable(R.get_headers(1, true))", "nil"),
        (
            "R.get_headers('x')",
            "ERROR content_by_lua(nginx.conf:1):1: bad argument #2 to \
             'ngx_http_lua_ffi_req_get_headers_count' (cannot convert 'string' to 'int')",
        ),
    ]);
}

#[test]
fn the_hundred_first_header_is_cut() {
    let mut request = "GET / HTTP/1.1".to_owned();
    for n in 0..101 {
        write!(request, "\nX-{n}: {n}").unwrap();
    }
    let world = world("location / { }", &request);
    let count = "local h, err = ngx.req.get_headers(...) local n = 0 \
                 for _ in pairs(h) do n = n + 1 end return n, err";
    assert_eq!(world.eval(&count.replace("...", "")), "100 | truncated");
    assert_eq!(world.eval(&count.replace("...", "0")), "101 | nil");
    assert_eq!(world.eval(&count.replace("...", "nil")), "100 | truncated");
}

#[test]
fn headers_are_set_and_cleared() {
    check(&[
        ("R.set_header('X-Two', 3) return R.get_headers().x_two, ngx.var.http_x_two", "3 | 3"),
        (
            "R.set_header('X-New', {1, 'b'}) return R.get_headers().x_new, ngx.var.http_x_new",
            "{1=1;2=b} | 1",
        ),
        ("R.set_header('X-Two', {}) return R.get_headers().x_two", "nil"),
        ("R.set_header('x_under', 'u') return rawget(R.get_headers(), 'x_under')", "u"),
        ("R.set_header('X-Two', nil) return R.get_headers().x_two", "nil"),
        ("R.set_header('X-Two', '') return R.get_headers().x_two", "nil"),
        ("R.clear_header('X-TWO') return R.get_headers().x_two", "nil"),
        ("R.set_header('a\\nb', 'c\\r\\nd') return R.get_headers()['a%0ab']", "c%0D%0Ad"),
        (
            "R.set_header(nil, '')",
            "ERROR content_by_lua(nginx.conf:1):1: bad 'name' argument: string expected, got nil",
        ),
    ]);
}

#[test]
fn what_derives_from_headers_follows() {
    check(&[
        (
            "R.set_header('Host', 'Other:81') return ngx.var.host, ngx.var.http_host",
            "other | \
          Other:81",
        ),
        (
            "R.set_header('Host', 'a/b')",
            "ERROR content_by_lua(nginx.conf:1):1: failed to set header",
        ),
        ("R.set_header('Host', nil) return ngx.var.host, ngx.var.http_host", "localhost | nil"),
        (
            "R.set_header('Content-Length', '7x')",
            "ERROR content_by_lua(nginx.conf:1):1: failed to set header",
        ),
        ("R.set_header('Content-Length', '7') return ngx.var.content_length", "7"),
    ]);
    let world = sample();
    world.run("ngx.req.set_header('Content-Length', 7)").unwrap();
    assert_eq!(world.request.content_length.get(), Some(7));
    world.run("ngx.req.clear_header('content-length')").unwrap();
    assert_eq!(world.request.content_length.get(), None);
}

#[test]
fn headers_are_added() {
    let add = "local add, R = require 'ngx.req'.add_header, ngx.req ";
    let at = "ERROR content_by_lua(nginx.conf:1):1: ";
    let cases = [
        (
            "add('x-a', '1') add('x-a', {'2', 3}) return R.get_headers()['x-a']",
            "{1=1;2=2;3=3}".to_owned(),
        ),
        ("add('x-a', {})", format!("{at}bad 'value' argument: non-empty table expected")),
        ("add('x-a')", format!("{at}bad 'value' argument: string or table expected, got nil")),
    ];
    for (code, want) in cases {
        assert_eq!(sample().eval(&format!("{add}{code}")), want, "{code}");
    }
}
