//! Scripts that fail, in each phase: the client gets 500 or sees the cut, it never waits, and the
//! next request is served.

use crate::harness::client::{Client, get};
use crate::harness::server::{Server, gateway};
use std::time::Duration;

const CONF: &str = r#"http {
    lua_handler_timeout 200ms;
    server {
        listen 127.0.0.1:$PORT;
        location /fine { content_by_lua_block { ngx.print("fine") } }
        location /rewrite { rewrite_by_lua_block { error("in rewrite") } content_by_lua_block { ngx.say("x") } }
        location /access { access_by_lua_block { error("in access") } content_by_lua_block { ngx.say("x") } }
        location /content { content_by_lua_block { error("in content") } }
        location /set { set_by_lua_block $x { error("in set") } content_by_lua_block { ngx.say("x") } }
        location /header { content_by_lua_block { ngx.say("x") } header_filter_by_lua_block { error("in header") } }
        location /body { content_by_lua_block { ngx.say("x") } body_filter_by_lua_block { error("in body") } }
        location /log { content_by_lua_block { ngx.print("fine") } log_by_lua_block { error("in log") } }
        location /sent { content_by_lua_block { ngx.say("begun") ngx.flush(true) error("in sent") } }
        location /endless { content_by_lua_block { while true do end } }
        location /pcall { content_by_lua_block { while true do pcall(function() while true do end end) end } }
        location /log-endless { content_by_lua_block { ngx.print("fine") } log_by_lua_block { while true do end } }
        location /deep { content_by_lua_block { local function f(n) return 1 + f(n + 1) end f(1) } }
        location /timer { content_by_lua_block { ngx.timer.at(0, function() error("in timer") end) ngx.print("fine") } }
    }
}"#;

/// An answer within a time in which nothing may hang.
fn ask(server: &Server, uri: &str) -> std::io::Result<crate::harness::client::Response> {
    let client = Client::connect(server.port())?;
    client.patience(Duration::from_secs(10))?.request("GET", uri, "Connection: close\r\n")
}

#[test]
fn an_error_before_the_answer_is_a_500() {
    let server = gateway(CONF);
    for phase in ["rewrite", "access", "content", "set", "deep"] {
        let answer =
            ask(&server, &format!("/{phase}")).unwrap_or_else(|it| panic!("{phase}: {it}"));
        assert_eq!(answer.status(), 500, "{phase}");
        assert!(answer.text().contains("500 Internal Server Error"), "{phase}");
        if phase != "deep" {
            server.expect_logged(&format!("in {phase}"));
        }
        assert_eq!(get(server.port(), "/fine").text(), "fine");
    }
}

#[test]
fn an_error_in_a_filter_hangs_nobody() {
    let server = gateway(CONF);
    for phase in ["header", "body"] {
        match ask(&server, &format!("/{phase}")) {
            Ok(answer) => assert_eq!(answer.status(), 500, "{phase}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{phase}"),
        }
        server.expect_logged(&format!("in {phase}"));
        assert_eq!(get(server.port(), "/fine").text(), "fine");
    }
}

#[test]
fn an_error_after_the_answer_began_cuts_it() {
    let server = gateway(CONF);
    let error = ask(&server, "/sent").expect_err("the chunked body has no end");
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    server.expect_logged("in sent");
    assert_eq!(get(server.port(), "/fine").text(), "fine");
}

#[test]
fn an_error_in_log_or_in_a_timer_harms_no_answer() {
    let server = gateway(CONF);
    for phase in ["log", "timer"] {
        assert_eq!(get(server.port(), &format!("/{phase}")).text(), "fine");
        server.expect_logged(&format!("in {phase}"));
    }
}

#[test]
fn an_endless_script_is_stopped() {
    let server = gateway(CONF);
    for uri in ["/endless", "/pcall"] {
        let answer = ask(&server, uri).unwrap_or_else(|it| panic!("{uri}: {it}"));
        assert_eq!(answer.status(), 500, "{uri}");
        assert_eq!(get(server.port(), "/fine").text(), "fine");
    }
    assert_eq!(ask(&server, "/log-endless").expect("an answer").text(), "fine");
    assert_eq!(get(server.port(), "/fine").text(), "fine");
    let kills = "moongate_lua_budget_kills_total 3";
    crate::harness::settles("the metric of kills", true, || {
        get(server.named_port("ADMIN"), "/metrics").text().contains(kills)
    });
}

#[test]
fn an_error_names_script_line_and_request() {
    let server = gateway(CONF);
    ask(&server, "/content?x=1").expect("an answer");
    let parts = [
        "lua entry thread aborted: runtime error: content_by_lua(moongate.conf:8):1: in content",
        "stack traceback:",
        "request: \"GET /content?x=1 HTTP/1.1\"",
    ];
    for part in parts {
        server.expect_logged(part);
    }
    assert_eq!(server.error_log().matches("in content").count(), 1, "it is logged once");
}
