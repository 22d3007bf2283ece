//! HTTP's own notions, one a file: pure functions and types on bytes that know no connection, no
//! configuration and no Lua. Where nginx has an opinion, nginx 1.22.1's is followed.

pub mod headers;
