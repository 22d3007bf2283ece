//! `ngx.upstream`: lua-upstream-nginx-module's view of upstreams and their peers, over ours.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Owned;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::client;
use crate::snapshot::Snapshot;
use crate::upstream::Group;
use crate::upstream::Peer;
use std::sync::Arc;

functions! {
    /// What the prelude makes `ngx.upstream` of.
    pub NATIVE "native.upstream" {
        get_upstreams: ANY => upstreams,
        get_servers: ANY => servers,
        get_primary_peers: ANY => primary_peers,
        get_backup_peers: ANY => backup_peers,
        set_peer_down: ANY => set_peer_down,
        current_upstream_name: ANY => current_name,
    }
}

const NO_UPSTREAM: &str = "upstream not found";

/// The configuration that the script belongs to.
///
/// # Errors
/// There is none yet.
fn snapshot(call: &Call<'_>) -> Result<Arc<Snapshot>, ApiError> {
    let of_request = call.vm().request().map(|it| Arc::clone(&it.snapshot));
    of_request
        .or_else(|| call.vm().host()?.snapshot())
        .ok_or_else(|| "no configuration is in force yet".into())
}

/// The group that argument 1 names.
fn group(call: &Call<'_>) -> Result<Option<Arc<Group>>, ApiError> {
    let name = String::from_utf8_lossy(call.bytes(1)?).into_owned();
    Ok(snapshot(call)?.groups.get(&name).cloned())
}

fn text(value: &str) -> Owned {
    Owned::Bytes(value.as_bytes().to_vec())
}

fn number(value: impl Into<f64>) -> Owned {
    Owned::Number(value.into())
}

/// A table of fields.
fn fields(all: Vec<(&'static str, Owned)>) -> Owned {
    Owned::Map(all.into_iter().map(|(name, value)| (Owned::Text(name), value)).collect())
}

/// `get_upstreams()`: the names of blocks in their order, then of hosts that `proxy_pass` names.
fn upstreams(call: &Call<'_>) -> ApiResult {
    arguments(call, &[0], "no argument is expected")?;
    let snapshot = snapshot(call)?;
    let blocks = snapshot.model.http.iter().flat_map(|it| &it.upstreams).map(|it| it.name.as_str());
    let mut names: Vec<Owned> = blocks.map(text).collect();
    let mut implicit: Vec<_> =
        snapshot.groups.iter().filter(|it| !it.explicit).map(|it| Arc::clone(&it.name)).collect();
    implicit.sort();
    names.extend(implicit.iter().map(|it| text(it)));
    call.reply(Owned::Array(names))
}

/// `get_servers(upstream)`: a table a `server` line, with the addresses that its name has now.
fn servers(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1], "exactly one argument expected")?;
    let Some(group) = group(call)? else { return call.reply((None::<bool>, NO_UPSTREAM)) };
    let peers = group.peers.load();
    let mut lines: Vec<Vec<&Arc<Peer>>> = Vec::new();
    for peer in peers.iter() {
        match lines.last_mut().filter(|it| it[0].name == peer.name && it[0].backup == peer.backup) {
            Some(line) => line.push(peer),
            None => lines.push(vec![peer]),
        }
    }
    call.reply(Owned::Array(lines.iter().map(|it| server(it)).collect()))
}

/// A `server` line: its peers have all but the address in common.
fn server(peers: &[&Arc<Peer>]) -> Owned {
    let first = peers[0];
    let mut addresses: Vec<_> = peers.iter().map(|it| text(&it.address_text)).collect();
    let mut server = vec![
        ("name", text(&first.name)),
        ("weight", number(first.weight)),
        ("max_fails", number(first.max_fails)),
        ("fail_timeout", Owned::Number((first.fail_timeout_ms / 1000) as f64)),
    ];
    server.push((
        "addr",
        match addresses.len() {
            1 => addresses.remove(0),
            _ => Owned::Array(addresses),
        },
    ));
    for (name, is) in [("backup", first.backup), ("down", first.down)] {
        if is {
            server.push((name, Owned::Boolean(true)));
        }
    }
    fields(server)
}

fn primary_peers(call: &Call<'_>) -> ApiResult {
    peers(call, false)
}

