//! `ngx.on_abort`: what runs when the client leaves before it has its answer.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ngx::client::client;
use crate::lua::ngx::state::of_request;

functions! {
    /// What runs when the client leaves.
    pub NGX "ngx" {
        on_abort: HANDLERS => on_abort,
    }
}

/// What a request does when its client leaves.
#[derive(Debug, Default)]
pub enum OnAbort {
    /// It ends.
    #[default]
    Unset,
    /// It runs this function, beside what runs.
    Set(Anchor),
    /// That was done.
    Begun,
}

/// `on_abort(function)`: needs `lua_check_client_abort on`.
fn on_abort(call: &Call<'_>) -> ApiResult {
    if !call.is_lua_function(1) {
        return Err(ApiError::argument(1, "Lua function expected"));
    }
    let request = client(call)?;
    let is_set = of_request(call.vm(), &request, |it| !matches!(it.on_abort, OnAbort::Unset));
    if is_set {
        return call.reply((None::<bool>, "duplicate call"));
    }
    if !request.conf().lua.check_client_abort {
        return call.reply((None::<bool>, "lua_check_client_abort is off"));
    }
    let stack = call.stack();
    stack.push_copy(1);
    let callback = stack.anchor();
    of_request(call.vm(), &request, |it| it.on_abort = OnAbort::Set(callback));
    call.reply(1)
}
