//! That compiled loops over the request's fields get what single calls get.

use crate::lua::ngx::fixture::plain;

/// Each result must be that of the call before: interpreted at first, then from a trace.
const STEADY: &str = "local function steady(f) local function all(...) local t = {...}
    for i = 1, select('#', ...) do t[i] = tostring(t[i]) end return table.concat(t, ',') end
    local first = all(f()) for i = 1, 300 do local now = all(f())
    if now ~= first then error(i .. ': ' .. now .. ' was ' .. first) end end return first end
   ";

#[test]
fn a_loop_over_the_request_gets_what_a_single_call_gets() {
    let cases = [
        ("ngx.var.arg_a", "1"),
        ("ngx.var.arg_none", "nil"),
        ("ngx.var.no_such_variable", "nil"),
        ("ngx.var.x", ""),
        ("ngx.req.get_method()", "GET"),
        ("ngx.get_phase()", "content"),
        ("ngx.status", "404"),
        ("ngx.header['X-None']", "nil"),
        ("ngx.header['X-Set']", "b\"c"),
        ("ngx.header.x_set", "b\"c"),
        ("ngx.header['Content-Type']", "text/x"),
        ("#ngx.header['X-Two']", "2"),
        ("ngx.req.get_headers().HOST", "localhost"),
        ("ngx.req.get_headers().x_none", "nil"),
        ("pcall(function() ngx.var.uri = 'x' end)", "false"),
        ("(function() ngx.var.x = 'new' return ngx.var.x end)()", "new"),
        ("(function() ngx.var.x = nil return ngx.var.x end)()", "nil"),
        ("(function() ngx.header['X-New'] = 'a\\nb' return ngx.header['X-New'] end)()", "a%0Ab"),
    ];
    for (code, expected) in cases {
        let world = plain();
        let code = format!(
            "ngx.status = 404 ngx.header['X-Set'] = 'b\"c' ngx.header['X-Two'] = {{'1', '2'}}
             ngx.header.content_type = 'text/x' {STEADY}
             ngx.print(steady(function() return (({code})) end))"
        );
        assert_eq!(world.said(&code), expected, "{code}");
    }
}

#[test]
fn a_compiled_loop_raises_what_a_single_call_raises() {
    let cases = [
        ("ngx.var.uri = 'x'", "variable \"uri\" not changeable"),
        ("local x = ngx.var[{}]", "bad variable name"),
    ];
    for (code, expected) in cases {
        let code = format!(
            "local first for i = 1, 300 do
             local ok, err = pcall(function() {code} end)
             if ok or first and err ~= first then return ngx.print(i, ': ', err) end
             first = err end ngx.print(first)"
        );
        let said = plain().said(&code);
        assert!(said.starts_with("content_by_lua(") && said.contains(expected), "{said}");
    }
}
