//! `ngx.ctx`, `ngx.status`, `ngx.headers_sent`, `ngx.is_subrequest`: fields of `ngx` that are
//! computed.

use crate::log::Level;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ngx::client::cannot_convert;
use crate::lua::ngx::client::client;
use crate::lua::ngx::state::of_request;
use crate::lua::phase::Phase;
use crate::request::Request;
use crate::request::Version;

functions! {
    /// What reads the computed fields.
    pub GETTERS "native.getters" {
        ctx: ANY => ctx,
        status: ANY => status,
        headers_sent: ANY => headers_sent,
        is_subrequest: ANY => is_subrequest,
    }
}

functions! {
    /// What assigns them.
    pub SETTERS "native.setters" {
        ctx: ANY => set_ctx,
        status: ANY => set_status,
    }
}

/// `ngx.ctx`: made when it is first asked for.
fn ctx(call: &Call<'_>) -> ApiResult {
    let stack = call.stack();
    let api = call.vm().api();
    let Some(request) = call.vm().request() else {
        if call.vm().phase() == Phase::Init {
            return Err("no request found".into());
        }
        let mut orphan = api.orphan.borrow_mut();
        let kept = orphan.get_or_insert_with(|| {
            stack.new_table(0, 4);
            stack.anchor()
        });
        return call.reply(&*kept);
    };
    let has_one = of_request(call.vm(), &request, |state| {
        state.ctx.as_ref().map(|kept| stack.push(kept)).is_some()
    });
    if !has_one {
        api.sweep(&stack);
        let table = stack.new_table(0, 4);
        stack.push(&table);
        let anchor = stack.anchor();
        of_request(call.vm(), &request, |state| state.ctx = Some(anchor));
        return call.reply(&table);
    }
    Ok(crate::lua::ffi::call::Reply::Values(1))
}

fn set_ctx(call: &Call<'_>) -> ApiResult {
    if call.kind(1) != Kind::Table {
        let kind = if call.is_none(1) { "nil" } else { call.kind(1).name() };
        return Err(format!("ctx should be a table while getting a {kind}").into());
    }
    let stack = call.stack();
    let api = call.vm().api();
    if call.vm().phase() == Phase::Init {
        return Err("no request found".into());
    }
    stack.push_copy(1);
    let anchor = stack.anchor();
    match call.vm().request() {
        None => {
            if let Some(old) = api.orphan.replace(Some(anchor)) {
                stack.release(old);
            }
        }
        Some(request) => of_request(call.vm(), &request, |state| {
            state.forget_ctx();
            state.ctx = Some(anchor);
        }),
    }
    api.sweep(&stack);
    call.reply(())
}

fn status(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    call.reply(u32::from(status_of(&request)))
}

/// What `ngx.status` is for `request`.
pub fn status_of(request: &Request) -> u16 {
    let own = request.response.borrow().status;
    match (request.error_status.get(), own) {
        (0, 0) if request.version == Version::Http09 => 9,
        (0, own) => own,
        (error, _) => error,
    }
}

fn set_status(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    let Some(status) = call.stack().number(1).filter(|_| call.count() > 0) else {
        return Err(cannot_convert(Kind::Nil, 2, "ngx_http_lua_ffi_set_resp_status"));
    };
    if request.headers_sent.get() {
        let text = "attempt to set ngx.status after sending out response headers";
        request.log(Level::Error, format_args!("{text}"));
        return call.reply(());
    }
    let mut response = request.response.borrow_mut();
    response.status = status as u16;
    // nginx has no words of its own for 101.
    response.reason = (status == 101.0).then(|| "Switching Protocols".into());
    request.error_status.set(0);
    drop(response);
    call.reply(())
}

fn headers_sent(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    call.reply(request.headers_sent.get())
}

fn is_subrequest(call: &Call<'_>) -> ApiResult {
    call.reply(client(call)?.is_subrequest())
}
