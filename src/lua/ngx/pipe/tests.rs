//! `ngx.pipe` as a script sees it.

use crate::lua::fixture::block_on;
use crate::lua::fixture::chunk;
use crate::lua::fixture::eval;
use crate::lua::fixture::global;
use crate::lua::fixture::run;
use crate::lua::fixture::vm;
use crate::lua::fixture::vm_with;
use crate::lua::phase::Phase;

/// Nothing waits by the clock, which the tests' runtime turns as soon as nothing else is to do.
const BEGIN: &str = "
    local spawn = require('ngx.pipe').spawn
    local function start(args, opts)
        opts = opts or {}
        for _, of in ipairs { 'write', 'stdout_read', 'stderr_read', 'wait' } do
            opts[of .. '_timeout'] = opts[of .. '_timeout'] or 0
        end
        return assert(spawn(args, opts))
    end ";

fn check(cases: &[(&str, &str)]) {
    for (code, expected) in cases {
        let got = eval(&format!("{BEGIN} {code}"));
        assert_eq!(got.replace("[string]:", ""), *expected, "{code}");
    }
}

#[test]
fn what_is_asked_for_is_checked() {
    let size = "false | bad buffer_size option";
    check(&[
        ("return pcall(spawn)", "false | bad args arg: table expected, got nil"),
        ("return pcall(spawn, {})", "false | bad args arg: non-empty table expected"),
        ("return pcall(spawn, {'a\\0b'})", "false | bad args arg: it holds a NUL byte"),
        ("return pcall(spawn, 'ls', 3)", "false | bad opts arg: table expected, got number"),
        ("return pcall(spawn, {'ls'}, {buffer_size = 0})", size),
        ("return pcall(spawn, {'ls'}, {buffer_size = 0.5})", size),
        ("return pcall(spawn, {'ls'}, {buffer_size = true})", size),
        ("return (pcall(spawn, {'ls'}, {buffer_size = '1'}))", "true"),
        (
            "return pcall(spawn, {'ls'}, {environ = true})",
            "false | bad environ option: table expected, got boolean",
        ),
        (
            "return pcall(spawn, {'ls'}, {environ = {'A=b', 3}})",
            "false | bad value at index 2 of environ option: string expected, got number",
        ),
        (
            "return pcall(spawn, {'ls'}, {environ = {'=b'}})",
            "false | bad value at index 1 of environ option: 'name=[value]' format expected, \
             got '=b'",
        ),
        ("return pcall(spawn, {'ls'}, {wait_timeout = -1})", "false | bad wait_timeout option"),
        (
            "local p = start('exit') return pcall(p.set_timeouts, p, nil, 2^32)",
            "false | bad stdout_read_timeout option",
        ),
        ("return pcall(start('exit').wait)", "false | not a process instance"),
        ("return pcall(start('exit').pid, 'x')", "false | not a process instance"),
        (
            "local p = start('exit') return pcall(p.kill, p, 'TERM')",
            "false | bad signal arg: number expected, got TERM",
        ),
        (
            "local p = start('exit') return pcall(p.kill, p)",
            "false | bad signal arg: number expected, got nil",
        ),
        (
            "local p = start('exit') return pcall(p.shutdown, p, 'all')",
            "false | bad shutdown arg: all",
        ),
        (
            "local p = start('exit') return pcall(p.write, p, true)",
            "false | bad data arg: string, number, or table expected, got boolean",
        ),
        (
            "local p = start('exit') return pcall(p.stdout_read_any, p, 0)",
            "false | bad max argument",
        ),
        (
            "local p = start('exit') return pcall(p.stderr_read_bytes, p, -1)",
            "false | bad len argument",
        ),
        ("return start('exit'):stdout_read_bytes(0)", ""),
    ]);
}

#[test]
fn a_child_is_read_as_a_socket_is() {
    check(&[
        ("return start({'printf', 'a b'}):stdout_read_all()", "a b"),
        ("return start('echo $0; echo $$ >&2'):stdout_read_line()", "/bin/sh"),
        ("return start('echo no >&2'):stderr_read_all()", "no\n"),
        ("return start({'echo', 1, true}):stdout_read_all()", "1 true\n"),
        ("return start('echo $A', {environ = {'A=b'}}):stdout_read_all()", "b\n"),
        (
            "local p = start('echo a; echo b >&2', {merge_stderr = true})
             local a, b = p:stderr_read_any(9) return a, b, p:stdout_read_all()",
            "nil | merged to stdout | a\nb\n",
        ),
        (
            "local p = start('printf \"a\\\\r\\\\nbc\"')
             local line = p:stdout_read_line() return line, p:stdout_read_line()",
            "a | nil | closed | bc",
        ),
        (
            "local p = start('printf abcdef')
             local a, b = p:stdout_read_bytes(2), p:stdout_read_any(3)
             return a, b, p:stdout_read_bytes(2)",
            "ab | cde | nil | closed | f",
        ),
        // What has come is given piece by piece, of the buffer's size.
        (
            "local p = start('printf abcdef', {buffer_size = 4}) p:stdout_read_bytes(1)
             return p:stdout_read_any(9)",
            "bcd",
        ),
        (
            "local p = start('exit') p:stdout_read_all() return p:stdout_read_any(1)",
            "nil | closed | ",
        ),
    ]);
}

