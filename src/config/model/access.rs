//! Who may come in: `allow`, `deny`, `auth_request`.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `allow WHOM` or `deny WHOM`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// `allow`.
    pub allow: bool,
    /// Whom.
    pub whom: Whom,
}

/// Clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// `all`
    All,
    /// `unix:`
    Unix,
    /// `ADDRESS` or `ADDRESS/BITS`
    Network {
        /// The address, bits behind the first `bits` cleared.
        address: IpAddr,
        /// How many bits count.
        bits: u8,
    },
}

impl Whom {
    /// Whether the client with this address is meant; `None` came by a unix socket. An IPv4 address
    /// that is mapped into IPv6 is the IPv4 address.
    pub fn is(&self, client: Option<IpAddr>) -> bool {
        match (self, client.map(|it| it.to_canonical())) {
            (Self::All, _) | (Self::Unix, None) => true,
            (Self::Unix, Some(_)) | (Self::Network { .. }, None) => false,
            (Self::Network { address, bits }, Some(client)) => {
                address.is_ipv4() == client.is_ipv4() && network(client, *bits) == *address
            }
        }
    }
}

/// `auth_request_set $variable VALUE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthRequestSet {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Without `$`.
    pub variable: String,
    /// Of the subrequest's variables.
    pub value: Text,
}

/// The first `bits` of `address`.
pub fn network(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((it.to_bits() & mask).into())
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((it.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses() {
        let whom = |text: &str, bits| Whom::Network { address: ip(text).unwrap(), bits };
        assert!(whom("10.0.0.0", 8).is(ip("10.255.3.4")));
        assert!(!whom("10.0.0.0", 8).is(ip("11.0.0.1")));
        assert!(whom("10.0.0.1", 32).is(ip("::ffff:10.0.0.1")));
        assert!(whom("0.0.0.0", 0).is(ip("1.2.3.4")));
        assert!(!whom("0.0.0.0", 0).is(ip("::1")));
        assert!(whom("2001:db8::", 32).is(ip("2001:db8:1::5")));
        assert!(!whom("2001:db8::", 32).is(ip("2001:db9::")));
        assert!(!whom("10.0.0.0", 8).is(None));
        assert!(Whom::Unix.is(None) && !Whom::Unix.is(ip("::1")) && Whom::All.is(None));
    }
}
