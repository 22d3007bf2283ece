//! The `ngx` API, one file a topic: native functions here, Lua around them where that reads
//! better.

pub mod abort;
pub mod arg;
pub mod args;
pub mod balancer;
pub mod body_builder;
mod client;
pub mod constants;
pub mod digest;
pub mod exit;
#[cfg(test)]
mod fixture;
pub mod internal;
pub mod location;
pub mod log;
pub mod magic;
pub mod names;
pub mod ndk;
pub mod number;
pub mod ocsp;
pub mod output;
pub mod phase;
pub mod pipe;
pub mod re;
pub mod req_body;
pub mod req_header;
pub mod req_uri;
pub mod resp_header;
pub mod rollout;
pub mod semaphore;
pub mod shared;
pub mod sleep;
pub mod socket;
pub mod ssl;
pub mod state;
pub mod task;
mod task_thread;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod time;
pub mod timer;
pub mod upstream;
pub mod var;
pub mod worker;

use crate::lua::cjson;
use crate::lua::ffi::certificates;
use crate::lua::ffi::function::Library;
use crate::lua::strings;

/// Everything that Lua can call, by the table that it is in.
pub const LIBRARIES: &[Library] = &[
    abort::NGX,
    arg::NATIVE,
    args::NGX,
    balancer::NATIVE,
    cjson::NATIVE,
    certificates::NATIVE,
    digest::BASE64URL,
    digest::NGX,
    exit::NGX,
    internal::NATIVE,
    location::NGX_LOCATION,
    log::GLOBALS,
    log::NATIVE,
    log::NGX,
    magic::GETTERS,
    magic::SETTERS,
    ndk::NATIVE,
    ocsp::NATIVE,
    output::NGX,
    phase::NGX,
    pipe::METHODS,
    pipe::NATIVE,
    re::NATIVE,
    re::NGX_RE,
    req_body::REQ,
    req_header::NATIVE,
    req_header::REQ,
    req_uri::REQ,
    resp_header::NATIVE,
    resp_header::RESP,
    rollout::NATIVE,
    semaphore::NATIVE,
    shared::METHODS,
    sleep::NGX,
    socket::NATIVE,
    socket::TCP,
    socket::UDP,
    ssl::HELLO,
    ssl::NATIVE,
    ssl::SESSION,
    strings::NATIVE,
    strings::STRING,
    task::NGX,
    thread::NATIVE,
    thread::NGX_THREAD,
    time::NGX,
    timer::NGX_TIMER,
    upstream::NATIVE,
    var::NATIVE,
    worker::NGX_CONFIG,
    worker::NGX_WORKER,
];

/// Lua that completes the API: `(name, source)`, run in this order with `ngx` and the native
/// functions as arguments.
pub const PRELUDES: &[(&str, &str)] = &[
    ("coroutine", include_str!("../prelude/coroutine.lua")),
    ("modules", include_str!("../prelude/modules.lua")),
    ("semaphore", include_str!("../prelude/semaphore.lua")),
    ("socket", include_str!("../prelude/socket.lua")),
    ("ssl", include_str!("../prelude/ssl.lua")),
    ("strings", include_str!("../prelude/strings.lua")),
    ("fast_re", include_str!("../prelude/fast_re.lua")),
    ("re", include_str!("../prelude/re.lua")),
    ("request", include_str!("../prelude/request.lua")),
    ("fast", include_str!("../prelude/fast.lua")),
    ("fast_lists", include_str!("../prelude/fast_lists.lua")),
    ("_G write guard", include_str!("../prelude/write_guard.lua")),
];
