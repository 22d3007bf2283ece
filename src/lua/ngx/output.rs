//! `ngx.say`, `ngx.print`, `ngx.send_headers`, `ngx.flush`, `ngx.eof`.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::client;
use crate::lua::ngx::state::of_request;
use crate::lua::outcome::Downstream;
use crate::lua::outcome::DownstreamResult;
use crate::request::Request;
use crate::request::Version;
use smallvec::smallvec;
use std::ffi::c_int;
use std::rc::Rc;

functions! {
    /// What answers the client.
    pub NGX "ngx" {
        say: HANDLERS => say,
        print: HANDLERS => print,
        send_headers: HANDLERS => send_headers,
        flush: HANDLERS => flush,
        eof: HANDLERS => eof,
    }
}

/// Arrays in arrays at most: one may hold itself.
const MAX_DEPTH: usize = 100;

/// What Lua is told when nothing more can be sent.
type Refusal = Option<&'static str>;

fn say(call: &Call<'_>) -> ApiResult {
    write(call, b"\n")
}

fn print(call: &Call<'_>) -> ApiResult {
    write(call, b"")
}

fn write(call: &Call<'_>, end: &[u8]) -> ApiResult {
    let request = client(call)?;
    if let Some(text) = refusal(&request) {
        return call.reply((None::<bool>, text));
    }
    let mut text = Vec::new();
    for index in 1..=call.count() as c_int {
        append_argument(call, index, &mut text)?;
    }
    text.extend_from_slice(end);
    if text.is_empty() {
        return send_head(call, &request);
    }
    of_request(call.vm(), &request, |state| state.has_body = true);
    if is_buffering(call, &request) {
        call.vm().trace(format_args!("lua buffering output bufs for the HTTP 1.0 request"));
    }
    let Some(host) = call.vm().host() else { return call.reply(1) };
    answer(call, host.send_body(call.vm(), &request, &text, false))
}

/// Why nothing can be written any more.
fn refusal(request: &Request) -> Refusal {
    if request.client_pipe.borrow().as_ref().is_some_and(|it| it.is_raw()) {
        Some("raw request socket acquired")
    } else if request.headers_sent.get() && is_header_only(request) {
        Some("header only")
    } else if request.finished.get() {
        Some("seen eof")
    } else {
        None
    }
}

/// Whether the response has no body, its head once sent.
fn is_header_only(request: &Request) -> bool {
    request.is_head() || matches!(request.response.borrow().status, 204 | 304)
}

/// Whether what was said is kept until its length is known: `lua_http10_buffering`.
pub fn is_buffering(call: &Call<'_>, request: &Request) -> bool {
    request.version <= Version::Http10
        && request.conf().lua.http10_buffering
        && !request.headers_sent.get()
        && of_request(call.vm(), request, |state| state.has_body)
}

fn send_head(call: &Call<'_>, request: &Rc<Request>) -> ApiResult {
    match call.vm().host() {
        Some(host) if !request.headers_sent.get() && !is_buffering(call, request) => {
            answer(call, host.send_headers(call.vm(), request))
        }
        _ => call.reply(1),
    }
}

fn answer(call: &Call<'_>, result: Result<(), String>) -> ApiResult {
    match result {
        Ok(()) => call.reply(1),
        Err(text) => call.reply((None::<bool>, text)),
    }
}

/// # Errors
/// `bad argument …` for what cannot be written.
fn append_argument(call: &Call<'_>, index: c_int, out: &mut Vec<u8>) -> Result<(), ApiError> {
    match call.value(index) {
        Value::Table(table) => {
            append_table(&table, false, 0, out).map_err(|text| ApiError::argument(index, text))
        }
        // Another light userdata than ngx.null is passed over, as there.
        Value::Light(address) if address != 0 => Ok(()),
        value => append_plain(call, value, out).map_err(|kind| {
            let text = "string, number, boolean, nil, ngx.null, or array table expected, but got";
            ApiError::argument(index, format!("{text} {}", kind.name()))
        }),
    }
}

/// # Errors
/// The type, if it has no text.
fn append_plain(call: &Call<'_>, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Kind> {
    match value {
        Value::Nil => out.extend_from_slice(b"nil"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => call.stack().append_number(number, out),
        Value::Bytes(text) => out.extend_from_slice(text),
        Value::Light(0) => out.extend_from_slice(b"null"),
        other => return Err(other.kind()),
    }
    Ok(())
}

/// Appends the items of an array, arrays in it likewise. With `is_strict` only texts and arrays of
/// them are allowed: `ngx.arg[1]`.
///
/// # Errors
/// What is wrong, for `bad argument`.
pub fn append_table(
    table: &Table<'_>,
    is_strict: bool,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("table nested too deeply".to_owned());
    }
    let stack = table.stack();
    let length = table.greatest_index().ok_or("non-array table found")?;
    let mut failed = None;
    table.each_index(length, |_, value| {
        let bad = |kind: Kind| Err(format!("bad data type {} found", kind.name()));
        let result = match value {
            Value::Number(number) => {
                stack.append_number(number, out);
                Ok(())
            }
            Value::Bytes(text) => {
                out.extend_from_slice(text);
                Ok(())
            }
            Value::Table(inner) => append_table(&inner, is_strict, depth + 1, out),
            Value::Nil | Value::Boolean(_) | Value::Light(0) if !is_strict => {
                out.extend_from_slice(match value {
                    Value::Nil => b"nil",
                    Value::Boolean(true) => b"true",
                    Value::Boolean(false) => b"false",
                    _ => b"null",
                });
                Ok(())
            }
            Value::Light(_) if !is_strict => Ok(()),
            other => bad(other.kind()),
        };
        failed = result.err();
        failed.is_none()
    });
    failed.map_or(Ok(()), Err)
}

/// `ngx.send_headers()`.
fn send_headers(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    send_head(call, &request)
}

/// `ngx.eof()`: ends the response; the script goes on.
fn eof(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "no argument is expected")?;
    let request = client(call)?;
    if let Some(text) = refusal(&request).filter(|_| request.finished.get()) {
        return call.reply((None::<bool>, text));
    }
    let Some(host) = call.vm().host() else { return call.reply(1) };
    let result = host.send_body(call.vm(), &request, b"", true);
    if result.is_ok() {
        request.finished.set(true);
    }
    answer(call, result)
}

/// `ngx.flush(wait?)`: without `wait` what was said is on its way anyhow.
fn flush(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0, 1], "attempt to pass {} arguments, but accepted 0 or 1")?;
    let request = client(call)?;
    if call.count() == 1 {
        call.check(1, Kind::Boolean)?;
    }
    let wait = call.boolean(1);
    if let Some(text) = refusal(&request) {
        return call.reply((None::<bool>, text));
    }
    let has_body = of_request(call.vm(), &request, |state| state.has_body);
    if is_buffering(call, &request) {
        call.vm().trace(format_args!("lua http 1.0 buffering makes ngx.flush() a no-op"));
        return call.reply((None::<bool>, "buffering"));
    }
    if !request.headers_sent.get() || (!has_body && !wait) {
        return call.reply((None::<bool>, "nothing to flush"));
    }
    if wait { call.downstream(Downstream::Flush, flushed) } else { call.reply(1) }
}

fn flushed(result: DownstreamResult) -> Values {
    match result {
        Ok(()) => smallvec![Owned::Number(1.0)],
        Err(text) => smallvec![Owned::Nil, Owned::Bytes(text.into_bytes())],
    }
}
