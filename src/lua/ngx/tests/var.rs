//! `ngx.var`, `ngx.ctx`, `ngx.status`.

use crate::lua::ngx::fixture::plain;
use crate::lua::ngx::fixture::world;
use crate::lua::phase::Phase;

/// Runs cases of (function body, results) in worlds of their own.
fn check(directives: &str, request: &str, cases: &[(&str, &str)]) {
    for (code, want) in cases {
        assert_eq!(world(directives, request).eval(code), *want, "{code}");
    }
}

const NOT_FOUND: &str = "not found for writing; maybe it is a built-in variable that is not \
                         changeable or you forgot to use";

#[test]
fn variables_are_read() {
    let request = "GET /t?a=1&b=2 HTTP/1.1\nHost: localhost\nX-Canary: v2\nCookie: c=3";
    let cases = [
        ("return ngx.var.http_x_canary, ngx.var.cookie_c, ngx.var.arg_b", "v2 | 3 | 2"),
        ("return ngx.var.uri, ngx.var.args, ngx.var.request_method", "/t | a=1&b=2 | GET"),
        ("return ngx.var.URI, ngx.var.Http_X_Canary", "/t | v2"),
        ("return ngx.var.nosuch, ngx.var.http_nosuch, ngx.var.arg_c", "nil | nil | nil"),
        ("return ngx.var.x, ngx.var['1']", " | nil"),
        ("return ngx.var[{}]", "ERROR content_by_lua(nginx.conf:1):1: bad variable name"),
        ("local t = {} for i = 1, 3 do t[i] = ngx.var['arg_' .. 'a'] end return t[3]", "1"),
    ];
    check("set $x ''; location / { }", request, &cases);
}

#[test]
fn captures_are_read_by_number() {
    let code = "return ngx.var[1], ngx.var[2], ngx.var[3], ngx.var['1'], ngx.var[1.5], ngx.var[0]";
    let conf = "location ~ ^/cap/(a)(b)? { }";
    check(conf, "GET /cap/a", &[(code, "a | nil | nil | nil | a | nil")]);
    check(conf, "GET /cap/ab", &[(code, "a | b | nil | nil | a | nil")]);
    let conf = "location ~ ^/(x)?(y) { }";
    check(conf, "GET /y", &[("return ngx.var[1], ngx.var[2]", " | y")]);
}

#[test]
fn variables_are_assigned() {
    let cases = [
        ("ngx.var.x = 5 return ngx.var.x", "5"),
        ("ngx.var.x = 1 ngx.var.x = nil return ngx.var.x", "nil"),
        ("ngx.var.x = true return ngx.var.x", "true"),
        ("ngx.var.X = '' return ngx.var.x", ""),
        ("ngx.var.args = nil return ngx.var.args", "nil"),
        ("ngx.var.args = '' return ngx.var.args, ngx.var.is_args", " | "),
        ("ngx.var.args = 'c=1' return ngx.var.arg_c, ngx.var.is_args", "1 | ?"),
        ("ngx.var.limit_rate = 10 return ngx.var.limit_rate", "10"),
        (
            "ngx.var.x = setmetatable({}, {__tostring = function() return 'me' end}) \
             return ngx.var.x",
            "me",
        ),
    ];
    check("set $x ''; location / { }", "GET /?a=1", &cases);
}

#[test]
fn what_may_not_be_assigned_is_refused_in_the_same_words() {
    let at = "ERROR content_by_lua(nginx.conf:1):1: ";
    for name in ["uri", "host", "HOST", "http_host", "sent_http_location", "upstream_addr"] {
        let want = format!("{at}variable \"{}\" not changeable", name.to_lowercase());
        assert_eq!(plain().eval(&format!("ngx.var.{name} = 'v'")), want);
    }
    for name in ["http_foo", "sent_http_foo", "arg_foo", "cookie_foo", "upstream_http_a", "noSuch"]
    {
        let lower = name.to_lowercase();
        let want = format!(
            "{at}variable \"{lower}\" {NOT_FOUND} \"set ${lower} '';\" in the config file to \
             define it first"
        );
        assert_eq!(plain().eval(&format!("ngx.var.{name} = 'v'")), want);
    }
    assert_eq!(plain().eval("ngx.var[1] = 'v'"), format!("{at}bad variable name"));
}

#[test]
fn a_variable_that_nothing_has_set_is_empty_and_warned_of_once() {
    let world = plain();
    assert_eq!(world.eval("return ngx.var.x, ngx.var.x"), " | ");
    assert_eq!(world.logged(), ["warn: using uninitialized \"x\" variable"]);
}

#[test]
fn the_decision_names_the_line_that_chose_the_upstream() {
    let conf = "set $backend ''; set $other ''; location / { proxy_pass http://$backend; }";
    let world = world(conf, "GET /");
    world.run_in(Phase::Access, "ngx.var.other = 1").unwrap();
    assert_eq!(world.request.decision.borrow().source, None);
    world.run_in(Phase::Access, "\n\nngx.var.backend = 'canary'").unwrap();
    let source = world.request.decision.borrow().source.clone();
    assert_eq!(source.as_deref(), Some("access_by_lua(nginx.conf:1):3"));
}

