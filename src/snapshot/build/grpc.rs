//! `grpc_*` as what they are: the settings of proxying, under names of their own.

use crate::config::model::Settings;

/// What `settings` say of a location with `grpc_pass`, as `proxy_*` would say it. A call is passed
/// on as it comes, in both directions.
pub(super) fn as_proxy(settings: &Settings) -> Settings {
    let it = settings.clone();
    Settings {
        proxy_http_version: Some(20),
        proxy_set_header: it.grpc_set_header,
        proxy_hide_header: it.grpc_hide_header,
        proxy_pass_header: it.grpc_pass_header,
        proxy_method: None,
        proxy_bind: it.grpc_bind,
        proxy_connect_timeout_ms: it.grpc_connect_timeout_ms,
        proxy_send_timeout_ms: it.grpc_send_timeout_ms,
        proxy_read_timeout_ms: it.grpc_read_timeout_ms,
        proxy_next_upstream: it.grpc_next_upstream,
        proxy_next_upstream_tries: it.grpc_next_upstream_tries,
        proxy_next_upstream_timeout_ms: it.grpc_next_upstream_timeout_ms,
        proxy_intercept_errors: it.grpc_intercept_errors,
        proxy_pass_request_headers: None,
        proxy_pass_request_body: None,
        proxy_buffering: Some(false),
        proxy_buffer_size: it.grpc_buffer_size,
        proxy_buffers_bytes: None,
        proxy_request_buffering: Some(false),
        proxy_ignore_client_abort: None,
        proxy_redirect: Some(Vec::new()),
        proxy_ssl_server_name: it.grpc_ssl_server_name,
        proxy_ssl_name: it.grpc_ssl_name,
        proxy_ssl_verify: it.grpc_ssl_verify,
        proxy_ssl_verify_depth: it.grpc_ssl_verify_depth,
        proxy_ssl_trusted_certificate: it.grpc_ssl_trusted_certificate,
        proxy_ssl_certificate: it.grpc_ssl_certificate,
        proxy_ssl_certificate_key: it.grpc_ssl_certificate_key,
        proxy_ssl_password_file: it.grpc_ssl_password_file,
        proxy_ssl_protocols: it.grpc_ssl_protocols,
        proxy_ssl_ciphers: it.grpc_ssl_ciphers,
        proxy_ssl_session_reuse: it.grpc_ssl_session_reuse,
        ..settings.clone()
    }
}
