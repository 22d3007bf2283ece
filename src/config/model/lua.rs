//! Lua: chunks, where `require` looks, shared dictionaries.

use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// One `*_by_lua*` directive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Where the chunk's first line is: for `_block` the line on which the directive starts, for a
    /// quoted string the line on which its `;` was read (as lua-nginx-module counts).
    #[serde(default)]
    pub at: At,
    /// The directive without its ending, which chunk names show: `content_by_lua`.
    pub directive: String,
    /// The code or its file.
    pub source: ChunkSource,
}

/// Where a chunk's code stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkSource {
    /// In the configuration.
    Inline(String),
    /// In a file, relative to the prefix; the path may hold variables.
    File(String),
}

/// http-level Lua directives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LuaHttp {
    /// `lua_package_path`; `;;` is the default path, `$prefix` the server's prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_path: Option<String>,
    /// `lua_package_cpath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_cpath: Option<String>,
    /// `lua_shared_dict` lines.
    pub shared_dicts: Vec<SharedDict>,
    /// `init_by_lua*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Chunk>,
    /// `init_worker_by_lua*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_worker: Option<Chunk>,
    /// `exit_worker_by_lua*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_worker: Option<Chunk>,
    /// `ssl_session_fetch_by_lua*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_session_fetch: Option<Chunk>,
    /// `ssl_session_store_by_lua*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_session_store: Option<Chunk>,
    /// `rewrite_by_lua_no_postpone`; default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_no_postpone: Option<bool>,
    /// `access_by_lua_no_postpone`; default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_no_postpone: Option<bool>,
    /// `lua_max_pending_timers`; default 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending_timers: Option<usize>,
    /// `lua_max_running_timers`; default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running_timers: Option<usize>,
    /// `lua_capture_error_log`, bytes a worker; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_error_log_bytes: Option<usize>,
    /// `lua_regex_cache_max_entries`; default 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex_cache_max_entries: Option<usize>,
    /// `lua_worker_thread_vm_pool_size`; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_thread_vm_pool_size: Option<usize>,
    /// `lua_regex_match_limit`; 0 is the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex_match_limit: Option<u32>,
    /// `lua_handler_timeout TIME` (ours), milliseconds of CPU time; default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler_timeout_ms: Option<u64>,
    /// `lua_vm_memory_limit SIZE` (ours), bytes a VM; default 256 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_memory_limit_bytes: Option<usize>,
}

/// `lua_shared_dict NAME SIZE`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedDict {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its name in `ngx.shared`.
    pub name: String,
    /// Its size in bytes; at least 8 KiB as in OpenResty.
    pub size_bytes: usize,
}
