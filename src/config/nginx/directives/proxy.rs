//! `proxy_pass` and how requests are proxied.

use super::location::replace_content;
use super::upstream::peer_address;
use crate::config::model::{NextUpstream, PeerAddress, ProxyPass};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, LOCATION, LOCATION_IF, ONE, Scope, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "proxy_pass",
        LOCATION | LOCATION_IF,
        ONE,
        proxy_pass,
        "Where requests go: `http://UPSTREAM[/URI]` or `https://…`, variables allowed.",
    ),
    custom(
        "proxy_bind",
        HSL,
        Arity::Between(1, 2),
        bind,
        "The local address of connections to upstreams: `ADDRESS[:PORT]`, variables allowed, or \
         `off`.",
    ),
    custom(
        "proxy_set_header",
        HSL,
        Arity::Exactly(2),
        set_header,
        "A request header for the upstream; an empty value removes it.",
    ),
    custom("proxy_hide_header", HSL, ONE, hide_header, "A response header kept from clients."),
    custom("proxy_pass_header", HSL, ONE, pass_header, "A response header let through."),
    custom("proxy_http_version", HSL, ONE, http_version, "`1.0` (default), `1.1`, or `2`."),
    Directive::new(
        "proxy_method",
        HSL,
        ONE,
        Apply::Text(setting!(proxy_method)),
        "The method for the upstream.",
    ),
    millis(
        "proxy_connect_timeout",
        HSL,
        setting!(proxy_connect_timeout_ms),
        "The time to connect; default `60s`.",
    ),
    millis(
        "proxy_send_timeout",
        HSL,
        setting!(proxy_send_timeout_ms),
        "The time between two writes to the upstream; default `60s`.",
    ),
    millis(
        "proxy_read_timeout",
        HSL,
        setting!(proxy_read_timeout_ms),
        "The time between two reads from the upstream; default `60s`.",
    ),
    custom(
        "proxy_next_upstream",
        HSL,
        Arity::AtLeast(1),
        next_upstream,
        "When the next peer is tried: `error timeout invalid_header http_5xx http_403 http_404 \
         http_429 non_idempotent off`; default `error timeout`.",
    ),
    Directive::new(
        "proxy_next_upstream_tries",
        HSL,
        ONE,
        Apply::Number32(setting!(proxy_next_upstream_tries)),
        "Tries in all, 0 for no limit.",
    ),
    millis(
        "proxy_next_upstream_timeout",
        HSL,
        setting!(proxy_next_upstream_timeout_ms),
        "Time for all tries, 0 for no limit.",
    ),
    flag(
        "proxy_intercept_errors",
        HSL,
        setting!(proxy_intercept_errors),
        "Lets `error_page` replace an upstream's answers; default off.",
    ),
    flag(
        "proxy_pass_request_headers",
        HSL,
        setting!(proxy_pass_request_headers),
        "Sends the client's headers; default on.",
    ),
    flag(
        "proxy_pass_request_body",
        HSL,
        setting!(proxy_pass_request_body),
        "Sends the client's body; default on.",
    ),
    flag(
        "proxy_buffering",
        HSL,
        setting!(proxy_buffering),
        "Reads ahead of a slow client, `proxy_buffers` in memory and nothing in files; default on.",
    ),
    Directive::new(
        "proxy_buffer_size",
        HSL,
        ONE,
        Apply::Memory(setting!(proxy_buffer_size)),
        "The longest head of a response; default `4k`.",
    ),
    custom(
        "proxy_buffers",
        HSL,
        Arity::Exactly(2),
        buffers,
        "How much of a response is read ahead: a number, and a size; default `8 4k`.",
    ),
    flag(
        "proxy_request_buffering",
        HSL,
        setting!(proxy_request_buffering),
        "Reads a request body whole before it is sent; default on.",
    ),
    flag(
        "proxy_ignore_client_abort",
        HSL,
        setting!(proxy_ignore_client_abort),
        "Goes on when the client has left; default off.",
    ),
    custom(
        "proxy_redirect",
        HSL,
        Arity::Between(1, 2),
        redirect,
        "Changes `Location` and `Refresh` of answers: `default`, `off`, or `FROM TO`.",
    ),
];

