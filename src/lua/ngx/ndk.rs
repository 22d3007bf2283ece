//! `ndk.set_var`: set-misc's functions of one argument.

use crate::http::setters;
use crate::http::setters::Base32;
use crate::log::Level;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;

functions! {
    /// For `ndk.set_var`, whose names are looked up in Lua.
    pub NATIVE "native.ndk" {
        has: ANY => has,
        call: ANY => call,
    }
}

/// Whether there is a directive of that name.
fn has(call: &Call<'_>) -> ApiResult {
    let name = String::from_utf8_lossy(call.bytes(1)?).into_owned();
    call.reply(setters::function(&name).is_some())
}

/// What the directive makes of a text; `nil` where it fails, which is logged.
fn call(call: &Call<'_>) -> ApiResult {
    let name = String::from_utf8_lossy(call.bytes(1)?).into_owned();
    let Some(function) = setters::function(&name) else { return call.reply(None::<bool>) };
    let text = call.bytes(2)?;
    let request = call.request().ok();
    let made = match &request {
        Some(request) => function(&request.conf().base32, text),
        None => function(&Base32::default(), text),
    };
    match made {
        Ok(made) => call.reply(made),
        Err(text) => {
            if let Some(request) = request {
                request.log(Level::Error, format_args!("{text}"));
            }
            call.reply(None::<bool>)
        }
    }
}
