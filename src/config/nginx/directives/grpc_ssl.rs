//! TLS towards gRPC servers: `grpc_ssl_*`, each as its namesake under `proxy_ssl_*`.

use super::ssl::versions;
use crate::config::model::PlacedText;
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, ONE, Scope, Slot, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

pub(super) const TABLE: &[Directive] = &[
    flag(
        "grpc_ssl_server_name",
        HSL,
        setting!(grpc_ssl_server_name),
        "Tells the server by SNI which name is meant; default off.",
    ),
    Directive::new(
        "grpc_ssl_name",
        HSL,
        ONE,
        Apply::Text(setting!(grpc_ssl_name)),
        "The name for SNI and verification; default the name of `grpc_pass`.",
    ),
    flag(
        "grpc_ssl_verify",
        HSL,
        setting!(grpc_ssl_verify),
        "Verifies the server's certificate; default off.",
    ),
    Directive::new(
        "grpc_ssl_verify_depth",
        HSL,
        ONE,
        Apply::Number32(setting!(grpc_ssl_verify_depth)),
        "Certificates between a server's and the root; default 1.",
    ),
    placed(
        "grpc_ssl_trusted_certificate",
        setting!(grpc_ssl_trusted_certificate),
        "A PEM file: who may sign servers' certificates.",
    ),
    placed("grpc_ssl_certificate", setting!(grpc_ssl_certificate), "Our certificate, PEM."),
    placed("grpc_ssl_certificate_key", setting!(grpc_ssl_certificate_key), "Its key, PEM."),
    placed(
        "grpc_ssl_password_file",
        setting!(grpc_ssl_password_file),
        "A file with passwords for the key, one a line.",
    ),
    custom(
        "grpc_ssl_protocols",
        HSL,
        Arity::AtLeast(1),
        protocols,
        "`TLSv1 TLSv1.1 TLSv1.2 TLSv1.3`; default `TLSv1.2 TLSv1.3`.",
    ),
    placed(
        "grpc_ssl_ciphers",
        setting!(grpc_ssl_ciphers),
        "Ciphers of TLS up to 1.2, in OpenSSL's words; default `DEFAULT`.",
    ),
    flag(
        "grpc_ssl_session_reuse",
        HSL,
        setting!(grpc_ssl_session_reuse),
        "Resumes sessions with servers; default on.",
    ),
];

/// A row for a word that is looked at when the snapshot is built.
const fn placed(name: &'static str, slot: Slot<PlacedText>, doc: &'static str) -> Directive {
    Directive::new(name, HSL, ONE, Apply::Placed(slot), doc)
}

fn protocols(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let versions = versions(lower, node);
    lower.once(node, scope.settings().map(|it| &mut it.grpc_ssl_protocols), Some(versions));
}
