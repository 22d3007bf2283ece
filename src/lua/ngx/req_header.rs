//! `ngx.req`: the fields of the request.

use crate::http::escape;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::limit;
use crate::lua::ngx::client::text_of;
use crate::request::Request;
use bytes::Bytes;
use std::cell::OnceCell;

functions! {
    /// Request headers.
    pub REQ "ngx.req" {
        get_headers: ANY => get_headers,
        set_header: ANY => set_header,
        clear_header: ANY => clear_header,
    }
}

functions! {
    /// What the prelude needs for them.
    pub NATIVE "native" {
        add_request_header: ANY => add_header,
        keep_headers_meta: ANY => keep_headers_meta,
        note_header: ANY => note_header,
    }
}

/// Hands over the metatables of header tables, which are written in Lua: that of all, and that of
/// requests that are to be explained.
fn keep_headers_meta(call: &Call<'_>) -> ApiResult {
    let api = call.vm().api();
    for (index, meta) in [(1, &api.headers_meta), (2, &api.traced_headers_meta)] {
        call.check(index, Kind::Table)?;
        call.stack().push_copy(index);
        let anchor = call.stack().anchor();
        meta.get_or_init(|| anchor);
    }
    call.reply(())
}

/// Notes that a script looked for a field that is not there.
fn note_header(call: &Call<'_>) -> ApiResult {
    let name = text_of(call, 1)?;
    if let Ok(request) = client(call) {
        request.note_header(name, None);
    }
    call.reply(())
}

/// Lets `table` find its fields in any spelling.
pub fn set_headers_meta(call: &Call<'_>, table: &Table<'_>) {
    set_meta(call, table, &call.vm().api().headers_meta);
}

fn set_meta(call: &Call<'_>, table: &Table<'_>, meta: &OnceCell<Anchor>) {
    if let Some(anchor) = meta.get() {
        call.stack().push(anchor);
        if let Some(meta) = call.stack().as_table(-1) {
            table.set_metatable(&meta);
        }
    }
}

/// `ngx.req.get_headers(max?, raw?)`.
fn get_headers(call: &Call<'_>) -> ApiResult {
    let max = limit(call, 1, "ngx_http_lua_ffi_req_get_headers_count")?;
    let raw = call.boolean(2);
    let request = client(call)?;
    let headers = request.headers.borrow().clone();
    let table = call.stack().new_table(0, headers.len().min(max));
    let mut lower = Vec::new();
    for (name, value) in headers.iter().take(max) {
        if raw {
            table.add(name, &value[..]);
        } else {
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            table.add(&lower, &value[..]);
        }
    }
    if request.is_traced() {
        // Which of them the script looks at cannot be seen: all may decide.
        headers.iter().take(max).for_each(|(name, value)| request.note_header(name, Some(value)));
    }
    if !raw {
        let api = call.vm().api();
        let meta = if request.is_traced() { &api.traced_headers_meta } else { &api.headers_meta };
        set_meta(call, &table, meta);
    }
    if headers.len() > max {
        let count = headers.len();
        call.vm().trace(format_args!("lua exceeding request header limit {count} > {max}"));
        return call.reply((&table, "truncated"));
    }
    call.reply(&table)
}

/// `ngx.req.set_header(name, value)`.
fn set_header(call: &Call<'_>) -> ApiResult {
    assign(call, true)
}

/// `require "ngx.req".add_header(name, value)`.
fn add_header(call: &Call<'_>) -> ApiResult {
    assign(call, false)
}

/// `ngx.req.clear_header(name)`.
fn clear_header(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    let name = if call.count() == 0 { &b"nil"[..] } else { text_of(call, 1)? };
    put(&request, &escaped(name, &escape::HEADER_NAME), Bytes::new(), true)?;
    call.reply(())
}

fn assign(call: &Call<'_>, replace: bool) -> ApiResult {
    let request = client(call)?;
    if call.is_none(1) {
        return Err("bad 'name' argument: string expected, got nil".into());
    }
    let name = escaped(text_of(call, 1)?, &escape::HEADER_NAME);
    let mut values = Vec::new();
    match call.value(2) {
        Value::Nil if !replace => {
            return Err("bad 'value' argument: string or table expected, got nil".into());
        }
        Value::Nil => {}
        Value::Table(table) => {
            if table.is_empty() && !replace {
                return Err("bad 'value' argument: non-empty table expected".into());
            }
            for n in 1..=table.len() {
                table.get(n as f64);
                let text = text_of(call, call.stack().top())?;
                values.push(escaped(text, &escape::HEADER_VALUE));
                table.set(n as f64, text);
            }
        }
        _ => values.push(escaped(text_of(call, 2)?, &escape::HEADER_VALUE)),
    }
    if values.is_empty() {
        values.push(Bytes::new());
    }
    for (n, value) in values.into_iter().enumerate() {
        put(&request, &name, value, replace && n == 0)?;
    }
    call.reply(())
}

/// Sets a field whose name and value need no escapes; false where the function of the API is to do
/// it, or to say why not.
pub fn set_plain(request: &Request, name: &[u8], value: &[u8]) -> bool {
    let is_plain = |text: &[u8], set: &escape::Set| !text.iter().any(|it| set.has(*it));
    is_plain(name, &escape::HEADER_NAME)
        && is_plain(value, &escape::HEADER_VALUE)
        && request
            .put_field(&Bytes::copy_from_slice(name), Bytes::copy_from_slice(value), true)
            .is_ok()
}

fn escaped(text: &[u8], set: &escape::Set) -> Bytes {
    Bytes::copy_from_slice(&escape::escape(text, set))
}

/// Sets or adds one value; an empty one removes.
///
/// # Errors
/// `failed to set header` for a `Content-Length` that is no number and a bad `Host`.
fn put(request: &Request, name: &Bytes, value: Bytes, replace: bool) -> Result<(), ApiError> {
    Ok(request.put_field(name, value, replace).map_err(|_| "failed to set header")?)
}

/// Sets `Content-Length` to what a new body has.
pub fn set_content_length(request: &Request, length: u64) {
    request.content_length.set(Some(length));
    request.headers.borrow_mut().set("Content-Length", length.to_string());
}
