//! The `http` block: servers, and what they share.

use super::{
    Geo, Handler, LimitConnZone, LimitReqZone, Location, LogFormat, LuaHttp, RewriteOp, Rollout,
    Settings, Text, TryFiles, Upstream,
};
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// The `http` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Settings that every server inherits.
    pub settings: Settings,
    /// `server` blocks in their order.
    pub servers: Vec<Server>,
    /// `upstream` blocks.
    pub upstreams: Vec<Upstream>,
    /// `rollout` blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Rollout>,
    /// `explain_secret_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain_secret_file: Option<String>,
    /// `map` blocks.
    pub maps: Vec<Map>,
    /// `geo` blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub geos: Vec<Geo>,
    /// `split_clients` blocks.
    pub split_clients: Vec<SplitClients>,
    /// `upstream_list` lines: names of lists and the upstreams in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream_lists: Vec<(String, Vec<String>)>,
    /// `log_format` lines.
    pub log_formats: Vec<LogFormat>,
    /// `limit_req_zone` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limit_req_zones: Vec<LimitReqZone>,
    /// `limit_conn_zone` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limit_conn_zones: Vec<LimitConnZone>,
    /// Lua's http-level directives.
    pub lua: LuaHttp,
    /// `types { … }` or the included mime.types: extension -> type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<(String, String)>>,
}

/// A `server` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where the block begins.
    pub at: At,
    /// `listen` lines; the default, one on `*:80` (`*:8000` without root), is filled in when none
    /// was written.
    pub listen: Vec<Listen>,
    /// `server_name` values.
    pub names: Vec<ServerName>,
    /// Settings that every location inherits.
    pub settings: Settings,
    /// The rewrite module's directives of the server level, in order.
    pub rewrite: Vec<RewriteOp>,
    /// `stub_status`, for a URI without a location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// `try_files`, for a URI without a location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_files: Option<TryFiles>,
    /// Locations in their order.
    pub locations: Vec<Location>,
}

/// One `listen` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// `ADDRESS:PORT`, `[V6]:PORT` or `unix:PATH`, normalised: `8080` is `0.0.0.0:8080`.
    pub address: String,
    /// `default_server`.
    #[serde(default)]
    pub default_server: bool,
    /// `backlog=N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// `ipv6only=on|off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6only: Option<bool>,
    /// `so_keepalive=on|off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_keepalive: Option<bool>,
    /// `ssl`: connections are TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ssl: bool,
    /// `http2`: as `http2 on`, for this address.
    #[serde(default, skip_serializing_if = "is_false")]
    pub http2: bool,
}

impl Listen {
    /// A `listen` of `address`, which is normalised, without parameters.
    pub fn new(at: At, address: String) -> Self {
        Self {
            at,
            address,
            default_server: false,
            backlog: None,
            ipv6only: None,
            so_keepalive: None,
            ssl: false,
            http2: false,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One value of `server_name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerName {
    /// `example.org`, or `""`; lower case.
    Exact(String),
    /// `*.example.org`, stored as `.example.org`; with `.example.org` written, `Exact` is added.
    Suffix(String),
    /// `www.example.*`, stored as `www.example.`.
    Prefix(String),
    /// `~^(?<user>.+)\.example\.org$`, stored without the tilde.
    Regex(String),
}

/// `map SOURCE $variable { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// What is looked up, with variables.
    pub source: Text,
    /// The variable that it defines, without `$`.
    pub variable: String,
    /// `hostnames`.
    #[serde(default)]
    pub hostnames: bool,
    /// `volatile`.
    #[serde(default)]
    pub volatile: bool,
    /// `default`; empty when not written.
    #[serde(default)]
    pub default: Text,
    /// The other lines in order.
    pub entries: Vec<MapEntry>,
}

/// A line of `map`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapEntry {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The source value; regexes begin with `~` or `~*`; a leading `\` was taken off, and then
    /// `literal` is set.
    pub key: String,
    /// The key was written with a leading `\`: no regex, not `default`.
    #[serde(default)]
    pub literal: bool,
    /// The result, with variables.
    pub value: Text,
}

/// `split_clients SOURCE $variable { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitClients {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// What is hashed (MurmurHash2), with variables.
    pub source: Text,
    /// The variable that it defines, without `$`.
    pub variable: String,
    /// The shares in order.
    pub parts: Vec<SplitPart>,
}

/// A line of `split_clients`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPart {
    /// Hundredths of a percent (basis points), 0..=10000; `None` is `*`, the rest.
    pub basis_points: Option<u32>,
    /// The result, with variables.
    pub value: Text,
}

/// `resolver ADDRESS… [valid=TIME] [ipv6=on|off]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resolver {
    /// Where it is written.
    pub at: At,
    /// Name servers, `IP[:PORT]`; `local=on` (OpenResty) is `["local"]`: /etc/resolv.conf.
    pub servers: Vec<String>,
    /// `valid=`, milliseconds: overrides the TTL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_ms: Option<u64>,
    /// `ipv6=`; on by default.
    pub ipv6: bool,
    /// `ipv4=`; on by default.
    pub ipv4: bool,
}
