//! Ours against LuaJIT's own, which a state without our API still has.

use crate::lua::ffi::heap::State;
use crate::lua::ffi::thread::Resumed;
use crate::lua::ffi::thread::Thread;
use crate::lua::ffi::thread::load;
use crate::lua::fixture::eval;
use proptest::prelude::*;

const JOIN: &str = "local function join(...) local t = {...} for i = 1, select('#', ...) do
    t[i] = tostring(t[i]) end return table.concat(t, ' | ') end ";

/// What plain LuaJIT says.
fn plain(code: &str) -> String {
    let state = State::new(0).unwrap();
    let code = format!("{JOIN} return join((function() {code}\nend)())");
    let function = load(&state, code.as_bytes(), b"=content_by_lua(nginx.conf:1)").unwrap();
    let thread = Thread::new(&state);
    thread.stack(&state).push(&function);
    assert_eq!(thread.call(&state, 0, 1), Resumed::Finished, "{code}");
    String::from_utf8_lossy(thread.stack(&state).text(-1).unwrap()).into_owned()
}

fn same(code: &str) {
    assert_eq!(eval(code), plain(code), "{code}");
}

const SUBJECTS: &[&str] = &[
    "",
    "a",
    "abc",
    "hello world",
    "  x = 12, y=3 ",
    "a]b[c-d^e",
    "((a)(b))",
    "aXbXc",
    "f(a(b)c)d",
    "THE (quick) fox",
];

const PATTERNS: &[&str] = &[
    "",
    "a",
    "b",
    "^a",
    "c$",
    "^$",
    ".",
    ".-",
    ".*",
    ".+",
    "%a+",
    "%s*",
    "(%a+)%s*=%s*(%d+)",
    "()",
    "(a)()",
    "[a-c]+",
    "[^a-c]+",
    "[]]",
    "[^]]+",
    "[a-]",
    "[%a-z]",
    "%b()",
    "%bxy",
    "(.)%1",
    "(a)(b)",
    "x?y",
    "^%s*(.-)%s*$",
    "%f[%w]%w+",
    "%f[%a]%a+%f[%A]",
    "[%]]",
    "%.",
    "%%",
    "l+",
    "l-o",
    "(h)(e)(l)(l)",
    "a-",
    "a-b",
    "%u%l*",
    "%x+",
    "%p",
    "%c",
    "%W",
    "X",
    "-",
    "((a))",
    "(()a)",
    "%z",
    "[%s%d]+",
    "[a%-z]",
    "[+--]",
    "%g+",
    "$",
    "a$b",
    "^^",
    "%d+$",
    "[%w_]*",
];

#[test]
fn patterns_mean_what_they_mean_to_luajit() {
    for subject in SUBJECTS {
        for pattern in PATTERNS {
            for call in ["find", "match", "gsub"] {
                let more = if call == "gsub" { ", '<%0>'" } else { "" };
                same(&format!(
                    "return pcall(string.{call}, [==[{subject}]==], [==[{pattern}]==]{more})"
                ));
            }
            same(&format!(
                "local out = {{}} local ok, e = pcall(function()
                 for a, b in string.gmatch([==[{subject}]==], [==[{pattern}]==]) do
                 out[#out + 1] = tostring(a) .. ':' .. tostring(b) end end)
                 return ok, table.concat(out, ';')"
            ));
        }
    }
}

#[test]
fn faults_and_arguments_are_told_in_luajit_words() {
    for code in [
        "return pcall(string.find, 'a', '[a')",
        "return pcall(string.find, 'a', '%')",
        "return pcall(string.find, 'a', '(a')",
        "return pcall(string.match, 'a', 'a)')",
        "return pcall(string.find, 'a', 'a)')",
        "return pcall(string.gsub, 'abc', 'b', '%2')",
        "return pcall(string.gsub, 'abc', '(b)', {b = {}})",
        "return pcall(string.gsub, 'abc', '(b)', {b = 'x'})",
        "return pcall(string.gsub, 'abc', '%w',
         setmetatable({}, {__index = function(_, k) return k .. k end}))",
        "return pcall(string.gsub, 'abc', 'b', function() return {} end)",
        "return pcall(string.gsub, 'abc', 'b', function() return true end)",
        "return pcall(string.gsub, 'abc', 'b', function() error('no', 0) end)",
        "return pcall(string.gsub, 'abc', 'b', function() end)",
        "return pcall(string.gsub, 'abc', '.', true)",
        "return pcall(string.gsub, 'abc', '.')",
        "return pcall(string.gsub, 'abc', '', 'x', -1)",
        "return pcall(string.gsub, 'abc', '.', 'x', 2)",
        "return pcall(string.gsub, 'abc', 'b', 'x%')",
        "return pcall(string.gsub, 'abc', 'b', 12)",
        "return pcall(string.gsub, 'hello world', '(o)()', '%2%1')",
        "return pcall(string.gsub, 'abc', '^a', 'x')",
        "return pcall(string.find, 'a', '%f')",
        "return pcall(string.find, 'a', '%b')",
        "return pcall(string.find, 'abc', '%1')",
        "return pcall(string.find, 'abc', '(%1)')",
        "return pcall(string.find, 'abc', '()%1')",
        "return pcall(string.find, 'abc', 'b', 10)",
        "return pcall(string.find, 'abc', '', 10)",
        "return pcall(string.find, 'abc', 'b', -2)",
        "return pcall(string.find, 'abc', 'b', -20)",
        "return pcall(string.find, 'a.b', '.', 2, true)",
        "return pcall(string.find, 'abc')",
        "return pcall(string.find, {}, 'a')",
        "return pcall(string.find, 'a1b', 1)",
        "return pcall(string.match, 'x', ('()'):rep(33))",
        "return pcall(string.find, ('a'):rep(300), ('a?'):rep(300))",
        "return ('x'):find('x'), ('a,b'):gsub(',', ';')",
    ] {
        same(code);
    }
}

#[test]
fn a_pattern_that_would_run_for_minutes_is_given_up() {
    let code = "return pcall(string.find, ('a'):rep(600), '.-.-.-b')";
    assert_eq!(eval(code), "false | pattern too complex");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_pattern_means_the_same(
        subject in "[ab%()x1 \\]-]{0,8}",
        pattern in "[ab.%()\\[\\]^$*+?1w-]{0,7}",
    ) {
        same(&format!("return pcall(string.find, [==[{subject}]==], [==[{pattern}]==])"));
        same(&format!("return pcall(string.gsub, [==[{subject}]==], [==[{pattern}]==], '%%1')"));
    }
}
