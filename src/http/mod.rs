//! HTTP's own notions, one a file: pure functions and types on bytes that know no connection, no
//! configuration and no Lua. Where nginx has an opinion, nginx 1.22.1's is followed.

pub mod args;
pub mod base64;
pub mod basic;
pub mod cookie;
pub mod date;
pub mod escape;
pub mod h1;
pub mod headers;
pub mod host;
pub mod memcached;
pub mod method;
pub mod mime;
pub mod number;
pub mod range;
pub mod setters;
pub mod status;
pub mod uri;
