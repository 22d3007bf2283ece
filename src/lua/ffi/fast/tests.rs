//! That a compiled loop gets what a single call gets, and that neither differs from the API.

use crate::lua::fixture::{eval_in, vm_with};
use crate::shdict::Dicts;

/// Each result must be that of the call before: interpreted at first, then from a trace.
const STEADY: &str = "local function steady(f) local function all(...) local t = {...}
    for i = 1, select('#', ...) do t[i] = tostring(t[i]) end return table.concat(t, ',') end
    local first = all(f()) for i = 1, 300 do local now = all(f())
    if now ~= first then error(i .. ': ' .. now .. ' was ' .. first) end end return first end
    local d = ngx.shared.d ";

#[test]
fn a_loop_over_a_dictionary_gets_what_a_single_call_gets() {
    check(&[
        ("return d:set('t', 'text'), steady(function() return d:get('t') end)", "text"),
        ("d:set('n', 1.5) return steady(function() return d:get('n') end)", "1.5"),
        ("d:set('b', false) return steady(function() return d:get('b') end)", "false"),
        ("d:set('f', 1, 0, 7) return steady(function() return d:get('f') end)", "1,7"),
        ("d:set('z', '') return steady(function() return d:get('z') end)", ""),
        ("return steady(function() return d:get('none') end)", "nil"),
        ("return steady(function() return d:get(nil) end)", "nil,nil key"),
        ("return steady(function() return d:get('') end)", "nil,empty key"),
        ("d:set(7, 'x') return steady(function() return d:get(7) end)", "x"),
        ("d:lpush('l', 1) return steady(function() return d:get('l') end)", "nil,value is a list"),
        (
            "return steady(function() d:rpush('q', 'a') local n = d:lpush('q', 2)
             return n, d:rpop('q'), d:lpop('q'), d:lpop('q') end)",
            "2,a,2,nil",
        ),
        (
            "d:rpush('big', ('x'):rep(5000)) return steady(function()
             local text = d:lpop('big') d:lpush('big', text) return #text, d:llen('big') end)",
            "5000,1",
        ),
        ("d:set('s', 1) return steady(function() return d:lpop('s') end)", "nil,value not a list"),
        (
            "return steady(function() return select(2, pcall(d.rpush, d, 'q')) end)",
            "expecting 3 arguments, but only seen 2",
        ),
        ("return steady(function() return d:rpush('q', true) end)", "nil,bad value type"),
        (
            "d:set('long', ('x'):rep(5000))
             return steady(function() return #d:get('long') end)",
            "5000",
        ),
        ("return steady(function() return d:set('s', 'v', 9) end)", "true,nil,false"),
        ("return steady(function() return d:add('s', 1) end)", "false,exists,false"),
        ("return steady(function() return d:replace('-', 1) end)", "false,not found,false"),
        (
            "return steady(function() return d:safe_set('h', ('h'):rep(200000)) end)",
            "false,no memory,false",
        ),
        ("return steady(function() return d:set('nil', nil) end)", "true,nil,false"),
        ("return steady(function() return d:set('t', {}) end)", "nil,bad value type"),
        (
            "return steady(function() return pcall(d.set, d, 'k', 1, -1) end)",
            "false,bad \"exptime\" argument",
        ),
        (
            "return steady(function() return pcall(d.get, {}, 'k') end)",
            "false,bad \"zone\" argument",
        ),
        ("for i = 1, 300 do d:incr('i', 1, 0) end return d:incr('i', 1)", "301"),
        ("d:set('i', 0) for i = 1, 300 do d:incr('i', 2) end return d:get('i')", "600"),
        ("return steady(function() return d:incr('none', 1) end)", "nil,not found"),
        ("for i = 1, 300 do d:incr('j', 2, 5) end return d:get('j')", "605"),
        ("return steady(function() d:delete('k') return d:incr('k', 1, 2) end)", "3,nil,false"),
        (
            "return steady(function() return pcall(d.incr, d, 'i', 1, 0, -1) end)",
            "false,bad \"init_ttl\" argument",
        ),
        ("d:set('k', 1) return steady(function() return d:delete('k') end)", "true,nil,false"),
        ("return steady(function() d:delete('k') return d:get('k') end)", "nil"),
        ("return steady(function() return d:delete('') end)", "nil,empty key"),
        ("d:set('k', 1) return steady(function() return d:ttl('k') end)", "0"),
        ("return steady(function() return d:ttl('none') end)", "nil,not found"),
    ]);
}

#[test]
fn a_loop_over_patterns_gets_what_a_single_call_gets() {
    check(&[
        ("return steady(function() return ngx.re.find('ab12', '[0-9]+', 'jo') end)", "3,4"),
        ("return steady(function() return ngx.re.find('ab', '[0-9]') end)", "nil"),
        (
            "return steady(function() local m = ngx.re.match('a1', '(z)?([a-z])([0-9])', 'o')
             return m[0], m[1], m[2], m[3], #m end)",
            "a1,false,a,1,3",
        ),
        ("return steady(function() return ngx.re.match('a', '(?<n>a)', 'o').n end)", "a"),
        (
            "local p = ('(a)'):rep(40) return steady(function()
             return #ngx.re.match(('a'):rep(40), p, 'o') end)",
            "40",
        ),
        ("return steady(function() return (ngx.re.match('a', '(', 'o')) end)", "nil"),
        (
            "return steady(function() return pcall(ngx.re.find, 'a', 'a', 'H') end)",
            "false,unknown flag \"H\" (flags \"H\")",
        ),
        (
            "return steady(function() local m = ngx.re.match('ab', '(?<x>a)(?<y>z)?(?<w>b)', 'jo')
             return m.x, m.y, m.w, m[3], #m end)",
            "a,false,b,b,3",
        ),
        (
            "return steady(function() return ngx.re.match('a', '(?<n>a)').n,
             ngx.re.match('b', '(?<m>b)').m end)",
            "a,b",
        ),
        ("return steady(function() return ngx.re.match('ab', '(*UTF)b', 'jo')[0] end)", "b"),
        (
            "return steady(function() return ngx.re.match('\\xff', '(*UTF)b', 'jo') end)",
            "nil,pcre_exec() failed: -10",
        ),
        (
            "return steady(function() return ngx.re.find('ab12', 'b([0-9])', 'jo', nil, 1) end)",
            "3,3",
        ),
        (
            "return steady(function() return ngx.re.find('ab', '(z)?b', 'jo', nil, 1) end)",
            "nil,nil",
        ),
        (
            "return steady(function() return ngx.re.find('ab', 'b', 'jo', nil, 3) end)",
            "nil,nil,nth out of bound",
        ),
    ]);
}

