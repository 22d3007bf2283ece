//! TLS towards upstreams: `proxy_ssl_*`.

use super::ssl::versions;
use crate::config::model::PlacedText;
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, ONE, Scope, Slot, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

pub(super) const TABLE: &[Directive] = &[
    flag(
        "proxy_ssl_server_name",
        HSL,
        setting!(proxy_ssl_server_name),
        "Tells the upstream by SNI which name is meant; default off.",
    ),
    Directive::new(
        "proxy_ssl_name",
        HSL,
        ONE,
        Apply::Text(setting!(proxy_ssl_name)),
        "The name for SNI and verification; default `$proxy_host`.",
    ),
    flag(
        "proxy_ssl_verify",
        HSL,
        setting!(proxy_ssl_verify),
        "Verifies the upstream's certificate; default off.",
    ),
    Directive::new(
        "proxy_ssl_verify_depth",
        HSL,
        ONE,
        Apply::Number32(setting!(proxy_ssl_verify_depth)),
        "Certificates between an upstream's and the root; default 1.",
    ),
    placed(
        "proxy_ssl_trusted_certificate",
        setting!(proxy_ssl_trusted_certificate),
        "A PEM file: who may sign upstreams' certificates.",
    ),
    placed("proxy_ssl_certificate", setting!(proxy_ssl_certificate), "Our certificate, PEM."),
    placed("proxy_ssl_certificate_key", setting!(proxy_ssl_certificate_key), "Its key, PEM."),
    placed(
        "proxy_ssl_password_file",
        setting!(proxy_ssl_password_file),
        "A file with passwords for the key, one a line.",
    ),
    custom(
        "proxy_ssl_protocols",
        HSL,
        Arity::AtLeast(1),
        protocols,
        "`TLSv1 TLSv1.1 TLSv1.2 TLSv1.3`; default `TLSv1.2 TLSv1.3`.",
    ),
    placed(
        "proxy_ssl_ciphers",
        setting!(proxy_ssl_ciphers),
        "Ciphers of TLS up to 1.2, in OpenSSL's words; default `DEFAULT`.",
    ),
    flag(
        "proxy_ssl_session_reuse",
        HSL,
        setting!(proxy_ssl_session_reuse),
        "Resumes sessions with upstreams; default on.",
    ),
];

/// A row for a word that is looked at when the snapshot is built.
const fn placed(name: &'static str, slot: Slot<PlacedText>, doc: &'static str) -> Directive {
    Directive::new(name, HSL, ONE, Apply::Placed(slot), doc)
}

fn protocols(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let versions = versions(lower, node);
    lower.once(node, scope.settings().map(|it| &mut it.proxy_ssl_protocols), Some(versions));
}
