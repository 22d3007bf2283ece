//! `upstream`: its peers and how one is chosen.

use crate::config::model::{Balance, Peer, PeerAddress, Queue, Upstream};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HTTP, ONE, Scope, UPSTREAM, custom, millis,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom("upstream", HTTP, ONE, upstream, "A named group of peers.").block(),
    custom(
        "server",
        UPSTREAM,
        Arity::AtLeast(1),
        server,
        "A peer: `ADDRESS [weight=] [max_fails=] [fail_timeout=] [max_conns=] [backup] [down]`.",
    ),
    custom(
        "keepalive",
        UPSTREAM,
        Arity::Between(1, 2),
        keepalive,
        "Idle connections that a worker keeps.",
    ),
    millis(
        "keepalive_timeout",
        UPSTREAM,
        |s| Some(&mut s.upstream()?.keepalive_timeout_ms),
        "How long an idle upstream connection is kept; default `60s`.",
    ),
    Directive::new(
        "keepalive_requests",
        UPSTREAM,
        ONE,
        Apply::Number(|s| Some(&mut s.upstream()?.keepalive_requests)),
        "Requests on one upstream connection; default 1000.",
    ),
    millis(
        "keepalive_time",
        UPSTREAM,
        |s| Some(&mut s.upstream()?.keepalive_time_ms),
        "The age of an upstream connection; default `1h`.",
    ),
    custom("least_conn", UPSTREAM, Arity::Exactly(0), balance, "The peer with fewest connections."),
    custom(
        "ip_hash",
        UPSTREAM,
        Arity::Exactly(0),
        balance,
        "The same peer for a client's network.",
    ),
    custom("hash", UPSTREAM, Arity::Between(1, 2), balance, "By a key: `KEY [consistent]`."),
    custom(
        "random",
        UPSTREAM,
        Arity::Between(0, 2),
        balance,
        "One by chance, or the better of two: `[two [least_conn]]`.",
    ),
    Directive::new(
        "balancer_by_lua_block",
        UPSTREAM,
        Arity::Exactly(0),
        Apply::Custom(balancer),
        "Lua that chooses the peer, for each try.",
    )
    .block(),
    custom("balancer_by_lua_file", UPSTREAM, ONE, balancer, "The same from a file."),
    custom(
        "queue",
        UPSTREAM,
        Arity::Between(1, 2),
        queue,
        "`N [timeout=TIME]`: so many requests wait (default `60s`) while each peer has its \
         `max_conns`; the others, and those that waited in vain, get a 503 with `Retry-After`.",
    ),
    Directive::new(
        "zone",
        UPSTREAM,
        Arity::Between(1, 2),
        Apply::Word(|s| Some(&mut s.upstream()?.zone)),
        "Accepted: the state of peers is always shared by the workers.",
    ),
];

fn upstream(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut upstream = Upstream::new(node.at.clone(), node.arg(0), Vec::new());
    lower.block(node.children(), &mut Scope::Upstream(&mut upstream));
    let written = node.children().iter().any(|it| it.name == "server");
    if upstream.peers.is_empty() && !written {
        lower.fault(node, "no servers are inside upstream");
    }
    if let Some(http) = scope.http() {
        http.upstreams.push(upstream);
    }
}

fn server(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let address = match peer_address(node.arg(0)) {
        Ok(address) => address,
        Err(message) => return lower.fault(node, message),
    };
    let mut peer = Peer::new(node.at.clone(), address);
    for text in node.texts().skip(1) {
        if let Err(message) = parameter(&mut peer, text) {
            lower.fault(node, message);
        }
    }
    if let Some(upstream) = scope.upstream() {
        upstream.peers.push(peer);
    }
}

fn parameter(peer: &mut Peer, text: &str) -> Result<(), String> {
    let invalid = || format!("invalid parameter \"{text}\"");
    let number = |value: &str| {
        units::number(value).and_then(|it| u32::try_from(it).ok()).ok_or_else(invalid)
    };
    match text.split_once('=') {
        None if text == "backup" => peer.backup = true,
        None if text == "down" => peer.down = true,
        Some(("weight", value)) => {
            let help = "a weight is 1 or more, write \"down\" for none";
            let weight = number(value)?;
            peer.weight = (weight > 0).then_some(weight).ok_or(format!("{}; {help}", invalid()))?;
        }
        Some(("max_fails", value)) => peer.max_fails = number(value)?,
        Some(("max_conns", value)) => peer.max_conns = number(value)?,
        Some(("fail_timeout", value)) => {
            peer.fail_timeout_ms = units::seconds(value).ok_or_else(invalid)?;
        }
        Some((name @ ("slow_start" | "route" | "service" | "drain"), _)) => {
            return Err(format!(
                "\"{name}=\" of \"server\" is not supported by this version of Moongate"
            ));
        }
        // Names are always resolved again when their TTL ends.
        None if text == "resolve" => {}
        _ => return Err(invalid()),
    }
    Ok(())
}

