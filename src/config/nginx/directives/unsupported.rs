//! Directives of nginx and its usual companions that this version has not: an error with a hint, so
//! that they read differently from a typing error, and are never ignored.

use crate::config::nginx::directive::{ANYWHERE, Directive, ROLLOUT, unsupported};

const ACCESS: &str = "decide in access_by_lua_block, or in front of Moongate";
const CACHE: &str = "answers are not cached";
const MAPPED: &str = "use map, or Lua";
const METHODS: &str = "compare $request_method in \"if\", or decide in access_by_lua_block";
const OTHER: &str =
    "only HTTP upstreams are, by proxy_pass, gRPC by grpc_pass, memcached by memc_pass";
const PHASE: &str = "use rewrite_by_lua_block or access_by_lua_block";
const REALIP: &str = "the client's address is the connection's; read $http_x_forwarded_for";
const CHARSET: &str = "bodies are not converted; let the upstream do that";
const STATIC: &str = "files are left to an upstream";
const STATUS: &str = "use \"metrics;\" in a location, or the admin listener's /status";
const REDIS: &str = "use resty.redis in content_by_lua_block";
const TICKETS: &str = "OpenSSL draws the keys of tickets, anew for each configuration";
const REVOKED: &str = "compare $ssl_client_serial in access_by_lua_block";
const OPENSSL: &str = "OPENSSL_CONF names a file with OpenSSL's own settings";
const QUIC: &str = "clients come by HTTP/1 and HTTP/2";

/// Whole families by how their names begin, with the hint; a name with a row of its own is none.
pub(super) const FAMILIES: &[(&str, &str)] = &[
    ("fastcgi_", OTHER),
    ("scgi_", OTHER),
    ("uwsgi_", OTHER),
    ("memcached_", ""),
    ("memc_upstream_", "max_fails and fail_timeout stand behind \"server\" of an upstream"),
    ("memc_", ""),
    ("redis_", REDIS),
    ("redis2_", REDIS),
    ("grpc_", ""),
    ("tunnel_", OTHER),
    ("ssl_session_ticket_key", TICKETS),
    ("ssl_crl", REVOKED),
    ("ssl_ocsp_", REVOKED),
    ("ssl_conf_command", OPENSSL),
    ("ssl_", ""),
    ("quic_", QUIC),
    ("http2_", ""),
    ("http3", QUIC),
    ("proxy_ssl_conf_command", OPENSSL),
    ("proxy_ssl_", ""),
    ("proxy_cache_", CACHE),
    ("image_filter", ""),
    ("xslt_", ""),
    ("userid", ""),
    ("ssi_", ""),
    ("geoip_", MAPPED),
    ("js_", "use Lua"),
    ("vhost_traffic_status", STATUS),
];

pub(super) const TABLE: &[Directive] = &[
    unsupported("add_after_body", ""),
    unsupported("add_before_body", ""),
    unsupported("add_header_inherit", ""),
    unsupported("add_trailer_inherit", ""),
    unsupported("addition_types", ""),
    unsupported("api", ""),
    unsupported("balancer_keepalive", ""),
    unsupported("brotli", ""),
    unsupported("charset_map", CHARSET),
    unsupported("check", ""),
    unsupported("client_body_early_read", ""),
    unsupported("degradation", ""),
    unsupported("degrade", ""),
    unsupported("disable_symlinks", ""),
    unsupported("early_hints", ""),
    unsupported("gunzip_buffers", ""),
    unsupported("gzip_hash", ""),
    unsupported("gzip_no_buffer", ""),
    unsupported("gzip_window", ""),
    unsupported("ignore_invalid_headers", "invalid headers are always dropped"),
    unsupported("keepalive_min_timeout", ""),
    unsupported("least_time", ""),
    unsupported("mail", ""),
    unsupported("max_headers", ""),
    unsupported("mirror_request_body", ""),
    unsupported("ntlm", ""),
    unsupported("perl", "use Lua"),
    unsupported("perl_set", "use Lua"),
    unsupported("post_action", ""),
    unsupported("postpone_gzipping", ""),
    unsupported("proxy_cookie_domain", ""),
    unsupported("proxy_cookie_flags", ""),
    unsupported("proxy_cookie_path", ""),
    unsupported("proxy_ignore_headers", ""),
    unsupported("proxy_limit_rate", ""),
    unsupported("proxy_pass_trailers", ""),
    unsupported("proxy_send_lowat", ""),
    unsupported("proxy_set_body", ""),
    unsupported("proxy_socket_rcvbuf", ""),
    unsupported("proxy_socket_sndbuf", ""),
    unsupported("referer_hash_bucket_size", ""),
    unsupported("referer_hash_max_size", ""),
    unsupported("secure_link", ""),
    unsupported("secure_link_md5", ""),
    unsupported("secure_link_secret", ""),
    unsupported("source_charset", CHARSET),
    unsupported("state", ""),
    unsupported("status_zone", ""),
    Directive { contexts: ANYWHERE & !ROLLOUT, ..unsupported("sticky", "") },
    unsupported("sticky_cookie_insert", ""),
    unsupported("stream", "TCP and UDP are not proxied"),
    unsupported("sub_filter", ""),
    unsupported("sub_filter_last_modified", ""),
    unsupported("sub_filter_once", ""),
    unsupported("sub_filter_types", ""),
    unsupported("subrequest_output_buffer_size", ""),
    unsupported("valid_referers", ""),
    unsupported("xml_entities", ""),
    unsupported("xml_external_entities", ""),
    unsupported("auth_delay", ACCESS),
    unsupported("auth_jwt", ACCESS),
    unsupported("proxy_no_cache", CACHE),
    unsupported("proxy_store_access", CACHE),
    unsupported("ancient_browser", MAPPED),
    unsupported("ancient_browser_value", MAPPED),
    unsupported("modern_browser", MAPPED),
    unsupported("modern_browser_value", MAPPED),
    unsupported("limit_except", METHODS),
    unsupported("precontent_by_lua_block", PHASE),
    unsupported("precontent_by_lua_file", PHASE),
    unsupported("real_ip_header", REALIP),
    unsupported("real_ip_recursive", REALIP),
    unsupported("set_real_ip_from", REALIP),
    unsupported("autoindex_exact_size", STATIC),
    unsupported("autoindex_format", STATIC),
    unsupported("autoindex_localtime", STATIC),
    unsupported("create_full_put_path", STATIC),
    unsupported("dav_access", STATIC),
    unsupported("dav_methods", STATIC),
    unsupported("flv", STATIC),
    unsupported("min_delete_depth", STATIC),
    unsupported("mp4", STATIC),
    unsupported("mp4_buffer_size", STATIC),
    unsupported("mp4_max_buffer_size", STATIC),
    unsupported("mp4_start_key_frame", STATIC),
    unsupported("random_index", STATIC),
];
