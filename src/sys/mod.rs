//! What only the operating system can do; with `src/lua/ffi/` the home of `unsafe`.

pub mod errno;
pub mod host;
pub mod open;
pub mod stdio;
pub mod thread;
pub mod time;