/// `HOST[:PORT]`, `[V6][:PORT]` or `unix:PATH`, with nginx's messages.
pub(super) fn peer_address(text: &str) -> Result<PeerAddress, String> {
    let fault = |what: &str| format!("{what} in upstream \"{text}\"");
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(fault("no path in the unix domain socket"));
        }
        return Ok(PeerAddress::Unix(path.to_owned()));
    }
    if text.contains('/') {
        return Err(fault("invalid host") + "; only an address is written here");
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(|| fault("invalid host"))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(fault("invalid IPv6 address"));
        }
        let port = match behind.strip_prefix(':') {
            Some(port) => Some(port),
            None if behind.is_empty() => None,
            None => return Err(fault("invalid host")),
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(fault("no host"));
    }
    let port = match port {
        Some(port) => units::number(port)
            .and_then(|it| u16::try_from(it).ok())
            .filter(|it| *it > 0)
            .ok_or_else(|| fault("invalid port"))?,
        None => 80,
    };
    Ok(PeerAddress::Host { host: host.to_ascii_lowercase(), port })
}

fn keepalive(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let count = units::number(node.arg(0)).and_then(|it| usize::try_from(it).ok());
    let Some(count) = count.filter(|it| *it > 0) else {
        let message = format!("invalid value \"{}\" in \"keepalive\" directive", node.arg(0));
        return lower.fault(node, message + "; it must be 1 or more");
    };
    if node.args.len() == 2 {
        return lower.fault(node, format!("invalid parameter \"{}\"", node.arg(1)));
    }
    lower.once(node, scope.upstream().map(|it| &mut it.keepalive), Some(count));
}

fn queue(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let count = units::number(node.arg(0)).and_then(|it| usize::try_from(it).ok());
    let Some(requests) = count.filter(|it| *it > 0) else {
        let message = format!("invalid value \"{}\" in \"queue\" directive", node.arg(0));
        return lower.fault(node, message + "; it must be 1 or more");
    };
    let timeout_ms = match node.texts().nth(1) {
        None => Some(60_000),
        Some(text) => text.strip_prefix("timeout=").and_then(units::millis).filter(|it| *it > 0),
    };
    let Some(timeout_ms) = timeout_ms else {
        let message = format!("invalid parameter \"{}\"; it is timeout=TIME", node.arg(1));
        return lower.fault(node, message);
    };
    let queue = Queue { requests, timeout_ms };
    lower.once(node, scope.upstream().map(|it| &mut it.queue), Some(queue));
}

fn balance(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(upstream) = scope.upstream() else { return };
    let words: Vec<&str> = node.texts().collect();
    let chosen = match (node.name.as_str(), words.as_slice()) {
        ("least_conn", _) => Balance::LeastConn,
        ("ip_hash", _) => Balance::IpHash,
        ("hash", [key]) => Balance::Hash { key: lower.text(node, key), consistent: false },
        ("hash", [key, "consistent"]) => {
            Balance::Hash { key: lower.text(node, key), consistent: true }
        }
        ("random", []) => Balance::Random { two: false },
        ("random", ["two"] | ["two", "least_conn"]) => Balance::Random { two: true },
        (_, [.., last]) => {
            return lower.fault(node, format!("invalid parameter \"{last}\""));
        }
        _ => return,
    };
    if upstream.balance != Balance::RoundRobin {
        lower.warning(node, "load balancing method redefined");
    }
    upstream.balance = chosen;
}

fn balancer(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = lower.chunk(node, 0);
    let Some(upstream) = scope.upstream() else { return };
    if upstream.balance != Balance::RoundRobin {
        lower.warning(node, "load balancing method redefined; Lua chooses here");
    }
    lower.once(node, Some(&mut upstream.balancer), value);
}
