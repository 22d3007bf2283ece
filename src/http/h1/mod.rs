//! HTTP/1.1 on the wire: pure parsers and writers that both sides of the gateway share.

pub mod chunked;
pub mod fault;
pub mod known;
pub mod octets;
pub mod request_head;
pub mod response_head;
