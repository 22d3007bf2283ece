//! Reload by SIGHUP: nothing that a client could notice, and nothing taken over that is not sound.

use crate::harness::client::{Client, get};
use crate::harness::load::Load;
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use crate::harness::{LONG_PATIENCE, eventually, ports, settles};
use std::time::Duration;

/// Waits until fresh connections are answered with `text`.
#[track_caller]
fn settles_on(port: u16, uri: &str, text: &str) {
    settles("the answer of the new configuration", text.to_owned(), || get(port, uri).text());
}

fn generation(number: usize, workers: usize) -> String {
    format!(
        "worker_processes {workers};\nhttp {{\n\
         upstream pool {{ server 127.0.0.1:$ORIGIN; keepalive 8; }}\n\
         server {{ listen 127.0.0.1:$PORT;\n\
         location / {{ access_by_lua_block {{ ngx.ctx.n = {number} }} proxy_pass http://pool; }}\n\
         location = /generation {{ content_by_lua_block {{ ngx.print({number}) }} }}\n\
         }} }}\n"
    )
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let origin = Origin::saying("fine");
    let setup = Setup::new(Kind::Moongate).with("ORIGIN", origin.port);
    let mut server = setup.start(&generation(0, 1));
    let load = Load::start(server.port(), "/", 4, 2);
    load.wait_for(50);
    for number in 1..=100 {
        server.rewrite_conf(&generation(number, 1 + number % 3));
        server.signal(libc::SIGHUP);
        settles_on(server.port(), "/generation", &number.to_string());
    }
    load.wait_for(50);
    let (answered, failures) = load.stop();
    assert!(failures.is_empty(), "{} of {answered} failed: {failures:#?}", failures.len());
}

#[test]
fn an_idle_connection_survives_a_reload() {
    let mut server = gateway("http { server { listen 127.0.0.1:$PORT; return 200 old; } }");
    let mut client = Client::connect(server.port()).expect("it listens");
    assert_eq!(client.get("/").expect("an answer").text(), "old");
    server.rewrite_conf("http { server { listen 127.0.0.1:$PORT; return 200 new; } }");
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/", "new");
    assert_eq!(client.get("/").expect("the connection still serves").text(), "new");
}

#[test]
fn a_request_in_flight_ends_on_its_old_configuration() {
    let origin = Origin::start(|_| Answer::ok("slow").after(Duration::from_millis(600)));
    let conf = |label: &str| {
        format!(
            "http {{ server {{ listen 127.0.0.1:$PORT; add_header X-Label {label};\n\
             location /slow {{ proxy_pass http://127.0.0.1:$ORIGIN;\n\
             header_filter_by_lua_block {{ ngx.header[\"X-Lua\"] = \"{label}\" }} }}\n\
             location /label {{ return 200 {label}; }} }} }}"
        )
    };
    let mut server = Setup::new(Kind::Moongate).with("ORIGIN", origin.port).start(&conf("old"));
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    eventually("the origin has the request", || (!origin.received().is_empty()).then_some(()));
    server.rewrite_conf(&conf("new"));
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/label", "new");
    let answer = client.response("GET").expect("the answer of the old configuration");
    assert_eq!(answer.text(), "slow");
    assert_eq!(answer.header("x-label"), Some("old"));
    assert_eq!(answer.header("x-lua"), Some("old"));
}

#[test]
fn listeners_come_and_go() {
    let later = ports::free();
    let mut server = Setup::new(Kind::Moongate)
        .with("LATER", later)
        .start("http { server { listen 127.0.0.1:$PORT; return 200 one; } }");
    server.rewrite_conf(
        "http { server { listen 127.0.0.1:$PORT; return 200 both; }\n\
         server { listen 127.0.0.1:$LATER; return 200 second; } }",
    );
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/", "both");
    assert_eq!(get(later, "/").text(), "second");
    server.rewrite_conf("http { server { listen 127.0.0.1:$PORT; return 200 alone; } }");
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/", "alone");
    eventually("the second listener is closed", || Client::connect(later).err());
}

