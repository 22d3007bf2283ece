//! `grpc_pass` and how gRPC is proxied: `grpc_*`, TLS apart.

use super::location::replace_content;
use super::proxy::{check_grpc_url, local_address, parse_next_upstream};
use crate::config::model::ProxyPass;
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, LOCATION, LOCATION_IF, ONE, Scope, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "grpc_pass",
        LOCATION | LOCATION_IF,
        ONE,
        grpc_pass,
        "Where gRPC calls go, by HTTP/2: `[grpc://]UPSTREAM` or, by TLS, `grpcs://…`; variables \
         allowed.",
    ),
    custom(
        "grpc_set_header",
        HSL,
        Arity::Exactly(2),
        set_header,
        "Metadata or a header for the gRPC server; an empty value removes it.",
    ),
    custom("grpc_hide_header", HSL, ONE, hide_header, "A response header kept from clients."),
    custom("grpc_pass_header", HSL, ONE, pass_header, "A response header let through."),
    custom(
        "grpc_bind",
        HSL,
        Arity::Between(1, 2),
        bind,
        "The local address of connections to gRPC servers: `ADDRESS[:PORT]`, variables allowed, or \
         `off`.",
    ),
    millis(
        "grpc_connect_timeout",
        HSL,
        setting!(grpc_connect_timeout_ms),
        "The time to connect; default `60s`.",
    ),
    millis(
        "grpc_send_timeout",
        HSL,
        setting!(grpc_send_timeout_ms),
        "The time in which the server takes something of the request; default `60s`.",
    ),
    millis(
        "grpc_read_timeout",
        HSL,
        setting!(grpc_read_timeout_ms),
        "The time between two messages or heads of the server; default `60s`.",
    ),
    custom(
        "grpc_next_upstream",
        HSL,
        Arity::AtLeast(1),
        next_upstream,
        "When the next peer is tried, as `proxy_next_upstream`; default `error timeout`. A call \
         that the server says it has not begun is always one that may be sent again.",
    ),
    Directive::new(
        "grpc_next_upstream_tries",
        HSL,
        ONE,
        Apply::Number32(setting!(grpc_next_upstream_tries)),
        "Tries in all, 0 for no limit.",
    ),
    millis(
        "grpc_next_upstream_timeout",
        HSL,
        setting!(grpc_next_upstream_timeout_ms),
        "Time for all tries, 0 for no limit.",
    ),
    flag(
        "grpc_intercept_errors",
        HSL,
        setting!(grpc_intercept_errors),
        "Lets `error_page` replace a server's answers by their HTTP status; default off.",
    ),
    Directive::new(
        "grpc_buffer_size",
        HSL,
        ONE,
        Apply::Memory(setting!(grpc_buffer_size)),
        "The longest head of a response, unpacked; default `4k`.",
    ),
];

fn grpc_pass(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let url = lower.text(node, node.arg(0));
    if let Err(message) = check_grpc_url(&url) {
        lower.fault(node, message);
    }
    let slot = match scope {
        Scope::Location(it) => &mut it.proxy_pass,
        Scope::LocationIf(it) => &mut it.proxy_pass,
        _ => return,
    };
    // Behind a `proxy_pass` it is another handler, and the last one counts.
    if slot.as_ref().is_some_and(|it| it.grpc) {
        return lower.duplicate(node);
    }
    replace_content(lower, scope, node);
    let pass = ProxyPass { at: node.at.clone(), url, grpc: true, memcached: None };
    match scope {
        Scope::Location(it) => it.proxy_pass = Some(pass),
        Scope::LocationIf(it) => it.proxy_pass = Some(pass),
        _ => {}
    }
}

fn bind(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(value) = local_address(lower, node) else { return };
    lower.once(node, scope.settings().map(|it| &mut it.grpc_bind), Some(value));
}

fn set_header(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = lower.text(node, node.arg(1));
    if let Some(settings) = scope.settings() {
        let list = settings.grpc_set_header.get_or_insert_with(Vec::new);
        list.push((node.arg(0).to_owned(), value));
    }
}

fn hide_header(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(settings) = scope.settings() {
        settings.grpc_hide_header.get_or_insert_with(Vec::new).push(node.arg(0).to_owned());
    }
}

fn pass_header(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(settings) = scope.settings() {
        settings.grpc_pass_header.get_or_insert_with(Vec::new).push(node.arg(0).to_owned());
    }
}

fn next_upstream(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if node.texts().any(|it| it == "updating") {
        return lower.fault(node, "invalid value \"updating\"");
    }
    let Some(next) = parse_next_upstream(lower, node) else { return };
    lower.once(node, scope.settings().map(|it| &mut it.grpc_next_upstream), Some(next));
}
