//! Method, URI and arguments.

use crate::lua::ngx::fixture::world;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::request::Body;

const REQUEST: &str = "POST /req?a=1&b=&c&a=2 HTTP/1.1\nHost: localhost\nX-Two: a";
const AT: &str = "ERROR content_by_lua(nginx.conf:1):1: ";

fn check(cases: &[(&str, &str)]) {
    for (code, want) in cases {
        let code = format!("local R = ngx.req {code}");
        let got = world("location / { }", REQUEST).eval(&code);
        assert_eq!(got.replace(AT, "ERROR "), *want, "{code}");
    }
}

#[test]
fn arguments_are_read() {
    check(&[
        ("return R.get_uri_args()", "{a={1=1;2=2};b=;c=true}"),
        ("return R.get_uri_args(2)", "{a=1;b=} | truncated"),
        ("return R.get_uri_args(3)", "{a=1;b=;c=true} | truncated"),
        ("return R.get_uri_args(0)", "{a={1=1;2=2};b=;c=true}"),
        ("return R.get_uri_args(4)", "{a={1=1;2=2};b=;c=true}"),
        (
            "local t = {z = 1, 2, 3} local g = R.get_uri_args(100, t) return t == g, g",
            "true | {a={1=1;2=2};b=;c=true}",
        ),
        (
            "R.set_uri_args('a=&=b&&c=%41%zz+x&d=1=2') return R.get_uri_args()",
            "{a=;c=A%zz x;d=1=2}",
        ),
    ]);
}

#[test]
fn arguments_are_set() {
    check(&[
        ("R.set_uri_args({}) return ngx.var.args, R.get_uri_args()", " | {}"),
        (
            "R.set_uri_args('a b=1&c') return ngx.var.args, R.get_uri_args()",
            "a%20b=1&c | {a b=1;c=true}",
        ),
        ("R.set_uri_args(12) return ngx.var.args", "12"),
        ("R.set_uri_args({a = {1, true, false, 'x y'}}) return ngx.var.args", "a=1&a&a=x%20y"),
        ("R.set_uri_args({b = true, c = false}) return ngx.var.args", "b"),
        (
            "R.set_uri_args({[1] = 2})",
            "ERROR attempt to use a non-string key in the \"args\" option table",
        ),
        ("R.set_uri_args({a = print})", "ERROR attempt to use function as query arg value"),
        ("R.set_uri_args({a = {{}}})", "ERROR attempt to use table as query arg value"),
        (
            "R.set_uri_args(true)",
            "ERROR bad argument #1 to 'set_uri_args' (string, number, or table expected, but got \
             boolean)",
        ),
        ("R.set_uri_args()", "ERROR expecting 1 argument but seen 0"),
        ("R.set_uri_args('') return ngx.var.args, ngx.var.is_args", " | "),
    ]);
}

#[test]
fn methods_are_read_and_set() {
    check(&[
        ("return R.get_method(), R.http_version(), R.is_internal()", "POST | 1.1 | false"),
        (
            "R.set_method(16) return R.get_method(), ngx.var.request_method, ngx.var.request",
            "PUT | PUT | POST /req?a=1&b=&c&a=2 HTTP/1.1",
        ),
        ("R.set_method(3)", "ERROR unsupported HTTP method: 3"),
        ("R.set_method(2.5) return R.get_method()", "GET"),
        ("R.set_method(65536)", "ERROR unsupported HTTP method: 65536"),
        ("R.set_method('GET')", "ERROR bad method number"),
    ]);
}

#[test]
fn uris_are_set() {
    check(&[
        (
            "R.set_uri('/new x?y') return ngx.var.uri, ngx.var.request_uri, R.is_internal()",
            "/new x?y | /req?a=1&b=&c&a=2 | true",
        ),
        ("R.set_uri('')", "ERROR attempt to use zero-length uri"),
        ("R.set_uri()", "ERROR expecting 1, 2 or 3 arguments but seen 0"),
        (
            "R.set_uri('/a\\n')",
            "ERROR unsafe byte \"0x0a\" in uri \"/a\\x0A\" (maybe you want to set the 'binary' \
             argument?)",
        ),
        ("R.set_uri('/a\\1', false, true) return #ngx.var.uri", "3"),
        ("R.set_uri('/a', nil)", "ERROR bad argument #2 to 'set_uri' (boolean expected, got nil)"),
        ("R.set_uri('/a', true)", "ERROR API disabled in the context of content_by_lua*"),
    ]);
    let world = world("location / { }", REQUEST);
    let code = "ngx.req.set_uri('/b', true) ngx.ctx.after = 1";
    assert_eq!(world.run_in(Phase::Rewrite, code), Ok(Outcome::Jump));
    assert_eq!(world.eval("return ngx.var.uri, ngx.ctx.after"), "/b | nil");
    assert!(!world.request.uri_unchanged.get());
}

#[test]
fn the_head_is_read_as_it_came() {
    check(&[
        (
            "return (R.raw_header():gsub('\\r\\n', '~'))",
            "POST /req?a=1&b=&c&a=2 HTTP/1.1~Host: localhost~X-Two: a~~",
        ),
        ("return (R.raw_header(true):gsub('\\r\\n', '~'))", "Host: localhost~X-Two: a~~"),
        ("return type(R.start_time()), R.start_time() > 1e9", "number | true"),
    ]);
    let world = world("location / { }", REQUEST);
    world.request.raw_head.replace(Some("GET / HTTP/1.1\r\nA:b\r\n\r\n".into()));
    assert_eq!(world.eval("return (ngx.req.raw_header(true):gsub('\\r\\n', '~'))"), "A:b~~");
}

#[test]
fn form_arguments_are_read_from_the_body() {
    let post = |body: Body, code: &str| {
        let world = world("location / { }", REQUEST);
        world.request.body.replace(body);
        world.eval(&format!("return ngx.req.get_post_args({code})")).replace(AT, "ERROR ")
    };
    let form = || Body::Memory("p=1&q=2&p=%41&r".into());
    assert_eq!(post(form(), ""), "{p={1=1;2=A};q=2;r=true}");
    assert_eq!(post(form(), "2"), "{p=1;q=2} | truncated");
    assert_eq!(post(form(), "4"), "{p={1=1;2=A};q=2;r=true}");
    assert_eq!(post(form(), "0"), "{p={1=1;2=A};q=2;r=true}");
    assert_eq!(post(form(), "1, 2"), "ERROR expecting 0 or 1 arguments but seen 2");
    assert_eq!(post(Body::Memory("".into()), ""), "{}");
    assert_eq!(post(Body::Discarded, ""), "{}");
    let unread = "ERROR no request body found; maybe you should turn on lua_need_request_body?";
    assert_eq!(post(Body::Unread, ""), unread);
}
