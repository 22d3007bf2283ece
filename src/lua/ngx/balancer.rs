//! `ngx.balancer`: a script chooses the peer. The proxy hands a [`BalancerTurn`] in and reads from
//! it what was chosen.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::arg::Turn;
use crate::lua::ngx::client::BAD_CONTEXT;
use crate::lua::ngx::client::c_integer;
use crate::lua::phase::Phase;
use std::ffi::OsStr;
use std::ffi::c_int;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

functions! {
    /// `require "ngx.balancer"`.
    pub NATIVE "native.balancer" {
        set_current_peer: ANY => set_current_peer,
        set_more_tries: ANY => set_more_tries,
        get_last_failure: ANY => get_last_failure,
        set_timeouts: ANY => set_timeouts,
        enable_keepalive: ANY => enable_keepalive,
        set_upstream_tls: ANY => set_upstream_tls,
        recreate_request: ANY => recreate_request,
    }
}

/// A peer that a script named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenPeer {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

/// How the previous peer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFailure {
    /// A response that `proxy_next_upstream` passes over, the connection being whole: `next`.
    Next,
    /// No connection, no answer, or a bad one: `failed`.
    Failed,
}

/// One call of `balancer_by_lua*`: what it may know, and what it chose.
#[derive(Clone, Debug, Default)]
pub struct BalancerTurn {
    /// Tries so far, this one included.
    pub total_tries: u32,
    /// Tries that are left, this one included.
    pub tries_left: u32,
    /// `proxy_next_upstream_tries`; 0 is no limit.
    pub max_tries: u32,
    /// How the previous try of this request ended, and its status (0 without one).
    pub last_failure: Option<(PeerFailure, u16)>,
    /// The peer that was chosen; without one the upstream's own `server` lines decide.
    pub peer: Option<ChosenPeer>,
    /// Tries that the script allows beyond this one.
    pub more_tries: u32,
    /// Milliseconds to connect, where the script said so.
    pub connect_timeout_ms: Option<u64>,
    /// Milliseconds between two writes.
    pub send_timeout_ms: Option<u64>,
    /// Milliseconds between two reads.
    pub read_timeout_ms: Option<u64>,
    /// The upstream's request is to be built anew from the request as it is now.
    pub recreate: bool,
}

/// Calls `body` with the running turn. `Err` is what Lua gets behind `nil`.
fn turn<T>(
    call: &Call<'_>,
    body: impl FnOnce(&mut BalancerTurn) -> Result<T, String>,
) -> Result<Result<T, String>, ApiError> {
    let phase = call.vm().phase();
    if phase == Phase::Init {
        return Err("no request found".into());
    }
    Ok(match &mut *call.vm().api().turn.borrow_mut() {
        Turn::Balancer(turn) if phase == Phase::Balancer => body(turn),
        _ if has_upstream(call) => Err(BAD_CONTEXT.to_owned()),
        _ => Err("no upstream found".to_owned()),
    })
}

fn has_upstream(call: &Call<'_>) -> bool {
    call.vm().request().is_some_and(|it| !it.attempts.borrow().0.is_empty())
}

fn answer(call: &Call<'_>, result: Result<(), String>) -> ApiResult {
    match result {
        Ok(()) => call.reply(true),
        Err(text) => call.reply((None::<bool>, text)),
    }
}

/// `set_current_peer(address, port?)`.
fn set_current_peer(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(address) = call.value(1) else {
        let kind = if call.is_none(1) { "nil" } else { call.kind(1).name() };
        return Err(format!("attempt to get length of local 'addr' (a {kind} value)").into());
    };
    let port = match call.boolean(2) {
        true => call.stack().number(2).map_or(0, |it| it as i64 as u16),
        false => 0,
    };
    let result = turn(call, |turn| {
        turn.peer = Some(parse_peer(address, port)?);
        Ok(())
    })?;
    answer(call, result)
}

