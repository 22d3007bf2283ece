//! The parameters of `listen`.

use crate::config::model::Listen;
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The `listen` line at `node`, or a fault.
pub(super) fn parse_listen(lower: &mut Lower<'_>, node: &Node) -> Option<Listen> {
    let address = match address(node.arg(0)) {
        Ok(address) => address,
        Err(message) => {
            lower.fault(node, message);
            return None;
        }
    };
    let mut listen = Listen::new(node.at.clone(), address);
    for text in node.texts().skip(1) {
        if let Err(message) = parameter(&mut listen, text) {
            lower.fault(node, message);
        }
    }
    if listen.ipv6only.is_some() && !listen.address.starts_with('[') {
        listen.ipv6only = None;
        lower.warning(node, "\"ipv6only\" has no effect: the address is not one of IPv6");
    }
    if node.texts().any(|it| it == "reuseport") {
        lower.notice(node, "\"reuseport\" has no effect: every worker has a socket of its own");
    }
    Some(listen)
}

fn parameter(listen: &mut Listen, text: &str) -> Result<(), String> {
    let invalid = || format!("invalid parameter \"{text}\"");
    let switch = |value| units::switch(value).ok_or_else(invalid);
    match text.split_once('=') {
        None => match text {
            "default_server" | "default" => listen.default_server = true,
            "bind" | "deferred" | "reuseport" => {}
            "ssl" => listen.ssl = true,
            "http2" => listen.http2 = true,
            "quic" | "proxy_protocol" | "spdy" => {
                return Err(format!(
                    "\"{text}\" of \"listen\" is not supported by this version of Moongate"
                ));
            }
            _ => return Err(invalid()),
        },
        Some(("backlog", value)) => {
            let count = units::number(value).and_then(|it| u32::try_from(it).ok());
            let count = count.filter(|it| *it > 0 && i32::try_from(*it).is_ok());
            listen.backlog = Some(count.ok_or_else(|| format!("invalid backlog \"{text}\""))?);
        }
        Some(("ipv6only", value)) => listen.ipv6only = Some(switch(value)?),
        Some(("so_keepalive", value @ ("on" | "off"))) => {
            listen.so_keepalive = Some(switch(value)?);
        }
        Some((
            name @ ("so_keepalive" | "rcvbuf" | "sndbuf" | "setfib" | "fastopen" | "accept_filter"),
            _,
        )) => {
            return Err(format!(
                "\"{name}=\" of \"listen\" is not supported by this version of Moongate; leave it \
                 to the system's defaults"
            ));
        }
        Some(_) => return Err(invalid()),
    }
    Ok(())
}

/// `8080`, `*:8080`, `127.0.0.1`, `localhost:80`, `[::1]:80`, `unix:/path`, normalised.
pub(super) fn address(text: &str) -> Result<String, String> {
    let fault = |what: &str| format!("{what} in \"{text}\" of the \"listen\" directive");
    let port_of = |port: &str| {
        let port = units::number(port).filter(|it| (1..=65_535).contains(it));
        port.ok_or_else(|| fault("invalid port"))
    };
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(fault("no path in the unix domain socket"));
        }
        return Ok(text.to_owned());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(|| fault("invalid host"))?;
        let host: Ipv6Addr = host.parse().map_err(|_| fault("invalid IPv6 address"))?;
        let port = match behind.strip_prefix(':') {
            Some(port) => port_of(port)?,
            None if behind.is_empty() => 80,
            None => return Err(fault("invalid host")),
        };
        return Ok(format!("[{host}]:{port}"));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None if text.bytes().all(|b| b.is_ascii_digit()) => ("*", port_of(text)?),
        None => (text, 80),
    };
    let host = match host {
        "*" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        "" => return Err(fault("no host")),
        _ => host.parse().map_err(|_| {
            fault("host not found") + "; write an IP address, \"*\", \"localhost\" or unix:PATH"
        })?,
    };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for (text, expected) in [
            ("8080", "0.0.0.0:8080"),
            ("*:81", "0.0.0.0:81"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("localhost:81", "127.0.0.1:81"),
            ("[::]:81", "[::]:81"),
            ("[0:0::1]", "[::1]:80"),
            ("unix:/tmp/s", "unix:/tmp/s"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, message) in [
            ("99999", "invalid port in \"99999\" of the \"listen\" directive"),
            ("0", "invalid port in \"0\" of the \"listen\" directive"),
            ("a:b", "invalid port in \"a:b\" of the \"listen\" directive"),
            ("[::1:81", "invalid host in \"[::1:81\" of the \"listen\" directive"),
            ("unix:", "no path in the unix domain socket in \"unix:\" of the \"listen\" directive"),
        ] {
            assert_eq!(address(text).unwrap_err(), message);
        }
    }
}
