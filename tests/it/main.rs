//! Integration tests: the binary, real sockets, real processes. A file a behaviour.

mod harness;