/// An address as `ngx_parse_url` reads it without resolving names: `1.2.3.4`, `1.2.3.4:80`,
/// `[::1]`, `[::1]:80`, `unix:/path`.
///
/// # Errors
/// nginx's words.
fn parse_peer(address: &[u8], port: u16) -> Result<ChosenPeer, String> {
    if let Some(path) = address.strip_prefix(b"unix:") {
        return match path {
            b"" => Err("no path in the unix domain socket".to_owned()),
            path => Ok(ChosenPeer::Unix(PathBuf::from(OsStr::from_bytes(path)))),
        };
    }
    let text = String::from_utf8_lossy(address);
    if text.contains(['/', '?']) {
        return Err("invalid host".to_owned());
    }
    let (host, own_port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (host, rest) = literal.split_once(']').ok_or("invalid host")?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (&*text, None),
        },
    };
    let port = match own_port {
        Some(port) => port.parse().ok().filter(|it| *it > 0).ok_or("invalid port")?,
        None => port,
    };
    if host.is_empty() {
        return Err("no host".to_owned());
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() == text.starts_with('[') => {
            Ok(ChosenPeer::Inet(SocketAddr::new(ip, port)))
        }
        _ if text.starts_with('[') => Err("invalid IPv6 address".to_owned()),
        _ => Err("no host allowed".to_owned()),
    }
}

/// `set_more_tries(count)`.
fn set_more_tries(call: &Call<'_>) -> ApiResult {
    let count = c_integer(call, 1, 2, "ngx_lua_ffi_balancer_set_more_tries")?;
    let count = u32::try_from(count).unwrap_or(0);
    let result = turn(call, |turn| {
        let allowed = (turn.total_tries + turn.tries_left).saturating_sub(1);
        let room = turn.max_tries.saturating_sub(allowed);
        let is_reduced = turn.max_tries > 0 && count > room;
        turn.more_tries = if is_reduced { room } else { count };
        Ok(is_reduced)
    })?;
    match result {
        Ok(false) => call.reply(true),
        Ok(true) => call.reply((true, "reduced tries due to limit")),
        Err(text) => call.reply((None::<bool>, text)),
    }
}

/// `get_last_failure()`: state and status.
fn get_last_failure(call: &Call<'_>) -> ApiResult {
    match turn(call, |turn| Ok(turn.last_failure))? {
        Ok(None) => call.reply(None::<bool>),
        Ok(Some((PeerFailure::Next, status))) => call.reply(("next", u32::from(status))),
        Ok(Some((PeerFailure::Failed, status))) => call.reply(("failed", u32::from(status))),
        Err(text) => call.reply((None::<bool>, None::<bool>, text)),
    }
}

/// `set_timeouts(connect?, send?, read?)` in seconds.
fn set_timeouts(call: &Call<'_>) -> ApiResult {
    let connect = timeout_ms(call, 1, "bad connect timeout")?;
    let send = timeout_ms(call, 2, "bad send timeout")?;
    let read = timeout_ms(call, 3, "bad read timeout")?;
    let result = turn(call, |turn| {
        turn.connect_timeout_ms = connect.or(turn.connect_timeout_ms);
        turn.send_timeout_ms = send.or(turn.send_timeout_ms);
        turn.read_timeout_ms = read.or(turn.read_timeout_ms);
        Ok(())
    })?;
    match result {
        Ok(()) => call.reply(true),
        Err(text) => call.reply((false, text)),
    }
}

fn timeout_ms(call: &Call<'_>, index: c_int, text: &'static str) -> Result<Option<u64>, ApiError> {
    match call.value(index) {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::Number(seconds) if seconds > 0.0 => {
            Ok(Some((seconds * 1000.0) as u64).filter(|it| *it > 0))
        }
        _ => Err(text.into()),
    }
}

/// `enable_keepalive(idle_timeout?, max_requests?)` of later versions: connections are kept anyhow.
fn enable_keepalive(call: &Call<'_>) -> ApiResult {
    let result = turn(call, |_| Ok(()))?;
    answer(call, result)
}

/// `set_upstream_tls(on)` of later versions.
fn set_upstream_tls(call: &Call<'_>) -> ApiResult {
    let on = call.boolean(1);
    let result = turn(call, |_| match on {
        true => Err("TLS to upstreams is not supported by this version of Moongate".to_owned()),
        false => Ok(()),
    })?;
    answer(call, result)
}

fn recreate_request(call: &Call<'_>) -> ApiResult {
    let result = turn(call, |turn| {
        turn.recreate = true;
        Ok(())
    })?;
    answer(call, result)
}
