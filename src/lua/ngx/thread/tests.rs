//! Light threads in OpenResty's order, with its texts.

use crate::lua::fixture::block_on;
use crate::lua::fixture::eval;
use crate::lua::fixture::global;
use crate::lua::fixture::run;
use crate::lua::fixture::vm;
use crate::lua::outcome::Outcome;

/// `code` with `say(…)`, which notes; what was noted.
fn said(code: &str) -> String {
    let code = format!(
        "local t = {{}} rawset(_G, 'T', t) local function say(...) for i = 1, select('#', ...) do
         t[#t + 1] = tostring((select(i, ...))) end end
         local spawn, wait, kill = ngx.thread.spawn, ngx.thread.wait, ngx.thread.kill\n{code}"
    );
    let vm = vm();
    block_on(async {
        let ended = run(&vm, &code).await;
        let text = global(&vm, "table.concat(T, ' ')");
        match ended {
            Ok(Outcome::Completed) => text,
            Ok(outcome) => format!("{text} {outcome:?}"),
            Err(failure) => format!("{text} ERROR {failure}"),
        }
    })
}

#[test]
fn threads_take_turns_in_openresty_s_order() {
    let cases = [
        // A new thread runs at once, then its parent.
        ("spawn(function() say(1) ngx.sleep(0) say(3) end) say(2)", "1 2 3"),
        ("spawn(function() say(1) end) say(2)", "1 2"),
        (
            "spawn(function() say('a1') spawn(function() say('b1') ngx.sleep(0.1) say('b2') end)
             say('a2') end) say('e')",
            "a1 b1 e a2 b2",
        ),
        (
            "for i = 1, 3 do spawn(function() say(i) coroutine.yield() say(i * 10) end) end
             say('e')",
            "1 2 10 3 20 e 30",
        ),
        (
            "spawn(function() for i = 1, 3 do say('x') coroutine.yield() end end)
             for i = 1, 3 do say('y') coroutine.yield() end",
            "x y x y x y",
        ),
        // The handler's end is not the run's.
        ("spawn(function() ngx.sleep(0.2) say('late') end) say('early')", "early late"),
        // Waiting and sleeping at once.
        (
            "local function nap(s, v) ngx.sleep(s) say(v) return v end
             local a, b = spawn(nap, 0.3, 'a'), spawn(nap, 0.1, 'b')
             say(wait(a, b)) say(wait(a))",
            "b true b a true a",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(said(code), expected, "{code}");
    }
}

#[test]
fn a_thread_has_results_and_errors() {
    let cases = [
        ("say(wait(spawn(function(a, b) return b, a end, 1, 2)))", "true 2 1"),
        (
            "local t = spawn(function() ngx.sleep(0.1) return nil, 'x' end) say(wait(t))",
            "true nil x",
        ),
        ("say(wait(spawn(function() end)))", "true"),
        ("say(wait(spawn(function() local a, b = 1, 2 error('boom', 0) end)))", "false boom"),
        (
            "local t = spawn(function() ngx.sleep(0.1) error('late', 0) end) say(wait(t))",
            "false late",
        ),
        // OpenResty gives the argument of `error` first.
        (
            "say(wait(spawn(function() error('boom') end)))",
            "false boom content_by_lua(nginx.conf:1):4: boom",
        ),
        ("say(wait(spawn(function() error({}) end)))", "false table"),
        ("spawn(function() error('unseen') end) say('on')", "on"),
        (
            "local t = spawn(function() return 1 end) wait(t) say(wait(t))",
            "nil already waited or killed",
        ),
        (
            "local t, u = spawn(function() return 1 end), spawn(function() return 2 end)
             wait(t) say(wait(t, u))",
            "true 2",
        ),
        // One that ends while its parent waits for something else is kept.
        (
            "local t, u = spawn(function() ngx.sleep(.1) return 1 end), spawn(function()
             ngx.sleep(.2) return 2 end) wait(t, u) ngx.sleep(1) say(coroutine.status(u), wait(u))",
            "zombie true 2",
        ),
    ];
    for (code, expected) in cases {
        let text = said(code);
        let text = text.split(": 0x").next().unwrap_or_default();
        assert_eq!(text, expected, "{code}");
    }
}

