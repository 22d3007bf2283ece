//! `geo`: variables by where a client is.

use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// `geo [$address] $variable { … }`, its `delete` lines done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geo {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// The variable that holds the address, without `$`; else it is the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The variable that it defines, without `$`.
    pub variable: String,
    /// `default`; empty when not written.
    #[serde(default)]
    pub default: String,
    /// Networks and their values; the longest that holds the address counts.
    #[serde(default)]
    pub networks: Vec<GeoNetwork>,
    /// With `ranges`: from the first address to the last, apart from each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<GeoRange>>,
    /// `proxy` lines: who is believed what it says in `X-Forwarded-For`.
    #[serde(default)]
    pub proxies: Vec<GeoProxy>,
    /// `proxy_recursive`: the last address there that is none of these counts.
    #[serde(default)]
    pub proxy_recursive: bool,
}

/// A network and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoNetwork {
    /// Its address, bits behind the first `bits` cleared.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u8,
    /// The value.
    pub value: String,
}

/// A range and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoRange {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
    /// The value.
    pub value: String,
}

/// A network of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoProxy {
    /// Its address, bits behind the first `bits` cleared.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u8,
}
