//! `http` itself, and the settings that http, server and location share.

use crate::config::model::{Resolver, ServerTokens};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, HTTP, ONE, SERVER, Scope, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::{Body, Node};
use crate::config::units;
use std::net::{IpAddr, SocketAddr};

pub(super) const TABLE: &[Directive] = &[
    custom("types", HSL, Arity::Exactly(0), types, "Extensions and their content types.").block(),
    Directive::new(
        "default_type",
        HSL,
        ONE,
        Apply::Word(setting!(default_type)),
        "The content type of what has no other; default `text/plain`.",
    ),
    custom("server_tokens", HSL, ONE, server_tokens, "`on`, `off` or `build`; default `on`."),
    custom(
        "server_identity",
        HSL,
        ONE,
        server_identity,
        "The name in `Server` and on error pages: `moongate` (default) or `nginx`.",
    )
    .ours(),
    Directive::new(
        "client_max_body_size",
        HSL,
        ONE,
        Apply::Size(setting!(client_max_body_size)),
        "The largest request body, 0 for no limit; default `1m`.",
    ),
    Directive::new(
        "client_body_buffer_size",
        HSL,
        ONE,
        Apply::Size(setting!(client_body_buffer_size)),
        "A larger body goes to a file; default `16k`.",
    ),
    Directive::new(
        "client_body_temp_path",
        HSL,
        Arity::Between(1, 4),
        Apply::Word(setting!(client_body_temp_path)),
        "Where such files go; default `client_body_temp`.",
    ),
    millis(
        "client_body_timeout",
        HSL,
        setting!(client_body_timeout_ms),
        "The time between two reads of a body; default `60s`.",
    ),
    millis(
        "client_header_timeout",
        HTTP | SERVER,
        setting!(client_header_timeout_ms),
        "The time for the whole request head; default `60s`.",
    ),
    millis(
        "send_timeout",
        HSL,
        setting!(send_timeout_ms),
        "The time between two writes to the client; default `60s`.",
    ),
    custom(
        "keepalive_timeout",
        HSL,
        Arity::Between(1, 2),
        keepalive_timeout,
        "How long an idle client connection is kept, and the `Keep-Alive` header; default `75s`.",
    ),
    Directive::new(
        "keepalive_requests",
        HSL,
        ONE,
        Apply::Number(setting!(keepalive_requests)),
        "Requests on one client connection; default 1000.",
    ),
    flag("absolute_redirect", HSL, setting!(absolute_redirect), "Default on."),
    flag("port_in_redirect", HSL, setting!(port_in_redirect), "Default on."),
    flag("server_name_in_redirect", HSL, setting!(server_name_in_redirect), "Default off."),
    flag(
        "underscores_in_headers",
        HTTP | SERVER,
        setting!(underscores_in_headers),
        "Keeps request headers with underscores; default off.",
    ),
    flag(
        "merge_slashes",
        HTTP | SERVER,
        setting!(merge_slashes),
        "Makes one slash of many in a path; default on.",
    ),
    flag(
        "recursive_error_pages",
        HSL,
        setting!(recursive_error_pages),
        "Lets an error page have an error page; default off.",
    ),
    flag("log_not_found", HSL, setting!(log_not_found), "Logs files not found; default on."),
    flag("log_subrequest", HSL, setting!(log_subrequest), "Default off."),
    custom(
        "resolver",
        HSL,
        Arity::AtLeast(1),
        resolver,
        "Name servers for names in variables: `ADDRESS… [valid=TIME] [ipv4=on|off] [ipv6=on|off]`.",
    ),
    millis("resolver_timeout", HSL, setting!(resolver_timeout_ms), "Default `30s`."),
];

/// Both `types` of `http` and those of inner levels, which replace them there.
fn types(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Http(http) = scope else {
        let message = "\"types\" is supported in http only by this version of Moongate";
        return lower.fault(node, message);
    };
    let table = http.types.get_or_insert_with(Vec::new);
    for line in node.children() {
        if line.body != Body::None {
            lower.fault(line, "unexpected \"{\" in types; it holds lines of TYPE EXTENSION…");
            continue;
        }
        for extension in line.texts() {
            let extension = extension.to_ascii_lowercase();
            if let Some(known) = table.iter_mut().find(|it| it.0 == extension) {
                let message = format!(
                    "duplicate extension \"{extension}\", content type: \"{}\", previous content \
                     type: \"{}\"",
                    line.name, known.1
                );
                known.1.clone_from(&line.name);
                lower.warning(line, message);
            } else {
                table.push((extension, line.name.clone()));
            }
        }
    }
}

fn server_tokens(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "on" => ServerTokens::On,
        "off" => ServerTokens::Off,
        "build" => ServerTokens::Build,
        text => {
            let help = "it must be \"on\", \"off\" or \"build\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.server_tokens), Some(value));
}

fn server_identity(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let name = node.arg(0);
    if !matches!(name, "moongate" | "nginx") {
        let help = "it must be \"moongate\" or \"nginx\"";
        return lower.fault(node, format!("invalid value \"{name}\"; {help}"));
    }
    lower.once(node, scope.settings().map(|it| &mut it.server_identity), Some(name.to_owned()));
}

fn keepalive_timeout(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(settings) = scope.settings() else { return };
    let header = match node.args.get(1) {
        Some(word) => units::seconds(&word.text).map(|ms| Some(ms / 1000)),
        None => Some(None),
    };
    let (Some(timeout), Some(header)) = (units::millis(node.arg(0)), header) else {
        let help = "it takes times such as 75s";
        return lower.fault(node, format!("\"keepalive_timeout\" directive invalid value; {help}"));
    };
    if settings.keepalive_timeout_ms.is_some() {
        return lower.duplicate(node);
    }
    settings.keepalive_timeout_ms = Some(timeout);
    settings.keepalive_header_s = header;
}

fn resolver(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut resolver =
        Resolver { at: node.at.clone(), ipv6: true, ipv4: true, ..Resolver::default() };
    for text in node.texts() {
        match text.split_once('=') {
            Some(("valid", time)) => match units::seconds(time) {
                Some(time) => resolver.valid_ms = Some(time),
                None => return lower.fault(node, format!("invalid parameter: {text}")),
            },
            Some((family @ ("ipv4" | "ipv6"), value)) => {
                let Some(on) = units::switch(value) else {
                    return lower.fault(node, format!("invalid parameter: {text}"));
                };
                *(if family == "ipv4" { &mut resolver.ipv4 } else { &mut resolver.ipv6 }) = on;
            }
            Some(("status_zone", _)) => {}
            Some(("local", "on")) => resolver.servers.push("local".to_owned()),
            Some(("local", "off")) => {}
            _ => match name_server(text) {
                Some(server) => resolver.servers.push(server),
                None => {
                    let help = "a name server is an IP address with an optional port";
                    return lower.fault(node, format!("invalid resolver \"{text}\"; {help}"));
                }
            },
        }
    }
    if resolver.servers.is_empty() {
        return lower.fault(node, "no name servers defined");
    }
    if !resolver.ipv4 && !resolver.ipv6 {
        return lower.fault(node, "\"ipv4\" and \"ipv6\" cannot both be \"off\"");
    }
    lower.once(node, scope.settings().map(|it| &mut it.resolver), Some(resolver));
}

/// `IP`, `IP:PORT`, `[V6]` or `[V6]:PORT`, the port kept only where it was written.
fn name_server(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|it| it.to_string()).ok();
    address.or_else(|| text.parse::<SocketAddr>().map(|it| it.to_string()).ok())
}