fn backup_peers(call: &Call<'_>) -> ApiResult {
    peers(call, true)
}

/// `get_primary_peers(upstream)`, `get_backup_peers(upstream)`.
fn peers(call: &Call<'_>, backup: bool) -> ApiResult {
    arguments(call, &[1], "exactly one argument expected")?;
    let Some(group) = group(call)? else { return call.reply((None::<bool>, NO_UPSTREAM)) };
    let peers = group.peers.load();
    let tier = peers.iter().filter(|it| it.backup == backup);
    call.reply(Owned::Array(tier.enumerate().map(|(id, it)| peer(id, it)).collect()))
}

fn peer(id: usize, peer: &Peer) -> Owned {
    let mut table = vec![
        ("id", Owned::Number(id as f64)),
        ("name", text(&peer.address_text)),
        ("weight", number(peer.weight)),
        ("current_weight", number(0)),
        ("effective_weight", number(peer.weight)),
        ("fails", number(peer.state.fails())),
        ("max_fails", number(peer.max_fails)),
        ("fail_timeout", Owned::Number((peer.fail_timeout_ms / 1000) as f64)),
        ("conns", number(peer.state.active())),
    ];
    if peer.down || peer.state.is_set_down() || peer.state.is_unhealthy() {
        table.push(("down", Owned::Boolean(true)));
    }
    fields(table)
}

/// `set_peer_down(upstream, is_backup, id, down)`: for all workers, and over reloads.
fn set_peer_down(call: &Call<'_>) -> ApiResult {
    arguments(call, &[4], "exactly 4 arguments expected")?;
    let Some(group) = group(call)? else { return call.reply((None::<bool>, NO_UPSTREAM)) };
    let (backup, down) = (call.boolean(2), call.boolean(4));
    let peers = group.peers.load();
    let id = usize::try_from(call.integer(3)?).ok();
    let found = id.and_then(|it| peers.iter().filter(|peer| peer.backup == backup).nth(it));
    match found {
        None => call.reply((None::<bool>, "bad peer id")),
        Some(peer) => {
            peer.state.set_down(down);
            call.reply(true)
        }
    }
}

/// `current_upstream_name()`: the upstream that the request is passed to; nil where it is not.
fn current_name(call: &Call<'_>) -> ApiResult {
    let upstream = client(call)?.decision.borrow().upstream.clone();
    call.reply(upstream.as_deref())
}

#[cfg(test)]
mod tests {
    use crate::lua::ngx::fixture::world;

    /// What `code` gives in a configuration whose server passes to `http://127.0.0.1:9`.
    fn eval(code: &str) -> String {
        let world = world("location / { proxy_pass http://127.0.0.1:9; }", "GET / HTTP/1.1\n");
        world.eval(&format!("local u = require 'ngx.upstream' {code}"))
    }

    #[test]
    fn peers_are_seen_and_set_down() {
        assert_eq!(eval("return table.concat(u.get_upstreams(), ' ')"), "127.0.0.1:9");
        let server = "local s = u.get_servers('127.0.0.1:9')";
        assert_eq!(
            eval(&format!("{server} return #s, s[1].name, s[1].addr, s[1].weight, s[1].down")),
            "1 | 127.0.0.1:9 | 127.0.0.1:9 | 1 | nil"
        );
        let peer = "local p = u.get_primary_peers('127.0.0.1:9')[1]";
        assert_eq!(
            eval(&format!("{peer} return p.id, p.name, p.conns, p.down")),
            "0 | 127.0.0.1:9 | 0 | nil"
        );
        assert_eq!(
            eval(&format!(
                "local ok = u.set_peer_down('127.0.0.1:9', false, 0, true) {peer} \
                 return ok, p.down, #u.get_backup_peers('127.0.0.1:9')"
            )),
            "true | true | 0"
        );
    }

    #[test]
    fn what_there_is_not_is_told() {
        assert_eq!(eval("return u.get_servers('none')"), "nil | upstream not found");
        let call = "return u.set_peer_down('127.0.0.1:9', false, 7, true)";
        assert_eq!(eval(call), "nil | bad peer id");
        assert_eq!(eval("return u.current_upstream_name()"), "nil");
    }
}
