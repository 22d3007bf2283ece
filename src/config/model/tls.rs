//! TLS: what `ssl_*` and `proxy_ssl_*` say beyond a switch or a number.

use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// A word that is looked at only when the snapshot is built, so that its place must be known then:
/// a file of certificates, a list of ciphers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedText {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// What is written.
    pub text: String,
}

/// A version of SSL or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// `TLSv1`
    #[serde(rename = "TLSv1")]
    Tls10,
    /// `TLSv1.1`
    #[serde(rename = "TLSv1.1")]
    Tls11,
    /// `TLSv1.2`
    #[serde(rename = "TLSv1.2")]
    Tls12,
    /// `TLSv1.3`
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

/// `ssl_session_cache`: where the sessions of TLS up to 1.2 are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCache {
    /// `off`: clients are told that no session can be resumed.
    Off,
    /// `none`, the default: clients are told that it can be, and it cannot, but by a ticket.
    None,
    /// `builtin[:SIZE]`, `shared:NAME:SIZE`: this many sessions, shared by all workers.
    Sessions(i32),
}

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyClient {
    /// No certificate is asked for.
    Off,
    /// One is wanted, and must be good.
    On,
    /// One is asked for, and must be good if it is there.
    Optional,
    /// One is asked for, and whoever signed it will do.
    OptionalNoCa,
}
