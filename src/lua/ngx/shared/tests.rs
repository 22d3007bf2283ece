//! Dictionaries as scripts see them.

use crate::lua::fixture::eval_in;
use crate::lua::fixture::vm_with;
use crate::shdict::Dicts;

#[test]
fn dictionaries_answer_as_in_openresty() {
    let vm = vm_with(|options| options.dicts = Dicts::default().reloaded([("d", 100 << 10)]));
    // In this order: each line builds on those before.
    let cases = [
        ("return ngx.shared.nosuch", "nil"),
        ("return ngx.shared.d:set('a', 1)", "true | nil | false"),
        ("return ngx.shared.d:get('a')", "1"),
        ("return ngx.shared.d:set('f', 'x', 0, 7), ngx.shared.d:get('f')", "true | x | 7"),
        ("return ngx.shared.d:get('none')", "nil"),
        ("return ngx.shared.d:get()", "nil | nil key"),
        ("return ngx.shared.d:get('')", "nil | empty key"),
        ("return ngx.shared.d:set(('k'):rep(65536), 1)", "nil | key too long"),
        ("return ngx.shared.d:set('t', {})", "nil | bad value type"),
        (
            "return pcall(ngx.shared.d.set, ngx.shared.d, 'a', 1, -1)",
            "false | bad \"exptime\" argument",
        ),
        ("return pcall(ngx.shared.d.get, {}, 'a')", "false | bad \"zone\" argument"),
        ("return ngx.shared.d:add('a', 2)", "false | exists | false"),
        ("return ngx.shared.d:replace('b', 2)", "false | not found | false"),
        ("return ngx.shared.d:incr('a', 2)", "3"),
        ("return ngx.shared.d:incr('n', 1, 5)", "6 | nil | false"),
        ("return ngx.shared.d:incr('nope', 1)", "nil | not found"),
        ("return ngx.shared.d:incr('f', 1)", "nil | not a number"),
        (
            "return pcall(ngx.shared.d.incr, ngx.shared.d, 'q', 1, nil, 5)",
            "false | must provide \"init\" when providing \"init_ttl\"",
        ),
        ("return ngx.shared.d:delete('a'), ngx.shared.d:get('a')", "true | nil"),
        ("return ngx.shared.d:lpush('l', 1), ngx.shared.d:rpush('l', 'z')", "1 | 2"),
        (
            "return ngx.shared.d:llen('l'), ngx.shared.d:lpop('l'), ngx.shared.d:rpop('l')",
            "2 | 1 | z",
        ),
        ("return ngx.shared.d:lpop('l')", "nil"),
        ("return ngx.shared.d:lpush('f', 1)", "nil | value not a list"),
        ("return ngx.shared.d:set('e', true, 100), ngx.shared.d:ttl('e')", "true | 100"),
        ("return ngx.shared.d:expire('e', 5), ngx.shared.d:ttl('e')", "true | 5"),
        ("return ngx.shared.d:ttl('zip')", "nil | not found"),
        ("local k = ngx.shared.d:get_keys() table.sort(k) return unpack(k)", "e | f | n"),
        ("return ngx.shared.d:capacity()", "102400"),
        (
            "for i = 1, 9 do ngx.shared.d:set(i, i) end ngx.shared.d:flush_all()
             return ngx.shared.d:get_stale(9)",
            "9 | nil | true",
        ),
        ("return ngx.shared.d:flush_expired(), ngx.shared.d:get(9)", "9 | nil"),
    ];
    for (code, expected) in cases {
        // Each method's results but the last are cut to one, as in Lua.
        assert_eq!(eval_in(&vm, code), expected, "{code}");
    }
}
