//! `ngx.req`: method, URI, arguments, and facts about the request.

use crate::http::args;
use crate::http::escape;
use crate::http::method::Method;
use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::args::args_table;
use crate::lua::ngx::args::query_string;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::limit;
use crate::lua::ngx::client::only_in;
use crate::lua::ngx::exit::unfit_args;
use crate::lua::ngx::exit::unsafe_byte;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::request::Body;
use crate::request::Request;
use crate::request::Version;
use bytes::Bytes;

functions! {
    /// The request line and what follows from it.
    pub REQ "ngx.req" {
        get_method: ANY => get_method,
        set_method: ANY => set_method,
        set_uri: ANY => set_uri,
        get_uri_args: ANY => get_uri_args,
        set_uri_args: ANY => set_uri_args,
        get_post_args: ANY => get_post_args,
        http_version: ANY => http_version,
        raw_header: ANY => raw_header,
        start_time: ANY => start_time,
        is_internal: ANY => is_internal,
    }
}

/// Where `ngx.req.set_uri(uri, true)` may be called.
const JUMPING: Phases = Phases::of(&[Phase::Rewrite, Phase::ServerRewrite]);
/// The limit of `ngx.req.get_post_args()`.
const MAX_ARGS: i64 = 100;

fn get_method(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    let method = request.method.borrow().clone();
    call.reply(&method[..])
}

/// `ngx.req.set_method(ngx.HTTP_POST)`.
fn set_method(call: &Call<'_>) -> ApiResult {
    let Value::Number(number) = call.value(1) else { return Err("bad method number".into()) };
    let request = client(call)?;
    let method = Method::from_number(number as i64 as u32).filter(|it| *it != Method::Connect);
    let Some(method) = method else {
        let mut text = b"unsupported HTTP method: ".to_vec();
        call.stack().append_number(number, &mut text);
        return Err(text.into());
    };
    *request.method.borrow_mut() = Bytes::from_static(method.name().as_bytes());
    call.reply(())
}

/// `ngx.req.set_uri(uri, jump?, binary?)`.
fn set_uri(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1, 2, 3], "expecting 1, 2 or 3 arguments but seen {}")?;
    let request = client(call)?;
    let uri = call.bytes(1)?;
    if uri.is_empty() {
        return Err("attempt to use zero-length uri".into());
    }
    if call.count() >= 3 {
        call.check(3, Kind::Boolean)?;
    }
    if !call.boolean(3)
        && let Some(byte) = unsafe_byte(uri)
    {
        return Err(unsafe_uri(byte, uri));
    }
    if call.count() >= 2 {
        call.check(2, Kind::Boolean)?;
    }
    let jump = call.boolean(2);
    if jump {
        only_in(call, JUMPING)?;
        call.check_yieldable()?;
        if call.vm().logs(Level::Debug) {
            let shown = uri.escape_ascii();
            call.vm().trace(format_args!("lua set uri jump to \"{shown}\""));
        }
    }
    request.rewrite_uri(Bytes::copy_from_slice(uri), None);
    request.internal.set(true);
    if jump { call.end_run(Outcome::Jump) } else { call.reply(()) }
}

fn unsafe_uri(byte: u8, uri: &[u8]) -> ApiError {
    let mut text = format!("unsafe byte \"0x{byte:02x}\" in uri \"").into_bytes();
    escape::log_into(&mut text, uri);
    text.extend_from_slice(b"\" (maybe you want to set the 'binary' argument?)");
    text.into()
}

/// `ngx.req.get_uri_args(max?, table?)`.
fn get_uri_args(call: &Call<'_>) -> ApiResult {
    let max = limit(call, 1, "ngx_http_lua_ffi_req_get_uri_args_count")?;
    let request = client(call)?;
    let args = request.args.borrow().clone().unwrap_or_default();
    let table = if call.boolean(2) {
        let table = call.table(2)?;
        table.clear();
        table
    } else {
        call.stack().new_table(0, 4)
    };
    let count = args::count(&args);
    for (key, value) in args::decode(&args).flatten().take(max) {
        match value {
            Some(value) => table.add(&key, value),
            None => table.add(&key, true),
        }
    }
    if count > max {
        call.vm().trace(format_args!("lua hit query args limit {max}"));
        return call.reply((&table, "truncated"));
    }
    call.reply(&table)
}

/// `ngx.req.set_uri_args(text or table)`.
fn set_uri_args(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1], "expecting 1 argument but seen {}")?;
    let request = client(call)?;
    let args = match call.kind(1) {
        Kind::Number => call.bytes(1)?.to_vec(),
        Kind::String => escape::escape(call.bytes(1)?, &escape::RAW_ARGS).into_owned(),
        Kind::Table => query_string(&call.table(1)?)?,
        other => return Err(unfit_args(1, other)),
    };
    *request.args.borrow_mut() = Some(Bytes::from(args));
    request.uri_unchanged.set(false);
    call.reply(())
}

/// `ngx.req.get_post_args(max?)`.
fn get_post_args(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0, 1], "expecting 0 or 1 arguments but seen {}")?;
    let max = if call.count() == 1 { call.integer(1)? } else { MAX_ARGS };
    let request = client(call)?;
    let body = match &*request.body.borrow() {
        Body::Unread => {
            return Err(
                "no request body found; maybe you should turn on lua_need_request_body?".into()
            );
        }
        Body::File(_) => {
            return call.reply((None::<bool>, "request body in temp file not supported"));
        }
        Body::Memory(bytes) => bytes.clone(),
        Body::Discarded => Bytes::new(),
    };
    let (table, is_truncated) = args_table(&body, usize::try_from(max).unwrap_or(0));
    if is_truncated {
        call.vm().trace(format_args!("lua hit query args limit {max}"));
        return call.reply((table, "truncated"));
    }
    call.reply(table)
}

fn http_version(call: &Call<'_>) -> ApiResult {
    call.reply(match client(call)?.version {
        Version::Http09 => 0.9,
        Version::Http10 => 1.0,
        Version::Http11 => 1.1,
        Version::Http2 => 2.0,
    })
}

/// `ngx.req.raw_header(no_request_line?)`.
fn raw_header(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    if request.version == Version::Http2 {
        return Err("http2 requests not supported yet".into());
    }
    // A subrequest has none of its own: it is its parent's, as in nginx.
    let kept = request.main().raw_head.borrow().clone();
    let head = kept.unwrap_or_else(|| rebuilt_head(&request));
    let line = memchr::memchr(b'\n', &head).map_or(0, |end| end + 1);
    call.reply(&head[if call.boolean(1) { line } else { 0 }..])
}

/// The head from what is known of it: where it was not kept.
fn rebuilt_head(request: &Request) -> Bytes {
    let mut head = request.line.to_vec();
    head.extend_from_slice(b"\r\n");
    for (name, value) in request.headers.borrow().iter() {
        for part in [&name[..], b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Seconds of unix time, with milliseconds.
fn start_time(call: &Call<'_>) -> ApiResult {
    let started_ms = match call.vm().request() {
        Some(request) => request.started_unix_ms,
        None if call.vm().phase() == Phase::Init => return Err("no request found".into()),
        None => crate::clock::cached_ms(),
    };
    call.reply(started_ms as f64 / 1000.0)
}

fn is_internal(call: &Call<'_>) -> ApiResult {
    call.reply(client(call)?.internal.get())
}
