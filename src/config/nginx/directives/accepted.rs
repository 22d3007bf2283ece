//! Directives that real configurations carry and that change nothing here: each with its reason,
//! which `-t` prints.

use crate::config::nginx::directive::{Directive, accepted, off_only};

const KERNEL: &str = "use taskset(1) or systemd's CPUAffinity= for the whole process";
const CORE: &str = "use systemd's LimitCORE= or ulimit -c";
const PRIORITY: &str = "use systemd's Nice= or nice(1)";
const CLOCK: &str = "the time is read once per turn of the event loop";
const EPOLL: &str = "epoll is always used";
const REUSEPORT: &str = "every worker accepts on a socket of its own (SO_REUSEPORT)";
const JIT: &str = "PCRE2's compiler is always on where the system has it";
const FILES: &str = "bodies are proxied, not sent from files";
const NODELAY: &str = "TCP_NODELAY is always on, and small answers leave in one write";
const TABLES: &str = "tables grow as they need";
const BUFFERS: &str = "buffers grow as they need, within fixed limits";
const TEMPORARY: &str = "nothing is written there";
const GZIP: &str = "gzip is off";
const COSOCKET: &str = "sockets are written to as soon as they take anything";
const ALWAYS: &str = "that is always so";
const RECORDS: &str = "what is written together is sent together";
const HTTP2_LIMITS: &str = "HTTP/1's limits hold for HTTP/2 too";

pub(super) const TABLE: &[Directive] = &[
    accepted("worker_cpu_affinity", KERNEL),
    accepted("worker_priority", PRIORITY),
    accepted("worker_rlimit_core", CORE),
    accepted("worker_aio_requests", FILES),
    accepted("timer_resolution", CLOCK),
    accepted("lock_file", REUSEPORT),
    accepted("pcre_jit", JIT),
    accepted("debug_points", "a debugger can be attached at any time"),
    accepted("use", EPOLL),
    accepted("accept_mutex", REUSEPORT),
    accepted("accept_mutex_delay", REUSEPORT),
    accepted("debug_connection", "write a log level in \"error_log\" instead"),
    accepted("epoll_events", EPOLL),
    accepted("sendfile", FILES),
    accepted("sendfile_max_chunk", FILES),
    accepted("aio", FILES),
    accepted("aio_write", FILES),
    accepted("directio", FILES),
    accepted("directio_alignment", FILES),
    accepted("read_ahead", FILES),
    accepted("output_buffers", FILES),
    accepted("open_file_cache", FILES),
    accepted("open_file_cache_valid", FILES),
    accepted("open_file_cache_min_uses", FILES),
    accepted("open_file_cache_errors", FILES),
    accepted("open_file_cache_events", FILES),
    accepted("open_log_file_cache", FILES),
    accepted("tcp_nopush", NODELAY),
    accepted("tcp_nodelay", NODELAY),
    accepted("postpone_output", NODELAY),
    accepted("send_lowat", NODELAY),
    accepted("types_hash_max_size", TABLES),
    accepted("types_hash_bucket_size", TABLES),
    accepted("server_names_hash_max_size", TABLES),
    accepted("server_names_hash_bucket_size", TABLES),
    accepted("variables_hash_max_size", TABLES),
    accepted("variables_hash_bucket_size", TABLES),
    accepted("map_hash_max_size", TABLES),
    accepted("map_hash_bucket_size", TABLES),
    accepted("proxy_headers_hash_max_size", TABLES),
    accepted("proxy_headers_hash_bucket_size", TABLES),
    accepted("connection_pool_size", BUFFERS),
    accepted("request_pool_size", BUFFERS),
    accepted("client_body_in_single_buffer", BUFFERS),
    accepted("proxy_busy_buffers_size", BUFFERS),
    accepted("proxy_max_temp_file_size", TEMPORARY),
    accepted("proxy_temp_file_write_size", TEMPORARY),
    accepted("proxy_temp_path", TEMPORARY),
    accepted("fastcgi_temp_path", TEMPORARY),
    accepted("scgi_temp_path", TEMPORARY),
    accepted("uwsgi_temp_path", TEMPORARY),
    accepted("reset_timedout_connection", "connections that time out are closed at once"),
    accepted("keepalive_disable", "the browsers that it was made for are gone"),
    accepted("msie_padding", "the browsers that it was made for are gone"),
    accepted("msie_refresh", "the browsers that it was made for are gone"),
    accepted("gzip_buffers", GZIP),
    accepted("gzip_comp_level", GZIP),
    accepted("gzip_disable", GZIP),
    accepted("gzip_http_version", GZIP),
    accepted("gzip_min_length", GZIP),
    accepted("gzip_proxied", GZIP),
    accepted("gzip_types", GZIP),
    accepted("gzip_vary", GZIP),
    accepted("lua_load_resty_core", ALWAYS),
    accepted("lua_malloc_trim", "memory is given back without it"),
    accepted("lua_sa_restart", ALWAYS),
    accepted("lua_thread_cache_max_entries", TABLES),
    accepted("lua_socket_send_lowat", COSOCKET),
    off_only("gzip", "let the upstream compress"),
    off_only("gzip_static", ""),
    off_only("gunzip", ""),
    off_only("autoindex", ""),
    off_only("override_charset", "bodies are not converted"),
    off_only("proxy_cache", ""),
    off_only("proxy_store", ""),
    off_only("proxy_socket_keepalive", ""),
    off_only("grpc_socket_keepalive", ""),
    off_only("mirror", ""),
    off_only("slice", ""),
    off_only("ssi", ""),
    accepted("ssl_buffer_size", RECORDS),
    accepted("http2_chunk_size", RECORDS),
    accepted("http2_recv_buffer_size", BUFFERS),
    accepted("http2_body_preread_size", BUFFERS),
    accepted("http2_idle_timeout", HTTP2_LIMITS),
    accepted("http2_recv_timeout", HTTP2_LIMITS),
    accepted("http2_max_requests", HTTP2_LIMITS),
    accepted("http2_max_field_size", HTTP2_LIMITS),
    accepted("http2_max_header_size", HTTP2_LIMITS),
    accepted("http2_push_preload", "browsers take no pushes any more"),
    off_only("http2_push", "browsers take no pushes any more"),
    off_only("ssl", "write \"ssl\" in \"listen\""),
    off_only("ssl_early_data", ""),
    off_only("ssl_stapling_verify", "the file of \"ssl_stapling_file\" is taken as it is"),
    off_only("ssl_ocsp", "compare $ssl_client_serial in access_by_lua_block"),
];
