//! The phases of a request: admission, routing, Lua, content, the upstream exchange, filters, the
//! log.
//!
//! Our own code reads and writes HTTP/1 (`http1`), pingora HTTP/2 (`gateway`): its one hook
//! `request_filter` runs the same phases. Both on the worker that accepted the connection.

mod access;
mod access_log;
mod admission;
mod ahead;
mod auth_request;
mod balancer;
mod beside;
mod body;
mod client_pipe;
mod conditional;
mod content;
mod echo;
mod error;
mod error_page;
mod exchange;
pub mod explain;
mod files;
mod filters;
mod finishing;
mod gateway;
mod head;
mod host;
mod http1;
mod inline;
mod limits;
mod lua_phase;
mod memcached;
mod more_headers;
mod multiplexed;
mod pace;
mod password;
mod phases;
mod pick;
mod pingora_client;
mod pool;
mod queue;
mod ranges;
mod redirect;
mod retry;
mod rewrite;
mod scrape;
mod security;
mod session;
mod small;
mod stand_in;
mod subrequest;
mod talk;
mod trailers;
mod try_files;
mod tunnel;
mod upstream_request;
mod upstream_response;
mod worker;

pub use gateway::{Gateway, LastGeneration};
pub use host::ProxyHost;
pub use http1::Http1;
pub use scrape::scrape;
pub use worker::{Generation, WorkerState};
