//! `proxy_pass`, taken apart.

use crate::config::diagnostic::At;
use crate::vars::Template;
use bytes::Bytes;
use std::sync::Arc;

/// Where a location's requests go.
#[derive(Debug)]
pub struct ProxyTarget {
    /// Where `proxy_pass` is written.
    pub at: At,
    /// How the upstream is found.
    pub kind: TargetKind,
}

/// How the upstream is found.
#[derive(Debug)]
pub enum TargetKind {
    /// Named in the configuration.
    Static {
        /// The upstream's name, or `host:port` of an implicit one: a key of `Snapshot::upstreams`.
        upstream: Arc<str>,
        /// `$proxy_host`: name and port as written (without the protocol's default port).
        host: Bytes,
        /// `$proxy_port`.
        port: Bytes,
        /// The URI part, which replaces the location's prefix; `None` passes the URI as it came.
        uri: Option<Bytes>,
        /// `https://`
        is_tls: bool,
    },
    /// `$rollout_NAME` alone: an upstream of a variant, the URI as it came.
    Rollout {
        /// The rollout's number.
        number: u16,
        /// `https://`
        is_tls: bool,
    },
    /// With variables: the whole URL, evaluated per request.
    Variable(Template),
}
