//! The phases of a request on pingora: admission, routing, Lua, content, the upstream exchange,
//! filters, the log.
//!
//! pingora reads the client's request and writes the response; all phases run inside one hook,
//! `request_filter`, on the worker that accepted the connection.

mod access_log;
mod admission;
mod ahead;
mod balancer;
mod beside;
mod body;
mod content;
mod error;
mod error_page;
mod exchange;
mod files;
mod filters;
mod gateway;
mod head;
mod host;
mod lua_phase;
mod phases;
mod pick;
mod pool;
mod redirect;
mod retry;
mod rewrite;
mod scrape;
mod security;
mod session;
mod upstream_request;
mod upstream_response;
mod worker;

pub use gateway::{Gateway, LastGeneration};
pub use host::ProxyHost;
pub use scrape::scrape;
pub use worker::{Generation, WorkerState};