fn buffers(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let number = units::number(node.arg(0)).and_then(|it| usize::try_from(it).ok());
    let size = units::bytes(node.arg(1)).and_then(|it| usize::try_from(it).ok());
    let all = number.zip(size).and_then(|(number, size)| number.checked_mul(size));
    match (number, all) {
        (Some(0 | 1), Some(_)) => lower.fault(node, "there must be at least 2 \"proxy_buffers\""),
        (_, Some(bytes)) if bytes > 0 => {
            lower.once(node, scope.settings().map(|it| &mut it.proxy_buffers_bytes), Some(bytes));
        }
        _ => lower.fault(node, "directive invalid value; write a number and a size: 8 4k"),
    }
}

fn proxy_pass(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let url = lower.text(node, node.arg(0));
    if let Err(message) = check_url(&url) {
        lower.fault(node, message);
    }
    let slot = match scope {
        Scope::Location(it) => &mut it.proxy_pass,
        Scope::LocationIf(it) => &mut it.proxy_pass,
        _ => return,
    };
    if let Some(lost) = slot.take_if(|it| it.is_bare()) {
        let message = format!(
            "\"proxy_pass\" answers here; \"{}\", written in {}, has no effect",
            lost.directive(),
            lost.at
        );
        lower.warning(node, message);
    }
    lower.once(
        node,
        Some(slot),
        Some(ProxyPass { at: node.at.clone(), url, grpc: false, memcached: None }),
    );
    replace_content(lower, scope, node);
}

/// Whether a URL can be proxied to, as far as it is known before its variables are.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    if url.contains('$') {
        return Ok(());
    }
    if behind_scheme(url).is_none() {
        let help = "it begins with http:// or https://";
        return Err(format!("invalid URL prefix in \"{url}\"; {help}"));
    }
    peer_address(authority(url)).map(|_| ())
}

/// The same of `grpc_pass` and `memc_pass`, which need no scheme and take no URI.
pub(super) fn check_grpc_url(url: &str) -> Result<(), String> {
    if url.contains('$') {
        return Ok(());
    }
    let rest = behind(&["grpc://", "grpcs://"], url).unwrap_or(url);
    peer_address(rest).map(|_| ())
}

/// What follows `http://` or `https://`, in any letter case.
fn behind_scheme(url: &str) -> Option<&str> {
    behind(&["http://", "https://"], url)
}

fn behind<'a>(schemes: &[&str], url: &'a str) -> Option<&'a str> {
    let length = schemes.iter().map(|it| it.len()).find(|length| {
        url.get(..*length).is_some_and(|it| schemes.contains(&&*it.to_ascii_lowercase()))
    })?;
    url.get(length..)
}

