//! The driver over coroutines, waits, errors and cancellation.

use crate::lua::fixture::block_on;
use crate::lua::fixture::chunk;
use crate::lua::fixture::eval;
use crate::lua::fixture::run;
use crate::lua::fixture::vm;
use crate::lua::outcome::FailureKind;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use std::task::Context;
use std::task::Waker;

#[test]
fn waits_pass_through_pcall_and_coroutines() {
    let cases = [
        ("return pcall(function() ngx.sleep(0.001) return 7 end)", "true | 7"),
        ("return pcall(function() ngx.sleep(0.001) error('boom', 0) end)", "false | boom"),
        (
            "local ok, v = xpcall(function() ngx.sleep(0.001) error('boom') end, debug.traceback)
             return ok, #v > 10",
            "false | true",
        ),
        (
            "local f = coroutine.wrap(function() ngx.sleep(0.001) coroutine.yield(1)
             ngx.sleep(0.001) return 2 end) return f(), f()",
            "1 | 2",
        ),
        (
            "local f = coroutine.wrap(function()
               local g = coroutine.wrap(function()
                 local h = coroutine.wrap(function() ngx.sleep(0.001) coroutine.yield('a')
                   ngx.sleep(0.001) return 'b' end)
                 coroutine.yield(h()) ngx.sleep(0.001) return h() end)
               coroutine.yield(g()) return g() end)
             return f(), f()",
            "a | b",
        ),
        (
            "local c c = coroutine.create(function(x) ngx.sleep(0.001)
               local y = coroutine.yield(x + 1, coroutine.status(c))
               return y * 2, coroutine.running() == c end)
             local a, b, s = coroutine.resume(c, 1) local st = coroutine.status(c)
             local d, e, r = coroutine.resume(c, 10)
             return a, b, s, st, d, e, r, coroutine.status(c)",
            "true | 2 | running | suspended | true | 20 | true | dead",
        ),
        (
            "local c = coroutine.create(function() ngx.sleep(0.001) error('in co', 0) end)
             return coroutine.resume(c)",
            "false | in co",
        ),
        (
            "return pcall(coroutine.wrap(function() ngx.sleep(0.001) error('in wrap', 0) end))",
            "false | in wrap",
        ),
        (
            "local s = 0 for x in coroutine.wrap(function() for i = 1, 3 do ngx.sleep(0.001)
             coroutine.yield(i) end end) do s = s + x end return s",
            "6",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(eval(code), expected, "{code}");
    }
}

#[test]
fn waits_pass_through_metamethods_and_calls() {
    let cases = [
        (
            "local t = setmetatable({}, {__index = function(t, k) ngx.sleep(0.001)
             return k .. '!' end}) return t.foo",
            "foo!",
        ),
        (
            "local mt = {} mt.__add = function() ngx.sleep(0.001) return 5 end
             mt.__call = function(self, x) ngx.sleep(0.001) return x end
             mt.__lt = function() ngx.sleep(0.001) return true end
             mt.__concat = function() ngx.sleep(0.001) return 'cc' end
             local a, b = setmetatable({}, mt), setmetatable({}, mt)
             return a + b, a(9), a < b, a .. 'x'",
            "5 | 9 | true | cc",
        ),
        (
            "local n = 0 for k, v in pairs({a = 1, b = 2}) do ngx.sleep(0) n = n + v end return n",
            "3",
        ),
        ("return loadstring('ngx.sleep(0.001) return 3')()", "3"),
        ("local function f() return ngx.sleep(0.001) end return f()", ""),
        (
            "local function f(n) if n == 0 then return ngx.sleep(0.001) end local r = f(n - 1)
             return r end return f(150)",
            "nil",
        ),
        ("return select('#', coroutine.yield(1, 2))", "0"),
        ("return coroutine.status(coroutine.running())", "running"),
    ];
    for (code, expected) in cases {
        assert_eq!(eval(code), expected, "{code}");
    }
}

