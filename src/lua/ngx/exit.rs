//! `ngx.exit`, `ngx.exec`, `ngx.redirect`: what ends a handler.

use crate::http::escape;
use crate::http::uri;
use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ngx::args::query_string;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::c_integer;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::only_in;
use crate::lua::ngx::location::check_abortable;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use bytes::Bytes;

functions! {
    /// What ends a handler.
    pub NGX "ngx" {
        exit: ANY => exit,
        exec: HANDLERS => exec,
        redirect: HANDLERS => redirect,
    }
}

/// Where `ngx.exit` may be called.
const EXITING: Phases =
    Phases::YIELDING.and(Phases::SSL).and(Phases::of(&[Phase::HeaderFilter, Phase::Balancer]));
/// `ngx.AGAIN` and `ngx.DONE`.
const REFUSED: [i32; 2] = [-2, -4];
/// Statuses of 300 and above that go through even when the response has begun: 408, 444, 499.
const ALWAYS: [i32; 3] = [408, 444, 499];

fn exit(call: &Call<'_>) -> ApiResult {
    let mut status = c_integer(call, 1, 2, "ngx_lua_ffi_exit")?;
    if REFUSED.contains(&status) {
        let text = "bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE";
        return Err(text.into());
    }
    only_in(call, EXITING)?;
    if !matches!(status, -1 | 408 | 444 | 499) {
        check_abortable(call)?;
    }
    if let Some(request) = call.vm().request().filter(|it| it.logs(Level::Debug)) {
        request.log(Level::Debug, format_args!("lua exit with code {status}"));
    }
    if let Some(request) = call.vm().request()
        && request.headers_sent.get()
        && status >= 300
        && !ALWAYS.contains(&status)
    {
        let sent = request.response.borrow().status;
        if status != i32::from(sent) {
            request.log(
                Level::Error,
                format_args!(
                    "attempt to set status {status} via ngx.exit after sending out the response \
                     status {sent}"
                ),
            );
        }
        status = 200;
    }
    call.end_run(Outcome::Exit(status))
}

fn exec(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1, 2], "expecting one or two arguments, but got {}")?;
    let request = client(call)?;
    let target = call.bytes(1)?;
    if target.is_empty() {
        return Err("The uri argument is empty".into());
    }
    let target = Bytes::copy_from_slice(target);
    let Some((path, args)) = uri::parse_unsafe(&target) else {
        let shown = target.escape_ascii();
        request.log(Level::Error, format_args!("unsafe URI \"{shown}\" was detected"));
        return Err("unsafe uri".into());
    };
    let more = match call.kind(2) {
        Kind::None | Kind::Nil => Vec::new(),
        Kind::Number | Kind::String => call.bytes(2)?.to_vec(),
        Kind::Table => query_string(&call.table(2)?)?,
        other => return Err(unfit_args(2, other)),
    };
    check_abortable(call)?;
    if request.headers_sent.get() {
        return Err("attempt to call ngx.exec after sending out response headers".into());
    }
    let args = args.unwrap_or_default();
    let args = match (args.is_empty(), more.is_empty()) {
        (_, true) => args.to_vec(),
        (true, false) => more,
        (false, false) => [&args[..], b"&", &more].concat(),
    };
    let args = Some(args).filter(|it| !it.is_empty());
    call.end_run(Outcome::Exec { uri: path.to_vec(), args })
}

/// The error for arguments of a URI that are neither text nor table.
pub fn unfit_args(index: i32, kind: Kind) -> ApiError {
    let text = format!("string, number, or table expected, but got {}", kind.name());
    ApiError::argument(index, text)
}

fn redirect(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1, 2], "expecting one or two arguments")?;
    let location = call.bytes(1)?;
    let status = match call.count() {
        1 => 302,
        _ => call.integer(2)?,
    };
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Err("only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, \
                    ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and \
                    ngx.HTTP_TEMPORARY_REDIRECT are allowed"
            .into());
    }
    let request = client(call)?;
    check_abortable(call)?;
    if request.headers_sent.get() {
        return Err("attempt to call ngx.redirect after sending out the headers".into());
    }
    if let Some(byte) = unsafe_byte(location) {
        let mut text = format!("unsafe byte \"0x{byte:02x}\" in redirect uri \"").into_bytes();
        escape::log_into(&mut text, location);
        text.push(b'"');
        return Err(text.into());
    }
    call.end_run(Outcome::Redirect { status: status as u16, location: location.to_vec() })
}

/// The first control character but TAB, if there is one.
pub fn unsafe_byte(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|it| escape::HEADER_VALUE.has(*it))
}
