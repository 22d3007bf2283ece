//! What only the operating system can do; with `src/lua/ffi/` the home of `unsafe`.

pub mod alloc;
pub mod child;
pub mod cpu;
pub mod crypt;
pub mod daemon;
pub mod environment;
pub mod errno;
pub mod hang_up;
pub mod host;
pub mod limits;
pub mod open;
pub mod openssl;
pub mod pcre2;
pub mod pid;
pub mod raw_stream;
pub mod read_buffer;
pub mod signal;
pub mod socket;
pub mod stdio;
pub mod thread;
pub mod time;
pub mod user;