#[test]
fn waits_inside_of_c_functions_are_refused() {
    let refused = "false | attempt to yield across C-call boundary";
    for code in [
        "return pcall(table.sort, {3, 2, 1}, function(a, b) ngx.sleep(0.001) return a < b end)",
        "package.preload.mm = function() ngx.sleep(0.001) return {} end
         local ok, e = pcall(require, 'mm') return ok, e:match('attempt to yield.*')",
    ] {
        assert_eq!(eval(code), refused, "{code}");
    }
    let code = "local ffi = require 'ffi'
        local cb = ffi.cast('int(*)(int)', function(x) ngx.sleep(0.001) return x end)
        local ok, e = pcall(cb, 1) return ok, e:match('attempt to yield.*')";
    assert!(eval(code).starts_with("false"), "{}", eval(code));
}

#[test]
fn an_error_is_told_as_openresty_tells_it() {
    let vm = vm();
    let text = |code: &str| {
        let failure = block_on(run(&vm, code)).unwrap_err();
        String::from_utf8(failure.entry_thread_text()).unwrap()
    };
    assert_eq!(
        text("local function f(x) error('boom') end\nf(1)"),
        "lua entry thread aborted: runtime error: content_by_lua(nginx.conf:1):1: boom\n\
         stack traceback:\ncoroutine 0:\n\t[C]: in function 'error'\n\
         \tcontent_by_lua(nginx.conf:1):1: in function 'f'\n\
         \tcontent_by_lua(nginx.conf:1):2: in main chunk"
    );
    // The oracle's words for the same script.
    assert_eq!(
        text(
            "local function f(x) local g = coroutine.wrap(function() ngx.sleep(0.001) \
             error('inwrap') end) g() end\nf(1)"
        ),
        "lua entry thread aborted: runtime error: content_by_lua(nginx.conf:1):1: inwrap\n\
         stack traceback:\ncoroutine 0:\n\t[C]: in function 'error'\n\
         \tcontent_by_lua(nginx.conf:1):1: in function <content_by_lua(nginx.conf:1):1>\n\
         coroutine 1:\n\t[C]: in function 'g'\n\
         \tcontent_by_lua(nginx.conf:1):1: in function 'f'\n\
         \tcontent_by_lua(nginx.conf:1):2: in main chunk"
    );
    assert!(
        text("error({})").starts_with("lua entry thread aborted: runtime error: unknown reason\n")
    );
    let caught = text("pcall(coroutine.wrap(function() error('x', 0) end)) error('y', 0)");
    assert!(!caught.contains("coroutine 1"), "{caught}");
}

#[test]
fn a_sync_phase_fails_with_its_traceback_and_cannot_wait() {
    let vm = vm();
    let chunk = chunk("header_filter_by_lua", "local ok, e = pcall(ngx.sleep, 1)\nerror(e, 0)");
    let handler = vm.handler(&chunk).unwrap();
    let failure = vm.call_sync(&handler, None, Phase::HeaderFilter).unwrap_err();
    let text = String::from_utf8(failure.sync_text(Phase::HeaderFilter.context())).unwrap();
    assert_eq!(
        text,
        "failed to run header_filter_by_lua*: API disabled in the context of \
         header_filter_by_lua*\nstack traceback:\n\t[C]: in function 'error'\n\
         \theader_filter_by_lua(nginx.conf:1):2: in main chunk"
    );
}

#[test]
fn arguments_are_judged_in_lua_own_words() {
    let cases = [
        ("return pcall(ngx.sleep)", "false | attempt to pass 0 arguments, but accepted 1"),
        (
            "return pcall(ngx.sleep, 'x')",
            "false | bad argument #1 to '?' (number expected, got string)",
        ),
        (
            "ngx.sleep({})",
            "ERROR content_by_lua(nginx.conf:1):1: bad argument #1 to 'sleep' \
             (number expected, got table)",
        ),
        ("return pcall(ngx.sleep, -1)", "false | invalid sleep duration \"-1000\""),
    ];
    for (code, expected) in cases {
        assert_eq!(eval(code), expected, "{code}");
    }
}

