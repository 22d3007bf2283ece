//! The settings that http, server, location and `if` share, each inherited as a whole.

use super::{
    AccessLog, AccessRule, AddHeader, Alias, AuthRequestSet, BodyInFile, Chunk, EchoLine, ErrorLog,
    ErrorPage, Expires, IfModifiedSince, LargeBuffers, LimitConn, LimitReq, LingeringClose,
    MemcachedSettings, MoreHeaders, NextUpstream, PlacedText, Resolver, ServerTokens, SessionCache,
    SizeUnlimited, Text, TlsVersion, VerifyClient,
};
use serde::{Deserialize, Serialize};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What `http`, `server`, `location` and `if` may each set, and inherit as a whole from the
        /// block around them (nginx's rule: one value here hides all values there).
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        impl Settings {
            /// These settings with what they leave open taken from `outer`.
            pub(super) fn inherit_whole(&self, outer: &Settings) -> Settings {
                Settings { $($name: self.$name.clone().or_else(|| outer.$name.clone()),)* }
            }
        }
    };
}

settings! {
    /// `error_log` lines.
    error_log: Vec<ErrorLog>,
    /// `access_log` lines; empty is `off`.
    access_log: Vec<AccessLog>,
    /// `add_header` lines.
    add_header: Vec<AddHeader>,
    /// `add_trailer` lines.
    add_trailer: Vec<AddHeader>,
    /// `expires`.
    expires: Expires,
    /// `charset`; `off` is off.
    charset: Text,
    /// `charset_types`.
    charset_types: Vec<String>,
    /// `chunked_transfer_encoding`; default on.
    chunked_transfer_encoding: bool,
    /// `more_set_headers` and `more_clear_headers` lines.
    more_headers: Vec<MoreHeaders>,
    /// `more_set_input_headers` and `more_clear_input_headers` lines.
    more_input_headers: Vec<MoreHeaders>,
    /// `echo_before_body` lines.
    echo_before_body: Vec<EchoLine>,
    /// `echo_after_body` lines.
    echo_after_body: Vec<EchoLine>,
    /// `echo_status`; default 200.
    echo_status: u16,
    /// `allow` and `deny` lines.
    access: Vec<AccessRule>,
    /// `satisfy any`; default `all`.
    satisfy_any: bool,
    /// `auth_basic`, the realm; `off` is off.
    auth_basic: Text,
    /// `auth_basic_user_file`
    auth_basic_user_file: Text,
    /// `auth_request`, a URI; `off` is off.
    auth_request: String,
    /// `auth_request_set` lines.
    auth_request_set: Vec<AuthRequestSet>,
    /// `limit_req` lines.
    limit_req: Vec<LimitReq>,
    /// `limit_req_status`; default 503.
    limit_req_status: u16,
    /// `limit_req_log_level`, a number as of `error_log`; default 4, `error`.
    limit_req_log_level: u8,
    /// `limit_req_dry_run`; default off.
    limit_req_dry_run: bool,
    /// `limit_conn` lines.
    limit_conn: Vec<LimitConn>,
    /// `limit_conn_status`; default 503.
    limit_conn_status: u16,
    /// `limit_conn_log_level`, a number as of `error_log`; default 4, `error`.
    limit_conn_log_level: u8,
    /// `limit_conn_dry_run`; default off.
    limit_conn_dry_run: bool,
    /// `limit_rate`, bytes a second; default 0, no limit.
    limit_rate: Text,
    /// `limit_rate_after`, bytes; default 0.
    limit_rate_after: Text,
    /// `set_base32_padding`; default on.
    set_base32_padding: bool,
    /// `set_base32_alphabet`; default `0` to `9` and `a` to `v`.
    set_base32_alphabet: String,
    /// `error_page` lines.
    error_page: Vec<ErrorPage>,
    /// `default_type`; default `text/plain`.
    default_type: String,
    /// `server_tokens`; default on.
    server_tokens: ServerTokens,
    /// `server_identity` (ours): `moongate` (the default) or `nginx`, the name that the `Server`
    /// header and the built-in pages show.
    server_identity: String,
    /// `client_max_body_size`, bytes, 0 for no limit; default 1 MiB.
    client_max_body_size: SizeUnlimited,
    /// `client_body_buffer_size`, bytes; default 16 KiB: a larger body goes to a file.
    client_body_buffer_size: u64,
    /// `client_body_in_file_only`; default off.
    client_body_in_file_only: BodyInFile,
    /// `client_body_temp_path`; default `client_body_temp`.
    client_body_temp_path: String,
    /// `client_body_timeout`, milliseconds; default 60 s between two reads.
    client_body_timeout_ms: u64,
    /// `client_header_timeout`, milliseconds; default 60 s for the whole head.
    client_header_timeout_ms: u64,
    /// `client_header_buffer_size`, bytes; default 1 KiB (server level).
    client_header_buffer_size: u64,
    /// `large_client_header_buffers`; default 4 of 8 KiB (server level).
    large_client_header_buffers: LargeBuffers,
    /// `bare_lf_in_headers` (ours); default off (server level).
    bare_lf_in_headers: bool,
    /// `lingering_close`; default on.
    lingering_close: LingeringClose,
    /// `lingering_time`, milliseconds; default 30 s.
    lingering_time_ms: u64,
    /// `lingering_timeout`, milliseconds; default 5 s.
    lingering_timeout_ms: u64,
    /// `send_timeout`, milliseconds; default 60 s.
    send_timeout_ms: u64,
    /// `keepalive_timeout`, milliseconds; default 75 s; 0 closes after each answer.
    keepalive_timeout_ms: u64,
    /// The second value of `keepalive_timeout`: `Keep-Alive: timeout=` in seconds.
    keepalive_header_s: u64,
    /// `keepalive_requests`; default 1000.
    keepalive_requests: u64,
    /// `absolute_redirect`; default on.
    absolute_redirect: bool,
    /// `port_in_redirect`; default on.
    port_in_redirect: bool,
    /// `server_name_in_redirect`; default off.
    server_name_in_redirect: bool,
    /// `underscores_in_headers`; default off (server level).
    underscores_in_headers: bool,
    /// `merge_slashes`; default on (server level).
    merge_slashes: bool,
    /// `recursive_error_pages`; default off.
    recursive_error_pages: bool,
    /// `msie_padding`-like no-ops are notices; `log_not_found` is kept; default on.
    log_not_found: bool,
    /// `log_subrequest`; default off.
    log_subrequest: bool,
    /// `rewrite_log`; default off.
    rewrite_log: bool,
    /// `uninitialized_variable_warn`; default on.
    uninitialized_variable_warn: bool,
    /// `resolver`.
    resolver: Resolver,
    /// `resolver_timeout`, milliseconds; default 30 s.
    resolver_timeout_ms: u64,
    /// `lua_socket_connect_timeout`, milliseconds; default 60 s.
    lua_socket_connect_timeout_ms: u64,
    /// `lua_socket_send_timeout`, milliseconds; default 60 s.
    lua_socket_send_timeout_ms: u64,
    /// `lua_socket_read_timeout`, milliseconds; default 60 s.
    lua_socket_read_timeout_ms: u64,
    /// `lua_socket_keepalive_timeout`, milliseconds; default 60 s.
    lua_socket_keepalive_timeout_ms: u64,
    /// `lua_socket_buffer_size`, bytes; default 4 KiB.
    lua_socket_buffer_size: u64,
    /// `lua_socket_pool_size`; default 30.
    lua_socket_pool_size: usize,
    /// `lua_socket_log_errors`; default on.
    lua_socket_log_errors: bool,
    /// `lua_ssl_protocols`; default TLSv1 to TLSv1.2.
    lua_ssl_protocols: Vec<String>,
    /// `lua_ssl_ciphers`.
    lua_ssl_ciphers: String,
    /// `lua_ssl_trusted_certificate`; default the system's authorities.
    lua_ssl_trusted_certificate: String,
    /// `lua_ssl_crl`.
    lua_ssl_crl: String,
    /// `lua_ssl_verify_depth`; default 1.
    lua_ssl_verify_depth: u32,
    /// `lua_ssl_certificate`.
    lua_ssl_certificate: String,
    /// `lua_ssl_certificate_key`.
    lua_ssl_certificate_key: String,
    /// `root`; default `html`. The path of `alias`, where `alias` says so.
    root: Text,
    /// `root` is that of an `alias`.
    alias: Alias,
    /// `etag`; default on.
    etag: bool,
    /// `if_modified_since`; default `exact`.
    if_modified_since: IfModifiedSince,
    /// `max_ranges`; default no limit.
    max_ranges: u64,
    /// `proxy_force_ranges`; default off.
    proxy_force_ranges: bool,
    /// `index` files; default `index.html`.
    index: Vec<Text>,
    /// `proxy_set_header NAME VALUE` lines; default `Host $proxy_host` and `Connection close`.
    proxy_set_header: Vec<(String, Text)>,
    /// `proxy_hide_header` names.
    proxy_hide_header: Vec<String>,
    /// `proxy_pass_header` names.
    proxy_pass_header: Vec<String>,
    /// `proxy_http_version`: 10 (the default), 11 or 20.
    proxy_http_version: u8,
    /// `proxy_method`.
    proxy_method: Text,
    /// `proxy_connect_timeout`, milliseconds; default 60 s.
    proxy_connect_timeout_ms: u64,
    /// `proxy_send_timeout`, milliseconds; default 60 s.
    proxy_send_timeout_ms: u64,
    /// `proxy_read_timeout`, milliseconds; default 60 s.
    proxy_read_timeout_ms: u64,
    /// `proxy_next_upstream`; default `error timeout`.
    proxy_next_upstream: NextUpstream,
    /// `proxy_next_upstream_tries`; default 0, no limit.
    proxy_next_upstream_tries: u32,
    /// `proxy_next_upstream_timeout`, milliseconds; default 0, no limit.
    proxy_next_upstream_timeout_ms: u64,
    /// `proxy_intercept_errors`; default off.
    proxy_intercept_errors: bool,
    /// `proxy_pass_request_headers`; default on.
    proxy_pass_request_headers: bool,
    /// `proxy_pass_request_body`; default on.
    proxy_pass_request_body: bool,
    /// `proxy_buffering`; default on.
    proxy_buffering: bool,
    /// `proxy_buffer_size`, bytes; default 4k.
    proxy_buffer_size: usize,
    /// `proxy_buffers`, the bytes of all together; default 32k.
    proxy_buffers_bytes: usize,
    /// `proxy_request_buffering`; default on.
    proxy_request_buffering: bool,
    /// `proxy_ignore_client_abort`; default off.
    proxy_ignore_client_abort: bool,
    /// `proxy_bind`, an address; `off` is off.
    proxy_bind: Text,
    /// `proxy_ssl_server_name`; default off.
    proxy_ssl_server_name: bool,
    /// `proxy_ssl_name`; default `$proxy_host`.
    proxy_ssl_name: Text,
    /// `proxy_ssl_verify`; default off.
    proxy_ssl_verify: bool,
    /// `proxy_ssl_verify_depth`; default 1.
    proxy_ssl_verify_depth: u32,
    /// `proxy_ssl_trusted_certificate`, a file.
    proxy_ssl_trusted_certificate: PlacedText,
    /// `proxy_ssl_certificate`, a file.
    proxy_ssl_certificate: PlacedText,
    /// `proxy_ssl_certificate_key`, a file.
    proxy_ssl_certificate_key: PlacedText,
    /// `proxy_ssl_password_file`.
    proxy_ssl_password_file: PlacedText,
    /// `proxy_ssl_protocols`, in order; default 1.2 and 1.3.
    proxy_ssl_protocols: Vec<TlsVersion>,
    /// `proxy_ssl_ciphers`; default `DEFAULT`.
    proxy_ssl_ciphers: PlacedText,
    /// `proxy_ssl_session_reuse`; default on.
    proxy_ssl_session_reuse: bool,
    /// `grpc_set_header NAME VALUE` lines.
    grpc_set_header: Vec<(String, Text)>,
    /// `grpc_hide_header` names.
    grpc_hide_header: Vec<String>,
    /// `grpc_pass_header` names.
    grpc_pass_header: Vec<String>,
    /// `grpc_bind`, an address; `off` is off.
    grpc_bind: Text,
    /// `grpc_connect_timeout`, milliseconds; default 60 s.
    grpc_connect_timeout_ms: u64,
    /// `grpc_send_timeout`, milliseconds; default 60 s.
    grpc_send_timeout_ms: u64,
    /// `grpc_read_timeout`, milliseconds; default 60 s.
    grpc_read_timeout_ms: u64,
    /// `grpc_next_upstream`; default `error timeout`.
    grpc_next_upstream: NextUpstream,
    /// `grpc_next_upstream_tries`; default 0, no limit.
    grpc_next_upstream_tries: u32,
    /// `grpc_next_upstream_timeout`, milliseconds; default 0, no limit.
    grpc_next_upstream_timeout_ms: u64,
    /// `grpc_intercept_errors`; default off.
    grpc_intercept_errors: bool,
    /// `grpc_buffer_size`, bytes; default 4k.
    grpc_buffer_size: usize,
    /// `grpc_ssl_server_name`; default off.
    grpc_ssl_server_name: bool,
    /// `grpc_ssl_name`; default the name of `grpc_pass`.
    grpc_ssl_name: Text,
    /// `grpc_ssl_verify`; default off.
    grpc_ssl_verify: bool,
    /// `grpc_ssl_verify_depth`; default 1.
    grpc_ssl_verify_depth: u32,
    /// `grpc_ssl_trusted_certificate`, a file.
    grpc_ssl_trusted_certificate: PlacedText,
    /// `grpc_ssl_certificate`, a file.
    grpc_ssl_certificate: PlacedText,
    /// `grpc_ssl_certificate_key`, a file.
    grpc_ssl_certificate_key: PlacedText,
    /// `grpc_ssl_password_file`.
    grpc_ssl_password_file: PlacedText,
    /// `grpc_ssl_protocols`, in order; default 1.2 and 1.3.
    grpc_ssl_protocols: Vec<TlsVersion>,
    /// `grpc_ssl_ciphers`; default `DEFAULT`.
    grpc_ssl_ciphers: PlacedText,
    /// `grpc_ssl_session_reuse`; default on.
    grpc_ssl_session_reuse: bool,
    /// `ssl_certificate` files (server level, as all that begin with `ssl_`).
    ssl_certificate: Vec<PlacedText>,
    /// `ssl_certificate_key` files, one for each certificate.
    ssl_certificate_key: Vec<PlacedText>,
    /// `ssl_password_file`.
    ssl_password_file: PlacedText,
    /// `ssl_protocols`, in order; default 1.2 and 1.3.
    ssl_protocols: Vec<TlsVersion>,
    /// `ssl_ciphers`; default `HIGH:!aNULL:!MD5`.
    ssl_ciphers: PlacedText,
    /// `ssl_prefer_server_ciphers`; default off.
    ssl_prefer_server_ciphers: bool,
    /// `ssl_ecdh_curve`; default `auto`.
    ssl_ecdh_curve: PlacedText,
    /// `ssl_stapling`; default off.
    ssl_stapling: bool,
    /// `ssl_stapling_file`.
    ssl_stapling_file: PlacedText,
    /// `ssl_dhparam`, a file.
    ssl_dhparam: PlacedText,
    /// `ssl_session_cache`; default `none`.
    ssl_session_cache: SessionCache,
    /// `ssl_session_timeout`, milliseconds; default 5 minutes.
    ssl_session_timeout_ms: u64,
    /// `ssl_session_tickets`; default on.
    ssl_session_tickets: bool,
    /// `ssl_reject_handshake`; default off.
    ssl_reject_handshake: bool,
    /// `ssl_verify_client`; default off.
    ssl_verify_client: VerifyClient,
    /// `ssl_verify_depth`; default 1.
    ssl_verify_depth: u32,
    /// `ssl_client_certificate`, a file.
    ssl_client_certificate: PlacedText,
    /// `ssl_trusted_certificate`, a file.
    ssl_trusted_certificate: PlacedText,
    /// `http2`; default off (server level).
    http2: bool,
    /// `http2_max_concurrent_streams`; default 128 (server level).
    http2_max_concurrent_streams: u32,
    /// `memc_*`, a setting at a time.
    memc: MemcachedSettings,
    /// `memcached_*`, a setting at a time.
    memcached: MemcachedSettings,
    /// `proxy_redirect FROM TO` pairs; `None` in a pair is `default`; empty is `off`.
    proxy_redirect: Vec<Option<(Text, Text)>>,
    /// `server_rewrite_by_lua*`.
    server_rewrite_by_lua: Chunk,
    /// `rewrite_by_lua*`.
    rewrite_by_lua: Chunk,
    /// `access_by_lua*`.
    access_by_lua: Chunk,
    /// `header_filter_by_lua*`.
    header_filter_by_lua: Chunk,
    /// `body_filter_by_lua*`.
    body_filter_by_lua: Chunk,
    /// `log_by_lua*`.
    log_by_lua: Chunk,
    /// `lua_code_cache`; default on.
    lua_code_cache: bool,
    /// `lua_need_request_body`; default off.
    lua_need_request_body: bool,
    /// `lua_use_default_type`; default on.
    lua_use_default_type: bool,
    /// `lua_transform_underscores_in_response_headers`; default on.
    lua_transform_underscores_in_response_headers: bool,
    /// `ssl_client_hello_by_lua*`.
    ssl_client_hello_by_lua: Chunk,
    /// `ssl_certificate_by_lua*`.
    ssl_certificate_by_lua: Chunk,
    /// `lua_check_client_abort`; default off.
    lua_check_client_abort: bool,
    /// `lua_http10_buffering`; default on.
    lua_http10_buffering: bool,
}
