//! `memc_pass` with ngx_memc's directives, and nginx's own `memcached_pass` with `memcached_*`.

use super::location::replace_content;
use super::proxy::{check_grpc_url, local_address};
use crate::config::model::{Memcached, NextUpstream, ProxyPass};
use crate::config::nginx::directive::{
    Apply, Arity, Contexts, Directive, HSL, HSLI, LOCATION, LOCATION_IF, ONE, Scope, Slot, custom,
    flag, millis, off_only,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

/// Where a setting of one of the two families is kept.
macro_rules! kept {
    ($family:ident.$field:ident) => {
        |scope| {
            let settings = scope.settings()?;
            Some(&mut settings.$family.get_or_insert_default().$field)
        }
    };
}

const IN_LOCATION: Contexts = LOCATION | LOCATION_IF;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "memc_pass",
        IN_LOCATION,
        ONE,
        memc_pass,
        "A memcached that is asked with all its commands, by ngx_memc's `$memc_cmd`, `$memc_key`, \
         `$memc_value` (or the body), `$memc_flags` and `$memc_exptime`: an upstream's name or \
         `ADDRESS:PORT`, variables allowed.",
    ),
    custom(
        "memc_cmds_allowed",
        HSLI,
        Arity::AtLeast(1),
        commands,
        "The commands that may be sent; others are answered 403. Default all.",
    ),
    timeout("memc_connect_timeout", kept!(memc.connect_timeout_ms), CONNECT),
    timeout("memc_send_timeout", kept!(memc.send_timeout_ms), SEND),
    timeout("memc_read_timeout", kept!(memc.read_timeout_ms), READ),
    Directive::new("memc_buffer_size", HSL, ONE, Apply::Memory(kept!(memc.buffer_size)), BUFFER),
    custom("memc_next_upstream", HSL, Arity::AtLeast(1), memc_next_upstream, NEXT),
    flag(
        "memc_flags_to_last_modified",
        IN_LOCATION,
        kept!(memc.flags_to_last_modified),
        "A value's flags are the seconds of its `Last-Modified`; default off.",
    ),
    flag(
        "memc_ignore_client_abort",
        IN_LOCATION,
        kept!(memc.ignore_client_abort),
        "Goes on when the client has left; default off.",
    ),
    custom(
        "memcached_pass",
        IN_LOCATION,
        ONE,
        memcached_pass,
        "A memcached that is asked for the value of `$memcached_key`: an upstream's name or \
         `ADDRESS:PORT`, variables allowed.",
    ),
    custom(
        "memcached_bind",
        HSL,
        Arity::Between(1, 2),
        bind,
        "The local address of connections to memcached: `ADDRESS[:PORT]`, variables allowed, or \
         `off`.",
    ),
    timeout("memcached_connect_timeout", kept!(memcached.connect_timeout_ms), CONNECT),
    timeout("memcached_send_timeout", kept!(memcached.send_timeout_ms), SEND),
    timeout("memcached_read_timeout", kept!(memcached.read_timeout_ms), READ),
    Directive::new(
        "memcached_buffer_size",
        HSL,
        ONE,
        Apply::Memory(kept!(memcached.buffer_size)),
        BUFFER,
    ),
    custom("memcached_next_upstream", HSL, Arity::AtLeast(1), memcached_next_upstream, NEXT),
    Directive::new(
        "memcached_next_upstream_tries",
        HSL,
        ONE,
        Apply::Number32(kept!(memcached.next_upstream_tries)),
        "Tries in all, 0 for no limit.",
    ),
    millis(
        "memcached_next_upstream_timeout",
        HSL,
        kept!(memcached.next_upstream_timeout_ms),
        "Time for all tries, 0 for no limit.",
    ),
    Directive::new(
        "memcached_gzip_flag",
        HSL,
        ONE,
        Apply::Number32(kept!(memcached.gzip_flag)),
        "The bit of a value's flags that says it is gzipped, and sent with that \
         `Content-Encoding`.",
    ),
    off_only("memcached_socket_keepalive", ""),
];

const CONNECT: &str = "The time to connect; default `60s`.";
const SEND: &str = "The time between two writes to memcached; default `60s`.";
const READ: &str = "The time between two reads from memcached; default `60s`.";
const BUFFER: &str = "The longest begin of a reply, or reply without a value; default `4k`.";
const NEXT: &str = "When the next peer is tried: `error timeout invalid_response not_found off`; \
                    default `error timeout`.";

/// Commands that `memc_cmds_allowed` knows.
const COMMANDS: [&str; 12] = [
    "get",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "delete",
    "incr",
    "decr",
    "flush_all",
    "stats",
    "version",
];

const fn timeout(name: &'static str, slot: Slot<u64>, doc: &'static str) -> Directive {
    millis(name, HSL, slot, doc)
}

fn memc_pass(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    pass(lower, scope, node, Memcached::Memc);
}

fn memcached_pass(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    pass(lower, scope, node, Memcached::Memcached);
}

fn pass(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node, rules: Memcached) {
    let url = lower.text(node, node.arg(0));
    if url.contains("://") {
        lower.fault(node, format!("invalid host in upstream \"{url}\"; it has no scheme"));
    } else if let Err(message) = check_grpc_url(&url) {
        lower.fault(node, message);
    }
    let slot = match scope {
        Scope::Location(it) => &it.proxy_pass,
        Scope::LocationIf(it) => &it.proxy_pass,
        _ => return,
    };
    // Behind a pass by another protocol it is another handler, and the last one counts.
    if slot.as_ref().is_some_and(|it| it.memcached == Some(rules)) {
        return lower.duplicate(node);
    }
    replace_content(lower, scope, node);
    let pass = ProxyPass { at: node.at.clone(), url, grpc: false, memcached: Some(rules) };
    match scope {
        Scope::Location(it) => it.proxy_pass = Some(pass),
        Scope::LocationIf(it) => it.proxy_pass = Some(pass),
        _ => {}
    }
}

fn commands(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(unknown) = node.texts().find(|it| !COMMANDS.contains(it)) {
        return lower.fault(node, format!("unknown memcached command \"{unknown}\""));
    }
    let names = node.texts().map(str::to_owned).collect();
    let slot: Slot<Vec<String>> = kept!(memc.commands);
    lower.once(node, slot(scope), Some(names));
}

fn bind(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(value) = local_address(lower, node) else { return };
    let slot: Slot<String> = kept!(memcached.bind);
    lower.once(node, slot(scope), Some(value));
}

fn memc_next_upstream(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    next_upstream(lower, scope, node, kept!(memc.next_upstream));
}

fn memcached_next_upstream(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    next_upstream(lower, scope, node, kept!(memcached.next_upstream));
}

fn next_upstream(
    lower: &mut Lower<'_>,
    scope: &mut Scope<'_>,
    node: &Node,
    slot: Slot<NextUpstream>,
) {
    let mut next = NextUpstream::default();
    for text in node.texts() {
        match text {
            "error" => next.error = true,
            "timeout" => next.timeout = true,
            "invalid_response" => next.invalid_header = true,
            "not_found" => next.statuses.push(404),
            "off" => next.off = true,
            _ => return lower.fault(node, format!("invalid value \"{text}\"")),
        }
    }
    lower.once(node, slot(scope), Some(next));
}
