//! What the admin listener answers.

use super::head::Head;
use super::rollouts;
use crate::control::Handle;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// The status, with its reason.
    pub status: &'static str,
    /// The body's type.
    pub content_type: &'static str,
    /// A field more, whole.
    pub field: Option<Vec<u8>>,
    /// The body.
    pub body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// One path, what it is for, and who answers.
struct Route {
    path: &'static str,
    help: &'static str,
    answer: fn(&Handle, &Head) -> Response,
}

const ROUTES: &[Route] = &[
    Route { path: "/metrics", help: "metrics in Prometheus's text format", answer: show_metrics },
    Route { path: "/healthz", help: "200 while the gateway serves", answer: healthz },
    Route { path: "/status", help: "workers, upstreams, last reload as JSON", answer: status },
];

/// The answer to `head`, which came to the listener at `bound`.
///
/// `from` is who asks.
pub(super) async fn answer(
    handle: &Handle,
    head: &Head,
    bound: SocketAddr,
    from: SocketAddr,
) -> Response {
    if !head.is_for(bound) {
        let body = "this listener answers to localhost and its own address only\n";
        return plain("403 Forbidden", body.to_owned());
    }
    if let Some(rest) = rollouts::within(&head.path) {
        return rollouts::answer(handle.rollouts(), head, rest, from).await;
    }
    let Some(route) = ROUTES.iter().find(|it| it.path == head.path) else {
        return plain("404 Not Found", index());
    };
    if head.method != "GET" && head.method != "HEAD" {
        return only("GET, HEAD");
    }
    (route.answer)(handle, head)
}

/// Other methods are refused.
pub(super) fn only(methods: &str) -> Response {
    let refused = plain("405 Method Not Allowed", format!("{methods}\n"));
    Response { field: Some(format!("Allow: {methods}\r\n").into_bytes()), ..refused }
}

/// `content` as JSON.
pub(super) fn json<T: Serialize>(status: &'static str, content: &T) -> Response {
    match serde_json::to_string_pretty(content) {
        Ok(mut body) => {
            body.push('\n');
            Response { status, content_type: JSON, field: None, body }
        }
        Err(error) => plain("500 Internal Server Error", format!("{error}\n")),
    }
}

/// A plain text.
pub(super) fn plain(status: &'static str, body: String) -> Response {
    Response { status, content_type: TEXT, field: None, body }
}

fn index() -> String {
    let rows = ROUTES.iter().map(|it| (it.path, it.help)).chain(rollouts::HELP);
    rows.fold("there is:\n".to_owned(), |mut text, (path, help)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {path}  {help}");
        text
    })
}

fn show_metrics(handle: &Handle, _: &Head) -> Response {
    let body = handle.metrics();
    Response { status: "200 OK", content_type: PROMETHEUS, field: None, body }
}

/// Gives `X-Canary-Version` back, so that a check sees whether its header arrives.
fn healthz(handle: &Handle, head: &Head) -> Response {
    let mut response = match handle.is_draining() {
        false => plain("200 OK", "ok\n".to_owned()),
        true => plain("503 Service Unavailable", "draining\n".to_owned()),
    };
    response.field = head
        .canary_version
        .as_ref()
        .map(|version| [b"X-Canary-Version: ".as_slice(), version, b"\r\n"].concat());
    response
}

fn status(handle: &Handle, _: &Head) -> Response {
    json("200 OK", &handle.status())
}

#[cfg(test)]
mod tests;
