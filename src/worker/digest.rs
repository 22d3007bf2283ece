//! What pingora may ask of a connection besides its bytes.

use super::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use std::os::fd::AsRawFd;
use std::sync::Arc;

impl UniqueID for Stream {
    fn id(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Ssl for Stream {}

impl Peek for Stream {}

impl GetTimingDigest for Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.carried.clone()
    }
}

impl GetSocketDigest for Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.ends))
    }
}
