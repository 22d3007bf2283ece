//! Arguments of a URI between query strings and Lua tables.

use crate::http::args::Encoder;
use crate::http::args::Pair;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Value;
use std::borrow::Cow;

/// The query string of `table`: values are texts, numbers, booleans or arrays of those.
///
/// # Errors
/// OpenResty's texts for other keys and values.
pub fn encode(call: &Call<'_>, table: &Table<'_>) -> Result<Vec<u8>, ApiError> {
    let mut out = Encoder::new();
    let mut failed = None;
    table.each(|key, value| {
        let result = match key {
            Value::Bytes(key) => encode_pair(call, key, value, &mut out),
            _ => Err("attempt to use a non-string key in the \"args\" option table".into()),
        };
        failed = result.err();
        failed.is_none()
    });
    failed.map_or_else(|| Ok(out.finish()), Err)
}

fn encode_pair(
    call: &Call<'_>,
    key: &[u8],
    value: Value<'_>,
    out: &mut Encoder,
) -> Result<(), ApiError> {
    let Value::Table(several) = value else { return encode_value(call, key, value, out) };
    let mut failed = None;
    several.each(|_, value| {
        failed = match value {
            Value::Table(_) => Some(unfit(value)),
            value => encode_value(call, key, value, out).err(),
        };
        failed.is_none()
    });
    failed.map_or(Ok(()), Err)
}

fn encode_value(
    call: &Call<'_>,
    key: &[u8],
    value: Value<'_>,
    out: &mut Encoder,
) -> Result<(), ApiError> {
    match value {
        Value::Bytes(text) => out.push(key, Some(text)),
        Value::Number(number) => {
            let mut text = Vec::new();
            call.stack().append_number(number, &mut text);
            out.push(key, Some(&text));
        }
        Value::Boolean(true) => out.push(key, None),
        Value::Boolean(false) => {}
        other => return Err(unfit(other)),
    }
    Ok(())
}

fn unfit(value: Value<'_>) -> ApiError {
    format!("attempt to use {} as query arg value", value.kind().name()).into()
}

/// Adds a decoded argument to `table`: `true` for one without `=`.
pub fn add(table: &Table<'_>, (key, value): Pair<'_>) {
    match value {
        Some(value) => table.add(&key, value as Cow<'_, [u8]>),
        None => table.add(&key, true),
    }
}
