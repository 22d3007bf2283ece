//! Upstreams that speak memcached's protocol: `memc_pass`, `memcached_pass`.

use super::{NextUpstream, Text};
use serde::{Deserialize, Serialize};

/// By whose rules a location asks memcached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memcached {
    /// `memc_pass`: ngx_memc's, all commands.
    Memc,
    /// `memcached_pass`: nginx's own, which gets.
    Memcached,
}

macro_rules! memcached_settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// `memc_*` or `memcached_*`.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct MemcachedSettings {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        impl MemcachedSettings {
            /// The inner settings with what they leave open taken from the outer ones.
            pub(super) fn inherited(inner: &Option<Self>, outer: &Option<Self>) -> Option<Self> {
                let (Some(inner), Some(outer)) = (inner, outer) else {
                    return inner.clone().or_else(|| outer.clone());
                };
                Some(Self { $($name: inner.$name.clone().or_else(|| outer.$name.clone()),)* })
            }
        }
    };
}

memcached_settings! {
    /// `…_bind`, an address; `off` is off.
    bind: Text,
    /// `…_connect_timeout`, milliseconds; default 60 s.
    connect_timeout_ms: u64,
    /// `…_send_timeout`, milliseconds; default 60 s.
    send_timeout_ms: u64,
    /// `…_read_timeout`, milliseconds; default 60 s.
    read_timeout_ms: u64,
    /// `…_buffer_size`, bytes; default 4k.
    buffer_size: usize,
    /// `…_next_upstream`; default `error timeout`.
    next_upstream: NextUpstream,
    /// `memcached_next_upstream_tries`; default 0, no limit.
    next_upstream_tries: u32,
    /// `memcached_next_upstream_timeout`, milliseconds; default 0, no limit.
    next_upstream_timeout_ms: u64,
    /// `memc_ignore_client_abort`; default off.
    ignore_client_abort: bool,
    /// `memc_cmds_allowed`, names of commands; default all.
    commands: Vec<String>,
    /// `memc_flags_to_last_modified`; default off.
    flags_to_last_modified: bool,
    /// `memcached_gzip_flag`: the bit of a value's flags that says it is gzipped.
    gzip_flag: u32,
}