#[test]
fn ctx_is_one_table_a_request() {
    let world = plain();
    world.run_in(Phase::Access, "ngx.ctx.version = 'v2'").unwrap();
    assert_eq!(world.eval("return ngx.ctx.version, ngx.ctx == ngx.ctx"), "v2 | true");
    assert_eq!(world.eval_in(Phase::Log, "ngx.ctx = {n = 1} return ngx.ctx.n"), "1");
    world.vm.forget_context(&world.request);
    assert_eq!(world.eval("return next(ngx.ctx)"), "nil");
    let other = plain();
    let error = other.eval("ngx.ctx = 3");
    assert!(error.ends_with("ctx should be a table while getting a number"), "{error}");
}

#[test]
fn contexts_are_released_with_their_requests() {
    let first = plain();
    let code = "ngx.ctx.big = string.rep('x', 1e6) setmetatable(ngx.ctx, {__mode = 'k'})";
    let weak = "WEAK = WEAK or setmetatable({}, {__mode = 'k'}) WEAK[ngx.ctx] = true ";
    first.run(&format!("rawset(_G, 'WEAK', nil) {weak} {code}")).unwrap();
    let vm = first.vm.clone();
    drop(first.request);
    let second = plain();
    let again = crate::lua::ngx::fixture::World { vm: vm.clone(), ..second };
    again.run("ngx.ctx.a = 1").unwrap();
    vm.collect_garbage();
    let code = "local n = 0 for _ in pairs(WEAK) do n = n + 1 end return n";
    assert_eq!(again.eval(code), "0");
}

#[test]
fn status_is_read_and_set_until_it_is_sent() {
    let world = plain();
    assert_eq!(world.eval("return ngx.status"), "0");
    assert_eq!(world.eval("ngx.status = '201' return ngx.status"), "201");
    assert_eq!(world.eval("ngx.say('x') ngx.status = 500 return ngx.status"), "201");
    let text = "error: attempt to set ngx.status after sending out response headers";
    assert_eq!(world.logged(), [text]);
    let error = world.eval("ngx.status = 'abc'");
    let want = "bad argument #2 to 'ngx_http_lua_ffi_set_resp_status' (cannot convert 'nil' to \
                'int')";
    assert!(error.ends_with(want), "{error}");
}

#[test]
fn an_error_page_shows_the_status_that_it_answers_for() {
    let world = plain();
    world.request.error_status.set(404);
    assert_eq!(world.eval("return ngx.status"), "404");
    assert_eq!(world.eval("ngx.status = 200 return ngx.status"), "200");
}

#[test]
fn names_without_end_are_resolved_without_being_kept() {
    let world = plain();
    let code = "for i = 1, 3000 do if ngx.var['arg_n' .. i] then return i end end \
                return ngx.var.arg_a";
    assert_eq!(world.eval(code), "1");
}

#[test]
fn a_name_means_the_same_after_its_string_was_collected() {
    let world = plain();
    world.run("for i = 1, 500 do local _ = ngx.var['arg_' .. i] end").unwrap();
    world.vm.collect_garbage();
    world.run("for i = 1, 500 do local _ = 'junk' .. i end").unwrap();
    assert_eq!(world.eval("return ngx.var['ar' .. 'g_a'], ngx.var['arg_' .. 7]"), "1 | nil");
}

#[test]
fn without_a_client_there_is_nothing_to_read() {
    let world = plain();
    let run = |phase: Phase, code: &str| {
        let code =
            format!("local _, v = pcall(function() {code} end) rawset(_G, 'OUT', tostring(v))");
        let chunk = crate::lua::fixture::chunk(phase.context().trim_end_matches('*'), &code);
        let handler = world.vm.handler(&chunk).unwrap();
        world.vm.call_sync(&handler, None, phase).unwrap();
        crate::lua::fixture::global(&world.vm, "OUT")
    };
    for code in ["return ngx.var.uri", "ngx.header.a = 1", "return ngx.req.get_headers()"] {
        let text = run(Phase::InitWorker, code);
        assert!(text.ends_with("API disabled in the current context"), "{text}");
        let text = run(Phase::Init, code);
        assert!(text.ends_with("no request found"), "{text}");
    }
    let text = run(Phase::Init, "return ngx.ctx");
    assert!(text.ends_with("no request found"), "{text}");
    run(Phase::InitWorker, "ngx.ctx.kept = 'yes'");
    assert_eq!(run(Phase::InitWorker, "return ngx.ctx.kept"), "yes");
    let text = run(Phase::InitWorker, "ngx.say('x')");
    assert!(text.ends_with("API disabled in the context of init_worker_by_lua*"), "{text}");
}
