//! Every route, its methods, and what is not there.

use super::*;
use crate::control::Origin;
use crate::control::{Candidate, Known, Source};
use std::sync::Arc;

fn handle() -> Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = "events {} http { access_log off; upstream pool { server 127.0.0.1:1; } \
                server { listen 127.0.0.1:2; location / { proxy_pass http://pool; } } }";
    let source = Source {
        origin: Origin::Embedded("test.conf", text),
        prefix: std::env::temp_dir(),
        globals: None,
        error_log: Some("stderr".into()),
    };
    let known = Known::nothing();
    let candidate = runtime.block_on(Candidate::build(&source, known));
    let candidate = candidate.unwrap_or_else(|it| panic!("{it}"));
    candidate.registry.commit(Arc::clone(&candidate.snapshot.groups));
    Handle::of(&candidate)
}

fn asked(handle: &Handle, head: &Head) -> Response {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = "127.0.0.1:9180".parse().unwrap();
    runtime.block_on(answer(handle, head, here, here))
}

fn ask(handle: &Handle, method: &str, path: &str) -> Response {
    let head = Head {
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        has_origin: false,
        host: Some("localhost".to_owned()),
        canary_version: Some(b"v2".to_vec()),
    };
    asked(handle, &head)
}

#[test]
fn health_gives_the_label_back() {
    let response = ask(&handle(), "GET", "/healthz");
    assert_eq!((response.status, &*response.body), ("200 OK", "ok\n"));
    assert_eq!(response.field.as_deref(), Some(b"X-Canary-Version: v2\r\n".as_slice()));
}

#[test]
fn status_is_json_with_peers_and_their_health() {
    let response = ask(&handle(), "HEAD", "/status");
    let status: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["generation"], 1);
    assert_eq!(status["upstreams"][0]["name"], "pool");
    assert_eq!(status["upstreams"][0]["peers"][0]["standing"], "up");
    assert_eq!(status["last_reload"], serde_json::Value::Null);
}

#[test]
fn metrics_show_the_peers() {
    let response = ask(&handle(), "GET", "/metrics");
    let peer = "moongate_upstream_peer_up{peer=\"127.0.0.1:1\",upstream=\"pool\"} 1";
    assert!(response.body.contains(peer), "{}", response.body);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let handle = handle();
    let response = ask(&handle, "GET", "/");
    assert_eq!(response.status, "404 Not Found");
    assert!(ROUTES.iter().all(|it| response.body.contains(it.path)));
    let response = ask(&handle, "POST", "/status");
    assert_eq!(response.status, "405 Method Not Allowed");
    assert_eq!(response.field.as_deref(), Some(b"Allow: GET, HEAD\r\n".as_slice()));
}

#[test]
fn strangers_names_are_refused() {
    let head = Head {
        method: "GET".to_owned(),
        path: "/status".to_owned(),
        query: String::new(),
        has_origin: false,
        host: Some("rebound.example".to_owned()),
        canary_version: None,
    };
    let response = asked(&handle(), &head);
    assert_eq!(response.status, "403 Forbidden");
}
