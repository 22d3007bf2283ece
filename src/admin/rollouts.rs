//! `/rollouts`: where rollouts stand, and the operator's words to them.
//!
//! A command is taken from this machine only, and from no browser: a page of somebody else's must
//! not be able to abort a rollout by letting the reader's browser post to loopback.

use super::head::Head;
use super::routes::{Response, json, only};
use crate::config::units;
use crate::http::args;
use crate::rollout::Registry;
use crate::rollout::controller::Command;
use crate::rollout::live::NotDone;
use crate::rollout::status::Status;
use serde_json::json as object;
use std::net::SocketAddr;
use std::time::Duration;

/// Where rollouts are.
const ROOT: &str = "/rollouts";
/// How long a command's answer is waited for: its record must reach the disk.
const PATIENCE: Duration = Duration::from_secs(8);

/// What there is, for the index.
pub(super) const HELP: [(&str, &str); 3] = [
    ("/rollouts", "all rollouts as JSON"),
    ("/rollouts/NAME", "one of them"),
    ("/rollouts/NAME/COMMAND", "POST promote, pause, resume, abort, set-weight?weight=5%25"),
];

/// What is behind the root in `path`, if it is one of these.
pub(super) fn within(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// The answer to `head`, whose path is `rest` behind the root; `from` is who asks.
pub(super) async fn answer(
    registry: &Registry,
    head: &Head,
    rest: &str,
    from: SocketAddr,
) -> Response {
    let (name, verb) = rest.split_once('/').map_or((rest, None), |(name, it)| (name, Some(it)));
    let is_read = head.method == "GET" || head.method == "HEAD";
    match verb {
        _ if name.is_empty() && !is_read => only("GET, HEAD"),
        _ if name.is_empty() => json("200 OK", &list(registry)),
        None if !is_read => only("GET, HEAD"),
        None => match registry.find(name) {
            Some(entry) => json("200 OK", &*entry.status()),
            None => unknown(registry, name),
        },
        Some(_) if head.method != "POST" => only("POST"),
        Some(_) if head.has_origin || !from.ip().to_canonical().is_loopback() => {
            refused("403 Forbidden", "commands are taken from this machine, and from no browser")
        }
        Some(verb) => match command(verb, &head.query) {
            Ok(command) => obeyed(registry, name, command).await,
            Err(why) => refused("400 Bad Request", &why),
        },
    }
}

/// All rollouts in the order of the configuration.
pub(super) fn list(registry: &Registry) -> Vec<Status> {
    registry.live().iter().map(|it| (*it.status()).clone()).collect()
}

async fn obeyed(registry: &Registry, name: &str, command: Command) -> Response {
    let Some(entry) = registry.find(name) else { return unknown(registry, name) };
    let answer = match entry.ask(command) {
        Ok(answer) => answer,
        Err(busy) => return refused("503 Service Unavailable", &busy.to_string()),
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(status))) => json("200 OK", &*status),
        Ok(Ok(Err(why @ NotDone::Refused(_)))) => refused("409 Conflict", &why.to_string()),
        Ok(Ok(Err(why))) => refused("503 Service Unavailable", &why.to_string()),
        Ok(Err(_)) => refused("503 Service Unavailable", "the process is ending"),
        Err(_) => {
            let why = "the command is taken, but its journal is slow: ask for the status";
            refused("503 Service Unavailable", why)
        }
    }
}

/// The command that `verb` and the query mean.
fn command(verb: &str, query: &str) -> Result<Command, String> {
    let value = |name: &[u8]| {
        let mut pairs = args::decode(query.as_bytes()).flatten();
        let found = pairs.find(|(key, _)| key.as_ref() == name);
        found.map(|(_, value)| {
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned()
        })
    };
    Ok(match verb {
        "promote" => Command::Promote,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "abort" => Command::Abort,
        "set-weight" => {
            let weight = value(b"weight").unwrap_or_default();
            let invalid = || format!("invalid weight \"{weight}\"; write 0% to 100%, or 25bp");
            let points = units::share(&weight).ok_or_else(invalid)?;
            Command::SetWeight { canary: value(b"canary"), weight: points }
        }
        _ => {
            let known = "promote, pause, resume, abort or set-weight";
            return Err(format!("no command \"{verb}\"; there is {known}"));
        }
    })
}

fn unknown(registry: &Registry, name: &str) -> Response {
    let live = registry.live();
    let names: Vec<_> = live.iter().map(|it| it.name()).collect();
    let there = match names[..] {
        [] => "the configuration has none".to_owned(),
        _ => format!("there is {}", names.join(", ")),
    };
    refused("404 Not Found", &format!("no rollout \"{name}\"; {there}"))
}

fn refused(status: &'static str, why: &str) -> Response {
    json(status, &object!({ "error": why }))
}

#[cfg(test)]
mod tests;