#[test]
fn a_child_is_written_to() {
    check(&[
        (
            "local p = start({'cat'}) local n = p:write({'a', 1, 'b'}) p:write(2.5)
             local shut, again = p:shutdown('stdin'), p:shutdown('stdin')
             return n, shut, again, p:stdout_read_all(), p:write('x')",
            "3 | true | true | a1b2.5 | nil | closed",
        ),
        // More than a pipe holds: both sides go on in turns.
        (
            "local p = start({'cat'}) local text = ('x'):rep(300000)
             ngx.thread.spawn(function() assert(p:write(text)) p:shutdown('stdin') end)
             return p:stdout_read_all() == text, p:wait()",
            "true | true | exit | 0",
        ),
        (
            // Another child that starts just now may still have the pipe, too.
            "local p = start('exec 0<&-; echo; sleep 100') p:stdout_read_line()
             local n, err repeat n, err = p:write('x') until not n return n, err",
            "nil | closed",
        ),
    ]);
}

#[test]
fn its_end_is_told_once() {
    check(&[
        ("local p = start('exit 3') return p:wait()", "false | exit | 3"),
        (
            "local p = start('kill -9 $$') local ok, why, n = p:wait()
             return ok, why, n, p:wait()",
            "false | signal | 9 | nil | exited",
        ),
        (
            "local p = start('echo left') p:wait()
             return type(p:pid()), p:stdout_read_line(), p:shutdown('stdin')",
            "number | nil | nil | closed",
        ),
        ("local p = start('exit') p:wait() return p:kill(9)", "nil | exited"),
        ("local p = start('exit') p:wait() return p:stdout_read_all()", "nil | closed"),
        (
            "local p = start({'sleep', '100'}) local a, b = p:kill(999)
             return a, b, p:kill(15), p:wait()",
            "nil | invalid signal | true | false | signal | 15",
        ),
        // What cannot be executed ends as a fork of nginx's does.
        ("return start({'/nothing/there'}):wait()", "false | exit | 1"),
    ]);
}

#[test]
fn one_light_thread_at_a_time() {
    check(&[
        (
            "local p = start({'sleep', '100'}) local t = {}
             local function add(...) t[#t + 1] = table.concat({ ... }, ' ', 2) end
             local function say(f, ...) add(f(p, ...)) end
             ngx.thread.spawn(say, p.wait) say(p.wait)
             ngx.thread.spawn(say, p.stdout_read_all) say(p.stdout_read_line)
             ngx.thread.spawn(say, p.write, ('x'):rep(1e6)) say(p.write, 'x')
             p:shutdown('stdout') p:shutdown('stdin') ngx.sleep(0) ngx.sleep(0)
             say(p.stdout_read_line) p:kill(9)
             return table.concat(t, ', ')",
            "pipe busy waiting, pipe busy reading, pipe busy writing, aborted , aborted, closed",
        ),
        // One that is killed leaves the child as it was.
        (
            "local p = start({'cat'})
             for _, f in ipairs { p.wait, p.stdout_read_all } do
                 ngx.thread.kill(ngx.thread.spawn(f, p))
             end
             p:write('a') p:shutdown('stdin') return p:stdout_read_all(), p:wait()",
            "a | true | exit | 0",
        ),
        // Readers learn that the child's end was told.
        (
            "local p = start('echo a; exec >&- 2>&-; exec sleep 0', {buffer_size = 1})
             return p:stdout_read_bytes(1), p:wait()",
            "a | true | exit | 0",
        ),
    ]);
}

#[test]
fn waits_have_ends() {
    check(&[
        ("return start({'sleep', '100'}, {wait_timeout = 30}):wait()", "nil | timeout"),
        (
            "return start({'sleep', '100'}, {stdout_read_timeout = 30}):stdout_read_all()",
            "nil | timeout | ",
        ),
        (
            "local p = start({'sleep', '100'}) p:set_timeouts(30, nil, 40)
             local a, b = p:stderr_read_line() return a, b, p:write(('x'):rep(1e6))",
            "nil | timeout | nil | timeout",
        ),
    ]);
}

fn is_there(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn nobody_is_left_behind() {
    // Collected, or with its VM: either way it is killed and reaped.
    for end in ["P = nil collectgarbage() collectgarbage()", ""] {
        let pid = block_on(async {
            let vm = vm();
            let code = "P = require('ngx.pipe').spawn({'sleep', '100'}) PID = P:pid()";
            run(&vm, code).await.unwrap();
            let pid = global(&vm, "PID");
            assert!(is_there(&pid));
            run(&vm, end).await.unwrap();
            pid
        });
        while is_there(&pid) {
            std::thread::yield_now();
        }
    }
    // One that ends by itself is reaped though nobody asks.
    block_on(async {
        let vm = vm();
        run(&vm, "P = require('ngx.pipe').spawn('exit') PID = P:pid()").await.unwrap();
        let pid = global(&vm, "PID");
        while is_there(&pid) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn what_is_said_fits_the_vm() {
    let vm = vm_with(|options| options.memory_limit_bytes = 8 << 20);
    let code =
        "local p = require('ngx.pipe').spawn({'cat', '/dev/zero'}, {stdout_read_timeout = 0})
                OUT = select(2, p:stdout_read_all())";
    let text = block_on(async {
        run(&vm, code).await.unwrap();
        global(&vm, "OUT")
    });
    assert_eq!(text, "no memory");
}

#[test]
fn phases_that_may_not_are_told() {
    let vm = vm();
    let spawn = "return require('ngx.pipe').spawn('exit 1')";
    let handler = vm.handler(&chunk("init_by_lua", spawn)).unwrap();
    let fault = vm.call_sync(&handler, None, Phase::Init).unwrap_err().to_string();
    assert!(fault.ends_with("API disabled in the current context"), "{fault}");
    let text = block_on(async {
        run(&vm, "P = require('ngx.pipe').spawn('exit 1')").await.unwrap();
        global(&vm, "select(2, pcall(P.wait, P))")
    });
    assert_eq!(text, "API disabled in the context of set_by_lua*");
}