/// What stands between the scheme and the URI; for a unix socket `unix:PATH`.
fn authority(url: &str) -> &str {
    let rest = behind_scheme(url).unwrap_or_default();
    if let Some(path) = rest.strip_prefix("unix:") {
        let end = path.find(':').unwrap_or(path.len());
        return &rest[.."unix:".len() + end];
    }
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// The upstream that a URL without variables names, in lower case.
pub(super) fn static_upstream(pass: &ProxyPass) -> Option<String> {
    let url = pass.url.as_str();
    let authority = match pass.is_bare() {
        true => behind(&["grpc://", "grpcs://"], url).unwrap_or(url),
        false => authority(url),
    };
    match peer_address(authority) {
        Ok(PeerAddress::Host { .. }) if !url.contains('$') => Some(authority.to_owned()),
        _ => None,
    }
}

/// Whether `proxy_pass URL` replaces the URI: it has one, and no variables.
pub(super) fn has_uri(url: &str) -> bool {
    let rest = behind_scheme(url).unwrap_or_default();
    let rest = rest.strip_suffix(':').unwrap_or(rest);
    !url.contains('$') && rest.len() > authority(url).len()
}

fn bind(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(value) = local_address(lower, node) else { return };
    lower.once(node, scope.settings().map(|it| &mut it.proxy_bind), Some(value));
}

/// What `proxy_bind` and its kin name: the address that connections to peers come from, or `off`.
/// `None` if it is refused, which is told.
pub(super) fn local_address(lower: &mut Lower<'_>, node: &Node) -> Option<String> {
    let text = node.arg(0);
    if node.args.len() == 2 {
        match node.arg(1) {
            "transparent" => {
                let hint = "\"transparent\" would need root's rights for each connection";
                lower.unsupported(node, hint);
            }
            other => lower.fault(node, format!("invalid parameter \"{other}\"")),
        }
        return None;
    }
    if text != "off" && !text.contains('$') && units::local_address(text).is_none() {
        let help = "it is an IP address, with a port or without";
        lower.fault(node, format!("invalid address \"{text}\"; {help}"));
        return None;
    }
    Some(lower.text(node, text))
}

fn set_header(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = lower.text(node, node.arg(1));
    if let Some(settings) = scope.settings() {
        let list = settings.proxy_set_header.get_or_insert_with(Vec::new);
        list.push((node.arg(0).to_owned(), value));
    }
}

fn hide_header(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(settings) = scope.settings() {
        let list = settings.proxy_hide_header.get_or_insert_with(Vec::new);
        list.push(node.arg(0).to_owned());
    }
}

fn pass_header(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(settings) = scope.settings() {
        let list = settings.proxy_pass_header.get_or_insert_with(Vec::new);
        list.push(node.arg(0).to_owned());
    }
}

fn http_version(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "1.0" => 10,
        "1.1" => 11,
        "2" => 20,
        text => {
            let help = "it must be \"1.0\", \"1.1\" or \"2\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.proxy_http_version), Some(value));
}

fn next_upstream(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(next) = parse_next_upstream(lower, node) else { return };
    lower.once(node, scope.settings().map(|it| &mut it.proxy_next_upstream), Some(next));
}

/// The causes that a line names; `None` after a fault.
pub(super) fn parse_next_upstream(lower: &mut Lower<'_>, node: &Node) -> Option<NextUpstream> {
    let mut next = NextUpstream::default();
    for text in node.texts() {
        match text {
            "error" => next.error = true,
            "timeout" => next.timeout = true,
            "invalid_header" => next.invalid_header = true,
            "non_idempotent" => next.non_idempotent = true,
            "http_500" | "http_502" | "http_503" | "http_504" | "http_403" | "http_404"
            | "http_429" => next.statuses.extend(text[5..].parse::<u16>()),
            "updating" => {}
            "off" => next.off = true,
            _ => {
                lower.fault(node, format!("invalid value \"{text}\""));
                return None;
            }
        }
    }
    Some(next)
}

/// nginx's rules: `off` once and alone, `default` behind a `proxy_pass` without variables.
fn redirect(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let url = match scope {
        Scope::Location(it) => it.proxy_pass.as_ref().map(|it| it.url.clone()),
        _ => None,
    };
    let off = node.arg(0) == "off";
    let pair = match (node.arg(0), node.args.len()) {
        ("off", 1) => None,
        ("default", 1) => match url {
            None => {
                let place = "should be placed after the \"proxy_pass\" directive";
                return lower.fault(node, format!("\"proxy_redirect default\" {place}"));
            }
            Some(url) if url.contains('$') => {
                return lower.fault(
                    node,
                    "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with \
                     variables",
                );
            }
            Some(_) => None,
        },
        (text, 1) => {
            let help = "write off, default, or FROM TO";
            return lower.fault(node, format!("invalid parameter \"{text}\"; {help}"));
        }
        (from, _) => {
            let from = if from.starts_with('~') { from.to_owned() } else { lower.text(node, from) };
            Some((from, lower.text(node, node.arg(1))))
        }
    };
    let Some(settings) = scope.settings() else { return };
    match &mut settings.proxy_redirect {
        Some(list) if list.is_empty() || (off && node.args.len() == 1) => lower.duplicate(node),
        Some(list) => list.push(pair),
        slot if off && node.args.len() == 1 => *slot = Some(Vec::new()),
        slot => *slot = Some(vec![pair]),
    }
}
