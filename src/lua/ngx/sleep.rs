//! `ngx.sleep`.

use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Values;
use crate::request::Request;
use std::rc::Rc;
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
    call.vm().trace(format_args!("lua ready to sleep for {delay_ms} ms"));
    let request = call.vm().request().filter(|it| it.logs(Level::Debug));
    call.suspend(async move {
        let mut trace = Trace { request, is_over: false };
        if delay_ms == 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        trace.is_over = true;
        Values::new()
    })
}

/// Tells the debug log how a sleep ended.
struct Trace {
    request: Option<Rc<Request>>,
    is_over: bool,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let Some(request) = &self.request else { return };
        if !self.is_over {
            let text = "lua clean up the timer for pending ngx.sleep";
            return request.log(Level::Debug, format_args!("{text}"));
        }
        let uri = String::from_utf8_lossy(&request.uri.borrow()).into_owned();
        let args = request.args.borrow().clone().unwrap_or_default();
        let args = String::from_utf8_lossy(&args).into_owned();
        request.log(Level::Debug, format_args!("lua sleep timer expired: \"{uri}?{args}\""));
    }
}
