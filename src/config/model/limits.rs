//! How much a client may ask for: zones of `limit_req` and `limit_conn`, and who uses them.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// `limit_req_zone KEY zone=NAME:SIZE rate=RATE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitReqZone {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its name.
    pub name: String,
    /// Whose requests are counted together, with variables.
    pub key: Text,
    /// How much memory it has, bytes.
    pub size_bytes: usize,
    /// Requests, not 0 …
    pub rate: u32,
    /// … in so many seconds: 1 or 60.
    pub per_s: u32,
}

/// `limit_conn_zone KEY zone=NAME:SIZE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConnZone {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its name.
    pub name: String,
    /// Whose connections are counted together, with variables.
    pub key: Text,
    /// How much memory it has, bytes.
    pub size_bytes: usize,
}

/// `limit_req zone=NAME [burst=N] [nodelay | delay=N]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitReq {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The zone.
    pub zone: String,
    /// Requests that may come ahead of the rate.
    #[serde(default)]
    pub burst: u32,
    /// As many of them need not wait; `None` is `nodelay`: none waits.
    #[serde(default = "none_at_once")]
    pub delay: Option<u32>,
}

fn none_at_once() -> Option<u32> {
    Some(0)
}

/// `limit_conn NAME N`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConn {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The zone.
    pub zone: String,
    /// Requests that may be served at a time, 1 to 65535.
    pub connections: u16,
}
