//! `ngx.req`: the request's body.

use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Values;
use crate::lua::ngx::body_builder::BodyBuilder;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::client;
use crate::lua::ngx::req_header::set_content_length;
use crate::lua::ngx::state::of_request;
use crate::lua::outcome::Downstream;
use crate::lua::outcome::DownstreamResult;
use crate::request::Body;
use crate::request::Request;
use crate::request::body::BUFFERED;
use crate::request::body::BodyFile;
use bytes::Bytes;
use smallvec::smallvec;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

functions! {
    /// The request's body.
    pub REQ "ngx.req" {
        read_body: HANDLERS => read_body,
        discard_body: ANY => discard_body,
        get_body_data: ANY => get_body_data,
        get_body_file: ANY => get_body_file,
        set_body_data: ANY => set_body_data,
        set_body_file: ANY => set_body_file,
        init_body: ANY => init_body,
        append_body: ANY => append_body,
        finish_body: ANY => finish_body,
    }
}

fn done(result: DownstreamResult) -> Values {
    match result {
        Ok(()) => Values::new(),
        Err(text) => smallvec![Owned::Nil, Owned::Bytes(text.into_bytes())],
    }
}

fn read_body(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    if request.body.borrow().is_read() {
        return call.reply(());
    }
    request.is_body_awaited.set(true);
    call.downstream(Downstream::ReadBody, done)
}

fn discard_body(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "expecting 0 arguments but seen {}")?;
    let request = client(call)?;
    if request.body.borrow().is_read() || !call.vm().phase().yields() {
        return call.reply(());
    }
    request.is_body_awaited.set(true);
    call.downstream(Downstream::DiscardBody, done)
}

/// The body, if it is in memory and not empty.
fn get_body_data(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "expecting 0 arguments but seen {}")?;
    let request = client(call)?;
    let body = match &*request.body.borrow() {
        Body::Memory(bytes) if !bytes.is_empty() => Some(bytes.clone()),
        _ => None,
    };
    call.reply(body)
}

/// The file that holds the body.
fn get_body_file(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "expecting 0 arguments but seen {}")?;
    let request = client(call)?;
    let path = match &*request.body.borrow() {
        Body::File(file) => Some(file.path.as_os_str().as_bytes().to_vec()),
        _ => None,
    };
    call.reply(path)
}

/// # Errors
/// A body that was not read, or is thrown away, cannot be replaced.
fn check_read(request: &Request) -> Result<(), ApiError> {
    match &*request.body.borrow() {
        Body::Unread => Err("request body not read yet".into()),
        Body::Discarded => Err("request body already discarded asynchronously".into()),
        Body::Memory(_) | Body::File(_) => Ok(()),
    }
}

fn set_body_data(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1], "expecting 1 arguments but seen {}")?;
    let bytes = Bytes::copy_from_slice(call.bytes(1)?);
    let request = client(call)?;
    check_read(&request)?;
    set_content_length(&request, bytes.len() as u64);
    request.body.replace(Body::Memory(bytes));
    call.reply(())
}

/// `ngx.req.set_body_file(path, auto_clean?)`.
fn set_body_file(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1, 2], "expecting 1 or 2 arguments but seen {}")?;
    let name = call.bytes(1)?;
    let request = client(call)?;
    check_read(&request)?;
    if call.count() == 2 {
        call.check(2, Kind::Boolean)?;
    }
    let path = PathBuf::from(OsStr::from_bytes(name));
    let failed = |what: &[u8]| ApiError::from([what, b" \"", name, b"\" failed"].concat());
    let length = std::fs::metadata(&path).map_err(|_| failed(b"stat()"))?.len();
    std::fs::File::open(&path).map_err(|_| failed(b"open()"))?;
    let file = BodyFile { path, length, temporary: call.boolean(2) };
    // An empty file is no file; dropping it cleans it away if it should.
    let body = if length == 0 { Body::Memory(Bytes::new()) } else { Body::File(file) };
    set_content_length(&request, length);
    request.body.replace(body);
    call.reply(())
}

/// `ngx.req.init_body(buffer_size?)`.
fn init_body(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0, 1], "expecting 0 or 1 argument but seen {}")?;
    let request = client(call)?;
    check_read(&request)?;
    let room = match call.opt_integer(1)? {
        None => request.conf().client_body_buffer_size,
        Some(size) => usize::try_from(size).map_err(|_| format!("bad size argument: {size}"))?,
    };
    let builder = BodyBuilder::new(room, &request.conf().client_body_temp_path);
    request.body.replace(Body::Memory(Bytes::new()));
    of_request(call.vm(), &request, |state| state.body = Some(builder));
    call.reply(())
}

fn append_body(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1], "expecting 1 arguments but seen {}")?;
    let bytes = call.bytes(1)?;
    let request = client(call)?;
    let appended = of_request(call.vm(), &request, |state| {
        let body = state.body.as_mut()?;
        let had_file = body.file().is_some();
        let appended = body.append(bytes);
        Some(appended.map(|()| body.file().filter(|_| !had_file).map(Path::to_owned)))
    });
    match appended {
        None => return Err("request_body not initialized".into()),
        Some(Err(_)) => return Err("fail to write file".into()),
        Some(Ok(None)) => {}
        Some(Ok(Some(path))) => {
            request.log(Level::Warn, format_args!("{BUFFERED} {}", path.display()));
        }
    }
    call.reply(())
}

fn finish_body(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "expecting 0 argument but seen {}")?;
    let request = client(call)?;
    let built = of_request(call.vm(), &request, |state| state.body.take());
    let Some(built) = built else { return Err("request_body not initialized".into()) };
    let body = built.finish();
    set_content_length(&request, body.length().unwrap_or(0));
    request.body.replace(body);
    call.reply(())
}
