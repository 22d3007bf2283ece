//! Which request an API function serves, and the conversions of arguments that lua-resty-core
//! leaves to LuaJIT's ffi.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Value;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::request::Request;
use std::ffi::c_int;
use std::rc::Rc;

/// What lua-resty-core says where there is no client's request.
pub const BAD_CONTEXT: &str = "API disabled in the current context";

/// The client's request.
///
/// # Errors
/// `no request found` in `init_by_lua*`, [`BAD_CONTEXT`] in timers and other phases without a
/// client.
pub fn client(call: &Call<'_>) -> Result<Rc<Request>, ApiError> {
    let phase = call.vm().phase();
    if phase == Phase::Init {
        return Err("no request found".into());
    }
    if !Phases::REQUEST.contains(phase) {
        return Err(BAD_CONTEXT.into());
    }
    let request = call.request()?;
    if request.is_fake { Err(BAD_CONTEXT.into()) } else { Ok(request) }
}

/// # Errors
/// OpenResty's text where `phases` do not hold what runs.
pub fn only_in(call: &Call<'_>, phases: Phases) -> Result<(), ApiError> {
    let phase = call.vm().phase();
    if phases.contains(phase) {
        return Ok(());
    }
    Err(match phase {
        Phase::Init => "no request found".into(),
        _ => format!("API disabled in the context of {}", phase.context()).into(),
    })
}

/// # Errors
/// `text` with the number of arguments for its `{}`, unless that number is one of `allowed`.
pub fn arguments(call: &Call<'_>, allowed: &[usize], text: &str) -> Result<(), ApiError> {
    let count = call.count();
    if allowed.contains(&count) {
        return Ok(());
    }
    Err(text.replace("{}", &count.to_string()).into())
}

/// Argument `index` as a C `int`: only numbers (and booleans) convert. `function` and `position`
/// are what the message names.
///
/// # Errors
/// The message of LuaJIT's ffi.
pub fn c_integer(
    call: &Call<'_>,
    index: c_int,
    position: u8,
    function: &str,
) -> Result<i32, ApiError> {
    match call.value(index) {
        Value::Number(number) => Ok(number as i32),
        Value::Boolean(value) => Ok(value.into()),
        other => Err(cannot_convert(other.kind(), position, function)),
    }
}

/// The message of LuaJIT's ffi for a value that is no `int`.
pub fn cannot_convert(kind: Kind, position: u8, function: &str) -> ApiError {
    let kind = if kind == Kind::None { "nil" } else { kind.name() };
    format!("bad argument #{position} to '{function}' (cannot convert '{kind}' to 'int')").into()
}

/// The limit that argument `index` sets for headers or arguments: nil, false and less than zero
/// are 100, 0 is none.
///
/// # Errors
/// The message of LuaJIT's ffi for anything but a number.
pub fn limit(call: &Call<'_>, index: c_int, function: &str) -> Result<usize, ApiError> {
    const DEFAULT: usize = 100;
    if call.is_none(index) || !call.boolean(index) {
        return Ok(DEFAULT);
    }
    Ok(match c_integer(call, index, 2, function)? {
        0 => usize::MAX,
        max => usize::try_from(max).unwrap_or(DEFAULT),
    })
}

/// Argument or slot `index` as text: strings and numbers as they are, all else by `tostring`.
///
/// # Errors
/// Whatever `__tostring` raises.
pub fn text_of<'a>(call: &Call<'a>, index: c_int) -> Result<&'a [u8], ApiError> {
    call.tostring(index)
}
