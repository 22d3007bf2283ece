//! Whose header or cookie may choose a variant.

use super::assign::{Client, value_of};
use super::signature::Secret;
use crate::vars::Var;
use std::net::IpAddr;

/// Networks and tokens; with neither, everyone.
#[derive(Debug, Default)]
pub(super) struct Trust {
    networks: Vec<(IpAddr, u8)>,
    tokens: Vec<(Var, Secret)>,
}

impl Trust {
    /// Trusts the addresses that have the first `prefix` bits of `address`.
    pub(super) fn network(&mut self, address: IpAddr, prefix: u8) {
        self.networks.push((address, prefix));
    }

    /// Trusts who shows a token of `secret` in the header `var`.
    pub(super) fn token(&mut self, var: Var, secret: Secret) {
        self.tokens.push((var, secret));
    }

    /// Whether `client` may choose in `rollout`; `scratch` is for the token.
    pub(super) fn allows(&self, rollout: &str, client: &Client<'_>, scratch: &mut Vec<u8>) -> bool {
        let is_open = self.networks.is_empty() && self.tokens.is_empty();
        is_open
            || client.address.is_some_and(|it| self.networks.iter().any(|net| holds(*net, it)))
            || self.tokens.iter().any(|(var, secret)| {
                let token = value_of(var, client.vars, scratch);
                secret.allows(rollout, token, client.now_s)
            })
    }
}

/// Whether `address` is in the network; an IPv4 address written as IPv6 is the IPv4 address.
fn holds((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    let prefix = u32::from(prefix);
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(it)) => {
            (network.to_bits() ^ it.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(it)) => {
            (network.to_bits() ^ it.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (network, prefix, inside, outside) in [
            ("10.0.0.0", 8, "10.255.1.2", "11.0.0.1"),
            ("192.0.2.7", 32, "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0", 0, "203.0.113.9", "::1"),
            ("::", 0, "2001:db8::1", "10.0.0.1"),
            ("2001:db8::", 32, "2001:db8:1::1", "2001:db9::1"),
            ("10.0.0.0", 8, "::ffff:10.1.1.1", "::ffff:12.1.1.1"),
        ] {
            assert!(holds((address(network), prefix), address(inside)), "{inside}");
            assert!(!holds((address(network), prefix), address(outside)), "{outside}");
        }
    }
}
