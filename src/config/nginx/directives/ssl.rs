//! TLS and HTTP/2 towards clients: `ssl_*`, `http2`.

use crate::config::model::{PlacedText, SessionCache, TlsVersion, VerifyClient};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HTTP, ONE, SERVER, Scope, custom, flag, millis, setting, unsupported,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

/// Sessions of nginx's `builtin` cache that has no size.
const BUILTIN_SESSIONS: i32 = 20_480;
/// Sessions that nginx's manual promises a megabyte of a `shared` cache.
const SESSIONS_PER_MB: u64 = 4000;
/// The least size of nginx's `shared` cache: eight pages.
const LEAST_SHARED_BYTES: u64 = 8 * 4096;

const ASKS_NOBODY: &str = "no responder is asked: name a file in \"ssl_stapling_file\", or use \
    ngx.ocsp in ssl_certificate_by_lua*";

pub(super) const TABLE: &[Directive] = &[
    custom(
        "ssl_certificate",
        HTTP | SERVER,
        ONE,
        certificate,
        "A PEM file: the server's certificate, then those between it and the root; several \
         (RSA and ECDSA) may be given.",
    ),
    custom(
        "ssl_certificate_key",
        HTTP | SERVER,
        ONE,
        certificate_key,
        "The PEM file with the key of the certificate; one for each, in the same order.",
    ),
    placed(
        "ssl_password_file",
        setting!(ssl_password_file),
        "A file with passwords for keys, one a line.",
    ),
    custom(
        "ssl_protocols",
        HTTP | SERVER,
        Arity::AtLeast(1),
        protocols,
        "`TLSv1 TLSv1.1 TLSv1.2 TLSv1.3`; default `TLSv1.2 TLSv1.3`.",
    ),
    placed(
        "ssl_ciphers",
        setting!(ssl_ciphers),
        "Ciphers of TLS up to 1.2, in OpenSSL's words; default `HIGH:!aNULL:!MD5`.",
    ),
    flag(
        "ssl_prefer_server_ciphers",
        HTTP | SERVER,
        setting!(ssl_prefer_server_ciphers),
        "Our order of ciphers counts, not the client's; default off.",
    ),
    placed(
        "ssl_ecdh_curve",
        setting!(ssl_ecdh_curve),
        "Groups for the key exchange, with `:` between; default `auto`.",
    ),
    flag(
        "ssl_stapling",
        HTTP | SERVER,
        setting!(ssl_stapling),
        "Shows clients the response of `ssl_stapling_file`, which it needs; default off.",
    ),
    placed(
        "ssl_stapling_file",
        setting!(ssl_stapling_file),
        "A DER file: an OCSP response for the certificate, read with the configuration.",
    ),
    unsupported("ssl_stapling_responder", ASKS_NOBODY),
    placed(
        "ssl_dhparam",
        setting!(ssl_dhparam),
        "A PEM file with parameters for DHE ciphers; without it there are none.",
    ),
    custom(
        "ssl_session_cache",
        HTTP | SERVER,
        Arity::Between(1, 2),
        session_cache,
        "`off`, `none` (default), `builtin[:SESSIONS]` or `shared:NAME:SIZE`; either is shared by \
         all workers.",
    ),
    millis(
        "ssl_session_timeout",
        HTTP | SERVER,
        setting!(ssl_session_timeout_ms),
        "How long a session can be resumed; default `5m`.",
    ),
    flag(
        "ssl_session_tickets",
        HTTP | SERVER,
        setting!(ssl_session_tickets),
        "Lets clients keep sessions in tickets; default on.",
    ),
    flag(
        "ssl_reject_handshake",
        HTTP | SERVER,
        setting!(ssl_reject_handshake),
        "Refuses TLS for the names of this server; default off.",
    ),
    custom(
        "ssl_verify_client",
        HTTP | SERVER,
        ONE,
        verify_client,
        "Client certificates: `on`, `off` (default), `optional` or `optional_no_ca`.",
    ),
    Directive::new(
        "ssl_verify_depth",
        HTTP | SERVER,
        ONE,
        Apply::Number32(setting!(ssl_verify_depth)),
        "Certificates between a client's and the root; default 1.",
    ),
    placed(
        "ssl_client_certificate",
        setting!(ssl_client_certificate),
        "A PEM file: who may sign client certificates; their names are sent to clients.",
    ),
    placed(
        "ssl_trusted_certificate",
        setting!(ssl_trusted_certificate),
        "The same, and the names are not sent.",
    ),
    flag(
        "http2",
        HTTP | SERVER,
        setting!(http2),
        "HTTP/2: over TLS by ALPN, else by prior knowledge; default off.",
    ),
    Directive::new(
        "http2_max_concurrent_streams",
        HTTP | SERVER,
        ONE,
        Apply::Number32(setting!(http2_max_concurrent_streams)),
        "Requests at a time on one HTTP/2 connection; default 128.",
    ),
];

