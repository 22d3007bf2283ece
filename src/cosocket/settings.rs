//! The `lua_socket_*` settings of a location, and the TLS that its scripts speak as clients.

use crate::cosocket::tls::ClientTls;
use std::sync::Arc;

/// How sockets of a location behave; times in milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `lua_socket_connect_timeout`.
    pub connect_timeout_ms: u64,
    /// `lua_socket_send_timeout`: between two writes.
    pub send_timeout_ms: u64,
    /// `lua_socket_read_timeout`: between two reads.
    pub read_timeout_ms: u64,
    /// `lua_socket_keepalive_timeout`: of an idle connection; 0 is no limit.
    pub keepalive_timeout_ms: u64,
    /// `lua_socket_buffer_size`: bytes read at a time.
    pub buffer_size: usize,
    /// `lua_socket_pool_size`: idle connections of a pool.
    pub pool_size: usize,
    /// `lua_socket_log_errors`.
    pub log_errors: bool,
    /// `lua_ssl_*`.
    pub tls: Arc<ClientTls>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 60_000,
            send_timeout_ms: 60_000,
            read_timeout_ms: 60_000,
            keepalive_timeout_ms: 60_000,
            buffer_size: 4096,
            pool_size: 30,
            log_errors: true,
            tls: Arc::default(),
        }
    }
}
