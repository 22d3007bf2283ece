//! `ngx.encode_args`, `ngx.decode_args`, `ngx.escape_uri`, `ngx.unescape_uri`, and what the
//! functions over query strings share with them.

use crate::http::args;
use crate::http::escape;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use std::collections::HashMap;
use std::ffi::c_int;

functions! {
    /// Escapes and arguments.
    pub NGX "ngx" {
        escape_uri: ANY => escape_uri,
        unescape_uri: ANY => unescape_uri,
        encode_args: ANY => encode_args,
        decode_args: ANY => decode_args,
    }
}

/// Arguments read when a script names no limit.
pub const DEFAULT_MAX_ARGS: usize = 100;

/// A string argument as lua-resty-core takes it: nil is the empty one, anything else goes through
/// `tostring`.
///
/// # Errors
/// Whatever `__tostring` raises.
pub fn loose_bytes<'a>(call: &Call<'a>, index: c_int) -> Result<&'a [u8], ApiError> {
    if call.is_none(index) { Ok(b"") } else { call.tostring(index) }
}

fn escape_uri(call: &Call<'_>) -> ApiResult {
    let text = loose_bytes(call, 1)?;
    let kind = match call.value(2) {
        Value::Nil => 2.0,
        Value::Number(kind) => kind,
        _ => return Err(ApiError::Bare("\"type\" is not a number")),
    };
    let set = (kind >= 0.0).then(|| escape::lua_set(kind as usize)).flatten();
    let set = set.ok_or_else(|| ApiError::Unplaced(format!("\"type\" {kind} out of range")))?;
    call.reply(escape::escape(text, set))
}

fn unescape_uri(call: &Call<'_>) -> ApiResult {
    call.reply(escape::unescape_plus(loose_bytes(call, 1)?))
}

fn encode_args(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 {
        return Err(format!("expecting 1 argument but seen {count}").into());
    }
    call.reply(query_string(&call.table(1)?)?)
}

/// The query string that `table` spells: values are strings, numbers, booleans or arrays of them.
///
/// # Errors
/// A key or a value of another type.
pub fn query_string(table: &Table<'_>) -> Result<Vec<u8>, ApiError> {
    let mut query = args::Encoder::new();
    let mut fault = None;
    table.each(|key, value| {
        let Value::Bytes(key) = key else {
            fault = Some("attempt to use a non-string key in the \"args\" option table".to_owned());
            return false;
        };
        fault = match value {
            Value::Table(values) => {
                let mut inner = None;
                values.each(|_, value| {
                    inner = push_arg(&mut query, key, value).err();
                    inner.is_none()
                });
                inner
            }
            value => push_arg(&mut query, key, value).err(),
        };
        fault.is_none()
    });
    match fault {
        Some(text) => Err(text.into()),
        None => Ok(query.finish()),
    }
}

/// # Errors
/// A value of another type.
fn push_arg(query: &mut args::Encoder, key: &[u8], value: Value<'_>) -> Result<(), String> {
    match value {
        Value::Boolean(true) => query.push(key, None),
        Value::Boolean(false) => {}
        Value::Bytes(text) => query.push(key, Some(text)),
        Value::Number(number) => query.push(key, Some(number_text(number).as_bytes())),
        other => {
            return Err(format!("attempt to use {} as query arg value", other.kind().name()));
        }
    }
    Ok(())
}

/// A number as Lua writes it (`%.14g`).
pub fn number_text(number: f64) -> String {
    crate::lua::ngx::number::text(number)
}

fn decode_args(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 && count != 2 {
        return Err(format!("expecting 1 or 2 arguments but seen {count}").into());
    }
    let text = call.bytes(1)?;
    let max = match call.kind(2) {
        Kind::None => DEFAULT_MAX_ARGS,
        _ => call.integer(2)?.try_into().unwrap_or(DEFAULT_MAX_ARGS),
    };
    let (table, truncated) = args_table(text, max);
    if truncated { call.reply((table, "truncated")) } else { call.reply(table) }
}

/// The table of the arguments in `text`, at most `max` of them (0: all): repeated ones are arrays,
/// those without `=` are true. Tells whether there were more.
pub fn args_table(text: &[u8], max: usize) -> (Owned, bool) {
    let mut entries: Vec<(Owned, Owned)> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut pairs = args::decode(text);
    let mut seen = 0;
    let mut truncated = false;
    while let Some(pair) = pairs.next() {
        seen += 1;
        if let Some((key, value)) = pair {
            let value = value.map_or(Owned::Boolean(true), |it| Owned::Bytes(it.into_owned()));
            match places.get(&*key) {
                Some(&place) => add_value(&mut entries[place].1, value),
                None => {
                    places.insert(key.to_vec(), entries.len());
                    entries.push((Owned::Bytes(key.into_owned()), value));
                }
            }
        }
        if seen == max {
            truncated = !pairs.is_at_end();
            break;
        }
    }
    (Owned::Map(entries), truncated)
}

fn add_value(slot: &mut Owned, value: Owned) {
    if let Owned::Array(values) = slot {
        values.push(value);
    } else {
        let first = std::mem::replace(slot, Owned::Nil);
        *slot = Owned::Array(vec![first, value]);
    }
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval;

    #[test]
    fn escapes_and_arguments_as_openresty_has_them() {
        let cases = [
            ("return ngx.escape_uri('a b/c?é')", "a%20b%2Fc%3F%C3%A9"),
            ("return ngx.escape_uri(nil)", ""),
            ("return ngx.escape_uri('a/b c', 0)", "a/b%20c"),
            ("return pcall(ngx.escape_uri, 'a', 'b')", "false | \"type\" is not a number"),
            ("return ngx.unescape_uri('a%20b+c%zz')", "a b c%zz"),
            ("return ngx.unescape_uri()", ""),
            ("return ngx.encode_args({foo = 3, ['b r'] = 'hello world'}) :len()", "25"),
            ("return ngx.encode_args({a = {1, 'x', true, false}})", "a=1&a=x&a"),
            ("return ngx.encode_args({a = true})", "a"),
            ("return ngx.encode_args({a = false})", ""),
            ("return pcall(ngx.encode_args)", "false | expecting 1 argument but seen 0"),
            (
                "return pcall(ngx.encode_args, {a = print})",
                "false | attempt to use function as query arg value",
            ),
            (
                "return pcall(ngx.encode_args, {1})",
                "false | attempt to use a non-string key in the \"args\" option table",
            ),
            (
                "return pcall(ngx.encode_args, 1)",
                "false | bad argument #1 to '?' (table expected, got number)",
            ),
            (
                "local t = ngx.decode_args('a=1&b&a=2&c=%20x&=y') return t.a[1], t.a[2], t.b, t.c",
                "1 | 2 | true |  x",
            ),
            (
                "local t, e = ngx.decode_args('a=1&b=2&c=3', 2) return t.a, t.b, t.c, e",
                "1 | 2 | nil | truncated",
            ),
            ("return select('#', ngx.decode_args('a=1'))", "1"),
            ("return pcall(ngx.decode_args)", "false | expecting 1 or 2 arguments but seen 0"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
