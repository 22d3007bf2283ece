//! Moongate: a gateway that runs OpenResty's Lua and nginx.conf on Cloudflare's Pingora.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod http;
pub mod log;
pub mod lua;
pub mod metrics;
pub mod proxy;
pub mod regex;
pub mod request;
pub mod resolver;
pub mod shdict;
pub mod snapshot;
pub mod sys;
pub mod upstream;
pub mod vars;
pub mod worker;
