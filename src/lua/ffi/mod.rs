//! The border to LuaJIT and, with `src/sys/`, the only home of `unsafe`: a state with a counted
//! heap, stacks that safe code may push to, API functions as safe bodies, coroutines.
#![expect(unsafe_code, reason = "the border to a C library")]

pub mod call;
pub mod certificates;
pub mod clock;
pub mod fast;
pub mod function;
pub mod handshakes;
pub mod heap;
pub mod nginx;
pub mod object;
mod raw;
pub mod stack;
pub mod thread;
pub mod value;
mod walk;
pub mod zones;

#[cfg(test)]
mod tests;
