//! How much a client may ask for, compiled: lines of `limit_req` and `limit_conn`, the zones behind
//! them, `limit_rate`.

use crate::limits::{Connections, Rates};
use crate::log::Level;
use crate::vars::Template;
use std::sync::Arc;

/// The limits of a location.
#[derive(Debug)]
pub struct Limits {
    /// `limit_req` lines in order.
    pub requests: Box<[RequestLimit]>,
    /// What is said and done when they are exceeded.
    pub on_requests: OnExcess,
    /// `limit_conn` lines in order.
    pub connections: Box<[ConnectionLimit]>,
    /// The same for them.
    pub on_connections: OnExcess,
}

/// What becomes of a request that is too much.
#[derive(Clone, Copy, Debug)]
pub struct OnExcess {
    /// `limit_req_status`, `limit_conn_status`
    pub status: u16,
    /// `limit_req_log_level`, `limit_conn_log_level`
    pub level: Level,
    /// `limit_req_dry_run`, `limit_conn_dry_run`: it is served all the same.
    pub dry_run: bool,
}

/// A `limit_req` line.
#[derive(Debug)]
pub struct RequestLimit {
    /// The zone's name.
    pub name: Arc<str>,
    /// What it counts.
    pub zone: Arc<Rates>,
    /// By what.
    pub key: Template,
    /// Requests a second, in thousandths.
    pub rate: u64,
    /// Excess that is let in, thousandths.
    pub burst: u64,
    /// Excess that need not wait, thousandths.
    pub delay: u64,
}

/// A `limit_conn` line.
#[derive(Debug)]
pub struct ConnectionLimit {
    /// The zone's name.
    pub name: Arc<str>,
    /// What it counts.
    pub zone: Arc<Connections>,
    /// By what.
    pub key: Template,
    /// How many are served at a time.
    pub most: u32,
}

/// `limit_rate` and `limit_rate_after`: sizes, with variables.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; 0 is no limit.
    pub rate: Template,
    /// Bytes ahead of the limit.
    pub after: Option<Template>,
}
