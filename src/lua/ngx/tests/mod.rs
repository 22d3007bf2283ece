//! The request-dependent API in scripts. The expected texts are those of lua-nginx-module 0.10.23.

mod arg;
mod balancer;
mod fast;
mod output;
mod req_body;
mod req_header;
mod req_uri;
mod resp_header;
mod var;
