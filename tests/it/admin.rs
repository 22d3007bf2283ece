//! The admin listener: on loopback, health, status.

use crate::harness::client::get;
use crate::harness::server::gateway;

const FINE: &str = "http { server { listen 127.0.0.1:$PORT; return 200 fine; } }";

#[test]
fn health_and_status_are_told() {
    let server = gateway(FINE);
    let admin = server.named_port("ADMIN");
    assert_eq!(get(admin, "/healthz").status(), 200);
    let status = get(admin, "/status");
    assert_eq!(status.status(), 200);
    assert_eq!(status.header("content-type"), Some("application/json"));
    let status: serde_json::Value = serde_json::from_str(&status.text()).expect("JSON");
    assert!(status.is_object(), "{status}");
    assert_eq!(get(admin, "/nothing").status(), 404);
}

#[test]
fn it_listens_only_where_it_is_told() {
    let server = gateway(FINE);
    assert_eq!(get(server.port(), "/healthz").text(), "fine");
    assert_eq!(get(server.port(), "/metrics").text(), "fine");
}
