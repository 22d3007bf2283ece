//! `ngx.say` and its kin, and what ends a handler.

use crate::lua::ngx::fixture::plain;
use crate::lua::ngx::fixture::world;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;

#[test]
fn values_are_said_as_openresty_spells_them() {
    let cases = [
        ("ngx.say('a', 1, 2.5, true, false, nil, ngx.null)", "a12.5truefalsenilnull\n"),
        (
            "ngx.print('', {'a', {1, 2.5, -0.0, 1e100}, true, ngx.null}, '\\n')",
            "a12.501e+100truenull\n",
        ),
        (
            "ngx.print(1e15, ' ', 2^31, ' ', 2^53, ' ', 1/3, ' ', -1/0, ' ', 1e14)",
            "1e+15 2147483648 9.007199254741e+15 0.33333333333333 -inf 1e+14",
        ),
        ("ngx.say()", "\n"),
        ("ngx.print({1, nil, 3})", "1nil3"),
        ("local t = {} for i = 1, 20000 do t[i] = {'x'} end ngx.print(#t) ngx.print(t)", ""),
    ];
    for (code, want) in cases {
        let said = plain().said(code);
        let want =
            if want.is_empty() { format!("20000{}", "x".repeat(20000)) } else { want.into() };
        assert_eq!(said, want, "{code}");
    }
}

#[test]
fn what_cannot_be_said_is_refused() {
    let at = "ERROR content_by_lua(nginx.conf:1):1: bad argument #";
    let expected = "string, number, boolean, nil, ngx.null, or array table expected, but got";
    let cases = [
        ("ngx.say(print)", format!("{at}1 to 'say' ({expected} function)")),
        ("ngx.print('a', newproxy())", format!("{at}2 to 'print' ({expected} userdata)")),
        ("ngx.say({print})", format!("{at}1 to 'say' (bad data type function found)")),
        ("ngx.say({a = 1})", format!("{at}1 to 'say' (non-array table found)")),
        ("local t = {} t[1] = t ngx.say(t)", format!("{at}1 to 'say' (table nested too deeply)")),
    ];
    for (code, want) in cases {
        assert_eq!(plain().eval(code), want, "{code}");
    }
}

#[test]
fn an_error_in_the_arguments_says_nothing() {
    let world = plain();
    world.run("pcall(ngx.say, 'a', print)").unwrap();
    assert!(world.host.body.borrow().is_empty() && !world.request.headers_sent.get());
}

#[test]
fn output_answers_one_until_the_end() {
    let world = plain();
    assert_eq!(world.eval("return ngx.flush()"), "nil | nothing to flush");
    assert_eq!(world.eval("return ngx.headers_sent, ngx.print()"), "false | 1");
    assert_eq!(world.eval("return ngx.headers_sent, ngx.say('x'), ngx.flush()"), "true | 1 | 1");
    assert_eq!(world.eval("return ngx.flush(true), ngx.send_headers()"), "1 | 1");
    assert_eq!(world.flushed.get(), 1);
    assert_eq!(world.eval("return ngx.eof()"), "1");
    assert_eq!(world.eval("return ngx.say('y')"), "nil | seen eof");
    assert_eq!(world.eval("return ngx.eof()"), "nil | seen eof");
    assert_eq!(world.eval("return ngx.is_subrequest"), "false");
    assert_eq!(world.host.body.borrow().as_slice(), b"x\n");
}

#[test]
fn a_head_request_is_told_once_its_head_is_sent() {
    let world = world("location / { }", "HEAD / HTTP/1.1");
    assert_eq!(world.eval("return ngx.say('x')"), "1");
    assert_eq!(world.eval("return ngx.say('x')"), "nil | header only");
}

#[test]
fn http_1_0_keeps_the_head_back_once_something_was_said() {
    let world = world("location / { }", "GET / HTTP/1.0");
    world.request.headers_sent.set(false);
    let code = "ngx.ctx.a = {pcall(ngx.print, print)} return ngx.flush()";
    assert_eq!(world.eval(code), "nil | nothing to flush");
    // The recorder sends at once; a host that keeps the chunk leaves the head unsent.
    world.run("ngx.print('x')").unwrap();
    world.request.headers_sent.set(false);
    assert_eq!(world.eval("return ngx.print(), ngx.send_headers()"), "1 | 1");
    assert_eq!(world.eval("return ngx.flush()"), "nil | buffering");
    assert!(!world.request.headers_sent.get());
}

