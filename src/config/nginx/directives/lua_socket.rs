//! lua-nginx-module's directives for sockets of scripts.

use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, HSLI, ONE, Scope, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

const PROTOCOLS: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

pub(super) const TABLE: &[Directive] = &[
    millis(
        "lua_socket_connect_timeout",
        HSLI,
        setting!(lua_socket_connect_timeout_ms),
        "How long a cosocket connects; default `60s`.",
    ),
    millis(
        "lua_socket_send_timeout",
        HSLI,
        setting!(lua_socket_send_timeout_ms),
        "Between two writes of a cosocket; default `60s`.",
    ),
    millis(
        "lua_socket_read_timeout",
        HSLI,
        setting!(lua_socket_read_timeout_ms),
        "Between two reads of a cosocket; default `60s`.",
    ),
    millis(
        "lua_socket_keepalive_timeout",
        HSLI,
        setting!(lua_socket_keepalive_timeout_ms),
        "How long a connection stays in its pool; 0 for ever; default `60s`.",
    ),
    Directive::new(
        "lua_socket_buffer_size",
        HSLI,
        ONE,
        Apply::Size(setting!(lua_socket_buffer_size)),
        "Bytes that a cosocket reads at a time; default `4k`.",
    ),
    Directive::new(
        "lua_socket_pool_size",
        HSLI,
        ONE,
        Apply::Count(setting!(lua_socket_pool_size)),
        "Idle connections of a pool, in each worker; default 30.",
    ),
    flag(
        "lua_socket_log_errors",
        HSLI,
        setting!(lua_socket_log_errors),
        "Errors of cosockets are logged; default on.",
    ),
    custom(
        "lua_ssl_protocols",
        HSL,
        Arity::AtLeast(1),
        protocols,
        "What `sslhandshake` speaks; default `TLSv1 TLSv1.1 TLSv1.2`.",
    ),
    Directive::new(
        "lua_ssl_ciphers",
        HSL,
        ONE,
        Apply::Word(setting!(lua_ssl_ciphers)),
        "What `sslhandshake` offers, as OpenSSL writes it.",
    ),
    Directive::new(
        "lua_ssl_trusted_certificate",
        HSL,
        ONE,
        Apply::Word(setting!(lua_ssl_trusted_certificate)),
        "The authorities that `sslhandshake` trusts; default the system's.",
    ),
    Directive::new(
        "lua_ssl_crl",
        HSL,
        ONE,
        Apply::Word(setting!(lua_ssl_crl)),
        "Certificates that `sslhandshake` refuses.",
    ),
    Directive::new(
        "lua_ssl_verify_depth",
        HSL,
        ONE,
        Apply::Number32(setting!(lua_ssl_verify_depth)),
        "How long the chain to an authority may be; default 1.",
    ),
    Directive::new(
        "lua_ssl_certificate",
        HSL,
        ONE,
        Apply::Word(setting!(lua_ssl_certificate)),
        "What `sslhandshake` shows for itself.",
    ),
    Directive::new(
        "lua_ssl_certificate_key",
        HSL,
        ONE,
        Apply::Word(setting!(lua_ssl_certificate_key)),
        "The key of that certificate.",
    ),
];

fn protocols(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let words: Vec<String> = node.texts().map(str::to_owned).collect();
    if let Some(word) = words.iter().find(|it| !PROTOCOLS.contains(&it.as_str())) {
        return lower.fault(node, format!("invalid value \"{word}\""));
    }
    lower.once(node, scope.settings().map(|it| &mut it.lua_ssl_protocols), Some(words));
}
