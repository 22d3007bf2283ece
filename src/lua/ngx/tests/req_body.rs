//! The request's body.

use crate::lua::ngx::fixture::World;
use crate::lua::ngx::fixture::world;
use crate::request::Body;

const AT: &str = "ERROR content_by_lua(nginx.conf:1):1: ";

/// A world whose client sent `hello`.
fn sample() -> World {
    let world = world("location / { }", "POST / HTTP/1.1\nHost: a\nContent-Length: 5");
    world.unread.replace("hello".into());
    world
}

fn check(cases: &[(&str, &str)]) {
    for (code, want) in cases {
        let code = format!("local R = ngx.req {code}");
        assert_eq!(sample().eval(&code).replace(AT, "ERROR "), *want, "{code}");
    }
}

#[test]
fn the_body_is_read_once_it_was_asked_for() {
    check(&[
        ("return R.get_body_data(), R.get_body_file()", "nil | nil"),
        ("R.read_body() R.read_body() return R.get_body_data()", "hello"),
        ("R.read_body() return ngx.var.request_body", "hello"),
        ("R.discard_body() return R.get_body_data()", "nil"),
        ("R.discard_body() R.read_body() return R.get_body_data()", "nil"),
        ("R.get_body_data(1)", "ERROR expecting 0 arguments but seen 1"),
        ("R.discard_body(1)", "ERROR expecting 0 arguments but seen 1"),
    ]);
}

#[test]
fn the_body_is_replaced() {
    check(&[
        ("R.set_body_data('x')", "ERROR request body not read yet"),
        (
            "R.discard_body() R.set_body_data('x')",
            "ERROR request body already discarded \
          asynchronously",
        ),
        (
            "R.read_body() R.set_body_data('abc') return R.get_body_data(), \
             R.get_headers().content_length, ngx.var.content_length",
            "abc | 3 | 3",
        ),
        (
            "R.read_body() R.set_body_data('') return R.get_body_data(), ngx.var.content_length",
            "nil | 0",
        ),
        ("R.set_body_data()", "ERROR expecting 1 arguments but seen 0"),
        (
            "R.set_body_data({})",
            "ERROR bad argument #1 to 'set_body_data' (string expected, got table)",
        ),
    ]);
    let world = sample();
    world.run("ngx.req.read_body() ngx.req.set_body_data('abcdefg')").unwrap();
    assert_eq!(world.request.content_length.get(), Some(7));
}

#[test]
fn a_file_is_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body");
    std::fs::write(&path, "from a file").unwrap();
    let shown = path.display();
    let world = sample();
    let code = format!(
        "local R = ngx.req R.read_body() R.set_body_file('{shown}', true) \
         return R.get_body_data(), R.get_body_file(), ngx.var.content_length"
    );
    assert_eq!(world.eval(&code), format!("nil | {shown} | 11"));
    let text = "nil | request body in temp file not supported";
    assert_eq!(world.eval("return ngx.req.get_post_args()"), text);
    drop(world);
    assert!(!path.exists());
    check(&[
        ("R.read_body() R.set_body_file('/nosuch')", "ERROR stat() \"/nosuch\" failed"),
        (
            "R.read_body() R.set_body_file('/nosuch', 1)",
            "ERROR bad argument #2 to 'set_body_file' (boolean expected, got number)",
        ),
    ]);
}

#[test]
fn a_body_is_built_in_memory_or_in_a_file() {
    check(&[
        ("R.init_body()", "ERROR request body not read yet"),
        ("R.append_body('x')", "ERROR request_body not initialized"),
        ("R.finish_body()", "ERROR request_body not initialized"),
        ("R.read_body() R.init_body(-1)", "ERROR bad size argument: -1"),
        (
            "R.read_body() R.init_body(4) R.append_body('ab') R.append_body('c') R.finish_body() \
             return R.get_body_data(), R.get_body_file(), ngx.var.content_length",
            "abc | nil | 3",
        ),
    ]);
    let world = sample();
    let code = "local R = ngx.req R.read_body() R.init_body(4) R.append_body('abc') \
                R.append_body('defg') R.append_body('h') R.finish_body() \
                return R.get_body_data(), ngx.var.content_length";
    assert_eq!(world.eval(code), "nil | 8");
    let path = match &*world.request.body.borrow() {
        Body::File(file) => file.path.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "abcdefgh");
    drop(world);
    assert!(!path.exists());
}