/// A row for a word that is looked at when the snapshot is built.
const fn placed(
    name: &'static str,
    slot: crate::config::nginx::directive::Slot<PlacedText>,
    doc: &'static str,
) -> Directive {
    Directive::new(name, HTTP | SERVER, ONE, Apply::Placed(slot), doc)
}

fn certificate(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let file = file(lower, node);
    if let Some(settings) = scope.settings() {
        settings.ssl_certificate.get_or_insert_default().push(file);
    }
}

fn certificate_key(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let file = file(lower, node);
    if let Some(settings) = scope.settings() {
        settings.ssl_certificate_key.get_or_insert_default().push(file);
    }
}

/// A file that must be known before there is a client.
fn file(lower: &mut Lower<'_>, node: &Node) -> PlacedText {
    let text = node.arg(0).to_owned();
    if text.contains('$') {
        lower.fault(node, format!("variables in \"{}\" are not supported", node.name));
    }
    if text.starts_with("engine:") || text.starts_with("data:") {
        lower.fault(node, format!("\"{text}\" is not supported; write the name of a file"));
    }
    PlacedText { at: node.at.clone(), text }
}

fn protocols(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let versions = versions(lower, node);
    lower.once(node, scope.settings().map(|it| &mut it.ssl_protocols), Some(versions));
}

/// The versions that `node` names. SSL's are accepted, as nginx does, and never spoken.
pub(super) fn versions(lower: &mut Lower<'_>, node: &Node) -> Vec<TlsVersion> {
    let mut versions = Vec::new();
    for text in node.texts() {
        match text.to_ascii_lowercase().as_str() {
            "tlsv1" => versions.push(TlsVersion::Tls10),
            "tlsv1.1" => versions.push(TlsVersion::Tls11),
            "tlsv1.2" => versions.push(TlsVersion::Tls12),
            "tlsv1.3" => versions.push(TlsVersion::Tls13),
            "sslv2" | "sslv3" => {
                lower.warning(node, format!("\"{text}\" has no effect: OpenSSL has it no more"));
            }
            _ => lower.fault(node, format!("invalid value \"{text}\"")),
        }
    }
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// nginx's `ngx_http_ssl_session_cache`; of two values the second, `shared`, is the one used.
fn session_cache(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut value = None;
    for text in node.texts() {
        match parse_cache(text) {
            Ok(cache) => value = Some(cache),
            Err(message) => return lower.fault(node, message),
        }
    }
    lower.once(node, scope.settings().map(|it| &mut it.ssl_session_cache), value);
}

fn parse_cache(text: &str) -> Result<SessionCache, String> {
    let invalid = || format!("invalid session cache \"{text}\"");
    let mut parts = text.split(':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("off"), None, ..) => Ok(SessionCache::Off),
        (Some("none"), None, ..) => Ok(SessionCache::None),
        (Some("builtin"), None, ..) => Ok(SessionCache::Sessions(BUILTIN_SESSIONS)),
        (Some("builtin"), Some(count), None, _) => {
            let count = units::number(count).and_then(|it| i32::try_from(it).ok());
            count.filter(|it| *it > 0).map(SessionCache::Sessions).ok_or_else(invalid)
        }
        (Some("shared"), Some(name), Some(size), None) if !name.is_empty() => {
            let bytes = units::bytes(size).ok_or_else(invalid)?;
            if bytes < LEAST_SHARED_BYTES {
                return Err(format!("session cache \"{text}\" is too small"));
            }
            let sessions = (bytes.saturating_mul(SESSIONS_PER_MB) >> 20).max(1);
            Ok(SessionCache::Sessions(i32::try_from(sessions).unwrap_or(i32::MAX)))
        }
        _ => Err(invalid()),
    }
}

fn verify_client(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "off" => VerifyClient::Off,
        "on" => VerifyClient::On,
        "optional" => VerifyClient::Optional,
        "optional_no_ca" => VerifyClient::OptionalNoCa,
        text => {
            let help = "it must be \"off\", \"on\", \"optional\" or \"optional_no_ca\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.ssl_verify_client), Some(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_caches_hold_as_many_as_nginx_s() {
        assert_eq!(parse_cache("builtin"), Ok(SessionCache::Sessions(20_480)));
        assert_eq!(parse_cache("builtin:5"), Ok(SessionCache::Sessions(5)));
        assert_eq!(parse_cache("shared:a:10m"), Ok(SessionCache::Sessions(40_000)));
        assert_eq!(parse_cache("shared:a:32k"), Ok(SessionCache::Sessions(125)));
        for text in ["", "on", "builtin:0", "builtin:x", "shared:a", "shared::1m", "none:1"] {
            assert!(parse_cache(text).is_err(), "{text}");
        }
    }
}