#[test]
fn arguments_are_counted() {
    let at = "ERROR content_by_lua(nginx.conf:1):1: ";
    let cases = [
        ("ngx.flush(1)", "bad argument #1 to 'flush' (boolean expected, got number)"),
        ("ngx.flush(true, 2)", "attempt to pass 2 arguments, but accepted 0 or 1"),
        ("ngx.eof(1)", "no argument is expected"),
        ("ngx.exec()", "expecting one or two arguments, but got 0"),
        ("ngx.exec('')", "The uri argument is empty"),
        ("ngx.exec('/a/../b')", "unsafe uri"),
        ("ngx.redirect()", "expecting one or two arguments"),
        (
            "ngx.redirect('/', 404)",
            "only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, \
             ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and ngx.HTTP_TEMPORARY_REDIRECT are \
             allowed",
        ),
        ("ngx.redirect('/a\\nb\"')", "unsafe byte \"0x0a\" in redirect uri \"/a\\x0Ab\\x22\""),
        ("ngx.exit(-2)", "bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE"),
        ("ngx.exit()", "bad argument #2 to 'ngx_lua_ffi_exit' (cannot convert 'nil' to 'int')"),
        (
            "ngx.exit('200')",
            "bad argument #2 to 'ngx_lua_ffi_exit' (cannot convert 'string' to 'int')",
        ),
    ];
    for (code, want) in cases {
        assert_eq!(plain().eval(code), format!("{at}{want}"), "{code}");
    }
}

#[test]
fn handlers_end_as_they_decide() {
    let exec = |uri: &str, args: Option<&str>| Outcome::Exec {
        uri: uri.into(),
        args: args.map(|it| it.as_bytes().to_vec()),
    };
    let cases = [
        ("ngx.exit(403) ngx.say('no')", Outcome::Exit(403)),
        ("pcall(function() ngx.exit(0) end) ngx.say('no')", Outcome::Exit(0)),
        ("coroutine.wrap(function() ngx.exit(500) end)() ngx.say('no')", Outcome::Exit(500)),
        ("ngx.exec('/a%20b?c=1')", exec("/a b", Some("c=1"))),
        ("ngx.exec('/a', 'd=2')", exec("/a", Some("d=2"))),
        ("ngx.exec('/a?c=1', {d = 'x y'})", exec("/a", Some("c=1&d=x%20y"))),
        ("ngx.exec('@named')", exec("@named", None)),
        ("ngx.redirect('/x')", Outcome::Redirect { status: 302, location: b"/x".to_vec() }),
        (
            "ngx.redirect('http://a/', 301)",
            Outcome::Redirect { status: 301, location: b"http://a/".to_vec() },
        ),
        ("return 1", Outcome::Completed),
    ];
    for (code, want) in cases {
        let world = plain();
        assert_eq!(world.run(code), Ok(want), "{code}");
        assert!(world.host.body.borrow().is_empty(), "{code}");
    }
}

#[test]
fn nothing_starts_over_once_the_head_is_sent() {
    let cases = [
        ("ngx.exec('/a')", "attempt to call ngx.exec after sending out response headers"),
        ("ngx.redirect('/a')", "attempt to call ngx.redirect after sending out the headers"),
    ];
    for (code, want) in cases {
        let got = plain().eval(&format!("ngx.say('x') {code}"));
        assert_eq!(got, format!("ERROR content_by_lua(nginx.conf:1):1: {want}"));
    }
    let world = plain();
    assert_eq!(world.run("ngx.say('x') ngx.exit(503)"), Ok(Outcome::Exit(200)));
    let text = "error: attempt to set status 503 via ngx.exit after sending out the response \
                status 200";
    assert_eq!(world.logged(), [text]);
    assert_eq!(world.run("ngx.exit(444)"), Ok(Outcome::Exit(444)));
}

#[test]
fn phases_without_an_answer_refuse() {
    let at =
        |phase: Phase| format!("ERROR {}(nginx.conf:1):1: ", phase.context().trim_end_matches('*'));
    for phase in [Phase::HeaderFilter, Phase::Log, Phase::Balancer, Phase::Set] {
        let text = format!("{}API disabled in the context of {}", at(phase), phase.context());
        for code in ["ngx.say('x')", "ngx.exec('/')", "ngx.redirect('/')", "ngx.req.read_body()"] {
            assert_eq!(plain().eval_in(phase, code), text, "{code}");
        }
    }
    let text = format!("{}API disabled in the context of log_by_lua*", at(Phase::Log));
    assert_eq!(plain().eval_in(Phase::Log, "ngx.exit(200)"), text);
    let world = plain();
    let end = world.sync(Phase::HeaderFilter, "ngx.exit(500) ngx.ctx.after = true").unwrap();
    assert_eq!(end.outcome, Some(Outcome::Exit(500)));
    assert_eq!(world.eval("return ngx.ctx.after"), "true");
}
