//! What only the operating system can do; with `src/lua/ffi/` the home of `unsafe`.

pub mod errno;
pub mod open;
pub mod thread;
pub mod time;
