//! `ngx.get_phase`.

use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;

functions! {
    /// `ngx.get_phase`.
    pub NGX "ngx" {
        get_phase: ANY => get_phase,
    }
}

fn get_phase(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().phase().name())
}