#[test]
fn a_run_dropped_while_it_waits_leaves_nothing() {
    let vm = vm();
    let chunk =
        chunk("content_by_lua", "local t = {} for i = 1, 100 do t[i] = {} end ngx.sleep(10)");
    let handler = vm.handler(&chunk).unwrap();
    let poll_and_drop = || {
        block_on(async {
            for _ in 0..200 {
                let mut run = vm.run(&handler, None, Phase::Content);
                let mut cx = Context::from_waker(Waker::noop());
                assert!(run.poll_next(&mut cx).is_pending());
            }
        });
        vm.collect_garbage();
        vm.collect_garbage();
        vm.used_bytes()
    };
    let before = poll_and_drop();
    let after = poll_and_drop();
    assert!(after <= before + 4096, "{before} -> {after}");
    assert_eq!(block_on(run(&vm, "ngx.sleep(0.001)")), Ok(Outcome::Completed));
}

#[test]
fn a_finished_coroutine_is_used_again_and_a_failed_one_is_not() {
    let vm = vm();
    let pooled = vm.pooled_threads();
    block_on(run(&vm, "ngx.sleep(0)")).unwrap();
    assert_eq!(vm.pooled_threads(), pooled.max(1));
    block_on(run(&vm, "error('x')")).unwrap_err();
    assert_eq!(vm.pooled_threads(), pooled.max(1) - 1);
}

#[test]
fn memory_runs_out_for_the_script_only() {
    for bomb in [
        "local s = ('x'):rep(64 * 1024 * 1024) return #s",
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "local s = 'x' while true do s = s .. s end",
        "for i = 1, 5 do pcall(function() local t = {} for i = 1, 1e9 do t[i] = {i} end end) end
         error('survived')",
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end",
    ] {
        let vm = crate::lua::fixture::vm_with(|options| options.memory_limit_bytes = 16 << 20);
        let failure = block_on(run(&vm, bomb)).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("not enough memory") || text.contains("survived"), "{bomb}: {text}");
        assert!(vm.is_exhausted());
        vm.collect_garbage();
        assert_eq!(block_on(run(&vm, "return 1")), Ok(Outcome::Completed));
    }
}

#[test]
fn a_runaway_script_is_stopped_whatever_its_shape() {
    let shapes = [
        "while true do end",
        "local x = 0 while true do x = x + 1 end",
        "local t = {} for i = 1, 1e15 do t[1] = i end",
        "local function f() return f() end f()",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error, 'x') end",
        "xpcall(function() while true do end end, function() while true do end end)",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "local f = coroutine.wrap(function() while true do coroutine.yield(1) end end)
         while true do f() end",
        "while true do local y = ngx.get_phase() end",
        "local function f() pcall(f) return f() end f()",
        "while true do local s = '' for i = 1, 1000 do s = s .. i end end",
        "::a:: goto a",
        "local t = {} for i = 1, 100 do t[i] = i end
         while true do for k, v in pairs(t) do end for i, v in ipairs(t) do end end",
        "local t = setmetatable({}, {__index = function(t, k) return k end})
         while true do local x = t.foo end",
        "table.sort({1, 2, 3, 4}, function(a, b) while true do end end)",
        "string.gsub('abc', '.', function() while true do end end)",
        "local function f() while true do end end jit.off(f) f()",
        "while true do coroutine.yield() end",
    ];
    let vm = crate::lua::fixture::vm_with(|options| options.handler_timeout_ms = 10);
    for shape in shapes {
        let failure = block_on(run(&vm, shape)).expect_err(shape);
        assert_eq!(failure.kind, FailureKind::Timeout, "{shape}: {failure}");
        let text = failure.to_string();
        assert!(text.ends_with("execution time limit exceeded"), "{shape}: {text}");
        assert_eq!(block_on(run(&vm, "ngx.sleep(0)")), Ok(Outcome::Completed), "{shape}");
    }
}
