//! Lua: VMs, phases and the `ngx` API on LuaJIT.
//!
//! A worker has one [`vm::Vm`] a generation. A handler that may wait is a [`run::Run`], polled by
//! the proxy inside the request's own future; one that may not is `Vm::call_sync`. What is shared
//! with the proxy: [`outcome`] (what a run wants and decides) and [`host`] (what the API asks of
//! the proxy).

pub mod budget;
pub mod chunk;
pub mod cjson;
pub mod crew;
pub mod ffi;
#[cfg(test)]
mod fixture;
pub mod host;
pub mod ngx;
pub mod open;
pub mod outcome;
pub mod patterns;
pub mod phase;
pub mod report;
pub mod run;
pub mod self_test;
pub mod strings;
pub mod timer;
pub mod vm;
