//! HTTP/1.1 on the wire: pure parsers and writers that both sides of the gateway share.

pub mod chunked;
pub mod response_head;
