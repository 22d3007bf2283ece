//! The `ngx` API, one file a topic: native functions here, Lua around them where that reads
//! better.

pub mod internal;
pub mod phase;
pub mod sleep;

use crate::lua::ffi::function::Library;

/// Everything that Lua can call, by the table that it is in.
pub const LIBRARIES: &[Library] = &[internal::NATIVE, phase::NGX, sleep::NGX];

/// Lua that completes the API: `(name, source)`, run in this order with `ngx` and the native
/// functions as arguments.
pub const PRELUDES: &[(&str, &str)] = &[("coroutine", include_str!("../prelude/coroutine.lua"))];
