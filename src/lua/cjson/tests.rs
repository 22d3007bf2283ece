//! Each line was verified on Debian's lua-cjson 2.1.0, OpenResty's extensions apart.

use crate::lua::fixture::eval;

fn check(cases: &[(&str, &str)]) {
    for (code, expected) in cases {
        let code = format!("local cjson = require 'cjson' return {code}");
        assert_eq!(eval(&code), *expected, "{code}");
    }
}

#[test]
fn values_are_encoded_as_lua_cjson_does() {
    check(&[
        ("cjson.encode({})", "{}"),
        ("cjson.encode({1, 2, 3})", "[1,2,3]"),
        ("cjson.encode({a = 1})", r#"{"a":1}"#),
        ("cjson.encode({[1] = 1, [3] = 3})", "[1,null,3]"),
        (
            "pcall(cjson.encode, {[1] = 1, [100] = 1})",
            "false | Cannot serialise table: excessively sparse array",
        ),
        (r#"cjson.encode('a"\\/\b\f\n\r\t\0\127é')"#, r#""a\"\\\/\b\f\n\r\t\u0000\u007fé""#),
        ("cjson.encode(1.5)", "1.5"),
        ("cjson.encode(1e15)", "1e+15"),
        ("cjson.encode(1e14)", "1e+14"),
        ("cjson.encode(123456789012345678)", "1.2345678901235e+17"),
        ("cjson.encode(true)", "true"),
        ("cjson.encode(cjson.null)", "null"),
        ("cjson.encode({{}})", "[{}]"),
        ("cjson.encode({[1.5] = 2})", r#"{"1.5":2}"#),
        (
            "pcall(cjson.encode, {[true] = 1})",
            "false | Cannot serialise table: table key must be a number or string",
        ),
        ("pcall(cjson.encode, print)", "false | Cannot serialise function: type not supported"),
        (
            "pcall(cjson.encode, 0/0)",
            "false | Cannot serialise number: must not be NaN or Infinity",
        ),
        ("pcall(cjson.encode)", "false | bad argument #1 to '?' (expected 1 argument)"),
        (
            "(function() local d = {} local c = d for i = 1, 1001 do c[1] = {} c = c[1] end
             return pcall(cjson.encode, d) end)()",
            "false | Cannot serialise, excessive nesting (1001)",
        ),
        (
            "(function() local t = {} for i = 1, 20000 do t[i] = {i} end
             return #cjson.encode(t) end)()",
            "148895",
        ),
        ("cjson.encode(cjson.empty_array)", "[]"),
        ("cjson.encode(setmetatable({}, cjson.empty_array_mt))", "[]"),
        ("cjson.encode(setmetatable({a = 1}, cjson.array_mt))", "[]"),
    ]);
}

#[test]
fn texts_are_decoded_as_lua_cjson_does() {
    check(&[
        (
            "pcall(cjson.decode, '[1,2')",
            "false | Expected comma or array end but found T_END at character 5",
        ),
        (
            r#"pcall(cjson.decode, '{"a":1,}')"#,
            "false | Expected object key string but found T_OBJ_END at character 8",
        ),
        ("pcall(cjson.decode, '')", "false | Expected value but found T_END at character 1"),
        (
            "pcall(cjson.decode, 'nul')",
            "false | Expected value but found invalid token at character 1",
        ),
        (
            r#"pcall(cjson.decode, '"abc')"#,
            "false | Expected value but found unexpected end of string at character 5",
        ),
        (r#"cjson.decode('"\\u00e9\\ud83d\\ude00"')"#, "é😀"),
        (
            r#"pcall(cjson.decode, '"\\ud83d"')"#,
            "false | Expected value but found invalid unicode escape code at character 2",
        ),
        ("cjson.decode('01'), cjson.decode('1.'), cjson.decode('1e5')", "1 | 1 | 100000"),
        (
            "pcall(cjson.decode, '-')",
            "false | Expected value but found invalid number at character 1",
        ),
        (
            "pcall(cjson.decode, '[1] x')",
            "false | Expected the end but found invalid token at character 5",
        ),
        (
            r#"pcall(cjson.decode, '{"a" 1}')"#,
            "false | Expected colon but found T_NUMBER at character 6",
        ),
        ("cjson.decode('0x10'), cjson.decode('-0x1'), cjson.decode('+1')", "16 | -1 | 1"),
        ("cjson.decode('-Infinity'), cjson.decode('inf')", "-inf | inf"),
        (
            r#"pcall(cjson.decode, '["\\x"]')"#,
            "false | Expected value but found invalid escape code at character 3",
        ),
        (
            "pcall(cjson.decode, '.5')",
            "false | Expected value but found invalid token at character 1",
        ),
        (
            "pcall(cjson.decode, '1.5.2')",
            "false | Expected the end but found invalid token at character 4",
        ),
        ("cjson.decode('null') == cjson.null, cjson.null == ngx.null", "true | true"),
        (
            "pcall(cjson.decode, ('['):rep(1001) .. (']'):rep(1001))",
            "false | Found too many nested data structures (1001) at character 1001",
        ),
        ("pcall(cjson.decode, {})", "false | bad argument #1 to '?' (string expected, got table)"),
        (r#"#cjson.decode('[' .. ('[1],'):rep(20000) .. '2]')"#, "20001"),
        (
            "require('cjson.safe').decode('[')",
            "nil | Expected value but found T_END at character 2",
        ),
        (
            "require('cjson.safe').encode(print)",
            "nil | Cannot serialise function: type not supported",
        ),
    ]);
}

#[test]
fn settings_belong_to_the_instance() {
    check(&[
        ("cjson.encode_sparse_array()", "false | 2 | 10"),
        (
            "pcall(cjson.encode_sparse_array, 1)",
            "false | bad argument #1 to '?' (invalid option '1')",
        ),
        (
            "pcall(cjson.encode_max_depth, 0)",
            "false | bad argument #1 to '?' (expected integer between 1 and 2147483647)",
        ),
        ("cjson.encode_max_depth(), cjson.encode_number_precision()", "1000 | 14"),
        ("cjson.encode_invalid_numbers('null'), cjson.encode(0/0)", "null | null"),
        (
            "cjson.encode_invalid_numbers(true), cjson.encode({0/0, 1/0, -1/0})",
            "true | [nan,inf,-inf]",
        ),
        ("cjson.encode_empty_table_as_object(false), cjson.encode({})", "false | []"),
        ("cjson.new().encode_max_depth(5), cjson.encode_max_depth()", "5 | 1000"),
        ("cjson.decode_array_with_array_mt(true), cjson.encode(cjson.decode('[]'))", "true | []"),
        ("cjson.encode_escape_forward_slash(false), cjson.encode('/')", "false | \"/\""),
        ("cjson.encode_sparse_array(true), cjson.encode({[1000] = 1})", "true | {\"1000\":1}"),
    ]);
}
