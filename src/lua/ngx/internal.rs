//! What our own Lua needs of the driver; scripts do not see it.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::function::sentinel;
use crate::lua::ffi::thread::traceback_at;

functions! {
    /// Functions of the preludes.
    pub NATIVE "native" {
        sentinel: ANY => sentinel_value,
        is_killed: ANY => is_killed,
        fail: ANY => fail,
    }
}

fn sentinel_value(call: &Call<'_>) -> ApiResult {
    call.reply(crate::lua::ffi::value::Light(sentinel()))
}

fn is_killed(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().budget().is_killed())
}

/// `fail(co, err)`: raises the error that ended the wrapped coroutine `co`, noting its call stack
/// for the log should nobody catch it.
fn fail(call: &Call<'_>) -> ApiResult {
    let message = call.stack().text(2).unwrap_or_default().to_vec();
    call.vm().note_traceback(message, traceback_at(&call.stack(), 1));
    call.stack().push_copy(2);
    Err(ApiError::Thrown)
}
