//! `ngx.header`, `ngx.resp.get_headers`, `ngx.resp.add_header`: the fields of the response.

use crate::clock;
use crate::http::date;
use crate::http::escape;
use crate::log::Level;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::text_of;
use crate::request::Request;
use crate::request::ResponseHead;
use bytes::Bytes;
use std::ffi::c_int;

functions! {
    /// The metamethods of `ngx.header`, and `add_header`.
    pub NATIVE "native.header" {
        get: ANY => get,
        set: ANY => set,
        add: ANY => add,
    }
}

functions! {
    /// `ngx.resp`.
    pub RESP "ngx.resp" {
        get_headers: ANY => get_headers,
    }
}

/// Values of one field that are read at most.
const MAX_VALUES: usize = 100;
/// The limit of `ngx.resp.get_headers()`.
const MAX_HEADERS: i64 = 100;

fn set(call: &Call<'_>) -> ApiResult {
    assign(call, 2, true)
}

/// `add_header(name, value)`.
fn add(call: &Call<'_>) -> ApiResult {
    assign(call, 1, false)
}

/// Sets (or, without `replace`, adds) the field named in slot `index` to the value behind it.
fn assign(call: &Call<'_>, index: c_int, replace: bool) -> ApiResult {
    let request = client(call)?;
    let name = text_of(call, index)?;
    let mut values = Vec::new();
    match call.value(index + 1) {
        Value::Nil if !replace => return Err("invalid header value".into()),
        Value::Nil => {}
        Value::Table(table) => {
            for n in 1..=table.len() {
                table.get(n as f64);
                let text = text_of(call, call.stack().top())?;
                values.push(escaped(text, &escape::HEADER_VALUE));
                // The script's own array becomes texts too, as with lua-resty-core.
                table.set(n as f64, text);
            }
        }
        _ => values.push(escaped(text_of(call, index + 1)?, &escape::HEADER_VALUE)),
    }
    if request.headers_sent.get() {
        let text = "attempt to set ngx.header.HEADER after sending out response headers";
        request.log(Level::Error, format_args!("{text}"));
        return call.reply(());
    }
    let name = spelled(&request, name);
    let name = escaped(&name, &escape::HEADER_NAME);
    if values.is_empty() && !replace {
        return call.reply(());
    }
    if values.is_empty() {
        values.push(Bytes::new());
    }
    let mut head = request.response.borrow_mut();
    for (n, value) in values.into_iter().enumerate() {
        let replaces = replace && n == 0;
        head.put(&name, value, replaces).map_err(|_| "failed to set header")?;
    }
    drop(head);
    call.reply(())
}

/// Whether the response's field `name` is kept as it is spelled, with no place of its own.
pub fn is_plain(name: &[u8]) -> bool {
    const OWN: [&[u8]; 4] = [b"content-type", b"content-length", b"last-modified", b"location"];
    !name.contains(&b'_') && !OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Gives the plain field `name` one value; `false` where the function must say why not.
pub fn put(request: &Request, name: &[u8], value: &[u8]) -> bool {
    if request.headers_sent.get() {
        return false;
    }
    let name = escaped(name, &escape::HEADER_NAME);
    let value = escaped(value, &escape::HEADER_VALUE);
    request.response.borrow_mut().put(&name, value, true).is_ok()
}

fn escaped(text: &[u8], set: &escape::Set) -> Bytes {
    Bytes::copy_from_slice(&escape::escape(text, set))
}

/// `_` becomes `-` unless `lua_transform_underscores_in_response_headers` is off.
fn spelled(request: &Request, name: &[u8]) -> Vec<u8> {
    let transform = request.conf().lua.transform_underscores;
    let spell = |byte: &u8| if transform && *byte == b'_' { b'-' } else { *byte };
    name.iter().map(spell).collect()
}

fn get(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    let name = spelled(&request, text_of(call, 2)?);
    let values = values_of(&request.response.borrow(), &name);
    match &values[..] {
        [] => call.reply(None::<bool>),
        [value] => call.reply(&value[..]),
        several => {
            let table = call.stack().new_table(several.len(), 0);
            for (n, value) in several.iter().enumerate() {
                table.set_index(n + 1, &value[..]);
            }
            call.reply(&table)
        }
    }
}

/// The values of a field, those with a place of their own included.
fn values_of(head: &ResponseHead, name: &[u8]) -> Vec<Bytes> {
    let lower = name.to_ascii_lowercase();
    match &lower[..] {
        b"content-type" => head.content_type.iter().filter(|it| !it.is_empty()).cloned().collect(),
        b"content-length" => {
            head.content_length.iter().map(|it| Bytes::from(it.to_string())).collect()
        }
        b"last-modified" => {
            let set = head.headers.get(name).and_then(|it| date::parse(it));
            let time = set.and_then(|it| u64::try_from(it).ok()).or(head.last_modified);
            time.map(|it| Bytes::from(clock::http_date_of(it))).into_iter().collect()
        }
        b"location" if head.location.is_some() => head.location.iter().cloned().collect(),
        _ => head.headers.all(name).take(MAX_VALUES).cloned().collect(),
    }
}

/// `ngx.resp.get_headers(max?, raw?)`.
fn get_headers(call: &Call<'_>) -> ApiResult {
    let max = call.opt_integer(1)?.unwrap_or(MAX_HEADERS);
    let raw = call.boolean(2);
    let request = client(call)?;
    let head = request.response.borrow().clone();
    let table = call.stack().new_table(0, head.headers.len() + 4);
    let own = own_fields(&head);
    for (name, value) in &own {
        table.set(*name, &value[..]);
    }
    let location = head.location.as_ref().map(|it| (Bytes::from_static(b"Location"), it.clone()));
    let all = head.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let all = all.chain(location).collect::<Vec<_>>();
    let most = usize::try_from(max).ok().filter(|it| *it > 0);
    let is_truncated = most.is_some_and(|it| all.len() + own.len() > it);
    // As there: one field is added even where the limit leaves no room.
    let room =
        most.filter(|_| is_truncated).map_or(all.len(), |it| it.saturating_sub(own.len()).max(1));
    for (name, value) in all.iter().take(room) {
        if raw {
            table.add(name, &value[..]);
        } else {
            table.add(&name.to_ascii_lowercase(), &value[..]);
        }
    }
    if !raw {
        crate::lua::ngx::req_header::set_headers_meta(call, &table);
    }
    if is_truncated {
        let count = all.len() + own.len();
        call.vm().trace(format_args!("lua exceeding response header limit {count} > {max}"));
        return call.reply((&table, "truncated"));
    }
    call.reply(&table)
}

/// Fields that the server itself makes, under lower-case names.
fn own_fields(head: &ResponseHead) -> Vec<(&'static [u8], Vec<u8>)> {
    let mut own: Vec<(&'static [u8], Vec<u8>)> = Vec::new();
    if let Some(kind) = head.content_type.as_ref().filter(|it| !it.is_empty()) {
        own.push((b"content-type", kind.to_vec()));
    }
    if let Some(length) = head.content_length {
        own.push((b"content-length", length.to_string().into_bytes()));
    }
    let connection: &[u8] = match (head.status, head.closes) {
        (101, _) => b"upgrade",
        (_, Some(true)) => b"close",
        _ => b"keep-alive",
    };
    own.push((b"connection", connection.to_vec()));
    if head.chunked {
        own.push((b"transfer-encoding", b"chunked".to_vec()));
    }
    own
}