#[test]
fn a_listener_that_cannot_be_bound_refuses_the_reload() {
    let taken = ports::free();
    let _holder = std::net::TcpListener::bind(("127.0.0.1", taken)).expect("the port is free");
    let mut server = Setup::new(Kind::Moongate)
        .with("TAKEN", taken)
        .start("http { server { listen 127.0.0.1:$PORT; return 200 old; } }");
    server.rewrite_conf(
        "http { server { listen 127.0.0.1:$PORT; return 200 new; }\n\
         server { listen 127.0.0.1:$TAKEN; return 200 second; } }",
    );
    refused(&server, &["Address already in use", &format!("127.0.0.1:{taken}")]);
    assert_eq!(get(server.port(), "/").text(), "old");
}

/// Sends SIGHUP and waits until the refusal is in the log, in the metrics and in `/status`.
#[track_caller]
fn refused(server: &Server, reasons: &[&str]) {
    server.signal(libc::SIGHUP);
    for reason in reasons {
        // An endless init is stopped when its CPU time is used up.
        server.expect_logged_within(LONG_PATIENCE, reason);
    }
    let admin = server.named_port("ADMIN");
    settles("the metric of the last reload", true, || {
        let metrics = get(admin, "/metrics").text();
        metrics.contains("moongate_config_last_reload_successful 0")
            && metrics.contains("moongate_config_reloads_total{result=\"failure\"} 1")
    });
    let status = get(admin, "/status").text();
    for reason in reasons {
        let quoted = serde_json::to_string(reason).expect("a text is JSON");
        assert!(status.contains(quoted.trim_matches('"')), "{reason:?} is not in {status}");
    }
}

#[test]
fn a_refused_configuration_leaves_the_old_one() {
    let fine = "http { server { listen 127.0.0.1:$PORT; return 200 old; } }";
    for (bad, reasons) in [
        ("http { server {\n lissen 1; } }", ["moongate.conf:2", "unknown directive"]),
        (
            "http { server { listen 127.0.0.1:$PORT; location / {\n content_by_lua_block { x = = 1 } } } }",
            ["moongate.conf:2", "unexpected symbol"],
        ),
        (
            "http { init_by_lua_block { error(\"never\") } server { listen 127.0.0.1:$PORT; } }",
            ["init_by_lua", "never"],
        ),
        (
            "http { init_by_lua_block { while true do end } server { listen 127.0.0.1:$PORT; } }",
            ["init_by_lua", "moongate.conf:1"],
        ),
    ] {
        let mut server = gateway(fine);
        server.rewrite_conf(bad);
        refused(&server, &reasons);
        assert_eq!(get(server.port(), "/").text(), "old");
        server.rewrite_conf(&fine.replace("old", "new"));
        server.signal(libc::SIGHUP);
        settles_on(server.port(), "/", "new");
    }
}

#[test]
fn shared_dictionaries_and_counters_outlive_a_reload() {
    let conf = |label: &str| {
        format!(
            "http {{ lua_shared_dict d 100k; server {{ listen 127.0.0.1:$PORT;\n\
             location / {{ content_by_lua_block {{ ngx.print(\"{label} \", (ngx.shared.d:incr(\"n\", 1, 0))) }} }}\n\
             location /label {{ return 200 {label}; }} }} }}"
        )
    };
    let mut server = gateway(&conf("old"));
    assert_eq!(get(server.port(), "/").text(), "old 1");
    server.rewrite_conf(&conf("new"));
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/label", "new");
    assert_eq!(get(server.port(), "/").text(), "new 2");
}

#[test]
fn a_changed_script_is_read_anew() {
    let conf = "http { lua_package_path \"$prefix/conf/?.lua;;\"; server { listen 127.0.0.1:$PORT;\n\
         location / { content_by_lua_block { ngx.print(require(\"label\")) } } } }";
    let server = Setup::new(Kind::Moongate).file("conf/label.lua", "return \"old\"").start(conf);
    assert_eq!(get(server.port(), "/").text(), "old");
    std::fs::write(server.prefix().join("conf/label.lua"), "return \"new\"").expect("it is ours");
    assert_eq!(get(server.port(), "/").text(), "old");
    server.signal(libc::SIGHUP);
    settles_on(server.port(), "/", "new");
}
