//! `memc_pass` and `memcached_pass` against a real memcached.

use crate::harness::client::{Client, request};
use crate::harness::ports;
use crate::harness::raw_origin::RawOrigin;
use crate::harness::server::{Kind, Server, Setup};
use crate::libraries::memcached;
use std::io::{Read, Write};

const LOCATIONS: &str = r#"
    location /v/ {
        set $memc_key $arg_k;
        set $memc_exptime $arg_e;
        set $memc_flags $arg_f;
        memc_flags_to_last_modified on;
        memc_pass memcs;
        add_header X-Flags $memc_flags;
    }
    location /c {
        set $memc_cmd $arg_c;
        set $memc_key $arg_k;
        if ($arg_v) { set $memc_value $arg_v; }
        memc_cmds_allowed get incr decr version stats flush_all set;
        memc_pass $arg_to;
    }
    location /own { set $memcached_key $arg_k; memcached_gzip_flag 2; memcached_pass memcs; }
    location /keyless { memc_pass memcs; }
    location /lua { content_by_lua_block {
        local kept = ngx.location.capture("/v/?k=sub", { method = ngx.HTTP_PUT, body = "from Lua" })
        local got = ngx.location.capture("/v/?k=sub")
        local gone = ngx.location.capture("/v/?k=nothing")
        ngx.say(kept.status, " ", got.status, " ", got.body, " ", gone.status)
    } }
"#;

fn gateway(port: u16) -> Server {
    Setup::new(Kind::Moongate).with("MEMC", port).start(&format!(
        "http {{ upstream memcs {{ server 127.0.0.1:$MEMC; keepalive 4; }}\n\
         server {{ listen 127.0.0.1:$PORT; error_page 404 = @none;\n\
         location @none {{ return 404 \"nothing\\n\"; }}\n\
         client_body_buffer_size 1k;\n{LOCATIONS} }} }}"
    ))
}

fn ask(server: &Server, method: &str, uri: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(server.port()).expect("it listens");
    let length = body.len();
    let head = format!("{method} {uri} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head + body).expect("it reads");
    let response = client.response(method).expect("it answers");
    (response.status(), response.text())
}

#[test]
fn methods_are_commands_and_bodies_are_values() {
    let port = ports::free();
    let _memcached = memcached(port);
    let server = gateway(port);
    let ask = |method, uri, body| ask(&server, method, uri, body);
    assert_eq!(ask("GET", "/v/?k=dog", ""), (404, "nothing\n".into()));
    assert_eq!(ask("POST", "/v/?k=dog&f=86400", "a pet"), (201, "STORED\r\n".into()));
    assert_eq!(ask("POST", "/v/?k=dog", "another"), (200, "NOT_STORED\r\n".into()));
    assert_eq!(ask("GET", "/v/?k=dog", ""), (200, "a pet".into()));
    let response = request(server.port(), "GET", "/v/?k=dog", "");
    assert_eq!(response.header("X-Flags"), Some("86400"));
    assert_eq!(response.header("Last-Modified"), Some("Fri, 02 Jan 1970 00:00:00 GMT"));
    assert_eq!(request(server.port(), "HEAD", "/v/?k=dog", "").status(), 200);
    // Beyond the buffer it is in a file; its end follows all the same.
    let long = "x\r\nEND\r\n".repeat(9000);
    assert_eq!(ask("PUT", "/v/?k=dog", &long), (201, "STORED\r\n".into()));
    assert_eq!(ask("GET", "/v/?k=dog", ""), (200, long.clone()));
    assert_eq!(ask("DELETE", "/v/?k=dog", ""), (200, "DELETED\r\n".into()));
    assert_eq!(ask("DELETE", "/v/?k=dog", ""), (404, "nothing\n".into()));
    assert_eq!(ask("GET", "/lua", ""), (200, "201 200 from Lua 404\n".into()));
    assert_eq!(ask("PATCH", "/v/?k=dog", "").0, 400);
    assert_eq!(ask("PUT", "/v/?k=dog&e=x", "v").0, 400);
    assert_eq!(ask("PUT", "/v/?k=dog", "").0, 500);
    assert_eq!(ask("GET", "/keyless", "").0, 500);
}

#[test]
fn a_variable_names_the_command_and_the_value() {
    let port = ports::free();
    let _memcached = memcached(port);
    let server = gateway(port);
    let ask = |words: &str| ask(&server, "GET", &format!("/c?to=memcs&{words}"), "");
    let connections = || {
        let text = ask("c=stats").1;
        text.lines().find(|it| it.starts_with("STAT total_connections ")).map(str::to_owned)
    };
    let before = connections();
    assert!(before.is_some());
    assert_eq!(ask("c=set&k=n&v=41"), (201, "STORED\r\n".into()));
    assert_eq!(ask("c=get&k=n"), (200, "41".into()));
    assert_eq!(ask("c=incr&k=n&v=1"), (201, "42\r\n".into()));
    assert_eq!(ask("c=decr&k=other&v=1"), (404, "nothing\n".into()));
    assert_eq!(ask("c=incr&k=n").0, 400);
    assert_eq!(ask("c=incr&k=n&v=x").0, 400);
    assert_eq!(ask("c=add&k=n&v=1").0, 403);
    assert_eq!(ask("c=nonsense").0, 400);
    assert!(ask("c=version").1.starts_with("VERSION "));
    let (status, text) = ask("c=stats");
    assert!(status == 200 && text.starts_with("STAT pid ") && text.ends_with("END\r\n"), "{text}");
    assert_eq!(ask("c=flush_all"), (200, "OK\r\n".into()));
    assert_eq!(ask("c=get&k=n").0, 404);
    assert_eq!(connections(), before, "all of this goes over one connection");
    // A key is escaped as nginx does it, and one that is too long is memcached's to refuse.
    assert_eq!(ask("c=set&k=a%20b&v=1").0, 201);
    assert_eq!(ask(&format!("c=get&k={}", "x".repeat(300))).0, 502);
}

#[test]
fn nginx_own_directive_gets() {
    let port = ports::free();
    let _memcached = memcached(port);
    let server = gateway(port);
    assert_eq!(ask(&server, "PUT", "/v/?k=plain", "1").0, 201);
    assert_eq!(ask(&server, "PUT", "/v/?k=packed&f=3", "2").0, 201);
    assert_eq!(ask(&server, "GET", "/own?k=plain", ""), (200, "1".into()));
    let response = request(server.port(), "GET", "/own?k=packed", "");
    assert_eq!(response.header("Content-Encoding"), Some("gzip"));
    assert_eq!(ask(&server, "GET", "/own?k=none", ""), (404, "nothing\n".into()));
    assert_eq!(ask(&server, "POST", "/own?k=plain", "1").0, 405);
}

#[test]
fn what_is_no_memcached_is_a_bad_gateway() {
    let replies = ["HTTP/1.1 400 Bad Request\r\n\r\n", "VALUE other 0 1\r\n1\r\nEND\r\n"];
    for reply in replies {
        let origin = RawOrigin::start(move |_, stream| {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(reply.as_bytes());
        });
        let server = gateway(origin.port);
        assert_eq!(ask(&server, "GET", "/v/?k=dog", "").0, 502, "{reply}");
    }
    // A value whose end is none is sent, and its connection serves no other.
    let origin = RawOrigin::start(|_, stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"VALUE dog 0 5\r\na petXXXXXXX");
    });
    let server = gateway(origin.port);
    for _ in 0..2 {
        assert_eq!(ask(&server, "GET", "/v/?k=dog", ""), (200, "a pet".into()));
    }
    assert_eq!(origin.connections(), 2);
}
