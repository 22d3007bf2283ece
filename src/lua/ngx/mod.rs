//! The `ngx` API, one file a topic: native functions here, Lua around them where that reads
//! better.

pub mod args;
pub mod constants;
pub mod digest;
pub mod internal;
pub mod log;
pub mod number;
pub mod phase;
pub mod sleep;
pub mod time;
pub mod timer;
pub mod worker;

use crate::lua::ffi::function::Library;

/// Everything that Lua can call, by the table that it is in.
pub const LIBRARIES: &[Library] = &[
    args::NGX,
    digest::BASE64URL,
    digest::NGX,
    internal::NATIVE,
    log::GLOBALS,
    log::NGX,
    phase::NGX,
    sleep::NGX,
    time::NGX,
    timer::NGX_TIMER,
    worker::NGX_CONFIG,
    worker::NGX_WORKER,
];

/// Lua that completes the API: `(name, source)`, run in this order with `ngx` and the native
/// functions as arguments.
pub const PRELUDES: &[(&str, &str)] = &[
    ("coroutine", include_str!("../prelude/coroutine.lua")),
    ("_G write guard", include_str!("../prelude/write_guard.lua")),
];
