//! `ngx.header` and `ngx.resp`.

use crate::lua::ngx::fixture::World;
use crate::lua::ngx::fixture::plain;
use crate::lua::ngx::fixture::world;

/// The head as it would be written, without what the server adds.
fn head(world: &World) -> String {
    let head = world.request.response.borrow();
    let line = |(name, value): (&bytes::Bytes, &bytes::Bytes)| {
        format!("{}: {}", name.escape_ascii(), value.escape_ascii())
    };
    head.headers.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn check(cases: &[(&str, &str)]) {
    for (code, want) in cases {
        let code = format!("local H = ngx.header {code}");
        assert_eq!(plain().eval(&code), *want, "{code}");
    }
}

#[test]
fn fields_are_set_read_and_removed() {
    check(&[
        (
            "H.x_a = 1 H['X-B'] = {1, 'b', true} return H.x_a, H['x-b'], H.X_A",
            "1 | {1=1;2=b;3=true} | 1",
        ),
        ("H.x_a = 1 H.x_a = nil return H.x_a", "nil"),
        ("H.x_b = {1, 2} H.x_b = {} return H.x_b", "nil"),
        ("H.x_a = 1 H.x_a = '' return H.x_a", "nil"),
        ("H[1] = 2 return H[1], H['1']", "2 | 2"),
        ("H.set_cookie = {'a', 'b'} H['Set-Cookie'] = 'c' return H.set_cookie", "c"),
        (
            "H.cache_control = {'a', 'b'} return H.cache_control, ngx.var.sent_http_cache_control",
            "{1=a;2=b} | a, b",
        ),
        ("local t = {1, true} H.x_u = t return type(t[1]), type(t[2])", "string | string"),
        ("H.x_t = setmetatable({}, {__tostring = function() return 'T' end}) return H.x_t", "nil"),
        ("return H.connection, H.server, H.date, H.nosuch", "nil | nil | nil | nil"),
    ]);
}

#[test]
fn fields_with_a_place_of_their_own_go_there() {
    check(&[
        ("H.content_type = 'text/html; charset=x' return H.content_type", "text/html; charset=x"),
        ("H.content_type = '' return H.content_type, ngx.var.sent_http_content_type", "nil | nil"),
        ("H.content_type = {'a/b', 'c/d'} return H.content_type", "c/d"),
        ("H.content_length = 12 return H.content_length", "12"),
        ("H.content_length = 'abc'", "ERROR content_by_lua(nginx.conf:1):1: failed to set header"),
        ("H.content_length = 12 H.content_length = nil return H.content_length", "nil"),
        ("H.location = '/x' return H.location", "/x"),
        ("H.location = {'/x', '/y'} return H.location", "{1=/x;2=/y}"),
        ("H.location = {'http://x', '/y'} return H.location", "/y"),
        ("H.location = '/x' H.location = nil return H.location", "nil"),
        ("H.etag = {'a', 'b'} return H.etag", "b"),
        (
            "H.last_modified = 'Thu, 01 Jan 1970 00:00:10 GMT' return H.last_modified",
            "Thu, 01 Jan 1970 00:00:10 GMT",
        ),
        ("H.last_modified = 'zzz' return H.last_modified", "nil"),
    ]);
    let world = plain();
    world.run("ngx.header.content_length = 12 ngx.header.content_type = 'a/b'").unwrap();
    let head = world.request.response.borrow();
    assert_eq!((head.content_length, head.headers.len()), (Some(12), 0));
    assert_eq!(head.content_type.as_deref(), Some(&b"a/b"[..]));
}

#[test]
fn the_head_is_not_split_by_what_a_script_puts_in() {
    let world = plain();
    let code = "ngx.header['a b'] = 'c\\r\\nd\\te\\127f' return ngx.header['a b']";
    assert_eq!(world.eval(code), "nil");
    assert_eq!(head(&world), "a%20b: c%0D%0Ad\\te%7Ff");
}

#[test]
fn spelling_is_the_scripts_for_known_fields_only() {
    let world = plain();
    world
        .run("local H = ngx.header H['X-A'] = 1 H['x-a'] = 2 H['Server'] = 'a' H['sERVER'] = 'b'")
        .unwrap();
    assert_eq!(head(&world), "X-A: 2\nsERVER: b");
    let conf = "lua_transform_underscores_in_response_headers off; location / { }";
    let world = self::world(conf, "GET /");
    world.run("ngx.header.x_a = 1").unwrap();
    assert_eq!(head(&world), "x_a: 1");
}

#[test]
fn nothing_is_set_once_the_head_is_sent() {
    let world = plain();
    world.run("ngx.say('x') ngx.header.x = 1").unwrap();
    let text = "error: attempt to set ngx.header.HEADER after sending out response headers";
    assert_eq!(world.logged(), [text]);
    assert_eq!(head(&world), "");
}

#[test]
fn fields_are_added() {
    let add = "local add = require 'ngx.resp'.add_header ";
    let cases = [
        ("ngx.header.x_u = {1, 2} add('x-u', 'z') return ngx.header.x_u", "{1=1;2=2;3=z}"),
        ("add('x-u', {}) return ngx.header.x_u", "nil"),
        ("add('x-u', {'a', 'b'}) return ngx.header.x_u", "{1=a;2=b}"),
        ("add('etag', 'p') add('etag', 'q') return ngx.header.etag", "q"),
        ("add('x-u', nil)", "ERROR content_by_lua(nginx.conf:1):1: invalid header value"),
    ];
    for (code, want) in cases {
        assert_eq!(plain().eval(&format!("{add}{code}")), want, "{code}");
    }
}

#[test]
fn all_fields_are_read() {
    let set = "local H, R = ngx.header, ngx.resp H.content_type = 'c/d' H.set_cookie = {'c', 'e'} \
               H['X-A'] = 1 ";
    let cases = [
        (
            "return R.get_headers()",
            "{connection=keep-alive;content-type=c/d;set-cookie={1=c;2=e};x-a=1}",
        ),
        (
            "return R.get_headers(2)",
            "{connection=keep-alive;content-type=c/d;set-cookie=c} | \
          truncated",
        ),
        (
            "return R.get_headers(0, true)",
            "{X-A=1;connection=keep-alive;content-type=c/d;set-cookie={1=c;2=e}}",
        ),
        ("return R.get_headers().X_A, R.get_headers(nil, true).X_A", "1 | nil"),
        (
            "R.get_headers('x')",
            "ERROR content_by_lua(nginx.conf:1):1: bad argument #1 to 'get_headers' (number \
             expected, got string)",
        ),
    ];
    for (code, want) in cases {
        assert_eq!(plain().eval(&format!("{set}{code}")), want, "{code}");
    }
}
