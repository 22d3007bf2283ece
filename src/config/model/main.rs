//! The main level: the process, its workers, its logs.

use super::{ErrorLog, Http};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Main-level directives.
    pub main: Main,
    /// The `events` block; without one the configuration is refused, as nginx does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
    /// The `http` block; without one there is nothing to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

/// Main-level directives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Main {
    /// `daemon on|off`; Moongate stays in the foreground unless told (`off` is its default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<bool>,
    /// `master_process on|off`: accepted; Moongate is one process either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_process: Option<bool>,
    /// `pid FILE`, relative to the prefix; default `logs/moongate.pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<PathBuf>,
    /// `user NAME [GROUP]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<(String, Option<String>)>,
    /// `worker_processes N|auto`: worker threads; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_processes: Option<WorkerProcesses>,
    /// `worker_rlimit_nofile N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_rlimit_nofile: Option<u64>,
    /// `worker_shutdown_timeout TIME` in milliseconds: how long a drain may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_shutdown_timeout_ms: Option<u64>,
    /// `error_log` lines of this level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_log: Option<Vec<ErrorLog>>,
    /// `thread_pool` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thread_pools: Vec<ThreadPool>,
    /// `env NAME[=VALUE]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, Option<String>)>,
    /// `working_directory DIR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<PathBuf>,
    /// `admin_listen ADDRESS` (ours): where `/metrics`, `/healthz` and `/status` answer; loopback
    /// `127.0.0.1:9180` by default, `off` for none (`Some("off")`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<String>,
}

/// `thread_pool NAME threads=N [max_queue=N]`: threads for `ngx.run_worker_thread`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadPool {
    /// Its name.
    pub name: String,
    /// Tasks that run at a time, in each worker.
    pub threads: usize,
    /// Tasks that may wait for one of the threads; nginx's default is 65536.
    pub max_queue: usize,
}

/// `worker_processes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerProcesses {
    /// One a CPU.
    Auto,
    /// This many.
    Count(usize),
}

/// The `events` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// `worker_connections N`; default 512: open client connections a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_connections: Option<usize>,
    /// `multi_accept on|off`: accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_accept: Option<bool>,
}
