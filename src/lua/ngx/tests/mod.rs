//! The request-dependent API in scripts. The expected texts are those of lua-nginx-module 0.10.23.

mod output;
mod var;