#[test]
fn a_loop_over_replacements_gets_what_a_single_call_gets() {
    check(&[
        (
            "return steady(function() return ngx.re.gsub('a1b2', '[0-9]', '<$0>', 'jo') end)",
            "a<1>b<2>,2",
        ),
        ("return steady(function() return ngx.re.sub('a1b2', '[0-9]', '', 'jo') end)", "ab2,1"),
        ("return steady(function() return ngx.re.gsub('ab', '[0-9]', '', 'jo') end)", "ab,0"),
        (
            "return steady(function() return ngx.re.gsub('ab', 'b', '$', 'jo') end)",
            "nil,nil,failed to compile the replacement template",
        ),
        (
            "return steady(function()
             return #ngx.re.gsub(('a'):rep(3000), 'a', 'bb', 'jo') end)",
            "6000",
        ),
        (
            "return steady(function() return ngx.re.gsub('a1b22', '([a-z])(?<n>[0-9]+)',
             function(m) return m[1] .. m.n .. ';' end, 'jo') end)",
            "a1;b22;,2",
        ),
        (
            "return steady(function() local t = {}
             for m in ngx.re.gmatch('a1b22', '[0-9]+', 'jo') do t[#t + 1] = m[0] end
             return unpack(t) end)",
            "1,22",
        ),
        (
            "return steady(function() local found = 0 for i = 1, 1500 do
             if ngx.re.find('x' .. i, 'x' .. i .. '$', 'jo') then found = found + 1 end end
             return found end)",
            "1500",
        ),
    ]);
}

#[test]
fn a_loop_over_encodings_and_times_gets_what_a_single_call_gets() {
    check(&[
        ("return steady(function() return ngx.decode_base64('YWIA') == 'ab\\0' end)", "true"),
        ("return steady(function() return ngx.decode_base64('%') end)", "nil"),
        ("return steady(function() return #ngx.md5_bin('a'), #ngx.sha1_bin('') end)", "16,20"),
        ("return steady(function() return ngx.decode_args('a=1&b').a end)", "1"),
        ("return steady(function() return ngx.http_time(0) end)", "Thu, 01 Jan 1970 00:00:00 GMT"),
        (
            "return steady(function() return ngx.parse_http_time('Thu, 01 Jan 1970 00:00:01 GMT')
             end)",
            "1",
        ),
        ("return steady(function() return ngx.parse_http_time('never') end)", "nil"),
        ("return steady(function() return ngx.time() == math.floor(ngx.now()) end)", "true"),
        ("return steady(function() return #ngx.localtime() end)", "19"),
        ("return steady(function() return #ngx.escape_uri(('%'):rep(1366)) end)", "4098"),
        ("return steady(function() return #ngx.decode_base64(('YWJj'):rep(2000)) end)", "6000"),
        ("return steady(function() return ngx.escape_uri('a b/%') end)", "a%20b%2F%25"),
        ("return steady(function() return ngx.unescape_uri('a%20b+c') end)", "a b c"),
        ("return steady(function() return ngx.encode_base64('ab\\0') end)", "YWIA"),
        ("return steady(function() return ngx.encode_base64('a') end)", "YQ=="),
        ("return steady(function() return ngx.encode_base64('a', true) end)", "YQ"),
        ("return steady(function() return #ngx.encode_base64(('x'):rep(6000)) end)", "8000"),
        ("return steady(function() return #ngx.escape_uri((' '):rep(2000)) end)", "6000"),
        (
            "return steady(function() return ngx.md5('hello') end)",
            "5d41402abc4b2a76b9719d911017c592",
        ),
        ("return steady(function() ngx.ctx.a = (ngx.ctx.a or 0) return ngx.ctx.a end)", "0"),
    ]);
}

/// Runs each case in the same VM; the last of its results is compared.
fn check(cases: &[(&str, &str)]) {
    let vm = vm_with(|options| options.dicts = Dicts::default().reloaded([("d", 100 << 10)]));
    for (code, expected) in cases {
        let found = eval_in(&vm, &format!("{STEADY} {code}"));
        assert_eq!(found.rsplit(" | ").next(), Some(*expected), "{code}");
    }
}

#[test]
fn a_finalizer_that_matches_in_between_spoils_no_match() {
    let code = "local made = 0
        local function finalize() made = made + 1 ngx.re.match('zz9', '(z)(z)(9)', 'jo') end
        local function litter() for _ = 1, 20 do
            getmetatable(newproxy(true)).__gc = finalize
        end end
        for i = 1, 2000 do litter()
            local m = ngx.re.match('some ' .. i, '([a-z]+) ([0-9]+)', 'jo')
            if m[1] ~= 'some' or m[2] ~= tostring(i) then return i, m[1], m[2] end
        end return made > 0";
    let vm = vm_with(|_| {});
    assert_eq!(eval_in(&vm, code), "true");
}