#[test]
fn only_parents_wait_and_kill() {
    let cases = [
        ("say(pcall(wait))", "false at least one coroutine should be specified"),
        ("say(pcall(wait, 1))", "false bad argument #1 to '?' (lua thread expected)"),
        (
            "say(pcall(wait, coroutine.create(function() end)))",
            "false attempt to wait on a coroutine that is not a user thread",
        ),
        (
            "local t = spawn(function() ngx.sleep(0.1) end)
             spawn(function() say(pcall(wait, t)) end)",
            "false only the parent coroutine can wait on the thread",
        ),
        ("say(pcall(spawn, print))", "false bad argument #1 to '?' (Lua function expected)"),
        ("say(kill(coroutine.create(function() end)))", "nil not user thread"),
        (
            "local t = spawn(function() ngx.sleep(9) say('never') end) say(kill(t))
             say(kill(t)) say(coroutine.status(t))",
            "1 nil already waited or killed dead",
        ),
        ("local t = spawn(function() end) say(kill(t))", "nil already terminated"),
        (
            "local t = spawn(function() ngx.sleep(0.1) say('x') end)
             spawn(function() say(kill(t)) end)",
            "nil killer not parent x",
        ),
        // A script's own coroutine is a parent like any other.
        (
            "local c = coroutine.wrap(function() local t = spawn(function() ngx.sleep(0.1)
             return 'r' end) return wait(t) end) say(c())",
            "true r",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(said(code), expected, "{code}");
    }
}

#[test]
fn coroutines_of_others_that_wait_are_running() {
    let cases = [
        (
            "local co = coroutine.create(function() ngx.sleep(0.1) return 'slept' end)
             local t = spawn(function() say(coroutine.resume(co)) end)
             say(coroutine.status(co), coroutine.status(t), coroutine.resume(co)) wait(t)
             say(coroutine.status(co), coroutine.status(t))",
            "running running false cannot resume running coroutine true slept dead dead",
        ),
        (
            "local entry = coroutine.running() spawn(function() say(coroutine.status(entry))
             say(coroutine.resume(entry)) ngx.sleep(0) say(coroutine.status(entry)) end)
             ngx.sleep(0.1)",
            "running false cannot resume running coroutine running",
        ),
        (
            "local t = spawn(function() return 5 end) say(coroutine.status(t))
             say(coroutine.resume(t))",
            "zombie false cannot resume zombie coroutine",
        ),
        (
            "local c = coroutine.create(function() local t = spawn(function() say('in') end)
             coroutine.yield('out') say(coroutine.status(t)) end)
             say(coroutine.resume(c)) coroutine.resume(c)",
            "in true out zombie",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(said(code), expected, "{code}");
    }
}

#[test]
fn exit_and_errors_of_the_handler_end_all() {
    let cases = [
        ("spawn(function() ngx.sleep(0.1) say('never') end) ngx.exit(403)", " Exit(403)"),
        ("spawn(function() ngx.sleep(0.1) ngx.exit(404) end) ngx.sleep(9)", " Exit(404)"),
        ("spawn(function() ngx.exit(0) end) say('never')", " Exit(0)"),
        ("spawn(function() ngx.sleep(9) end) error('x', 0)", " ERROR x"),
        (
            "spawn(function() while true do end end)",
            " ERROR content_by_lua(nginx.conf:1):4: execution time limit exceeded",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(said(code), expected, "{code}");
    }
}

#[test]
fn what_is_dropped_is_collected() {
    let text = eval(
        "local weak = setmetatable({}, {__mode = 'k'})
         for i = 1, 50 do local t = ngx.thread.spawn(function() ngx.sleep(9) end) weak[t] = true
           ngx.thread.kill(t) end
         for i = 1, 50 do local t = ngx.thread.spawn(function() end) weak[t] = true
           ngx.thread.wait(t) end
         collectgarbage() collectgarbage() return next(weak)",
    );
    assert_eq!(text, "nil");
}

#[test]
fn they_belong_to_phases_that_wait() {
    let text =
        crate::lua::fixture::global(&vm(), "select(2, pcall(ngx.thread.spawn, function() end))");
    assert!(text.ends_with("API disabled in the context of set_by_lua*"), "{text}");
}
