//! `ngx.sleep`.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Values;
use std::time::Duration;

functions! {
    /// `ngx.sleep`.
    pub NGX "ngx" {
        sleep: YIELDING => sleep,
    }
}

/// `ngx.sleep(seconds)`: milliseconds count; 0 lets the others have their turn.
fn sleep(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 {
        return Err(format!("attempt to pass {count} arguments, but accepted 1").into());
    }
    let delay_ms = (call.number(1)? * 1000.0) as i64;
    let Ok(delay_ms) = u64::try_from(delay_ms) else {
        return Err(ApiError::from(format!("invalid sleep duration \"{delay_ms}\"")));
    };
    call.suspend(async move {
        if delay_ms == 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        Values::new()
    })
}
